"""``python -m tui_params``, and the ``tui-params`` command."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line on ``sys.argv`` and return its exit code.

    This is the only place that catches every error. Python would exit with 1 for an error that nobody foresaw, and a
    pipeline that runs ``check`` or ``diff`` would take that for the answer "no"; so it is reported as a fault of ours,
    with the exit code 70. Nothing is imported outside of it that Python has not loaded before, because there a ctrl+c
    would print a traceback.
    """
    try:
        return _run()
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - nothing is above this but the interpreter, which would exit with 1
        from tui_params.cli import interrupts

        if interrupts.led_to(error):
            return 130
        from tui_params.cli.fault import tell

        return tell(error)


def _run() -> int:
    from tui_params.cli import interrupts

    sys.unraisablehook = interrupts.report_unraisable
    with interrupts.exiting_at_once():
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
