"""Turns a pickle's unchecked description of a tensor into a checked TensorInfo and the place of its elements.

Nothing in a pickle is trusted: shapes, strides and offsets are compared with the bytes that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import msgspec

from tui_params.core.dtypes import DType, from_torch, unknown
from tui_params.core.findings import Finding
from tui_params.core.reading.extent import Extent
from tui_params.core.tensor import MAX_LISTED_NDIM, MAX_NDIM, TensorInfo, TensorKind, beyond_numpy
from tui_params.core.text import are, clean, plural
from tui_params.sources.bytes.held import Held
from tui_params.sources.inert_pickle.values import Storage, Stub, TensorValue, Unread, render

MAX_NUMBER = (1 << 62) - 1
MAX_TENSORS = 500_000
MAX_FINDINGS = 50

# torch/storage.py, ``_dtype_to_storage_type_map``; newer types have an UntypedStorage and name their dtype.
_STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
}
# Types of torch that hold several values in a byte. They are listed, but not decoded here.
_BYTE_WIDE = {"QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4"}


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where the bytes of a storage lie: ``nbytes`` from ``offset`` on, or the reason why they cannot be read."""

    offset: int | None
    nbytes: int
    unreadable: str | None = None
    is_faulty: bool = False


class MalformedTensorError(ValueError):
    """A description that cannot be that of a tensor; the message completes "a tensor that ..."."""


def storage_item_size(cls: Any) -> int | None:
    """Bytes of one element of a storage class, or None for a class that is not known."""
    name = cls.name if type(cls) is Stub else None
    if name == "UntypedStorage" or name in _BYTE_WIDE:
        return 1
    dtype = from_torch(_STORAGE_DTYPES.get(name or "", ""))
    return None if dtype is None else dtype.itemsize


