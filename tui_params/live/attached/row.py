"""Row: tensors that are read whole, one after the other, so that some of them can be read at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALL = 1 << 16
"""Bytes up to which a tensor is read together with those that follow."""

MOST_NBYTES, MOST = 1 << 20, 512
"""How much is read at once, and how many tensors."""

MOST_COPIED = 1024
"""How many are copied at once; their bytes are bounded elsewhere."""


class Row:
    """The tensors, and those that have been read already, until they are taken."""

    def __init__(self, infos: Sequence[TensorInfo]) -> None:
        self._infos = infos
        self._places = {info.name: place for place, info in enumerate(infos)}
        self._ready: dict[str, tuple[NDArray[np.uint8], int] | ReadError] = {}

    def following(self, info: TensorInfo, is_one: Callable[[TensorInfo], bool], most: int) -> Iterator[TensorInfo]:
        """A tensor, and those of the next ones that are like it, out of ``most``."""
        place = self._places.get(info.name)
        if place is None:
            yield info
            return
        yield from (other for other in self._infos[place : place + most] if other is info or is_one(other))

    def together(self, info: TensorInfo, is_one: Callable[[TensorInfo], bool]) -> list[TensorInfo]:
        """The small tensors that are to be read at once, with a small one as the first."""
        chosen: list[TensorInfo] = []
        room = MOST_NBYTES
        for other in self.following(info, is_one, MOST) if info.nbytes <= SMALL else ():
            if other.nbytes <= SMALL:
                room -= other.nbytes
                if room < 0:
                    break
                chosen.append(other)
        return chosen

    def keep(self, info: TensorInfo, found: tuple[NDArray[np.uint8], int] | ReadError) -> None:
        """Its bytes and their step, or why it cannot be read."""
        self._ready[info.name] = found

    def take(self, info: TensorInfo) -> tuple[NDArray[np.uint8], int] | None:
        """What has been read of a tensor, once; None if nothing has. Raises ReadError."""
        found = self._ready.pop(info.name, None)
        if isinstance(found, ReadError):
            raise found
        return found
