"""Files of torch.save: a zip whose ``data.pkl`` describes the tensors, and whose stored members hold their bytes.

Written by caffe2/serialize/inline_container.cc and torch/serialization.py; TorchScript is the same container with
``constants.pkl`` and code beside it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tui_params.core.collector import collector_paused
from tui_params.core.findings import Finding
from tui_params.core.source import Record, Source
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.local import DataFile, opened, read_bytes
from tui_params.sources.bytes.zip_directory import (
    STORED,
    Directory,
    Member,
    data_offset,
    local_header,
    read_directory,
    read_member,
)
from tui_params.sources.inert_pickle.machine import load_pickle
from tui_params.sources.torch_save.export import is_export, read_export
from tui_params.sources.torch_save.layout import Place
from tui_params.sources.torch_save.legacy import is_legacy, open_legacy, open_pickle
from tui_params.sources.torch_save.listing import Roles, list_pickles

_MAX_CODE_FILES = 500
_MAX_CODE_BYTES = 1 << 20


def open_torch(path: Path) -> Source:
    """The tensors of a file that torch.save or torch.jit.save wrote, or of a bare pickle. Raises OpenError.

    No code of the file is run and no class is looked up. Values are read later, where they lie.
    """
    # One pause for everything: the graph must be freed before the collector gets to look through it.
    with collector_paused(), opened(path) as (descriptor, file):
        head = read_bytes(descriptor, 0, 512)
        if head[:2] == b"PK":
            return _open_zip(descriptor, file)
        if not head:
            raise OpenError(f"{clean(file.name, 120)} is empty (0 bytes)")
        if is_legacy(head):
            return open_legacy(descriptor, file)
        if head[257:262] == b"ustar":
            raise OpenError(
                f"{clean(file.name, 120)} is a tar archive, as torch before 0.2 wrote them: load it with that torch and"
                " save it again"
            )
        return open_pickle(descriptor, file)


def _open_zip(descriptor: int, file: DataFile) -> ExtentSource:
    directory = read_directory(descriptor, file.size, file.name)
    members = directory.members
    if not members:
        raise UnknownFormatError(f"{clean(file.name, 120)} is a zip without members")
    # As PyTorchStreamReader does: the folder of the first member is the archive's own.
    top = next(iter(members)).partition("/")[0]
    pickle = members.get(f"{top}/data.pkl")
    if pickle is None and is_export(directory, top):
        places = _Places(descriptor, directory, top)
        exported = read_export(descriptor, directory, top)
        big = _is_big_endian(descriptor, directory, top)
        return list_pickles(
            file,
            "torch.export",
            [],
            exported,
            places.locate_member,
            is_big_endian=big,
            findings=places.findings(),
            read_records=read_records,
        )
    if pickle is None:
        raise UnknownFormatError(f"{clean(file.name, 120)} is {_describe_other(directory, top)}")
    places = _Places(descriptor, directory, top)
    machines = [load_pickle(places.read(pickle), "data.pkl")]
    root = machines[0].root
    form, roles, constants = "torch.save zip", Roles(), None
    script = members.get(f"{top}/constants.pkl")
    if script is not None:
        form, roles = "TorchScript", _roles(descriptor, directory, top)
        machines.append(load_pickle(places.read(script), "constants.pkl"))
        constants = machines[1].root
        # Both pickles count their storages from 0; the keys of these lie in a folder of their own.
        for storage in machines[1].storages:
            storage.key = f"constants/{storage.key}" if type(storage.key) is str else storage.key
    return list_pickles(
        file,
        form,
        machines,
        root,
        places.locate,
        is_big_endian=_is_big_endian(descriptor, directory, top),
        roles=roles,
        constants=constants,
        findings=places.findings(),
        allocated=os.fstat(descriptor).st_blocks * 512,
        read_records=read_records,
    )


def read_records(file: DataFile) -> list[Record]:
    """The stored members of an archive that have a checksum, and where they lie. Raises OpenError.

    torch.save writes one for each (CRC-32, PKWARE APPNOTE 4.4.7) unless ``set_crc32_options(False)`` or ``skip_data``
    left it out, which leaves 0 in its place; torch itself never compares them. Only the directory is used: the local
    headers have 0.
    """
    with opened(file.path) as (descriptor, now):
        if now != file:
            return []
        directory = read_directory(descriptor, file.size, file.name)
        found = []
        for member in directory.members.values():
            is_plain = member.method == STORED and not member.is_encrypted and member.size == member.compressed
            if not (is_plain and member.crc and member.size):
                continue
            offset = data_offset(descriptor, directory, member)
            if offset is not None and offset + member.size <= directory.stop:
                label = member.name.partition("/")[2] or member.name
                found.append(Record(file.name, label, offset, member.size, member.crc))
    return found


class _Places:
    """Finds where the storages of one archive lie, and notes what is wrong with its members."""

    def __init__(self, descriptor: int, directory: Directory, top: str) -> None:
        self._descriptor = descriptor
        self._directory = directory
        self._top = top
        self._ranges: list[tuple[int, int, str]] = []
        self._misnamed: list[str] = []

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
        member = self._directory.members.get(f"{self._top}/{path}")
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
            claims = f"{member.size:,} bytes in the zip where at most {room:,} are"
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
        self._ranges.sort()
        overlaps = [(a[2], b[2]) for a, b in pairwise(self._ranges) if b[0] < a[1]]
        if overlaps:
            first, second = (clean(path, 60) for path in overlaps[0])
            evidence = f"{len(overlaps):,} storages overlap in the file, first {first} and {second}"
            yield Finding("warning", "zip-overlap", None, evidence)


def end_findings(directory: Directory) -> Iterator[Finding]:
    """Bytes behind the archive, and members without a checksum among others that have one."""
    if directory.trailing:
        evidence = (
            f"{plural(directory.trailing, 'byte')} after the end of the zip: they are no part of it, and were not read"
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


def _is_big_endian(descriptor: int, directory: Directory, top: str) -> bool:
    member = directory.members.get(f"{top}/byteorder")
    return member is not None and read_member(descriptor, directory, member, 64).strip() == b"big"


_CLASS = re.compile(
    r"^class (\w+)\(Module\):\n  __parameters__ = \[([^\]]*)\]\n  __buffers__ = \[([^\]]*)\]", re.MULTILINE
)


def _roles(descriptor: int, directory: Directory, top: str) -> Roles:
    """The names of parameters and buffers by class, from the text of TorchScript code: nothing else gives them."""
    roles: Roles = {}
    prefix = f"{top}/code/"
    files = [member for name, member in directory.members.items() if name.startswith(prefix) and name.endswith(".py")]
    for member in files[:_MAX_CODE_FILES]:
        module = member.name[len(prefix) : -3].replace("/", ".")
        try:
            text = read_member(descriptor, directory, member, _MAX_CODE_BYTES).decode("utf-8", "replace")
        except OpenError:
            # The code only says which tensors are parameters; without it they are listed as tensors.
            continue
        for name, parameters, buffers in _CLASS.findall(text):
            roles[f"{module}.{name}"] = (_quoted(parameters), _quoted(buffers))
    return roles


def _quoted(text: str) -> frozenset[str]:
    return frozenset(re.findall(r'"([^"]*)"', text))


def _describe_other(directory: Directory, top: str) -> str:
    """What a zip without a ``data.pkl`` is, as the end of the sentence "x.zip is ..."."""
    names = list(directory.members)
    some = names[:10_000]
    if all(name.endswith(".npy") for name in some):
        return f"a numpy NPZ archive of {len(names):,} arrays, which is not read here"
    if "[Content_Types].xml" in directory.members:
        return "an Office document (docx, xlsx or pptx), not a checkpoint"
    if any(".dist-info/" in name for name in some):
        return "a Python wheel, not a checkpoint"
    if "META-INF/MANIFEST.MF" in directory.members:
        return "a Java or Android archive, not a checkpoint"
    if f"{top}/.data/extern_modules" in directory.members:
        return "a torch.package archive, which is not read here: load it and save the state dict"
    if f"{top}/archive_format" in directory.members or f"{top}/serialized_exported_program.json" in directory.members:
        return "an archive of torch.export or AOTInductor without a list of weights: they may be compiled into it"
    if f"{top}/version" in directory.members and f"{top}/.data/serialization_id" in directory.members:
        return "a torch.save file without its data.pkl: saving it failed"
    if "model.weights.h5" in directory.members:
        return "a Keras model, which is not read here"
    return (
        f"a zip of {len(names):,} files, the first of them {clean(names[0], 60)!r}, and no data.pkl: not a checkpoint"
    )
