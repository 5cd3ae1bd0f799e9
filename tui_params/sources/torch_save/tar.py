"""The tar that torch.save wrote before 0.2: ``sys_info``, ``pickle``, ``storages`` and ``tensors``.

torch/serialization.py, ``legacy_load``: ``storages`` has a pickle (key, location, class) before the elements of each,
and then the list of views; ``tensors`` a pickle (key, storage, class) before the sizes, strides and offset of each. The
ids in ``pickle`` are the keys of both.
"""

from __future__ import annotations

from struct import error, unpack_from
from typing import Any

from tui_params.core.findings import Finding
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.local import DataFile, Descriptor, read_bytes
from tui_params.sources.inert_pickle.machine import MAX_OPERATIONS, MAX_PICKLE_BYTES, PickleEndsError, PickleMachine
from tui_params.sources.inert_pickle.values import Storage, TensorValue, render
from tui_params.sources.torch_save.layout import MAX_NUMBER, MAX_TENSORS, Place, storage_item_size
from tui_params.sources.torch_save.listing import list_pickles

MEMBERS = ("sys_info", "pickle", "storages", "tensors")
_MAX_HEADERS = 10_000
_MAX_NDIM = 1_000
_FIRST_READ = 1 << 10
_MAX_INNER = 1 << 20
"""Bytes that a pickle between the elements may take; those of torch take some hundred."""

_MAX_KEPT = 1_000
"""Such pickles that are kept, because there is something to say about them."""

_BLOCK = 512


def open_tar(descriptor: Descriptor, file: DataFile) -> ExtentSource:
    """The tensors of a tar of torch 0.1. Raises OpenError, OSError."""
    members = _read_members(descriptor, file)
    absent = [name for name in MEMBERS[1:] if name not in members]
    if absent:
        raise OpenError(
            f"{clean(file.name, 120)} is a tar of torch before 0.2 without its {absent[0]}: it is truncated"
        )
    tar = _Tar(descriptor, file, members)
    facts = tar.facts() if "sys_info" in members else None
    tar.read_storages()
    tar.read_tensors()
    start, size = members["pickle"]
    if size > MAX_PICKLE_BYTES:
        raise OpenError(f"the pickle in {clean(file.name, 120)} is {size:,} bytes long: it is refused")
    machine = PickleMachine(read_bytes(descriptor, start, size), 0, "pickle", tar.left, named=tar.named)
    tar.machines.append(machine)
    root = machine.load()
    return list_pickles(
        file,
        "torch.save tar, as before 0.2",
        tar.machines,
        root,
        lambda key: tar.places.get(key, _ABSENT),
        is_big_endian=type(facts) is dict and facts.get("little_endian") is False,
        findings=tar.findings,
    )


_ABSENT = Place(None, 0, "its storage is not in the file", is_faulty=True)


