"""ONNX models as a source: initialisers and constants, inside the file or in the files of external data beside it."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from math import prod
from pathlib import Path, PurePosixPath

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.dequantized import Ways
from tui_params.core.findings import Finding
from tui_params.core.reading.extent import Extent
from tui_params.core.reading.place import Place
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo, beyond_numpy
from tui_params.core.tensor_columns import Form, TensorColumns
from tui_params.core.text import clean, plural, shape, size
from tui_params.errors import OpenError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.files import real
from tui_params.sources.bytes.local import DataFile, opened, small_reads
from tui_params.sources.bytes.made import LastMade, MadePlace
from tui_params.sources.bytes.protobuf import Bytes
from tui_params.sources.onnx.dequantize import dequantized
from tui_params.sources.onnx.graph import Found, Walk
from tui_params.sources.onnx.node import CODES, Node
from tui_params.sources.onnx.tensor import STRING, Proto, offset_and_length
from tui_params.sources.onnx.typed import IN_PLACE, MAX_TYPED_NBYTES, Typed, elements
from tui_params.sources.onnx.usual import Run

_RENAMED = re.compile(r"val_\d+|onnx::\w+_\d+", re.ASCII)
"""What torch.onnx calls weights that it had to transpose."""

_RENAMED_STARTS = ("val", "onn")
_TRANSPOSED = "named by the exporter: a MatMul's weight is (in, out), transposed"
_OUTSIDE = "is outside the folder of the model"
_LINKED = "leads by a link outside the folder of the model"
_MAX_NUMEL = 1 << 60
_FINDINGS = 20


class OnnxSource(ExtentSource):
    """The tensors of one model; those in ``typed`` are made of numbers when they are read."""

    def __init__(
        self,
        label: str,
        listing: Listing,
        extents: dict[str, Extent],
        files: dict[str, DataFile],
        typed: dict[str, Typed],
    ) -> None:
        super().__init__(label, listing, extents, files)
        self._typed = typed
        self._made = LastMade(elements)

    def locate(self, info: TensorInfo) -> tuple[Place, Extent]:
        typed = self._typed.get(info.name)
        if typed is None or info.unreadable is not None or self._is_closed:
            return super().locate(info)
        name = info.file or ""
        return MadePlace(self._made, self.files[name], typed), Extent(name, 0, 0, info.nbytes)


def open_onnx(path: Path) -> OnnxSource:
    """The tensors of an ONNX model, also of one that is damaged. Raises OpenError."""
    with opened(path) as (descriptor, file), collector_paused():
        walk = Walk(Bytes(small_reads(descriptor), file.size), file.name)
        walk.model()
        lister = _Lister(file)
        tensors: Sequence[TensorInfo] | None = _columns(walk)
        if tensors is None:
            for found in walk.tensors:
                if isinstance(found, Run):
                    lister.add_run(found, walk.usual.forms)
                else:
                    lister.add(found)
            tensors = tuple(lister.tensors.values())
    findings = lister.findings
    unlisted = walk.fault
    if walk.is_cut:
        unlisted = f"the model goes on beyond the {file.size:,} bytes of its file"
        findings.insert(0, Finding("error", "truncated", None, unlisted))
    elif walk.fault is not None:
        findings.insert(0, Finding("error", "bad-entry", None, walk.fault))
    if len(findings) > _FINDINGS:
        more = f"{len(findings) - _FINDINGS:,} more faults are not shown one by one"
        findings = [*findings[:_FINDINGS], Finding("error", "bad-entry", None, more)]
    listing = Listing(
        "ONNX",
        tensors,
        walk.metadata | lister.texts,
        findings=tuple(findings),
        is_ordered=True,
        unlisted=unlisted,
        dequantized=_dequantized(walk.nodes, tensors),
    )
    return OnnxSource(path.name, listing, lister.extents, lister.files, lister.typed)


def _columns(walk: Walk) -> TensorColumns | None:
    """The tensors, where there is nothing to say of any but where it lies; else None."""
    names: list[str] = []
    rows, offsets = array("i"), array("q")
    for run in walk.tensors:
        if not isinstance(run, Run):
            return None
        names += run.names
        rows += run.rows
        offsets += run.offsets
    if len(set(names)) < len(names) or any(map(_is_renamed, names)):
        return None
    return TensorColumns(names, walk.usual.forms, rows, offsets)


def _dequantized(nodes: Sequence[Node], tensors: Sequence[TensorInfo]) -> Ways:
    """What the nodes make of the tensors; most models have none that makes anything of codes."""
    if not any(node.operator in CODES for node in nodes):
        return {}
    return dequantized(nodes, {info.name: info for info in tensors})


def _is_renamed(name: str) -> bool:
    return name[:3] in _RENAMED_STARTS and _RENAMED.fullmatch(name) is not None


class _Lister:
    """What was made of the tensors so far."""

    def __init__(self, file: DataFile) -> None:
        self.tensors: dict[str, TensorInfo] = {}
        self.extents: dict[str, Extent] = {}
        self.files = {file.name: file}
        self.typed: dict[str, Typed] = {}
        self.texts: dict[str, str] = {}
        self.findings: list[Finding] = []
        self._file = file
        self._absent: dict[str, tuple[str, str]] = {}

    def add(self, found: Found) -> None:
        """List one tensor."""
        proto, name = found.proto, found.name
        if proto.code == STRING and proto.fault is None:
            self.texts[name] = f"texts, {shape(proto.dims[:8])}"
            if proto.field or proto.texts != prod(proto.dims):
                evidence = f"its shape needs {plural(prod(proto.dims), 'text')}, and it has {proto.texts:,}"
                self._report(name, "storage-bounds", evidence)
            return
        name = self._free(name)
        notes: tuple[str, ...] = (found.note,) if found.note else ()
        if _RENAMED.fullmatch(found.name):
            notes += (_TRANSPOSED,)
        dtype, numel = proto.dtype, prod(proto.dims)
        info = TensorInfo(name, tuple(proto.dims), dtype, numel, dtype.nbytes(numel), file=self._file.name, notes=notes)
        if numel > _MAX_NUMEL:
            info = msgspec.structs.replace(info, shape=(), numel=0, nbytes=0)
            proto.fault = "its shape has more elements than there can be"
        refusal = beyond_numpy(len(proto.dims))
        if not dtype.is_sized:
            refusal = f"elements of type {dtype.name} cannot be decoded here"
        if proto.fault is None and refusal is None:
            info = self._external(info, proto) if proto.is_external else self._inside(info, proto)
        elif proto.fault is not None:
            self._report(name, "bad-entry", proto.fault)
        if proto.is_odd:
            odd = "its name, or where its values are, is no UTF-8 text: other readers may refuse it"
            self.findings.append(Finding("warning", "bad-entry", name, odd))
        reason = proto.fault or refusal
        if reason is not None:
            info = msgspec.structs.replace(info, unreadable=reason)
        self.tensors[name] = info

    def add_run(self, run: Run, forms: Sequence[Form]) -> None:
        """List tensors of which there is nothing to say but where their raw bytes are, and what their names are."""
        for own, row, offset in zip(run.names, run.rows, run.offsets, strict=True):
            form, name = forms[row], self._free(own)
            notes = (_TRANSPOSED,) if _is_renamed(own) else ()
            self.tensors[name] = TensorInfo(
                name, form.shape, form.dtype, form.numel, form.nbytes, "tensor", form.file, offset, notes=notes
            )

    def _free(self, name: str) -> str:
        """The name, or one like it that no tensor has yet."""
        if name not in self.tensors:
            return name
        number = 2
        while f"{name}#{number}" in self.tensors:
            number += 1
        return f"{name}#{number}"

    def _inside(self, info: TensorInfo, proto: Proto) -> TensorInfo:
        """The tensor whose values are in the model itself."""
        nbytes = sum(stop - start for start, stop in proto.ranges)
        if not info.numel and nbytes:
            return self._faulty(info, "storage-bounds", f"its shape has no elements, and it has {nbytes:,} bytes")
        if not info.numel:
            return msgspec.structs.replace(info, offset=0)
        if any(stop > self._file.size for _, stop in proto.ranges):
            return self._faulty(info, "truncated", "the file ends before its values do")
        if proto.field in IN_PLACE and nbytes != info.nbytes:
            has = f"its shape and type need {info.nbytes:,} bytes, and it has {nbytes:,}"
            return self._faulty(info, "storage-bounds", has)
        if proto.field in IN_PLACE and len(proto.ranges) == 1:
            return msgspec.structs.replace(info, offset=proto.ranges[0][0])
        if not proto.ranges:
            return self._faulty(info, "storage-bounds", "it has no values, though its shape needs some")
        if nbytes > MAX_TYPED_NBYTES:
            most = f"its values are {size(nbytes)} of single numbers, and at most {size(MAX_TYPED_NBYTES)} are read"
            return msgspec.structs.replace(info, unreadable=most)
        width = max(info.dtype.itemsize, 1)
        if proto.field not in IN_PLACE and nbytes * width < info.nbytes:
            # A number takes a byte at least.
            return self._faulty(info, "storage-bounds", "it has fewer values than its shape needs")
        count, bits = (info.numel, 6) if info.dtype.bits == 6 else (info.nbytes // width, 0)
        self.typed[info.name] = Typed(tuple(proto.ranges), proto.field, width, count, bits)
        return info

    def _external(self, info: TensorInfo, proto: Proto) -> TensorInfo:
        """The tensor whose values are in a file beside the model."""
        location = proto.external.get("location", "")
        place = offset_and_length(proto.external)
        if not location or place is None:
            return self._faulty(info, "bad-entry", "it is not said where its values are")
        file = self._open(location)
        if isinstance(file, tuple):
            return self._faulty(msgspec.structs.replace(info, file=location), *file)
        offset, length = place
        length = max(file.size - offset, 0) if length is None else length
        info = msgspec.structs.replace(info, file=file.name, offset=offset)
        if length != info.nbytes:
            has = f"its shape and type need {info.nbytes:,} bytes, and the model gives it {length:,}"
            return self._faulty(info, "storage-bounds", has)
        if offset + length > file.size:
            end = f"it ends at byte {offset + length:,} of {clean(location, 60)}, which has {file.size:,}"
            return self._faulty(info, "truncated", end)
        return info

    def _open(self, location: str) -> DataFile | tuple[str, str]:
        """A file of external data, or the rule and the reason by which it is not opened."""
        known = self.files.get(location)
        if known is not None and known is not self._file:
            return known
        if known is not None:
            # The model itself would be another file of the same name.
            return "missing-shard", f"{clean(location, 60)} is the model itself"
        if location not in self._absent:
            path = _inside_folder(self._file.path.absolute(), location)
            if isinstance(path, str):
                self._absent[location] = "outside-folder", f"{clean(location, 80)} {path}: it is not opened"
            else:
                try:
                    with opened(path) as (_, file):
                        self.files[location] = file = msgspec.structs.replace(file, name=location)
                        return file
                except OpenError as error:
                    self._absent[location] = "missing-shard", f"its values are in another file: {error}"
        return self._absent[location]

    def _faulty(self, info: TensorInfo, rule: str, evidence: str) -> TensorInfo:
        self._report(info.name, rule, evidence)
        return msgspec.structs.replace(info, unreadable=evidence)

    def _report(self, name: str, rule: str, evidence: str) -> None:
        self.findings.append(Finding("error", rule, name, evidence))


def _inside_folder(model: Path, location: str) -> Path | str:
    """The path of external data, or how it leads out of the folder of the model.

    A link may lead into that folder, or into the one where the model itself is behind its links: in the cache of the
    Hugging Face Hub all files of ``snapshots/`` are links into ``blobs/``.
    """
    relative, folder = PurePosixPath(location), model.parent
    if relative.is_absolute() or ".." in relative.parts or "\0" in location or not relative.name:
        return _OUTSIDE
    try:
        leads = PurePosixPath(real(folder / relative))
        homes = real(folder), str(PurePosixPath(real(model)).parent)
    except (OSError, ValueError):
        return _OUTSIDE
    return folder / relative if any(map(leads.is_relative_to, homes)) else _LINKED
