"""``python -m tui_params``, and the ``tui-params`` command."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line on ``sys.argv`` and return its exit code.

    Here, and nowhere else, whatever was not foreseen is caught: Python would exit with 1, which means "the answer is
    no" to whoever runs ``check`` or ``diff`` in a pipeline. It is told as a fault of ours, and exits with 70.
    """
    try:
        return _run()
    except KeyboardInterrupt:
        return 130  # while the first modules are imported; later the command line answers it
    except Exception as error:  # noqa: BLE001 - nothing stands above this but the interpreter, which would exit with 1
        from tui_params.cli.fault import tell

        return tell(error)


def _run() -> int:
    if len(sys.argv) == 2 and not sys.argv[1].startswith("-") and ("/" in sys.argv[1] or "." in sys.argv[1]):
        # No command has such a name, so it is a SOURCE: the explorer opens without the parser of the command line.
        from tui_params.cli.terminal import open_explorer

        code = open_explorer(sys.argv[1])
        if code is not None:
            return code
    from tui_params.cli.app import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
