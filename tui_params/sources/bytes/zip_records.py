"""The stored members of a zip as records: runs of bytes whose CRC-32 the directory keeps."""

from __future__ import annotations

from collections.abc import Callable

from tui_params.core.source import Record
from tui_params.sources.bytes.local import DataFile, opened
from tui_params.sources.bytes.zip_directory import STORED, Member, data_offset, read_directory


def below_folder(name: str) -> str:
    """``data/0`` of ``model/data/0``: torch puts everything into one folder."""
    return name.partition("/")[2] or name


def is_stored(member: Member, *, has_always: bool = False) -> bool:
    """Whether the bytes of a member lie in the archive as they are, and have a checksum: other than 0, or any."""
    is_plain = member.method == STORED and not member.is_encrypted and member.size == member.compressed
    return bool(is_plain and (member.crc or has_always) and member.size)


def read_records(
    file: DataFile, label: Callable[[str], str] = below_folder, *, has_always: bool = False
) -> list[Record]:
    """The stored members of an archive that have a checksum, and where they lie. Raises OpenError.

    torch.save writes one for each (CRC-32, PKWARE APPNOTE 4.4.7) unless ``set_crc32_options(False)`` or ``skip_data``
    left it out, which leaves 0 in its place; torch itself never compares them. Only the directory is used: the local
    headers have 0. ``label`` makes the name to show of the name of a member. ``has_always`` takes 0 for a checksum as
    well, as numpy does.
    """
    with opened(file.path) as (descriptor, now):
        if now != file:
            return []
        directory = read_directory(descriptor, file.size, file.name)
        found = []
        for member in directory.members.values():
            if not is_stored(member, has_always=has_always):
                continue
            offset = data_offset(descriptor, directory, member)
            if offset is not None and offset + member.size <= directory.stop:
                found.append(Record(file.name, label(member.name), offset, member.size, member.crc))
    return found
