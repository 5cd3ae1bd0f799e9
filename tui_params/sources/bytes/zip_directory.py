"""The central directory of a zip file, read by hand: names, sizes, and where the bytes of a stored member start.

Specification: PKWARE APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 to 4.3.16
(ends of the directory), 4.5.3 (ZIP64). ``zipfile`` takes three times as long and raises errors of six kinds.
"""

from __future__ import annotations

import os
import zlib
from functools import partial
from struct import Struct, error, unpack_from

import msgspec

from tui_params.core.text import clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes import local
from tui_params.sources.bytes.local import Descriptor
from tui_params.sources.bytes.system_calls import retried

MAX_DIRECTORY_BYTES = 256 << 20
MAX_INFLATED_BYTES = 256 << 20
MAX_RATIO = 200
"""Deflate reaches 1032:1 on zeros; text and pickles stay far below this."""

FREE_BYTES = 1 << 20
"""So much may be unpacked from however little."""

STORED, DEFLATED = 0, 8

_SHORT_TAIL = 1 << 10
"""Bytes at the end that have the end record of most archives, which have no comment."""

_MAX_FAULTS = 10

_END = Struct("<4s4H2LH")
_END64 = Struct("<4sQ2H2L4Q")
_LOCATOR64 = Struct("<4sLQL")
_ENTRY = Struct("<4s6H3L5H2L")
_LOCAL = Struct("<4s5H3L2H")


class Member(msgspec.Struct, gc=False):
    """One file inside a zip. ``header`` is the byte of the file where its local header starts.

    ``crc`` is the CRC-32 of its bytes. It is 0 for all members of a file that torch wrote without checksums
    (``set_crc32_options(False)``, ``skip_data``).
    """

    name: str
    method: int
    is_encrypted: bool
    compressed: int
    size: int
    header: int
    crc: int = 0


class Directory(msgspec.Struct):
    """The members of a zip by name, in order; ``duplicates`` are names that occur more than once.

    Of several members with one name the last is kept, as in ``zipfile``. ``trailing`` counts the bytes after the end of
    the archive, which are no part of it, and ``leading`` those before it. ``faults`` are contradictions for which
    stricter readers refuse the archive, though every member can be found: the first few, as sentences. ``version`` is
    the highest version of the format that a member is said to need, times 10.
    """

    members: dict[str, Member]
    duplicates: tuple[str, ...]
    start: int
    stop: int
    trailing: int = 0
    leading: int = 0
    faults: tuple[str, ...] = ()
    version: int = 0


def read_bytes(content: Descriptor | bytes, offset: int, count: int) -> bytes:
    """Up to ``count`` bytes at ``offset`` of a descriptor, or of the content of a file itself. Raises OSError."""
    if isinstance(content, bytes):
        return content[offset : offset + count]
    return local.read_bytes(content, offset, count)


