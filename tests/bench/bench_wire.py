"""What a walk through the demo sends: the cursor goes down 150 rows of the open tree, every tensor having been read.

An update stands between two marks of synchronised output. The first after a key is the move of the cursor, or a tree
that scrolls by a row; those that follow are the page. What a page must send is counted beside it: the bytes of the
letters that it changes, without a colour or a movement of the cursor.
"""

from __future__ import annotations

import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench_latency import DOWN, percentile
from tests.bench.bench_start import Terminal
from tests.bench.line import Line
from tests.factories_cells import CellTerminal, same
from tui_params.demo import make_demo

STEPS = 150
HOME = b"\x1b[H"
_UPDATE = re.compile(rb"\x1b\[\?2026h(.*?)\x1b\[\?2026l", re.DOTALL)
_OURS = re.compile(r"\x1b\[(?:[0-9;]*[A-DGHXm])|[^\x1b]", re.DOTALL)
"""What the terminal of the tests understands; what else is sent at the start changes no cell."""

LIMITS = {(120, 36): (512, 2304, 2560), (80, 24): (512, 1280, 1536)}
"""The most bytes of a move, of a move that scrolls the tree and of a page, at the 95 % quantile."""


def run() -> Iterator[Line]:
    for size, limits in LIMITS.items():
        folder = Path(tempfile.mkdtemp(prefix="tui-params-bench-"))
        try:
            yield from walk(size, limits, folder)
        finally:
            shutil.rmtree(folder)


def walk(size: tuple[int, int], limits: tuple[int, int, int], folder: Path) -> Iterator[Line]:
    """The lines of one size of the terminal."""
    columns, lines = size
    moves: list[float] = []
    scrolls: list[float] = []
    pages: list[float] = []
    letters: list[float] = []
    seen = CellTerminal()
    with Terminal([sys.executable, "-m", "tui_params", str(make_demo())], folder, size) as terminal:
        terminal.wait_for((b"layers", b"lm_head"))
        for key in (b"", b"S", b"E", HOME):
            terminal.press(key)
            terminal.settle()
        _draw(seen, bytes(terminal.output))
        for row in range(STEPS):
            start = len(terminal.output)
            terminal.press(DOWN)
            terminal.settle(0.3)
            move, *page = _UPDATE.findall(terminal.output[start:])
            (moves if row < lines - 6 else scrolls).append(len(move))
            _draw(seen, move)
            before = same(seen.cells)
            _draw(seen, b"".join(page))
            after = same(seen.cells)
            pages.append(sum(map(len, page)))
            changed = (cell[0] for place, cell in after.items() if before.get(place) != cell)
            letters.append(sum(len(letter.encode()) for letter in changed if letter != " "))
        terminal.quit()
    whats = ("a move", "a move that scrolls the tree", "its page", "letters that a page changes")
    for what, sent, most in zip(whats, (moves, scrolls, pages, letters), (*limits, None), strict=True):
        middle, high = statistics.median(sent), percentile(sent, 0.95)
        target = f"p95 < {most:,} B" if most is not None else ""
        measured = f"median {middle:,.0f} B, p95 {high:,.0f} B"
        yield Line(f"wire: {columns}x{lines}, {what}", measured, target, None if most is None else high < most)


def _draw(terminal: CellTerminal, sent: bytes) -> None:
    terminal.write("".join(match.group() for match in _OURS.finditer(sent.decode(errors="replace"))))
