"""Roll: all tensors of a model in columns, as a viewer is told of them and asks for them by their number.

Of most of 100,000 tensors there is little to say that is not the same for thousands of others: their kind, shape, type
and device are said once, and each has a number of these, an address and a key. So it is short in the memory of the
process that trains, which keeps one for all viewers as long as nothing has changed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from math import prod
from typing import Any, NamedTuple

import torch

from .absences import FROZEN, Ungraded, why_absent
from .anatomy import ODD, Body, first_line, needed_nbytes, own, text_of
from .bodies import bodies_of
from .description import Description, ProbeError, Severity
from .device_queue import QUEUES
from .leaves import Find, Leaf, Siblings, expanded, find_child, is_filled, requires_grad_of
from .marks import body_of_leaf
from .memory import Undisturbed
from .model import ModelProbe, views_of
from .optimizers import Trained, changed_by, remarks_on
from .probe import repeating

BATCH = 2_000
"""Tensors that are asked at once, and that are described in one frame: no question holds the GIL for a millisecond."""

MODULES_PER_FRAME = 20_000
_NO_SORT = 0xFFFFFFFF


class Sort(NamedTuple):
    """What is the same for many tensors. ``dtype`` is torch's name, ``stride`` None of a contiguous tensor."""

    kind: str
    notes: tuple[str, ...]
    shape: tuple[int, ...]
    stride: tuple[int, ...] | None
    dtype: str
    device: str
    requires_grad: bool | None
    numel: int
    nbytes: int
    storage_nbytes: int | None

    @property
    def is_outside(self) -> bool:
        """Whether the elements lie as they are in memory that can be read from outside."""
        return self.device == "cpu" and self.numel > 0


class Asked(NamedTuple):
    """One tensor of a roll: how it is found, and what it was when it was listed."""

    find: Find
    shape: tuple[int, ...]
    stride: tuple[int, ...] | None
    dtype: str
    nbytes: int
    is_outside: bool


class Odd(NamedTuple):
    """A tensor that is described by itself, and how it is found."""

    description: Description
    find: Find


