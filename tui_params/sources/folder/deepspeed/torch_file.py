"""One file of a DeepSpeed checkpoint: what its pickle built, tensors that are taken out of it by their place there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from struct import unpack
from typing import Any, TypeVar

import msgspec

from tui_params.core.dtypes import unknown
from tui_params.core.findings import Finding
from tui_params.core.reading.extent import Extent
from tui_params.core.source import Listing, Record
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.errors import OpenError, ReadError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.held import Held
from tui_params.sources.bytes.local import DataFile, borrow, read_into
from tui_params.sources.inert_pickle.machine import PickleMachine
from tui_params.sources.inert_pickle.values import Parameter, TensorValue, TypedTensor
from tui_params.sources.torch_save.layout import MalformedTensorError, Place, TensorLister
from tui_params.sources.torch_save.listing import pickle_findings, sparse_findings
from tui_params.sources.torch_save.optimizer_names import name_optimizer_states
from tui_params.sources.torch_save.tree_walk import TreeWalk
from tui_params.sources.torch_save.zip import open_torch

T = TypeVar("T")

_WRAPPERS = (Parameter, TypedTensor)
_NUMBERS = {"float32": "<f", "float64": "<d", "int64": "<q", "int32": "<i"}


class Stored(msgspec.Struct, frozen=True):
    """A tensor of one file: its description, and its place if that is not plain; ``held`` are bytes in memory."""

    info: TensorInfo
    extent: Extent | None = None
    held: Held | None = None

    def called(self, name: str, **changes: Any) -> Stored:
        """The same under another name, described otherwise."""
        return msgspec.structs.replace(self, info=msgspec.structs.replace(self.info, name=name, **changes))


class Rest(msgspec.Struct, frozen=True):
    """What a walk found: tensors by name, and the metadata."""

    tensors: Mapping[str, Stored]
    metadata: Mapping[str, str]


class TorchFile:
    """The pickle of a file of torch.save while the file is open; ``root`` is what it built."""

    def __init__(
        self,
        file: DataFile,
        root: Any,
        locate: Callable[[str], Place],
        **options: Any,
    ) -> None:
        self.file = file
        self.root = root
        self.findings: list[Finding] = []
        places: dict[str, Place] = {}

        def once(key: str) -> Place:
            if key not in places:
                places[key] = locate(key)
            return places[key]

        self._new_lister: Callable[[], TensorLister] = lambda: TensorLister(file.name, once, **options)
        self._lister = self._new_lister()
        self._described: dict[int, Stored] = {}

    def tensor(self, value: Any, name: str) -> Stored:
        """The tensor that ``value`` describes; ``name`` is what findings call it. An unreadable one has the reason."""
        for _ in range(8):
            if type(value) in _WRAPPERS:
                value = value.data
        known = self._described.get(id(value))
        if known is not None:
            return known.called(name)
        stored = self._described[id(value)] = self._describe(value, name)
        return stored

    def _describe(self, value: Any, name: str) -> Stored:
        if type(value) is not TensorValue:
            return _unread(name, self.file, "it is no tensor here that can be read")
        # The lister needs a name of its own for each.
        own = f"{len(self._described)}:{name}"
        try:
            self._lister.add(own, value)
        except MalformedTensorError as error:
            self.complain("malformed-tensor", f"{clean(name, 120)} is a tensor that {error}")
            return _unread(name, self.file, f"it is a tensor that {error}")
        info = msgspec.structs.replace(self._lister.tensors[-1], name=name, tied_to=None)
        return Stored(info, self._lister.extents.get(own))

    def walk(self, root: Any, prefix: str = "") -> Rest:
        """Everything that can be reached from ``root``, below ``prefix``."""
        walk = TreeWalk(self._new_lister())
        walk.walk(root, prefix)
        name_optimizer_states(walk)
        lister = walk.lister
        self.findings += walk.findings()
        self._take_findings(lister)
        tensors = {
            info.name: Stored(info, lister.extents.get(info.name), lister.held.get(info.name))
            for info in lister.tensors
        }
        return Rest(tensors, walk.texts())

    def number(self, info: TensorInfo) -> float | None:
        """The value of a tensor of one element, such as a step counter; None if it is no such or cannot be read."""
        code = _NUMBERS.get(info.dtype.name)
        if code is None or info.numel != 1 or info.offset is None or info.unreadable is not None:
            return None
        raw = bytearray(info.nbytes)
        try:
            with borrow(self.file) as descriptor:
                read_into(descriptor, self.file, info.offset, memoryview(raw))
        except ReadError:
            return None
        return float(unpack(code, raw)[0])

    def complain(self, rule: str, evidence: str) -> None:
        """Add an error about this file."""
        self.findings.append(Finding("error", rule, None, evidence, file=self.file.name))

    def finish(self) -> None:
        """Take over what was found out about the tensors that were described."""
        self._take_findings(self._lister)

    def _take_findings(self, lister: TensorLister) -> None:
        for finding in lister.findings:
            name = (
                "" if finding.tensor is None else f"{clean(finding.tensor.partition(':')[2] or finding.tensor, 120)}: "
            )
            evidence = name + finding.evidence
            self.findings.append(msgspec.structs.replace(finding, tensor=None, evidence=evidence, file=self.file.name))


class ReadFile(msgspec.Struct, frozen=True):
    """A file that was read: as it was opened, and what was found out about it."""

    file: DataFile
    findings: tuple[Finding, ...]
    read_records: Callable[[DataFile], Sequence[Record]] | None = None

    def records(self) -> list[Record]:
        """The runs of bytes of the file that have a checksum. Raises OpenError."""
        if self.read_records is None:
            return []
        found = self.read_records(msgspec.structs.replace(self.file, name=self.file.path.name))
        return [msgspec.structs.replace(record, file=self.file.name) for record in found]


def read_torch_file(path: Path, name: str, take: Callable[[TorchFile], T]) -> tuple[T, ReadFile]:
    """What ``take`` makes of the file at ``path``, which is called ``name`` here. Raises OpenError.

    ``take`` is called while the file is open, and keeps nothing of what the pickle built.
    """
    taken: list[tuple[T, ReadFile]] = []

    def build(
        file: DataFile,
        form: str,
        machines: Sequence[PickleMachine],
        root: Any,
        locate: Callable[[str], Place],
        *,
        findings: Iterable[Finding] = (),
        allocated: int | None = None,
        read_records: Callable[[DataFile], Sequence[Record]] | None = None,
        is_big_endian: bool = False,
        is_exact: bool = False,
        place_of: Callable[[object], int | None] = lambda _: None,
        **_: Any,
    ) -> ExtentSource:
        file = msgspec.structs.replace(file, name=name)
        opened = TorchFile(file, root, locate, is_big_endian=is_big_endian, is_exact=is_exact, place_of=place_of)
        made = take(opened)
        opened.finish()
        found = [*findings, *pickle_findings(machines), *sparse_findings(file, allocated), *opened.findings]
        named = [f if f.tensor is not None or f.file else msgspec.structs.replace(f, file=name) for f in found]
        taken.append((made, ReadFile(file, tuple(named), read_records)))
        return ExtentSource(name, Listing(form, ()), {}, {})

    open_torch(path, build)
    if not taken:
        raise OpenError(f"{clean(path.name, 120)} is not what torch.save writes of a checkpoint")
    return taken[0]


def _unread(name: str, file: DataFile, reason: str) -> Stored:
    return Stored(TensorInfo(name, (), unknown("?"), 0, 0, file=file.name, unreadable=reason))
