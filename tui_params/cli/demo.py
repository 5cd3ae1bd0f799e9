"""``tui-params demo``: a made-up checkpoint to try things on."""

from __future__ import annotations

import subprocess
import sys

import click

from tui_params.cli.exit_codes import OK
from tui_params.core.text import clean
from tui_params.errors import OpenError

HINT = "{scan} checks every tensor, then {problems} lists what is wrong."
"""What the first screen says; the words in braces are ids of keys."""


@click.command(name="demo", short_help="Open a checkpoint with faults to find.")
@click.option("--live", is_flag=True, help="Train a small model instead, with a fault at step 300, and attach to it.")
@click.option("--path", "only_path", is_flag=True, help="Print the folder of the checkpoint and open nothing.")
def command(only_path: bool, live: bool) -> int:
    """Write a checkpoint with planted faults (93 MiB, once, in the folder for temporary files) and open it.

    With --live, a process beside this one trains a small character model (it needs torch), and the explorer is attached
    to it; the process ends with the explorer.
    """
    if live:
        return _live()
    from tui_params.cli.terminal import open_explorer
    from tui_params.demo import make_demo

    show = _Progress() if sys.stderr.isatty() else None
    try:
        folder = make_demo(progress=show)
    finally:
        if show is not None:
            show.clear()
    if only_path:
        click.echo(folder)
        return OK
    code = open_explorer(str(folder), HINT)
    if code is None:
        from tui_params.cli.ls import list_tensors

        list_tensors(str(folder), as_json=False)
        return OK
    return code


def _live() -> int:
    from tui_params.cli.attach import open_serving

    with subprocess.Popen(
        [sys.executable, "-m", "tui_params.demo_training"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A ctrl+c in the terminal is for the explorer.
        start_new_session=True,
    ) as training:
        try:
            assert training.stdout is not None
            assert training.stderr is not None
            if training.stdout.readline() != "serving\n":
                why = training.stderr.read().strip().rpartition("\n")[2]
                raise OpenError(f"the demo cannot train: {clean(why, 300) or 'it ended at once'}")
            return open_serving(str(training.pid))
        finally:
            training.kill()


class _Progress:
    """How much of the demo is written, as one line of a terminal; nothing if it is there already."""

    def __init__(self) -> None:
        self._shown = ""

    def __call__(self, done: int, total: int) -> None:
        from tui_params.core.text import size

        line = f"writing {size(total)} once, {100 * done // total} %"
        if line != self._shown:
            self._shown = line
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
