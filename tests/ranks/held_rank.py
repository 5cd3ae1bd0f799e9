"""Run by torchrun in place of tui_params: rank 1 reads nothing, and sends itself a signal once rank 0 waits for it.

The arguments are the name of the signal, the path of a file by which the two find each other, and the command line.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tui_params.ranks.helper import Helper
from tui_params.ranks.leader import SharedMeasuring


def hold(number: signal.Signals, sign: Path) -> None:
    """Change what the helper and the leader do in this process."""
    wait_for = SharedMeasuring._wait_for

    def held(*arguments: Any) -> Any:
        while not sign.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    def waiting(self: SharedMeasuring, owner: int, *rest: Any) -> bool:
        if owner == 1:
            sign.touch()
        return wait_for(self, owner, *rest)

    if os.environ["RANK"] == "1":
        Helper._measured = held  # type: ignore[method-assign, assignment]
    elif os.environ["RANK"] == "0":
        SharedMeasuring._wait_for = waiting  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    hold(signal.Signals[sys.argv[1]], Path(sys.argv[2]))
    sys.argv[1:] = sys.argv[3:]
    runpy.run_module("tui_params", run_name="__main__", alter_sys=True)