def read_directory(descriptor: Descriptor | bytes, stop: int, label: str, start: int = 0) -> Directory:
    """The directory of the zip in the bytes ``start:stop`` of a file, or of its content. Raises OpenError, OSError."""
    tail_start = max(start, stop - _SHORT_TAIL)
    tail = read_bytes(descriptor, tail_start, stop - tail_start)
    at = _find_end(tail, is_exact=True)
    if at < _END64.size + _LOCATOR64.size:
        tail_start = max(start, stop - (1 << 16) - _END.size)
        tail = read_bytes(descriptor, tail_start, stop - tail_start)
        at = _find_end(tail)
    if at < 0:
        raise OpenError(
            f"the zip directory of {clean(label, 120)} is missing: the file is truncated or was still being written"
        )
    _, disk, first_disk, here, count, size, offset, comment = _END.unpack_from(tail, at)
    faults: list[str] = []
    end = tail_start + at
    trailing = max(stop - end - _END.size - comment, 0)
    # Torch always writes the ZIP64 records; they are between the directory and its end record.
    wide = _read_end64(descriptor, tail, at, tail_start, start)
    if wide is not None:
        disk, first_disk, here, count, size, offset, end, is_sound = wide
        if not is_sound:
            faults.append("its 64-bit end is not where the record before it says, or on another disk")
        if disk or first_disk:
            faults.append(f"its end says that it is disk {disk:,} of an archive that begins on disk {first_disk:,}")
    elif disk or first_disk:
        raise OpenError(f"{clean(label, 120)} is one part of a zip in several files: they cannot be read apart")
    # Bytes before the archive (of a self-extracting program) shift every offset by their number.
    shift = end - size - offset
    if size > MAX_DIRECTORY_BYTES or shift < 0 or end - size < start:
        raise OpenError(
            f"the zip directory of {clean(label, 120)} is damaged: it claims {plural(size, 'byte')}"
            f" at offset {offset:,}"
        )
    if shift > start and read_bytes(descriptor, start, 4) == b"PK\3\4":
        before = max(start, shift - (1 << 16) - _END.size)
        if _find_end(read_bytes(descriptor, before, shift - before), is_exact=True) >= 0:
            raise OpenError(
                f"{clean(label, 120)} is several zip archives one after the other, as the .distcp files of a"
                f" distributed checkpoint are; the last starts at byte {shift:,}: they cannot be opened as one"
            )
        # torch.export stores whole archives as members: a file that is cut off after one must not be taken for it.
        raise OpenError(
            f"the last zip directory of {clean(label, 120)} belongs to an archive inside it, from byte {shift:,} on:"
            " the file is truncated"
        )
    first = end - size - tail_start
    raw = tail[first : first + size] if first >= 0 else read_bytes(descriptor, end - size, size)
    directory = _parse(raw, count, shift, label, start, end - size, faults)
    directory.trailing = trailing
    directory.leading = shift - start
    if here != count:
        faults.append(f"its end announces {plural(count, 'entry', 'entries')}, {here:,} of them on this disk")
    elif count != len(directory.members) and not directory.duplicates:
        faults.append(f"its end announces {plural(count, 'entry', 'entries')}, and has {len(directory.members):,}")
    directory.faults = tuple(faults)
    return directory


def archive_start(descriptor: Descriptor | bytes, stop: int) -> int | None:
    """Where the archive begins that ends at ``stop``, in a file that has others before it; None if none ends there.

    Its end record must be the last thing in it, without a comment, as torch writes it. Raises OSError.
    """
    tail_start = max(0, stop - _SHORT_TAIL)
    tail = read_bytes(descriptor, tail_start, stop - tail_start)
    at = len(tail) - _END.size
    if at < 0 or tail[at : at + 4] != b"PK\5\6":
        return None
    size, offset = _END.unpack_from(tail, at)[5:7]
    end = tail_start + at
    locator = at - _LOCATOR64.size
    if locator >= _END64.size and tail[locator : locator + 4] == b"PK\6\7":
        record = locator - _END64.size
        if tail[record : record + 4] == b"PK\6\6":
            size, offset = _END64.unpack_from(tail, record)[8:10]
            end = tail_start + record
    start = end - int(size) - int(offset)
    return start if 0 <= start < stop and read_bytes(descriptor, start, 4) == b"PK\3\4" else None


def _find_end(tail: bytes, *, is_exact: bool = False) -> int:
    """The place of the end record whose comment ends exactly with ``tail``, or -1.

    Unless ``is_exact``, the last end record if there is no such one.
    """
    last = at = tail.rfind(b"PK\5\6")
    while at >= 0:
        if at + _END.size <= len(tail) and at + _END.size + unpack_from("<H", tail, at + 20)[0] == len(tail):
            return at
        at = tail.rfind(b"PK\5\6", 0, at)
    return last if 0 <= last <= len(tail) - _END.size and not is_exact else -1


