"""NPZ: a zip of arrays, as numpy.savez (members stored) and numpy.savez_compressed (members deflated) write it.

A stored array is read where it lies in the file; a deflated one is unpacked whole when it is read, within a limit.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path

import msgspec

from tui_params.core.dtypes import unknown
from tui_params.core.findings import Finding
from tui_params.core.reading.extent import Extent
from tui_params.core.reading.place import Place
from tui_params.core.reading.readable import FileStamp
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import are, clean, plural, shape, size
from tui_params.errors import OpenError, ReadError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.local import DataFile, Descriptor, opened, read_bytes
from tui_params.sources.bytes.made import LastMade, MadePlace
from tui_params.sources.bytes.zip_directory import DEFLATED, STORED, Directory, Member, local_header, read_directory
from tui_params.sources.bytes.zip_records import read_records
from tui_params.sources.numpy_save.header import MAGIC, Header, describe, read_header, text_fault, text_type
from tui_params.sources.numpy_save.inflated import MAX_INFLATED_NBYTES, Packed, inflate
from tui_params.sources.numpy_save.npy import FIRST_READ

_NEWEST_ZIP = 63
"""zipfile.MAX_EXTRACT_VERSION of Python: with numpy the whole archive is refused for one member of a newer version."""

_MOST_CHECKED = 1 << 20
_SHOWN = 200
"""Members without an array that are shown as metadata."""


class NpzSource(ExtentSource):
    """The arrays of an archive, of which those in ``packed`` are deflated."""

    def __init__(
        self,
        file: DataFile,
        listing: Listing,
        extents: Mapping[str, Extent],
        packed: Mapping[str, Packed],
    ) -> None:
        super().__init__(
            file.name, listing, extents, {file.name: file}, partial(read_records, label=str, has_always=True)
        )
        self._file = file
        self._packed = packed
        self._inflated = LastMade(inflate)

    def locate(self, info: TensorInfo) -> tuple[Place, Extent]:
        packed = self._packed.get(info.name)
        if packed is None or info.unreadable is not None or self._is_closed:
            return super().locate(info)
        return MadePlace(self._inflated, self._file, packed), self.extents[info.name]

    def place(self, info: TensorInfo) -> Hashable | None:
        packed = self._packed.get(info.name)
        return super().place(info) if packed is None else (self._file.name, packed.begin)

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        return self._file, info

    def close(self) -> None:
        super().close()
        self._inflated.forget()


def open_npz(path: Path) -> NpzSource:
    """The arrays of an NPZ archive. Raises OpenError."""
    with opened(path) as (descriptor, file):
        directory = read_directory(descriptor, file.size, file.name)
        lister = _Lister(descriptor, file, directory)
        for member in directory.members.values():
            lister.add(member)
        lister.report_archive()
    listing = Listing(
        "NPZ", tuple(lister.tensors.values()), lister.metadata, findings=tuple(lister.findings), is_ordered=True
    )
    return NpzSource(file, listing, lister.extents, lister.packed)


class _Lister:
    """What has been found in the members so far."""

    def __init__(self, descriptor: Descriptor, file: DataFile, directory: Directory) -> None:
        self.tensors: dict[str, TensorInfo] = {}
        self.extents: dict[str, Extent] = {}
        self.packed: dict[str, Packed] = {}
        self.metadata: dict[str, str] = {}
        self.findings: list[Finding] = []
        self._descriptor = descriptor
        self._file = file
        self._directory = directory
        self._ranges: list[tuple[int, int, str]] = []

    def add(self, member: Member) -> None:
        """List one member: an array, or something else, which becomes metadata."""
        # As numpy.load does: one suffix is taken off.
        name = member.name.removesuffix(".npy")
        is_array = name != member.name
        if name in self.tensors or (is_array and name in self._directory.members):
            name = member.name
        refusal = _refusal(member)
        if refusal is not None:
            if is_array:
                self._add_unread(name, refusal)
            elif len(self.metadata) < _SHOWN:
                self.metadata[name] = f"a file: {refusal}"
            return
        try:
            self._add_array(name, member, is_array=is_array)
        except (OpenError, ReadError) as error:
            self._add_unread(name, str(error))
            self.findings.append(Finding("error", "malformed-tensor", name, str(error)))

    def _add_array(self, name: str, member: Member, *, is_array: bool) -> None:
        begin, head = self._head(member)
        if not is_array and head[:6] != MAGIC:
            if len(self.metadata) < _SHOWN:
                self.metadata[name] = f"a file of {size(member.size)} that is no array"
            return
        found = read_header(head)
        if type(found) is int:
            found = read_header(self._bytes(member, begin, found))
        if not isinstance(found, Header):
            raise OpenError("it ends inside its header")
        text = text_type(found.descr)
        if text is not None:
            self.metadata[name] = f"texts or dates of type {text}, {shape(found.shape[:8])}"
            self._expect_sound(member, begin)
            fault = text_fault(found, member.size - found.nbytes)
            if fault is not None:
                self.findings.append(Finding("error", "storage-bounds", None, f"{clean(name, 60)}: {fault}"))
            return
        is_stored = member.method == STORED
        file = self._file.name
        available = member.size - found.nbytes
        info, extent = describe(found, name, file, begin + found.nbytes if is_stored else None, available)
        if not is_stored:
            extent = Extent(file, found.nbytes, found.nbytes, member.size, extent.stride, is_swapped=extent.is_swapped)
            self.packed[name] = Packed(member.name, begin, begin + member.compressed, member.size, member.crc)
            if member.size > MAX_INFLATED_NBYTES and info.unreadable is None:
                most = f"at most {size(MAX_INFLATED_NBYTES)} are unpacked in memory"
                refusal = f"it is compressed, and has {size(member.size)} when unpacked: {most}"
                info = msgspec.structs.replace(info, unreadable=refusal)
            if not info.numel:
                self._expect_sound(member, begin)
        self.tensors[name], self.extents[name] = info, extent
        if info.dtype.is_sized and available != info.nbytes:
            evidence = f"its shape and type need {info.nbytes:,} bytes, and it has {max(available, 0):,}"
            self.findings.append(Finding("error", "storage-bounds", name, evidence))

    def _head(self, member: Member) -> tuple[int, bytes]:
        """Where the bytes of a member start in the file, and the first of them, unpacked."""
        found = local_header(self._descriptor, self._directory, member)
        if found is None or found[0] + member.compressed > self._directory.stop:
            raise OpenError("it lies outside the file: the archive is damaged or truncated")
        begin, has_name = found
        if not has_name:
            evidence = f"{clean(member.name, 60)} has another name in its own header than in the directory"
            self.findings.append(Finding("error", "zip-names", None, evidence))
        self._ranges.append((begin, begin + member.compressed, member.name))
        if member.method == STORED and member.size != member.compressed:
            raise OpenError("the directory of the archive says two sizes of it")
        return begin, self._bytes(member, begin, FIRST_READ)

    def _bytes(self, member: Member, begin: int, count: int) -> bytes:
        count = min(count, member.size)
        if member.method == STORED:
            return read_bytes(self._descriptor, begin, count)
        packed = Packed(member.name, begin, begin + member.compressed, member.size, member.crc)
        return bytes(inflate(self._file, packed, count))

    def _expect_sound(self, member: Member, begin: int) -> None:
        """Unpack a small member that nobody will read, for its checksum. Raises ReadError."""
        if member.method == DEFLATED and member.size <= _MOST_CHECKED:
            inflate(self._file, Packed(member.name, begin, begin + member.compressed, member.size, member.crc))

    def _add_unread(self, name: str, reason: str) -> None:
        self.tensors[name] = TensorInfo(name, (), unknown("unknown"), 0, 0, file=self._file.name, unreadable=reason)
        self.packed.pop(name, None)
        self.extents.pop(name, None)

    def report_archive(self) -> None:
        """Add what is wrong with the archive as a whole."""
        directory = self._directory
        if read_bytes(self._descriptor, 0, 4) not in (b"PK\3\4", b"PK\5\6"):
            evidence = "its first bytes are not those of a zip: numpy takes it for a pickle, and does not open it"
            self.findings.append(Finding("error", "bad-archive", None, evidence))
        if directory.duplicates:
            names = ", ".join(clean(name, 60) for name in directory.duplicates[:4])
            count = len(directory.duplicates)
            occur = f"{plural(count, 'name')} {are(count, 'occurs', 'occur')} more than once"
            evidence = f"{occur}, the last is shown: {names}"
            self.findings.append(Finding("warning", "zip-duplicates", None, evidence))
        if directory.trailing:
            evidence = f"{plural(directory.trailing, 'byte')} after the end of the archive were not read"
            self.findings.append(Finding("warning", "trailing-bytes", None, evidence))
        if directory.version > _NEWEST_ZIP:
            evidence = f"it says that version {directory.version / 10} of zip is needed: numpy refuses more than 6.3"
            self.findings.append(Finding("error", "bad-archive", None, evidence))
        for fault in directory.faults:
            self.findings.append(Finding("error", "bad-archive", None, f"the archive contradicts itself: {fault}"))
        self._ranges.sort()
        overlaps = [(before[2], after[2]) for before, after in pairwise(self._ranges) if after[0] < before[1]]
        if overlaps:
            first, second = (clean(name, 60) for name in overlaps[0])
            evidence = f"{len(overlaps):,} members overlap in the file, first {first} and {second}"
            self.findings.append(Finding("warning", "zip-overlap", None, evidence))


def _refusal(member: Member) -> str | None:
    """Why not even the header of a member can be read; None if it can."""
    if member.is_encrypted:
        return "it is encrypted: it cannot be read"
    if member.method not in (STORED, DEFLATED):
        return f"it is compressed by method {member.method}, which is not supported"
    return None
