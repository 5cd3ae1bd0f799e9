"""A probe: looks at tensors in this process and hands out plain data.

It answers three questions: ``enumerate`` (descriptions, no values), ``read`` and ``read_window`` (bytes). A probe only
looks: it never calls a property of a module (a parametrized weight would be computed anew, and spectral norm would
change its buffers), a hook, or anything collective, which would hang a distributed job. It writes to no tensor and
draws no random number.

Device memory is copied to the host a block at a time, on the current stream of the thread that asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod
from typing import Any

import torch

from .anatomy import (
    FLOAT4,
    LAZY,
    ODD,
    WRAPPER_LIMIT,
    fields_of,
    first_line,
    is_index_field,
    layout_of,
    mark_of,
    notes_of,
    obstacle_of,
    own,
    storage_nbytes_of,
)
from .arrays import Unread
from .description import Description, Enumeration, ProbeError
from .leaves import Find, Leaf, find_field, requires_grad_of
from .memory import Undisturbed, boxes_of, bytes_of, plain_view
from .packed import Unpacker, class_of, is_packed, obstacle_to


class Probe:
    """The tensors of one root object in this process: enumerate them, then read any by its handle."""

    def __init__(self) -> None:
        self._places: list[tuple[str, Find, tuple[Any, ...]]] = []
        self._marks: dict[str, tuple[Any, ...]] = {}
        self._names: dict[str, int] = {}
        self._is_closed = False
        self._unpacker = Unpacker()

    def _leaves(self) -> Iterator[Leaf]:
        raise NotImplementedError

    def enumerate(self) -> Enumeration:
        """Describe every tensor; reads no value. Asked again, it forgets the handles of the first time.

        Raises ProbeError if the root or its optimizer cannot be walked at all.
        """
        self._places, self._names = [], {}
        try:
            with Undisturbed(plain=False):
                leaves = list(self._leaves())
                self._marks = {leaf.name: _mark_of(leaf) for leaf in leaves}
                found = [description for leaf in leaves for description in self._describe_parts(leaf)]
                return self._enumeration(found, leaves)
        except ODD as error:
            raise ProbeError(f"it could not be walked: {first_line(error)}") from error
        finally:
            self._unpacker.clear()

    def _enumeration(self, found: list[Description], leaves: list[Leaf]) -> Enumeration:
        raise NotImplementedError

    def changed(self) -> str | None:
        """One sentence if tensors were added, removed, replaced or written to since ``enumerate``, else None.

        A write that torch does not count (through ``.data``, or by a fused optimizer) is not seen.
        """
        try:
            with Undisturbed(plain=False):
                marks = {leaf.name: _mark_of(leaf) for leaf in self._leaves()}
        except ODD as error:
            return f"it can no longer be walked: {first_line(error)}"
        old = self._marks
        if marks.keys() != old.keys():
            first = next(iter(marks.keys() ^ old.keys()))
            return (
                f"there are other tensors than when it was opened: {len(marks.keys() - old.keys())} are new and "
                f"{len(old.keys() - marks.keys())} are gone, {first} among them"
            )
        moved = [name for name, mark in marks.items() if mark[:-1] != old[name][:-1]]
        if moved:
            return f"{_tensors(len(moved))} replaced or moved since this was opened, first {moved[0]}"
        written = [name for name, mark in marks.items() if mark != old[name]]
        if written:
            return f"{_tensors(len(written))} written to since this was opened, first {written[0]}"
        return None

    def read(self, handle: int, start: int, stop: int) -> memoryview:
        """The bytes of elements ``start:stop``: row-major where the description has no stride, else in storage order.

        The memory may be the tensor's own; it is read-only and is kept alive by the view. Of a packed type ``start``
        and ``stop`` are even. Raises ProbeError.
        """
        name, tensor = self._resolve(handle)
        try:
            with Undisturbed(plain=True):
                if own(tensor, "dtype") == FLOAT4:
                    start, stop = start // 2, (stop + 1) // 2
                plain = plain_view(tensor)
                if not plain.is_contiguous():
                    strides = plain.stride()
                    plain = plain.permute(sorted(range(plain.ndim), key=lambda axis: -strides[axis]))
                if plain.is_contiguous():
                    return bytes_of(plain.reshape(-1)[start:stop])
                boxes = [bytes_of(box) for box in boxes_of(plain, start, stop)]
                return boxes[0] if len(boxes) == 1 else memoryview(b"".join(boxes))
        except ODD as error:
            raise ProbeError(f"{name} could not be read: {first_line(error)}") from error

    def read_window(self, handle: int, axes: Sequence[tuple[int, int, int]]) -> bytes:
        """The bytes at ``(start, step, length)`` of every axis (step above 0), row-major, always a copy.

        Packed 4-bit values come one a byte, in its low bits. Raises ProbeError.
        """
        name, tensor = self._resolve(handle)
        try:
            with Undisturbed(plain=True):
                plain = plain_view(tensor)
                slices = [slice(start, start + step * (length - 1) + 1 if length else start, step)
                          for start, step, length in axes]  # fmt: skip
                if own(tensor, "dtype") != FLOAT4:
                    return bytes(bytes_of(plain[tuple(slices)]))
                start, step, length = axes[-1]
                wanted = start + step * torch.arange(length, device=plain.device)
                pairs = plain[tuple(slices[:-1])].index_select(-1, wanted // 2)
                return bytes(bytes_of(pairs >> (wanted % 2 * 4).to(torch.uint8) & 15))
        except ODD as error:
            raise ProbeError(f"{name} could not be read: {first_line(error)}") from error

    def finds(self) -> list[Find]:
        """By handle, what finds each tensor of the last enumeration as it is now."""
        return [find for _, find, _ in self._places]

    def close(self) -> None:
        """Let go of the objects that were looked at."""
        self._places, self._marks, self._is_closed = [], {}, True
        self._unpacker.clear()

    def _resolve(self, handle: int) -> tuple[str, Any]:
        """The tensor of a handle as it is now, if it still is the one that was listed."""
        if self._is_closed:
            raise ProbeError("this source was closed")
        name, find, layout = self._places[handle]
        try:
            with Undisturbed(plain=False):
                tensor = find()
                reason = obstacle_of(tensor)
                # What is unpacked anew at each look has no address of its own.
                is_same = layout_of(tensor)[: len(layout)] == layout
                is_capturing = own(tensor, "is_cuda") and torch.cuda.is_current_stream_capturing()
        except ODD as error:
            raise ProbeError(f"{name} is no longer there: {first_line(error)}", is_changed=True) from error
        if not is_same:
            raise ProbeError(f"{name} was replaced, resized or moved since it was listed", is_changed=True)
        if reason:
            raise ProbeError(f"{name} cannot be read: {reason}")
        if is_capturing:
            raise ProbeError(f"{name} cannot be read while a CUDA graph is being captured")
        return name, tensor

    def _describe_parts(self, leaf: Leaf, depth: int = 0) -> Iterator[Description]:
        """The description of a leaf, or of each of its pieces where it is a wrapper around several tensors."""
        try:
            fields, notes = self._fields_of(leaf.tensor)
        except ODD as error:
            yield self._unreadable(leaf, f"its class does not say what it holds: {first_line(error)}")
            return
        if depth < WRAPPER_LIMIT and fields:
            is_trained = requires_grad_of(leaf)
            for suffix, field in fields:
                find = partial(find_field, leaf.find, field)
                try:
                    tensor = field(leaf.tensor)
                    can_be_trained = is_trained and not is_packed(tensor) and not is_index_field(leaf.tensor, tensor)
                except ODD as error:
                    yield self._unreadable(leaf, f"its {suffix} cannot be reached: {first_line(error)}")
                    continue
                name = ".".join(filter(None, (leaf.name, suffix)))
                origin = leaf.origin or (f"packed {id(leaf.tensor)}" if is_packed(leaf.tensor) else "")
                origin = origin and f"{origin}.{suffix}"
                is_own = can_be_trained or None
                piece = Leaf(name, leaf.kind, find, tensor, leaf.notes + notes, leaf.ending, is_own, origin)
                yield from self._describe_parts(piece, depth + 1)
            return
        try:
            yield self._describe(leaf, notes)
        except ODD as error:
            yield self._unreadable(leaf, f"its class does not say what it holds: {first_line(error)}")

    def _fields_of(self, tensor: Any) -> tuple[tuple[tuple[str, Callable[[Any], Any]], ...], tuple[str, ...]]:
        if type(tensor) is Unread:
            return (), ()
        if not is_packed(tensor):
            return fields_of(tensor)
        if obstacle_to(tensor):
            return (), ()
        return self._unpacker.fields_of(tensor), (f"unpacked from {class_of(tensor)}",)

    def _describe(self, leaf: Leaf, notes: tuple[str, ...]) -> Description:
        tensor = leaf.tensor
        if is_packed(tensor):
            return self._unreadable(leaf, obstacle_to(tensor) or "it holds no tensor")
        if type(tensor) is Unread:
            described = self._unreadable(leaf, tensor.reason)
            return described._replace(
                shape=tensor.shape, dtype=tensor.dtype, numel=prod(tensor.shape), nbytes=tensor.nbytes
            )
        obstacle = obstacle_of(tensor)
        shape: tuple[int, ...] = ()
        if obstacle == LAZY:
            stride, numel = None, 0
        else:
            shape = tuple(int(size) for size in own(tensor, "shape"))
            numel = prod(shape)
            is_plain = own(tensor, "layout") != torch.strided or own(tensor, "is_contiguous")()
            stride = None if is_plain else tuple(own(tensor, "stride")())
        nbytes = numel * own(tensor, "element_size")()
        dtype = str(own(tensor, "dtype")).removeprefix("torch.")
        notes = leaf.notes + notes + notes_of(tensor)
        if own(tensor, "dtype") == FLOAT4 and shape:
            dtype, shape, numel = "float4_e2m1fn", (*shape[:-1], 2 * shape[-1]), 2 * numel
            if stride is not None:
                notes += ("the stride counts bytes of two elements",)
        storage = None if obstacle or numel == 0 else storage_nbytes_of(tensor)
        if storage is not None and storage < nbytes and not own(tensor, "is_quantized"):
            notes += (f"a view that repeats its elements: {storage} bytes in memory",)
        layout = () if obstacle else layout_of(tensor)
        is_addressed = numel > 0 and bool(layout) and layout[-1] != 0
        identity = repr(layout) if is_addressed else f"object {id(tensor)}"
        if leaf.origin:
            layout, identity = layout[:-1], leaf.origin
        return Description(
            handle=self._place(leaf, layout),
            name=self._unique(leaf.name + leaf.ending),
            kind=leaf.kind,
            shape=shape,
            dtype=dtype,
            numel=numel,
            nbytes=nbytes,
            device=str(own(tensor, "device")),
            requires_grad=requires_grad_of(leaf),
            identity=identity,
            stride=stride,
            storage_nbytes=storage if storage is not None and storage > nbytes else None,
            unreadable=obstacle,
            notes=notes,
        )

    def _unreadable(self, leaf: Leaf, reason: str) -> Description:
        try:
            dtype = str(own(leaf.tensor, "dtype")).removeprefix("torch.")
        except ODD:
            dtype = "unknown"
        return Description(
            handle=self._place(leaf, ()),
            name=self._unique(leaf.name + leaf.ending),
            kind=leaf.kind,
            shape=(),
            dtype=dtype,
            numel=0,
            nbytes=0,
            device=None,
            requires_grad=None,
            identity=f"object {id(leaf.tensor)}",
            unreadable=reason,
            notes=leaf.notes,
        )

    def _place(self, leaf: Leaf, layout: tuple[Any, ...]) -> int:
        self._places.append((leaf.name + leaf.ending, leaf.find, layout))
        return len(self._places) - 1

    def _unique(self, name: str) -> str:
        """The name itself, or ``name#2`` where a flattened structure spells two places alike."""
        seen = self._names[name] = self._names.get(name, 0) + 1
        return name if seen == 1 else f"{name}#{seen}"


def _mark_of(leaf: Leaf) -> tuple[Any, ...]:
    if is_packed(leaf.tensor) or type(leaf.tensor) is Unread or (leaf.kind == "array" and leaf.origin):
        return leaf.origin or id(leaf.tensor), -1
    return mark_of(leaf.tensor)


def _tensors(count: int) -> str:
    return "1 tensor was" if count == 1 else f"{count} tensors were"
