"""The explorer on two large files: seconds until both are compared against ``diff`` of them, and private memory.

Run with ``python -m tests.bench.bench_compare``. Both are processes of their own, over files in the page cache. The
explorer draws for a terminal that is not there. Its time begins with the opening: what Textual takes to start is the
same for one file (``bench_start``); the time of the whole process is printed beside it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench_diff import command_line, write
from tests.bench.bench_stats import PrivateMemory, seconds
from tests.bench.line import Line
from tui_params.api.opening import ENGINE

TENSORS = 36
RATIO = 1.2
STRUCTURE_SECONDS = 0.3
MEMORY_LIMIT_MB = 30
PATIENCE = 60.0


def in_explorer(a: str, b: str, started: float) -> dict[str, float]:
    """When the structure and when everything was shown, from the start of the process on; and the memory of it all."""
    from tui_params.api.opening import open_source
    from tui_params.tui.app import ParamsApp
    from tui_params.tui.desk.pending_source import PendingSource
    from tui_params.tui.screens.explorer.screen import ExplorerScreen

    opening = time.time()
    app = ParamsApp(PendingSource(a, lambda: open_source(a), open_other=lambda: open_source(b)))

    async def watch() -> tuple[float, float]:
        structure = 0.0
        async with app.run_test(size=(120, 36)) as pilot:
            while time.time() - started < PATIENCE:
                screen = app.screen
                pages = screen.pages if isinstance(screen, ExplorerScreen) else None
                if pages is not None and pages.changes.is_across:
                    structure = structure or time.time()
                    if pages.changes.is_whole:
                        return structure - opening, time.time() - opening
                await asyncio.sleep(0.002)
            await pilot.pause()
        raise AssertionError("the comparison does not end")

    with PrivateMemory() as memory:
        structure, whole = asyncio.run(watch())
    return {"structure": structure, "whole": whole, "before": opening - started, "memory": memory.megabytes}


def in_diff(a: str, b: str) -> dict[str, float]:
    from tui_params.api.comparing import compare

    with PrivateMemory() as memory:
        compare(a, b)
    return {"memory": memory.megabytes}


def child(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.bench_compare", *arguments]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    ENGINE.start_compiling().done.wait()
    with tempfile.TemporaryDirectory() as folder:
        a, b = (Path(folder) / f"{name}.safetensors" for name in "ab")
        write(a, changed=0, count=TENSORS)
        write(b, changed=2, count=TENSORS)
        what = f"compare of two {a.stat().st_size / 1e6:.0f} MB files"
        plain = min(seconds(lambda: command_line(a, b)) for _ in range(3))
        tries = [child("--explorer", str(a), str(b), str(time.time())) for _ in range(3)]
        whole = min(found["whole"] for found in tries)
        structure = min(found["structure"] for found in tries)
        yield Line(f"{what}: tui-params diff", f"{plain:.2f} s", "", None)
        ratio = whole / plain
        yield Line(f"{what}: in the explorer", f"{whole:.2f} s, {ratio:.2f} x", f"< {RATIO:g} x", ratio < RATIO)
        process = min(found["whole"] + found["before"] for found in tries)
        yield Line(f"{what}: whole process of it", f"{process:.2f} s", "", None)
        limit = STRUCTURE_SECONDS
        yield Line(f"{what}: structure shown", f"{structure:.2f} s", f"< {limit:g} s", structure < limit)
        more = min(found["memory"] for found in tries) - child("--diff", str(a), str(b))["memory"]
        yield Line(f"{what}: more memory", f"{more:.0f} MB", f"< {MEMORY_LIMIT_MB} MB", more < MEMORY_LIMIT_MB)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--explorer"]:
        print(json.dumps(in_explorer(arguments[1], arguments[2], float(arguments[3]))))
        return
    if arguments[:1] == ["--diff"]:
        print(json.dumps(in_diff(*arguments[1:])))
        return
    for line in run():
        mark = {None: "", True: "ok", False: "MISSED"}[line.ok]
        print(f"{line.what:64} {line.measured:24} {line.target:12} {mark}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