def _read_members(descriptor: Descriptor, file: DataFile) -> dict[str, tuple[int, int]]:
    """Where the content of each member starts, and its bytes; of several with one name the last. POSIX.1-2008, pax."""
    members: dict[str, tuple[int, int]] = {}
    at, wide = 0, None
    for _ in range(_MAX_HEADERS):
        header = read_bytes(descriptor, at, _BLOCK)
        if len(header) < _BLOCK or not header.strip(b"\0"):
            break
        size = _number(header[124:136])
        if header[257:262] != b"ustar" or size is None:
            raise OpenError(f"{clean(file.name, 120)} is a damaged tar: there is no header at byte {at:,}")
        kind, content = header[156:157], at + _BLOCK
        if kind == b"x":
            wide = _size_in(read_bytes(descriptor, content, min(size, _FIRST_READ)))
        else:
            size, wide = size if wide is None else wide, None
            name = header[:100].partition(b"\0")[0].decode("utf-8", "replace")
            if name in MEMBERS:
                if kind not in (b"0", b"\0"):
                    raise OpenError(f"{name} in {clean(file.name, 120)} is no file but a link: it is refused")
                if content + size > file.size:
                    there = max(file.size - content, 0)
                    raise OpenError(
                        f"{clean(file.name, 120)} is truncated: {name} has {size:,} bytes, of which {there:,} are there"
                    )
                members[name] = (content, size)
        at = content + -(-size // _BLOCK) * _BLOCK
    return members


def _number(field: bytes) -> int | None:
    """A number of a header: octal digits, or big-endian behind a byte 0x80."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    return int(digits or b"0", 8) if not digits.strip(b"01234567") else None


def _size_in(records: bytes) -> int | None:
    """The size that the records of an extended header state: lines such as ``20 size=8589934592``."""
    for line in records.split(b"\n"):
        key, _, value = line.partition(b" ")[2].partition(b"=")
        if key == b"size" and value.isdigit() and len(value) < 20:
            return int(value)
    return None


class _Tar:
    """Reads the members one after the other; ``named`` are the storages and tensors by their keys."""

    def __init__(self, descriptor: Descriptor, file: DataFile, members: dict[str, tuple[int, int]]) -> None:
        self.named: dict[int, Any] = {}
        self.places: dict[str, Place] = {}
        self.machines: list[PickleMachine] = []
        self.findings: list[Finding] = []
        self.left = MAX_OPERATIONS
        self._descriptor = descriptor
        self._file = file
        self._members = members
        self._pos = self._stop = 0

    def facts(self) -> Any:
        """What ``sys_info`` says of the machine; None if it says nothing."""
        self._begin("sys_info")
        return self._pickle("sys_info")

    def read_storages(self) -> None:
        """Find the elements of each storage. Raises OpenError."""
        count = self._begin_counted("storages")
        for number in range(count):
            row = self._pickle(f"storage {number:,}")
            if type(row) is not tuple or len(row) != 3 or type(row[0]) is not int:
                raise OpenError(f"storage {number:,} of {self._name} is described by {render(row, 1)}: it is damaged")
            key, location, cls = row
            width = storage_item_size(cls)
            numel = self._whole("<q", 8)[0]
            if width is None or not 0 <= numel <= MAX_NUMBER or self._pos + numel * width > self._stop:
                why = "is of an unknown type" if width is None else "does not fit into its member"
                evidence = f"storage {number:,} of {count:,} {why}: those behind it cannot be found"
                self.findings.append(Finding("error", "truncated", None, evidence))
                return
            self.places[f"{key}"] = Place(self._pos, numel * width)
            self.named[key] = Storage(cls, f"{key}", location, numel)
            self._pos += numel * width
        views = self._pickle("the list of views")
        for view in views if type(views) is list else ():
            if type(view) is not tuple or len(view) != 4 or any(type(part) is not int for part in view):
                raise OpenError(f"the list of views in {self._name} is damaged")
            target, whole, offset, numel = view
            root = self.named.get(whole)
            if type(root) is not Storage:
                raise OpenError(f"a view in {self._name} is of a storage that is not there: it is damaged")
            self.named[target] = Storage(root.cls, root.key, root.location, root.numel, (f"{target}", offset, numel))

    def read_tensors(self) -> None:
        """Read sizes and strides of each tensor. Raises OpenError."""
        for number in range(self._begin_counted("tensors")):
            row = self._pickle(f"tensor {number:,}")
            if type(row) is not tuple or len(row) != 3 or type(row[0]) is not int or type(row[1]) is not int:
                raise OpenError(f"tensor {number:,} of {self._name} is described by {render(row, 1)}: it is damaged")
            ndim = self._whole("<i", 8)[0]
            if not 0 <= ndim <= _MAX_NDIM:
                raise OpenError(f"tensor {number:,} of {self._name} has {plural(ndim, 'dimension')}: it is damaged")
            shape, stride = self._whole(f"<{ndim}q", 8 * ndim), self._whole(f"<{ndim}q", 8 * ndim)
            offset = self._whole("<q", 8)[0]
            storage = self.named.get(row[1])
            if type(storage) is not Storage:
                storage = Storage(None, f"{row[1]}", None, 0)
            self.named[row[0]] = TensorValue(storage, offset, shape, stride)

    @property
    def _name(self) -> str:
        return clean(self._file.name, 120)

    def _begin(self, member: str) -> None:
        self._pos, size = self._members[member]
        self._stop = self._pos + size

    def _begin_counted(self, member: str) -> int:
        self._begin(member)
        count = self._pickle(f"the number of {member}")
        if type(count) is not int or not 0 <= count <= MAX_TENSORS:
            raise OpenError(f"{member} in {self._name} is said to hold {render(count, 1)}: it is damaged")
        return count

    def _pickle(self, what: str) -> Any:
        """What the pickle at this place builds; the next place is behind it."""
        length = _FIRST_READ
        while True:
            data = read_bytes(self._descriptor, self._pos, min(length, self._stop - self._pos))
            machine = PickleMachine(data, 0, what, self.left, pid_length=0)
            try:
                root = machine.load()
            except PickleEndsError:
                if length >= _MAX_INNER or self._pos + length >= self._stop:
                    raise
                length = _MAX_INNER
                continue
            self._pos += machine.pos
            self.left -= machine.pos
            is_odd = machine.calls.callees or any(module != "torch" for module, _ in machine.globals)
            if (is_odd or machine.faults.found) and len(self.machines) < _MAX_KEPT:
                machine.data = b""
                self.machines.append(machine)
            return root

    def _whole(self, form: str, nbytes: int) -> tuple[int, ...]:
        raw = read_bytes(self._descriptor, self._pos, min(nbytes, max(self._stop - self._pos, 0)))
        try:
            numbers: tuple[int, ...] = unpack_from(form, raw)
        except error:
            raise OpenError(f"{self._name} is truncated: a member ends within a number") from None
        self._pos += nbytes
        return numbers
