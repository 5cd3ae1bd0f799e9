"""A tar with checkpoints in it, uncompressed: a ``.nemo`` file has ``model_config.yaml`` and ``model_weights.ckpt``.

Its members lie in the file as they are, so their tensors are read where they are. Format: POSIX.1-1988 ustar, with the
long names of GNU tar and the records of pax (POSIX.1-2001), as Python's tarfile writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.findings import Finding
from tui_params.core.source import Source
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources.bytes.local import DataFile, Descriptor, opened, read_bytes
from tui_params.sources.inert_pickle.values import Unread
from tui_params.sources.torch_save.archive import MAX_MEMBERS, SUFFIXES, Inner
from tui_params.sources.torch_save.listing import list_pickles

_BLOCK = 512
_MAX_HEADERS = 20_000
_MAX_RECORD = 1 << 20
_MAX_CONFIG = 1 << 20
_MAX_FACTS = 20
_DISTRIBUTED = ".distcp"
_CONFIG = "model_config.yaml"


class TarMember(msgspec.Struct, frozen=True, gc=False):
    """A regular file inside a tar: its name without a leading ``./``, and where its bytes are."""

    name: str
    offset: int
    size: int


def open_tar(path: Path) -> Source:
    """The checkpoints of torch.save in a tar, each under its own name; one alone as if it were opened by itself.

    Raises OpenError, with what the tar is otherwise.
    """
    with collector_paused(), opened(path) as (descriptor, file):
        findings: list[Finding] = []
        members = list(_members(descriptor, file, findings))
        checkpoints = [member for member in members if member.name.lower().endswith(SUFFIXES)]
        if not checkpoints:
            raise UnknownFormatError(_describe_other(file, members))
        inner = Inner(descriptor, None)
        names = _names([member.name for member in checkpoints])
        for number, (member, name) in enumerate(zip(checkpoints, names, strict=True)):
            inner.root[name] = _open(inner, member, file, number)
        if not inner.machines:
            name, unread = next(iter(inner.root.items()))
            raise OpenError(
                f"{clean(file.name, 120)} is a tar, and {clean(name, 60)!r} in it cannot be read: {unread.reason}"
            )
        root: Any = inner.root
        if len(inner.root) == 1:
            (root,) = inner.root.values()
        is_nemo = any(member.name.rpartition("/")[2] == _CONFIG for member in members)
        kind = "NeMo checkpoint" if is_nemo else f"tar of {plural(len(checkpoints), 'checkpoint')}"
        source = list_pickles(file, kind, inner.machines, root, inner.locate, findings=(*findings, *inner.findings()))
        facts = _read_config(descriptor, members)
        listing = source.listing
        # What is wrong with the archive itself is that members behind that place are lost.
        unlisted = findings[0].evidence if findings else None
        source.listing = msgspec.structs.replace(listing, metadata={**facts, **listing.metadata}, unlisted=unlisted)
        return source


def _open(inner: Inner, member: TarMember, file: DataFile, number: int) -> Any:
    try:
        if number >= MAX_MEMBERS:
            raise OpenError(f"it is one of more than {MAX_MEMBERS} checkpoints in this archive: unpack them")
        if member.offset + member.size > file.size:
            raise OpenError("the archive ends before it does: it is truncated")
        return inner.open_at(member.name, member.offset, member.size)
    except OpenError as error:
        return Unread(str(error))


def _names(names: Sequence[str]) -> list[str]:
    """Under which name each checkpoint is shown: ``model_weights`` unless two are called so."""
    stems = [name.rpartition("/")[2].rpartition(".")[0] for name in names]
    return [stem if stems.count(stem) == 1 and stem else name for stem, name in zip(stems, names, strict=True)]


def _describe_other(file: DataFile, members: Sequence[TarMember]) -> str:
    name = clean(file.name, 120)
    if any(member.name.endswith(_DISTRIBUTED) for member in members):
        return (
            f"{name} is a tar with a distributed checkpoint of torch (DCP) in it: unpack it (tar -xf) and open the"
            " folder that has .metadata"
        )
    count = sum(member.name.endswith(".safetensors") for member in members)
    within = f" with {plural(count, 'safetensors file')} in it" if count else ""
    return f"{name} is a tar archive{within}: unpack it first"


def _members(descriptor: Descriptor, file: DataFile, findings: list[Finding]) -> Iterator[TarMember]:
    """The regular files, in their order; what is wrong with the archive is added to the findings."""
    offset, long_name = 0, ""
    records: dict[str, str] = {}
    for _ in range(_MAX_HEADERS):
        header = read_bytes(descriptor, offset, _BLOCK)
        if header and not header.strip(b"\0"):
            return
        if len(header) < _BLOCK or not _is_header(header):
            evidence = f"no header of a member is at byte {offset:,} of the tar: it is truncated or damaged"
            findings.append(Finding("error", "bad-archive", None, evidence))
            return
        size = _decimal(records["size"]) if "size" in records else _number(header[124:136])
        kind, begin = header[156:157], offset + _BLOCK
        offset = begin + -(-size // _BLOCK) * _BLOCK
        if kind in (b"L", b"x"):
            text = read_bytes(descriptor, begin, min(size, _MAX_RECORD))
            if kind == b"L":
                long_name = text.rstrip(b"\0").decode("utf-8", "replace")
            else:
                records = _records(text)
            continue
        name = (records.get("path") or long_name or _name_in(header)).removeprefix("./")
        long_name, records = "", {}
        if kind in (b"0", b"\0", b"7"):
            yield TarMember(name, begin, size)
        if begin + size > file.size:
            evidence = f"{clean(name, 80)} ends at byte {begin + size:,} of the tar, which has {file.size:,}"
            findings.append(Finding("error", "bad-archive", None, f"it is truncated: {evidence}"))
            return
    evidence = f"only the first {_MAX_HEADERS:,} members of the tar were looked at"
    findings.append(Finding("warning", "walk-limit", None, evidence))


def _is_header(header: bytes) -> bool:
    """Whether the checksum of a header is right: the sum of its bytes, its own field as if it were blanks."""
    try:
        due = int(header[148:156].strip(b" \0") or b"0", 8)
    except ValueError:
        return False
    return due == sum(header[:148]) + 8 * 32 + sum(header[156:])


def _number(field: bytes) -> int:
    """The size of a member: octal digits or, of a large one by GNU tar, 88 bits."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    try:
        return max(int(field.strip(b" \0") or b"0", 8), 0)
    except ValueError:
        return 0


def _decimal(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _name_in(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")


def _records(text: bytes) -> dict[str, str]:
    """The records of pax, each ``LENGTH KEY=VALUE`` and a line feed."""
    found = {}
    position = 0
    while position < len(text):
        digits = text[position : position + 20].partition(b" ")[0]
        if not digits.isdigit() or int(digits) <= len(digits):
            break
        key, equals, value = text[position + len(digits) + 1 : position + int(digits) - 1].partition(b"=")
        if equals:
            found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        position += int(digits)
    return found


def _read_config(descriptor: Descriptor, members: Sequence[TarMember]) -> dict[str, str]:
    """The settings at the top of ``model_config.yaml`` that are written in one line, as metadata."""
    member = next((member for member in members if member.name.rpartition("/")[2] == _CONFIG), None)
    if member is None:
        return {}
    text = read_bytes(descriptor, member.offset, min(member.size, _MAX_CONFIG)).decode("utf-8", "replace")
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.replace("_", "").isalnum() and value.strip() and len(found) < _MAX_FACTS:
            found[f"model_config.{key}"] = clean(value.strip(), 200)
    return found
