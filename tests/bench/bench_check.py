"""The check of the file of faults: 303 tensors, 612 M elements, 1.33 GB; every fault found, and what each rule costs.

Run with ``python -m tests.bench --only check``. The file is real, in a temporary folder, in the page cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from tests.bench.bench_stats import PrivateMemory
from tests.bench.line import Line
from tests.factories_faults import FULL, planted, write_faulty
from tests.factories_safetensors import entry, file_bytes, write_index
from tui_params.api.opening import ENGINE, open_source
from tui_params.core.crc32 import crc32
from tui_params.core.findings import Finding
from tui_params.core.health import checksums
from tui_params.core.health.checker import check
from tui_params.core.health.places import locate
from tui_params.core.health.registry import RULES, apply_rules, subject_of
from tui_params.core.health.rule import CrossCheck
from tui_params.core.health.subjects import Checkpoint, Subject, sketch
from tui_params.core.health.thresholds import DEFAULT
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.sweep import scan_all
from tui_params.core.source import Source

_WHOLE = """
import sys
from tui_params.cli.app import run
run(["check", sys.argv[1]])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""
"""The whole command, and the most kilobytes that the process had (Linux)."""

MEMORY_LIMIT_MB = 200
RUNS = 3


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    # As any earlier use leaves them: the loops compiled, and kept for the processes that follow.
    ENGINE.start_compiling().done.wait()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faulty.safetensors"
        nbytes = write_faulty(path, FULL)
        plain = plain_read(path)
        results = [measure(path) for _ in range(RUNS)]
        best = min(results, key=lambda result: float(result["check"]))
        what = f"check of {nbytes / 1e9:.2f} GB, 303 tensors"
        taken = float(best["check"])
        yield Line(f"{what}: after start", f"{taken:.2f} s, {taken / plain:.1f} x a plain read", "under 2 s", taken < 2)
        start = float(best["start"])
        yield Line(f"{what}: start (imports, opening)", f"{start:.2f} s", "", None)
        found = {(rule, tensor) for rule, tensor in best["found"]}
        missed = planted(FULL) - found
        said = f"{len(planted(FULL)) - len(missed)} of {len(planted(FULL))}, {len(found - planted(FULL))} others"
        yield Line(f"{what}: planted faults found", said, "all, no others", found == planted(FULL))
        memory = float(best["memory"])
        yield Line(f"{what}: extra memory", f"{memory:.0f} MB", f"under {MEMORY_LIMIT_MB} MB", memory < MEMORY_LIMIT_MB)
        yield from costs(path, taken)
    yield from overlaps()
    yield from absent_names()
    yield from archive_checksums()
    yield from small_tensors()


def archive_checksums() -> Iterator[Line]:
    """The share of the checksums of a torch archive in the processor time of its check."""
    rounds = 5
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive.pt"
        torch.save({f"w{n}": torch.randn(2048, 4096).bfloat16() for n in range(16)}, path)
        taken = {name: float("inf") for name in _CHECKSUMS}
        for _ in range(rounds):
            for name, crc in _CHECKSUMS.items():
                with mock.patch.object(checksums, "crc32", crc):
                    started = time.process_time()
                    with open_source(path) as source:
                        check(source)
                    taken[name] = min(taken[name], time.process_time() - started)
    ours, zlibs = ((taken[name] - taken["none"]) / taken["none"] for name in ("ours", "zlib"))
    said = f"{max(ours, 0.0):.0%} of the rest; by zlib {max(zlibs, 0.0):.0%}"
    yield Line("check of a torch archive of 268 MB: its checksums", said, "at most 10 %", ours <= 0.10)


_CHECKSUMS: dict[str, Callable[..., int]] = {"none": lambda _raw, _start=0: 0, "zlib": zlib.crc32, "ours": crc32}


