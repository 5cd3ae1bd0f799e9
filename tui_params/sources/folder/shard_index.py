"""Checkpoints with an index: ``*.index.json`` says which shard holds which tensor, and may be wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tui_params.core.adapter_config import AdapterConfig
from tui_params.core.dtypes import unknown
from tui_params.core.findings import Finding, Severity
from tui_params.core.source import Listing, Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural, size
from tui_params.errors import OpenError
from tui_params.sources.bytes.files import is_plain_name, is_there, own_name
from tui_params.sources.bytes.local import opened, read_bytes
from tui_params.sources.folder.config import explain_tie, read_adapter, read_configs
from tui_params.sources.folder.json_files import config_findings
from tui_params.sources.folder.merged import MergedSource
from tui_params.sources.folder.open_each import OpenFile, open_each

MAX_FINDINGS = 20
"""Findings of one rule that are reported one by one; the others are counted."""

_MAX_NBYTES = 512 * 1024 * 1024

MAX_ABSENT = 100_000
"""Absent tensors that are listed one by one; the largest published models have fewer tensors. Of more, the first."""

MAX_ABSENT_CHARACTERS = 6_000_000
"""The characters of their names together: those of DeepSeek-V3 with the names of all scales have 5 million."""

LISTED_ABSENT = 1_000
"""How many of more absent tensors than these are listed: for each, all who come after have to do something."""

MAX_SHARDS = 10_000
"""Files that an index may name; the largest published models have fewer than 1,000."""

_REPEATING_NBYTES = 16 * 1024 * 1024
"""From this size on, an index takes less memory if equal file names are kept once, which takes longer to read."""


class Index(msgspec.Struct):
    """``{"metadata": {"total_size": ...}, "weight_map": {tensor name: file name}}``."""

    weight_map: dict[str, str]
    metadata: Any = None


class _FileName:
    """The name of a file in a long index: equal ones are one object."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class _LongIndex(msgspec.Struct):
    weight_map: dict[str, _FileName]
    metadata: Any = None


def read_index(path: Path) -> Index:
    """The index file at ``path``. Raises OpenError."""
    name = clean(path.name, 120)
    with opened(path) as (descriptor, file):
        if file.size > _MAX_NBYTES:
            raise OpenError(f"{name} has {size(file.size)}, which no index needs")
        text = read_bytes(descriptor, 0, file.size)
    try:
        if len(text) < _REPEATING_NBYTES:
            return msgspec.json.decode(text, type=Index)
        return _decode_long(text)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise OpenError(f"{name} is not the index of a sharded checkpoint: {clean(str(error), 160)}") from None


def _decode_long(text: bytes) -> Index:
    """An index whose equal file names are one object. Raises what the decoder raises."""
    kept: dict[str, _FileName] = {}

    def once(_: type, given: Any) -> _FileName:
        if not isinstance(given, str):
            raise ValueError("a file name in its weight_map is no text")
        name = kept.get(given)
        if name is None:
            name = kept[given] = _FileName(given)
        return name

    read = msgspec.json.decode(text, type=_LongIndex, dec_hook=once)
    weight_map: dict[str, Any] = read.weight_map
    for tensor, name in weight_map.items():
        # The same key again: the dict keeps its size.
        weight_map[tensor] = name.text
    return Index(weight_map, read.metadata)


