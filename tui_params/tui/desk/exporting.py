"""Exports: the thread that writes a file for the user, and what it says meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.errors import OccupiedError, StoppedError
from tui_params.tui.desk.messages import Exported, ExportState

if TYPE_CHECKING:
    from tui_params.core.export.contents import Contents
    from tui_params.core.reading.readable import FileStamp
    from tui_params.core.source import Source

TELL_EVERY = 0.1
"""Seconds from one word about the progress to the next."""


class Exports:
    """Writes one file at a time; each step is told by Exported, which carries the path that was asked for."""

    def __init__(self, source: Source, post: Callable[[Message], object]) -> None:
        self._source = source
        self._post = post
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def begin(self, path: str, make: Callable[[], Contents], *, may_replace: bool) -> bool:
        """Write what ``make`` makes (on another thread) to ``path``; False if another file is being written."""
        if self.is_busy:
            return False
        self._stopping = stopping = threading.Event()
        args = (path, make, may_replace, stopping)
        self._thread = threading.Thread(target=self._write, args=args, name="export", daemon=True)
        self._thread.start()
        return True

    def stop(self) -> None:
        """Write no further piece, and remove what was written."""
        self._stopping.set()

    def join(self, seconds: float) -> None:
        """Wait until it has stopped, but no longer."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _write(self, path: str, make: Callable[[], Contents], may_replace: bool, stopping: threading.Event) -> None:
        from tui_params.core.export.new_file import write_file
        from tui_params.core.reading.outcome import reason_of

        told = -TELL_EVERY

        def tell(state: ExportState, done: int = 0, total: int | None = None, words: str = "") -> None:
            self._post(Exported(path, state, done, total, words))

        def progress(done: int, total: int | None) -> None:
            nonlocal told
            if monotonic() - told >= TELL_EVERY:
                told = monotonic()
                tell("writing", done, total)

        try:
            written, contents = write_file(
                path,
                make,
                may_replace=may_replace,
                opened=self._files(),
                should_stop=stopping.is_set,
                progress=progress,
            )
        except Exception as error:  # noqa: BLE001 - what was written is gone already; the user gets the reason
            # When it is stopped because the source is closed, the reading may notice first.
            if stopping.is_set() or isinstance(error, StoppedError):
                tell("stopped")
            else:
                tell("occupied" if isinstance(error, OccupiedError) else "failed", words=reason_of(error))
        else:
            tell("written", written, written, contents.about())

    def _files(self) -> list[FileStamp]:
        """The files that the source reads."""
        files: dict[str, FileStamp] = {}
        for info in self._source.listing.tensors:
            if info.file is not None and info.file not in files:
                found = self._source.data_file(info)
                if found is not None:
                    files[info.file] = found[0]
        return list(files.values())
