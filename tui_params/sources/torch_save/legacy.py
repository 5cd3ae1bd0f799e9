"""The stream that torch.save wrote before 1.6 (and writes without the zip), and bare pickles.

Five pickles (a magic number, the version, facts about the machine, the object, the keys of its storages), then for each
key a little-endian int64 count of elements and the raw elements, unaligned: torch/serialization.py, ``_legacy_save``.
"""

from __future__ import annotations

from typing import Any

from tui_params.core.findings import Finding, Severity
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources.bytes.compressed import compression_of, packing_of, unpack
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.local import DataFile, Descriptor, read_bytes
from tui_params.sources.inert_pickle.machine import (
    MAX_PICKLE_BYTES,
    PickleEndsError,
    PickleMachine,
    load_behind,
)
from tui_params.sources.inert_pickle.results import is_load_of_bytes
from tui_params.sources.inert_pickle.values import Storage, raw_of, render
from tui_params.sources.torch_save.layout import Place, storage_item_size
from tui_params.sources.torch_save.listing import Build, list_pickles

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
_MAGIC_LONG1 = b"\x8a\x0a" + MAGIC.to_bytes(10, "little")
_MAGIC_TEXT = str(MAGIC).encode()
_FIRST_READ = 1 << 20
_STORAGE_STEPS = 10_000
"""Steps that one pickled storage may take. It needs about fifty, and a file may hold very many storages."""


def is_legacy(head: bytes) -> bool:
    """Whether ``head``, the first bytes of a file, start the pickle of the magic number, in any protocol."""
    return _MAGIC_LONG1 in head[:24] or _MAGIC_TEXT in head[:32]


class _Stream:
    """Pickles of unknown length, one after the other at the start of a file. If one ends early, more is read."""

    def __init__(self, descriptor: Descriptor, file: DataFile) -> None:
        self._descriptor = descriptor
        self._file = file
        self._data = read_bytes(descriptor, 0, _FIRST_READ)
        self.pos = 0
        self.machines: list[PickleMachine] = []

    def next(self, what: str, pid_length: int = 0) -> PickleMachine:
        """The next pickle, read. Raises OpenError."""
        while True:
            machine = PickleMachine(self._data, self.pos, what, pid_length=pid_length)
            try:
                machine.load()
            except PickleEndsError:
                have = len(self._data)
                if have < self._file.size and have < MAX_PICKLE_BYTES:
                    self._data = read_bytes(self._descriptor, 0, min(have * 16, MAX_PICKLE_BYTES))
                if len(self._data) <= have:
                    # What it called before it ended is told with the rest.
                    self.machines.append(machine)
                    raise
                continue
            self.pos = machine.pos
            self.machines.append(machine)
            return machine


def open_legacy(descriptor: Descriptor, file: DataFile, build: Build = list_pickles) -> ExtentSource:
    """The tensors of a legacy stream; in a truncated one, every tensor that it names. Raises OpenError, OSError.

    ``build`` makes the source of them.
    """
    stream = _Stream(descriptor, file)
    magic = stream.next("the magic number").root
    version = stream.next("the version").root
    facts = stream.next("the facts about the machine").root
    machine = stream.next("the pickled object", 6)
    findings: list[Finding] = []
    for what, found, due in (("magic number", magic, MAGIC), ("version", version, VERSION)):
        if type(found) is not int or found != due:
            shown = (
                f"{found:#x}, not {due:#x}" if type(found) is int and due == MAGIC else f"{render(found)}, not {due}"
            )
            evidence = f"the {what} of the stream is {shown}: it is damaged, and torch refuses the file"
            findings.append(Finding("error", "bad-stream", None, evidence))
    try:
        keys = stream.next("the list of storages").root
    except PickleEndsError:
        keys = None
    places = _find_storages(descriptor, file, stream.pos, keys, machine, findings)
    missing = Place(None, 0, "its storage is not in the file: the file is truncated", is_faulty=True)
    return build(
        file,
        "torch.save legacy stream",
        stream.machines,
        machine.root,
        lambda key: places.get(key, missing),
        is_big_endian=type(facts) is dict and facts.get("little_endian") is False,
        findings=findings,
        place_of=machine.place_of,
    )


