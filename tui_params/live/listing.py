"""The listing of a model in memory, from the plain data that a probe hands out."""

from __future__ import annotations

from tui_params.core import dtypes
from tui_params.core.adapter_config import AdapterConfig
from tui_params.core.findings import Finding
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo, TensorKind, beyond_numpy
from tui_params.live.inside.description import Description, Enumeration

KINDS: dict[str, TensorKind] = {"parameter": "parameter", "buffer": "buffer", "gradient": "gradient", "array": "array"}


def listing_of(found: Enumeration, container: str) -> tuple[Listing, dict[str, int]]:
    """The listing, and the handle of each tensor and gradient by its name."""
    first_names: dict[str, str] = {}
    tensors = [info_of(description, first_names) for description in found.tensors]
    gradients = {name: info_of(description, first_names) for name, description in found.gradients}
    handles = {description.name: description.handle for description in found.tensors}
    handles |= {description.name: description.handle for _, description in found.gradients}
    listing = Listing(
        format=container,
        tensors=tuple(tensors),
        metadata=dict(found.metadata),
        modules=dict(found.modules),
        gradients=gradients,
        findings=tuple(Finding(severity, rule, None, evidence) for severity, rule, evidence in found.remarks),
        is_ordered=True,
        adapters=tuple(
            [
                AdapterConfig("the model", f"{path}.", "", rank, alpha, name=name, scale=scale)
                for path, name, rank, alpha, scale in found.adapters
            ]
        ),
        absences=dict(found.absences),
    )
    return listing, handles


def info_of(description: Description, first_names: dict[str, str]) -> TensorInfo:
    """The tensor of a description; ``first_names`` are the first names by identity, and grow."""
    dtype = dtypes.from_torch(description.dtype)
    unreadable = description.unreadable
    if dtype is None:
        dtype = dtypes.unknown(description.dtype)
        unreadable = unreadable or f"elements of the type {description.dtype} cannot be decoded here"
    unreadable = unreadable or beyond_numpy(len(description.shape))
    tied_to = None
    if description.identity is not None:
        first = first_names.setdefault(description.identity, description.name)
        tied_to = first if first != description.name else None
    return TensorInfo(
        name=description.name,
        shape=description.shape,
        dtype=dtype,
        numel=description.numel,
        nbytes=description.nbytes,
        kind=KINDS.get(description.kind, "tensor"),
        device=description.device,
        requires_grad=description.requires_grad,
        tied_to=tied_to,
        stride=description.stride,
        storage_nbytes=description.storage_nbytes,
        unreadable=unreadable,
        notes=description.notes,
    )
