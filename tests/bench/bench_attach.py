"""What it costs a training loop that somebody may look at its model, and that somebody does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

from tests.bench.line import Line

PAIRS = 60

# Steps with and without the hooks take turns in one process, so that both see the same machine. A step of 0.8 M
# parameters takes some tens of milliseconds here; processor time is that of the whole process, its threads included.
LOOP = """
import json, sys, time, torch
from torch import nn
import tui_params
torch.manual_seed(0)
torch.set_num_threads(1)
width, pairs = 256, int(sys.argv[1])
layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True)
net = nn.TransformerEncoder(layer, 4)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
data = torch.randn(4, 64, width)
server = tui_params.serve(net, optimizer, name="bench")
print(server.path, flush=True)

def step():
    began, used = time.perf_counter(), time.process_time()
    optimizer.zero_grad()
    net(data).pow(2).mean().backward()
    optimizer.step()
    return time.perf_counter() - began, time.process_time() - used

for _ in range(5):
    step()
sys.stdin.readline()
found = {True: [], False: []}
for number in range(pairs):
    for is_served in ((True, False) if number % 2 else (False, True)):
        (server.clock.start if is_served else server.clock.stop)()
        step()  # the first one of a kind pays for the change
        found[is_served].append(step())
print(json.dumps([found[True], found[False]]), flush=True)
"""

# A viewer that looks as fast as it can: nobody's screen does. ``{read}`` is what it reads.
VIEWER = """
import sys
from pathlib import Path
from tui_params.errors import TuiParamsError
from tui_params.live.attached import asked_copies
from tui_params.live.attached.source import AttachedSource
asked_copies.STEP_SECONDS = 60
viewer = AttachedSource(Path(sys.argv[1]))
tensors, gradients = list(viewer.listing.tensors), list(viewer.listing.gradients.values())
viewer.summarize(tensors[0].name)
print("looking", flush=True)
try:
    while True:
        for info in {read}:
            viewer.summarize(info.name)
except TuiParamsError:
    pass
"""
# What ``tui-params watch --pause`` does, with the check in the process that trains.
WATCHER = """
import sys
from pathlib import Path
from tui_params.errors import TuiParamsError
from tui_params.live.attached.source import AttachedSource
from tui_params.live.watching.condition import parse_condition
from tui_params.live.watching.watch import Watch, choose_watched
viewer = AttachedSource(Path(sys.argv[1]))
choice = choose_watched(viewer.listing, (), viewer.listing.gradients.values(), [parse_condition("nan")])
watch = Watch(viewer, choice, {seconds})
print("looking", flush=True)
try:
    while viewer.connection.look() is None:
        watch.look(0.1)
except TuiParamsError:
    pass
"""
# What the explorer does while it is open: norms and updates of what is on screen, here the first tensors.
FOLLOWER = """
import sys, time
from pathlib import Path
from tui_params.live.watching.source import WatchedSource
viewer = WatchedSource(Path(sys.argv[1]))
courses = viewer.courses()
courses.want(list(viewer.listing.gradients))
print("looking", flush=True)
while viewer.connection.look() is None:
    time.sleep(0.5)
    courses.publish()
"""
MODES = (
    ("served, nobody looks", "", 1.005),
    ("one gradient at every step", "gradients[:1]", 1.02),
    ("every parameter and state, between steps", "tensors", 1.02),
    ("every gradient", "gradients", 1.15),
    ("norms and updates of 8 MiB at every step", FOLLOWER, 1.05),
    ("a watch for NaN in every gradient", WATCHER.format(seconds=0), 1.05),
    ("a watch for NaN that can hold the training", WATCHER.format(seconds=60), 1.05),
)


def run() -> Iterator[Line]:
    """Each way of looking, as a ratio of processor time and of wall time to the same loop without hooks."""
    for what, read, target in MODES:
        served, alone = pairs(read)
        for unit, place in (("processor", 1), ("wall", 0)):
            ratios = [on[place] / off[place] for on, off in zip(served, alone, strict=True)]
            low, middle, high = quantiles(ratios, n=4)
            measured = f"{middle:.3f}x (quartiles {low:.2f}, {high:.2f})"
            is_promised = unit == "processor"
            yield Line(
                f"{what}: {unit} time of a step",
                measured,
                f"<= {target}x" if is_promised else "",
                middle <= target if is_promised else None,
            )


def pairs(read: str) -> tuple[list[list[float]], list[list[float]]]:
    """Wall and processor seconds of the steps with hooks and of those without.

    Meanwhile a viewer reads ``read``, or runs it if it is a script.
    """
    folder = Path(tempfile.mkdtemp(prefix="rt"))
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    loop = subprocess.Popen(
        [sys.executable, "-c", LOOP, str(PAIRS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    viewer = None
    try:
        assert loop.stdout is not None
        path = loop.stdout.readline().strip()
        if read:
            script = read if "\n" in read else VIEWER.format(read=read)
            viewer = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, env=environment)
            assert viewer.stdout is not None
            viewer.stdout.readline()
        found = json.loads(loop.communicate("go\n")[0])
        return found[0], found[1]
    finally:
        for process in (loop, viewer):
            if process is not None:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)
