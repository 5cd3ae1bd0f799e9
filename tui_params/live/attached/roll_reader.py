"""The listing of a model of another process, from the columns that it sends: ``live.inside.roll``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tui_params.core import dtypes
from tui_params.core.adapter_config import AdapterConfig
from tui_params.core.dtypes import DType
from tui_params.core.findings import Finding
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo, TensorKind, beyond_numpy
from tui_params.core.text import clean
from tui_params.live.attached.replies import (
    MAX_TENSORS,
    About,
    Columns,
    Modules,
    OddRow,
    SortRow,
    not_understood,
    understood,
)
from tui_params.live.inside.description import Description
from tui_params.live.listing import KINDS, info_of

MAX_FRAMES = 100_000
"""The most frames that a list is taken from: most have 2,000 tensors, and a stream of empty ones has an end."""

_GRADIENT = ".grad"


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
    """What a process says of its tensors. Raises ReadError, also if it makes no sense."""
    reader = _Reader()
    for count, frame in enumerate(frames, 1):
        if count > MAX_FRAMES:
            raise not_understood(f"a list of more than {MAX_FRAMES:,} parts")
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
        self._about: About | None = None

    def take(self, frame: Mapping[str, Any]) -> None:
        if "modules" in frame:
            self._modules |= understood(frame, Modules).modules
        elif "metadata" in frame:
            self._about = understood(frame, About)
        elif "names" in frame:
            self._take_columns(understood(frame, Columns))

    def _take_columns(self, frame: Columns) -> None:
        for before, keys in frame.names:
            self._names += [before + key for key in keys] if before else keys
        self._rows += frame.rows
        self._addresses += frame.addresses
        reached = "cpu", *frame.copied_from
        self._sorts += [_sort(row, reached) for row in frame.sorts]
        for number, row, address in frame.odd:
            self._odd[number] = _description(row, reached), address
        if not len(self._names) == len(self._rows) == len(self._addresses):
            counts = f"{len(self._names):,} names, {len(self._rows):,} tensors, {len(self._addresses):,} addresses"
            raise not_understood(counts)
        if len(self._rows) > MAX_TENSORS:
            raise not_understood(f"more than {MAX_TENSORS:,} tensors")
        if max(frame.rows, default=-1) >= len(self._sorts):
            raise not_understood("a tensor of no sort")

    def finish(self) -> Roll:
        if self._about is None:
            raise not_understood("a list without an end")
        if any(row < 0 and number not in self._odd for number, row in enumerate(self._rows)):
            raise not_understood("a tensor without a description")
        names = self._names = _unique(self._names)
        ties = self._ties()
        tensors: list[TensorInfo] = []
        gradients: dict[str, TensorInfo] = {}
        absences: dict[str, str] = {}
        frozen = self._about.frozen
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
        return Roll(self._listing(self._about, tensors, gradients, absences), handles, places)

    def _listing(
        self, about: About, tensors: list[TensorInfo], gradients: dict[str, TensorInfo], absences: dict[str, str]
    ) -> Listing:
        # Whether one has a gradient now is chance: each that is trained will have one at the end of a step.
        absences |= {name: reason for name, reason in about.absences.items() if name not in gradients}
        return Listing(
            format="model of another process",
            tensors=tuple(tensors),
            metadata=about.metadata,
            modules=self._modules,
            gradients=gradients,
            findings=tuple(Finding(severity, rule, None, evidence) for severity, rule, evidence in about.remarks),
            is_ordered=True,
            adapters=tuple(
                [
                    AdapterConfig("the model", f"{path}.", "", rank, alpha, name=name, scale=scale)
                    for path, name, rank, alpha, scale in about.adapters
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


def _sort(row: SortRow, reached: Sequence[str]) -> _Sort:
    """A sort as it came. Raises ReadError."""
    kind: TensorKind = KINDS.get(row.kind, "tensor")
    shape, stride = tuple(row.shape), None if row.stride is None else tuple(row.stride)
    known: DType | None = dtypes.from_torch(row.dtype)
    decoded = known or dtypes.unknown(row.dtype)
    fault = _fault(shape, stride, decoded, row.numel, row.nbytes)
    if fault is not None:
        raise not_understood(fault)
    unreadable = None if known is not None else f"elements of the type {row.dtype} cannot be decoded here"
    unreadable = unreadable or beyond_numpy(len(shape)) or _elsewhere(row.device, reached)
    head = (shape, decoded, row.numel, row.nbytes, kind, None, None, row.device, row.requires_grad)
    is_trained = kind == "parameter" and row.requires_grad is True
    return _Sort(
        head=head,
        tail=(stride, row.storage_nbytes, unreadable, tuple(row.notes)),
        gradient=(*head[:4], "gradient", *head[5:], None, None, row.storage_nbytes, unreadable) if is_trained else None,
        layout=_layout(shape, stride, row.dtype, row.device),
        is_frozen=kind == "parameter" and not row.requires_grad,
        is_outside=row.device == "cpu" and row.numel > 0,
    )


def _elsewhere(device: str | None, reached: Sequence[str]) -> str | None:
    """Why what lies on a device is not read; None if it is."""
    if device is None or device.partition(":")[0] in reached:
        return None
    return f"it lies on {clean(device, 40)}, from where nothing is copied by the process"


def _fault(shape: tuple[int, ...], stride: tuple[int, ...] | None, dtype: DType, numel: int, nbytes: int) -> str | None:
    """What is wrong with what is said of a tensor, which would be believed when it is read; None if nothing is."""
    if numel != _numel(shape):
        return f"a shape of {len(shape)} dimensions that has not {numel:,} elements"
    if dtype.is_sized and dtype.nbytes(numel) != nbytes:
        return f"{numel:,} elements of {dtype.name} that take {nbytes:,} bytes"
    if stride is not None and len(stride) != len(shape):
        return f"a shape of {len(shape)} dimensions with {len(stride)} strides"
    return None


def _numel(shape: tuple[int, ...]) -> int:
    """The product of the lengths; of more elements than a machine can count, no number that it would say."""
    found = 0 if 0 in shape else 1
    for length in shape if found else ():
        found *= length
        if found >> 63:
            return -1
    return found


def _layout(shape: tuple[int, ...], stride: tuple[int, ...] | None, dtype: str, device: str) -> tuple[Any, ...]:
    return shape, stride, dtype, device


def _description(row: OddRow, reached: Sequence[str]) -> Description:
    """A tensor that is described by itself, as it came."""
    shape, stride = tuple(row.shape), None if row.stride is None else tuple(row.stride)
    dtype = dtypes.from_torch(row.dtype) or dtypes.unknown(row.dtype)
    unreadable = (
        row.unreadable or _fault(shape, stride, dtype, row.numel, row.nbytes) or _elsewhere(row.device, reached)
    )
    fields = msgspec.structs.asdict(row) | {"shape": shape, "stride": stride, "notes": tuple(row.notes)}
    return Description(**fields | {"unreadable": unreadable})


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
