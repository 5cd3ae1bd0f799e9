"""The listing under construction: tensors that lie in one place, and tensors that are stitched from the ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, Protocol

import msgspec

from tui_params.core.dtypes import DType, unknown
from tui_params.core.findings import Finding
from tui_params.core.piece import Piece
from tui_params.core.reading.extent import Extent
from tui_params.core.tensor import TensorInfo, beyond_numpy
from tui_params.sources.bytes.held import Held
from tui_params.sources.folder.deepspeed.torch_file import Rest, Stored
from tui_params.sources.torch_save.layout import MAX_NUMBER, MAX_TENSORS

Shape = tuple[int, ...]


class Layout(Protocol):
    """A buffer that the ranks share: where a tensor in it lies, and why it cannot be read."""

    def pieces(self, shape: Shape, start: int, numel: int) -> Iterator[Piece]: ...
    def fault(self, start: int, numel: int) -> str | None: ...


class Assembly:
    """What is listed so far.

    ``placements`` are the layout and the first element of each stitched tensor; ``states`` the names of those that the
    optimizer keeps.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, TensorInfo] = {}
        self.placements: dict[str, tuple[Layout, int]] = {}
        self.extents: dict[str, Extent] = {}
        self.held: dict[str, Held] = {}
        self.metadata: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.states: set[str] = set()

    def add(self, name: str, stored: Stored, **changes: Any) -> None:
        """A tensor that lies in one place of one file; a name that is taken gets a suffix."""
        if len(self.tensors) >= MAX_TENSORS:
            return
        name = self._unique(name)
        stored = stored.called(name, **changes)
        self.tensors[name] = stored.info
        if stored.extent is not None:
            self.extents[name] = stored.extent
        if stored.held is not None:
            self.held[name] = stored.held

    def add_rest(self, rest: Rest) -> None:
        """What else a file has: tensors under their own names, and metadata."""
        for name, stored in rest.tensors.items():
            self.add(name, stored)
        for key, value in rest.metadata.items():
            self.metadata.setdefault(key, value)

    def stitch(
        self, name: str, shape: Shape, dtype: DType, layout: Layout, start: int, lost: str | None = None, **more: Any
    ) -> bool:
        """A tensor of consecutive elements of a buffer; whether it can be read.

        ``lost`` says why its place is unknown.
        """
        numel = prod(shape)
        if len(self.tensors) >= MAX_TENSORS:
            return False
        if numel * max(dtype.itemsize, 1) > MAX_NUMBER:
            numel, shape, lost = 0, (), lost or f"its shape {list(shape)[:8]} has more elements than can be counted"
        unreadable = lost or (layout.fault(start, numel) if numel else None) or beyond_numpy(len(shape))
        name = self._unique(name)
        file, offset = None, None
        if unreadable is None:
            file, offset = _only_place(layout.pieces(shape, start, numel))
            self.placements[name] = (layout, start)
        self.tensors[name] = TensorInfo(
            name, shape, dtype, numel, dtype.nbytes(numel), file=file, offset=offset, unreadable=unreadable, **more
        )
        return unreadable is None

    def add_unknown(self, name: str, reason: str) -> None:
        """A tensor of which only the name is known."""
        name = self._unique(name)
        self.tensors[name] = TensorInfo(name, (), unknown("?"), 0, 0, unreadable=reason)

    def alias(self, name: str, owner: str) -> None:
        """Another name of a tensor that is listed."""
        info = self.tensors[owner]
        name = self._unique(name)
        self.tensors[name] = msgspec.structs.replace(info, name=name, tied_to=info.first_name)
        for places in (self.placements, self.extents, self.held):
            _copy(places, owner, name)

    def _unique(self, name: str) -> str:
        number = 2
        unique = name
        while unique in self.tensors:
            unique = f"{name}~{number}"
            number += 1
        return unique


def _copy(places: dict[str, Any], owner: str, name: str) -> None:
    if owner in places:
        places[name] = places[owner]


def _only_place(pieces: Iterator[Piece]) -> tuple[str | None, int | None]:
    """The file that has all pieces, and the first byte if they follow each other there; None if there are several."""
    file: str | None = None
    first = end = 0
    is_run = True
    for piece in pieces:
        if file is None:
            file, first, end = piece.file, piece.offset, piece.offset
        elif piece.file != file:
            return None, None
        is_run = is_run and piece.offset == end
        end = piece.offset + piece.nbytes
    return file, first if is_run and file is not None else None


def merge_repeated(findings: list[Finding], files: Mapping[str, int]) -> list[Finding]:
    """Findings of the same words about several files as one each, which names the first and counts the others.

    Every file with code in it is named.
    """
    counts: dict[tuple[str | None, ...], list[Finding]] = {}
    for finding in findings:
        file = finding.file if finding.rule == "pickle-code" else None
        counts.setdefault((finding.rule, finding.severity, finding.tensor, finding.evidence, file), []).append(finding)
    merged = []
    for found in counts.values():
        first = found[0]
        if len(found) > 1 and first.file in files:
            more = len(found) - 1
            others = f" ({more:,} other {'file' if more == 1 else 'files'} too)"
            first = msgspec.structs.replace(first, evidence=first.evidence + others)
        merged.append(first)
    return merged
