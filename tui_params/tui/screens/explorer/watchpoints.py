"""WatchedFor: what a model that trains is watched for from this screen: the dialog, the marks, the bell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tui_params.core import text
from tui_params.core.findings import Finding
from tui_params.core.watching import NOTHING, Watching
from tui_params.errors import QueryError
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.tree.module_tree import ModuleTree


class Watcher(Protocol):
    """What it needs of the screen."""

    tree_view: ModuleTree
    glyphs: Glyphs
    notice: Notice

    @property
    def app(self) -> Any: ...


class WatchedFor:
    """The watch of the source that is open, if it trains in another process. ``changed`` repaints page and tree."""

    def __init__(self, session: Session, screen: Watcher, changed: Callable[[], None]) -> None:
        self._session, self._screen, self._changed = session, screen, changed
        self._watching: Watching | None = None
        self._told = 0
        self._said = self._stood = ""
        self._is_all = False
        """Whether everything was asked for the last time, and not only what was at the cursor."""

    def begin(self) -> None:
        """Another source was opened, or the same one again."""
        opened = self._session.opened
        self._watching = opened.source.watching() if opened is not None else None
        self._told, self._said, self._stood = 0, "", ""

    @property
    def words(self) -> str:
        """A word for the header while something is watched."""
        watching = self._watching
        is_on = watching is not None and watching.wish.conditions and not watching.words.startswith(NOTHING)
        return "watched" if is_on else ""

    def open(self) -> None:
        """Ask what to watch for."""
        from tui_params.tui.screens.watch import Seen, Wanted, WatchScreen

        watching, opened, node = self._watching, self._session.opened, self._screen.tree_view.cursor
        if watching is None or opened is None:
            self._screen.notice.say("Only a model that trains in another process can be watched.")
            return
        names = [] if node is None else [info.name for info in opened.tree.tensors_below(node)]

        def start(wanted: Wanted) -> str:
            if watching.standing and wanted.wish == watching.wish and wanted.is_all is self._is_all:
                watching.release()
                return ""
            try:
                if wanted.wish.conditions:
                    watching.start(None if wanted.is_all else names, wanted.wish)
                    self._is_all = wanted.is_all
                else:
                    watching.stop()
            except QueryError as error:
                return str(error)
            self._changed()
            return ""

        name = opened.tree.name(node) if node is not None and names else ""
        seen = Seen(watching.wish, watching.words, watching.standing, watching.events(), self._is_all)
        self._screen.app.push_screen(WatchScreen(self._screen.glyphs, name, seen, start))

    def look(self) -> None:
        """Tell what has come since the last look."""
        watching = self._watching
        if watching is None:
            return
        if watching.words != self._said:
            self._said = watching.words
            if self._said:
                self._screen.notice.say(f"{self._said[:1].upper()}{self._said[1:]}.")
        self._tell(watching.events())
        # For how long it stands yet would be said once, and be wrong a second later: the dialog counts.
        stood = watching.standing.partition(", for at most")[0]
        if stood and stood != self._stood:
            self._screen.notice.say(f"{stood[:1].upper()}{stood[1:]}: W and enter let it go on.", stays=True)
        self._stood = stood

    def _tell(self, events: tuple[Finding, ...]) -> None:
        new = events[self._told :]
        if not new:
            return
        self._told = len(events)
        self.note()
        self._screen.app.bell()
        # The first one says where it began; the others often follow from it.
        more = f"; and {len(events) - 1:,} more" if len(events) > 1 else ""
        self._screen.notice.say(f"{text.name(events[0].tensor or '')}: {events[0].evidence}{more}", stays=True)
        self._changed()

    def note(self) -> None:
        """Mark the tensors of all events; after the marks were made anew, too."""
        pages, opened = self._session.pages, self._session.opened
        if self._watching is not None and pages is not None and opened is not None:
            for event in self._watching.events():
                pages.marks.note(opened.tree, event)
