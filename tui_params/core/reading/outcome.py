"""Outcomes: the result of reading one tensor for statistics or a histogram, as values that may cross threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from tui_params.core.channels import Channels
from tui_params.core.faults import named, place_of
from tui_params.core.figures import Figures, Histogram
from tui_params.core.text import clean
from tui_params.errors import StoppedError, TuiParamsError

T = TypeVar("T")


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The result of reading one tensor: ``figures``, or the ``reason`` (one sentence) why there are none.

    If ``is_final`` is False the figures are those of a sample, and another Outcome for the tensor may follow.
    ``channels`` come with the final figures of a tensor that has rows and columns (``core.channels``).
    """

    name: str
    figures: Figures | None
    reason: str | None
    is_final: bool
    channels: Channels | None = None


class HistogramOutcome(msgspec.Struct, frozen=True, gc=False):
    """The answer to a request for a histogram: it, or the ``reason`` (one sentence) why there is none.

    If ``is_final`` is False it is that of a sample, and another answer to the same request follows.
    """

    name: str
    histogram: Histogram | None
    reason: str | None
    is_final: bool


def reason_of(error: Exception) -> str:
    """Why something could not be read, as one sentence; of an error that nobody foresaw, that it is a fault of ours."""
    if isinstance(error, TuiParamsError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory to read it"
    if isinstance(error, OSError):
        return f"it could not be read: {error.strerror or error}"
    return f"a fault of tui-params, please report it: {clean(named(error), 320)}{place_of(error)}"


def attempt(work: Callable[[], T]) -> tuple[T | None, str | None]:
    """What some work comes to, or why it comes to nothing (``reason_of``). Raises StoppedError."""
    try:
        return work(), None
    except StoppedError:
        raise
    except Exception as error:  # noqa: BLE001 - whoever waits for the work gets a sentence, whatever went wrong
        return None, reason_of(error)
