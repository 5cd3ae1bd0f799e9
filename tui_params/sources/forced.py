"""A file that is read as a format that was asked for by its name, whatever it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tui_params.core.source import Source
from tui_params.core.text import clean, size
from tui_params.errors import OpenError
from tui_params.sources.bytes import far
from tui_params.sources.bytes.content import Peek
from tui_params.sources.bytes.local import opened, read_bytes
from tui_params.sources.plugins import reader_named
from tui_params.sources.row import Reader, Row, Unopened

_HEAD_NBYTES = 1024
_BLIND = ("DCP metadata", "DCP piece", "tar")
"""Readers that take what they are given for their format, so that what they say of another is not true."""


def find_reader(path: Path, form: str, rows: Sequence[Row], *, is_folder: bool) -> Reader:
    """The reader of that name, which must be one of what is at ``path``. Raises OpenError."""
    row = reader_named(form, [row for row in rows if isinstance(row, Reader)])
    if not (row.reads_folders if is_folder else row.reads_files):
        what, other = ("a folder", "a file") if is_folder else ("a file", "a folder")
        raise OpenError(f"{clean(far.shown(path), 200)} is {what}, and {row.name} is the format of {other}")
    return row


def open_forced(path: Path, row: Reader, rows: Sequence[Row]) -> Source:
    """The source at ``path`` as ``row`` reads it; ``rows`` are all formats. Raises OpenError.

    Where the file does not look like the format and nothing can be read, the error blames the choice, not the file.
    """
    with opened(path) as (descriptor, file):
        head = read_bytes(descriptor, 0, _HEAD_NBYTES)
        peek = Peek(head, file.size, file.name, partial(read_bytes, descriptor), path.parent)
        if row not in rows or row.fits(peek):
            looks = None
        elif not head:
            looks = "it is empty (0 bytes)"
        else:
            looks = _looks(next((each for each in rows if each.fits(peek)), None), head, file.size)
    if looks is None:
        return row.open(path)
    refusal = f"{clean(path.name, 120)} cannot be read as {row.name}, which was asked for: {looks}"
    if row.magic and not row.at and row.is_file is None:
        # Without its first bytes the rest means nothing.
        raise OpenError(refusal)
    try:
        source = row.open(path)
    except OpenError as error:
        is_known = not head or looks.startswith(_LIKE) or row.name in _BLIND
        raise OpenError(refusal if is_known else f"{refusal}; {error}") from None
    if not source.listing.tensors:
        source.close()
        raise OpenError(refusal)
    return source


_LIKE = "it looks like "


def _looks(row: Row | None, head: bytes, nbytes: int) -> str:
    """What a file looks like, as a part of a sentence."""
    if isinstance(row, Reader):
        return f"{_LIKE}{row.name}"
    if isinstance(row, Unopened):
        return f"it {row.sentence.replace('{size}', size(nbytes))}"
    return f"it does not look like it ({size(nbytes)}, the first bytes are {head[:8].hex(' ')})"
