"""What a distributed checkpoint holds beside its tensors: numbers, texts, lists, each in an archive of torch.save.

Tuples, lists of numbers, and objects of classes are stored whole, with the tensors in them: these are listed below the
name of their object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tui_params.core.findings import Finding
from tui_params.core.reading.extent import Extent
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError, ReadError
from tui_params.sources.bytes.held import Held
from tui_params.sources.bytes.local import DataFile, Descriptor, borrow, read_bytes
from tui_params.sources.bytes.zip_directory import read_bytes as zip_bytes
from tui_params.sources.bytes.zip_directory import read_directory
from tui_params.sources.folder.dcp.contents import Contents
from tui_params.sources.folder.dcp.metadata import Metadata, Window, rank_of
from tui_params.sources.folder.dcp.windows import Located, Windows
from tui_params.sources.inert_pickle.machine import MAX_OPERATIONS, PickleMachine
from tui_params.sources.inert_pickle.values import Unread
from tui_params.sources.torch_save.layout import Place, TensorLister
from tui_params.sources.torch_save.listing import pickle_findings
from tui_params.sources.torch_save.places import Places, is_big_endian
from tui_params.sources.torch_save.tree_walk import TreeWalk

MAX_OBJECTS = 5_000
"""The most objects that are read when a checkpoint is opened: each takes a tenth of a millisecond."""

_MAX_UNPACKED = 16 << 20
_MAX_COMPARED = 64 << 20
_MAX_FINDINGS = 20


class Objects:
    """The objects that were read: their tensors with their places, and everything else as text.

    ``lists`` are those that are lists, by name.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._places: list[Places] = []
        self._budget = MAX_OPERATIONS
        self._findings: list[Finding] = []
        self._count = 0
        self.machines: list[PickleMachine] = []
        self.lister = TensorLister("", self._locate)
        self.walk = TreeWalk(self.lister)
        self.places: dict[str, Located] = {}
        self.lists: dict[str, list[Any]] = {}

    def reserve(self, names: Sequence[str]) -> None:
        """Keep these names from being given to a tensor inside an object."""
        self.walk.names.update(names)

    def read_all(self, name: str, window: Window | None, copies: Sequence[Window]) -> None:
        """List what an object holds of which other ranks have ``copies``; apart where they differ."""
        if not copies or window is None or self.same([window, *copies]):
            self.read(name, window)
            return
        for each in (window, *copies):
            rank = rank_of(each.file)
            self.read(f"{name}.rank_{rank}" if rank is not None else f"{name}.{each.file}", each)

    def read(self, name: str, window: Window | None) -> None:
        """List what the object of that name holds."""
        self._count += 1
        first = len(self.lister.tensors)
        held: Held | None = None
        try:
            if window is None:
                raise OpenError("the metadata do not say where it is stored")
            if self._count > MAX_OBJECTS:
                raise OpenError(f"it is one of more than {MAX_OBJECTS:,} objects in this checkpoint")
            file = self._windows.file_of(window, name)
            self.lister.file = file.name
            if window.transforms:
                held = Held(file.name, self._windows.unpacked(window, name, _MAX_UNPACKED))
                self._open(name, bytes(held.data), 0, len(held.data), held)
            else:
                with borrow(file) as descriptor:
                    self._open(name, descriptor, window.offset, window.offset + window.nbytes, file)
        except (OpenError, ReadError) as error:
            reason = str(error)
            self.walk.walk(Unread(reason, is_faulty=isinstance(error, OpenError)), name)
        for info in self.lister.tensors[first:]:
            if info.offset is not None and info.name not in self.places:
                self._place(info, held)

    def _open(self, name: str, content: Descriptor | bytes, start: int, stop: int, where: DataFile | Held) -> None:
        what = f"the object {clean(name, 120)} in {clean(where.name, 120)}"
        if zip_bytes(content, start, 2) != b"PK":
            raise OpenError(f"{what} is no archive of torch.save at byte {start:,}: it was overwritten, or is torn")
        directory = read_directory(content, stop, what, start)
        top = next(iter(directory.members), "").partition("/")[0]
        pickle = directory.members.get(f"{top}/data.pkl")
        if pickle is None:
            raise OpenError(f"{what} has no data.pkl")
        if is_big_endian(content, directory, top):
            raise OpenError(f"{what} has bytes in big-endian order, which is not read here")
        places = Places(content, directory, top)
        machine = PickleMachine(places.read(pickle), 0, f"data.pkl of {what}", self._budget, 5)
        self._budget = max(self._budget - len(machine.data), 0)
        machine.load()
        number = len(self._places)
        self._places.append(places)
        for storage in machine.storages:
            storage.key = f"{number}/{storage.key}" if type(storage.key) is str else storage.key
        self.machines.append(machine)
        self.walk.walk(machine.root, name)
        self.lister.add_unlisted(machine.storages)
        if type(machine.root) is list:
            self.lists[name] = machine.root
        for finding in places.findings():
            self._report(Finding(finding.severity, finding.rule, None, f"{what}: {finding.evidence}"))

    def _locate(self, key: str) -> Place:
        number, _, rest = key.partition("/")
        return self._places[int(number)].locate(rest)

    def _place(self, info: TensorInfo, held: Held | None) -> None:
        extent = self.lister.extents.get(info.name)
        inner = self.lister.held.get(info.name)
        begin = 0 if inner is not None else info.offset or 0
        extent = extent or Extent(info.file or "", begin, begin, begin + info.nbytes)
        place = inner or held or self._windows.files.get(extent.file)
        if place is not None:
            self.places[info.name] = place, extent

    def same(self, windows: Sequence[Window]) -> bool:
        """Whether these windows have the same bytes. Those that cannot be read are not the same."""
        if len({window.nbytes for window in windows}) > 1 or windows[0].nbytes > _MAX_COMPARED:
            return False
        try:
            first, *others = (self._raw(window) for window in windows)
        except ReadError:
            return False
        return all(other == first for other in others)

    def _raw(self, window: Window) -> bytes:
        with borrow(self._windows.file_of(window, "an object")) as descriptor:
            return read_bytes(descriptor, window.offset, window.nbytes)

    def contents(self) -> Contents:
        """All that was read; to be called at the end."""
        found = [*self._findings, *pickle_findings(self.machines), *self.walk.findings(), *self.lister.findings]
        more = self.lister.dropped_findings
        if more:
            found.append(Finding("error", "storage-bounds", None, f"{plural(more, 'more fault')} of objects"))
        return Contents(
            tuple(self.lister.tensors), self.places, self.lists, self.walk.texts(), self.walk.modules, tuple(found)
        )

    def _report(self, finding: Finding) -> None:
        if len(self._findings) < _MAX_FINDINGS:
            self._findings.append(finding)


def read_objects(metadata: Metadata, windows: Windows) -> Contents:
    """What all objects of a checkpoint hold."""
    objects = Objects(windows)
    objects.reserve([tensor.name for tensor in metadata.tensors])
    for name, window in metadata.objects.items():
        objects.read_all(name, window, metadata.object_copies.get(name, ()))
    return objects.contents()
