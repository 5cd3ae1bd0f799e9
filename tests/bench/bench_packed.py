"""Statistics of packed weights, against restoring them as their libraries do and asking torch about the result.

What torch is asked is what people write: least, greatest, mean, std, norm, zeros, NaN, infinities, a histogram; no
quantiles, which take longer than all of these. The libraries restore where they are installed; elsewhere their formula
in torch does, on whole tensors. Both use all cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from tests.bench.bench_stats import MEMORY_LIMIT_MB, PrivateMemory, seconds
from tests.bench.line import Line
from tests.factories_gguf import gguf_bytes
from tui_params import open_source
from tui_params.api.opening import ENGINE
from tui_params.core.packed.codes import E2M1
from tui_params.core.reading.tensor_reading import sample, summarize
from tui_params.core.source import Source

ROWS = COLUMNS = 4096
NUMEL = ROWS * COLUMNS
TIMES = 5
NF4 = (
    "-1 -0.6961928 -0.52507305 -0.39491749 -0.28444138 -0.18477343 -0.09105004 0 "
    "0.0795803 0.1609302 0.2461123 0.33791524 0.44070983 0.562617 0.72295684 1"
)

Restored = Callable[[], torch.Tensor]


def asked(restore: Restored) -> tuple[float, ...]:
    """What people write about a weight once they have it."""
    x = restore().float()
    found = [x.min(), x.max(), x.mean(), x.std(), x.norm(), (x == 0).sum(), x.isnan().sum(), x.isinf().sum()]
    x.histc(64)
    return tuple(float(each) for each in found)


def _bytes(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, count, np.uint8))


def _halves(packed: torch.Tensor, *, is_high_first: bool) -> torch.Tensor:
    """The two codes of each byte."""
    low, high = packed & 15, packed >> 4
    return torch.stack((high, low) if is_high_first else (low, high), -1).reshape(*packed.shape[:-1], -1)


def nf4(folder: Path) -> tuple[str, Restored]:
    table = torch.tensor([float(word) for word in NF4.split()])
    codes, absmax = _bytes(NUMEL // 2).reshape(-1, 1), torch.rand(NUMEL // 64) * 0.1
    state = {"quant_type": "nf4", "blocksize": 64, "shape": [ROWS, COLUMNS], "dtype": "bfloat16"}
    text = torch.frombuffer(bytearray(json.dumps(state).encode()), dtype=torch.uint8)
    names = {"": codes, ".absmax": absmax, ".quant_map": table, ".quant_state.bitsandbytes__nf4": text}
    save_file({f"fc.weight{name}": value for name, value in names.items()}, folder / "nf4.safetensors")
    try:
        from bitsandbytes import functional
    except ImportError:

        def restore() -> torch.Tensor:
            values = table[_halves(codes.reshape(-1), is_high_first=True).int()].reshape(-1, 64) * absmax[:, None]
            return values.reshape(ROWS, COLUMNS).bfloat16()

        return "the formula in torch", restore
    kept = functional.QuantState(
        absmax, torch.Size((ROWS, COLUMNS)), table, blocksize=64, quant_type="nf4", dtype=torch.bfloat16
    )
    return "bitsandbytes", lambda: functional.dequantize_4bit(codes, kept)


def gptq(folder: Path) -> tuple[str, Restored]:
    groups = COLUMNS // 128
    words, zeros = _bytes(NUMEL // 2).view(torch.int32), _bytes(groups * ROWS // 2).view(torch.int32)
    words, zeros = words.reshape(COLUMNS // 8, ROWS), zeros.reshape(groups, ROWS // 8)
    scales, order = (torch.rand(groups, ROWS) * 0.01).half(), (torch.arange(COLUMNS) // 128).int()
    names = {"qweight": words, "qzeros": zeros, "scales": scales, "g_idx": order}
    save_file({f"fc.{name}": value for name, value in names.items()}, folder / "gptq.safetensors")
    shifts = torch.arange(0, 32, 4, dtype=torch.int32)

    def restore() -> torch.Tensor:
        """AutoGPTQ 0.7.1, qlinear_cuda_old.py, in its own steps."""
        zero = ((zeros[:, :, None] >> shifts) & 15).reshape(groups, ROWS) + 1 & 15
        code = ((words[:, None, :] >> shifts[:, None]) & 15).reshape(COLUMNS, ROWS)
        index = order.long()
        return (scales[index] * (code - zero[index]).half()).T

    return "AutoGPTQ's formula in torch", restore


def _micro(folder: Path, name: str, scale: torch.Tensor, group: int, overall: torch.Tensor | None) -> Restored:
    codes = _bytes(NUMEL // 2).reshape(ROWS, -1)
    names = {"weight_packed": codes, "weight_scale": scale}
    if overall is not None:
        names["weight_global_scale"] = overall
    save_file({f"fc.{key}": value for key, value in names.items()}, folder / f"{name}.safetensors")
    table = torch.from_numpy(E2M1)

    def restore() -> torch.Tensor:
        """compressed-tensors 0.12: unpack_fp4_from_uint8, then dequantize."""
        values = table[_halves(codes, is_high_first=False).int()].reshape(ROWS, -1, group)
        scales = torch.exp2(scale.float() - 127) if overall is None else scale.float() / overall
        return (values * scales[:, :, None]).reshape(ROWS, COLUMNS).bfloat16()

    return restore


def mxfp4(folder: Path) -> tuple[str, Restored]:
    scale = torch.randint(110, 124, (ROWS, COLUMNS // 32), dtype=torch.uint8)
    return "compressed-tensors' formula in torch", _micro(folder, "mxfp4", scale, 32, None)


def nvfp4(folder: Path) -> tuple[str, Restored]:
    scale = (torch.rand(ROWS, COLUMNS // 16) * 400).to(torch.float8_e4m3fn)
    return "compressed-tensors' formula in torch", _micro(folder, "nvfp4", scale, 16, torch.tensor([20000.0]))


def q4_k(folder: Path) -> tuple[str, Restored]:
    blocks = np.random.default_rng(0).integers(0, 256, (NUMEL // 256, 144), np.uint8)
    factors = np.random.default_rng(1).random((len(blocks), 2)).astype("<f2") * np.float16(0.001)
    blocks[:, :4] = factors.view(np.uint8)
    entry = ("fc.weight", (COLUMNS, ROWS), 12, blocks.tobytes())
    (folder / "q4_k.gguf").write_bytes(gguf_bytes([entry]))
    try:
        from gguf import GGMLQuantizationType, quants
    except ImportError:

        def by_formula() -> torch.Tensor:
            return torch.from_numpy(_q4_k_values(blocks)).reshape(ROWS, COLUMNS)

        return "gguf's formula in numpy", by_formula
    return "gguf", lambda: torch.from_numpy(quants.dequantize(blocks, GGMLQuantizationType.Q4_K)).reshape(ROWS, COLUMNS)


def _q4_k_values(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """gguf 0.17, quants.py, class Q4_K."""
    halves = blocks[:, :4].copy().view("<f2").astype(np.float32)
    first, second, both = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scale = np.concatenate((first & 63, (both & 15) | ((first >> 2) & 48)), -1).astype(np.float32) * halves[:, :1]
    least = np.concatenate((second & 63, (both >> 4) | ((second >> 2) & 48)), -1).astype(np.float32) * halves[:, 1:]
    codes = blocks[:, 16:].reshape(-1, 4, 1, 32) >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)
    values: NDArray[np.float32] = scale[..., None] * (codes & 15).reshape(-1, 8, 32).astype(np.float32)
    return values - least[..., None]


KINDS: dict[str, Callable[[Path], tuple[str, Restored]]] = {
    "nf4": nf4, "gptq": gptq, "mxfp4": mxfp4, "nvfp4": nvfp4, "q4_k": q4_k,
}  # fmt: skip


def statistics(source: Source) -> Any:
    """Every figure of the weight."""
    info = source.find("fc.weight")
    return summarize(source, info).figures(info.numel)


def run() -> Iterator[Line]:
    ENGINE.start_compiling().done.wait()
    with tempfile.TemporaryDirectory() as folder:
        for kind, make in KINDS.items():
            by, restore = make(Path(folder))
            (path,) = Path(folder).iterdir()
            with open_source(path, logical=True) as source:
                figures = statistics(source)
                ours = seconds(partial(statistics, source), TIMES)
            low, high, mean, *_ = asked(restore)
            # float32 gets the mean a little wrong; that nothing else was compared is what this makes sure of.
            assert (low, high) == (figures.min, figures.max)
            assert abs(mean - figures.mean) < 1e-4 * figures.abs_max
            theirs = seconds(partial(asked, restore), 3)
            what = f"{NUMEL / 1e6:.0f} M weights in {kind}: every statistic"
            measured = f"{ours:.3f} s, {by} {theirs:.3f} s, {theirs / ours:.1f} times"
            yield Line(what, measured, "5 times", theirs >= 5 * ours)
            used = peak_megabytes(path)
            what = f"{NUMEL / 1e6:.0f} M weights in {kind}: extra memory"
            yield Line(what, f"{used:.0f} MB", f"under {MEMORY_LIMIT_MB} MB", 0 <= used < MEMORY_LIMIT_MB)
            path.unlink()


def peak_megabytes(path: Path) -> float:
    """The private memory that a fresh process needs at most for the statistics, beyond that of its imports."""
    command = [sys.executable, "-m", "tests.bench.bench_packed", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    return float(done.stdout)


def print_peak(path: str) -> None:
    ENGINE.start_compiling().done.wait()
    with open_source(Path(path), logical=True) as source:
        info = source.find("fc.weight")
        source.read("fc.weight", "[0, :8]")
        with PrivateMemory() as memory:
            sample(source, info).figures(info.numel)
            statistics(source)
    print(memory.megabytes)


if __name__ == "__main__":
    print_peak(sys.argv[1])
