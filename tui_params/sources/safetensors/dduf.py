"""DDUF files: a pipeline of diffusers in one uncompressed zip, whose safetensors files are read where they lie.

Format: huggingface.co/docs/hub/dduf. Members are stored, in folders of one level, and ``model_index.json`` names the
class of each model. Other uncompressed zips with safetensors in them are read too.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.findings import Finding
from tui_params.core.source import FileRange, Listing
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.local import DataFile, Descriptor, opened, read_bytes
from tui_params.sources.bytes.zip_directory import STORED, Directory, Member, data_offset, read_directory
from tui_params.sources.bytes.zip_records import read_records
from tui_params.sources.safetensors.reader import list_tensors, read_header

INDEX = "model_index.json"
_SUFFIX = ".safetensors"
_MOST_FILES = 1_000
_MOST_TENSORS = 500_000
_MAX_INDEX = 1 << 20
_FACTS = ("_class_name", "_diffusers_version")


class ArchivedSource(ExtentSource):
    """Tensors of several safetensors files inside one archive."""

    def file_ranges(self, info: TensorInfo) -> tuple[FileRange, ...]:
        # A checksum is that of a whole member: each tensor is a part of it.
        found = None if info.unreadable is not None else self.file_range(info)
        return () if found is None or info.dtype.is_packed else (FileRange(*found, info.nbytes),)


def open_dduf(path: Path) -> ExtentSource:
    """The models of a zip, each below the name of its folder. Raises OpenError if no safetensors file is in it."""
    with opened(path) as (descriptor, file):
        directory = read_directory(descriptor, file.size, clean(file.name, 120))
        members = [member for member in directory.members.values() if member.name.endswith(_SUFFIX)]
        if not members:
            raise UnknownFormatError(f"{clean(file.name, 120)} is a zip without safetensors files in it")
        with collector_paused():
            found = _Found(file)
            for member in members[:_MOST_FILES]:
                found.add(descriptor, directory, member)
        if len(members) > _MOST_FILES:
            evidence = f"only the first {_MOST_FILES:,} of {len(members):,} safetensors files were read"
            found.findings.append(Finding("warning", "walk-limit", None, evidence))
        texts, modules = _read_index(descriptor, directory)
    kind = "DDUF" if INDEX in directory.members else "zip"
    listing = Listing(
        f"{kind} ({plural(len(members), 'safetensors file')})",
        tuple(found.tensors.values()),
        {**texts, **found.metadata},
        modules,
        findings=tuple(found.findings),
        models=found.models if len(found.models) > 1 else {},
    )
    return ArchivedSource(path.name, listing, {}, {file.name: file}, partial(read_records, label=str))


class _Found:
    """What was listed so far."""

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self.tensors: dict[str, TensorInfo] = {}
        self.metadata: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.models: dict[str, tuple[str, ...]] = {}

    def add(self, descriptor: Descriptor, directory: Directory, member: Member) -> None:
        """List the tensors of one member; one that cannot be read is a finding, and hides no other."""
        folder = member.name.rpartition("/")[0].replace("/", ".")
        try:
            listing, begin = self._list(descriptor, directory, member)
        except OpenError as error:
            self.findings.append(Finding("error", "bad-part", None, f"{clean(member.name, 120)}: {error}"))
            return
        prefix = f"{folder}." if folder else ""
        for info in listing.tensors[: _MOST_TENSORS - len(self.tensors)]:
            name = self._free(prefix + info.name)
            tied_to = None if info.tied_to is None else prefix + info.tied_to
            offset = None if info.offset is None else info.offset + begin
            self.tensors[name] = msgspec.structs.replace(info, name=name, tied_to=tied_to, offset=offset)
        self.metadata |= {f"{prefix}{key}": text for key, text in listing.metadata.items()}
        for finding in listing.findings:
            tensor = None if finding.tensor is None else prefix + finding.tensor
            evidence = finding.evidence if tensor is not None else f"{clean(member.name, 120)}: {finding.evidence}"
            self.findings.append(msgspec.structs.replace(finding, tensor=tensor, evidence=evidence, file=None))

    def _list(self, descriptor: Descriptor, directory: Directory, member: Member) -> tuple[Listing, int]:
        if member.method != STORED or member.is_encrypted or member.size != member.compressed:
            raise OpenError("it is compressed or encrypted, and is not read here: unpack it")
        begin = data_offset(descriptor, directory, member)
        if begin is None or begin + member.size > directory.stop:
            raise OpenError("it does not lie where the directory of the archive says")
        # The header counts from the start of the member, and is compared with its size.
        within = msgspec.structs.replace(self._file, size=member.size)
        return list_tensors(read_header(descriptor, within, begin), within), begin

    def _free(self, name: str) -> str:
        free, number = name, 2
        while free in self.tensors:
            free, number = f"{name}~{number}", number + 1
        return free


def _read_index(descriptor: Descriptor, directory: Directory) -> tuple[dict[str, str], dict[str, str]]:
    """What ``model_index.json`` says: facts as text, and the class of each model by its folder."""
    member = directory.members.get(INDEX)
    offset = None if member is None else data_offset(descriptor, directory, member)
    if member is None or offset is None or member.method != STORED or member.size > _MAX_INDEX:
        return {}, {}
    try:
        index = msgspec.json.decode(read_bytes(descriptor, offset, member.size))
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return {}, {}
    if type(index) is not dict:
        return {}, {}
    texts = {f"model_index.{key}": clean(index[key], 120) for key in _FACTS if type(index.get(key)) is str}
    modules = {
        folder: clean(entry[1], 80)
        for folder, entry in index.items()
        if type(entry) is list and len(entry) == 2 and type(entry[1]) is str
    }
    return texts, modules
