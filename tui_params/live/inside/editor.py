"""The editor: changes the values of tensors in place, and undoes it byte for byte. It runs in the model's process.

What it is asked and what it answers is plain data, like that of a probe, whose handles it takes. Nothing is written
unless everything that was shown before still holds: the version counter, and the digests of the bytes before and after
(fused optimizers and ``.data`` write without counting). Bytes are written as integers of the same width, under
``no_grad`` and with the version counter of the tensor, so that autograd notices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from math import prod
from typing import Any, NamedTuple

import torch

from .anatomy import ODD, family_of, first_line, own, stored_on
from .arithmetic import Recipe, changed, misfit_sentence, scalar_of
from .description import ProbeError
from .memory import Undisturbed, boxes_of, bytes_of, plain_view
from .probe import Probe
from .protection import why_not_writable

Axes = Sequence["tuple[int, int, int]"]

BLOCK_NBYTES = 4 << 20
MOST_NBYTES = 2 << 30
"""Bytes that are kept for undoing, all steps together; so the most that one edit may change."""


class Planned(NamedTuple):
    """A change to apply: where, what, and what must still hold: the version, and both digests."""

    handle: int
    axes: tuple[tuple[int, int, int], ...]
    recipe: Recipe
    version: int
    before: str
    after: str


class Step(NamedTuple):
    """A change that was applied: the bytes before it, and the digest of those that it wrote."""

    name: str
    axes: tuple[tuple[int, int, int], ...]
    before: tuple[bytes, ...]
    after: str
    nbytes: int


class Editor:
    """Edits the tensors of one probe after the other; the steps that can be undone outlive a probe."""

    def __init__(self) -> None:
        self._probe: Probe | None = None
        self.steps: list[Step] = []

    def attach(self, probe: Probe) -> None:
        """Edit what this probe looks at from now on."""
        self._probe = probe

    def why_not(self, handle: int) -> str | None:
        """Why a tensor cannot be edited, one sentence; None if it can. Raises ProbeError if it is not there."""
        probe = self._attached()
        refusal = probe.refusal(handle)
        if refusal is not None:
            return refusal
        name, tensor = probe.resolve(handle)
        with _telling(name), _writing():
            return _obstacle(tensor)

    def version(self, handle: int) -> int:
        """The version counter of a tensor. Raises ProbeError."""
        name, tensor = self._tensor(handle)
        with _telling(name):
            return int(own(tensor, "_version"))

    def ranks(self) -> int:
        """How many processes train together with this one, itself included."""
        distributed = torch.distributed
        is_on = distributed.is_available() and distributed.is_initialized()
        return int(distributed.get_world_size()) if is_on else 1

    def sharing(self, handle: int, axes: Axes) -> tuple[str, ...]:
        """The names of the other tensors that have memory within that of a slice, as far as they have an address."""
        device, low, high = self._range(handle, axes)
        probe = self._attached()
        if low == high:
            return ()
        return tuple(
            [name for name, place in probe.ranges(handle) if place[0] == device and place[1] < high and place[2] > low]
        )

    def blocks(self, handle: int, axes: Axes, recipe: Recipe) -> Iterator[tuple[memoryview, memoryview]]:
        """The bytes of a slice as they are, and as a change would make them, a few MB at a time, row-major.

        Raises ProbeError at any step: if the tensor cannot be edited, or the results do not fit its type.
        """
        view, other, scalar = self._views(handle, axes, recipe)
        misfits = 0
        for target, source in _boxes(view, other):
            with _telling("the edit"), _writing():
                after, lost = changed(target, recipe, scalar, source)
                misfits += lost
                pair = bytes_of(plain_view(target)), bytes_of(plain_view(after))
            yield pair
        if misfits:
            raise ProbeError(misfit_sentence(misfits, view.numel(), view.dtype))

    def apply(self, plans: Sequence[Planned]) -> int:
        """Write all changes, or none; each is a step. Returns how many of the oldest steps can no longer be undone.

        Raises ProbeError if anything is not as it was when the change was planned.
        """
        probe = self._attached()
        made: list[Step] = []
        try:
            with probe.expecting([plan.handle for plan in plans]):
                for plan in plans:
                    name = probe.resolve(plan.handle)[0]
                    if self.version(plan.handle) != plan.version:
                        raise ProbeError(f"{name} was written to since this edit was staged")
                for plan in plans:
                    made.append(self._step(plan, sum(step.nbytes for step in made)))
                begun: list[int] = []
                try:
                    for number, plan in enumerate(plans):
                        begun.append(number)
                        self._write(plan)
                except (*ODD, MemoryError, ProbeError):
                    for number in reversed(begun):
                        _restore(self._view(plans[number].handle, plans[number].axes), made[number].before)
                    raise
        except (*ODD, MemoryError) as error:
            raise ProbeError(f"nothing was changed: {first_line(error)}") from error
        self.steps += made
        dropped = 0
        while sum(step.nbytes for step in self.steps) > MOST_NBYTES:
            del self.steps[0]
            dropped += 1
        return dropped

    def undo(self, handle: int) -> None:
        """Put back the bytes that were there before the newest step, whose tensor has this handle.

        Raises ProbeError, and forgets the step, if what it wrote is no longer there.
        """
        step = self.steps.pop()
        try:
            with self._attached().expecting([handle]):
                view = self._view(handle, step.axes)
                if _digest(view) != step.after:
                    raise ProbeError(f"{step.name} cannot be undone: it holds other values than the edit wrote")
                _restore(view, step.before)
        except ODD as error:
            raise ProbeError(f"{step.name} cannot be undone: {first_line(error)}") from error

    # One tensor

    def _attached(self) -> Probe:
        if self._probe is None:
            raise ProbeError("there is nothing to edit")
        return self._probe

    def _tensor(self, handle: int) -> tuple[str, Any]:
        """The tensor itself, and its name. Raises ProbeError if it cannot be edited."""
        reason = self.why_not(handle)
        name, tensor = self._attached().resolve(handle)
        if reason is not None:
            raise ProbeError(f"{name} cannot be edited: {reason}")
        return name, tensor

    def _view(self, handle: int, axes: Axes) -> Any:
        """The slice, in the tensor's own type and memory."""
        name, tensor = self._tensor(handle)
        with _telling(name), _writing():
            return own(tensor, "detach")()[_slices(axes)]

    def _views(self, handle: int, axes: Axes, recipe: Recipe) -> tuple[Any, Any, Any]:
        """The slice, the values to fill it with and the number to set it to, as far as the operation needs them."""
        view = self._view(handle, axes)
        scalar = other = None
        if view.numel() * view.element_size() > MOST_NBYTES:
            gigabytes = MOST_NBYTES >> 30
            raise ProbeError(f"an edit keeps the bytes before it, at most {gigabytes} GiB: choose a smaller slice")
        with _telling("the edit"), _writing():
            if recipe.operation == "set":
                scalar = scalar_of(recipe.number, view.dtype)
            elif recipe.operation == "fill":
                other = self._other(view, recipe)
        return view, other, scalar

    def _other(self, view: Any, recipe: Recipe) -> Any:
        if recipe.handle is not None:
            name, tensor = self._attached().resolve(recipe.handle)
            if own(tensor, "is_quantized"):
                raise ProbeError(f"{name} is quantised: its stored integers are not its values")
            other = own(tensor, "detach")()[_slices(recipe.axes)].resolve_conj().resolve_neg()
            if other.device == view.device and _overlap(_extent(view), _extent(other)):
                raise ProbeError(f"{name} shares memory with what it would fill")
            other = other.to(view.device)
        elif view.numel():
            memory = torch.frombuffer(bytearray(recipe.data), dtype=torch.uint8)
            other = memory.view(getattr(torch, recipe.dtype)).to(view.device)
        else:
            other = torch.empty(view.shape, dtype=getattr(torch, recipe.dtype))
        other = other.reshape(view.shape)  # with its axes of a single index
        return other.flip(recipe.flipped) if recipe.flipped else other

    def _range(self, handle: int, axes: Axes) -> tuple[str, int, int]:
        view = self._view(handle, axes)
        return (str(view.device), *_extent(view))

    # Writing

    def _step(self, plan: Planned, kept: int) -> Step:
        """The step that a plan will be, if what was planned still holds; ``kept`` bytes are kept for others already."""
        name = self._attached().resolve(plan.handle)[0]
        before, old, new, nbytes = [], new_digest(), new_digest(), 0
        for was, becomes in self.blocks(plan.handle, plan.axes, plan.recipe):
            old.update(was)
            new.update(becomes)
            nbytes += was.nbytes
            before.append(bytes(was))
        if old.hexdigest() != plan.before:
            raise ProbeError(f"{name} has other values than when this edit was staged")
        if new.hexdigest() != plan.after:
            raise ProbeError(f"what {name} is filled from has other values than when this edit was staged")
        if kept + nbytes > MOST_NBYTES:
            raise ProbeError(f"the staged edits change more than {MOST_NBYTES >> 30} GiB together: apply fewer at once")
        return Step(name, plan.axes, tuple(before), plan.after, nbytes)

    def _write(self, plan: Planned) -> None:
        view, other, scalar = self._views(plan.handle, plan.axes, plan.recipe)
        for target, source in _boxes(view, other):
            with _writing():
                after = changed(target, plan.recipe, scalar, source)[0]
                plain_view(target).copy_(plain_view(after))


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """A block in which what torch raises is told as why something cannot be done."""
    try:
        yield
    except ODD as error:
        raise ProbeError(f"{what} cannot be worked out: {first_line(error)}") from error


