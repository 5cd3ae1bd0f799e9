"""Labels: many texts of which most are equal, as numbers into a table of the different ones."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import overload


class Labels(Sequence[str]):
    """The text of each node is ``table[numbers[node]]``."""

    def __init__(self, table: Sequence[str], numbers: array[int]) -> None:
        self.table = table
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, node: int) -> str: ...
    @overload
    def __getitem__(self, node: slice) -> list[str]: ...
    def __getitem__(self, node: int | slice) -> str | list[str]:
        if isinstance(node, slice):
            return list(map(self.table.__getitem__, self.numbers[node]))
        return self.table[self.numbers[node]]

    def __iter__(self) -> Iterator[str]:
        return map(self.table.__getitem__, self.numbers)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (Labels, list)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
