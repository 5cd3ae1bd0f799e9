"""What a viewer of every gradient costs a training of 25 M parameters, and what ``wandb.watch(log="all")`` does.

Needs wandb, which is not among the development extras; without it there is nothing to compare with.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles

from tests.bench.bench_attach import VIEWER
from tests.bench.line import Line

ROUNDS = 30

# The three ways take turns in one process, so that all see the same machine.
LOOP = """
import json, sys, time, torch
from torch import nn
import tui_params, wandb
torch.manual_seed(0)
torch.set_num_threads(1)
layer = nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
net = nn.TransformerEncoder(layer, 8, enable_nested_tensor=False)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
data = torch.randn(2, 64, 512)
server = tui_params.serve(net, optimizer, name="bench")
run = wandb.init(mode="offline", dir=sys.argv[2], settings=wandb.Settings(silent=True))
print(server.path, sum(p.numel() for p in net.parameters()), flush=True)

def step(is_logged=False):
    began, used = time.perf_counter(), time.process_time()
    optimizer.zero_grad()
    net(data).pow(2).mean().backward()
    optimizer.step()
    if is_logged:
        run.log({"step": 1})
    return time.perf_counter() - began, time.process_time() - used

sys.stdin.readline()
found = {"alone": [], "served": [], "wandb": []}
for number in range(int(sys.argv[1])):
    for way in list(found)[number % 3:] + list(found)[:number % 3]:
        (server.clock.start if way == "served" else server.clock.stop)()
        if way == "wandb":
            run.watch(net, log="all", log_freq=1)
        step(way == "wandb")  # the first one of a kind pays for the change
        found[way].append(step(way == "wandb"))
        if way == "wandb":
            run.unwatch(net)
print(json.dumps(found), flush=True)
"""


def run() -> Iterator[Line]:
    """The processor time of a step each way, divided by that of the step alone beside it; and both overheads."""
    if find_spec("wandb") is None:
        yield Line("wandb.watch beside a viewer", "wandb is not installed", "", None)
        return
    ratios: dict[str, list[float]] = {"served": [], "wandb": []}
    found = _steps()
    for way in ratios:
        ratios[way] = [step[1] / alone[1] for step, alone in zip(found[way], found["alone"], strict=True)]
    for way, what in (("served", "a viewer of every gradient"), ("wandb", 'wandb.watch(log="all")')):
        low, middle, high = quantiles(ratios[way], n=4)
        measured = f"{middle:.3f}x (quartiles {low:.2f}, {high:.2f})"
        is_ours = way == "served"
        yield Line(
            f"25 M parameters, {what}", measured, "<= 1.15x" if is_ours else "", middle <= 1.15 if is_ours else None
        )
    ours, theirs = median(ratios["served"]) - 1, median(ratios["wandb"]) - 1
    least = max(ours, 0.001)
    yield Line("overhead of wandb.watch / ours", f"{theirs / least:.0f}", ">= 10", theirs / least >= 10)


def _steps() -> dict[str, list[list[float]]]:
    folder = Path(tempfile.mkdtemp(prefix="rt"))
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    loop = subprocess.Popen(
        [sys.executable, "-c", LOOP, str(ROUNDS), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    viewer = None
    try:
        assert loop.stdout is not None
        path = loop.stdout.readline().split()[0]
        script = VIEWER.format(read="gradients")
        viewer = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, env=environment)
        assert viewer.stdout is not None
        viewer.stdout.readline()
        found: dict[str, list[list[float]]] = json.loads(loop.communicate("go\n")[0].splitlines()[-1])
        return found
    finally:
        for process in (loop, viewer):
            if process is not None:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)
