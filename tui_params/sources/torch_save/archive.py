"""A zip of checkpoints, such as stable-baselines3 writes: ``policy.pth`` and others as members, each a torch.save zip.

A member that is stored lies in the file as it is, so its tensors are read where they are, with no unpacking. Everything
else that may hold tensors is named with the reason why it is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from tui_params.core.findings import Finding
from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.sources.bytes.local import Descriptor, read_bytes
from tui_params.sources.bytes.zip_directory import STORED, Directory, Member, local_header, read_directory
from tui_params.sources.inert_pickle.machine import PickleMachine, load_pickle
from tui_params.sources.inert_pickle.values import Unread
from tui_params.sources.torch_save.layout import Place
from tui_params.sources.torch_save.places import Places, end_findings, is_big_endian

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".pkl", ".npz", ".npy", ".onnx", ".gguf", ".h5")
"""What members with tensors are called."""

MAX_MEMBERS = 100
"""The most members that are opened; the others are named as not read."""


def checkpoints_in(directory: Directory) -> list[Member]:
    """The members of an archive that may be checkpoints by themselves."""
    return [member for member in directory.members.values() if member.name.lower().endswith(SUFFIXES)]


class Inner:
    """The checkpoints inside one archive: what they build as one dict, and where their storages lie."""

    def __init__(self, descriptor: Descriptor, directory: Directory | None) -> None:
        """``directory`` is that of a zip; of an archive of another kind, ``open_at`` is called for each member."""
        self.root: dict[str, Any] = {}
        self.machines: list[PickleMachine] = []
        self.opened: set[str] = set()
        self._descriptor = descriptor
        self._directory = directory
        self._places: list[Places] = []
        self._ranges: list[tuple[int, int, str]] = []

    def open(self, name: str, member: Member, most: int | None = None) -> Any:
        """What a member builds, kept in ``root`` by ``name``; an Unread if it cannot be read, or is beyond ``most``."""
        most = MAX_MEMBERS if most is None else most
        try:
            if len(self.root) >= most:
                raise OpenError(f"it is one of more than {most:,} checkpoints in this archive: unpack them")
            self.root[name] = self._open(member)
            self.opened.add(member.name)
        except OpenError as error:
            self.root[name] = Unread(str(error))
        return self.root[name]

    def locate(self, key: str) -> Place:
        """The Place of a storage, by the number of its archive and its own key."""
        number, _, rest = key.partition("/")
        return self._places[int(number)].locate(rest)

    def findings(self, directory: Directory | None = None) -> Iterator[Finding]:
        """What is wrong with the archive and with those inside it. Complete once all storages have been located."""
        if directory is not None:
            yield from end_findings(directory)
        yield from self.inner_findings()

    def inner_findings(self) -> Iterator[Finding]:
        """What is wrong with those inside it, and whether some lie in one another."""
        for places in self._places:
            yield from places.findings()
        ranges = sorted(self._ranges)
        overlaps = [(a[2], b[2]) for a, b in pairwise(ranges) if b[0] < a[1]]
        if overlaps:
            first, second = (clean(path, 60) for path in overlaps[0])
            evidence = f"{len(overlaps):,} members overlap in the file, first {first} and {second}"
            yield Finding("warning", "zip-overlap", None, evidence)

    def _open(self, member: Member) -> Any:
        if member.is_encrypted:
            raise OpenError("it is encrypted")
        if member.method != STORED:
            raise OpenError("it is compressed; unpack the archive, and open that file by its path")
        directory = self._directory
        found = None if directory is None else local_header(self._descriptor, directory, member)
        if directory is None or found is None or not found[1] or found[0] + member.size > directory.stop:
            raise OpenError("it does not lie where the directory of this archive says: the archive is damaged")
        return self.open_at(member.name, found[0], member.size)

    def open_at(self, name: str, start: int, size: int) -> Any:
        """What the checkpoint in ``size`` bytes from ``start`` on builds; errors call it ``name``. Raises OpenError."""
        self._ranges.append((start, start + size, name))
        if read_bytes(self._descriptor, start, 4) != b"PK\3\4":
            raise OpenError("it is no torch.save zip: unpack this archive, and open it by its path")
        inner = read_directory(self._descriptor, start + size, name, start)
        top = next(iter(inner.members), "").partition("/")[0]
        pickle = inner.members.get(f"{top}/data.pkl")
        if pickle is None:
            raise OpenError("it is a zip without a data.pkl, and not read inside an archive")
        if is_big_endian(self._descriptor, inner, top):
            raise OpenError("its bytes are in big-endian order, which is not read here")
        places = Places(self._descriptor, inner, top)
        machine = load_pickle(places.read(pickle), f"data.pkl of {clean(name, 80)}")
        number = len(self._places)
        for storage in machine.storages:
            storage.key = f"{number}/{storage.key}" if type(storage.key) is str else storage.key
        self._places.append(places)
        self.machines.append(machine)
        return machine.root


def open_all(descriptor: Descriptor, members: list[Member], directory: Directory) -> Inner:
    """The checkpoints in some members, by their names without suffix where these are unique."""
    inner = Inner(descriptor, directory)
    stems = [_stem(member) for member in members]
    for member, stem in zip(members, stems, strict=True):
        inner.open(stem if stems.count(stem) == 1 and stem else member.name, member)
    return inner


def _stem(member: Member) -> str:
    """``policy`` of ``policy.pth``."""
    return member.name.rpartition(".")[0]
