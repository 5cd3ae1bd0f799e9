"""Distributed checkpoints of torch (DCP): how one is recognised, and whether its saving was finished.

torch/distributed/checkpoint/filesystem.py: each rank writes ``__<rank>_<number>.distcp``; at the end ``.metadata`` (or,
without collectives, ``__<rank>.metadata``) is written to ``.tmp``, and renamed when it is complete.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tui_params.core.text import clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes.local import POOL, opened, read_bytes

_METADATA = re.compile(r"(__\d+)?\.metadata")
_UNFINISHED = re.compile(r"(__\d+)?\.metadata\.tmp")
_PIECE = ".distcp"
_SHOWN = 5


def is_distributed(path: Path) -> bool:
    """Whether the folder at ``path`` is a distributed checkpoint, finished or not."""
    names = _names(path)
    if any(name.endswith(_PIECE) for name in names):
        return True
    # Other programs have files named .metadata too.
    found = [name for name in names if _METADATA.fullmatch(name) or _UNFINISHED.fullmatch(name)]
    return any(_is_pickle(path / name) for name in found)


def describe_state(path: Path, suffixes: tuple[str, ...]) -> str:
    """What else there is to say about such a folder, as the end of a sentence: an unfinished save, files beside it.

    Files with one of ``suffixes`` can be opened by their paths.
    """
    names = _names(path)
    finished = [name for name in names if _METADATA.fullmatch(name)]
    unfinished = [name for name in names if _UNFINISHED.fullmatch(name)]
    words = ""
    if unfinished and finished:
        words += f"; a later save into it did not finish ({clean(unfinished[0], 60)} is there too)"
    elif unfinished:
        words += f"; its saving did not finish: {clean(unfinished[0], 60)} is there, and .metadata is not"
    elif not finished:
        pieces = sum(name.endswith(_PIECE) for name in names)
        has = plural(pieces, f"{_PIECE} file")
        words += f"; it has {has} and no .metadata: its saving did not finish, or a part is lost"
    beside = [name for name in names if name.endswith(suffixes)]
    if beside:
        shown = ", ".join(clean(name, 80) for name in beside[:_SHOWN])
        more = f" and {len(beside) - _SHOWN:,} more" if len(beside) > _SHOWN else ""
        words += f"; beside it {'lies' if len(beside) == 1 else 'lie'} {shown}{more}, to be opened by path"
    return words


def _names(path: Path) -> list[str]:
    try:
        return sorted(POOL.make_room_for(lambda: os.listdir(path)))
    except OSError:
        return []


def _is_pickle(path: Path) -> bool:
    try:
        with opened(path) as (descriptor, _):
            return read_bytes(descriptor, 0, 1) == b"\x80"
    except OpenError:
        return False
