"""Tensors of several ranks, read after the same step. No rank is asked to wait: those behind are read again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tui_params.core import text
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError
from tui_params.live.attached.source import AttachedSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SECONDS = 5.0
"""How long it is tried to read all parts after the same step."""


class Part(msgspec.Struct, frozen=True):
    """What one rank has of a tensor; ``before`` are the steps that its optimizer had made before they were counted."""

    source: AttachedSource
    info: TensorInfo
    before: int


def read_together(parts: Sequence[Part], most: int, hint: str) -> tuple[list[NDArray[np.uint8]], int]:
    """The bytes of each part after the same step, row-major, and its number as the first rank counts. Raises ReadError.

    ``most`` bytes are read at once, else ``hint`` says what to do.
    """
    nbytes = sum(part.info.nbytes for part in parts)
    if nbytes > most:
        raise ReadError(f"it has {text.size(nbytes)}, and at most {text.size(most)} are {hint}")
    deadline = time.monotonic() + SECONDS
    found = [part.source.bytes_at_step(part.info) for part in parts]
    while True:
        steps = [step + part.before for part, (_, step) in zip(parts, found, strict=True)]
        latest = max(steps, default=0)
        if len({*steps}) <= 1:
            return [raw for raw, _ in found], latest - (parts[0].before if parts else 0)
        if time.monotonic() > deadline:
            raise ReadError(f"what the ranks have could not be read after the same step within {SECONDS:.0f} s")
        # Those that are behind come to the step of the others, and all go on at one pace.
        for number, part in enumerate(parts):
            if steps[number] < latest:
                found[number] = part.source.bytes_at_step(part.info)
