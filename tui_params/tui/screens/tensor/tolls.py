"""Tolls: what the tensor screen does not read of a source elsewhere unless the user asks for it."""

from __future__ import annotations

from collections.abc import Callable

from tui_params.core.tensor import TensorInfo
from tui_params.tui.screens.tensor.subject import Subject


class Tolls:
    """``subject`` gives what is looked into, ``key`` the key that fetches, as the user has it."""

    def __init__(self, subject: Callable[[], Subject], key: Callable[[], str]) -> None:
        self._subject = subject
        self._key = key

    def refusal(self, info: TensorInfo, numel: int | None) -> str:
        """Why so many elements of a tensor (None: all) are not read; empty if they are."""
        fetching = self._subject().fetching
        return fetching.words(info, self._key(), numel) if fetching is not None else ""

    def most_beside(self) -> int | None:
        """The bytes up to which a file beside the checkpoint is fetched by itself; None where nothing is fetched."""
        fetching = self._subject().fetching
        return fetching.below if fetching is not None and fetching.is_far else None

    def want_figures(self, info: TensorInfo) -> None:
        """Have the figures of a tensor worked out, unless the user has to ask for that."""
        fetching = self._subject().fetching
        if fetching is None or not fetching.figures_toll(info):
            self._subject().want(info)

    def agree(self, info: TensorInfo, reach: int | None) -> str:
        """The user asks for what a lens reaches; why that changes nothing, or an empty text."""
        fetching = self._subject().fetching
        if fetching is None or not fetching.is_far:
            return "Nothing has to be fetched: what is open is on this machine."
        toll = fetching.toll(info, reach)
        if not toll:
            return "It is fetched already, or is being fetched."
        fetching.agree(info, toll)
        self.want_figures(info)
        return ""

    def withdraw(self, info: TensorInfo, *, is_reading: bool) -> bool:
        """Fetch no more of what the user asked for; False if it was not asked for, or all of it is here.

        ``is_reading`` says whether the lens waits for something.
        """
        subject = self._subject()
        fetching = subject.fetching
        if fetching is None:
            return False
        awaits_figures = subject.figures(info.name) is None and not fetching.figures_toll(info)
        is_left = fetching.withdraw(info.name) and (is_reading or awaits_figures)
        if is_left:
            subject.want(info)  # what is wanted is counted anew
        return is_left
