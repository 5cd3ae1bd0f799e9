"""PackedWeight: several stored tensors that are one weight, and the scheme that restores its values."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np

from tui_params.core.dtypes import DType
from tui_params.core.packed.box import Box, window_of
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tui_params.core.source import Source

_MOST = 1 << 20
"""Elements of a companion that is read whole."""


class Stored:
    """The stored tensors of a source, as the schemes read them."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def box(self, info: TensorInfo, box: Box) -> NDArray[Any]:
        """The values in a box, in their own type. Raises ReadError."""
        return self._source.read_window(info, window_of(box)) if box else self.whole(info)

    def floats(self, info: TensorInfo, box: Box) -> NDArray[np.float32]:
        """The values in a box as float32. Raises ReadError."""
        return self.box(info, box).astype(np.float32)

    def whole(self, info: TensorInfo) -> NDArray[Any]:
        """All values of a small tensor. Raises ReadError."""
        if info.numel > _MOST:
            raise ReadError(f"{info.name} has {info.numel:,} elements: too many for what describes a packed weight")
        return self._source.read_window(info, window_of(tuple((0, size) for size in info.shape)))

    def flat(self, info: TensorInfo, first: int, stop: int) -> NDArray[np.uint8]:
        """The bytes ``first:stop`` of a tensor of bytes, or of one whose elements stand for bytes. Raises ReadError."""
        width, grain = max(1, info.dtype.itemsize), info.dtype.grain
        begin = first // width // grain * grain
        end = min(info.numel, -(-stop // (width * grain)) * grain)
        parts = [np.array(block, np.uint8) for block in self._source.blocks(info, begin, end)]
        raw = np.concatenate(parts) if parts else np.empty(0, np.uint8)
        return raw[first - begin * width : stop - begin * width]


class Scheme(Protocol):
    """How the values of a packed weight follow from the stored tensors."""

    @abstractmethod
    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        """The values in a box of the logical tensor, before they are rounded to its dtype. Raises ReadError."""


class PackedWeight(msgspec.Struct, frozen=True):
    """A quantised weight.

    ``name``, ``shape`` and ``dtype`` are those that it has once it is restored; ``dtype`` is the one that its library
    restores it to. ``method`` names the library or the format, with the bits of a code. ``parts`` are the stored
    tensors, the codes first. ``group`` is the number of weights that share a scale, or the block as text, None if
    one scale serves a whole row or tensor.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    method: str
    parts: tuple[TensorInfo, ...]
    group: int | str | None
    scheme: Scheme

    @property
    def codes(self) -> TensorInfo:
        return self.parts[0]

    @property
    def numel(self) -> int:
        total = 1
        for size in self.shape:
            total *= size
        return total

    @property
    def nbytes(self) -> int:
        """The bytes of all its stored tensors."""
        return sum(part.nbytes for part in self.parts)

    @property
    def bits_per_weight(self) -> float:
        """The bits that a weight takes in storage, its share of scales and zero points included."""
        return 8 * self.nbytes / self.numel if self.numel else 0.0
