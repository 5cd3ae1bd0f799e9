"""Searches for values that the other side has elsewhere: under another name, in another layout, or as a part.

Only tensors are tried that have no partner of the same shape, or whose norm is that of the partner from which they
differ. The first values decide which pairs are read whole; what is read is bounded, and what was not tried is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tui_params.core.compare.elsewhere import Elsewhere, How, Relation, Untried
from tui_params.core.compare.layouts import Layout, layout_of
from tui_params.core.compare.lines import Lines, View, ViewKind, has_evidence, read_lines, read_probe, view_of
from tui_params.core.compare.renames import Side
from tui_params.core.compare.side_by_side import ByteComparison, pieces
from tui_params.core.compare.structure import Pair
from tui_params.core.dtypes import fit
from tui_params.core.reading.outcome import reason_of
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import size
from tui_params.errors import StoppedError, TuiParamsError

MOST_NBYTES = 4 << 30
"""Bytes of both sides that are read of tensors with the same name, and of those that begin with the same values."""

MOST_GUESSED_NBYTES = 256 << 20
"""Bytes of both sides that are read of other tensors whose shapes would fit."""

MOST_LINES = 500_000
"""Rows and columns whose digests are held at a time."""

MOST_PROBES = 2048
"""Tensors of each side whose first values are read."""

MOST_PAIRS = 100_000
_MOST_ALIKE = 64

_FEW_NBYTES = 1 << 13

_PAIR_NBYTES = 1 << 17
"""Bytes that a pair counts for even if it is smaller, because each read takes its time."""


def find_elsewhere(
    source_a: Source,
    source_b: Source,
    pairs: Sequence[Pair],
    only_a: Sequence[TensorInfo],
    only_b: Sequence[TensorInfo],
    should_stop: Callable[[], bool] | None = None,
) -> Elsewhere:
    """The relations of ``pairs`` (the same name, but not the same values), and of the tensors of one side alone.

    Raises StoppedError.
    """
    search = _Search(should_stop)
    alone_a = [_Tensor("a", source_a, info) for info in _distinct(only_a)]
    alone_b = [_Tensor("b", source_b, info) for info in _distinct(only_b)]
    budget = _Budget(MOST_NBYTES)
    for pair in pairs:
        if _has_values(pair.a) and _has_values(pair.b):
            search.examine(_Tensor("a", source_a, pair.a), _Tensor("b", source_b, pair.b), budget, is_pair=True)
    guessed: list[tuple[_Tensor, _Tensor]] = []
    for group in search.by_numbers(alone_a, alone_b):
        guessed += search.examine_group(group, budget)
    for a, b in search.alike(alone_a, alone_b):
        search.examine(a, b, budget)
    budget = _Budget(MOST_GUESSED_NBYTES)
    for a, b in guessed:
        search.examine(a, b, budget)
    return search.result({info.name: place for place, info in enumerate(source_a.listing.tensors)})


def _has_values(info: TensorInfo) -> bool:
    return info.unreadable is None and info.numel > 1 and info.dtype.is_sized


def _distinct(infos: Iterable[TensorInfo]) -> list[TensorInfo]:
    """Those that can be read, each of tied ones once."""
    found: dict[object, TensorInfo] = {}
    for info in infos:
        if _has_values(info):
            found.setdefault((info.first_name, info.shape, info.stride, info.dtype.name), info)
    return list(found.values())


class _Budget:
    """Bytes that may still be read."""

    def __init__(self, most: int) -> None:
        self.most = self.left = most

    def spend(self, nbytes: int) -> bool:
        """Take so many bytes; False, without taking any, if so many are not left."""
        if nbytes > self.left:
            return False
        self.left -= nbytes
        return True

    def __str__(self) -> str:
        return f"more than the {size(self.most)} that are read for this"


class _Tensor:
    """One tensor, and what the search knows about it."""

    def __init__(self, side: Side, source: Source, info: TensorInfo) -> None:
        self.side, self.source, self.info = side, source, info
        self.is_explained = False
        # Whether another tensor was found to be a part of it.
        self.is_whole = False
        self.has_evidence: bool | None = None
        self.probes: frozenset[bytes] | None = None

    @property
    def is_done(self) -> bool:
        return self.is_explained or self.is_whole


class _Search:
    """What was examined, what was found, and what was not tried."""

    def __init__(self, should_stop: Callable[[], bool] | None) -> None:
        self._should_stop = should_stop
        self._lines: dict[tuple[_Tensor, ViewKind, bool], Lines] = {}
        self._held = 0
        self._relations: list[Relation] = []
        self._untried: dict[_Tensor, str] = {}
        self._tried: set[_Tensor] = set()
        self._examined: set[tuple[_Tensor, _Tensor]] = set()
        self._probed: Counter[Side] = Counter()
        self._compared = ByteComparison()

    def result(self, order: Mapping[str, int]) -> Elsewhere:
        """Everything so far; ``order`` has the places of the tensors of A."""
        reasons = Counter(reason for tensor, reason in self._untried.items() if not tensor.is_done)
        return Elsewhere(
            tuple(sorted(self._relations, key=lambda item: order.get(item.a, 0))),
            len(self._tried),
            tuple(Untried(reason, count) for reason, count in reasons.items()),
        )

    def by_numbers(
        self, alone_a: Sequence[_Tensor], alone_b: Sequence[_Tensor]
    ) -> Iterable[list[tuple[_Tensor, _Tensor]]]:
        """Pairs that could fit and whose names have the same numbers, but for one that one of them may have more.

        Those of the same larger tensor, or else of the same tensor of B, come together.
        """
        exactly: dict[tuple[str, ...], list[_Tensor]] = {}
        one_more: dict[tuple[str, ...], list[_Tensor]] = {}
        for b in alone_b:
            numbers = _numbers(b.info.name)
            exactly.setdefault(numbers, []).append(b)
            for some in set(_one_less(numbers)):
                one_more.setdefault(some, []).append(b)
        left = MOST_PAIRS
        groups: dict[_Tensor, list[tuple[_Tensor, _Tensor]]] = {}
        for a in alone_a:
            numbers = _numbers(a.info.name)
            others = [b for some in dict.fromkeys((numbers, *_one_less(numbers))) for b in exactly.get(some, ())]
            others += one_more.get(numbers, ())
            left -= len(others)
            if left < 0:
                self._untried[a] = f"more than the {MOST_PAIRS:,} pairs that are looked at"
                continue
            for b in others:
                if _can_fit(a.info, b.info):
                    groups.setdefault(a if a.info.numel > b.info.numel else b, []).append((a, b))
        return groups.values()

    def examine_group(self, group: Sequence[tuple[_Tensor, _Tensor]], budget: _Budget) -> list[tuple[_Tensor, _Tensor]]:
        """Examine the pairs of one tensor if they begin alike, all if one is a part of it. Returns the others."""
        left = []
        for a, b in group:
            if a.is_whole or b.is_whole or not self._probes(a).isdisjoint(self._probes(b)):
                self.examine(a, b, budget)
            else:
                left.append((a, b))
        # The other parts of a fused tensor do not stand at its beginning.
        if any(a.is_whole or b.is_whole for a, b in left):
            for a, b in left:
                self.examine(a, b, budget)
            return []
        return left

    def alike(self, alone_a: Sequence[_Tensor], alone_b: Sequence[_Tensor]) -> list[tuple[_Tensor, _Tensor]]:
        """Pairs of what is left that could fit and begin with the same values, whatever their names."""
        left_a, left_b = ([tensor for tensor in alone if not tensor.is_done] for alone in (alone_a, alone_b))
        if not left_a or not left_b:
            return []
        begins: dict[bytes, list[_Tensor]] = {}
        for b in left_b:
            for probe in self._probes(b):
                begins.setdefault(probe, []).append(b)
        found: dict[tuple[_Tensor, _Tensor], None] = {}
        for a in left_a:
            others = [b for probe in self._probes(a) for b in begins.get(probe, ())]
            found |= {(a, b): None for b in others[:_MOST_ALIKE] if _can_fit(a.info, b.info)}
        return list(found)

    def _probes(self, tensor: _Tensor) -> frozenset[bytes]:
        """The beginnings of the first row and the first column, in every view that a pair may have."""
        info = tensor.info
        if tensor.probes is None:
            tensor.probes = frozenset()
            self._probed[tensor.side] += 1
            if self._probed[tensor.side] > MOST_PROBES:
                self._untried[tensor] = f"more than the {MOST_PROBES:,} of one side whose first values are compared"
                return tensor.probes
            kinds: dict[int, tuple[ViewKind, ...]] = {1: ("vector",), 2: ("matrix",), 3: ("stack", "grid")}
            self._raise_if_stopped()
            try:
                if not info.dtype.is_packed:
                    probes = [read_probe(tensor.source, info, kind) for kind in kinds.get(info.ndim, ("grid",))]
                    tensor.probes = frozenset(part for probe in probes for part in probe if part)
            except (TuiParamsError, OSError, MemoryError) as error:
                self._untried[tensor] = reason_of(error)
        return tensor.probes

    def examine(self, a: _Tensor, b: _Tensor, budget: _Budget, *, is_pair: bool = False) -> None:
        """Look for a relation between two tensors, which ``is_pair`` if they have the same name but other values."""
        if a.is_explained or b.is_explained or (a, b) in self._examined or not _can_fit(a.info, b.info):
            return
        self._examined.add((a, b))
        try:
            if not budget.spend(_PAIR_NBYTES):
                self._untried[a] = self._untried[b] = str(budget)
                return
            if not self._has_evidence(a if a.info.numel <= b.info.numel else b):
                return
            is_known_to_differ = is_pair and a.info.shape == b.info.shape
            if a.info.numel == b.info.numel and not is_known_to_differ and self._is_same(a, b, budget):
                how: How = "same" if a.info.shape == b.info.shape else "reshaped"
                self._take(a, b, Layout(how))
                return
            for views in _views(a.info, b.info):
                layout = self._layout(a, b, views, budget)
                if layout is not None:
                    self._take(a, b, layout)
                    return
        except StoppedError:
            raise
        except (TuiParamsError, OSError, MemoryError) as error:
            self._untried[a] = self._untried[b] = reason_of(error)

    def _take(self, a: _Tensor, b: _Tensor, layout: Layout) -> None:
        of_a, of_b = layout.of == "a", layout.of == "b"
        where = (layout.slice if of_a else None, layout.slice if of_b else None)
        self._relations.append(Relation(a.info.name, b.info.name, layout.how, *where, layout.is_transposed))
        a.is_whole, b.is_whole = a.is_whole or of_a, b.is_whole or of_b
        a.is_explained, b.is_explained = not of_a, not of_b

    def _has_evidence(self, tensor: _Tensor) -> bool:
        if tensor.has_evidence is None:
            tensor.has_evidence = has_evidence(tensor.source, tensor.info)
            self._raise_if_stopped()
        return tensor.has_evidence

    def _is_same(self, a: _Tensor, b: _Tensor, budget: _Budget) -> bool:
        """Whether all bytes are the same, in the same order; that one differs is usually known at once."""
        self._tried |= {a, b}
        few = min(fit(_FEW_NBYTES, a.info.dtype), a.info.numel)
        if not self._agree(a, b, 0, few):
            return False
        if budget.spend(a.info.nbytes + b.info.nbytes):
            return self._agree(a, b, few, a.info.numel)
        self._untried[a] = self._untried[b] = str(budget)
        return False

    def _agree(self, a: _Tensor, b: _Tensor, start: int, stop: int) -> bool:
        for piece in pieces(a.source, a.info, b.source, b.info, start, stop):
            self._raise_if_stopped()
            if not self._compared.is_same(piece.a, piece.b):
                return False
        return True

    def _layout(self, a: _Tensor, b: _Tensor, views: _Views, budget: _Budget) -> Layout | None:
        wanted = ((a, views.a, views.with_columns), (b, views.b, views.with_columns))
        if sum(_count_lines(view, with_columns) for _, view, with_columns in wanted) > MOST_LINES:
            self._untried[a] = self._untried[b] = (
                f"more than the {MOST_LINES:,} rows and columns that are held for this"
            )
            return None
        cost = sum(
            tensor.info.nbytes
            for tensor, view, with_columns in wanted
            if (tensor, view.kind, with_columns) not in self._lines
        )
        if not budget.spend(cost):
            self._untried[a] = self._untried[b] = str(budget)
            return None
        return layout_of(self._read(*wanted[0]), self._read(*wanted[1]))

    def _read(self, tensor: _Tensor, view: View, with_columns: bool) -> Lines:
        key = (tensor, view.kind, with_columns)
        found = self._lines.pop(key, None)
        if found is None:
            count = _count_lines(view, with_columns)
            # Those that were not used for longest go first.
            while self._lines and self._held + count > MOST_LINES:
                (*_, had_columns), lines = next(iter(self._lines.items()))
                del self._lines[next(iter(self._lines))]
                self._held -= _count_lines(lines.view, had_columns)
            found = read_lines(
                tensor.source, tensor.info, view, with_columns=with_columns, check_stop=self._raise_if_stopped
            )
            self._held += count
            self._tried.add(tensor)
        self._lines[key] = found
        return found

    def _raise_if_stopped(self) -> None:
        if self._should_stop is not None and self._should_stop():
            raise StoppedError("the comparison was stopped")


class _Views(NamedTuple):
    """The views of a pair, and whether their columns are needed."""

    a: View
    b: View
    with_columns: bool


def _count_lines(view: View, with_columns: bool) -> int:
    return view.planes * (view.rows + view.columns * (with_columns and view.has_columns))


def _can_fit(a: TensorInfo, b: TensorInfo) -> bool:
    return a.dtype == b.dtype and (a.numel == b.numel or bool(_views(a, b)))


def _views(a: TensorInfo, b: TensorInfo) -> list[_Views]:
    """The views in which lines of one could be those of the other."""
    kinds: list[tuple[ViewKind, ViewKind]] = []
    if (a.ndim, b.ndim) == (3, 3) and a.shape == (b.shape[0], b.shape[2], b.shape[1]):
        kinds = [("stack", "stack"), ("grid", "grid")]
    elif a.ndim == b.ndim >= 3:
        kinds = [("grid", "grid")]
    else:
        kinds = _KINDS.get((a.ndim, b.ndim), [])
    found = []
    for kind_a, kind_b in kinds:
        view_a, view_b = view_of(a, kind_a), view_of(b, kind_b)
        if view_a is None or view_b is None or view_a.item != view_b.item:
            continue
        part, whole = (view_a, view_b) if a.numel <= b.numel else (view_b, view_a)
        can_turn = whole.has_columns and part.width == whole.rows * whole.item
        can_cut = (
            whole.has_columns and part.has_columns and part.planes == whole.planes == 1 and part.rows == whole.rows
        )
        if can_turn or can_cut or part.width == whole.width:
            found.append(_Views(view_a, view_b, can_turn or can_cut))
    return found


_KINDS: dict[tuple[int, int], list[tuple[ViewKind, ViewKind]]] = {
    (1, 1): [("vector", "vector")],
    (1, 2): [("row", "matrix")],
    (2, 1): [("matrix", "row")],
    (2, 2): [("matrix", "matrix")],
    (2, 3): [("matrix", "stack")],
    (3, 2): [("stack", "matrix")],
}


def _numbers(name: str) -> tuple[str, ...]:
    return tuple(segment for segment in name.split(".") if segment.isdecimal())


def _one_less(numbers: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (numbers[:place] + numbers[place + 1 :] for place in range(len(numbers)))