def _read_end64(
    descriptor: Descriptor | bytes, tail: bytes, at: int, tail_start: int, start: int
) -> tuple[int, ...] | None:
    """Both disks, both counts, size, offset and end of the directory from the ZIP64 records; None if there are none.

    The last number is whether the locator leads to the record.
    """
    if at < _LOCATOR64.size:
        return None
    signature, _, where, disks = _LOCATOR64.unpack_from(tail, at - _LOCATOR64.size)
    if signature != b"PK\6\7":
        return None
    # The offset in the locator is wrong if bytes precede the archive: in a file of several archives it leads to the
    # record of another one. The record comes right before its locator, unless it was extended (4.3.14.2).
    for place in (tail_start + at - _LOCATOR64.size - _END64.size, start + where):
        if not start <= place < tail_start + at:
            continue
        begin = place - tail_start
        raw = tail[begin : begin + _END64.size] if begin >= 0 else read_bytes(descriptor, place, _END64.size)
        if len(raw) == _END64.size and raw[:4] == b"PK\6\6":
            record = _END64.unpack(raw)
            is_sound = disks == 1 and place == start + where and record[1] >= _END64.size - 12
            return (*record[4:], place, is_sound)
    return None


def _parse(raw: bytes, count: int, shift: int, label: str, start: int, stop: int, faults: list[str]) -> Directory:
    members: dict[str, Member] = {}
    duplicates: dict[str, None] = {}
    at = version = 0
    unpack = _ENTRY.unpack_from
    end = len(raw)
    while at < end:
        try:
            signature, _, needs, flags, method, _, _, crc, packed, size, n, e, c, disk, _, attributes, header = unpack(
                raw, at
            )
        except error:
            raise OpenError(f"the zip directory of {clean(label, 120)} ends too early") from None
        if signature != b"PK\1\2":
            raise OpenError(
                f"the zip directory of {clean(label, 120)} is damaged: entry {len(members) + 1:,} has no signature"
            )
        at += _ENTRY.size
        # The upper byte was once the system that wrote it.
        version = max(version, needs & 0xFF)
        # Torch writes UTF-8 without saying so in flag bit 11.
        name = raw[at : at + n].decode("utf-8", "replace")
        at += n
        if size == 0xFFFFFFFF or packed == 0xFFFFFFFF or header == 0xFFFFFFFF:
            size, packed, header = _zip64_field(raw[at : at + e], size, packed, header)
        at += e + c
        # As torch's reader does: miniz.c, mz_zip_reader_read_central_dir and mz_zip_reader_is_file_a_directory.
        if disk > 1 or flags & 0x2060 or attributes & 0x10 or (size != packed and not (method and packed)):
            _add_fault(faults, name, disk, flags, attributes)
        elif header + shift + _LOCAL.size + n + packed > stop and len(faults) < _MAX_FAULTS:
            faults.append(f"{clean(name, 60)} is said to lie beyond the members")
        if name in members:
            duplicates[name] = None
        members[name] = Member(name, method, bool(flags & 1), packed, size, header + shift, crc)
    if at != end or (count != len(members) and not duplicates and count & 0xFFFF != len(members) & 0xFFFF):
        raise OpenError(
            f"the zip directory of {clean(label, 120)} is damaged: it announces"
            f" {plural(count, 'entry', 'entries')} and has {len(members):,}"
        )
    return Directory(members, tuple(duplicates), start, stop, version=version)


def _add_fault(faults: list[str], name: str, disk: int, flags: int, attributes: int) -> None:
    if len(faults) >= _MAX_FAULTS:
        return
    shown = clean(name, 60)
    if disk > 1:
        faults.append(f"{shown} is said to begin on disk {disk:,}")
    elif flags & 0x2060:
        faults.append(f"{shown} is said to be encrypted or a patch")
    elif attributes & 0x10:
        faults.append(f"{shown} is said to be a folder")
    else:
        faults.append(f"{shown} is not packed, and is said to be of two sizes")


