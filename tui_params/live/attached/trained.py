"""TrainedSource: a model that trains in another process: the border behind which its bytes are got at.

What compares ranks, joins their parts and draws them knows this alone. ``AttachedSource`` reads a process of this
machine, ``live.relay.RelayedSource`` asks a relay on another, which has an ``AttachedSource``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.beat import Beat
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_LOOKS = 256
"""Steps that one call of ``looks`` returns at most."""


class StepFigures(msgspec.Struct, frozen=True, gc=False):
    """What a tensor was after a step. ``bits`` is equal if shape, type and elements are, to the last bit.

    ``norm`` and ``abs_max`` are over the finite values of floating types, else None, as they are if nobody asked.
    """

    bits: bytes
    norm: float | None = None
    abs_max: float | None = None
    non_finite: int = 0


class TrainedSource(Source):
    """A model that trains while it is looked at. Every value that is read of it is of one step."""

    files_begin = ""
    """What the names of files begin with that its watch saves: that of the rank, where several are watched."""

    @abstractmethod
    def bytes_at_step(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.uint8], int]:
        """The bytes of the elements ``start:stop``, and the number of steps after which they were so.

        Raises ReadError.
        """

    @abstractmethod
    def looks(self, info: TensorInfo, seconds: float, *, is_only_bits: bool = False) -> dict[int, StepFigures]:
        """Figures after each step that it could be read after, for so long, and at least once. Raises ReadError.

        They are of steps, not of moments: those of two ranks can be compared where both have the same step.
        """

    @abstractmethod
    def beat(self) -> Beat:
        """How far the model has come. Asks nobody."""
