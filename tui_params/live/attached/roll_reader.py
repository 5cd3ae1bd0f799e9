"""The listing of a model of another process, from the columns that it sends: ``live.inside.roll``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import msgspec

from tui_params.core import dtypes
from tui_params.core.adapter_config import AdapterConfig
from tui_params.core.dtypes import DType
from tui_params.core.findings import Finding
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo, TensorKind, beyond_numpy
from tui_params.live.inside.description import Description
from tui_params.live.listing import KINDS, info_of

MAX_TENSORS = 4_000_000
"""The most tensors that are taken from another process."""

_GRADIENT = ".grad"
_COUNT = len(Description._fields)


class _Sort(msgspec.Struct, frozen=True):
    """What is the same for many tensors; ``layout`` is equal for those that are the same elements at one address."""

    head: tuple[Any, ...]
    tail: tuple[Any, ...]
    gradient: tuple[Any, ...] | None
    """That of their gradients, if they are trained."""

    layout: tuple[Any, ...]
    is_frozen: bool
    is_outside: bool


class Roll(msgspec.Struct, frozen=True):
    """The listing, and by the number of each tensor, its handle, where it lies in the memory of its process, if so."""

    listing: Listing
    handles: Mapping[str, int]
    """The numbers of all tensors, by their names."""

    addresses: list[int | None]


def read_roll(frames: Iterable[Mapping[str, Any]]) -> Roll:
    """What a process says of its tensors. Raises ValueError, TypeError, KeyError, IndexError if it makes no sense."""
    reader = _Reader()
    for frame in frames:
        reader.take(frame)
    return reader.finish()


class _Reader:
    def __init__(self) -> None:
        self._names: list[str] = []
        self._rows: list[int] = []
        self._addresses: list[int] = []
        self._sorts: list[_Sort] = []
        self._odd: dict[int, tuple[Description, int | None]] = {}
        self._modules: dict[str, str] = {}
        self._about: dict[str, Any] = {}

    def take(self, frame: Mapping[str, Any]) -> None:
        if "names" not in frame:
            self._modules |= frame.get("modules", {})
            self._about |= frame
            return
        for before, keys in frame["names"]:
            self._names += [before + key for key in keys] if before else keys
        self._rows += frame["rows"]
        self._addresses += frame["addresses"]
        self._sorts += [_sort(*row) for row in frame["sorts"]]
        for number, row, address in frame["odd"]:
            self._odd[number] = _description(row), address
        if not len(self._names) == len(self._rows) == len(self._addresses) <= MAX_TENSORS:
            raise ValueError(f"{len(self._names)} names of {len(self._rows)} tensors")
        if min(frame["rows"], default=0) < -1:
            raise ValueError("a tensor of no sort")

    def finish(self) -> Roll:
        names = self._names = _unique(self._names)
        ties = self._ties()
        tensors: list[TensorInfo] = []
        gradients: dict[str, TensorInfo] = {}
        absences: dict[str, str] = {}
        frozen = str(self._about["frozen"])
        places: list[int | None] = []
        for number, (name, row, address) in enumerate(zip(names, self._rows, self._addresses, strict=True)):
            if row < 0:
                description, place = self._odd[number]
                info = info_of(description._replace(name=name, identity=None), {})
                info = msgspec.structs.replace(info, tied_to=ties.get(number))
                places.append(place)
                if description.kind == "parameter" and description.requires_grad and not description.unreadable:
                    gradients[name] = msgspec.structs.replace(
                        info, name=f"{name}{_GRADIENT}", kind="gradient", tied_to=None, notes=(), stride=None
                    )
            else:
                sort = self._sorts[row]
                tied_to = ties.get(number)
                info = TensorInfo(*(name, *sort.head, tied_to, *sort.tail))
                places.append(address if sort.is_outside else None)
                if sort.gradient is not None:
                    gradients[name] = TensorInfo(f"{name}{_GRADIENT}", *sort.gradient)
                elif sort.is_frozen:
                    absences[name] = frozen
            tensors.append(info)
        handles = {name: number for number, name in enumerate(names)}
        return Roll(self._listing(tensors, gradients, absences), handles, places)

    def _listing(
        self, tensors: list[TensorInfo], gradients: dict[str, TensorInfo], absences: dict[str, str]
    ) -> Listing:
        about = self._about
        # Whether one has a gradient now is chance: each that is trained will have one at the end of a step.
        absences |= {name: reason for name, reason in about["absences"].items() if name not in gradients}
        return Listing(
            format="model of another process",
            tensors=tuple(tensors),
            metadata=dict(about["metadata"]),
            modules=self._modules,
            gradients=gradients,
            findings=tuple(Finding(severity, rule, None, evidence) for severity, rule, evidence in about["remarks"]),
            is_ordered=True,
            adapters=tuple(
                [
                    AdapterConfig("the model", f"{path}.", "", rank, alpha, name=name, scale=scale)
                    for path, name, rank, alpha, scale in about["adapters"]
                ]
            ),
            absences=absences,
        )

    def _ties(self) -> dict[int, str]:
        """By the number of a tensor, the first name of the same elements, if that is another one."""
        plain = len(self._rows) - len(self._odd)
        distinct = {address for address in self._addresses if address}
        if len(distinct) == plain and not self._odd:
            return {}
        first: dict[tuple[Any, ...] | str, str] = {}
        found: dict[int, str] = {}
        for number, (name, row, address) in enumerate(zip(self._names, self._rows, self._addresses, strict=True)):
            identity: tuple[Any, ...] | str | None
            if row >= 0:
                identity = (address, self._sorts[row].layout)
            else:
                description, place = self._odd[number]
                identity = description.identity
                if place is not None:
                    identity = (place, _layout(description.shape, description.stride, description.dtype, "cpu"))
            if identity is not None and first.setdefault(identity, name) != name:
                found[number] = first[identity]
        return found


def _sort(
    kind: str,
    notes: list[str],
    shape: list[int],
    stride: list[int] | None,
    dtype: str,
    device: str,
    requires_grad: bool | None,
    numel: int,
    nbytes: int,
    storage_nbytes: int | None,
) -> _Sort:
    """A sort as it came."""
    own_kind: TensorKind = KINDS.get(kind, "tensor")
    lengths = tuple(map(int, shape))
    steps = None if stride is None else tuple(map(int, stride))
    if numel != prod(lengths) or (steps is not None and len(steps) != len(lengths)):
        raise ValueError(f"a shape of {lengths} has not {numel} elements")
    known: DType | None = dtypes.from_torch(dtype)
    unreadable = None if known is not None else f"elements of the type {dtype} cannot be decoded here"
    unreadable = unreadable or beyond_numpy(len(lengths))
    decoded = known or dtypes.unknown(dtype)
    head = (lengths, decoded, numel, nbytes, own_kind, None, None, device, requires_grad)
    is_trained = own_kind == "parameter" and requires_grad is True
    return _Sort(
        head=head,
        tail=(steps, storage_nbytes, unreadable, tuple(map(str, notes))),
        gradient=(*head[:4], "gradient", *head[5:], None, None, storage_nbytes, unreadable) if is_trained else None,
        layout=_layout(lengths, steps, dtype, device),
        is_frozen=own_kind == "parameter" and not requires_grad,
        is_outside=device == "cpu" and numel > 0,
    )


def _layout(shape: tuple[int, ...], stride: tuple[int, ...] | None, dtype: str, device: str) -> tuple[Any, ...]:
    return shape, stride, dtype, device


def _description(row: list[Any]) -> Description:
    """A tensor that is described by itself, as it came: a list of the fields of Description."""
    if len(row) != _COUNT:
        raise ValueError(f"a tensor is described by {len(row)} values")
    found = Description(*row)
    shape = tuple(int(length) for length in found.shape)
    stride = None if found.stride is None else tuple(int(step) for step in found.stride)
    return found._replace(shape=shape, stride=stride, notes=tuple(map(str, found.notes)))


def _unique(names: list[str]) -> list[str]:
    """The names, and ``name#2`` where a flattened structure spells two places alike."""
    if len({*names}) == len(names):
        return names
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found
