"""Adapters: the adapters of a source by their modules, for the pages of modules."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_params.core.health.adapters import Adapter


class Adapters:
    """Finds the adapters at or below a module without a look at the others. They are asked for when first needed."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._is_asked = self._is_known = False
        self._adapters: list[Adapter] = []
        self._paths: list[list[str]] = []
        self._lines: dict[str, tuple[str, ...]] = {}

    @property
    def is_settled(self) -> bool:
        """Whether no answer is awaited."""
        return self._is_known or not self._is_asked

    def take(self, adapters: Sequence[Adapter]) -> None:
        """Take the answer."""
        self._adapters = sorted(adapters, key=lambda adapter: adapter.module.split("."))
        self._paths = [adapter.module.split(".") for adapter in self._adapters]
        self._is_known = True

    def lines_below(self, path: str) -> tuple[str, ...]:
        """The adapters of a module and of those in it, in a few lines; none as long as they are not known."""
        if not self._is_asked:
            self._is_asked = True
            self._ask()
        if not self._is_known or not self._adapters:
            return ()
        if path not in self._lines:
            from tui_params.core.health.adapters import summarize_adapters

            segments = path.split(".")
            first = last = bisect_left(self._paths, segments)
            while last < len(self._paths) and self._paths[last][: len(segments)] == segments:
                last += 1
            self._lines[path] = tuple(summarize_adapters(self._adapters[first:last]))
        return self._lines[path]
