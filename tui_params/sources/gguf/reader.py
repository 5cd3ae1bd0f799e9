"""GGUF files as a source: plain tensors where they lie, blocks restored to float32 when they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.dtypes import DType
from tui_params.core.findings import Finding
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo, beyond_numpy
from tui_params.core.text import clean, plural
from tui_params.core.window import Window
from tui_params.errors import OpenError
from tui_params.sources.bytes.extents import ExtentSource, check_window
from tui_params.sources.bytes.local import DataFile, opened, read_bytes
from tui_params.sources.gguf.header import Entry, Header, read_header, show
from tui_params.sources.gguf.types import type_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.ASCII)
_STEP = 1 << 18
"""Elements that are restored at a time, or more where a block or a row has more."""

_MAX_OFFSET = 1 << 60
_FINDINGS = 20


class GgufSource(ExtentSource):
    """The tensors of one GGUF file."""

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        if info.dtype.stored is None:
            yield from super().blocks(info, start, stop)
            return
        import numpy as np

        from tui_params.core.reading.gather import gather_blocks
        from tui_params.sources.gguf.blocks import restore

        stop = info.numel if stop is None else min(stop, info.numel)
        step = max(_STEP // info.dtype.grain, 1) * info.dtype.grain
        raw = msgspec.structs.replace(info, dtype=_as_stored(info.dtype))
        for begin in range(max(start, 0), stop, step):
            place, extent = self.locate(info)
            for block in gather_blocks(place, extent, raw, begin, min(begin + step, stop)):
                yield restore(block, info.dtype).view(np.uint8)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        if info.dtype.stored is None:
            return super().read_window(info, window)
        from tui_params.sources.gguf.window import restore_window

        check_window(info, window)
        return restore_window(*self.locate(info), info, window)

    def file_range(self, info: TensorInfo) -> tuple[str, int] | None:
        return super().file_range(info) if info.dtype.stored is None else None


def _as_stored(dtype: DType) -> DType:
    """The type of the blocks themselves, of which bytes alone are read."""
    return DType(dtype.name, dtype.short, 0, "unknown", block=dtype.stored)


def open_gguf(path: Path) -> GgufSource:
    """The tensors of a GGUF file, also of one that is damaged. Raises OpenError if there is no usable header."""
    with opened(path) as (descriptor, file), collector_paused():
        try:
            header = read_header(descriptor, file.size, read_bytes(descriptor, 0, 24))
        except OpenError as error:
            raise OpenError(f"{clean(file.name, 120)} is a GGUF file that cannot be read: {error}") from None
    return GgufSource(path.name, list_tensors(header, file), {}, {file.name: file})


def list_tensors(header: Header, file: DataFile) -> Listing:
    """What the header says, checked against the size of the file."""
    findings: list[Finding] = []
    alignment = header.metadata.get("general.alignment", 32)
    base: int | None = None
    if header.fault is not None:
        findings.append(Finding("error", "truncated", None, header.fault))
    elif type(alignment) is not int or alignment < 1 or alignment & (alignment - 1) or alignment > 1 << 30:
        evidence = f"its alignment is {clean(show(alignment), 40)}, no power of two: the values cannot be found"
        findings.append(Finding("error", "bad-metadata", None, evidence))
    elif header.end is not None:
        base = -(-header.end // alignment) * alignment
        if header.alignment not in (None, "u32"):
            evidence = f"its alignment is a number of type {header.alignment}: other readers take u32 alone"
            findings.append(Finding("error", "bad-metadata", None, evidence))
    tensors: dict[str, TensorInfo] = {}
    for entry in header.tensors:
        info, fault = _describe(entry, base, alignment, file)
        if entry.name in tensors:
            fault = Finding("error", "duplicate-name", entry.name, "the header has this name twice: the last is shown")
        tensors[entry.name] = info
        if fault is not None:
            findings.append(fault)
    infos = tuple(tensors.values())
    if base is not None:
        findings += _layout(infos, base, alignment, file)
    findings += [
        Finding("warning", "duplicate-name", None, f"the metadata have {clean(key, 60)} twice: the last is shown")
        for key in header.repeated[:_FINDINGS]
    ]
    if header.odd:
        more = f", and {len(header.odd) - 1:,} more" if len(header.odd) > 1 else ""
        evidence = f"no UTF-8 text, which other readers may refuse: {header.odd[0]}{more}"
        findings.append(Finding("warning", "bad-metadata", None, evidence))
    findings += _split(header, file)
    if len(findings) > _FINDINGS:
        more = f"{len(findings) - _FINDINGS:,} more faults are not shown one by one"
        findings = [*findings[:_FINDINGS], Finding("error", "bad-entry", None, more)]
    metadata = {key: show(value) for key, value in header.metadata.items()}
    return Listing(
        f"GGUF v{header.version}",
        infos,
        metadata | _width(infos),
        findings=tuple(findings),
        is_ordered=True,
        unlisted=header.fault,
    )


def _describe(entry: Entry, base: int | None, alignment: int, file: DataFile) -> tuple[TensorInfo, Finding | None]:
    """One tensor, and what is wrong with it."""
    kind = type_of(entry.type)
    shape, dtype = entry.shape, kind.dtype
    numel = prod(shape)
    is_too_large = numel > _MAX_OFFSET or any(dim > _MAX_OFFSET for dim in shape)
    if is_too_large or entry.offset > _MAX_OFFSET:
        evidence = f"its shape or its place is beyond 2**60 (the shape begins {[*shape[:4]]})"
        info = TensorInfo(entry.name, (), dtype, 0, 0, file=file.name, unreadable=evidence)
        return info, Finding("error", "bad-entry", entry.name, evidence)
    nbytes = kind.nbytes(numel)
    offset = None if base is None else base + entry.offset
    refusal = kind.refusal or beyond_numpy(len(shape))
    rule, evidence = "", ""
    if (shape[-1] if shape else 1) % kind.elements:
        last = f"its rows have {plural(shape[-1] if shape else 1, 'element')}"
        rule, evidence = "bad-entry", f"{last}, and blocks of {dtype.name} have {kind.elements}: they do not fit"
    elif offset is None:
        refusal = "it is not known where its values begin: the header is damaged"
    elif offset + nbytes > file.size:
        evidence = f"it ends at byte {offset + nbytes:,}, but the file at byte {file.size:,}"
        rule = "truncated"
    elif entry.offset % alignment:
        # llama.cpp refuses it; the values are there all the same.
        finding = Finding("error", "bad-entry", entry.name, f"it does not begin at a multiple of {alignment} bytes")
        return _info(entry, dtype, numel, nbytes, file, offset, refusal, kind.notes), finding
    info = _info(entry, dtype, numel, nbytes, file, offset, evidence or refusal, kind.notes)
    return info, Finding("error", rule, entry.name, evidence) if rule else None


def _info(
    entry: Entry,
    dtype: DType,
    numel: int,
    nbytes: int,
    file: DataFile,
    offset: int | None,
    unreadable: str | None,
    notes: tuple[str, ...],
) -> TensorInfo:
    return TensorInfo(
        entry.name, entry.shape, dtype, numel, nbytes, file=file.name, offset=offset, unreadable=unreadable, notes=notes
    )


def _layout(infos: tuple[TensorInfo, ...], base: int, alignment: int, file: DataFile) -> list[Finding]:
    """Overlaps, gaps of more than the padding, and bytes after the last tensor."""
    places = sorted(
        (info.offset, info.offset + info.nbytes, info.name)
        for info in infos
        if info.offset is not None and info.nbytes and info.offset + info.nbytes <= file.size
    )
    findings = []
    for before, after in pairwise([(base, base, ""), *places]):
        if after[0] < before[1]:
            evidence = (
                f"it begins at byte {after[0]:,}, inside {clean(before[2], 60)}, which ends at byte {before[1]:,}"
            )
            findings.append(Finding("error", "overlap", after[2], evidence))
        elif after[0] - before[1] >= alignment and all(info.dtype.is_sized for info in infos):
            evidence = f"{after[0] - before[1]:,} bytes before it belong to no tensor"
            findings.append(Finding("error", "hole", after[2], evidence))
    # Where the file is cut short, the tensors that it ends in begin behind the last whole one.
    begun = [info.offset for info in infos if info.offset is not None and info.nbytes and info.offset < file.size]
    end = max((place[1] for place in places), default=base)
    if places and end > max(begun) and file.size - end >= alignment and all(info.dtype.is_sized for info in infos):
        evidence = f"{file.size - end:,} bytes after the last tensor were not read"
        findings.append(Finding("warning", "trailing-bytes", None, evidence))
    return findings


def _width(infos: tuple[TensorInfo, ...]) -> dict[str, str]:
    """How many bits an element of the whole file takes, if any are in blocks."""
    if not any(info.dtype.stored or info.dtype.block for info in infos):
        return {}
    numel = sum(info.numel for info in infos)
    bits = 8 * sum(info.nbytes for info in infos)
    return {"bits per element": f"{bits / numel:.2f}"} if numel else {}


def _split(header: Header, file: DataFile) -> list[Finding]:
    """A finding if the name of a file that is one of several says another number than its metadata, or none."""
    count, number = header.metadata.get("split.count"), header.metadata.get("split.no")
    match = _SPLIT.search(file.name)
    if type(count) is not int or type(number) is not int or (match is None and count < 2):
        return []
    if match is not None and (int(match[1]), int(match[2])) == (number + 1, count):
        return []
    said = f"part {number + 1:,} of {count:,}"
    if match is None:
        usual = f"NAME-{number + 1:05}-of-{count:05}.gguf"
        evidence = f"its metadata say {said}, and its name does not, as in {usual}: the others are not looked for"
    else:
        evidence = f"its name says part {int(match[1]):,} of {int(match[2]):,}, and its metadata say {said}"
    return [Finding("error", "bad-metadata", None, evidence)]
