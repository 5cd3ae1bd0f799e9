"""Listings that are kept, or come from another process: all that a large safetensors checkpoint and its tree say.

Tensors are columns, and their names the labels of the tree: nothing is made for a tensor until it is looked at. What
is kept on the disk is for one state of one folder: of everything that lies in it, by name, size, times and inode.
"""

from __future__ import annotations

import os
import sys
import time
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tui_params.cache.folder import CacheFolder
from tui_params.core import dtypes
from tui_params.core.adapter_config import AdapterConfig
from tui_params.core.findings import Finding
from tui_params.core.source import Listing, Source
from tui_params.core.tensor_columns import Form, TensorColumns
from tui_params.core.tree.labels import Labels
from tui_params.core.tree.leaves import LeafColumns, NamesOfTree
from tui_params.core.tree.shapes import Layout
from tui_params.core.tree.totals import Group
from tui_params.core.tree.tree import Tree
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.files import scan
from tui_params.sources.bytes.local import DataFile
from tui_params.sources.folder.merged import MergedSource

ROOMS = ("core", "core/tree", "sources", "sources/bytes", "sources/folder", "sources/safetensors", "cache")
"""Of the package, what has a part in a listing: one that other code has made, or another version, is made anew."""

MAX_BYTES = 24 * 1024 * 1024
"""Of one kept listing: 380,000 tensors."""

MAX_ENTRIES = 2_000
"""A folder with more files is not looked at each time."""

SETTLED_NS = 2_000_000_000
"""A file that changed within the last two seconds may change again unseen: the times of FAT have that step."""

_MAGIC = b"TUIPLST\n"


class _File(msgspec.Struct, frozen=True, gc=False, array_like=True):
    name: str
    size: int
    mtime_ns: int
    inode: int
    device: int


class _Form(msgspec.Struct, frozen=True, gc=False, array_like=True):
    shape: tuple[int, ...]
    dtype: str
    numel: int
    nbytes: int
    file: str