def _find_storages(
    descriptor: Descriptor,
    file: DataFile,
    pos: int,
    keys: Any,
    machine: PickleMachine,
    findings: list[Finding],
    *,
    is_last: bool = True,
) -> dict[str, Place]:
    """The place of each storage by key. The length of each is needed to find the next.

    ``is_last`` says that the file ends after them.
    """
    if type(keys) is not list or not all(type(key) is str for key in keys):
        evidence = "the list of storages is missing or damaged: tensors are listed, their values cannot be found"
        findings.append(Finding("error", "truncated", None, evidence))
        return {}
    named = [storage for storage in machine.storages if type(storage.key) is str]
    widths = {storage.key: storage_item_size(storage.cls) for storage in named}
    counts = {storage.key: storage.numel for storage in reversed(named)}
    places: dict[str, Place] = {}
    for number, key in enumerate(keys):
        width = widths.get(key)
        if width is None:
            rest = f"{len(keys) - number:,} of {plural(len(keys), 'storage')} cannot be found:"
            rest += " the size of one before is unknown"
            # torch refuses a file that lists a storage of no tensor.
            severity: Severity = "warning" if key in widths else "error"
            findings.append(Finding(severity, "unknown-storage", None, rest))
            gone = Place(None, 0, "its place is unknown, because a storage before it has an unknown type")
            places |= dict.fromkeys(keys[number:], gone)
            break
        count = int.from_bytes(read_bytes(descriptor, pos, 8), "little", signed=True)
        pos += 8
        if count < 0 or pos + count * width > file.size:
            rest = (
                f"the file ends before {len(keys) - number:,} of its {plural(len(keys), 'storage')}:"
                " it is truncated or damaged"
            )
            findings.append(Finding("error", "truncated", None, rest))
            gone = Place(None, 0, "the file ends before its values: it is truncated")
            places |= dict.fromkeys(keys[number:], gone)
            break
        if type(counts[key]) is int and counts[key] < count:
            claim = f"claims {plural(counts[key], 'element')}, and has {count:,} in the file"
            evidence = f"storage {clean(key, 60)} {claim}: torch refuses it"
            findings.append(Finding("error", "storage-bounds", None, evidence))
        places[key] = Place(pos, count * width)
        pos += count * width
    else:
        if is_last:
            findings += _behind(descriptor, file, pos, "the last storage")
    return places


def _behind(descriptor: Descriptor, file: DataFile, pos: int, what: str) -> list[Finding]:
    """A finding if there are bytes after ``what``, which ends at ``pos``: nothing reads them."""
    behind = file.size - pos
    if behind <= 0:
        return []
    evidence = f"{plural(behind, 'byte')} after the end of {what} {'was' if behind == 1 else 'were'} not read"
    if read_bytes(descriptor, pos, 1) == b"\x80":
        # What was saved into one file by several calls, one after the other.
        return [Finding("warning", "trailing-bytes", None, f"{evidence}: another pickle seems to start there")]
    return [Finding("error", "trailing-bytes", None, evidence)]


def _behind_pickle(
    descriptor: Descriptor, file: DataFile, first: PickleMachine, behind: list[PickleMachine]
) -> list[Finding]:
    """Findings about what follows a bare pickle: the pickles that were read for their calls, and other bytes."""
    whole = [machine for machine in behind if machine.is_read]
    broken = [machine for machine in behind if not machine.is_read and machine.calls.callees]
    end = whole[-1].pos if whole else first.pos
    found: list[Finding] = []
    if whole:
        count, nbytes = plural(len(whole), "pickle"), plural(end - first.pos, "byte")
        follows, their = ("follows", "its") if len(whole) == 1 else ("follow", "their")
        evidence = f"{count} of {nbytes} {follows} the first: only {their} calls were looked for, nothing is shown"
        found.append(Finding("warning", "trailing-bytes", None, evidence))
    if broken:
        nbytes = plural(file.size - end, "byte")
        evidence = f"{nbytes} after the end of the pickle are a pickle that breaks off: only its calls were looked for"
        return [*found, Finding("warning", "trailing-bytes", None, evidence)]
    return found + _behind(descriptor, file, end, "the pickles" if whole else "the pickle")


def has_facts(descriptor: Descriptor, file: DataFile) -> bool:
    """Whether a file that does not start with the magic number goes on as a legacy stream does."""
    stream = _Stream(descriptor, file)
    try:
        if type(stream.next("the magic number").root) is not int:
            return False
        stream.next("the version")
        facts = stream.next("the facts about the machine").root
    except OpenError:
        return False
    return type(facts) is dict and "little_endian" in facts


