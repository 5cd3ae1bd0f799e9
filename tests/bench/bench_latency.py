"""Keys during a scan: how long from a key to its paint, seen from outside, and how late the app's own clock runs.

The explorer opens a large file in a pseudo-terminal of 120x36 and reads all of it (``S``); meanwhile the cursor is
moved every 70 ms. A move is painted when the bar of the cursor has been sent again. The heartbeat is a timer of the
app that should run every 10 ms: how late it runs is how long the screen was deaf.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench_start import Terminal
from tests.bench.line import Line
from tests.factories_faults import FULL, write_faulty

LIMIT_MS = 50.0
PAUSE = 0.07
BAR = b"48;2;43;63;82"  # the background of the cursor's bar in quiet-dark
DOWN, UP = b"\x1b[B", b"\x1b[A"

# The explorer with a timer that writes how late it was.
HEARTBEAT = """
import sys, time
from tui_params.tui import explore
from tui_params.tui.screens.explorer.screen import ExplorerScreen
late = []
original = ExplorerScreen.on_mount
def mount(self):
    original(self)
    expected = [time.perf_counter() + 0.01]
    def beat():
        now = time.perf_counter()
        if self.answers.sweep is not None:
            late.append((now - expected[0]) * 1000)
        expected[0] = now + 0.01
    self.set_interval(0.01, beat)
ExplorerScreen.on_mount = mount
code = explore.run_path(sys.argv[1])
open(sys.argv[2], "w").write(" ".join(f"{max(value, 0):.2f}" for value in late))
sys.exit(code)
"""


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def press_through(terminal: Terminal) -> list[float]:
    """Milliseconds from each key to its paint, for as long as the scan goes on."""
    terminal.press(b"S")
    waits: list[float] = []
    began = time.perf_counter()
    while len(waits) < 120 and time.perf_counter() - began < 30:
        terminal.bytes_within(PAUSE)
        seen = len(terminal.output)
        pressed = time.perf_counter()
        terminal.press(DOWN if len(waits) % 20 < 10 else UP)
        while BAR not in terminal.output[seen:]:
            if time.perf_counter() - pressed > 5 or terminal.read(1.0) < 0:
                break
        waits.append((time.perf_counter() - pressed) * 1000)
        if b"checked" in terminal.output[seen:] or b"error" in terminal.output[seen:]:
            break
    return waits


def run() -> Iterator[Line]:
    folder = Path(tempfile.mkdtemp())
    try:
        path, beats = folder / "model.safetensors", folder / "beats"
        write_faulty(path, FULL)
        waits: list[float] = []
        late: list[float] = []
        for _ in range(5):
            command = [sys.executable, "-c", HEARTBEAT, str(path), str(beats)]
            shutil.rmtree(
                folder / "tui-params", ignore_errors=True
            )  # figures that were kept would end the scan at once
            with Terminal(command, folder) as terminal:
                terminal.wait_for((b"layers", b"weight"))
                terminal.settle(0.3)
                waits += press_through(terminal)
                terminal.quit()
            late += [float(word) for word in beats.read_text().split()]
        for what, values in (("key to paint, from outside", waits), ("how late a 10 ms timer of the app runs", late)):
            if not values:
                yield Line(f"during a scan of 1.33 GB: {what}", "nothing was measured", "", False)
                continue
            middle, high = statistics.median(values), percentile(values, 0.95)
            measured = f"median {middle:.0f} ms, p95 {high:.0f} ms, worst {max(values):.0f} ms ({len(values)})"
            yield Line(f"during a scan of 1.33 GB: {what}", measured, f"p95 < {LIMIT_MS:.0f} ms", high < LIMIT_MS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for line in run():
        print(*line, sep="  ")
