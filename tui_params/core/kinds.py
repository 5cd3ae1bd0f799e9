"""Kinds: the tensors whose names differ in numbers only, as one line. ``layers.#.mlp.up_proj.weight`` x 32."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from tui_params.core.dtypes import DType
from tui_params.core.tensor import TensorInfo

MAX_SHAPES = 8


class KindGroup(msgspec.Struct, frozen=True):
    """The tensors of one kind.

    ``indices`` are the positions in the list that was grouped, in order. ``numbers`` are the numbers in place of
    each ``#`` of the kind, as compact ranges: ``("3-60", "0-255")``. ``shapes`` and ``dtypes`` are the distinct ones
    in the order of their appearance, at most MAX_SHAPES of the first; ``distinct_shapes`` counts all that are known.
    ``numel`` and ``nbytes`` are summed over the tensors that are tied to none before them.
    """

    kind: str
    count: int
    shapes: tuple[tuple[int, ...], ...]
    distinct_shapes: int
    dtypes: tuple[DType, ...]
    numel: int
    nbytes: int
    numbers: tuple[str, ...]
    indices: tuple[int, ...]

    def shape_in(self, words: Callable[[Sequence[int]], str]) -> str:
        """The shape as ``words`` writes it, or how many there are; ``?`` where none is known."""
        if not self.shapes:
            return "?"
        return words(self.shapes[0]) if self.distinct_shapes == 1 else f"{self.distinct_shapes:,} shapes"


def kind_of(name: str) -> str:
    """The name with ``#`` for every segment between dots that is all digits."""
    return ".".join(["#" if segment.isdecimal() else segment for segment in name.split(".")])


def name_of_kind(names: Sequence[str]) -> str:
    """Names of one kind as one: ``layers.{0-3, 7}.mlp.up_proj.weight``; a number that all share stays as it is.

    Each number that varies has its own braces, so not every combination that they allow must exist.
    """
    return ".".join(map(_braced, zip(*(name.split(".") for name in names), strict=True)))


def _braced(segments: Sequence[str]) -> str:
    first = segments[0]
    if all(segment == first for segment in segments):
        return first
    # A segment may be "#" itself.
    numbers = _sensible({segment for segment in segments if segment.isdecimal()})
    return f"{{{compact_ranges(map(int, numbers))}}}" if numbers else "#"


class Members(msgspec.Struct, frozen=True):
    """The names of one kind: their positions in the list that was grouped, in order.

    ``numbers`` has for each ``#`` of the kind what stands there in each of the names, as text. That may be ``#``
    itself, or more digits than an index has.
    """

    kind: str
    indices: tuple[int, ...]
    numbers: tuple[tuple[str, ...], ...]


_ALIKE = bytes.maketrans(b"123456789", b"000000000")


def members_by_kind(names: Sequence[str]) -> tuple[Members, ...]:
    """The kinds in the order of the first name of each."""
    # Names that are alike but for their digits have their numbers at the same places: split once for all of them.
    alike: dict[str, list[int]] = {}
    for index, pattern in enumerate(_patterns(names)):
        alike.setdefault(pattern, []).append(index)
    parts: dict[str, list[tuple[list[int], list[list[str]]]]] = {}
    for pattern, indices in alike.items():
        places = _places(pattern)
        kind = kind_of(pattern)
        by_kind = {kind: indices}
        if "0" in kind:  # of "w1" and "w2"
            by_kind = {}
            for index in indices:
                by_kind.setdefault(kind_of(names[index]), []).append(index)
        for kind, some in by_kind.items():
            columns = [[names[index][start:stop] for index in some] for start, stop in places]
            parts.setdefault(kind, []).append((some, columns))
    found = [_joined(kind, some) for kind, some in parts.items()]
    return tuple(sorted(found, key=lambda members: members.indices[0]))


def _patterns(names: Sequence[str]) -> list[str]:
    """Each name with 0 for every ASCII digit."""
    whole = "\n".join(names).encode("utf-8", "surrogatepass").translate(_ALIKE)
    patterns = whole.decode("utf-8", "surrogatepass").split("\n")
    if len(patterns) == len(names):
        return patterns
    digits = dict.fromkeys(map(ord, "123456789"), "0")  # a name has a line break
    return [name.translate(digits) for name in names]


def _places(pattern: str) -> list[tuple[int, int]]:
    """Where the segments that are a number (or ``#``) begin and end."""
    places, start = [], 0
    for segment in pattern.split("."):
        stop = start + len(segment)
        if segment.isdecimal() or segment == "#":
            places.append((start, stop))
        start = stop + 1
    return places


def _joined(kind: str, parts: list[tuple[list[int], list[list[str]]]]) -> Members:
    """Names of one kind with numbers of different lengths, in the order of their positions."""
    indices, columns = parts[0]
    if len(parts) > 1:
        indices = [index for some, _ in parts for index in some]
        order = sorted(range(len(indices)), key=indices.__getitem__)
        joined = [[number for _, some in parts for number in some[place]] for place in range(len(columns))]
        columns = [[column[at] for at in order] for column in joined]
        indices = [indices[at] for at in order]
    return Members(kind, tuple(indices), tuple(map(tuple, columns)))


def group_by_kind(infos: Sequence[TensorInfo]) -> tuple[KindGroup, ...]:
    """The kinds in the order of the first tensor of each."""
    return tuple(group_of(members, infos) for members in members_by_kind([info.name for info in infos]))


def group_of(members: Members, infos: Sequence[TensorInfo]) -> KindGroup:
    """What the tensors of one kind are together."""
    tensors = [infos[index] for index in members.indices]
    shapes = dict.fromkeys([info.shape for info in tensors])
    known = tensors
    if () in shapes:  # perhaps of a tensor of which not even the shape is known
        known = [info for info in tensors if not info.has_unknown_size]
        shapes = dict.fromkeys([info.shape for info in known])
    dtypes = {info.dtype.name: info.dtype for info in known or tensors}
    own = [info for info in tensors if info.tied_to is None]
    distinct = [{number for number in set(column) if number.isdecimal()} for column in members.numbers]
    return KindGroup(
        members.kind,
        len(tensors),
        tuple(shapes)[:MAX_SHAPES],
        len(shapes),
        tuple(dtypes.values()),
        sum([info.numel for info in own]),
        sum([info.nbytes for info in own]),
        tuple(compact_ranges(map(int, _sensible(seen))) for seen in distinct if seen),
        members.indices,
    )


def _sensible(numbers: Iterable[str]) -> list[str]:
    """The numbers that are short enough for an index; int() refuses thousands of digits."""
    return [number for number in numbers if len(number) <= 18]


def compact_ranges(numbers: Iterable[int], most: int = 6) -> str:
    """The distinct numbers in ascending order as ranges: ``0-31``, ``0-2, 5, 7-9``; ``…`` after ``most`` of them."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = [str(low) if low == high else f"{low}-{high}" for low, high in ranges[:most]]
    return ", ".join([*shown, "…"] if len(ranges) > most else shown)
