"""Several processes for one check: two ranks of torchrun, and ``--jobs 2``, against one process with one thread.

Run with ``python -m tests.bench --only ranks``; ``TUI_PARAMS_BENCH_GB`` is the size of the file (4). The file is in the
page cache. It takes two free cores: on a busy machine the ratios say how busy it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tests.bench.line import Line
from tests.factories_safetensors import BITS, entry
from tui_params.api.opening import ENGINE

RUNS = 3
LEAST_SPEEDUP = 1.7
MOST_OVERHEAD = 0.3

_CODES = ("BF16", "F16", "F32", "BF16", "F32", "I64", "F8_E4M3")
_PLAIN_RANK = """
import os
from datetime import timedelta
import torch.distributed as dist
next(dist.rendezvous("env://", int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), timeout=timedelta(seconds=60)))
"""
"""What any rank does that finds the others: torch's own start."""


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    # As any earlier use leaves them: the loops compiled, and kept for the processes that follow.
    ENGINE.start_compiling().done.wait()
    gigabytes = float(os.environ.get("TUI_PARAMS_BENCH_GB", "4"))
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder) / "large.safetensors", Path(folder) / "small.safetensors"
        write(large, int(gigabytes * 1e9))
        write(small, 100_000)
        plain = Path(folder) / "plain_rank.py"
        plain.write_text(_PLAIN_RANK)
        alone, jobs, ranks, torch_alone = best(
            lambda: checked(large, is_pinned=True),
            lambda: checked(large, "--jobs", "2"),
            lambda: by_ranks("-m", "tui_params", "check", str(large)),
            lambda: by_ranks(str(plain)),
        )
        what = f"check of {gigabytes:g} GB"
        yield Line(f"{what}: one process, one thread", f"{alone:.2f} s", "", None)
        speedup = alone / jobs
        yield Line(
            f"{what}: --jobs 2", f"{jobs:.2f} s, {speedup:.2f} x", f"{LEAST_SPEEDUP} x", speedup >= LEAST_SPEEDUP
        )
        reading = ranks - torch_alone
        speedup = alone / reading
        said = f"{reading:.2f} s, {speedup:.2f} x"
        yield Line(f"{what}: torchrun, without torch's start", said, f"{LEAST_SPEEDUP} x", speedup >= LEAST_SPEEDUP)
        yield Line("torchrun of two ranks that do nothing", f"{torch_alone:.2f} s", "", None)
        alone, ranks, torch_alone = best(
            lambda: checked(small),
            lambda: by_ranks("-m", "tui_params", "check", str(small)),
            lambda: by_ranks(str(plain)),
        )
        overhead = ranks - torch_alone - alone
        said = f"{overhead:.2f} s beside {alone:.2f} and {torch_alone:.2f} s"
        yield Line("a small file by torchrun: overhead", said, f"{MOST_OVERHEAD} s", overhead < MOST_OVERHEAD)


def best(*measured: Callable[[], float]) -> list[float]:
    """The least seconds of each, taken in turns."""
    rounds = [[measure() for measure in measured] for _ in range(RUNS)]
    return [min(taken) for taken in zip(*rounds, strict=True)]


def checked(path: Path, *options: str, is_pinned: bool = False) -> float:
    """Seconds of a check; pinned to one core, it has one thread."""
    prefix = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if is_pinned else []
    return timed([*prefix, sys.executable, "-m", "tui_params", "check", str(path), *options])


def by_ranks(*program: str) -> float:
    """Seconds of two ranks."""
    return timed([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *program])


def timed(command: Sequence[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return taken


def write(path: Path, nbytes: int) -> None:
    """A healthy file of tensors of seven types, of 64 MiB each at most."""
    tensors, header, begin = list[tuple[str, int]](), dict[str, Any](), 0
    while begin < nbytes:
        code = _CODES[len(tensors) % len(_CODES)]
        width = BITS[code] // 8
        rows = max(1, min(1 << 26, nbytes - begin) // (1024 * width))
        header[f"layers.{len(tensors)}.weight"] = entry(code, (rows, 1024), begin)
        tensors.append((code, rows * 1024))
        begin += rows * 1024 * width
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for number, (code, numel) in enumerate(tensors):
            file.write(values(code, numel, number))


def values(code: str, numel: int, seed: int) -> bytes:
    """Values of scale 0.02, those of integers below 50,000."""
    draw = np.random.default_rng(seed)
    table = draw.standard_normal(1 << 16) * 0.02
    picked = draw.integers(0, 1 << 16, numel, np.uint16)
    if code == "I64":
        return picked.astype("<i8").tobytes()
    types: dict[str, Any] = {"F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn}
    found: bytes = table.astype(types[code])[picked].tobytes()
    return found
