"""Bit patterns of every element type, and a slow reference for their statistics in exact fractions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import DTYPES, DType, from_torch, numpy_dtype
from tui_params.core.kernels.engine import Engine
from tui_params.core.source import Listing, Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window


def pack_codes(codes: list[int], bits: int) -> NDArray[np.uint8]:
    """Codes as one little-endian bit stream, by big-integer arithmetic."""
    stream = sum(code << bits * i for i, code in enumerate(codes))
    return np.frombuffer(stream.to_bytes((len(codes) * bits + 7) // 8, "little"), np.uint8)


def special_codes(part: DType) -> list[int]:
    """Patterns that matter: zeros, the least and greatest, subnormals, infinities, NaNs, the extremes of integers."""
    top = 1 << part.bits - 1
    codes = {0, 1, 2, 3, top - 1, top, top + 1, 2 * top - 1, 2 * top - 2, top // 2, 5}
    mantissas = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7, "float8_e5m2": 2}
    if part.name in mantissas:
        m = mantissas[part.name]
        infinity = top - (1 << m)
        one = (infinity >> 1 >> m) << m
        low = [1 << m, (1 << m) - 1, infinity, infinity - 1, infinity + 1, infinity | 1 << m - 1, one, one + 1, one - 1]
        codes |= {code | sign for code in low for sign in (0, top)}
    if part.name == "float32":
        codes |= {0x7F800001, 0xFF80FFFF, 0x0000FFFF, 0x00010000, 0x80008000}
    return sorted(code for code in codes if code < 1 << part.bits)


def exact_values(codes: list[int], part: DType) -> list[Fraction | float | None]:
    """What each pattern means: a Fraction, an infinity, or None for NaN."""
    if part.kind == "bool":
        return [Fraction(int(code != 0)) for code in codes]
    if part.kind == "int":
        signed = not part.name.lstrip("q").startswith("u") and not part.name.startswith("bits")
        wrap = 1 << part.bits
        return [Fraction(code - wrap if signed and code >= wrap // 2 else code) for code in codes]
    unsigned = np.array(codes, f"u{max(1, part.bits // 8)}")
    with np.errstate(invalid="ignore"):
        floats = unsigned.view(np.dtype(numpy_dtype(part))).astype(np.float64).tolist()
    return [None if math.isnan(x) else x if math.isinf(x) else Fraction(x) for x in floats]


def reference(codes: list[int], dtype: DType) -> dict[str, Any]:
    """The statistics of elements (of the parts, for a complex type) by the definition, in Fractions."""
    part = part_of(dtype)
    values = exact_values(codes, part)
    finite = sorted(x for x in values if isinstance(x, Fraction))
    n = len(finite)
    is_float = part.kind == "float"
    tiny = Fraction(float(ml_dtypes.finfo(numpy_dtype(part)).smallest_normal)) if is_float else Fraction(0)
    out: dict[str, Any] = {
        "count": len(values),
        "finite": n,
        "nan": values.count(None),
        "pos_inf": values.count(math.inf),
        "neg_inf": values.count(-math.inf),
        "zeros": finite.count(Fraction(0)),
        "subnormals": sum(0 < abs(x) < tiny for x in finite),
        "at_max": None,
        "below_max": None,
        "min": None,
        "max": None,
        "abs_max": None,
        "mean": None,
    }
    if is_float:
        largest, below = two_largest(part)
        out["at_max"] = sum(abs(x) == largest for x in finite)
        if part.bits <= 16:
            out["below_max"] = sum(abs(x) == below for x in finite)
    if n:
        total, squares = sum(finite), sum(x * x for x in finite)
        out |= {"min": finite[0], "max": finite[-1], "abs_max": max(-finite[0], finite[-1]), "mean": float(total / n)}
        out["squared"] = {"std": squares / n - (total / n) ** 2, "rms": squares / n, "l2_norm": squares}
    return out | {"sorted": finite}


@cache
def two_largest(part: DType) -> tuple[Fraction, Fraction]:
    """The two largest finite values of a floating type: of all there are, or of a wide one by the definition."""
    if part.bits > 16:
        native = np.dtype(numpy_dtype(part))
        largest = np.finfo(native).max
        return Fraction(float(largest)), Fraction(float(np.nextafter(largest, native.type(0))))
    every = exact_values(list(range(1 << part.bits)), part)
    finite = sorted({x for x in every if isinstance(x, Fraction)})
    return finite[-1], finite[-2]


def quantile(finite: list[Fraction] | list[int], q: str) -> Fraction:
    """numpy's "linear" rule in exact arithmetic."""
    position = Fraction(q) * (len(finite) - 1)
    rank = math.floor(position)
    upper = finite[min(rank + 1, len(finite) - 1)]
    return finite[rank] + (upper - finite[rank]) * (position - rank)


def part_of(dtype: DType) -> DType:
    part = from_torch(dtype.part) if dtype.part else dtype
    assert part is not None
    return part


READABLE = tuple(dtype for dtype in DTYPES if part_of(dtype).numpy)


class BytesSource(Source):
    """Tensors in memory, given out in blocks of ``step`` elements from one buffer that is used again."""

    def __init__(
        self,
        tensors: dict[TensorInfo, NDArray[np.uint8]] | None = None,
        step: int = 4096,
        *,
        engine: Engine | None = None,
    ) -> None:
        if engine is not None:
            self.engine = engine
        self.label = "bytes"
        self.raw = {info.name: raw for info, raw in (tensors or {}).items()}
        self.listing = Listing("bytes", tuple(tensors or {}))
        self.step = step
        self.reads: list[tuple[str, int, int]] = []

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        raise NotImplementedError

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        stop = info.numel if stop is None else stop
        self.reads.append((info.name, start, stop))
        buffer = np.empty(info.dtype.nbytes(self.step), np.uint8)
        for first in range(start, stop, self.step):
            begin, end = info.dtype.nbytes(first), info.dtype.nbytes(min(first + self.step, stop))
            buffer[: end - begin] = self.raw[info.name][begin:end]
            yield buffer[: end - begin]
            buffer.fill(0xA5)

    def close(self) -> None:
        pass
