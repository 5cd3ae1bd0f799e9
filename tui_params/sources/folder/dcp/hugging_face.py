"""Shards of safetensors that the ranks wrote (HuggingFaceStorageWriter, ``save_distributed=True``), as one model.

torch/distributed/checkpoint/hf_storage.py: there is no ``.metadata``. The ``__metadata__`` of each file say in
``DCP_SHARDING_INFO`` where each of its tensors begins in the whole one; the whole shape is stored nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.source import Listing
from tui_params.core.tensor import MAX_NDIM, TensorInfo
from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.sources.bytes.local import DataFile, opened
from tui_params.sources.folder.dcp.metadata import Metadata, Shape, StoredTensor
from tui_params.sources.folder.dcp.recognition import SHARD, SHARDING
from tui_params.sources.safetensors.faults import MAX_OFFSET
from tui_params.sources.safetensors.reader import list_tensors, read_header

_Natural = Annotated[int, msgspec.Meta(ge=0, le=MAX_OFFSET)]


class _Offsets(msgspec.Struct, gc=False):
    saved_offsets: Annotated[tuple[_Natural, ...], msgspec.Meta(max_length=MAX_NDIM)]


class _Texts(msgspec.Struct):
    sharding: str = msgspec.field(name=SHARDING, default="")


class _Header(msgspec.Struct):
    metadata: _Texts = msgspec.field(name="__metadata__", default_factory=_Texts)


_HEADER = msgspec.json.Decoder(_Header)
_OFFSETS = msgspec.json.Decoder(dict[str, _Offsets])


class Shards(msgspec.Struct):
    """What the shards of a folder hold together."""

    metadata: Metadata
    files: dict[str, DataFile]
    reasons: dict[str, str]
    findings: list[Finding]
    texts: dict[str, str]


def read_shards(path: Path, names: list[str]) -> Shards:
    """The tensors of these files as one model. Raises OpenError if none of them can be opened."""
    found = Shards(Metadata(), {}, {}, [], {})
    pieces: dict[str, list[tuple[TensorInfo, Shape]]] = {}
    for name in names:
        try:
            file, listing, offsets = _read_shard(path / name)
        except OpenError as error:
            found.reasons[name] = str(error)
            continue
        found.files[name] = file
        found.findings += [
            msgspec.structs.replace(finding, file=name) if finding.tensor is None else finding
            for finding in listing.findings
            if finding.rule != "local-shapes"
        ]
        found.texts |= {key: text for key, text in listing.metadata.items() if not key.startswith(SHARDING)}
        for info in listing.tensors:
            start = offsets[info.name].saved_offsets if info.name in offsets else (0,) * info.ndim
            if len(start) != info.ndim:
                sentence = f"{clean(name, 80)} says that {clean(info.name, 80)} begins at {list(start)}"
                found.metadata.faults.append(f"{sentence}, and its piece has the shape {list(info.shape)}")
                continue
            pieces.setdefault(info.name, []).append((info, start))
    if not found.files:
        raise OpenError(next(iter(found.reasons.values())))
    for tensor_name, some in pieces.items():
        _add(found.metadata, tensor_name, some)
    return found


def rank_of_shard(name: str) -> int | None:
    """The rank that wrote a shard: ``shard-00001-...`` is that of rank 0."""
    match = SHARD.fullmatch(name)
    return None if match is None else int(match[1]) - 1


def _read_shard(path: Path) -> tuple[DataFile, Listing, dict[str, _Offsets]]:
    with opened(path) as (descriptor, file):
        header = read_header(descriptor, file)
    return file, list_tensors(header, file), _offsets_in(header, path.name)


def _offsets_in(header: bytes, name: str) -> dict[str, _Offsets]:
    try:
        text = _HEADER.decode(header).metadata.sharding
        return _OFFSETS.decode(text) if text else {}
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise OpenError(f"{clean(name, 120)} has a {SHARDING} that does not say where its pieces belong") from None


def _add(metadata: Metadata, name: str, pieces: list[tuple[TensorInfo, Shape]]) -> None:
    """Add one tensor; its shape is what its pieces reach to."""
    info = pieces[0][0]
    alike = [(piece, start) for piece, start in pieces if (piece.ndim, piece.dtype) == (info.ndim, info.dtype)]
    if len(alike) < len(pieces):
        metadata.faults.append(
            f"the pieces of {clean(name, 80)} are not all {info.dtype.short} of {info.ndim} dimensions"
        )
    ends = [tuple(map(sum, zip(start, piece.shape, strict=True))) for piece, start in alike]
    shape = tuple(max(end[axis] for end in ends) for axis in range(info.ndim))
    tensor = StoredTensor(name, shape, info.dtype, len(metadata.chunks), len(alike))
    metadata.tensors.append(tensor)
    for piece, start in alike:
        metadata.chunks.add(start, piece.shape)
        if piece.file is None or piece.offset is None:
            continue
        if piece.file not in metadata.files:
            metadata.files.append(piece.file)
        number = len(metadata.chunks) - 1
        metadata.chunks.place(number, metadata.files.index(piece.file), piece.offset, piece.nbytes)
