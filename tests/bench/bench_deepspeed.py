"""The check of a ZeRO-3 checkpoint of 8 ranks, 85 million parameters with their moments: 1.02 GB of optimizer files.

Run with ``python -m tests.bench --only deepspeed``. The files are real, in a temporary folder, in the page cache.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.line import Line
from tui_params.api.opening import ENGINE, open_source
from tui_params.core.health.checker import check

WORLD = 8
LAYERS = 12
WIDTH = 768
RUNS = 3
MOST = 1.5
"""How many times as long as that of the same tensors in one file a check may take."""

_WRITE = """
import sys
from pathlib import Path
from tests.bench.bench_deepspeed import write
write(Path(sys.argv[1]))
"""
_CONVERT = """
import sys, time
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint as convert
start = time.perf_counter()
convert(sys.argv[1])
print("seconds", time.perf_counter() - start)
"""


def shapes() -> dict[str, tuple[int, ...]]:
    """The parameters of a model of GPT-2's size without its embeddings."""
    found: dict[str, tuple[int, ...]] = {}
    for layer in range(LAYERS):
        for name, shape in (
            ("ln_1.weight", (WIDTH,)),
            ("ln_1.bias", (WIDTH,)),
            ("attn.c_attn.weight", (3 * WIDTH, WIDTH)),
            ("attn.c_attn.bias", (3 * WIDTH,)),
            ("attn.c_proj.weight", (WIDTH, WIDTH)),
            ("attn.c_proj.bias", (WIDTH,)),
            ("ln_2.weight", (WIDTH,)),
            ("ln_2.bias", (WIDTH,)),
            ("mlp.c_fc.weight", (4 * WIDTH, WIDTH)),
            ("mlp.c_fc.bias", (4 * WIDTH,)),
            ("mlp.c_proj.weight", (WIDTH, 4 * WIDTH)),
            ("mlp.c_proj.bias", (WIDTH,)),
        ):
            found[f"h.{layer}.{name}"] = shape
    return found


def write(folder: Path) -> None:
    """Write the checkpoint, and ``whole.pt`` with the same tensors; needs torch."""
    import torch

    from tests.factories_deepspeed import Zero

    zero = Zero(3, WORLD, shapes=shapes(), has_frozen=False)
    zero.write(folder / "run")
    torch.save(zero.everything, folder / "whole.pt")


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    if importlib.util.find_spec("torch") is None:
        yield Line("check of a ZeRO-3 checkpoint", "not measured: torch, which writes it, is not installed", "", None)
        return
    ENGINE.start_compiling().done.wait()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-c", _WRITE, name], check=True)
        run = folder / "run"
        files = sorted(run.glob("*/*optim_states.pt"))
        nbytes = sum(file.stat().st_size for file in files)
        what = f"ZeRO-3 of {WORLD} ranks, {nbytes / 1e9:.2f} GB"
        plain = best(lambda: subprocess.run(["cat", *map(str, files)], stdout=subprocess.DEVNULL, check=True))
        opening = best(lambda: open_source(run).close())
        yield Line(f"{what}: opening", f"{opening:.2f} s", "under 0.5 s", opening < 0.5)
        whole = best(lambda: checked(folder / "whole.pt", 2))
        taken = best(lambda: checked(run, 2))
        times = taken / whole
        yield Line(f"{what}: cat of the files", f"{plain:.2f} s", "", None)
        measured = f"{taken:.2f} s, {times:.1f} x one file, {taken / plain:.1f} x cat"
        yield Line(f"{what}: check, two threads", measured, f"under {MOST} x one file", times < MOST)
        yield convert(run, what, taken)


def convert(folder: Path, what: str, taken: float) -> Line:
    """How long the script that DeepSpeed puts beside each checkpoint takes for the float32 values alone."""
    python = os.environ.get("TUI_PARAMS_DEEPSPEED_PYTHON", sys.executable)
    result = subprocess.run([python, "-c", _CONVERT, str(folder)], capture_output=True, text=True, check=False)
    said = [line for line in result.stdout.splitlines() if line.startswith("seconds ")]
    if not said:
        return Line(f"{what}: zero_to_fp32", "not measured: deepspeed is not installed", "", None)
    seconds = float(said[-1].split()[1])
    return Line(f"{what}: zero_to_fp32", f"{seconds:.2f} s, {seconds / taken:.1f} x the check", "", None)


def checked(folder: Path, threads: int) -> None:
    """A check that finds the checkpoint whole."""
    with open_source(folder) as source:
        report = check(source, threads=threads)
    assert report.status != "unchecked", report.unchecked[:3]


def best(call: Callable[[], object]) -> float:
    """The shortest of some runs, in seconds."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
