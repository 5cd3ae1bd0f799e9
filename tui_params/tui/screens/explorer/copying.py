"""Copying: the name or the summary at the cursor, taken to the clipboard of the terminal."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import App

from tui_params.core import text
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.widgets.detail.detail_lines import summary_line
from tui_params.tui.widgets.tree.module_tree import ModuleTree


class Copying:
    """Copies what the cursor is on, and says so in the status line."""

    def __init__(self, session: Session, tree: ModuleTree, notice: Notice, app: Callable[[], App[object]]) -> None:
        self._session = session
        self._tree = tree
        self._notice = notice
        self._app = app

    def copy_name(self) -> None:
        opened, node = self._session.opened, self._tree.cursor
        if opened is not None and node is not None:
            self._copy(opened.tree.name(node), "Copied the name")
        else:
            self._notice.say("There is nothing to copy here.")

    def copy_summary(self) -> None:
        pages, desk = self._session.pages, self._session.desk
        info = pages.tensor_at(self._tree.cursor) if pages is not None else None
        if info is None or desk is None:
            self.copy_name()
        else:
            self._copy(summary_line(info, desk.figures(info.name)), "Copied the summary")

    def _copy(self, words: str, said: str) -> None:
        # A name out of a file may hold a newline and a command: it would run where it is pasted.
        self._app().copy_to_clipboard(text.clean(words))
        self._notice.say(f"{said}: {text.clean(words, 56)}")
