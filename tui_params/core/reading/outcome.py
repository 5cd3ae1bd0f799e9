"""Outcomes: the result of reading one tensor for statistics or a histogram, as values that may cross threads."""

from __future__ import annotations

import msgspec

from tui_params.core.channels import Channels
from tui_params.core.figures import Figures, Histogram


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
    """Why a tensor could not be read, as one sentence."""
    if isinstance(error, MemoryError):
        return "there is not enough memory to read it"
    if isinstance(error, OSError):
        return f"it could not be read: {error.strerror or error}"
    return str(error)
