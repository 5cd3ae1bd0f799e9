"""What a command costs as a process, measured in turn with a Python that imports json and ends.

The aim is twice that Python and 60 ms. What is above it are click, msgspec and our own modules; `stats` and `check`
compute with numpy, whose import alone takes longer than the aim allows, also for one small tensor.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench_start import expert_names, write_sparse
from tests.bench.line import Line

RUNS = 9
MAIN = "import sys; from tui_params.__main__ import main; sys.exit(main())"


def seconds(arguments: list[str], folder: Path) -> float:
    """The time of one process, from its start to its end."""
    # Users run byte code, and have files of their own in the cache.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["XDG_CACHE_HOME"] = str(folder)
    began = time.perf_counter()
    done = subprocess.run(arguments, env=environment, capture_output=True, check=False)
    took = time.perf_counter() - began
    assert done.returncode in (0, 1), done.stderr  # zeros are a finding
    return took


def run() -> Iterator[Line]:
    """Whole processes, each right after one of the bare Python; the median of the pairs counts."""
    folder = Path(tempfile.mkdtemp(prefix="tui-params-bench-"))
    try:
        large, small = folder / "300.safetensors", folder / "small.safetensors"
        write_sparse(large, expert_names(300))
        write_sparse(small, expert_names(20))
        for what, arguments, most in (
            ("ls of 300 tensors", ["ls", str(large)], 6.0),
            ("ls --json of 300 tensors", ["ls", "--json", str(large)], 6.0),
            ("stats of one tensor", ["stats", str(small), "lm_head.weight"], 13.0),
            ("check of 20 tensors of 8 KiB", ["check", str(small)], 18.0),
        ):
            command = [sys.executable, "-c", MAIN, *arguments]
            took, ratios, over = [], [], []
            for _ in range(RUNS):
                bare = seconds([sys.executable, "-c", "import json"], folder)
                took.append(seconds(command, folder))
                ratios.append(took[-1] / bare)
                over.append(took[-1] - 2 * bare)
            ratio = statistics.median(ratios)
            yield Line(f"process: {what}", f"{statistics.median(took) * 1000:.0f} ms", "", None)
            yield Line(f"process: {what}, beyond twice Python", f"{statistics.median(over) * 1000:+.0f} ms", "", None)
            yield Line(f"process: {what}, over Python", f"{ratio:.1f} x", f"< {most} x", ratio < most)
    finally:
        shutil.rmtree(folder)