@contextmanager
def _writing() -> Iterator[None]:
    """A block in which writes are counted by autograd and recorded by nothing."""
    with torch.inference_mode(False), Undisturbed(plain=True):
        yield


def _obstacle(tensor: Any) -> str | None:
    """Why a plain tensor that can be read cannot be written to."""
    if family_of(tensor) != "plain":
        return f"a {type(tensor).__name__} keeps its values in its own way"
    if stored_on(tensor, "_is_flat_param") or stored_on(tensor, "ds_shape") is not None:
        return "it is this rank's piece of sharded parameters"
    if own(tensor, "is_quantized"):
        return "it is quantised: its values follow from stored integers and a scale"
    if own(tensor, "is_inference")():
        return "it was made in inference mode and has no version counter, so autograd would not notice"
    if own(tensor, "is_conj")() or own(tensor, "is_neg")():
        return "it is a conjugated or negated view: edit the tensor that it is made from"
    if own(tensor, "dtype") not in _WRITABLE:
        return f"values of the type {str(own(tensor, 'dtype')).partition('.')[2]} are not written here"
    if own(tensor, "numel")() == 0:
        return None
    if not _is_without_overlap(tuple(own(tensor, "shape")), tuple(own(tensor, "stride")())):
        return "its elements share memory (an expanded or overlapping view), so one write would change several"
    if own(tensor, "device").type == "cpu":
        return why_not_writable(*_extent(tensor))
    return None


