"""Pickles inside an archive beside those that hold its tensors: sample inputs, custom objects, files that were added.

Nothing of them is shown. They are read because they run what they call when the archive, or they themselves, are loaded
elsewhere: torch.export.load reads the sample inputs, torch.package a pickle for each object.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tui_params.core.findings import Finding
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes.local import Descriptor, read_bytes
from tui_params.sources.bytes.zip_directory import (
    DEFLATED,
    STORED,
    Directory,
    Member,
    data_offset,
    read_directory,
    read_member,
)
from tui_params.sources.inert_pickle.calls import code_finding
from tui_params.sources.inert_pickle.machine import PickleMachine, load_behind

MAX_PICKLES = 200
MAX_NBYTES = 16 << 20
"""Pickles that are read, and the bytes of each; the steps of all together are bounded too."""

MAX_STEPS = 2_000_000
MAX_PEEKED = 2_000
_MAX_PICKLE_IN_ZIP = 50

# What is no pickle. Nobody unpickles .debug_pkl but the C++ of TorchScript, which knows no globals.
_OTHERS = (".storage", ".py", ".debug_pkl")
_NAMES = (".pkl", ".pickle")


def _is_storage(name: str) -> bool:
    """Whether a member holds raw elements: data/0, constants/0, data/weights/weight_0, data/constants/tensor_0."""
    folder, _, last = name.rpartition("/")
    if not last.isdigit():
        last = last.removeprefix("weight_").removeprefix("tensor_")
    return last.isdigit() and folder.endswith(("data", "constants", "weights"))


class InnerPickles:
    """The machines that have read the inner pickles of one archive, and how many were left out."""

    def __init__(self, descriptor: Descriptor, directory: Directory, read: Collection[str]) -> None:
        self.machines: list[PickleMachine] = []
        self.unread: list[str] = []
        self._descriptor = descriptor
        self._steps = MAX_STEPS
        self._peeked = 0
        self._look_through(directory, read, "")

    def findings(self) -> Iterator[Finding]:
        """That some were left out."""
        if self.unread:
            count, first = plural(len(self.unread), "pickle"), clean(self.unread[0], 80)
            evidence = (
                f"{count} inside the archive, first {first}, could not be read: what they would call is not known"
            )
            yield Finding("warning", "pickle-unread", None, evidence)

    def _look_through(self, directory: Directory, read: Collection[str], outer: str) -> None:
        for name, member in directory.members.items():
            if _is_storage(name) or name in read or member.size < 2 or name.endswith(_OTHERS):
                continue
            label = f"{outer}{name}"
            is_named = name.endswith(_NAMES)
            if self._peeked >= MAX_PEEKED:
                if is_named:
                    self.unread.append(label)
                continue
            self._peeked += 1
            head = self._head(directory, member)
            if head == b"PK\3\4" and member.method == STORED and not outer:
                self._open_zip(directory, member, label)
            elif is_named or (head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")):
                self._load(directory, member, label, must_be_pickle=is_named)

    def _head(self, directory: Directory, member: Member) -> bytes:
        """The first bytes of a member; of a packed one all are needed, which a large one is not worth."""
        try:
            if member.method == DEFLATED:
                return read_member(self._descriptor, directory, member, MAX_NBYTES)[:4]
            offset = data_offset(self._descriptor, directory, member)
            return b"" if offset is None else read_bytes(self._descriptor, offset, 4)
        except OpenError:
            return b""

    def _open_zip(self, directory: Directory, member: Member, label: str) -> None:
        offset = data_offset(self._descriptor, directory, member)
        try:
            if offset is not None and offset + member.size <= directory.stop:
                inner = read_directory(self._descriptor, offset + member.size, label, offset)
                self._look_through(inner, (), f"{label}: ")
        except OpenError:
            # A zip that cannot be opened is loaded by nobody.
            return

    def _load(self, directory: Directory, member: Member, label: str, *, must_be_pickle: bool) -> None:
        if len(self.machines) >= MAX_PICKLES or self._steps <= 0:
            self.unread.append(label)
            return
        try:
            data = read_member(self._descriptor, directory, member, MAX_NBYTES)
        except OpenError:
            self.unread.append(label)
            return
        machine = PickleMachine(data, 0, clean(label, 120), min(self._steps, MAX_STEPS))
        try:
            machine.load()
        except OpenError:
            # What it called before the fault is written down.
            if must_be_pickle or machine.calls.callees:
                self.machines.append(machine)
                if must_be_pickle and len(data) > 1 and not machine.calls.callees:
                    self.unread.append(label)
        else:
            self.machines += [machine, *load_behind(machine)[:_MAX_PICKLE_IN_ZIP]]
        self._steps -= len(data)


def calls_inside(descriptor: Descriptor, directory: Directory) -> str:
    """What the pickles in a zip that is not opened would run, as the end of the sentence that says so; or nothing."""
    machines = InnerPickles(descriptor, directory, ()).machines
    found = code_finding((machine.calls, machine.globals.values()) for machine in machines)
    return "" if found is None or found.severity != "error" else f"; it {found.evidence}"