class _Group(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """``positions`` is None where these are all tensors, and stand before all other leaves."""

    dtype: str
    positions: bytes | None
    numel: bytes
    nbytes: bytes


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """Arrays are the bytes of the machine. ``order`` is None where the leaves are in the order of the listing."""

    label: str
    is_folder: bool
    files: list[_File]
    format: str
    metadata: dict[str, str]
    findings: tuple[Finding, ...]
    not_opened: tuple[str, ...]
    adapters: tuple[AdapterConfig, ...]
    stated: dict[str, str]
    forms: list[_Form]
    rows: bytes
    offsets: bytes
    labels: list[str]
    label_of: bytes
    parent: bytes
    end: bytes
    first: bytes
    order: bytes | None
    groups: list[_Group]


def pack(source: Source, tree: Tree) -> bytes | None:
    """A source with its tree in natural order; None if it is none of columns only, which are the large ones."""
    listing, leaves = source.listing, tree.leaves
    files = _files_of(source)
    if files is None or not isinstance(leaves, LeafColumns) or leaves.tensors is not listing.tensors:
        return None
    if listing != _plain(listing, leaves.tensors):
        return None
    groups = [_group(group) for group in tree.sums.groups]
    if None in groups:
        return None
    if not isinstance(tree.label, Labels):
        return None
    columns = leaves.tensors
    packed = _Packed(
        source.label,
        isinstance(source, MergedSource),
        [_File(file.name, file.size, file.mtime_ns, file.inode, file.device) for file in files],
        listing.format,
        dict(listing.metadata),
        listing.findings,
        listing.not_opened,
        listing.adapters,
        dict(listing.stated),
        [_Form(form.shape, form.dtype.name, form.numel, form.nbytes, form.file) for form in columns.forms],
        columns.rows.tobytes(),
        columns.offsets.tobytes(),
        list(tree.label.table),
        tree.label.numbers.tobytes(),
        tree.parent.tobytes(),
        tree.end.tobytes(),
        tree.first.tobytes(),
        None if isinstance(leaves.order, range) else array("i", leaves.order).tobytes(),
        [group for group in groups if group is not None],
    )
    try:
        return msgspec.msgpack.encode(packed)
    except (OverflowError, UnicodeEncodeError):
        return None


def _group(group: Group) -> _Group | None:
    """None for sums that are too large for an array."""
    if not isinstance(group.numel, array) or not isinstance(group.nbytes, array):
        return None
    at = group.positions
    positions = None if isinstance(at, range) else array("i", at).tobytes()
    return _Group(group.dtype, positions, group.numel.tobytes(), group.nbytes.tobytes())


def _plain(listing: Listing, tensors: TensorColumns) -> Listing:
    """The same listing with nothing but what is packed."""
    return Listing(
        listing.format,
        tensors,
        listing.metadata,
        findings=listing.findings,
        not_opened=listing.not_opened,
        adapters=listing.adapters,
        stated=listing.stated,
    )


def _files_of(source: Source) -> list[DataFile] | None:
    """The files of a source that is made of them and nothing else; None for any other."""
    parts = list(source.parts.values()) if isinstance(source, MergedSource) and source.is_plain else [source]
    files = [file for part in parts if isinstance(part, ExtentSource) and (file := part.only_file) is not None]
    return files if len(files) == len(parts) and not any(file.is_far for file in files) else None


def unpack(data: bytes, path: Path) -> tuple[Source, Tree] | None:
    """The reverse of ``pack`` for the file or the folder at ``path``; None if ``data`` is nothing of the kind."""
    try:
        packed = msgspec.msgpack.decode(data, type=_Packed)
    except (msgspec.MsgspecError, ValueError):
        return None
    found = {form.dtype: dtypes.named(form.dtype) for form in packed.forms}
    forms = [
        Form(form.shape, dtype, form.numel, form.nbytes, form.file)
        for form in packed.forms
        if (dtype := found[form.dtype]) is not None
    ]
    try:
        rows, offsets = array("i", packed.rows), array("q", packed.offsets)
        label_of, parent, end = array("i", packed.label_of), array("i", packed.parent), array("i", packed.end)
        first = array("i", packed.first)
        leaves = len(rows) + len(packed.metadata)
        order: Sequence[int] = range(leaves) if packed.order is None else array("i", packed.order)
        groups = tuple([_restored(group, len(rows)) for group in packed.groups])
    except ValueError:  # a part of a number
        return None
    # What the numbers are is not looked at, which would take as long as all the rest: that is what the checksum is for.
    is_whole = len(label_of) == len(parent) == len(end) == len(first) and len(rows) == len(offsets)
    are_sums = all(len(group.positions) + 1 == len(group.numel) == len(group.nbytes) for group in groups)
    if not is_whole or not are_sums or len(order) != leaves or len(forms) != len(packed.forms):
        return None
    label = Labels(packed.labels, label_of)
    names = NamesOfTree(label, parent, first, order, len(rows))
    listing = Listing(
        packed.format,
        TensorColumns(names, forms, rows, offsets),
        packed.metadata,
        findings=packed.findings,
        not_opened=packed.not_opened,
        adapters=packed.adapters,
        stated=packed.stated,
    )
    tree = Tree(listing, layout=Layout(order, label, parent, end, first), groups=groups)
    return _source(packed, path, listing), tree


def _restored(group: _Group, tensors: int) -> Group:
    positions = range(tensors) if group.positions is None else array("i", group.positions)
    numel, nbytes = array("q", group.numel), array("q", group.nbytes)
    return Group(group.dtype, False, False, False, positions, numel, nbytes)


def _source(packed: _Packed, path: Path, listing: Listing) -> Source:
    folder = path if packed.is_folder else path.parent
    files = {
        each.name: DataFile(folder / each.name, each.name, each.size, each.mtime_ns, each.inode, each.device)
        for each in packed.files
    }
    if not packed.is_folder:
        return ExtentSource(packed.label, listing, {}, files)
    # The parts are asked for bytes only, never for what they list.
    parts = {name: ExtentSource(name, Listing(packed.format, ()), {}, {name: file}) for name, file in files.items()}
    return MergedSource(packed.label, listing, parts, {}, folder)


class KeptListing:
    """The listing of one file or folder in the cache, and the state of the disk that it is for."""

    def __init__(self, store: CacheFolder, path: Path) -> None:
        """Looks at the disk. Call it before the checkpoint is opened."""
        self._store = store
        self._path = path
        from hashlib import blake2b

        where = os.path.realpath(path)
        self._name = blake2b(os.fsencode(where), digest_size=16).hexdigest() + ".listing"
        self._state = self._look()

    def read(self) -> bytes | None:
        """What ``pack`` returned for this state of the disk, or None."""
        found = self._store.read(self._name) if self._state is not None else None
        head = len(_MAGIC) + 4 + len(self._state or b"")
        if found is None or len(found[0]) < head or found[0][:head] != self._head(found[0][head:]):
            return None
        return found[0][head:]

    def write(self, data: bytes) -> None:
        """Keep it, if nothing has changed on the disk since this was made, nor a moment before."""
        if self._state is None or len(data) > MAX_BYTES or self._look() != self._state:
            return
        self._store.write(self._name, self._head(data) + data)
        self._store.evict()

    def _head(self, data: bytes) -> bytes:
        return _MAGIC + zlib.crc32(data).to_bytes(4, "little") + (self._state or b"")

    def _look(self) -> bytes | None:
        """A digest of the folder and of all that lies in it, and of our own code; None if it cannot be kept."""
        from hashlib import blake2b

        folder = self._path if self._path.is_dir() else self._path.parent
        package = Path(__file__).parents[1]
        try:
            entries = _entries(folder, time.time_ns() - SETTLED_NS)
            code = [_entries(package / room, None, ".py") for room in ROOMS]
        except (OSError, ValueError):
            return None
        if entries is None:
            return None
        facts = (sys.version, sys.byteorder, os.fspath(self._path), entries, code)
        return blake2b(repr(facts).encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _entries(folder: Path, settled: int | None, suffix: str = "") -> list[tuple[str | int, ...]] | None:
    """What lies in a folder under names that end with ``suffix``, and what tells that it has changed.

    None if that are too many, or if something changed after the time ``settled``. Raises OSError.
    """
    found: list[tuple[str | int, ...]] = []
    with scan(folder) as entries:
        for entry in entries:
            if not entry.name.endswith(suffix):
                continue
            status = os.stat(entry.path)
            times = status.st_mtime_ns, status.st_ctime_ns
            if len(found) == MAX_ENTRIES or (settled is not None and max(times) > settled):
                return None
            found.append((entry.name, status.st_mode, status.st_dev, status.st_ino, status.st_size, *times))
    return sorted(found)
