"""TensorInfo: all that is known about a tensor before its values are read."""

from __future__ import annotations

from math import prod
from typing import Literal

import msgspec

from tui_params.core.dtypes import DType

TensorKind = Literal["tensor", "parameter", "buffer", "gradient", "array"]
"""``array``: an array of numpy inside a pickle, which is no tensor of torch."""


MAX_NDIM = 64
"""Dimensions that an array of numpy may have, and so a tensor that is read. torch and safetensors allow more."""

MAX_LISTED_NDIM = 1000
"""Dimensions of a tensor that is listed with its shape."""


def beyond_numpy(ndim: int) -> str | None:
    """Why a tensor of so many dimensions is not read, one sentence; None if it is."""
    if ndim <= MAX_NDIM:
        return None
    return f"it has {ndim:,} dimensions, and numpy, with which values are read here, allows {MAX_NDIM}"


class TensorInfo(msgspec.Struct, frozen=True, gc=False):
    """One named array, as its source describes it.

    ``name`` is the full dotted name, unique in its source. ``shape`` and ``stride`` count elements; ``stride`` is
    None for a row-major contiguous tensor. ``nbytes`` are the bytes of the elements themselves, as they are stored
    (those of the blocks, for a type that is restored when it is read); where the tensor is a view that keeps a larger
    storage alive, ``storage_nbytes`` are the bytes of that storage.
    ``file`` and ``offset`` (bytes from the start of that file) say where the bytes are; ``device`` is set for tensors
    in memory. ``tied_to`` is the first name of the same elements (same storage, offset, shape, stride).
    ``unreadable`` is one sentence why the values cannot be read; the rest of the description is true all the same.
    ``notes`` are facts for the detail pane: a quantisation scale, a wrapper class, a persistent=False.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    numel: int
    nbytes: int
    kind: TensorKind = "tensor"
    file: str | None = None
    offset: int | None = None
    device: str | None = None
    requires_grad: bool | None = None
    tied_to: str | None = None
    stride: tuple[int, ...] | None = None
    storage_nbytes: int | None = None
    unreadable: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def has_unknown_size(self) -> bool:
        """Whether not even the shape of an unreadable tensor is known; one of shape ``()`` would have 1 element."""
        return self.unreadable is not None and not self.shape and not self.numel

    @property
    def first_name(self) -> str:
        """The first name of the same elements: its own unless it is tied (perhaps to the empty name)."""
        return self.name if self.tied_to is None else self.tied_to

    @property
    def storage_shape(self) -> tuple[int, ...] | None:
        """The shape in bytes of a packed type whose rows end at a whole byte or block; None for any other tensor.

        torch shows ``float4_e2m1fn_x2`` in this way, two elements in a byte; ``shape`` counts single elements, as
        safetensors does.
        """
        elements, nbytes = self.dtype.unit
        if not self.dtype.is_packed or not self.shape or self.shape[-1] % elements:
            return None
        return (*self.shape[:-1], self.shape[-1] // elements * nbytes)

    @property
    def location(self) -> str:
        """Where the bytes are, in words: ``model-00001.safetensors @ 4096`` or ``cuda:0``."""
        if self.file is None:
            return self.device or ""
        return self.file if self.offset is None else f"{self.file} @ {self.offset}"


def describe(name: str, shape: tuple[int, ...], dtype: DType) -> TensorInfo:
    """A TensorInfo of a contiguous tensor with ``numel`` and ``nbytes`` worked out; for tests and small sources."""
    numel = prod(shape)
    return TensorInfo(name, shape, dtype, numel, dtype.nbytes(numel))
