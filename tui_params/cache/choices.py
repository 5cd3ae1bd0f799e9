"""Choices: what a user chose on the screen and wants to find again, such as the columns of the tree.

They are one small JSON file in the folder of the cache. Where there is none, or it cannot be used, nothing is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tui_params.cache.folder import CacheFolder

FILE = "5f3c1d5e0b7a4c0e9a86f2b41d7e9c33.choices"
"""Its name among the other files of the cache, which are all named by 32 digits."""


class _Kept(msgspec.Struct, frozen=True):
    columns: Mapping[str, tuple[str, ...]] = {}


class Choices:
    """The columns that were chosen, by kind of source (``file``, ``model``); ``folder`` is where they are kept."""

    def __init__(self, folder: CacheFolder | None = None) -> None:
        self._folder = folder
        self._columns: dict[str, tuple[str, ...]] = {}
        content = folder.read(FILE) if folder is not None else None
        if content is not None:
            # One of another version, or a damaged one, is as if nothing had been chosen.
            with suppress(msgspec.DecodeError):
                self._columns = dict(msgspec.json.decode(content[0], type=_Kept).columns)

    def columns(self, kind: str) -> tuple[str, ...] | None:
        """The columns chosen for a kind of source; None if none were."""
        return self._columns.get(kind)

    def choose_columns(self, kind: str, names: tuple[str, ...] | None) -> None:
        """Keep these columns for a kind of source; None: the usual ones. Written off the thread of the screen."""
        if names is None:
            self._columns.pop(kind, None)
        else:
            self._columns[kind] = names
        folder, content = self._folder, msgspec.json.encode(_Kept(dict(self._columns)))
        if folder is not None:
            Thread(target=folder.write, args=(FILE, content), name="choices", daemon=True).start()
