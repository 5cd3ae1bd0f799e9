"""The bytes of a plain tensor: its own memory where that is possible, else a copy on the host, a piece at a time."""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from math import prod
from typing import Any

import torch

from .anatomy import own

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}


class Undisturbed(ExitStack):
    """A block in which no autograd graph grows and no class or mode of the user intercepts a call."""

    def __init__(self, *, plain: bool) -> None:
        super().__init__()
        self.enter_context(torch.no_grad())
        self.enter_context(torch._C.DisableTorchFunction())
        if plain:
            # A FakeTensorMode of the caller would refuse real tensors.
            self.enter_context(torch._C._DisableTorchDispatch())


def plain_view(tensor: Any) -> Any:
    """The same elements as a plain tensor that no operator refuses: integers of the same width, sharing memory.

    A tensor that is conjugated or negated lazily stays what it is: its bytes in memory are not its values.
    """
    if own(tensor, "is_quantized"):
        integer = torch.empty(0, dtype=_INTEGERS[own(tensor, "element_size")()], device=own(tensor, "device"))
        place = own(tensor, "storage_offset")(), own(tensor, "size")(), own(tensor, "stride")()
        return integer.set_(own(tensor, "untyped_storage")(), *place)
    plain = own(tensor, "detach")()
    if plain.is_conj() or plain.is_neg():
        return plain
    return plain.view(_INTEGERS[plain.element_size()])


def boxes_of(tensor: Any, start: int, stop: int) -> list[Any]:
    """The row-major elements ``start:stop`` as at most ``2 ndim - 1`` rectangular views."""
    if start >= stop:
        return []
    if tensor.ndim <= 1:
        return [tensor.reshape(-1)[start:stop]]
    inner = prod(tensor.shape[1:])
    first, head = divmod(start, inner)
    last, tail = divmod(stop, inner)
    if first == last:
        return boxes_of(tensor[first], head, tail)
    boxes = []
    if head:
        boxes += boxes_of(tensor[first], head, inner)
        first += 1
    if first < last:
        boxes.append(tensor[first:last])
    if tail:
        boxes += boxes_of(tensor[last], 0, tail)
    return boxes


def bytes_of(tensor: Any) -> memoryview:
    """The row-major bytes of a plain tensor: its own memory where that is possible, else a copy on the host."""
    tensor = tensor.resolve_conj().resolve_neg().contiguous().to("cpu")
    nbytes = tensor.numel() * tensor.element_size()
    if nbytes == 0:
        return memoryview(b"")
    memory: Any = (ctypes.c_ubyte * nbytes).from_address(tensor.data_ptr())
    memory.owner = tensor
    return memoryview(memory).cast("B").toreadonly()
