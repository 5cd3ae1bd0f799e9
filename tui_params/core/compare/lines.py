"""Lines of a tensor: a digest of each row and of each column, by which tensors in another layout are recognised.

A digest is BLAKE2b (RFC 7693) of 160 bits over the storage bytes, for which no two different inputs are known to
agree; a line of at most so many bytes is its own digest. So equal digests mean equal lines, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from math import prod
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.compare.side_by_side import Bytes, one_side
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, Window, make_window
from tui_params.errors import ReadError

DIGEST_NBYTES = 20

SLAB_NBYTES = 4 << 20
"""Bytes of whole rows that are held and turned into columns together."""

MOST_COLUMNS = 1 << 16
LONGEST_ROW = 32 << 20

ViewKind = Literal["vector", "row", "matrix", "stack", "grid"]
Digests = NDArray[np.bytes_]


class View(msgspec.Struct, frozen=True):
    """A tensor as ``planes`` matrices of ``rows`` rows and ``columns`` columns.

    "vector": each element is a row. "row": one row. "stack": a matrix for each index of the first of 3 dimensions.
    "grid": a matrix along the first two of 3 or more dimensions, whose items are all the rest. ``width`` are the bytes
    of a row, ``item`` those of one item; 0 where the items of a packed type have no bytes of their own.
    """

    kind: ViewKind
    planes: int
    rows: int
    columns: int
    width: int
    item: int

    @property
    def has_columns(self) -> bool:
        """Whether columns can be told apart, and are few enough."""
        return self.kind in {"matrix", "stack", "grid"} and self.item > 0 and self.columns <= MOST_COLUMNS


def view_of(info: TensorInfo, kind: ViewKind) -> View | None:
    """The tensor in one of the views; None if its rows are not whole bytes or too long to be held, or it has none."""
    shape, dtype = info.shape, info.dtype
    if kind == "vector":
        planes, rows, columns, rest = 1, shape[0], 1, 1
    elif kind == "row":
        planes, rows, columns, rest = 1, 1, shape[0], 1
    elif kind == "matrix":
        planes, rows, columns, rest = 1, shape[0], shape[1], 1
    elif kind == "stack":
        (planes, rows, columns), rest = shape, 1
    else:
        planes, rows, columns, rest = 1, shape[0], shape[1], prod(shape[2:])
    width = dtype.nbytes(columns * rest)
    if not dtype.is_sized or not dtype.fills(columns * rest, width) or not 0 < width <= LONGEST_ROW:
        return None
    if planes * rows * columns * rest != info.numel:
        return None
    item = 0 if dtype.is_packed else dtype.itemsize * rest
    return View(kind, planes, rows, columns, width, item)


class Lines(NamedTuple):
    """The digests of all rows, plane after plane, and of the columns of each plane, ``[planes, columns]``."""

    view: View
    rows: Digests
    columns: Digests | None


def read_lines(
    source: Source, info: TensorInfo, view: View, *, with_columns: bool, check_stop: Callable[[], None]
) -> Lines:
    """The lines of a tensor, from one read in bounded memory; columns only if the view has any.

    Raises ReadError, and what ``check_stop`` raises.
    """
    with_columns = with_columns and view.has_columns
    rows: list[Digests] = []
    columns = []
    slabs = _slabs(source, info, view)
    for _ in range(view.planes):
        gathered = _Columns(view) if with_columns else None
        left = view.rows
        while left:
            slab = next(slabs)
            check_stop()
            rows.append(_digests(slab))
            if gathered is not None:
                gathered.add(slab)
            left -= len(slab)
        if gathered is not None:
            columns.append(gathered.digests())
    return Lines(view, np.concatenate(rows), np.stack(columns) if with_columns else None)


def _slabs(source: Source, info: TensorInfo, view: View) -> Iterator[NDArray[np.uint8]]:
    """The rows of every plane in turn, ``[rows, width]``; each is valid until the next."""
    most = max(min(SLAB_NBYTES // view.width, view.rows), 1)
    buffer = np.empty((most, view.width), np.uint8)
    blocks = (block for block, _ in one_side(source, info, 0, info.numel))
    block: Bytes = np.empty(0, np.uint8)
    for _ in range(view.planes):
        for first in range(0, view.rows, most):
            slab = buffer[: min(most, view.rows - first)]
            flat, done = slab.reshape(-1), 0
            while done < flat.size:
                if not block.size:
                    block = next(blocks)
                part = block[: flat.size - done]
                flat[done : done + part.size] = part
                block, done = block[part.size :], done + part.size
            yield slab


def _digests(lines: NDArray[np.uint8]) -> Digests:
    """A digest of each line of a contiguous array ``[lines, bytes]``."""
    width = lines.shape[1]
    if width <= DIGEST_NBYTES:
        # A trailing zero byte is lost in a numpy string, but all lines that are compared have one width.
        return np.ascontiguousarray(lines).view(f"S{width}").reshape(-1).astype(f"S{DIGEST_NBYTES}")
    found = [blake2b(line, digest_size=DIGEST_NBYTES).digest() for line in lines]
    return np.array(found, f"S{DIGEST_NBYTES}")


class _Columns:
    """The columns of one plane, to which slabs of rows are added in order."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._is_short = view.rows * view.item <= DIGEST_NBYTES
        self._short: list[NDArray[np.uint8]] = []
        self._hashes = () if self._is_short else [blake2b(digest_size=DIGEST_NBYTES) for _ in range(view.columns)]

    def add(self, slab: NDArray[np.uint8]) -> None:
        turned = np.ascontiguousarray(_items(slab, self._view.item).T).view(np.uint8)
        if self._is_short:
            self._short.append(turned)
            return
        for found, column in zip(self._hashes, turned, strict=True):
            found.update(column)

    def digests(self) -> Digests:
        if self._is_short:
            return _digests(np.concatenate(self._short, axis=1))
        return np.array([found.digest() for found in self._hashes], f"S{DIGEST_NBYTES}")


