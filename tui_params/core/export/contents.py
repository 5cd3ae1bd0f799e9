"""Contents: what is to be in a file, made piece by piece while it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import msgspec

from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean

Piece: TypeAlias = "bytes | memoryview"


class Contents(msgspec.Struct, frozen=True, eq=False):
    """The contents of one file. ``pieces`` may raise what reading raises; each piece is valid until the next.

    ``nbytes`` is their sum where it is known before. ``about`` gives what is said beside the name of the written file.
    """

    pieces: Iterator[Piece]
    nbytes: int | None = None
    about: Callable[[], str] = str


def quantised_words(info: TensorInfo) -> str:
    """That the values of a quantised tensor are the stored integers, with its scale; empty for any other."""
    note = next((note for note in info.notes if note.startswith("quantised")), "")
    return f"integers as stored, {clean(note, 120)}" if note else ""
