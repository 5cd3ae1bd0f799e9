"""DifferenceSource: B - A of the tensors that two sources have in common, computed where it is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core.beat import Beat
from tui_params.core.compare.joint_line import joint_line
from tui_params.core.compare.side_by_side import pieces
from tui_params.core.compare.structure import Pair
from tui_params.core.dtypes import DType, from_torch
from tui_params.core.numbers.decode import decode
from tui_params.core.source import Listing, Source
from tui_params.core.tensor import TensorInfo, describe
from tui_params.core.window import Window
from tui_params.errors import ReadError

Floats = NDArray[np.float64]


class DifferenceSource(Source):
    """The differences by the names of A, each rounded to float64; 0 where both sides are equal, NaN and Inf too.

    The sources stay open when it is closed. Only pairs of real tensors of one shape are in it (``why_not``).
    """

    def __init__(self, a: Source, b: Source, pairs: Iterable[Pair]) -> None:
        self.label = f"{b.label} - {a.label}"
        self.engine = a.engine
        self.line = joint_line(a.line, b.line)
        self._a, self._b = a, b
        self._pairs = {pair.name: pair for pair in pairs if why_not(pair) is None}
        kind = from_torch("float64")
        assert kind is not None
        infos = tuple(_described(pair, kind) for pair in self._pairs.values())
        self.listing = Listing("B - A", infos, is_ordered=True)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        pair = self._pair(info)
        stop = info.numel if stop is None else stop
        a_side, b_side = self._a.still(pair.a, start, stop), self._b.still(pair.b, start, stop)
        for piece in pieces(a_side, pair.a, b_side, pair.b, start, stop):
            a, b = decode(piece.a, pair.a.dtype, piece.numel), decode(piece.b, pair.b.dtype, piece.numel)
            yield subtracted(a, b).astype("<f8", copy=False).view(np.uint8)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        pair = self._pair(info)
        return subtracted(self._a.read_window(pair.a, window), self._b.read_window(pair.b, window))

    def to_fetch(self, info: TensorInfo) -> int:
        pair = self._pair(info)
        return self._a.to_fetch(pair.a) + self._b.to_fetch(pair.b)

    def beat(self) -> Beat | None:
        return self._a.beat() or self._b.beat()

    def _pair(self, info: TensorInfo) -> Pair:
        pair = self._pairs.get(info.name)
        if pair is None:
            raise ReadError(f"{info.name} has no partner")
        return pair

    def close(self) -> None:
        """The sources belong to someone else."""


def why_not(pair: Pair) -> str | None:
    """Why the difference of a pair cannot be looked at, one sentence; None if it can."""
    if not pair.has_same_shape:
        return "The shapes differ: there is no difference to look into."
    for info in (pair.a, pair.b):
        if info.unreadable is not None:
            return "One side cannot be read: there is no difference to look into."
        if info.dtype.is_complex or info.dtype.is_packed or info.dtype.numpy is None:
            return f"The difference of {info.dtype.name} elements cannot be looked into."
    return None


def subtracted(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """``b - a`` in float64; 0 where both are equal, also where both are NaN or the same infinity."""
    with np.errstate(all="ignore"):
        left, right = a.astype(np.float64), b.astype(np.float64)
        found: Floats = np.subtract(right, left)
        odd = ~np.isfinite(found)
        if odd.any():
            found[odd & ((left == right) | (np.isnan(left) & np.isnan(right)))] = 0.0
    return found


def _described(pair: Pair, kind: DType) -> TensorInfo:
    return describe(pair.name, pair.a.shape, kind)