def small_tensors() -> Iterator[Line]:
    """What a small tensor costs, against what numpy takes for five statistics of the same values."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.safetensors"
        for count, shape, limit in ((10_000, (32, 32), 3.0), (200, (16, 4096), 3.0)):
            numel = shape[0] * shape[1]
            values = (rng.standard_normal((count, *shape)) * 0.02).astype(np.float32)
            header = {
                f"layers.{number}.weight": entry("F32", shape, 4 * numel * number, 4 * numel * (number + 1))
                for number in range(count)
            }
            path.write_bytes(file_bytes(header, values.tobytes()))
            ours = theirs = float("inf")
            for _ in range(RUNS):
                with open_source(path) as source:
                    ours = min(ours, processor_seconds(partial(check, source)))
                theirs = min(theirs, processor_seconds(partial(list, map(five_statistics, values))))
            ratio = ours / theirs
            said = f"{1e6 * ours / count:.0f} us each, {ratio:.1f} x five of numpy's statistics"
            what = f"check of {count:,} float32 tensors of {numel:,} elements"
            yield Line(what, said, f"under {limit:.0f} x", ratio < limit)


def five_statistics(values: NDArray[np.float32]) -> tuple[object, ...]:
    """What people print of a tensor: the extremes, the mean, the standard deviation and the median."""
    return values.min(), values.max(), values.mean(), values.std(), np.median(values)


def processor_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def overlaps() -> Iterator[Line]:
    """Tensors that share bytes cost no more than as many tensors of the same file size that do not."""
    count, side = 10_000, 200
    with tempfile.TemporaryDirectory() as folder:
        apart = checked(Path(folder), [(8 * number, 8 * number + 8) for number in range(count)])
        for what, step in (("the same 160 kB", 0), ("160 kB, each 8 B further", 8)):
            places = [(step * number, step * number + 4 * side * side) for number in range(count)]
            taken = checked(Path(folder), places)
            ratio = taken / apart
            said = f"{taken:.2f} s, {ratio:.1f} x without overlap"
            is_promised = step == 0
            yield Line(
                f"{count:,} tensors share {what}",
                said,
                "under 3 x" if is_promised else "",
                ratio < 3 or not is_promised,
            )


def checked(folder: Path, places: list[tuple[int, int]]) -> float:
    """Seconds that the check of a file with f32 tensors at these places takes, at best."""
    header = {
        f"layers.{number}.weight": entry("F32", ((end - begin) // 4,), begin, end)
        for number, (begin, end) in enumerate(places)
    }
    data = np.random.default_rng(0).standard_normal(places[-1][1] // 4).astype(np.float32).tobytes()
    path = folder / "overlaps.safetensors"
    path.write_bytes(file_bytes(header, data))
    return min(float(measure(path)["check"]) for _ in range(RUNS))


def absent_names() -> Iterator[Line]:
    """The command, from its start to its end, for an index of 300,000 tensors that are in no shard."""
    count = 300_000
    with tempfile.TemporaryDirectory() as folder:
        shard = "model-00001-of-00001.safetensors"
        (Path(folder) / shard).write_bytes(file_bytes({"a": entry("F32", (2,), 0)}, bytes(8)))
        names = (f"model.layers.{number // 256}.mlp.experts.{number % 256}.weight" for number in range(count))
        write_index(Path(folder), {"a": shard} | dict.fromkeys(names, shard))
        start = time.perf_counter()
        command = [sys.executable, "-c", _WHOLE, folder]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
        taken = time.perf_counter() - start
    megabytes = int(done.stderr) / 1000
    what = f"check of an index of {count:,} absent names"
    yield Line(f"{what}: whole process", f"{taken:.2f} s", "under 2 s", taken < 2)
    yield Line(f"{what}: most memory", f"{megabytes:.0f} MB", "under 100 MB", megabytes < 100)


def plain_read(path: Path) -> float:
    """Seconds that one thread needs to read the file in pieces of 1 MiB, at best."""
    buffer = bytearray(1 << 20)
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
        taken.append(time.perf_counter() - start)
    return min(taken)


def measure(path: Path) -> dict[str, Any]:
    """One check in a fresh process."""
    command = [sys.executable, "-m", "tests.bench.bench_check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def print_check(path: str) -> None:
    """What a fresh process measures: the start is over when the source is open."""
    begin = time.time()
    with open_source(path) as source:
        opened = time.time()
        with PrivateMemory() as memory:
            report = check(source)
        ended = time.time()
    found = [(finding.rule, finding.tensor) for finding in report.findings]
    started = begin - process_start()
    print(
        json.dumps(
            {
                "start": started + opened - begin,
                "check": ended - opened,
                "memory": memory.megabytes,
                "found": found,
            }
        )
    )


def process_start() -> float:
    """When this process began, in seconds since the epoch (Linux)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


def costs(path: Path, whole: float) -> Iterator[Line]:
    """What each part of a check costs, in this process and once the loops are compiled."""
    ENGINE.start_compiling().done.wait()
    outcomes: list[Outcome] = []
    with open_source(path) as source:
        names = [info.name for info in source.listing.tensors]
        scan = seconds(lambda: scan_all(source, names, outcomes.append), 1)
        yield Line("of these: the scan (statistics, rows, columns)", f"{1000 * scan:.1f} ms", "", None)
        subjects = [
            subject_of(source.find(outcome.name), outcome.figures, outcome.channels)
            for outcome in outcomes
            if outcome.figures is not None
        ]
        prepare = seconds(lambda: [subject_of(s.info, s.figures, s.channels) for s in subjects])
        yield Line("of these: what each tensor is for", f"{1000 * prepare:.2f} ms", "", None)
        for rule in RULES:
            if rule.check is not None:
                yield Line(f"rule {rule.id}", cost(rule.check, subjects, whole), "", None)
        yield from cross_checks(source, subjects, whole)


def cost(rule: Callable[[Subject], object], subjects: list[Subject], whole: float) -> str:
    return shown(seconds(lambda: [rule(subject) for subject in subjects]), whole)


def cross_checks(source: Source, subjects: list[Subject], whole: float) -> Iterator[Line]:
    """The rules that look at all tensors, and the second reading of those that are not finite."""
    sketches = tuple(sketch(subject) for subject in subjects)
    infos = tuple(subject.info for subject in subjects)

    def places() -> None:
        for subject in subjects:
            if subject.figures.non_finite:
                locate(source, subject.info, apply_rules(subject.info, subject.figures))

    for rule in RULES:
        if rule.cross_check is not None:
            # Each time a new checkpoint, so that each rule pays for the groups that the first one makes for all.
            work = partial(cross_check_once, rule.cross_check, Checkpoint(source, sketches, infos, DEFAULT))
            yield Line(f"rule {rule.id}", shown(seconds(work), whole), "", None)
    yield Line("places of NaN and infinities (read again)", shown(seconds(places), whole), "", None)


def cross_check_once(rule: CrossCheck, checkpoint: Checkpoint) -> list[Finding]:
    return list(rule(msgspec.structs.replace(checkpoint)))


def seconds(work: Callable[[], object], times: int = RUNS) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def shown(taken: float, whole: float) -> str:
    return f"{1000 * taken:.2f} ms ({100 * taken / whole:.2f} %)"


if __name__ == "__main__":
    print_check(sys.argv[1])
