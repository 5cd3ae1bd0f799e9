"""Tensors of several ranks, read after the same step. No rank is asked to wait: those behind are read again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import msgspec

from tui_params.core import text
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError
from tui_params.live.attached.trained import StepFigures, TrainedSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_T = TypeVar("_T")

SECONDS = 5.0
"""How long it is tried to read all parts after the same step."""

_WINDOWS = 0.0, 0.02, 0.1, 0.4
"""How many seconds each rank is looked at for, one attempt after the other; then as long as in the last."""


class Part(msgspec.Struct, frozen=True):
    """What one rank has of a tensor; ``before`` are the steps that its optimizer had made before they were counted."""

    source: TrainedSource
    info: TensorInfo
    before: int


def read_together(parts: Sequence[Part], most: int, hint: str) -> tuple[list[NDArray[np.uint8]], int]:
    """The bytes of each part after the same step, row-major, and its number as the first rank counts. Raises ReadError.

    ``most`` bytes are read at once, else ``hint`` says what to do.
    """
    check_together(parts, most, hint)
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


def check_together(parts: Sequence[Part], most: int, hint: str) -> None:
    """Raise ReadError if the parts have more than ``most`` bytes; ``hint`` ends the sentence."""
    nbytes = sum(part.info.nbytes for part in parts)
    if nbytes > most:
        raise ReadError(f"it has {text.size(nbytes)}, and at most {text.size(most)} are {hint}")


def look_together(
    parts: Sequence[Part], seconds: float, *, is_only_bits: bool = False
) -> tuple[list[StepFigures], int] | None:
    """Figures of each part after the same step, and its number as the first rank counts. Raises ReadError.

    None if there was no such step within ``seconds``. All ranks are looked at at once, and step by step: of two that
    make a step each millisecond, two single looks are hardly ever at the same one.
    """
    deadline = time.monotonic() + seconds
    attempt = 0
    while True:
        window = min(_WINDOWS[min(attempt, len(_WINDOWS) - 1)], max(deadline - time.monotonic(), 0.0))
        looks = _at_once([_look(part, window, is_only_bits) for part in parts])
        common = set.intersection(
            *({step + part.before for step in each} for part, each in zip(parts, looks, strict=True))
        )
        if common:
            step = max(common)
            return [each[step - part.before] for part, each in zip(parts, looks, strict=True)], step - parts[0].before
        if time.monotonic() >= deadline:
            return None
        attempt += 1


def _look(part: Part, window: float, is_only_bits: bool) -> Callable[[], dict[int, StepFigures]]:
    return lambda: part.source.looks(part.info, window, is_only_bits=is_only_bits)


def _at_once(calls: Sequence[Callable[[], _T]]) -> list[_T]:
    """What the calls return, each made on a thread of its own. Raises what the first of them raises."""
    if len(calls) == 1:
        return [calls[0]()]
    with ThreadPoolExecutor(len(calls), "tui-params rank") as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
