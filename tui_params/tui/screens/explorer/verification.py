"""Verification: the key that compares the files with those of the hub, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.tui.desk.messages import FilesVerified, SweepProgress
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.session import Session

if TYPE_CHECKING:
    from tui_params.tui.desk.verifying import Verifying


class Verification:
    """At most one comparison at a time; ``changed`` is called to paint the bars, ``key_of`` gives the key of an id."""

    def __init__(
        self,
        session: Session,
        notice: Notice,
        post: Callable[[Message], object],
        changed: Callable[[], None],
        key_of: Callable[[str], str],
    ) -> None:
        self._session = session
        self._notice = notice
        self._post = post
        self._changed = changed
        self._key_of = key_of
        self._running: Verifying | None = None

    @property
    def progress(self) -> SweepProgress | None:
        """How far a comparison has come; None if there is none."""
        return None if self._running is None else self._running.progress

    def start(self) -> None:
        opened = self._session.opened
        if opened is not None and opened.content.is_live:
            self._notice.say("A model in memory has no file to verify.")
        elif opened is not None and self._running is None:
            from tui_params.tui.desk.verifying import Verifying

            self._running = Verifying(opened.source, self._session.generation, self._post)
            self._changed()

    def stop(self) -> bool:
        """Stop what is under way; False if there is nothing."""
        running, self._running = self._running, None
        if running is None:
            return False
        running.stop()
        self._changed()
        return True

    def take(self, message: FilesVerified) -> None:
        """Take how far it is, or the result, unless it was asked for in an earlier opening."""
        pages = self._session.pages
        if pages is None or message.generation != self._session.generation or self._running is None:
            return
        if message.reason:
            self._running = None
            self._notice.say(f"The files were not compared to the end: {message.reason}.", stays=True)
            self._changed()
            return
        if message.result is None:
            self._changed()
            return
        self._running = None
        pages.reports.take_verification(message.result)
        from tui_params.core.health.verification import count_words

        words = count_words(message.result.files)
        hint = "" if message.result.is_whole else f"; {self._key_of('problems')} lists why"
        self._notice.say(f"{words[0].upper()}{words[1:]}{hint}.")
        self._changed()
