"""A sweep over a model of another machine, through a line of 80 ms there and back, beside one without a delay."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.line import Line

SECONDS = 0.04
"""Each way."""

LAYERS = 1000
RUNS = 3

# Of each layer a weight of 16 KiB, three vectors and a scalar.
SERVER = """
import sys, torch
from torch import nn
import tui_params
net = nn.ModuleList()
for _ in range(int(sys.argv[1])):
    layer = nn.Module()
    layer.up = nn.Linear(64, 64)
    layer.norm = nn.LayerNorm(64)
    layer.scale = nn.Parameter(torch.ones(()))
    net.append(layer)
net.requires_grad_(False)
server = tui_params.serve(net, name="bench")
print(server.path, flush=True)
sys.stdin.read()
"""

# As `S` in the explorer and `check` sweep.
SWEEP = """
import sys, time
from tui_params import open_source
from tui_params.core.reading.sweep import scan_all
from tui_params.core.reading.tensor_reading import figures_of
with open_source("attach:ssh://far") as source:
    names = [info.name for info in source.listing.tensors]
    found = []
    figures_of(source, source.find(names[0]))
    began = time.perf_counter()
    scan_all(source, names[: int(sys.argv[1])], found.append)
    seconds = time.perf_counter() - began
    assert all(outcome.figures is not None for outcome in found), found
    print(seconds)
"""


def run() -> Iterator[Line]:
    near = median(sweep(0.0) for _ in range(RUNS))
    far = median(sweep(SECONDS) for _ in range(RUNS))
    ratio = far / near
    yield Line(
        f"a sweep of {5 * LAYERS:,} tensors, 80 ms away beside 0 ms",
        f"{far:.2f} s, {near:.2f} s: {ratio:.2f}x",
        "<= 1.5x",
        ratio <= 1.5,
    )


def sweep(seconds: float, tensors: int = 5 * LAYERS) -> float:
    """Seconds of a sweep through a line that takes so long each way."""
    folder = Path(tempfile.mkdtemp(prefix="rt"))
    line = Path(__file__).with_name("slow_line.py")
    environment = {
        **os.environ,
        "XDG_RUNTIME_DIR": str(folder),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TUI_PARAMS_CACHE": "off",
        "TUI_PARAMS_SSH": f"{sys.executable} {line} {seconds}",
        "TUI_PARAMS_RELAY": f"{sys.executable} -m tui_params",
    }
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(LAYERS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()
        done = subprocess.run(
            [sys.executable, "-c", SWEEP, str(tensors)], env=environment, stdout=subprocess.PIPE, check=True, text=True
        )
        return float(done.stdout)
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
