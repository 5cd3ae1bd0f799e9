"""Kinds: the tensors whose names differ in numbers only, as one line. ``layers.#.mlp.up_proj.weight`` x 32."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tui_params.core.dtypes import DType
from tui_params.core.tensor import TensorInfo

MAX_SHAPES = 8


class KindGroup(msgspec.Struct, frozen=True):
    """The tensors of one kind.

    ``indices`` are the positions in the list that was grouped, in order. ``numbers`` are the numbers in place of
    each ``#`` of the kind, as compact ranges: ``("3-60", "0-255")``. ``shapes`` and ``dtypes`` are the distinct ones
    in the order of their appearance, at most MAX_SHAPES of the first; ``distinct_shapes`` counts all of them.
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


def group_by_kind(infos: Sequence[TensorInfo]) -> tuple[KindGroup, ...]:
    """The kinds in the order of the first tensor of each."""
    groups: dict[str, list[int]] = {}
    numbers: dict[str, list[set[str]]] = {}
    for index, info in enumerate(infos):
        segments = info.name.split(".")
        found = [segment for segment in segments if segment.isdecimal()]
        kind = ".".join(["#" if segment.isdecimal() else segment for segment in segments]) if found else info.name
        members = groups.get(kind)
        if members is None:
            groups[kind] = [index]
            numbers[kind] = [{number} for number in found]
        else:
            members.append(index)
            # A segment may be "#" itself, so that a name of this kind has fewer numbers than another.
            for seen, number in zip(numbers[kind], found, strict=False):
                seen.add(number)
    return tuple(_group(kind, members, numbers[kind], infos) for kind, members in groups.items())


def _group(kind: str, members: list[int], numbers: list[set[str]], infos: Sequence[TensorInfo]) -> KindGroup:
    tensors = [infos[index] for index in members]
    shapes = dict.fromkeys([info.shape for info in tensors])
    dtypes = {info.dtype.name: info.dtype for info in tensors}
    own = [info for info in tensors if info.tied_to is None]
    return KindGroup(
        kind,
        len(members),
        tuple(shapes)[:MAX_SHAPES],
        len(shapes),
        tuple(dtypes.values()),
        sum([info.numel for info in own]),
        sum([info.nbytes for info in own]),
        tuple(compact_ranges(map(int, _sensible(seen))) for seen in numbers),
        tuple(members),
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
