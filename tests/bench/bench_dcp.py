"""Distributed checkpoints: listed against torch's own reading of the metadata, statistics against safetensors.

Run with ``python -m tests.bench.bench_dcp``. The checkpoint of 64 ranks has 10,000 tensors, each by one rank, as whole
tensors of a large model are spread; in another each tensor is cut into 64 pieces, as FSDP does.
"""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.line import Line

TENSORS, RANKS = 10_000, 64
TIMES_FASTER, MEMORY_MB, RATIO = 10.0, 150.0, 1.3

_OURS = """
import sys
from pathlib import Path
import tui_params
assert len(tui_params.open_source(sys.argv[1])) == int(sys.argv[2])
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
_TORCH = """
import sys
import torch.distributed.checkpoint as dcp
assert len(dcp.FileSystemReader(sys.argv[1]).read_metadata().state_dict_metadata) == int(sys.argv[2])
"""


def write(folder: Path, pieces: int) -> None:
    """The metadata of TENSORS tensors in so many pieces each, and files as long as they say, which take no space."""
    import torch
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import (
        ChunkStorageMetadata,
        Metadata,
        MetadataIndex,
        TensorProperties,
        TensorStorageMetadata,
    )

    listed, stored, paths = {}, {}, {}
    ends = [0] * RANKS
    rows = 512 // pieces
    for number in range(TENSORS):
        below = f"layers.{number // 12}.part.{number % 12}.weight"
        name = f"model.{below}"
        starts = [torch.Size((piece * rows, 0)) for piece in range(pieces)]
        chunks = [ChunkStorageMetadata(start, torch.Size((rows, 64))) for start in starts]
        listed[name] = TensorStorageMetadata(TensorProperties(dtype=torch.float32), torch.Size((512, 64)), chunks)
        paths[name] = ("model", below)
        for piece, start in enumerate(starts):
            rank = (number + piece) % RANKS
            length = rows * 64 * 4 + 1_300
            stored[MetadataIndex(name, start, piece)] = _StorageInfo(f"__{rank}_0.distcp", ends[rank], length)
            ends[rank] += length
    folder.mkdir()
    (folder / ".metadata").write_bytes(pickle.dumps(Metadata(listed, paths, stored, None, "1.0.0"), protocol=4))
    for rank, end in enumerate(ends):
        (folder / f"__{rank}_0.distcp").write_bytes(b"")
        os.truncate(folder / f"__{rank}_0.distcp", end)


def measure(script: str, folder: Path, times: int) -> tuple[float, str]:
    """Seconds of the processor that a whole process takes, the best of some times, and what it prints."""
    best, out = float("inf"), ""
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-c", script, str(folder), str(TENSORS)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best, out


def statistics(folder: Path, pieces: int, megabytes: int) -> float:
    """How many times as long the statistics of a tensor in pieces take as those of the same in one file."""
    import torch
    from safetensors.torch import save_file

    from tests.factories_dcp import rows, save_distributed
    from tui_params.core.reading.tensor_reading import summarize
    from tui_params.sources.detect import open_path

    whole = torch.randn(pieces * 64, megabytes * (1 << 20) // (2 * pieces * 64)).bfloat16()
    save_distributed(folder, {"w": rows(whole, pieces)}, thread_count=4)
    save_file({"w": whole}, folder.with_suffix(".safetensors"))
    best: dict[Path, float] = {}
    for _ in range(7):
        for path in (folder, folder.with_suffix(".safetensors")):
            # Opened anew each time: the places of the pieces have to be found.
            with open_path(path) as source:
                start = time.process_time()
                summarize(source, source.find("w"))
                best[path] = min(best.get(path, float("inf")), time.process_time() - start)
    return float(best[folder] / best[folder.with_suffix(".safetensors")])


def run() -> Iterator[Line]:
    """The benchmark."""
    with tempfile.TemporaryDirectory() as name:
        for pieces, target in ((1, TIMES_FASTER), (64, None)):
            folder = Path(name) / f"in-{pieces}"
            write(folder, pieces)
            torch_seconds, _ = measure(_TORCH, folder, 3)
            seconds, out = measure(_OURS, folder, 5)
            memory = int(out) / 1024
            what = f"{TENSORS:,} tensors, {TENSORS * pieces:,} pieces, {RANKS} ranks"
            faster = torch_seconds / seconds
            yield Line(
                f"listing {what}",
                f"{seconds:.2f} s, torch {torch_seconds:.2f} s",
                "" if target is None else f"{target:.0f} times less",
                None if target is None else faster >= target,
            )
            limit = MEMORY_MB if target is not None else None
            yield Line(
                "  its memory",
                f"{memory:.0f} MB",
                "" if limit is None else f"{limit:.0f} MB",
                None if limit is None else memory <= limit,
            )
        for pieces, megabytes in ((8, 256), (64, 256)):
            ratio = statistics(Path(name) / f"ck{pieces}", pieces, megabytes)
            yield Line(
                f"statistics of {megabytes} MB in {pieces} pieces",
                f"{ratio:.2f} of safetensors",
                f"{RATIO} of it",
                ratio <= RATIO,
            )


if __name__ == "__main__":
    for line in run():
        print(line.what, line.measured, line.target, line.ok)