class _Complaints:
    """Findings by rule: the first of each rule are kept one by one, the rest are counted."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._counts: dict[tuple[Severity, str], int] = {}

    def add(
        self, severity: Severity, rule: str, evidence: str, *, tensor: str | None = None, file: str | None = None
    ) -> None:
        count = self._counts[severity, rule] = self._counts.get((severity, rule), 0) + 1
        if count <= MAX_FINDINGS:
            self.findings.append(Finding(severity, rule, tensor, evidence, file=file))

    def all(self) -> tuple[Finding, ...]:
        rest = [
            Finding(severity, rule, None, f"{plural(count - MAX_FINDINGS, 'more finding')} of this kind ({rule})")
            for (severity, rule), count in self._counts.items()
            if count > MAX_FINDINGS
        ]
        return (*self.findings, *rest)


def list_indexed(
    folder: Path, index_name: str, index: Index, files: Iterable[str], folders: Iterable[str], open_file: OpenFile
) -> MergedSource:
    """The tensors of every shard that ``index`` names, in the order of the shards.

    ``files`` are all tensor files of the folder; ``folders`` are subfolders that are only mentioned.
    """
    counts = Counter(index.weight_map.values())
    if len(counts) > MAX_SHARDS:
        shown = clean(index_name, 120)
        raise OpenError(f"{shown} names {len(counts):,} files, and no checkpoint has more than {MAX_SHARDS:,}")
    complaints = _Complaints()
    files = list(files)
    forgotten = _forgotten(files, index_name, counts)
    for shard in forgotten:
        evidence = f"it lies in the folder, but {clean(index_name, 120)} does not name it"
        complaints.add("warning", "unindexed-shard", evidence, file=shard)
    whole = _whole_name(index_name)
    if whole in files and whole not in counts:  # transformers' from_pretrained; it may hold another state of the model
        evidence = "it lies beside the index: loaders take it in place of the shards; it was not read"
        complaints.add("warning", "unindexed-whole", evidence, file=whole)
    parts, lost = _open_shards(folder, counts, forgotten, index_name, complaints, open_file)
    tensors, strays = _claimed(index.weight_map, parts)
    is_whole = not strays and len(tensors) == len(index.weight_map)
    _place_strays(strays, index.weight_map, tensors, index_name, complaints)
    absent = [] if is_whole else [name for name in index.weight_map if name not in tensors]
    unlisted = _unlisted(absent, index_name)
    if unlisted is not None:
        complaints.add("error", "missing-tensor", unlisted, file=index_name)
        del absent[LISTED_ABSENT:]
    _list_absent(absent, index.weight_map, lost, tensors, index_name, complaints)
    if not absent:
        _check_total(index, tensors.values(), index_name, complaints)
    metadata = merge_metadata(parts)
    if unlisted is not None:
        metadata["index.not_listed"] = unlisted
    if isinstance(index.metadata, dict):
        for key in ("total_size", "total_parameters"):
            if isinstance(index.metadata.get(key), (int, float)):
                metadata[f"index.{key}"] = f"{index.metadata[key]:,}"
    stated = read_stated(folder, tensors)
    metadata |= stated
    shards = counts.keys()
    not_opened = [file for file in files if file not in shards and file not in forgotten]
    add_unopened(metadata, not_opened)
    findings = (*complaints.all(), *config_findings(folder), *findings_in(parts))
    listing = Listing(
        describe_format(parts, len(shards)),
        tuple(tensors.values()),
        metadata,
        findings=findings,
        not_opened=(*not_opened, *folders),
        unlisted=unlisted,
        adapters=adapters_in(parts, folder),
        stated=stated,
    )
    unopened = [shard for shard in sorted(shards) if shard in lost and is_plain_name(shard)]
    present = [shard for shard in unopened if is_there(folder / shard)]
    return MergedSource(folder_label(folder), listing, parts, {}, folder, present)


def _whole_name(index_name: str) -> str:
    """The file that the checkpoint would be if it had not been cut into shards."""
    return index_name.split(".index", 1)[0]


def _forgotten(files: Iterable[str], index_name: str, named: Container[str]) -> set[str]:
    """Files that are numbered like shards of the index's checkpoint, but are not named in it."""
    stem, suffix = _whole_name(index_name).rsplit(".", 1)
    pattern = re.compile(rf"{re.escape(stem)}-\d+-of-\d+\.{re.escape(suffix)}")
    return {file for file in files if file not in named and pattern.fullmatch(file)}


def _open_shards(
    folder: Path,
    counts: Mapping[str, int],
    forgotten: Iterable[str],
    index_name: str,
    complaints: _Complaints,
    open_file: OpenFile,
) -> tuple[dict[str, Source], dict[str, str]]:
    """The shards that could be opened, and the reason for each that could not."""
    parts: dict[str, Source] = {}
    lost: dict[str, str] = {}
    wanted = sorted({*counts, *forgotten})
    there = [shard for shard in wanted if is_plain_name(shard) and is_there(folder / shard)]
    opened = dict(open_each(folder, there, open_file))
    for shard in wanted:
        shown = clean(shard, 120)
        rule = "bad-shard"
        if not is_plain_name(shard):
            # The index is as untrusted as any other file: it must not lead out of its folder.
            rule, lost[shard] = "outside-folder", f"the index places it in {shown!r}, which is no file of this folder"
        elif shard not in opened:
            rule, lost[shard] = "missing-shard", f"its shard {shown} is missing from the folder"
        else:
            part = opened[shard]
            if isinstance(part, str):
                lost[shard] = f"its shard cannot be opened: {part}"
            else:
                parts[shard] = part
        if shard in lost:
            count = f"{plural(counts[shard], 'tensor')}: " if shard in counts else ""
            file = index_name if rule == "outside-folder" else shard
            complaints.add("error", rule, count + lost[shard], file=file)
    return parts, lost


_Strays = list[tuple[str, TensorInfo]]


def _claimed(weight_map: Mapping[str, str], parts: Mapping[str, Source]) -> tuple[dict[str, TensorInfo], _Strays]:
    """The tensors that are where the index says, and all others with their shard."""
    tensors: dict[str, TensorInfo] = {}
    strays: _Strays = []
    for shard, part in parts.items():
        infos = part.listing.tensors
        names = [info.name for info in infos]
        if set(map(weight_map.get, names)) == {shard}:
            tensors.update(zip(names, infos, strict=True))
            continue
        for info in infos:
            if weight_map.get(info.name) == shard:
                tensors[info.name] = info
            else:
                strays.append((shard, info))
    return tensors, strays