class Roll:
    """The tensors of a model. The number of a tensor is its handle; they are in the order of the model."""

    def __init__(self) -> None:
        # Of tensors that one mapping holds: the number of the first, and what there is in Siblings.
        self._starts: list[int] = []
        self._befores: list[str] = []
        self._finds: list[Find] = []
        self._all_keys: list[tuple[Any, ...]] = []

        self._odd: dict[int, Odd] = {}
        self._sorts: list[Sort] = []
        self._numbers: dict[tuple[Any, ...], dict[tuple[Any, ...], int]] = {}
        self._rows = array("I")
        self._addresses = array("Q")
        self._ids = array("Q")
        self._keys: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self.about: dict[str, Any] = {}
        """What else a viewer is told: metadata, remarks, absences, adapters."""

        self.modules: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def is_as(self, other: Roll) -> bool:
        """Whether it says the same as another, of the same objects in the same memory."""
        mine, theirs = (
            [each._ids, each._addresses, each._rows, each._sorts, each._starts, each._befores, each._all_keys]
            for each in (self, other)
        )
        descriptions, others = ([odd.description for odd in each._odd.values()] for each in (self, other))
        return mine == theirs and descriptions == others and (self.modules, self.about) == (other.modules, other.about)

    def add(self, held: Siblings, rows: Iterable[tuple[Any, ...]], addresses: list[int]) -> None:
        """Add ordinary tensors, with the ``rows`` of ``Bodies`` and the addresses."""
        self._start(held.before, held.find, held.keys)
        numbers = self._numbers.setdefault((held.kind, held.notes), {})
        for row in rows:
            number = numbers.get(row)
            if number is None:
                number = self._new_sort(held.kind, held.notes, row)
                numbers[(tuple(row[0]), *row[1:])] = number
            self._rows.append(number)
        self._addresses.extend(addresses)
        self._ids.extend(map(id, held.tensors))

    def add_odd(self, description: Description, find: Find, tensor: Any) -> None:
        """Add a tensor that is described by itself."""
        number = len(self)
        self._start(description.name, find, ("",))
        self._odd[number] = Odd(description._replace(handle=number), find)
        self._rows.append(_NO_SORT)
        self._addresses.append(0)
        self._ids.append(id(tensor))

    def _start(self, before: str, find: Find, keys: tuple[Any, ...]) -> None:
        self._starts.append(len(self))
        self._befores.append(before)
        self._finds.append(find)
        self._all_keys.append(self._keys.setdefault(keys, keys))

    def _new_sort(self, kind: str, notes: tuple[str, ...], row: tuple[Any, ...]) -> int:
        shape, stride, dtype, device, requires_grad, spare = row
        numel, itemsize = prod(shape), dtype.itemsize
        if spare is not None and spare < numel * itemsize:
            notes = (*notes, repeating(spare))
            spare = None
        name, place = text_of(dtype).removeprefix("torch."), text_of(device)
        flag = requires_grad if requires_grad or kind == "parameter" else None
        self._sorts.append(Sort(kind, notes, tuple(shape), stride, name, place, flag, numel, numel * itemsize, spare))
        return len(self._sorts) - 1

    def finish(self) -> None:
        """Nothing is added any more: let go of what only that needs."""
        self._numbers, self._keys = {}, {}

    def ids(self) -> Any:
        """The ids of all tensors as objects."""
        return self._ids

    def ask(self, number: Any) -> Asked | None:
        """What is known of a tensor; None if there is none of that number, or none that could be read."""
        if type(number) is not int or not 0 <= number < len(self):
            return None
        odd = self._odd.get(number)
        if odd is None:
            sort, place = self._sorts[self._rows[number]], bisect_right(self._starts, number) - 1
            find = partial(find_child, self._finds[place], self._all_keys[place][number - self._starts[place]])
            return Asked(find, sort.shape, sort.stride, sort.dtype, sort.nbytes, sort.is_outside)
        description = odd.description
        if description.unreadable:
            return None
        # What is made anew at each look, or is an object of another kind, has another identity.
        is_outside = description.device == "cpu" and (description.identity or "").startswith("(")
        is_outside = is_outside and description.numel > 0
        shape, stride = description.shape, description.stride
        return Asked(odd.find, shape, stride, description.dtype, description.nbytes, is_outside)

    def address(self, number: int) -> int | None:
        """Where the first element of a tensor lies now, if it lies there as it was listed."""
        asked = self.ask(number)
        return None if asked is None else address_now(asked)

    def frames(self) -> Iterator[dict[str, Any]]:
        """All of it as plain data, in pieces.

        ``copied_from`` are the types of devices whose tensors are copied when they are asked for; ``names`` are what
        precedes the names, and the keys; ``sorts`` are those that ``rows`` speaks of for the first time, -1 is a tensor
        of ``odd``: its number, its description and its address.
        """
        sent = 0
        for first, stop in self._pieces():
            rows = [-1 if number == _NO_SORT else number for number in self._rows[first:stop]]
            end = max(sent, max(rows, default=-1) + 1)
            yield {
                "copied_from": sorted(QUEUES),
                "names": list(self._names(first, stop)),
                "sorts": [list(sort) for sort in self._sorts[sent:end]],
                "rows": rows,
                "addresses": self._addresses[first:stop].tolist(),
                "odd": [
                    [number, list(self._odd[number].description), self.address(number)]
                    for number in range(first, stop)
                    if number in self._odd
                ],
            }
            sent = end
        modules = list(self.modules.items())
        for first in range(0, len(modules), MODULES_PER_FRAME):
            yield {"modules": dict(modules[first : first + MODULES_PER_FRAME])}
        yield self.about

    def _pieces(self) -> Iterator[tuple[int, int]]:
        return ((first, min(first + BATCH, len(self))) for first in range(0, len(self), BATCH))

    def _names(self, first: int, stop: int) -> Iterator[tuple[str, list[str]]]:
        place = bisect_right(self._starts, first) - 1
        while place < len(self._starts) and self._starts[place] < stop:
            start = self._starts[place]
            keys = self._all_keys[place][max(first - start, 0) : stop - start]
            yield self._befores[place], [str(key) for key in keys]
            place += 1


def address_now(asked: Asked) -> int | None:
    """Where the first element of a tensor lies now; None if it is not as it was listed, or cannot be read there."""
    if not asked.is_outside:
        return None
    try:
        with Undisturbed(plain=False):
            tensor = asked.find()
            is_same = tuple(own(tensor, "shape")) == asked.shape
            if not is_same or str(own(tensor, "dtype")) != f"torch.{asked.dtype}":
                return None
            if own(tensor, "is_conj")() or own(tensor, "is_neg")() or own(tensor, "layout") != torch.strided:
                return None
            stride = None if own(tensor, "is_contiguous")() else tuple(own(tensor, "stride")())
            if stride != asked.stride or own(tensor, "untyped_storage")().nbytes() < needed_nbytes(tensor):
                return None
            address: int = own(tensor, "data_ptr")()
            return address or None
    except ODD:
        return None


class ServedProbe(ModelProbe):
    """The probe of a model that trains on another thread: it makes rolls, and looks at no gradient."""

    looks_at_gradients = False

    def enroll(self) -> Roll:
        """All tensors as they are now. Raises ProbeError."""
        self._places, self._names = [], {}
        self.names_owners = bool(self._optimizers)
        try:
            with self._lock, Undisturbed(plain=False):
                return _Enrolment(self).run()
        except ODD as error:
            raise ProbeError(f"it could not be walked: {first_line(error)}") from error
        finally:
            self._unpacker.clear()
            self._places, self._owners, self._entered, self._copies = [], {}, {}, set()

    def _unique(self, name: str) -> str:
        # The viewer sees to it, who has all names.
        return name


