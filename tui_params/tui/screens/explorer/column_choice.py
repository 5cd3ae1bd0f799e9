"""ColumnChoice: which columns the tree shows, kept for each kind of source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.state.columns import BY_NAME
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from tui_params.cache.choices import Choices


class ColumnChoice:
    """The columns that the user chose: for files, for models in memory, or for two sources that are compared."""

    def __init__(self, session: Session, tree: ModuleTree, choices: Choices | None) -> None:
        self._session = session
        self._tree = tree
        self._choices = choices
        self.chosen: tuple[str, ...] | None = None
        """None: the usual ones, as many as there is room for."""

    @property
    def is_live(self) -> bool:
        opened = self._session.opened
        return opened is not None and opened.content.is_live

    @property
    def is_across(self) -> bool:
        opened = self._session.opened
        return opened is not None and opened.both is not None

    @property
    def _kind(self) -> str:
        if self.is_across:
            return "both"
        return "model" if self.is_live else "file"

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns that there is room for."""
        return tuple(column.name for column, _ in self._tree.layout_of_columns.cells)

    def begin(self) -> None:
        """Show what was chosen for the kind of source that was opened."""
        kept = self._choices.columns(self._kind) if self._choices is not None else None
        self.chosen = tuple(dict.fromkeys(name for name in kept if name in BY_NAME)) if kept is not None else None
        self._tree.set_columns(self.chosen)

    def change(self, names: tuple[str, ...] | None) -> tuple[str, ...]:
        """Show other columns from now on, and return those that there is room for."""
        self.chosen = names
        self._tree.set_columns(names)
        if self._choices is not None:
            self._choices.choose_columns(self._kind, names)
        return self.shown