def _place_strays(
    strays: _Strays,
    weight_map: Mapping[str, str],
    tensors: dict[str, TensorInfo],
    index_name: str,
    complaints: _Complaints,
) -> None:
    """List the tensors that the index omits or places elsewhere. Of two with one name, that of the index is shown."""
    if not strays:
        return
    named = set(weight_map.values())
    for shard, info in strays:
        name, here = info.name, clean(shard, 120)
        listed = tensors.get(name)
        if listed is not None:
            evidence = f"it is in two shards, {clean(listed.file or '', 120)} (shown) and {here}"
            complaints.add("error", "in-two-shards", evidence, tensor=name)
            continue
        tensors[name] = info
        if name in weight_map:
            evidence = f"it lies in {here}, but {clean(index_name, 120)} says {clean(weight_map[name], 120)}"
            complaints.add("error", "misplaced-tensor", evidence, tensor=name)
        elif info.tied_to is None and shard in named:
            evidence = f"it lies in {here}, but not in {clean(index_name, 120)}"
            complaints.add("warning", "unindexed-tensor", evidence, tensor=name)


def _unlisted(absent: Sequence[str], index_name: str) -> str | None:
    """One sentence if there are more absent tensors than are listed."""
    if len(absent) <= MAX_ABSENT and sum(map(len, absent)) <= MAX_ABSENT_CHARACTERS:
        return None
    return (
        f"{clean(index_name, 120)} names {len(absent):,} tensors that are in no shard that could be opened: the first"
        f" {LISTED_ABSENT:,} are listed"
    )


def _list_absent(
    absent: Iterable[str],
    weight_map: Mapping[str, str],
    lost: Mapping[str, str],
    tensors: dict[str, TensorInfo],
    index_name: str,
    complaints: _Complaints,
) -> None:
    """List the tensors that are only in the index: their names, and the reason why nothing else is known."""
    nothing = unknown("?")
    not_there: dict[str, str] = {}
    for name in absent:
        shard = weight_map[name]
        why = lost.get(shard)
        if why is None:
            why = not_there.get(shard)
            if why is None:
                why = f"{clean(index_name, 120)} says that it is in {clean(shard, 120)}, but it is not there"
                not_there[shard] = why
            complaints.add("error", "missing-tensor", why, tensor=name)
        tensors[name] = TensorInfo(name, (), nothing, 0, 0, file=shard, unreadable=why)


def _check_total(index: Index, tensors: Iterable[TensorInfo], index_name: str, complaints: _Complaints) -> None:
    said = index.metadata.get("total_size") if isinstance(index.metadata, dict) else None
    if not isinstance(said, int) or isinstance(said, bool):
        return
    real = sum([info.nbytes for info in tensors if info.tied_to is None])
    if said != real:
        evidence = f"it says that the tensors take {plural(said, 'byte')}; those in the shards take {real:,}"
        complaints.add("info", "total-size", evidence, file=index_name)


def findings_in(parts: Mapping[str, Source], prefixes: Mapping[str, str] | None = None) -> list[Finding]:
    """The findings of all files, with the names of tensors as they are listed.

    ``prefixes`` are what precedes the names of each file's tensors.
    """
    found = []
    for file, part in parts.items():
        prefix = (prefixes or {}).get(file)
        for finding in part.listing.findings:
            if finding.tensor is not None and prefix:
                finding = msgspec.structs.replace(finding, tensor=f"{prefix}.{finding.tensor}")
            found.append(finding)
    return found


def adapters_in(
    parts: Mapping[str, Source], folder: Path, prefixes: Mapping[str, str] | None = None
) -> tuple[AdapterConfig, ...]:
    """The configurations of adapters in the files and beside them; ``prefixes`` are as in ``findings_in``."""
    found = list(read_adapter(folder))
    for file, part in parts.items():
        stem = (prefixes or {}).get(file)
        found += [
            msgspec.structs.replace(config, prefix=f"{stem}.{config.prefix}") if stem else config
            for config in part.listing.adapters
        ]
    return tuple(found)


def merge_metadata(parts: Mapping[str, Source]) -> dict[str, str]:
    """The metadata of all files. A key to which files give different values appears once for each value."""
    merged: dict[str, str] = {}
    for file, part in parts.items():
        for key, value in part.listing.metadata.items():
            if merged.setdefault(key, value) != value:
                merged[f"{file}.{key}"] = value
    return merged


def read_stated(folder: Path, tensors: Mapping[str, TensorInfo]) -> dict[str, str]:
    """The facts in the JSON files of the folder, and what they imply for the tensors."""
    stated = read_configs(folder)
    explain_tie(stated, tensors)
    return stated


def add_unopened(metadata: dict[str, str], files: list[str]) -> None:
    """Mention the tensor files of the folder that were not opened."""
    if files:
        shown = ", ".join(clean(name, 80) for name in files[:10])
        metadata["folder.not_opened"] = f"{shown}{', ...' if len(files) > 10 else ''} (open by path)"


def describe_format(parts: Mapping[str, Source], files: int) -> str:
    """``safetensors, 163 shards``."""
    formats = sorted({part.listing.format for part in parts.values()})
    named = " + ".join(formats) or "sharded"
    return named if files == 1 else f"{named}, {plural(files, 'shard')}"


def folder_label(folder: Path) -> str:
    """The folder's own name with a slash, also where it was given as ``.``."""
    return f"{own_name(folder)}/"