_FEWEST_DISTINCT = 3

PROBE = 8
"""Items of the first row and of the first column that are read before any tensor is read whole."""


class Probe(NamedTuple):
    """The first bytes of the first row and of the first column; empty if they could be those of any tensor."""

    row: bytes
    column: bytes


def read_probe(source: Source, info: TensorInfo, kind: ViewKind) -> Probe:
    """The probe of a tensor in one of the views. Raises ReadError."""
    last = {"vector": 0, "row": 0, "matrix": 1, "stack": 2, "grid": 1}[kind]
    first = {"vector": None, "row": None, "matrix": 0, "stack": 1, "grid": 0}[kind]
    return Probe(_first_items(source, info, last), b"" if first is None else _first_items(source, info, first))


def _first_items(source: Source, info: TensorInfo, axis: int) -> bytes:
    window = _first_window(info.shape, axis)
    values = np.ascontiguousarray(source.read_window(info, window)).reshape(-1)
    if values.size != window.numel:
        raise ReadError(f"{info.name} gave {values.size} of {window.numel} values")
    items = values.view(np.uint8).reshape(values.size, -1)
    nbytes = items.tobytes()
    distinct = {nbytes[at : at + items.shape[1]] for at in range(0, len(nbytes), items.shape[1])}
    return nbytes if len(distinct) >= _FEWEST_DISTINCT and values.size == PROBE else b""


def _first_window(shape: tuple[int, ...], axis: int) -> Window:
    return make_window(
        tuple(
            Axis(0, 1, min(PROBE, length)) if place == axis else Axis(0, 1, 1, True)
            for place, length in enumerate(shape)
        )
    )


ENOUGH_BITS = 64
"""Bits of evidence below which equal values may be a coincidence: zeros, ones, a mask, a few numbers."""

_SAMPLES = (1 << 12, 1 << 20)


def has_evidence(source: Source, info: TensorInfo) -> bool:
    """Whether the values are varied enough for it to mean something that they are also elsewhere. Raises ReadError.

    The first few thousand bytes are looked at and, as long as these are uniform, the first megabyte and the last.
    """
    grain = info.dtype.grain
    steps = [max(info.dtype.numel(nbytes) // grain, 1) * grain for nbytes in _SAMPLES]
    last = max(info.numel - steps[-1], 0) // grain * grain
    for start, step in dict.fromkeys([*((0, step) for step in steps), (last, steps[-1])]):
        part = one_side(source, info, start, min(start + step, info.numel))
        raw = np.concatenate([block.copy() for block, _ in part])
        items = _items(raw, info.dtype.itemsize or 1)
        distinct = len(set(items.tolist())) if items.dtype.kind == "V" else len(np.unique(items))
        bits = max(distinct * min(8 * items.itemsize, 16), items.size * (distinct.bit_length() - 1))
        if distinct > 1 and bits >= ENOUGH_BITS:
            return True
        if start + step >= info.numel:
            return False
    return False


def _items(raw: NDArray[np.uint8], nbytes: int) -> NDArray[Any]:
    """Bytes as items of ``nbytes`` bytes, along the last dimension."""
    return raw.view(f"u{nbytes}" if nbytes in {1, 2, 4, 8} else f"V{nbytes}")
