"""``python -m tui_params``, and the ``tui-params`` command."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line on ``sys.argv`` and return its exit code."""
    from tui_params.cli.app import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
