"""View: where the explorer was left, so that the next opening of the same thing goes on there."""

from __future__ import annotations

import weakref
from typing import Any

import msgspec

from tui_params.tui.state.sorting import SortChoice


class View(msgspec.Struct, frozen=True):
    """The name at the cursor, the paths of the modules that are open, the filter, and the order."""

    cursor: str | None = None
    expanded: frozenset[str] = frozenset()
    filter: str = ""
    order: SortChoice = SortChoice("name")


class Views:
    """The view of each thing that was explored in this process: of a model as long as it lives, of a path by its text.

    A mapping of tensors cannot be recognised again: nothing is kept of it.
    """

    def __init__(self) -> None:
        self._of_objects: weakref.WeakKeyDictionary[Any, View] = weakref.WeakKeyDictionary()
        self._of_paths: dict[str, View] = {}

    def find(self, target: Any) -> View | None:
        if isinstance(target, str):
            return self._of_paths.get(target)
        try:
            return self._of_objects.get(target)
        except TypeError:  # it has no hash, or nothing can watch whether it lives
            return None

    def keep(self, target: Any, view: View) -> None:
        if isinstance(target, str):
            self._of_paths[target] = view
            return
        try:
            self._of_objects[target] = view
        except TypeError:
            return
