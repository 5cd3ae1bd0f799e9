"""A probe: looks at tensors in this process and hands out plain data.

It answers three questions: ``enumerate`` (descriptions, no values), ``read`` and ``read_window`` (bytes). A probe only
looks: it never calls a property of a module (a parametrized weight would be computed anew, and spectral norm would
change its buffers), a hook, or anything collective, which would hang a distributed job. It writes to no tensor and
draws no random number.

Device memory is copied to the host a block at a time, on the current stream of the thread that asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch

from .anatomy import (
    FLOAT4,
    LAZY,
    ODD,
    WRAPPER_LIMIT,
    Body,
    family_of,
    fields_of,
    first_line,
    is_index_field,
    is_jagged,
    layout_of,
    notes_of,
    obstacle_of,
    own,
    storage_nbytes_of,
    text_of,
)
from .arrays import Unread
from .description import Description, Enumeration, ProbeError
from .leaves import Find, Leaf, find_field, requires_grad_of
from .marks import body_of_leaf, mark_of_leaf, what_changed
from .memory import Undisturbed, boxes_of, bytes_of, plain_view
from .packed import Unpacker, class_of, is_packed, obstacle_to

_LAYOUT = 6
"""Entries of a layout that has an address."""


class Place(NamedTuple):
    """Where a listed tensor is found again, how it lay when it was listed, and why it is for reading only, if it is."""

    name: str
    find: Find
    layout: tuple[Any, ...]
    refusal: str | None


class Probe:
    """The tensors of one root object in this process: enumerate them, then read any by its handle."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held while all tensors are walked, and while an editor writes
        self._places: list[Place] = []
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
            with self._lock, Undisturbed(plain=False):
                leaves = list(self._leaves())
                self._marks = {}
                found: list[Description] = []
                for leaf in leaves:
                    body = body_of_leaf(leaf)
                    self._marks[leaf.name] = mark_of_leaf(leaf, body)
                    if body is None:
                        found += self._describe_parts(leaf)
                    else:
                        found.append(self._describe_body(leaf, body))
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
            with self._lock, Undisturbed(plain=False):
                marks = {leaf.name: mark_of_leaf(leaf, body_of_leaf(leaf)) for leaf in self._leaves()}
        except ODD as error:
            return f"it can no longer be walked: {first_line(error)}"
        return what_changed(self._marks, marks)

    def read(self, handle: int, start: int, stop: int) -> memoryview:
        """The bytes of elements ``start:stop``: row-major where the description has no stride, else in storage order.

        The memory may be the tensor's own; it is read-only and is kept alive by the view. Of a packed type ``start``
        and ``stop`` are even. Raises ProbeError.
        """
        name, tensor = self.resolve(handle)
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
        name, tensor = self.resolve(handle)
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
        return [place[1] for place in self._places]

    def close(self) -> None:
        """Let go of the objects that were looked at."""
        self._places, self._marks, self._is_closed = [], {}, True
        self._unpacker.clear()

    def refusal(self, handle: int) -> str | None:
        """Why the tensor of a handle must not be edited, because of what it is a part of; else None."""
        self._be_open()
        return self._places[handle].refusal

    def ranges(self, handle: int) -> Iterator[tuple[str, tuple[str, int, int]]]:
        """The names of the tensors of other handles, each with its device, its first address and the one after its end.

        As they were listed; those without elements or without an address are left out.
        """
        for number, place in enumerate(self._places):
            if number == handle or len(place.layout) != _LAYOUT:
                continue
            device, dtype, shape, stride, _, address = place.layout
            if address and 0 not in shape and len(stride) == len(shape):
                reach = sum(map(lambda size, step: (size - 1) * step, shape, stride)) + 1
                itemsize = getattr(torch, dtype.partition(".")[2]).itemsize
                yield place.name, (device, address, address + reach * itemsize)

    @contextmanager
    def expecting(self, handles: Iterable[int]) -> Iterator[None]:
        """A block that writes to the tensors of these handles: ``changed`` says nothing of it.

        What was written to by others before, it still says.
        """
        with self._lock:
            self._be_open()
            with Undisturbed(plain=False):
                storages = {_storage_of(self._places[handle].find()) for handle in handles} - {None}
                touched = [leaf for leaf in self._leaves() if _storage_of(leaf.tensor) in storages]
                touched = [leaf for leaf in touched if self._marks.get(leaf.name) == mark_of_leaf(leaf)]
            try:
                yield
            finally:
                with Undisturbed(plain=False):
                    self._marks.update({leaf.name: mark_of_leaf(leaf) for leaf in touched})

    def resolve(self, handle: int) -> tuple[str, Any]:
        """The tensor of a handle as it is now, if it still is the one that was listed. Raises ProbeError."""
        self._be_open()
        name, find, layout, _ = self._places[handle]
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

    def _be_open(self) -> None:
        if self._is_closed:
            raise ProbeError("this source was closed")

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
                for description in self._describe_parts(piece, depth + 1):
                    place = self._places[description.handle]
                    self._places[description.handle] = place._replace(refusal=_part_of(leaf.tensor))
                    yield description
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
        dtype = text_of(own(tensor, "dtype")).removeprefix("torch.")
        notes = leaf.notes + notes + notes_of(tensor)
        if own(tensor, "dtype") == FLOAT4 and shape:
            dtype, shape, numel = "float4_e2m1fn", (*shape[:-1], 2 * shape[-1]), 2 * numel
            if stride is not None:
                notes += ("the stride counts bytes of two elements",)
        storage = None if obstacle or numel == 0 else storage_nbytes_of(tensor)
        if storage is not None and storage < nbytes and not own(tensor, "is_quantized"):
            notes += (repeating(storage),)
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
            device=text_of(own(tensor, "device")),
            requires_grad=requires_grad_of(leaf),
            identity=identity,
            stride=stride,
            storage_nbytes=storage if storage is not None and storage > nbytes else None,
            unreadable=obstacle,
            notes=notes,
        )

    def _describe_body(self, leaf: Leaf, body: Body) -> Description:
        """What ``_describe`` says of an ordinary tensor."""
        nbytes, storage, layout = body.nbytes, body.storage_nbytes, body.layout
        notes = leaf.notes
        if storage < nbytes:
            notes += (repeating(storage),)
        return Description(
            handle=self._place(leaf, layout),
            name=self._unique(leaf.name + leaf.ending),
            kind=leaf.kind,
            shape=body.shape,
            dtype=layout[1].removeprefix("torch."),
            numel=body.numel,
            nbytes=nbytes,
            device=layout[0],
            requires_grad=requires_grad_of(leaf),
            identity=repr(layout) if body.numel and layout[-1] else f"object {id(leaf.tensor)}",
            stride=body.stride,
            storage_nbytes=storage if storage > nbytes and body.numel else None,
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
        refusal = None
        if leaf.kind == "array":
            refusal = "it is an array of numpy, and only tensors of torch are edited here"
        elif leaf.origin:
            refusal = "it is made anew from packed weights at each look, so a write would be lost"
        self._places.append(Place(leaf.name + leaf.ending, leaf.find, layout, refusal))
        return len(self._places) - 1

    def _unique(self, name: str) -> str:
        """The name itself, or ``name#2`` where a flattened structure spells two places alike."""
        seen = self._names[name] = self._names.get(name, 0) + 1
        return name if seen == 1 else f"{name}#{seen}"


def repeating(storage: int) -> str:
    """The note of a tensor whose storage has fewer bytes than its elements."""
    return f"a view that repeats its elements: {storage} bytes in memory"


def _storage_of(tensor: Any) -> int | None:
    """The address of the storage of a plain tensor, which views of it share; None of anything else."""
    try:
        return int(own(tensor, "untyped_storage")().data_ptr()) or None
    except ODD:
        return None


def _part_of(whole: Any) -> str:
    """Why a piece of something is for reading only."""
    if is_packed(whole):
        return f"it is unpacked from {class_of(whole)} at each look, so a write would be lost"
    family = family_of(whole)
    if family == "DTensor":
        return "it is this rank's piece of a DTensor, and the other ranks would not know"
    if family == "wrapper" or is_jagged(whole):
        return f"it is a field of a {type(whole).__name__}, a subclass of Tensor that gives it a meaning of its own"
    return f"it is a field of a {str(own(whole, 'layout')).partition('.')[2]} tensor"