class TensorLister:
    """The tensors of one file, in the order in which they were added.

    ``locate`` returns the Place of a storage by its key; ``embedded`` returns the storage that is pickled inside a
    value, or None. ``place_of`` returns the byte of the file from which on a byte string of the pickle lies as it is,
    or None. If ``is_big_endian``, elements of more than one byte are refused. With ``is_exact``, torch
    refuses a storage that has more bytes in the file than it claims.

    ``held`` are the bytes of arrays that lie nowhere in the file as they are.
    """

    def __init__(
        self,
        file: str,
        locate: Callable[[str], Place],
        *,
        is_big_endian: bool = False,
        is_exact: bool = False,
        embedded: Callable[[Any], Storage | None] = lambda _: None,
        place_of: Callable[[object], int | None] = lambda _: None,
    ) -> None:
        self.file = file
        self.place_of = place_of
        self.held: dict[str, Held] = {}
        self.held_nbytes = 0
        self._decoded: dict[int, bytes | None] = {}
        self.tensors: list[TensorInfo] = []
        self.extents: dict[str, Extent] = {}
        self.findings: list[Finding] = []
        self.dropped_findings = 0
        self._locate = locate
        self.embedded = embedded
        self._is_big_endian = is_big_endian
        self._is_exact = is_exact
        self._places: dict[str, Place] = {}
        self._claims: dict[str, int] = {}
        self._first: dict[tuple[Any, ...], str] = {}
        self._types: dict[Any, tuple[DType, int, bool]] = {}
        self._devices: dict[str, str] = {}
        self._widths: dict[int, int] = {}

    def add(
        self,
        name: str,
        value: TensorValue,
        kind: TensorKind = "tensor",
        requires_grad: Any = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        """Describe ``value`` under ``name``, which must be new. Raises MalformedTensorError."""
        storage = value.storage
        if type(storage) is not Storage:
            storage = self.embedded(storage)
            if storage is None:
                raise MalformedTensorError("has no storage")
        dtype, item, is_fp4 = self._dtype_of(storage.cls, value.dtype)
        shape = numbers_of(value.shape, "shape", MAX_LISTED_NDIM)
        stride = None if value.stride is None else numbers_of(value.stride, "stride", MAX_LISTED_NDIM)
        offset = value.offset
        if type(offset) is not int or not 0 <= offset <= MAX_NUMBER:
            raise MalformedTensorError("has a malformed storage offset")
        if stride is not None and len(stride) != len(shape):
            raise MalformedTensorError(f"has {len(shape)} dimensions and {len(stride)} strides")
        numel = prod(shape)
        if numel * max(item, 1) > MAX_NUMBER or (not numel and prod(filter(None, shape)) > MAX_NUMBER):
            raise MalformedTensorError("has a shape whose product overflows")
        last = offset
        if numel == 0:
            stride = None
        elif stride is not None:
            expected, is_contiguous = 1, True
            for length, step in zip(reversed(shape), reversed(stride), strict=True):
                if length != 1:
                    is_contiguous = is_contiguous and step == expected
                    expected *= length
                    last += (length - 1) * step
            if is_contiguous:
                stride = None
        else:
            last += numel - 1
        if requires_grad is None:
            requires_grad = value.requires_grad
        if requires_grad is True and dtype.kind in ("int", "bool"):
            raise MalformedTensorError(f"requires a gradient and holds {dtype.name}, which torch refuses")
        place, begin, room = self._storage(storage, item)
        needed = (last + 1) * item if numel else 0
        unreadable, is_faulty = place.unreadable, place.is_faulty
        if unreadable is None and (
            room > place.nbytes or needed > room or self._is_big_endian or dtype.kind == "unknown"
        ):
            unreadable, is_faulty = self._refusal(place, room, dtype, item, needed)
        unreadable = unreadable or beyond_numpy(len(shape))
        if is_fp4:
            # Two values a byte, the first in the low half: sizes and strides in torch count pairs.
            shape, stride = _unpair(shape, stride)
            numel = prod(shape)
        is_conj = is_neg = False
        if type(value.flags) is dict:
            is_conj, is_neg = value.flags.get("conj") is True, value.flags.get("neg") is True
            notes += ("conjugated when read",) * is_conj + ("negated when read",) * is_neg
        tied_to = None
        if storage.key is not None and numel:
            # The same bytes have other values where they are yet to be conjugated or negated.
            what = (dtype.name, is_conj, is_neg)
            identity = (storage.key, storage.view is not None and begin, offset, shape, stride, what)
            tied_to = self.first_of(identity, name)
        nbytes = dtype.nbytes(numel)
        where = None if unreadable is not None or begin is None else begin + offset * item
        info = TensorInfo(
            name,
            shape,
            dtype,
            numel,
            nbytes,
            kind,
            self.file if storage.key is not None else None,
            where,
            self._device(storage.location),
            requires_grad if type(requires_grad) is bool else None,
            tied_to,
            stride,
            room if room > nbytes else None,
            unreadable,
            notes,
        )
        self.tensors.append(info)
        if where is not None and begin is not None and (stride is not None or is_conj or is_neg):
            self.extents[name] = Extent(self.file, where, begin, begin + room, stride, is_conj, is_neg)
        if self._is_exact and room < place.nbytes and unreadable is None:
            evidence = (
                f"its storage claims {plural(room, 'byte')}, and has {place.nbytes:,} in the file: torch refuses it"
            )
            self.report(Finding("error", "storage-bounds", name, evidence))
        if is_faulty and unreadable is not None:
            self.report(Finding("error", "storage-bounds", name, unreadable))

    def add_storage(self, name: str, storage: Storage) -> None:
        """A storage that was saved by itself, as a tensor of one dimension. Raises MalformedTensorError."""
        numel = storage.numel
        if type(storage.view) is tuple and len(storage.view) == 3:
            numel = storage.view[2]
        dtype = Stub("torch", "uint8") if storage_item_size(storage.cls) == 1 else None
        self.add(name, TensorValue(storage, 0, (numel,), (1,), None, dtype), notes=("a storage saved by itself",))

    def add_unlisted(self, storages: Iterable[Storage]) -> None:
        """Report those of ``storages`` that no tensor listed here is of, and that are not whole in the file.

        The mesh of a DTensor has such a storage. torch reads it all the same, and refuses the file without it.
        """
        for storage in storages:
            key = storage.key
            if key is None or (type(key) is str and key in self._places):
                continue
            try:
                place, _, room = self._storage(storage, 0)
            except MalformedTensorError as error:
                self.report(Finding("error", "storage-bounds", None, f"what no tensor shown here is of {error}"))
                continue
            if place.unreadable is not None and not place.is_faulty:
                evidence = f"what no tensor shown here is of: {place.unreadable}"
                self.report(Finding("warning", "storage-bounds", None, evidence))
                continue
            fault = place.unreadable
            if fault is None and (room > place.nbytes or (self._is_exact and room < place.nbytes)):
                claims = f"claims {plural(room, 'byte')}, and {place.nbytes:,} {are(place.nbytes)} in the file"
                fault = f"its storage {claims}"
            if fault is not None:
                evidence = f"what no tensor shown here is of: {fault}, so torch refuses the file"
                self.report(Finding("error", "storage-bounds", None, evidence))

    def add_unread(self, name: str, value: Unread, notes: tuple[str, ...] = ()) -> None:
        """List what cannot be read under ``name``, which must be new; if the file is to blame, with an error."""
        info = TensorInfo(name, (), unknown("?"), 0, 0, file=self.file, unreadable=value.reason, notes=notes)
        self.tensors.append(info)
        if value.is_faulty:
            self.report(Finding("error", "malformed-tensor", name, value.reason))

    def first_of(self, identity: tuple[Any, ...], name: str) -> str | None:
        """The name of the first tensor with the same elements; None if that is ``name`` itself."""
        first = self._first.setdefault(identity, name)
        return None if first is name else first

    def decoded(self, text: str) -> bytes | None:
        """The bytes that a latin-1 text stands for, decoded once for each text object; None if it stands for none."""
        if id(text) not in self._decoded:
            try:
                self._decoded[id(text)] = text.encode("latin-1")
            except UnicodeEncodeError:
                self._decoded[id(text)] = None
        return self._decoded[id(text)]

    def report(self, finding: Finding) -> None:
        """Keep a finding, unless there are many already."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.dropped_findings += 1

    def _dtype_of(self, cls: Any, named: Any) -> tuple[DType, int, bool]:
        """The element type, the bytes of one stored element, and whether it holds two float4 values."""
        key = (id(cls), id(named))
        known = self._types.get(key)
        if known is None:
            name = named.name if type(named) is Stub else render(named) if named is not None else None
            if name is None:
                raw = cls.name if type(cls) is Stub else ""
                name = _STORAGE_DTYPES.get(raw) or _BYTE_WIDE.get(raw) or clean(raw.removesuffix("Storage"), 40)
            name = name.removeprefix("torch.")
            if name == "float4_e2m1fn_x2":
                float4 = from_torch("float4_e2m1fn")
                known = (float4 or unknown(name), 1, True)
            else:
                dtype = from_torch(name) or unknown(clean(name, 40) or "unknown")
                known = (dtype, dtype.itemsize or storage_item_size(cls) or 0, False)
            self._types[key] = known
        return known

    def _storage(self, storage: Storage, item: int) -> tuple[Place, int | None, int]:
        """The place of the storage, the byte where the part in use starts, and how many bytes that part claims."""
        key = storage.key
        if key is None:
            return _META if storage.location == "meta" else _ELSEWHERE, None, 0
        if type(key) is not str:
            raise MalformedTensorError("has a malformed storage key")
        numel = storage.numel
        if type(numel) is not int or not 0 <= numel <= MAX_NUMBER:
            raise MalformedTensorError("has a storage of malformed size")
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._locate(key)
        width = self._widths.get(id(storage.cls))
        if width is None:
            width = self._widths[id(storage.cls)] = storage_item_size(storage.cls) or item
        begin, room = place.offset, numel * width
        if self._claims.setdefault(key, room) != room:
            said, first = plural(room, "byte"), self._claims[key]
            evidence = f"its storage is said to have {said}, and {first:,} by the first tensor of it"
            self.report(Finding("error", "storage-bounds", None, f"storage {clean(key, 60)}: {evidence}"))
        view = storage.view
        if type(view) is tuple and len(view) == 3 and begin is not None:
            # Legacy files: (view key, offset, numel) of a part of the root storage.
            if type(view[1]) is not int or type(view[2]) is not int or not 0 <= view[1] <= view[1] + view[2] <= numel:
                raise MalformedTensorError("is a view outside its storage")
            begin, room = begin + view[1] * width, view[2] * width
        return place, begin, room

    def _refusal(self, place: Place, room: int, dtype: DType, item: int, needed: int) -> tuple[str | None, bool]:
        """Why the values cannot be read, and whether that is a fault of the file; (None, False) if they can."""
        if room > place.nbytes:
            return (
                f"its storage claims {plural(room, 'byte')}, and {place.nbytes:,} {are(place.nbytes)} in the file",
                True,
            )
        if needed > room:
            return f"its last element ends at byte {needed:,} of a storage of {room:,}", True
        if dtype.kind == "unknown":
            return f"elements of type {dtype.name} cannot be decoded here", False
        if self._is_big_endian and item > 1:
            return "its bytes are in big-endian order, which is not read here", False
        return None, False

    def _device(self, location: Any) -> str | None:
        if type(location) is not str:
            return None
        known = self._devices.get(location)
        if known is None:
            known = self._devices[location] = clean(location, 40)
        return known


_META = Place(None, 0, "a meta tensor: it has a shape and no values")
_ELSEWHERE = Place(None, 0, "its values are inside the pickle, where they are not read")


def numbers_of(value: Any, what: str, most: int = MAX_NDIM) -> tuple[int, ...]:
    """The sizes of dimensions, or their strides. Raises MalformedTensorError, which calls them ``what``."""
    if type(value) is list:
        value = tuple(value[: most + 1])
    if type(value) is not tuple:
        raise MalformedTensorError(f"has a malformed {what}")
    numbers: tuple[int, ...] = value
    if len(numbers) > most:
        raise MalformedTensorError(f"has a {what} of more than {most:,} dimensions")
    for number in numbers:
        if type(number) is not int or not 0 <= number <= MAX_NUMBER:
            raise MalformedTensorError(f"has a malformed {what}")
    return numbers


def _unpair(shape: tuple[int, ...], stride: tuple[int, ...] | None) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Shape and stride in single float4 values."""
    if not shape:
        return (2,), None
    if stride is not None:
        if stride[-1] != 1 and shape[-1] != 1:
            raise MalformedTensorError("has float4 pairs that do not lie side by side")
        stride = (*(2 * step for step in stride[:-1]), 1)
    return (*shape[:-1], 2 * shape[-1]), stride
