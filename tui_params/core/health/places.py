"""Places: where in a tensor the first values are that a finding is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.findings import MAX_INDICES, Finding, Index
from tui_params.core.health.registry import sought_by
from tui_params.core.health.sought import NAN, NEG_INF, NOT_FINITE, POS_INF, Sought
from tui_params.core.health.thresholds import DEFAULT, Thresholds
from tui_params.core.kinds import compact_ranges
from tui_params.core.numbers.decode import decode
from tui_params.core.piece import Piece
from tui_params.core.reading.overlaps import Overlaps
from tui_params.core.reading.sweep import plan
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural
from tui_params.core.window import Axis, make_window
from tui_params.errors import ReadError, StoppedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LARGEST_SLICE = 1 << 22
"""A tensor that is not contiguous is searched only if one index of its first dimension has at most so many elements."""


_ARE_NOT_FINITE = frozenset({NAN, POS_INF, NEG_INF, NOT_FINITE})


def locate(
    source: Source,
    info: TensorInfo,
    findings: Sequence[Finding],
    should_stop: Callable[[], bool] | None = None,
    thresholds: Thresholds = DEFAULT,
    searches: Searches | None = None,
) -> tuple[Finding, ...]:
    """The ``findings`` of one tensor; those about single values get the first MAX_INDICES places of these.

    Reads the tensor once more, from the start until enough places are found. If reading fails, the findings have no
    places. ``searches`` remembers what was found in other tensors of the same source. Raises StoppedError.
    """
    wanted = [sought_by(finding, info, thresholds) for finding in findings]
    if not any(wanted):
        return tuple(findings)
    try:
        kinds = frozenset({what for what in wanted if what})
        if searches is not None:
            found = searches.first_places(info, kinds, should_stop)
        else:
            found = first_places(source, info, tuple(kinds), should_stop)
    except (ReadError, OSError, MemoryError):
        return tuple(findings)
    placed = [
        msgspec.structs.replace(finding, indices=found[what]) if what else finding
        for finding, what in zip(findings, wanted, strict=True)
    ]
    return tuple([_naming_pieces(source, info, finding) if finding.indices else finding for finding in placed])


def _naming_pieces(source: Source, info: TensorInfo, finding: Finding) -> Finding:
    """The finding; if the tensor lies in pieces, it says in whose the first places are, and in which file."""
    try:
        pieces = source.pieces_of(info)
    except ReadError:
        return finding
    touched = [
        piece
        for piece in pieces
        if any(
            all(low <= at < high for low, at, high in zip(piece.start, index, piece.stop, strict=True))
            for index in finding.indices
        )
    ]
    if not touched:
        return finding
    where = _place_of(touched)
    first = "" if len(finding.indices) < MAX_INDICES else "the first "
    return msgspec.structs.replace(finding, evidence=f"{finding.evidence}; {first}{where}")


def _place_of(pieces: Sequence[Piece]) -> str:
    """``in the part of rank 3, __3_0.distcp``; of several ranks no file is named, unless they share it."""
    ranks = {piece.rank for piece in pieces if piece.rank is not None}
    files = list(dict.fromkeys(clean(piece.file, 120) for piece in pieces))
    if not ranks:
        return f"in {files[0]}" + (f" and {plural(len(files) - 1, 'other file')}" if len(files) > 1 else "")
    which = f"part of rank {min(ranks):,}" if len(ranks) == 1 else f"parts of ranks {compact_ranges(ranks)}"
    return f"in the {which}" + (f", {files[0]}" if len(files) == 1 else "")


class Searches:
    """The searches for places in the tensors of one source; where tensors overlap, bounded as their reading is."""

    def __init__(self, source: Source, infos: Iterable[TensorInfo]) -> None:
        self._source = source
        self._infos = infos
        self._found: dict[tuple[str, frozenset[Sought]], dict[Sought, tuple[Index, ...]]] = {}

    @cached_property
    def _overlaps(self) -> Overlaps:
        return Overlaps(self._source, plan(self._infos))

    def first_places(
        self, info: TensorInfo, wanted: frozenset[Sought], should_stop: Callable[[], bool] | None
    ) -> dict[Sought, tuple[Index, ...]]:
        """As the function of that name; raises ReadError too where too much was read."""
        identity = self._overlaps.identity(info)
        found = self._found.get((identity, wanted))
        if found is None:
            refusal = self._overlaps.take(info)
            if refusal is not None:
                raise ReadError(refusal)
            found = first_places(self._source, info, tuple(wanted), should_stop)
            if self._overlaps.limit(info.file) is not None:
                self._found[identity, wanted] = found
        return found


def first_places(
    source: Source, info: TensorInfo, wanted: Sequence[Sought], should_stop: Callable[[], bool] | None = None
) -> dict[Sought, tuple[Index, ...]]:
    """The first MAX_INDICES indices, in row-major order, of each kind of value that is wanted.

    Reading stops once all of these are found; a source elsewhere may look for them itself. Raises ReadError,
    StoppedError.
    """
    there = source.sought_out(info, wanted, should_stop=should_stop)
    found = first_numbers(source, info, wanted, should_stop) if there is None else there
    return {
        sought: tuple(unravel(place, info.shape) for place in places)
        for sought, places in zip(wanted, found, strict=True)
    }


def first_numbers(
    source: Source, info: TensorInfo, wanted: Sequence[Sought], should_stop: Callable[[], bool] | None = None
) -> list[list[int]]:
    """The same as numbers of elements, and by reading them here."""
    import numpy as np

    found: list[list[int]] = [[] for _ in wanted]
    is_quick = _ARE_NOT_FINITE.issuperset(wanted)
    first = 0
    for values in _chunks(source, info):
        if should_stop is not None and should_stop():
            raise StoppedError(f"the reading of {info.name} was stopped")
        suspects = np.flatnonzero(~_is_finite(values)) if is_quick else np.arange(values.size)
        if suspects.size:
            # Widening a signalling NaN raises the invalid flag (IEEE 754, 6.2), and numpy warns about it.
            with np.errstate(invalid="ignore"):
                special = values[suspects].astype(np.complex128 if values.dtype.kind == "c" else np.float64)
            for sought, places in zip(wanted, found, strict=True):
                places += (first + suspects[_is_met(special, sought)][: MAX_INDICES - len(places)]).tolist()
            if all(len(places) >= MAX_INDICES for places in found):
                break
        first += values.size
    return found


def unravel(place: int, shape: Index) -> Index:
    """The index in ``shape`` of element number ``place`` in row-major order."""
    index = []
    for size in reversed(shape):
        place, remainder = divmod(place, size)
        index.append(remainder)
    return tuple(reversed(index))


def _chunks(source: Source, info: TensorInfo) -> Iterator[NDArray[Any]]:
    """The values of a tensor, flat, in row-major order, in arrays of bounded size."""
    if info.unreadable is not None:
        raise ReadError(info.unreadable)
    if info.stride is not None and info.shape:
        yield from _slices(source, info)
        return
    left = info.numel
    for block in source.blocks(info):
        count = min(info.dtype.numel(block.size), left)
        left -= count
        yield decode(block, info.dtype, count)


def _slices(source: Source, info: TensorInfo) -> Iterator[NDArray[Any]]:
    """The same for a tensor that is not contiguous, whose blocks come in any order."""
    each = prod(info.shape[1:])
    if each > _LARGEST_SLICE or not info.numel:
        return
    step = max(1, _LARGEST_SLICE // 4 // max(each, 1))
    rest = tuple(Axis(0, 1, size) for size in info.shape[1:])
    for start in range(0, info.shape[0], step):
        window = make_window((Axis(start, 1, min(step, info.shape[0] - start)), *rest))
        yield source.read_window(info, window).reshape(-1)


def _is_finite(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values are finite; those of narrow types by their bits, which is many times faster."""
    import numpy as np

    bits = values.dtype.itemsize * 8
    finite: NDArray[np.bool_]
    if values.dtype.name in _EXPONENTS:
        mask = _EXPONENTS[values.dtype.name]
        finite = (values.view(f"u{bits // 8}") & mask) != mask
    elif values.dtype.kind not in "fcV":
        finite = np.ones(values.shape, np.bool_)
    elif bits == 8:
        table = np.isfinite(np.arange(256, dtype=np.uint8).view(values.dtype).astype(np.float32))
        finite = table[values.view(np.uint8)]
    else:
        finite = np.isfinite(values)
    return finite


_EXPONENTS = {"bfloat16": 0x7F80, "float16": 0x7C00}


def _is_met(values: NDArray[Any], sought: Sought) -> NDArray[np.bool_]:
    """Whether a value, or a part of a complex one, is sought."""
    if values.dtype.kind == "c":
        return sought.is_met(values.real) | sought.is_met(values.imag)
    return sought.is_met(values)
