"""Run by torchrun in place of tui_params: several command lines one after another, so that torch is imported once.

The one argument is a JSON list of them.
"""

from __future__ import annotations

import json
import sys

import tui_params.__main__
from tui_params.cli.app import run
from tui_params.ranks import torch_store

if __name__ == "__main__":
    commands = json.loads(sys.argv[1])
    sys.argv[0] = tui_params.__main__.__file__
    for number, arguments in enumerate(commands):
        # The keys of one command must not be those of the next, which runs in a job of its own elsewhere.
        torch_store._PREFIX = f"tui-params-{number}"
        run(arguments)