class _Enrolment:
    """The making of one roll."""

    def __init__(self, probe: ServedProbe) -> None:
        self._probe, self._roll = probe, Roll()
        self._batch: list[Siblings] = []
        self._count = 0
        self._changed: dict[int, Any] | None = None
        """The parameters that the optimizer changes, by their ids; None before that is known."""

        self._left: dict[int, Trained] = {}
        self._seen: set[int] = set()
        self._ungraded: list[Ungraded] = []
        self._views: set[tuple[int, str]] = set()

    def run(self) -> Roll:
        for each in self._probe._groups():
            if self._changed is None:
                self._changed = changed_by(self._probe._held)
            if type(each) is not Siblings:
                self._flush()
                self._add_leaf(each)  # type: ignore[arg-type]
                continue
            for part in (each,) if len(each.keys) <= BATCH else each.parts(BATCH):
                self._batch.append(part)
                self._count += len(part.keys)
                if self._count >= BATCH:
                    self._flush()
        self._flush()
        return self._told()

    def _told(self) -> Roll:
        probe, roll = self._probe, self._roll
        remarks: list[tuple[Severity, str, str]] = []
        left = list(self._left.values())
        remarks += remarks_on(probe._held, self._changed or {}, left, len(self._seen))
        remarks += probe._remarks_on_modules(roll.ids(), self._views)
        roll.modules = probe._modules
        roll.about = {
            "metadata": probe._all_metadata(),
            "remarks": [list(remark) for remark in remarks],
            "frozen": FROZEN,
            "absences": dict(why_absent(self._ungraded, probe._held, has_any=False)) if self._ungraded else {},
            "adapters": [list(adapter) for adapter in probe._adapters_found()],
        }
        roll.finish()
        return roll

    def _flush(self) -> None:
        batch, self._batch, self._count = self._batch, [], 0
        tensors = [tensor for each in batch for tensor in each.tensors]
        if not tensors:
            return
        bodies = bodies_of(tensors)
        if bodies is None:
            for leaf in expanded(batch):
                self._add_leaf(leaf)
            return
        rows, start = bodies.rows(), 0
        for each in batch:
            stop = start + len(each.keys)
            self._roll.add(each, islice(rows, stop - start), bodies.addresses[start:stop])
            if each.kind == "parameter" and self._changed and not each.is_copy:
                flags, shapes = bodies.requires_grad[start:stop], bodies.shapes[start:stop]
                for key, tensor, is_trained, shape in zip(each.keys, each.tensors, flags, shapes):
                    if is_trained and 0 not in shape:
                        self._note_trained(f"{each.before}{key}", tensor)
            start = stop

    def _note_trained(self, name: str, tensor: Any) -> None:
        if id(tensor) in (self._changed or ()):
            self._seen.add(id(tensor))
        else:
            self._left.setdefault(id(tensor), Trained(name, tensor, False))

    def _add_leaf(self, leaf: Leaf) -> None:
        self._views.update(views_of(leaf.tensor))
        is_trained, is_copy = requires_grad_of(leaf) is True, leaf.name in self._probe._copies
        if leaf.kind == "parameter" and is_trained and not is_copy and is_filled(leaf.tensor):
            self._note_trained(leaf.name, leaf.tensor)
        body = body_of_leaf(leaf)
        # Of what is conjugated or negated when it is looked at, the elements are not what lies in memory.
        if body is not None and not leaf.ending and not any(body.layout[4]) and (not body.numel or body.layout[-1]):
            self._add_body(leaf, body)
            return
        if leaf.kind == "parameter":
            self._ungraded.append(Ungraded(leaf.name, leaf.tensor, is_trained, is_copy))
        for description in self._probe._describe_parts(leaf):
            find = self._probe._places[-1].find
            self._roll.add_odd(description, find, leaf.tensor)

    def _add_body(self, leaf: Leaf, body: Body) -> None:
        tensor = leaf.tensor
        spare = None if not body.numel or body.storage_nbytes == body.nbytes else body.storage_nbytes
        row = (
            body.shape,
            body.stride,
            own(tensor, "dtype"),
            own(tensor, "device"),
            own(tensor, "requires_grad"),
            spare,
        )
        address = body.layout[-1] if body.numel else id(tensor)
        only = Siblings(leaf.name, leaf.kind, partial(_only, leaf.find), ("",), (tensor,), leaf.notes)
        self._roll.add(only, [row], [address])


def _only(find: Find) -> dict[str, Any]:
    """A tensor as the only one of a mapping."""
    return {"": find()}