def _zip64_field(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """The three numbers, each replaced by its 64-bit form where the short one is all ones (4.5.3)."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = unpack_from("<HH", extra, at)
        at += 4
        if kind == 1:
            wide = [unpack_from("<Q", extra, i)[0] for i in range(at, min(at + length, len(extra)) - 7, 8)]
            wide.reverse()
            if size == 0xFFFFFFFF and wide:
                size = wide.pop()
            if packed == 0xFFFFFFFF and wide:
                packed = wide.pop()
            if header == 0xFFFFFFFF and wide:
                header = wide.pop()
            break
        at += length
    return size, packed, header


def data_offset(descriptor: Descriptor | bytes, directory: Directory, member: Member) -> int | None:
    """The byte of the file where the data of ``member`` start, or None if its local header is not where it should be.

    The lengths of name and extra field are taken from the local header: those in the directory differ.
    """
    found = local_header(descriptor, directory, member)
    return None if found is None else found[0]


def local_header(descriptor: Descriptor | bytes, directory: Directory, member: Member) -> tuple[int, bool] | None:
    """Where the data of ``member`` start, and whether its local header bears its name, as APPNOTE 4.3.7 requires.

    None if its local header is not where it should be.
    """
    if not directory.start <= member.header <= directory.stop - _LOCAL.size:
        return None
    # A character of a name takes at most 4 bytes.
    count = _LOCAL.size + 4 * len(member.name)
    if isinstance(descriptor, bytes):
        raw = descriptor[member.header : member.header + count]
    else:
        raw = _pread(descriptor, count, member.header)
    if len(raw) < _LOCAL.size or raw[:4] != b"PK\3\4":
        return None
    length = int(raw[26]) + (raw[27] << 8)
    name = raw[_LOCAL.size : _LOCAL.size + length].decode("utf-8", "replace")
    has_name = len(raw) >= _LOCAL.size + length and name == member.name
    return member.header + _LOCAL.size + length + raw[28] + (raw[29] << 8), has_name


def expect_headers(descriptor: Descriptor | bytes, directory: Directory) -> None:
    """The local headers of a zip elsewhere are asked for at once: they are looked at one by one. Raises OSError."""
    if not isinstance(descriptor, (int, bytes)):
        spans = [
            (member.header, member.header + _LOCAL.size + 4 * len(member.name))
            for member in directory.members.values()
            if directory.start <= member.header <= directory.stop - _LOCAL.size
        ]
        with descriptor.coming(sorted(spans)):
            pass


def _pread(descriptor: Descriptor, count: int, offset: int) -> bytes:
    if not isinstance(descriptor, int):
        return descriptor.read(offset, count)
    try:
        return os.pread(descriptor, count, offset)  # there may be 100,000 of them: few calls around it
    except InterruptedError:
        return retried(partial(os.pread, descriptor, count, offset))


def read_member(
    descriptor: Descriptor | bytes, directory: Directory, member: Member, limit: int | None = None
) -> bytes:
    """The bytes of a member of at most ``limit`` (MAX_INFLATED_BYTES) bytes, inflated if need be.

    Raises OpenError, OSError.
    """
    limit = MAX_INFLATED_BYTES if limit is None else limit
    name = clean(member.name, 120)
    if member.is_encrypted:
        raise OpenError(f"{name} is encrypted: it cannot be read")
    if member.method not in (STORED, DEFLATED):
        raise OpenError(f"{name} is compressed by method {member.method}, which is not supported")
    if member.size > limit:
        raise OpenError(f"{name} is {member.size:,} bytes long: more than {limit:,} are refused")
    if member.method == DEFLATED and member.size > FREE_BYTES + MAX_RATIO * member.compressed:
        raise OpenError(
            f"{name} would grow from {member.compressed:,} to {member.size:,} bytes when unpacked: it is refused"
        )
    begin = data_offset(descriptor, directory, member)
    if begin is None or begin + member.compressed > directory.stop:
        raise OpenError(f"{name} lies outside the file: the zip is damaged or truncated")
    raw = read_bytes(descriptor, begin, member.compressed)
    if member.method == STORED:
        if len(raw) != member.size:
            has = plural(len(raw), "byte")
            raise OpenError(f"{name} has {has} in the file and claims {member.size:,}: the zip is damaged")
        return raw
    unpacker = zlib.decompressobj(-15)
    try:
        # One byte more than announced, so that a longer stream is noticed and never unpacked.
        data = unpacker.decompress(raw, member.size + 1)
    except zlib.error:
        raise OpenError(f"{name} cannot be unpacked: its compressed data are damaged") from None
    if len(data) != member.size:
        raise OpenError(
            f"{name} does not unpack to the {plural(member.size, 'byte')} that it claims: the zip is damaged"
        )
    return data
