"""Partial: what was found of some elements of one tensor, before it becomes figures; it merges with that of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tui_params.core.channels import Channels
from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from tui_params.core.numbers.maxima import FoundMaxima, Maxima
    from tui_params.core.numbers.summary import Summary


class Measured(NamedTuple):
    """The figures of a whole tensor, and its channels if it has rows and columns and they were asked for."""

    figures: Figures
    channels: Channels | None


class WorkedOut(NamedTuple):
    """What a source has worked out of a whole tensor; ``summary`` if that was asked for."""

    figures: Figures
    channels: Channels | None
    summary: Summary | None


class Partial:
    """The summary of some elements of a tensor and, if asked for, the largest magnitudes in its rows and columns.

    In whatever ranges a tensor is cut, and in whatever order these are merged, the figures are the same.
    """

    def __init__(self, summary: Summary, maxima: Maxima | None = None) -> None:
        self.summary = summary
        self.maxima = maxima

    @staticmethod
    def empty(info: TensorInfo, *, has_channels: bool) -> Partial:
        """That of no element. Raises ReadError for a type that cannot be decoded."""
        from tui_params.core.numbers.maxima import maxima_of
        from tui_params.core.numbers.summary import Summary

        return Partial(Summary.empty(info.dtype), maxima_of(info) if has_channels else None)

    def merge(self, other: Partial) -> None:
        """Take in other elements of the same tensor."""
        self.summary = self.summary.merge(other.summary)
        if self.maxima is not None and other.maxima is not None:
            self.maxima.merge(other.maxima)

    def take(self, summary: Summary, found: FoundMaxima | None) -> None:
        """Take in elements that another process has read. Raises ValueError if they are of another tensor."""
        self.summary = self.summary.merge(summary)
        if self.maxima is not None and found is not None:
            self.maxima.merge_found(found)

    def measured(self, info: TensorInfo) -> Measured:
        """The figures, once all elements of ``info`` are in."""
        return Measured(self.summary.figures(info.numel), None if self.maxima is None else self.maxima.channels())
