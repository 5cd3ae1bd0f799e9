"""Run by torchrun in place of tui_params: ranks that are not alike.

The first argument is the version of tui-params that rank 1 claims, the rest is the command line, in which each RANK is
replaced by the number of the rank.
"""

from __future__ import annotations

import os
import runpy
import sys

import tui_params

if __name__ == "__main__":
    rank = os.environ["RANK"]
    if rank == "1":
        tui_params.__version__ = sys.argv[1]
    sys.argv[1:] = [argument.replace("RANK", rank) for argument in sys.argv[2:]]
    runpy.run_module("tui_params", run_name="__main__", alter_sys=True)
