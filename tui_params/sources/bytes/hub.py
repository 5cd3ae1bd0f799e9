"""What the Hugging Face Hub says of a file on this disk: its digest, and downloads beside it that did not finish.

As huggingface_hub 2.4 writes it. In its cache, ``snapshots/<commit>/<name>`` links to ``blobs/<etag>``, and the etag is
the SHA-256 of a file in LFS or Xet, and the hash of the git blob of any other. A blob may link on to a store that all
repositories share, where the name is a Xet hash and no SHA-256: so the first blob on the way counts. Without links,
``trees/<commit>.json`` has the digests. A download to a folder keeps the etag in ``.cache/huggingface/download/``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from tui_params.core.source import Digest, StoredFile, Unfinished
from tui_params.core.text import clean, shorten
from tui_params.errors import OpenError
from tui_params.sources.bytes.far import is_far
from tui_params.sources.bytes.local import DataFile, far_file, opened, read_bytes
from tui_params.sources.bytes.system_calls import retried

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHARED_PREFIX = re.compile(r"[0-9a-f]{2}")
_INCOMPLETE = ".incomplete"
_DOWNLOADS = os.path.join(".cache", "huggingface", "download")

_MOST_LINKS = 40
"""The most symbolic links that are followed, as Linux does."""

_MAX_METADATA_NBYTES = 4096
_MAX_TREE_NBYTES = 64 << 20
_MAX_ENTRIES = 10_000
"""The most entries of a folder that are searched for downloads."""

_MAX_UNFINISHED = 20


class _TreeFile(msgspec.Struct):
    blob_id: str = ""
    lfs_sha256: str | None = None


class _TreeListing(msgspec.Struct):
    """The files of a repository at one commit: huggingface_hub/_tree_cache.py."""

    format_version: int
    files: dict[str, _TreeFile]


def describe_file(file: DataFile) -> StoredFile:
    """A file that was opened, with the digest that is known of it, or the reason why none is."""
    found = _far_digest(file) if file.is_far else find_digest(file.path)
    if isinstance(found, str):
        return StoredFile(file.name, file.size, None, found)
    return StoredFile(file.name, file.size, found)


def _far_digest(file: DataFile) -> Digest | str:
    digest = far_file(file).digest()
    if digest is None:
        return "the server keeps no SHA-256 of it"
    return Digest("sha256", digest, "the list of files of its repository")


def find_digest(path: Path) -> Digest | str:
    """The digest that the file at ``path`` has on the hub, or one sentence why it is not known."""
    if path.name.endswith(_INCOMPLETE):
        return "it is a download that did not finish: its name ends in .incomplete"
    steps = list(_steps(path))
    for folder, name in steps:
        if os.path.basename(folder) == "blobs" and (found := _digest(name, "the name of its blob in the cache")):
            return found
    for folder, name in steps:
        listed = _digest_of_tree(folder, name) or _digest_of_download(folder, name)
        if listed is not None:
            return listed
    folder, name = steps[-1]
    parent, prefix = os.path.split(folder)
    if os.path.basename(parent) == "blobs" and _SHARED_PREFIX.fullmatch(prefix) and _SHA256.fullmatch(name):
        return "the shared store of the cache names it by its Xet hash, which is not computed here"
    return (
        "no digest of it is known: it is no file of the Hugging Face cache, and it has no metadata in"
        f" {_DOWNLOADS.replace(os.sep, '/')}/"
    )


def _steps(path: Path) -> Iterator[tuple[str, str]]:
    """The folder and the name of a file, and of each file that it links to on the way to the last one."""
    here = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(here)
        yield folder, name
        real = os.path.realpath(folder)
        if real != folder:
            yield real, name
        if not os.path.islink(here):
            return
        try:
            here = os.path.normpath(os.path.join(real, os.readlink(here)))
        except OSError:
            return


def _digest(etag: str, origin: str) -> Digest | None:
    if _SHA256.fullmatch(etag):
        return Digest("sha256", etag, origin)
    return Digest("git-sha1", etag, origin) if _SHA1.fullmatch(etag) else None


def _digest_of_tree(folder: str, name: str) -> Digest | None:
    """The digest in the list of a commit's files, for a file that was copied into ``snapshots/<commit>/``."""
    inside = [name]
    while len(inside) < _MOST_LINKS:
        parent, commit = os.path.split(folder)
        if parent == folder:
            return None
        if _SHA1.fullmatch(commit) and os.path.basename(parent) == "snapshots":
            break
        inside.insert(0, commit)
        folder = parent
    tree = Path(parent).parent / "trees" / f"{commit}.json"
    text = _read_small(tree, _MAX_TREE_NBYTES)
    try:
        listing = None if text is None else msgspec.json.decode(text, type=_TreeListing)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    entry = listing.files.get("/".join(inside)) if listing is not None and listing.format_version == 1 else None
    if entry is None:
        return None
    return _digest(entry.lfs_sha256 or entry.blob_id, f"trees/{commit[:8]}….json of the cache")