def open_pickle(descriptor: Descriptor, file: DataFile) -> ExtentSource:
    """What a bare pickle holds. Raises OpenError, OSError."""
    name = clean(file.name, 120)
    if file.size > MAX_PICKLE_BYTES:
        if read_bytes(descriptor, 0, 1) != b"\x80":
            raise UnknownFormatError(f"{name} is of no format that is known here")
        raise OpenError(f"{name} is a pickle of {file.size:,} bytes: more than {MAX_PICKLE_BYTES:,} are refused")
    data = read_bytes(descriptor, 0, file.size)
    how = compression_of(data[: 1 << 20])
    if how is not None:
        try:
            data = unpack(descriptor, file.size, MAX_PICKLE_BYTES)
        except OpenError as error:
            raise OpenError(f"{name} is a pickle that cannot be read: {error}") from None
    machine = PickleMachine(data, 0, f"the pickle {name}", pid_length=0, may_have_joblib=True)
    try:
        machine.load()
    except OpenError:
        if data[:1] != b"\x80" and not machine.calls.callees:
            packing = packing_of(data[:8])
            if how is None and packing is not None:
                what = "what is in it is no pickle, or is damaged"
                raise OpenError(f"{name} is compressed with {packing}, and {what}") from None
            raise UnknownFormatError(f"{name} is of no format that is known here") from None
        raise
    if how is None and type(machine.root) is int and machine.pos < file.size and has_facts(descriptor, file):
        return open_legacy(descriptor, file)
    inner = _Embedded(descriptor, file, machine)
    behind = load_behind(machine)
    if how is None:
        inner.findings += _behind_pickle(descriptor, file, machine, behind)
    inner.machines += behind
    form = "joblib" if machine.has_joblib else "pickle"
    return list_pickles(
        file,
        form if how is None else f"{form}, compressed with {how}",
        inner.machines,
        machine.root,
        inner.locate,
        findings=inner.findings,
        embedded=inner.storage,
        # What was unpacked lies nowhere in the file.
        place_of=machine.place_of if how is None else lambda _: None,
    )


class _Embedded:
    """Storages inside a bare pickle: each is a legacy stream in a byte string (torch/storage.py, ``__reduce__``)."""

    def __init__(self, descriptor: Descriptor, file: DataFile, machine: PickleMachine) -> None:
        self.machines = [machine]
        self.findings: list[Finding] = []
        self._descriptor = descriptor
        self._file = file
        self._blobs = machine.blobs
        self._known: dict[int, Storage | None] = {}
        self._places: dict[str, Place] = {}

    def locate(self, key: str) -> Place:
        """The Place of a storage by its key."""
        return self._places.get(key, _OUTSIDE)

    def storage(self, value: Any) -> Storage | None:
        """The storage that a call of ``torch.storage._load_from_bytes`` would load, or None."""
        if not is_load_of_bytes(value) or type(value.args) is not tuple or len(value.args) != 1:
            return None
        data = raw_of(value.args[0])
        if id(data) not in self._known:
            self._known[id(data)] = self._read(data)
        return self._known[id(data)]

    def _read(self, data: Any) -> Storage | None:
        base, raw = self._blobs.get(id(data), (None, data))
        if type(raw) is str:
            # Protocols 0 to 2 write bytes as text, one or two bytes each: the elements lie nowhere as they are.
            raw = raw.encode("latin-1", "replace")
        if type(raw) is not bytes or not is_legacy(raw[:32]):
            return None
        pos = 0
        values = []
        try:
            for number in range(5):
                machine = PickleMachine(raw, pos, "a pickled storage", _STORAGE_STEPS, 6 if number == 3 else 0)
                self.machines.append(machine)
                values.append(machine.load())
                pos = machine.pos
        except OpenError:
            return None
        storage, keys = values[3], values[4]
        if values[0] != MAGIC or values[1] != VERSION:
            self.machines[-1].faults.add("does not begin as a stream of torch.save does")
        if type(storage) is not Storage or type(storage.key) is not str:
            return None
        places = {}
        if base is not None:
            places = _find_storages(
                self._descriptor, self._file, base + pos, keys, self.machines[-2], self.findings, is_last=False
            )
        key = f"{len(self._known)}/{storage.key}"
        self._places[key] = places.get(storage.key, _AS_TEXT)
        return Storage(storage.cls, key, storage.location, storage.numel, storage.view)


_OUTSIDE = Place(None, 0, "its values are not in this file: it is a bare pickle")
_AS_TEXT = Place(None, 0, "its values are written as text inside the pickle: save it again with torch.save")
