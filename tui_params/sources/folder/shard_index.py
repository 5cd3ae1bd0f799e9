"""Checkpoints with an index: ``*.index.json`` says which shard holds which tensor, and may be wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tui_params.core.adapter_config import AdapterConfig
from tui_params.core.findings import Finding
from tui_params.core.source import Listing, Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.tensor_columns import TensorColumns, join_columns
from tui_params.core.text import clean, plural, size
from tui_params.errors import OpenError
from tui_params.sources.bytes.files import is_plain_name, is_there, own_name
from tui_params.sources.bytes.local import opened, read_bytes
from tui_params.sources.folder.config import explain_tie, read_adapter, read_configs
from tui_params.sources.folder.index_faults import Complaints, list_with_faults
from tui_params.sources.folder.json_files import config_findings
from tui_params.sources.folder.merged import MergedSource
from tui_params.sources.folder.open_each import OpenFile, open_each

_MAX_NBYTES = 512 * 1024 * 1024

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
    complaints = Complaints()
    files = list(files)
    forgotten = _forgotten(files, index_name, counts)
    for shard in sorted(forgotten):
        evidence = f"it lies in the folder, but {clean(index_name, 120)} does not name it"
        complaints.add("warning", "unindexed-shard", evidence, file=shard)
    whole = _whole_name(index_name)
    if whole in files and whole not in counts:  # transformers' from_pretrained; it may hold another state of the model
        evidence = "it lies beside the index: loaders take it in place of the shards; it was not read"
        complaints.add("warning", "unindexed-whole", evidence, file=whole)
    parts, lost = _open_shards(folder, counts, forgotten, index_name, complaints, open_file)
    in_place = _all_in_place(index.weight_map, parts)
    if in_place is not None:
        tensors: Sequence[TensorInfo] = in_place
        names: Container[str] = index.weight_map
        absent, unlisted, total = 0, None, sum(in_place.nbytes)
    else:
        tensors, absent, unlisted = list_with_faults(index.weight_map, parts, lost, index_name, complaints)
        names = {info.name for info in tensors}
        total = sum([info.nbytes for info in tensors if info.tied_to is None])
    if not absent:
        _check_total(index, total, index_name, complaints)
    metadata = merge_metadata(parts)
    if unlisted is not None:
        metadata["index.not_listed"] = unlisted
    if isinstance(index.metadata, dict):
        for key in ("total_size", "total_parameters"):
            if isinstance(index.metadata.get(key), (int, float)):
                metadata[f"index.{key}"] = f"{index.metadata[key]:,}"
    stated = read_stated(folder, names)
    metadata |= stated
    shards = counts.keys()
    not_opened = [file for file in files if file not in shards and file not in forgotten]
    add_unopened(metadata, not_opened)
    findings = (*complaints.all(), *config_findings(folder), *findings_in(parts))
    listing = Listing(
        describe_format(parts, len(shards)),
        tensors,
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
    complaints: Complaints,
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


def _all_in_place(weight_map: Mapping[str, str], parts: Mapping[str, Source]) -> TensorColumns | None:
    """The tensors of all shards, if each is where the index says and no other is there; None also without columns."""
    columns: list[TensorColumns] = []
    for shard, part in parts.items():
        tensors = part.listing.tensors
        if not isinstance(tensors, TensorColumns) or set(map(weight_map.get, tensors.names)) != {shard}:
            return None
        columns.append(tensors)
    return join_columns(columns) if sum(map(len, columns)) == len(weight_map) else None


def _check_total(index: Index, real: int, index_name: str, complaints: Complaints) -> None:
    """Compare what the index says of the bytes of all tensors with the real ones, in which tied ones count once."""
    said = index.metadata.get("total_size") if isinstance(index.metadata, dict) else None
    if not isinstance(said, int) or isinstance(said, bool):
        return
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
    """The metadata of all files. A key to which files give different values appears once for each value.

    The number of each file of a GGUF model says nothing of the whole.
    """
    merged: dict[str, str] = {}
    for file, part in parts.items():
        for key, value in part.listing.metadata.items():
            if key == "split.no" and len(parts) > 1:
                continue
            if merged.setdefault(key, value) != value:
                merged[f"{file}.{key}"] = value
    return merged


def read_stated(folder: Path, names: Container[str]) -> dict[str, str]:
    """The facts in the JSON files of the folder, and what they imply for the tensors of these names."""
    stated = read_configs(folder)
    explain_tie(stated, names)
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