_WRITABLE = frozenset(
    found
    for name in (
        "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
        "float8_e5m2fnuz", "float8_e8m0fnu", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8",
        "bool", "complex128", "complex64", "complex32",
    )
    if (found := getattr(torch, name, None)) is not None
)  # fmt: skip


def _is_without_overlap(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether no two elements share an address, as can be seen from steps that each exceed all smaller ones."""
    reach = 0
    for axis in sorted(range(len(shape)), key=lambda axis: stride[axis]):
        if shape[axis] > 1:
            if stride[axis] <= reach:
                return False
            reach += stride[axis] * (shape[axis] - 1)
    return True


def _slices(axes: Axes) -> tuple[slice, ...]:
    return tuple(
        [slice(start, start + step * (length - 1) + 1 if length else start, step) for start, step, length in axes]
    )


def _extent(view: Any) -> tuple[int, int]:
    """The first address of a view with elements, and the one after its last; equal if it has none."""
    if not own(view, "numel")():
        return 0, 0
    reach = sum(map(lambda size, step: (size - 1) * step, own(view, "shape"), own(view, "stride")()))
    first = int(own(view, "data_ptr")())
    return first, first + (reach + 1) * own(view, "element_size")()


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _boxes(view: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Rectangles of a slice, and the same of what it is filled with, in row-major order."""
    numel = prod(view.shape)
    step = max(1, BLOCK_NBYTES // view.element_size())
    for start in range(0, numel, step):
        with _writing():
            targets = boxes_of(view, start, min(start + step, numel))
            sources = boxes_of(other, start, min(start + step, numel)) if other is not None else [None] * len(targets)
        yield from map(lambda target, source: (target, source), targets, sources)


def _restore(view: Any, blocks: Sequence[bytes]) -> None:
    for number, (target, _) in enumerate(_boxes(view, None)):
        with _writing():
            plain = plain_view(target)
            memory = torch.frombuffer(bytearray(blocks[number]), dtype=torch.uint8)
            plain.copy_(memory.view(plain.dtype).reshape(plain.shape))


def _digest(view: Any) -> str:
    found = new_digest()
    for target, _ in _boxes(view, None):
        with _writing():
            found.update(bytes_of(plain_view(target)))
    return str(found.hexdigest())


def new_digest() -> Any:
    """What the digests of bytes are made with."""
    return blake2b(digest_size=16)
