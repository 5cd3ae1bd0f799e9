"""Where the elements of a piece lie inside its window: a whole torch.save archive, or a part of a safetensors blob.

An archive is found from the end of its window, as the offsets in it count from the start of the window. Its directory
is read when the piece is first needed, and what was found is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from math import prod
from threading import Lock
from typing import TYPE_CHECKING

from tui_params.core.dtypes import DType
from tui_params.core.reading.extent import Extent
from tui_params.core.source import Record
from tui_params.core.text import clean, size
from tui_params.errors import OpenError, ReadError
from tui_params.sources.bytes.held import Held
from tui_params.sources.bytes.local import DataFile, Descriptor, borrow, read_bytes
from tui_params.sources.bytes.zip_directory import Directory, data_offset, read_directory
from tui_params.sources.bytes.zip_records import is_stored
from tui_params.sources.folder.dcp.metadata import Shape, Window
from tui_params.sources.folder.dcp.payload import Blob, read_blob
from tui_params.sources.folder.dcp.zstd import unpack
from tui_params.sources.inert_pickle.values import Parameter, TensorValue, TypedTensor

if TYPE_CHECKING:
    from tui_params.sources.torch_save.layout import TensorLister
    from tui_params.sources.torch_save.places import Places

Located = tuple[DataFile | Held, Extent]

ZSTD = "stream.zstd/1"
"""torch/distributed/checkpoint/_extension.py, ``ZStandard``."""

MAX_HELD_NBYTES = 256 << 20
"""Bytes of unpacked pieces that are kept in memory, and of the largest one that is unpacked."""

_MAX_KEPT = 50_000
"""Places, and pickles, that are kept: about 400 bytes each."""

_MAX_PICKLE_NBYTES = 1 << 20
"""Bytes of the pickle of one tensor; torch writes about 200."""

_SLACK_NBYTES = 64 << 10
"""Bytes that an archive may have beside its elements; torch needs about 1,500."""


class Windows:
    """Finds the pieces in the files of one checkpoint. May be used from any thread."""

    def __init__(self, files: Mapping[str, DataFile], reasons: Mapping[str, str]) -> None:
        """``files`` are by their paths in the folder; ``reasons`` say of the others why they cannot be read."""
        self.files = files
        self._reasons = reasons
        self._lock = Lock()
        self._found: OrderedDict[tuple[Window, str], Located] = OrderedDict()
        self._roots: dict[bytes, TensorValue] = {}
        self._blobs: OrderedDict[tuple[str, int], Blob | None] = OrderedDict()
        self._held_nbytes = 0

    def locate(self, window: Window, name: str, shape: Shape, dtype: DType) -> Located:
        """The file, or what was unpacked of it, and the place of the elements of a piece of ``name``. Raises ReadError.

        What stands there must be a tensor of that shape and type.
        """
        key = (window, name)
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
                return found
        found = self._find(window, name, shape, dtype)
        with self._lock:
            self._keep(key, found)
        return found

    def _keep(self, key: tuple[Window, str], found: Located) -> None:
        if key in self._found:
            return
        self._found[key] = found
        if isinstance(found[0], Held):
            self._held_nbytes += len(found[0].data)
        while len(self._found) > _MAX_KEPT or (self._held_nbytes > MAX_HELD_NBYTES and len(self._found) > 1):
            place, _ = self._found.popitem(last=False)[1]
            if isinstance(place, Held):
                self._held_nbytes -= len(place.data)

    def _find(self, window: Window, name: str, shape: Shape, dtype: DType) -> Located:
        file = self.file_of(window, name)
        if window.transforms:
            most = dtype.nbytes(prod(shape)) + _SLACK_NBYTES
            data = self.unpacked(window, name, most)
            held = Held(file.name, data)
            return held, self._in_archive(data, 0, len(data), file, name, shape, dtype)
        with borrow(file) as descriptor:
            if read_bytes(descriptor, window.offset, 2) == b"PK":
                stop = window.offset + window.nbytes
                return file, self._in_archive(descriptor, window.offset, stop, file, name, shape, dtype)
            blob = self._blob(descriptor, file, window.offset)
            if blob is None:
                raise ReadError(f"{self.what(window, name)} is no archive of torch.save: {_TORN}")
            return file, blob.extent(file, name, shape, dtype)

    def record(self, window: Window, name: str, label: str) -> Record | None:
        """The checksum of the elements of a piece, as its archive keeps it; None if it keeps none, or is none.

        Compressed pieces have none here: their bytes are not those of the elements.
        """
        if window.transforms:
            return None
        try:
            file = self.file_of(window, name)
            with borrow(file) as descriptor:
                if read_bytes(descriptor, window.offset, 2) != b"PK":
                    return None
                directory = read_directory(descriptor, window.offset + window.nbytes, label, window.offset)
                members = [member for key, member in directory.members.items() if key.partition("/")[2] == "data/0"]
                if len(members) != 1 or not is_stored(members[0]):
                    return None
                offset = data_offset(descriptor, directory, members[0])
        except (OpenError, ReadError, OSError):
            # Reading the tensor says what is wrong.
            return None
        if offset is None or offset + members[0].size > directory.stop:
            return None
        return Record(file.name, label, offset, members[0].size, members[0].crc, name)

    def file_of(self, window: Window, name: str) -> DataFile:
        """The file of a window, which must lie in it. Raises ReadError."""
        file = self.files.get(window.file)
        if file is None:
            reason = self._reasons.get(window.file) or f"{clean(window.file, 120)} is missing"
            raise ReadError(f"the piece of {clean(name, 120)} at byte {window.offset:,} cannot be read: {reason}")
        if window.offset + window.nbytes > file.size:
            raise ReadError(
                f"{self.what(window, name)} ends at byte {window.offset + window.nbytes:,}, and the file has"
                f" {file.size:,}: {_TORN}"
            )
        return file

    def unpacked(self, window: Window, name: str, most: int) -> bytes:
        """The bytes of a window, whose transforms are undone, of at most ``most`` bytes. Raises ReadError."""
        what = self.what(window, name)
        others = [each for each in window.transforms if each != ZSTD]
        if others:
            raise ReadError(f"{what} was written with the transform {clean(others[0], 60)}, which is not known here")
        if max(most, window.nbytes) > MAX_HELD_NBYTES + _SLACK_NBYTES:
            raise ReadError(
                f"{what} is compressed, and has {size(most)}: no more than {size(MAX_HELD_NBYTES)} are unpacked at once"
            )
        with borrow(self.file_of(window, name)) as descriptor:
            data = read_bytes(descriptor, window.offset, window.nbytes)
        for _ in window.transforms:
            data = unpack(data, most, what)
        return data

    def what(self, window: Window, name: str) -> str:
        """What messages call a piece."""
        return f"the piece of {clean(name, 120)} at byte {window.offset:,} of {clean(window.file, 120)}"

    def _blob(self, descriptor: Descriptor, file: DataFile, offset: int) -> Blob | None:
        key = (file.name, offset)
        with self._lock:
            if key in self._blobs:
                return self._blobs[key]
        blob = read_blob(descriptor, file, offset)
        with self._lock:
            self._blobs[key] = blob
            while sum(len(kept.entries) for kept in self._blobs.values() if kept) > _MAX_KEPT and len(self._blobs) > 1:
                self._blobs.popitem(last=False)
        return blob

    def _in_archive(
        self, content: Descriptor | bytes, start: int, stop: int, file: DataFile, name: str, shape: Shape, dtype: DType
    ) -> Extent:
        """Where the one tensor of the archive in the bytes ``start:stop`` lies. Raises ReadError, OSError."""
        # What reads pickles is imported with the first piece: the tree does not need it.
        from tui_params.sources.torch_save.layout import MalformedTensorError, TensorLister
        from tui_params.sources.torch_save.places import is_big_endian

        what = f"the piece of {clean(name, 120)} at byte {start:,} of {clean(file.name, 120)}"
        try:
            directory = read_directory(content, stop, what, start)
            if directory.leading:
                raise OpenError(f"{what} does not begin where the metadata say")
            root, places = self._read_root(content, directory, what)
            lister = TensorLister(file.name, places.locate, is_big_endian=is_big_endian(content, directory, places.top))
            lister.add("piece", root)
        except MalformedTensorError as error:
            raise ReadError(f"{what} is a tensor that {error}: {_TORN}") from None
        except OpenError as error:
            raise ReadError(f"{error}: {_TORN}") from None
        info = lister.tensors[0]
        if info.unreadable is not None:
            raise ReadError(f"{what}: {info.unreadable}")
        if info.shape != shape or info.dtype != dtype:
            raise ReadError(
                f"{what} is {info.dtype.short} {list(info.shape)[:20]} where the metadata say {dtype.short}"
                f" {list(shape)[:20]}: {_TORN}"
            )
        return _whole_extent(lister, what)

    def _read_root(self, content: Descriptor | bytes, directory: Directory, what: str) -> tuple[TensorValue, Places]:
        """The one tensor that the archive holds, and where its storages lie. Raises OpenError, OSError."""
        from tui_params.sources.inert_pickle.machine import load_pickle
        from tui_params.sources.torch_save.places import Places

        top = next(iter(directory.members), "").partition("/")[0]
        pickle = directory.members.get(f"{top}/data.pkl")
        if pickle is None or pickle.size > _MAX_PICKLE_NBYTES:
            raise OpenError(f"{what} has no data.pkl of a tensor")
        places = Places(content, directory, top)
        raw = places.read(pickle)
        root = self._roots.get(raw)
        if root is None:
            value = load_pickle(raw, f"data.pkl of {what}", 5).root
            while type(value) in (Parameter, TypedTensor):
                value = value.data
            if type(value) is not TensorValue:
                raise OpenError(f"{what} holds no tensor")
            root = value
            # Pieces of one shape have the same pickle.
            if len(self._roots) >= _MAX_KEPT:
                self._roots.clear()
            self._roots[raw] = root
        return root, places


class Direct(Windows):
    """Finds pieces that are their windows: the elements themselves, with nothing around them."""

    def locate(self, window: Window, name: str, shape: Shape, dtype: DType) -> Located:
        file = self.file_of(window, name)
        stop = window.offset + dtype.nbytes(prod(shape))
        return file, Extent(file.name, window.offset, window.offset, stop)


_TORN = "it was overwritten by a later save, or is torn"


def _whole_extent(lister: TensorLister, what: str) -> Extent:
    """The extent of a tensor that has each byte of it once. Raises ReadError."""
    from tui_params.core.reading.gather import is_dense

    info = lister.tensors[0]
    extent = lister.extents.get("piece")
    if extent is None:
        begin = info.offset or 0
        return Extent(info.file or "", begin, begin, begin + info.nbytes)
    if extent.stride is not None and not is_dense(info.shape, extent.stride):
        # torch.save of a piece has its storage cut to its own size, so that no element stands for two.
        raise ReadError(f"{what} repeats or skips elements of its storage, which no writer of torch does")
    return extent
