"""Choices: what a user chose on the screen and wants to find again: the columns of the tree, bookmarks, searches.

They are one small JSON file in the folder of the cache. Where there is none, or it cannot be used, nothing is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tui_params.cache.folder import CacheFolder

FILE = "5f3c1d5e0b7a4c0e9a86f2b41d7e9c33.choices"
"""Its name among the other files of the cache, which are all named by 32 digits."""


MOST_SOURCES = 100
"""Of how many sources bookmarks are kept: those that were set last."""


class _Kept(msgspec.Struct, frozen=True):
    columns: Mapping[str, tuple[str, ...]] = {}
    bookmarks: Mapping[str, Mapping[str, str]] = {}
    searches: tuple[str, ...] = ()


class Choices:
    """The columns that were chosen, by kind of source (``file``, ``model``), bookmarks, by the path of the source, and
    the filters that were kept, the last one at the end.

    ``folder`` is where they are kept.
    """

    def __init__(self, folder: CacheFolder | None = None) -> None:
        self._folder = folder
        self._columns: dict[str, tuple[str, ...]] = {}
        self._bookmarks: dict[str, Mapping[str, str]] = {}
        self.searches: tuple[str, ...] = ()
        content = folder.read(FILE) if folder is not None else None
        if content is not None:
            # One of another version, or a damaged one, is as if nothing had been chosen.
            with suppress(msgspec.DecodeError):
                kept = msgspec.json.decode(content[0], type=_Kept)
                self._columns, self._bookmarks = dict(kept.columns), dict(kept.bookmarks)
                self.searches = kept.searches

    def columns(self, kind: str) -> tuple[str, ...] | None:
        """The columns chosen for a kind of source; None if none were."""
        return self._columns.get(kind)

    def choose_columns(self, kind: str, names: tuple[str, ...] | None) -> None:
        """Keep these columns for a kind of source; None: the usual ones. Written off the thread of the screen."""
        if names is None:
            self._columns.pop(kind, None)
        else:
            self._columns[kind] = names
        self._write()

    def bookmarks(self, path: str) -> Mapping[str, str]:
        """The names that have a bookmark in a source, by its letter."""
        return self._bookmarks.get(path, {})

    def keep_bookmarks(self, path: str, bookmarks: Mapping[str, str]) -> None:
        """Keep the bookmarks of a source. Written off the thread of the screen."""
        self._bookmarks.pop(path, None)
        self._bookmarks[path] = dict(bookmarks)
        while len(self._bookmarks) > MOST_SOURCES:
            del self._bookmarks[next(iter(self._bookmarks))]
        self._write()

    def keep_searches(self, texts: Sequence[str]) -> None:
        """Keep the filters of before. Written off the thread of the screen."""
        self.searches = tuple(texts)
        self._write()

    def _write(self) -> None:
        kept = _Kept(dict(self._columns), dict(self._bookmarks), self.searches)
        folder, content = self._folder, msgspec.json.encode(kept)
        if folder is not None:
            Thread(target=folder.write, args=(FILE, content), name="choices", daemon=True).start()
