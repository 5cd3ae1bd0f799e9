"""The tensors of a distributed checkpoint, as its metadata describe them, and what is said about each."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from tui_params.core.tensor import TensorInfo, beyond_numpy
from tui_params.sources.bytes.local import DataFile
from tui_params.sources.folder.dcp.faults import Faults, find_faults
from tui_params.sources.folder.dcp.flat import flat_notes
from tui_params.sources.folder.dcp.metadata import NOT_STORED, Metadata, StoredTensor
from tui_params.sources.folder.dcp.names import state_notes


def describe_all(
    metadata: Metadata,
    files: Mapping[str, DataFile],
    reasons: Mapping[str, str],
    notes: Mapping[str, str],
    *,
    is_one_rank: bool,
) -> tuple[list[TensorInfo], Faults]:
    """All tensors, and the faults of their pieces; ``notes`` are added to those that are made here."""
    faults = find_faults(metadata, files, reasons, is_one_rank=is_one_rank)
    names = {tensor.name: tensor.shape for tensor in metadata.tensors}
    said = (notes, state_notes(metadata.paths, names), flat_notes(names), faults.notes)
    return [_describe(tensor, metadata, faults, said) for tensor in metadata.tensors], faults


def _describe(
    tensor: StoredTensor, metadata: Metadata, faults: Faults, said: tuple[Mapping[str, str], ...]
) -> TensorInfo:
    name, shape, dtype = tensor.name, tensor.sizes(tensor.shape), tensor.dtype
    numel = prod(shape)
    reason = faults.unreadable.get(name) or beyond_numpy(len(shape))
    if dtype.kind == "unknown" and reason is None:
        reason = f"elements of type {dtype.name} cannot be decoded here"
    notes = tuple(note for each in said if (note := each.get(name)) is not None)
    file = _file_of(tensor, metadata)
    return TensorInfo(name, shape, dtype, numel, dtype.nbytes(numel), file=file, unreadable=reason, notes=notes)


def _file_of(tensor: StoredTensor, metadata: Metadata) -> str | None:
    """The file that has all pieces of a tensor; None if they are in several."""
    numbers = {*metadata.chunks.files[tensor.first : tensor.first + tensor.count]} - {NOT_STORED}
    return metadata.files[numbers.pop()] if len(numbers) == 1 else None
