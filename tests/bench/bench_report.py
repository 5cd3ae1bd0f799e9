"""The report of the file of faults (1.33 GB) beside its check, and the page of 91,991 tensors.

Run with ``python -m tests.bench --only report``. The file is real, in a temporary folder, in the page cache.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.bench.line import Line
from tests.factories_faults import FULL, write_faulty
from tests.factories_names import deepseek_v3_names
from tests.reports.test_page import synthetic
from tui_params.api.opening import ENGINE
from tui_params.api.summarizing import summarize
from tui_params.core.dtypes import from_safetensors
from tui_params.core.figures import Figures
from tui_params.core.tensor import describe
from tui_params.reports.page import page

RUNS = 3
_COMMAND = "import sys; from tui_params.cli.app import run; run(sys.argv[1:])"


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    ENGINE.start_compiling().done.wait()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faulty.safetensors"
        nbytes = write_faulty(path, FULL)
        out = str(Path(folder) / "report.html")
        # By turns, so that both meet the same machine.
        pairs = [(taken("check", str(path)), taken("report", str(path), "-o", out, "--force")) for _ in range(RUNS)]
        check, report = (min(times) for times in zip(*pairs, strict=True))
        what = f"report of {nbytes / 1e9:.2f} GB: beyond its check"
        said = f"{report - check:.2f} s ({report:.2f} beside {check:.2f})"
        yield Line(what, said, "under 2 s", report - check < 2)
        size = Path(out).stat().st_size
        yield Line("its page", f"{size / 1e3:.0f} kB", "under 2 MB", size < 2_000_000)
    summary = summarize(np.array([1.0, 2.5, -3.25], np.float32))
    figures = Figures(**{name: getattr(summary, name) for name in Figures.__struct_fields__})
    dtypes = {code: from_safetensors(code) for _, _, code in deepseek_v3_names()}
    infos = [describe(name, shape, dtype) for name, shape, code in deepseek_v3_names() if (dtype := dtypes[code])]
    facts = synthetic(infos, lambda _: figures)
    start = time.perf_counter()
    size = sum(len(piece.encode()) for piece in page(facts))
    seconds = time.perf_counter() - start
    yield Line(
        f"page of {len(infos):,} tensors", f"{seconds:.2f} s, {size / 1e3:.0f} kB", "under 2 s, 2 MB", seconds < 2
    )


def taken(*arguments: str) -> float:
    """Seconds that a command takes as a process, from its start to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _COMMAND, *arguments], capture_output=True, check=True)
    return time.perf_counter() - start
