"""What must hold every time: reads that mix no two steps, processes that survive being entered, a table of many rows.

``--only live`` runs it; the usual tests do a little of the same. Entering needs gdb, or Python 3.14 at both ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.line import Line
from tests.live.attached.trainers import NUMBERED, training
from tests.live.injection.test_injection import UNPREPARED
from tui_params.errors import ReadError, TuiParamsError
from tui_params.live.attached.finding import find_serving
from tui_params.live.attached.source import AttachedSource
from tui_params.live.injection.entering import enter

READS = 10_000
ENTRIES = int(os.environ.get("TUI_PARAMS_ENTRIES", "100"))
PARAMETERS = 92_000

IMPORTING = "import torch\n" + UNPREPARED
SLEEPING = (
    UNPREPARED.replace("trainer.fit()\n", "")
    + """
import time
trainer.network(torch.ones(4, 8))
while True:
    time.sleep(0.2)
"""
)

# The most memory that the process had (VmHWM), from the moment before it served on. Every optimizer of torch imports
# torch._dynamo, which is 70 MiB, and so does a server: this process has none, and imports it beforehand.
MANY = """
import gc, sys, time, torch, torch._dynamo, tui_params
from torch import nn

def most():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

net = nn.Module()
for layer in range(int(sys.argv[1]) // 100):
    part = nn.Module()
    for number in range(100):
        part.register_parameter(f"w{number}", nn.Parameter(torch.zeros(1)))
    net.add_module(f"layer{layer}", part)
gc.collect()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # proc(5): the peak begins anew
before = most()
tui_params.serve(net, name="many")
print("serving", flush=True)
sys.stdin.readline()
print(most() - before, flush=True)
began = time.perf_counter()
[(name, tuple(each.shape), each.dtype, each.requires_grad) for name, each in net.named_parameters()]
print(time.perf_counter() - began, flush=True)
"""


def run() -> Iterator[Line]:
    """Reads, entries, and the table."""
    yield from _reads()
    yield from _table()
    if shutil.which("gdb") is None and sys.version_info < (3, 14):
        yield Line("entering a process", "gdb is not installed", "", None)
        return
    for what, script, waits in (
        ("that trains", UNPREPARED, True),
        ("that sleeps", SLEEPING, True),
        ("that imports torch", IMPORTING, False),
    ):
        yield from _entries(what, script, waits=waits)


@contextmanager
def _runtime() -> Iterator[Path]:
    folder, before = Path(tempfile.mkdtemp(prefix="rt")), os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        yield folder
    finally:
        os.environ.pop("XDG_RUNTIME_DIR")
        if before is not None:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


def _reads() -> Iterator[Line]:
    with _runtime() as folder, training(NUMBERED, folder):
        (found,) = find_serving()
        with AttachedSource(found.path) as viewer:
            accepted = mixed = refused = 0
            steps = set()
            while accepted < READS:
                try:
                    values = viewer.read(f"w{accepted % 4}")
                except ReadError:
                    refused += 1
                    continue
                accepted += 1
                steps.add(float(values[0]))
                mixed += bool(values.min() != values.max())
    measured = f"{mixed} of {accepted:,}, at {len(steps):,} steps"
    yield Line("reads that mix two steps", measured, "0", mixed == 0 and len(steps) > 100)
    yield Line("reads that were given up after waiting", f"{refused:,}", "", None)


def _table() -> Iterator[Line]:
    with _runtime() as folder, training(MANY, folder, str(PARAMETERS)) as process:
        (found,) = find_serving()
        began = time.perf_counter()
        viewer = AttachedSource(found.path)
        seconds = time.perf_counter() - began
        assert len(viewer.listing.tensors) == PARAMETERS
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        grown = int(process.stdout.readline()) / 2**20
        there = float(process.stdout.readline())
        viewer.close()
    what, ratio = f"{PARAMETERS:,} parameters, listed by a viewer", seconds / there
    yield Line(what, f"{seconds:.2f} s", "<= 0.5 s", seconds <= 0.5)
    yield Line("the same, beside named_parameters() in the process", f"{ratio:.1f}x", "<= 10x", ratio <= 10)
    yield Line("the same, memory in the process that trains", f"{grown:.0f} MiB", "<= 60 MiB", grown <= 60)


def _entries(what: str, script: str, *, waits: bool) -> Iterator[Line]:
    deaths = served = 0
    seconds: list[float] = []
    said: dict[str, int] = {}
    for _ in range(ENTRIES):
        with _runtime():
            process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
            try:
                assert process.stdout is not None
                if waits:
                    process.stdout.readline()
                else:
                    time.sleep(0.3)  # somewhere in the middle of the import
                began = time.perf_counter()
                try:
                    enter(process.pid)
                    served += 1
                    seconds.append(time.perf_counter() - began)
                except TuiParamsError as error:
                    said[str(error)[:80]] = said.get(str(error)[:80], 0) + 1
                deaths += process.poll() is not None
            finally:
                process.kill()
                process.communicate()
    seconds.sort()
    middle = seconds[len(seconds) // 2] if seconds else 0.0
    yield Line(f"deaths of a process {what}", f"{deaths} of {ENTRIES}", "0", deaths == 0)
    yield Line(f"entered, {what}", f"{served} of {ENTRIES}, {middle:.2f} s in the middle", "", None)
    for sentence, count in said.items():
        yield Line(f"not entered {count} times", sentence, "", None)
