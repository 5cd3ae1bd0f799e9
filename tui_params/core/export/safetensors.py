"""Tensors that are in memory as a file in the format safetensors (github.com/huggingface/safetensors, "Format")."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tui_params.core.export.contents import Contents, Piece
from tui_params.core.tensor import TensorInfo
from tui_params.errors import WriteError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def safetensors_of(
    tensors: Sequence[tuple[TensorInfo, NDArray[np.uint8]]], metadata: Mapping[str, str] = {}
) -> Contents:
    """The file of some tensors, from their row-major bytes. Raises WriteError if the format has not the type of one."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for info, raw in tensors:
        code = info.dtype.safetensors
        if code is None:
            raise WriteError(f"safetensors has no element type {info.dtype.name}, which {info.name} has")
        if info.name == "__metadata__":
            raise WriteError("safetensors keeps the name __metadata__ for itself")
        header[info.name] = {"dtype": code, "shape": list(info.shape), "data_offsets": [end, end + raw.nbytes]}
        end += raw.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = struct.pack("<Q", len(text)) + text
    return Contents(_pieces(head, tensors), len(head) + end)


def _pieces(head: bytes, tensors: Sequence[tuple[TensorInfo, NDArray[np.uint8]]]) -> Iterator[Piece]:
    yield head
    for _, raw in tensors:
        yield raw.data
