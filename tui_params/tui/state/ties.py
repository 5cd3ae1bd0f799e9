"""Ties: the names that the elements of a tensor have besides its own."""

from __future__ import annotations

from collections.abc import Iterable

from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.leaves import TensorsInOrder


class Ties:
    """The other names of tied tensors; the groups are made when the first is asked for."""

    def __init__(self, tensors: Iterable[TensorInfo]) -> None:
        # Those of columns are never tied, and need not be made for that.
        self._tensors: Iterable[TensorInfo] = () if isinstance(tensors, TensorsInOrder) else tensors
        self._names: dict[str, tuple[str, ...]] | None = None

    def of(self, info: TensorInfo) -> tuple[str, ...]:
        """The other names of the same elements."""
        if self._names is None:
            groups: dict[str, list[str]] = {}
            for other in self._tensors:
                if other.tied_to is not None:
                    groups.setdefault(other.tied_to, [other.tied_to]).append(other.name)
            self._names = {name: tuple(n for n in names if n != name) for names in groups.values() for name in names}
        return self._names.get(info.name, ())
