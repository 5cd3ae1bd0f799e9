"""Where the storages of one torch.save archive lie in its file, and what is wrong with its members."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from tui_params.core.findings import Finding
from tui_params.core.text import are, clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes.local import Descriptor
from tui_params.sources.bytes.zip_directory import STORED, Directory, Member, expect_headers, local_header, read_member
from tui_params.sources.torch_save.layout import Place


class Places:
    """Finds where the storages of one archive lie, and notes what is wrong with its members."""

    def __init__(self, descriptor: Descriptor | bytes, directory: Directory, top: str) -> None:
        self._descriptor = descriptor
        self._directory = directory
        self.top = top
        self._ranges: list[tuple[int, int, str]] = []
        self._misnamed: list[str] = []
        expect_headers(descriptor, directory)

    def read(self, member: Member) -> bytes:
        """The bytes of a member that is no storage. Raises OpenError, OSError."""
        found = local_header(self._descriptor, self._directory, member)
        if found is not None and not found[1]:
            self._misnamed.append(member.name.partition("/")[2])
        return read_member(self._descriptor, self._directory, member)

    def locate(self, key: str) -> Place:
        """The Place of the storage of that key."""
        return self.locate_member(key if key.startswith("constants/") else f"data/{key}")

    def locate_member(self, path: str) -> Place:
        """The Place of the member of that path inside the archive."""
        member = self._directory.members.get(f"{self.top}/{path}")
        if member is None:
            return Place(None, 0, f"its storage {clean(path, 60)} is not in the file", is_faulty=True)
        if member.method != STORED:
            how = "compressed inside the zip: its values cannot be read without unpacking the file"
            return Place(None, 0, f"its storage is {how}")
        if member.is_encrypted:
            return Place(None, 0, "its storage is encrypted")
        found = local_header(self._descriptor, self._directory, member)
        if found is None:
            return Place(
                None, 0, f"no zip member starts where the directory says that {clean(path, 60)} does", is_faulty=True
            )
        offset, has_name = found
        if not has_name:
            self._misnamed.append(path)
            return Place(
                None, 0, f"where the zip directory says that {clean(path, 60)} is, a member of another name is"
            )
        if offset + member.size > self._directory.stop or member.size != member.compressed:
            room = max(0, self._directory.stop - offset)
            claims = f"{plural(member.size, 'byte')} in the zip where at most {room:,} {are(room)}"
            reason = f"its storage {clean(path, 60)} claims {claims}"
            return Place(None, 0, reason, is_faulty=True)
        self._ranges.append((offset, offset + member.size, path))
        return Place(offset, member.size)

    def findings(self) -> Iterator[Finding]:
        """What is wrong with the members and with the end of the archive.

        Complete once all storages have been located.
        """
        twice = self._directory.duplicates
        if twice:
            names = ", ".join(clean(name, 60) for name in twice[:10])
            evidence = f"more than one member of the zip has the name {names}: the last of each is shown"
            yield Finding("warning", "zip-duplicates", None, evidence)
        if self._misnamed:
            what, bear = ("member", "bears") if len(self._misnamed) == 1 else ("members", "bear")
            first = clean(self._misnamed[0], 60)
            evidence = (
                f"{len(self._misnamed):,} {what} of the zip {bear} another name than the directory gives,"
                f" first {first}: its bytes may be those of another member"
            )
            yield Finding("error", "zip-names", None, evidence)
        yield from end_findings(self._directory)
        yield from archive_findings(self._descriptor, self._directory, self.top)
        self._ranges.sort()
        overlaps = [(a[2], b[2]) for a, b in pairwise(self._ranges) if b[0] < a[1]]
        if overlaps:
            first, second = (clean(path, 60) for path in overlaps[0])
            count = plural(len(overlaps), "pair")
            evidence = f"{count} of storages {are(len(overlaps), 'overlaps', 'overlap')} in the file,"
            evidence += f" first {first} and {second}"
            yield Finding("warning", "zip-overlap", None, evidence)


def end_findings(directory: Directory) -> Iterator[Finding]:
    """Bytes behind the archive, and members without a checksum among others that have one."""
    if directory.trailing:
        evidence = (
            f"{plural(directory.trailing, 'byte')} after the end of the zip:"
            f" {'it is' if directory.trailing == 1 else 'they are'} no part of it, and"
            f" {are(directory.trailing, 'was', 'were')} not read"
        )
        yield Finding("error", "trailing-bytes", None, evidence)
    filled = [member for member in directory.members.values() if member.size]
    without = [member.name.partition("/")[2] or member.name for member in filled if not member.crc]
    if without and len(without) < len(filled):
        have = "has" if len(without) == 1 else "have"
        evidence = (
            f"{len(without):,} of {plural(len(filled), 'member')} of the zip {have} no checksum, first"
            f" {clean(without[0], 60)}: damage to the bytes would not be noticed"
        )
        yield Finding("info", "no-checksum", None, evidence)


_SUPPORTED = range(1, 11)
"""Versions of the archive that torch 2.13 reads: caffe2/serialize/versions.h."""


def archive_findings(descriptor: Descriptor | bytes, directory: Directory, top: str) -> Iterator[Finding]:
    """One finding about everything for which torch refuses the archive, though its tensors can be found.

    caffe2/serialize/inline_container.cc, ``init`` and ``getAllRecords``; torch/serialization.py, ``_load``.
    """
    faults = [*directory.faults]
    if directory.leading > 0:
        faults.append(f"{plural(directory.leading, 'byte')} stand before it")
    if "\ufffd" in "".join(directory.members):
        faults.append("the name of a member is no UTF-8")
    # Most members are storages, which are looked at when they are located.
    storages = f"{top}/data/"
    others = [name for name in directory.members if not name.startswith(storages)]
    outside = [name for name in others if not name.startswith(f"{top}/")]
    if outside:
        faults.append(f"{clean(outside[0], 60)} lies outside its folder {clean(top, 60)}")
    # Torch finds its own members whatever the case of their letters.
    own = {name[len(top) + 1 :].lower(): directory.members[name] for name in others}
    version = ".data/version" if ".data/version" in own else "version"
    for path in (version, "byteorder", ".storage_alignment", ".format_version", ".data/serialization_id"):
        member = own.get(path)
        if member is None:
            if path == version and f"{top}/{version}" not in directory.members:
                faults.append("it has no version")
            continue
        try:
            fault = _record_fault(path, read_member(descriptor, directory, member, _MAX_RECORD))
        except OpenError as error:
            fault = str(error)
        if fault is not None:
            faults.append(fault)
    if faults:
        more = f" (and {plural(len(faults) - 3, 'more fault')})" if len(faults) > 3 else ""
        evidence = f"torch refuses the archive: {'; '.join(faults[:3])}{more}"
        yield Finding("error", "bad-archive", None, evidence)


_MAX_RECORD = 1_000
_VERSION = re.compile(rb"\s*\+?(\d{1,19})")


def _record_fault(path: str, raw: bytes) -> str | None:
    """Why torch refuses a small record of the archive."""
    shown = clean(repr(raw[:20])[1:], 40)
    if path.endswith("version") and path != ".format_version":
        found = _VERSION.match(raw)
        if found is None or int(found[1]) not in _SUPPORTED:
            return f"its version is {shown}, not a number from {_SUPPORTED[0]} to {_SUPPORTED[-1]}"
    elif path == "byteorder" and raw not in (b"little", b"big"):
        return f"its byte order is {shown}, neither little nor big"
    elif path == ".data/serialization_id":
        try:
            raw.decode()
        except UnicodeDecodeError:
            return f"its id is {shown}, which is no UTF-8"
    elif path == ".storage_alignment":
        try:
            int(raw)
        except ValueError:
            return f"the alignment of its storages is {shown}, which is no number"
    return None


def is_big_endian(descriptor: Descriptor | bytes, directory: Directory, top: str) -> bool:
    member = directory.members.get(f"{top}/byteorder")
    return member is not None and read_member(descriptor, directory, member, 64).strip() == b"big"
