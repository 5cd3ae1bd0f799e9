"""Adapters: the adapters of a source by their modules and the changes that they make, for the pages of modules."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_params.core.adapters.change import Change
    from tui_params.core.health.adapters import Adapter

MOST_CHANGES = 8
"""The most adapters of a module whose changes are computed for its page."""

AskForChanges = Callable[[str, Sequence["Adapter"]], object]


class Adapters:
    """Finds the adapters at or below a module without a look at the others. They are asked for when first needed.

    The changes are asked for by the module that is looked at; of an answer that is not for it nothing is shown.
    """

    def __init__(self, ask: Callable[[], object], ask_for_changes: AskForChanges) -> None:
        self._ask = ask
        self._ask_for_changes = ask_for_changes
        self._is_asked = self._is_known = False
        self._adapters: list[Adapter] = []
        self._paths: list[list[str]] = []
        self._lines: dict[str, tuple[str, ...]] = {}
        self._changes: dict[str, tuple[Change, ...]] = {}
        self._asked: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether no answer is awaited."""
        return (self._is_known or not self._is_asked) and (self._asked is None or self._asked in self._changes)

    def take(self, adapters: Sequence[Adapter]) -> None:
        """Take the answer."""
        self._adapters = sorted(adapters, key=lambda adapter: adapter.module.split("."))
        self._paths = [adapter.module.split(".") for adapter in self._adapters]
        self._is_known = True

    def take_changes(self, path: str, changes: tuple[Change, ...]) -> None:
        """Take the changes that the adapters at or below a module make, in their order."""
        self._changes[path] = changes

    def lines_below(self, path: str) -> tuple[str, ...]:
        """The adapters of a module and of those in it, in a few lines; none as long as they are not known."""
        if not self._is_asked:
            self._is_asked = True
            self._ask()
        if not self._is_known or not self._adapters:
            return ()
        if path not in self._lines:
            from tui_params.core.health.adapters import summarize_adapters

            self._lines[path] = tuple(summarize_adapters(self._below(path)))
        return self._lines[path]

    def changes_below(self, path: str) -> tuple[str, ...]:
        """The tensors of these adapters and the norms of their changes in lines, if they are few."""
        adapters = self._below(path) if self._is_known else []
        if not 0 < len(adapters) <= MOST_CHANGES:
            return ()
        if path not in self._changes:
            if self._asked != path:
                self._asked = path
                self._ask_for_changes(path, adapters)
            return ("norm of the change: being computed",)
        from tui_params.core.adapters.change import describe

        return tuple(describe(path, adapters, self._changes[path]))

    def _below(self, path: str) -> list[Adapter]:
        segments = path.split(".")
        first = last = bisect_left(self._paths, segments)
        while last < len(self._paths) and self._paths[last][: len(segments)] == segments:
            last += 1
        return self._adapters[first:last]
