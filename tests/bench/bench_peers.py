"""tui-params and sft-cli 0.2.2 at the same tasks, as whole processes: seconds and peak memory.

sft-cli is installed into a throw-away virtual environment, so this bench needs a package index; without one it says so.
The tasks are the statistics of one tensor of 201 million bf16 elements, and the difference of two files of half that
size in which one tensor differs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.bench.line import Line

PEER = "sft-cli==0.2.2"
SIDE = 1024
ROWS = 196_608


class Run(NamedTuple):
    """One process: its seconds, and its peak resident memory in MiB."""

    seconds: float
    memory: float


def write(path: Path, rows: int, last: int = 0) -> None:
    """A safetensors file of two bf16 tensors, ``[rows, SIDE]`` and ``[SIDE]``; ``last`` is added to the last bits."""
    nbytes = 2 * rows * SIDE
    header = {
        "model.embed_tokens.weight": {"dtype": "BF16", "shape": [rows, SIDE], "data_offsets": [0, nbytes]},
        "model.norm.weight": {"dtype": "BF16", "shape": [SIDE], "data_offsets": [nbytes, nbytes + 2 * SIDE]},
    }
    text = json.dumps(header).encode()
    block = np.random.default_rng(0).normal(0, 0.02, 8192 * SIDE).astype(np.float32).view(np.uint32) >> 16
    bits = block.astype(np.uint16)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _ in range(rows // 8192):
            file.write(bits.data)
        file.write((bits[:SIDE] + np.uint16(last)).data)


# A process of its own, for a child begins with the memory of its parent.
RUNNER = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - began, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


def measure(command: list[str], times: int, files: tuple[Path, ...] = ()) -> Run | str:
    """The best of several runs of a command, or its complaint; ``files`` are touched before each, so none is cached."""
    best = Run(float("inf"), float("inf"))
    for _ in range(times):
        for file in files:
            file.touch()
        done = subprocess.run([sys.executable, "-c", RUNNER, *command], capture_output=True, text=True, check=True)
        seconds, memory, code = map(float, done.stdout.split())
        if code not in (0, 1):
            return done.stderr.strip()[-200:] or f"exit code {code:.0f}"
        unit = 1024 if sys.platform == "linux" else 1024 * 1024
        best = Run(min(best.seconds, seconds), min(best.memory, memory / unit))
    return best


def warm_up(ours: list[str], path: Path, folder: Path) -> None:
    """Run once and wait until the compiled loops are kept, because the first run on a machine is not measured."""
    os.environ["TUI_PARAMS_CACHE"] = str(folder)
    # As it is after installation, where pip compiles the modules too.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "modules")
    subprocess.run([*ours, "stats", str(path)], stdout=subprocess.DEVNULL, check=True)
    end = time.monotonic() + 60
    while not list(folder.glob("*.code")) and time.monotonic() < end:
        time.sleep(0.1)


def install(folder: Path) -> Path | None:
    """The peer's command in a virtual environment of its own, or None where it cannot be installed."""
    done = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, check=False)
    if done.returncode == 0:
        pip = [str(folder / "bin" / "pip"), "install", "-q", PEER, "numpy"]
        done = subprocess.run(pip, capture_output=True, check=False)
    command = folder / "bin" / "sft"
    return command if done.returncode == 0 and command.exists() else None


def run() -> Iterator[Line]:
    folder = Path(tempfile.mkdtemp())
    try:
        sft = install(folder / "venv")
        if sft is None:
            yield Line(f"{PEER} cannot be installed here", "-", "", None)
            return
        large, a, b = (folder / f"{name}.safetensors" for name in ("large", "a", "b"))
        write(large, ROWS)
        write(a, ROWS // 2)
        write(b, ROWS // 2, last=1)
        ours = [sys.executable, "-m", "tui_params"]
        warm_up(ours, large, folder / "cache")
        yield from compare(
            "statistics of 201 M bf16",
            measure([*ours, "stats", str(large), "model.embed_tokens.weight", "--json"], 5, (large,)),
            measure([str(sft), "stat", str(large), "--include=*embed*", "--json"], 1),
            (50, 20),
        )
        yield from compare(
            "difference of two files of 201 MB",
            measure([*ours, "diff", str(a), str(b), "--json"], 5),
            measure([str(sft), "diff", str(a), str(b), "--delta", "--json"], 1),
            (None, None),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compare(what: str, ours: Run | str, theirs: Run | str, targets: tuple[int | None, int | None]) -> Iterator[Line]:
    if isinstance(ours, str) or isinstance(theirs, str):
        failed = ours if isinstance(ours, str) else f"sft-cli: {theirs}"
        yield Line(what, str(failed)[:60], "", None)
        return
    faster, smaller = theirs.seconds / ours.seconds, theirs.memory / ours.memory
    for name, ratio, target, unit, mine, other in (
        ("seconds", faster, targets[0], "s", ours.seconds, theirs.seconds),
        ("peak memory", smaller, targets[1], "MiB", ours.memory, theirs.memory),
    ):
        measured = f"{mine:,.2f} {unit}, sft-cli {other:,.2f} {unit}: 1/{ratio:.0f}"
        promise = f"at most 1/{target}" if target is not None else ""
        yield Line(f"{what}, {name}", measured, promise, ratio >= target if target is not None else None)


if __name__ == "__main__":
    for line in run():
        print(*line, sep="  ")
