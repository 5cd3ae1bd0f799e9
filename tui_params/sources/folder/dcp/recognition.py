"""Distributed checkpoints of torch (DCP): how a folder of one is recognised, and whether its saving was finished.

torch/distributed/checkpoint/filesystem.py: each rank writes ``__<rank>_<number>.distcp``; at the end ``.metadata`` (or,
without collectives, ``__<rank>.metadata``) is written to ``.tmp``, and renamed when it is complete.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes.files import names_in
from tui_params.sources.bytes.local import opened, read_bytes

PIECE = ".distcp"

METADATA = ".metadata"
SHARD = re.compile(r"shard-(\d{1,9})-[\w.-]*\.safetensors", re.ASCII)
SHARDING = "DCP_SHARDING_INFO"
"""What the metadata of a file of safetensors have where a rank wrote it: hf_storage.py beside that."""

_OF_RANK = re.compile(r"__(\d{1,9})\.metadata", re.ASCII)
_UNFINISHED = re.compile(r"(__\d+)?\.metadata\.tmp")


class Found(msgspec.Struct, frozen=True):
    """The files of a folder that belong to a distributed checkpoint, by their names.

    ``metadata`` are those to read: ``.metadata``, or those of the ranks in their order. ``unfinished`` are metadata
    that were being written; ``pieces`` the .distcp files; ``others`` all other files.
    """

    metadata: tuple[str, ...]
    unfinished: tuple[str, ...]
    pieces: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def is_any(self) -> bool:
        return bool(self.metadata or self.unfinished or self.pieces)

    @property
    def is_by_rank(self) -> bool:
        """Whether each rank wrote metadata of its own (``use_collectives=False``)."""
        return METADATA not in self.metadata


def find_files(path: Path) -> Found:
    """What the folder at ``path`` has of a distributed checkpoint; nothing if it cannot be listed."""
    names = _names(path)
    by_rank = sorted((int(match[1]), name) for name in names if (match := _OF_RANK.fullmatch(name)) is not None)
    metadata = [METADATA] if METADATA in names and _is_pickle(path / METADATA) else []
    # Both kinds lie in one folder after two saves. Torch reads .metadata.
    metadata = metadata or [name for _, name in by_rank if _is_pickle(path / name)]
    pieces = tuple(name for name in names if name.endswith(PIECE))
    unfinished = tuple(
        name for name in names if _UNFINISHED.fullmatch(name) and (pieces or metadata or _is_pickle(path / name))
    )
    known = {*metadata, *pieces, *unfinished, *(name for _, name in by_rank), METADATA}
    return Found(tuple(metadata), unfinished, pieces, tuple(name for name in names if name not in known))


def is_distributed(path: Path) -> bool:
    """Whether the folder at ``path`` is a distributed checkpoint, finished or not."""
    return find_files(path).is_any


def unfinished(found: Found) -> Finding | None:
    """What shows that a save into the folder did not finish; None if nothing does."""
    if found.unfinished and found.metadata:
        words = (
            f"a later save into this folder did not finish ({clean(found.unfinished[0], 60)} is there too): pieces may"
            " be overwritten"
        )
    elif found.unfinished:
        words = f"its saving did not finish: {clean(found.unfinished[0], 60)} is there, and {METADATA} is not"
    elif not found.metadata:
        has = plural(len(found.pieces), f"{PIECE} file")
        verb = "is" if has.startswith("1 ") else "are"
        words = f"there {verb} {has} and no {METADATA}: its saving did not finish, or a part is lost"
    else:
        return None
    return Finding("error", "unfinished-save", None, words)


def shard_folder(path: Path) -> Path | None:
    """The folder with the shards of safetensors that ranks wrote: ``path`` itself, or ``sharded`` in it; else None.

    The writer puts whole files beside that folder (``enable_consolidation``), unless it fails: then only shards exist.
    """
    if shard_names(path):
        return path
    names = _names(path)
    is_left = "sharded" in names and not any(name.endswith(".safetensors") for name in names)
    return path / "sharded" if is_left and shard_names(path / "sharded") else None


def shard_names(path: Path) -> list[str]:
    """The names of the shards of safetensors in the folder at ``path``; empty unless ranks wrote them."""
    shards = [name for name in _names(path) if SHARD.fullmatch(name)]
    return shards if any(_is_shard(path / name) for name in shards[:1]) else []


def _is_shard(path: Path) -> bool:
    # Only now: hardly a folder has files of such names.
    from tui_params.sources.safetensors.reader import read_header

    try:
        with opened(path) as (descriptor, file):
            return f'"{SHARDING}"'.encode() in read_header(descriptor, file)
    except OpenError:
        return False


def _names(path: Path) -> list[str]:
    try:
        return sorted(names_in(path))
    except OSError:
        return []


def _is_pickle(path: Path) -> bool:
    # Other programs have files named .metadata too.
    try:
        with opened(path) as (descriptor, _):
            return read_bytes(descriptor, 0, 1) == b"\x80"
    except OpenError:
        return False
