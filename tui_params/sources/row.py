"""A row of the table of formats: how a format is recognised, and what is done with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from tui_params.core.source import Source
from tui_params.sources.bytes.content import Peek


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """How one format is recognised. The first row of the table that fits a file or a folder is taken.

    A file fits if it has ``magic`` (one of them, if there are several) at the byte ``at``, or if ``is_file`` says so.
    A folder fits if ``is_folder`` says so. ``name`` is unique. ``suffixes`` are those that such files usually have:
    only folders are searched by them.
    """

    name: str
    magic: bytes | tuple[bytes, ...] = ()
    at: int = 0
    is_file: Callable[[Peek], bool] | None = None
    is_folder: Callable[[Path], bool] | None = None
    suffixes: tuple[str, ...] = ()

    def fits(self, peek: Peek) -> bool:
        """Whether the file that was peeked into has this format."""
        if self.magic and peek.head.startswith(self.magic, self.at):
            return True
        return self.is_file is not None and self.is_file(peek)

    def fits_folder(self, path: Path) -> bool:
        """Whether the folder at ``path`` as a whole has this format."""
        return self.is_folder is not None and self.is_folder(path)

    @property
    def reads_files(self) -> bool:
        return bool(self.magic) or self.is_file is not None

    @property
    def reads_folders(self) -> bool:
        return self.is_folder is not None


class Reader(Row, frozen=True, kw_only=True):
    """A format that can be opened.

    ``description`` says in one plain sentence what is read; ``--help`` and the README show it. ``open`` imports the
    reader when it is called, so that no format costs anything before it is needed; it raises OpenError. Where a folder
    holds files of several formats, those of the earliest row are read. ``has_states`` says that trainers keep states
    of their own (optimizers, random generators) in files of this format beside the model.
    """

    description: str
    open: Callable[[Path], Source]
    has_states: bool = False

    @property
    def explained(self) -> str:
        """The description, with the suffixes that such files have."""
        return f"{self.description} Usually {', '.join(self.suffixes)}." if self.suffixes else self.description


class Unopened(Row, frozen=True, kw_only=True):
    """Something that is recognised, so that the user learns what it is and what to do, but that is not opened.

    ``sentence`` follows the name of the file; ``{size}`` in it is replaced by the file's size. ``suffixes`` are those
    of files whose folder is worth a mention. ``detail`` returns what else there is to say about one folder.
    """

    sentence: str
    detail: Callable[[Path], str] | None = None