def _digest_of_download(folder: str, name: str) -> Digest | str | None:
    """The digest in the metadata of a download to a folder, which may be any of those around the file."""
    inside, around = name, folder
    for _ in range(_MOST_LINKS):
        relative = os.path.join(_DOWNLOADS, f"{inside}.metadata")
        text = _read_small(Path(around, relative), _MAX_METADATA_NBYTES)
        if text is not None:
            return _read_metadata(text, f"{_DOWNLOADS}/{inside}.metadata".replace(os.sep, "/"), Path(folder, name))
        parent, last = os.path.split(around)
        if parent == around:
            return None
        inside, around = os.path.join(last, inside), parent
    return None


def _read_metadata(text: bytes, origin: str, path: Path) -> Digest | str:
    """The digest in one such file: a line each for the commit, the etag and the seconds since 1970 when it was made."""
    origin = clean(origin, 200)
    lines = text.decode("utf-8", "replace").split("\n")
    if len(lines) < 3:
        return f"{origin} is damaged: it has {len(lines):,} of 3 lines"
    etag = lines[1].strip()
    found = _digest(etag, origin)
    if found is None:
        return f"{origin} gives it the etag {clean(shorten(etag, 80))!r}, which is neither a SHA-256 nor a git hash"
    try:
        downloaded, written = float(lines[2]), retried(lambda: os.stat(path)).st_mtime
        # huggingface_hub allows for a clock of the file system that is a second ahead.
        if written > downloaded + 1:
            when, before = _date(written), _date(downloaded)
            return msgspec.structs.replace(found, origin=f"{origin} of {before}; the file was written to on {when}")
    except (ValueError, OverflowError, OSError):
        return f"{origin} is damaged: its third line is no time"
    return found


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M} UTC"


def _read_small(path: Path, most: int) -> bytes | None:
    """The content of a small file; None if there is none that can be read."""
    try:
        with opened(path) as (descriptor, file):
            return read_bytes(descriptor, 0, file.size) if file.size <= most else None
    except OpenError:
        return None


def find_unfinished(paths: Sequence[Path]) -> tuple[Unfinished, ...]:
    """Downloads that did not finish, beside the files or in the folders at ``paths``: where huggingface_hub puts them.

    The names of files in the cache do not tell which file of the repository they would have become.
    """
    places: dict[str, str] = {}
    for path in [path for path in paths if not is_far(path)]:
        for folder, _ in _steps(path / "-" if os.path.isdir(path) else path):
            places.setdefault(os.path.join(folder, _DOWNLOADS), "")
            parent, commit = os.path.split(folder)
            if _SHA1.fullmatch(commit) and os.path.basename(parent) == "snapshots":
                places.setdefault(os.path.join(os.path.dirname(parent), "blobs"), "blobs/")
    found: dict[str, Unfinished] = {}
    for place, shown in places.items():
        for name, nbytes in _incomplete_in(place):
            found.setdefault(os.path.realpath(os.path.join(place, name)), Unfinished(f"{shown}{name}", nbytes))
    return tuple(found.values())[:_MAX_UNFINISHED]


def _incomplete_in(folder: str) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= _MAX_ENTRIES:
                    return
                if entry.name.endswith(_INCOMPLETE) and entry.is_file(follow_symlinks=False):
                    yield entry.name, entry.stat(follow_symlinks=False).st_size
    except OSError:
        return
