"""What is wrong with the pieces of a distributed checkpoint, as far as the metadata and the sizes of the files tell.

torch checks only when several ranks save, and never compares the files with the metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import msgspec

from tui_params.core.findings import Finding, Severity
from tui_params.core.text import are, clean, plural
from tui_params.sources.bytes.local import DataFile
from tui_params.sources.folder.dcp.cover import Covers
from tui_params.sources.folder.dcp.metadata import NOT_STORED, Metadata, StoredTensor, is_outside

_SHOWN = 20
"""Tensors of which one kind of fault is told one by one; the others are counted."""


_SHARED = ", where another one is too"


class Faults(msgspec.Struct):
    """``findings`` about the files and tensors. By name: why a tensor is not read at all, and remarks about it."""

    findings: list[Finding] = []
    unreadable: dict[str, str] = {}
    notes: dict[str, str] = {}


def find_faults(
    metadata: Metadata, files: Mapping[str, DataFile], reasons: Mapping[str, str], *, is_one_rank: bool
) -> Faults:
    """The faults of a checkpoint whose files are these; ``reasons`` say of the others why they cannot be opened.

    ``is_one_rank``: one process saved it, which may have stored a part of a tensor on purpose.
    """
    found = Faults()
    pool = _Told(found.findings)
    covers = Covers(metadata.chunks)
    places = _Places(metadata, files)
    for tensor in metadata.tensors:
        cover = covers.of(tensor)
        whole = prod(tensor.shape)
        lost = places.lost_in(tensor)
        if cover.overlap is not None:
            reason = f"pieces of it overlap: {cover.overlap} of {list(tensor.shape)}"
            found.unreadable[tensor.name] = reason
            pool.tell("error", "piece-overlap", tensor.name, reason)
        elif cover.numel < whole:
            stored = f"{cover.numel:,} of {plural(whole, 'element')} stored"
            found.notes[tensor.name] = stored
            severity: Severity = "warning" if is_one_rank else "error"
            pool.tell(severity, "missing-piece", tensor.name, f"no piece has the others: {stored}")
        elif not cover.is_known:
            evidence = f"whether its {tensor.count:,} pieces overlap was not compared: they are too many"
            found.unreadable[tensor.name] = evidence
            pool.tell("warning", "piece-overlap", tensor.name, evidence)
        for rule, evidence in lost:
            pool.tell("error", rule, tensor.name, evidence)
            if evidence.endswith(_SHARED):
                found.unreadable.setdefault(tensor.name, evidence)
    pool.tell_rest()
    found.findings += _file_findings(metadata, reasons)
    found.findings += [Finding("error", "piece-list", None, fault) for fault in metadata.faults]
    if metadata.strays:
        evidence = f"{plural(metadata.strays, 'place')} in the metadata belong to no tensor that they list"
        found.findings.append(Finding("warning", "piece-list", None, evidence))
    return found


class _Told:
    """Findings about tensors: the first of each rule one by one, then how many more there are."""

    def __init__(self, findings: list[Finding]) -> None:
        self._findings = findings
        self._counts: dict[tuple[Severity, str], int] = {}

    def tell(self, severity: Severity, rule: str, tensor: str, evidence: str) -> None:
        count = self._counts[severity, rule] = self._counts.get((severity, rule), 0) + 1
        if count <= _SHOWN:
            self._findings.append(Finding(severity, rule, tensor, evidence))

    def tell_rest(self) -> None:
        for (severity, rule), count in self._counts.items():
            if count > _SHOWN:
                evidence = f"{count - _SHOWN:,} more tensors have the same fault"
                self._findings.append(Finding(severity, rule, None, evidence))


class _Places:
    """Compares the windows of the chunks with the files in which they should lie."""

    def __init__(self, metadata: Metadata, files: Mapping[str, DataFile]) -> None:
        self._chunks = metadata.chunks
        self._sizes = [files[name].size if name in files else None for name in metadata.files]
        self._names = metadata.files
        self._shared = _shared_windows(metadata, self._sizes)

    def lost_in(self, tensor: StoredTensor) -> Iterator[tuple[str, str]]:
        """The rule and the evidence of each kind of fault that a piece of ``tensor`` has."""
        told: set[str] = set()
        for number in self._suspects(tensor):
            fault = self._fault_of(tensor, number)
            if fault is not None and fault[0] not in told:
                told.add(fault[0])
                yield fault

    def _suspects(self, tensor: StoredTensor) -> list[int]:
        """The numbers of the chunks that are not simply where they should be; there may be millions of the others."""
        chunks, sizes, shared, shapes = self._chunks, self._sizes, self._shared, self._chunks.shapes
        needed: dict[tuple[int, ...], int] = {}
        found = []
        span = slice(tensor.first, tensor.first + tensor.count)
        places = zip(chunks.files[span], chunks.offsets[span], chunks.lengths[span], strict=True)
        for number, (file, offset, length) in enumerate(places, tensor.first):
            shape = shapes[number]
            need = needed.get(shape)
            if need is None:
                need = needed[shape] = tensor.dtype.nbytes(prod(tensor.sizes(shape)))
            room = None if file == NOT_STORED else sizes[file]
            if room is None or offset + length > room or length < need or number in shared:
                found.append(number)
        return found

    def _fault_of(self, tensor: StoredTensor, number: int) -> tuple[str, str] | None:
        chunks = self._chunks
        count = prod(tensor.sizes(chunks.shapes[number]))
        if not count:
            return None
        file = chunks.files[number]
        if file == NOT_STORED:
            where = f"from {list(chunks.starts[number])} on"
            return "missing-piece", f"it is not said where the piece {where} is stored"
        room = self._sizes[file]
        if room is None:
            return None
        end = chunks.offsets[number] + chunks.lengths[number]
        where = f"bytes {chunks.offsets[number]:,} to {end:,} of {clean(self._names[file], 80)}"
        if end > room:
            return "storage-bounds", f"a piece lies in {where}, which has {room:,}: it was overwritten, or is cut off"
        if number not in chunks.transforms and chunks.lengths[number] < tensor.dtype.nbytes(count):
            return "storage-bounds", f"a piece of {tensor.dtype.nbytes(count):,} bytes is said to lie in {where}"
        if number in self._shared:
            return "storage-bounds", f"a piece lies in {where}{_SHARED}"
        return None


def _shared_windows(metadata: Metadata, sizes: list[int | None]) -> set[int]:
    """The numbers of chunks whose window begins inside another, in files that claim more bytes than they have.

    What is read must follow from the bytes that are there, however many tensors are said to lie in them.
    """
    chunks = metadata.chunks
    claimed = [0] * len(sizes)
    for file, length in zip(chunks.files, chunks.lengths, strict=True):
        if length:
            claimed[file] += length
    shared: set[int] = set()
    for file, (total, room) in enumerate(zip(claimed, sizes, strict=True)):
        if room is None or total <= room:
            continue
        numbers = [number for number, other in enumerate(chunks.files) if other == file and chunks.lengths[number]]
        stop = 0
        for number in sorted(numbers, key=lambda number: chunks.offsets[number]):
            if chunks.offsets[number] < stop:
                shared.add(number)
            stop = max(stop, chunks.offsets[number] + chunks.lengths[number])
    return shared


def _file_findings(metadata: Metadata, reasons: Mapping[str, str]) -> Iterator[Finding]:
    """One finding for each file that cannot be opened, with the number of its pieces."""
    if not reasons:
        return
    counts: dict[str, int] = dict.fromkeys(reasons, 0)
    for file in metadata.chunks.files:
        if file != NOT_STORED and metadata.files[file] in counts:
            counts[metadata.files[file]] += 1
    for window in metadata.objects.values():
        if window is not None and window.file in counts:
            counts[window.file] += 1
    for name, reason in list(reasons.items())[:_SHOWN]:
        evidence = f"{reason}; by the metadata, {plural(counts[name], 'piece')} {are(counts[name])} in it"
        rule = "outside-folder" if is_outside(name) else "missing-shard"
        yield Finding("error", rule, None, evidence, file=clean(name, 120))
    if len(reasons) > _SHOWN:
        yield Finding("error", "missing-shard", None, f"{len(reasons) - _SHOWN:,} more files cannot be opened")
