"""safetensors files: a JSON header of names, types, shapes and places, then the bytes.

The format is described at github.com/huggingface/safetensors (README, "Format"). The parser is our own, because the
library refuses a whole file for one unknown type, one missing byte or one gap, which is just when people want to look.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, chain, count
from math import prod
from operator import attrgetter, ne
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.dtypes import DTYPES, from_safetensors
from tui_params.core.findings import Finding
from tui_params.core.shifted import shifted
from tui_params.core.source import Listing
from tui_params.core.tensor import MAX_NDIM, TensorInfo
from tui_params.core.tensor_columns import Form, TensorColumns
from tui_params.core.text import are, clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes.content import MAX_HEADER_NBYTES
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.local import DataFile, Descriptor, opened, read_bytes
from tui_params.sources.safetensors.faults import (
    MAX_OFFSET,
    Place,
    describe_faulty,
    layout_findings,
    read_adapters,
    read_metadata,
)
from tui_params.sources.safetensors.header_text import NEGATIVE_ZERO, parse_exactly, read_plainly, size_findings

FORMAT = "safetensors"

MAX_LISTED_NBYTES = 1 << 28
"""Bytes of the longest header that is listed: more than the format allows, but memory is bounded (about 7 times it)."""

_Natural = Annotated[int, msgspec.Meta(ge=0, le=MAX_OFFSET)]


class _Entry(msgspec.Struct, gc=False):
    # The defaults let "__metadata__" through, which has none of these fields; it is read apart. No header can give
    # them, so that a field that is missing shows. A product of 0 keeps such a shape from fitting any offsets.
    dtype: str = ""
    shape: Annotated[tuple[_Natural, ...], msgspec.Meta(max_length=MAX_NDIM)] = (-1, 0)
    data_offsets: tuple[_Natural, _Natural] = (-1, -1)


_DECODER = msgspec.json.Decoder(dict[str, _Entry])


_KNOWN = tuple([dtype.safetensors for dtype in DTYPES if dtype.safetensors])
_FIELDS = [
    ("dtype", Literal[_KNOWN], ""),
    ("shape", tuple[int, ...], (-1, 0)),
    ("data_offsets", tuple[int, int], (-1, -1)),
]
_QuickEntry = msgspec.defstruct("_QuickEntry", _FIELDS, gc=False)
_QUICK_DECODER = msgspec.json.Decoder(dict[str, _QuickEntry])  # type: ignore[valid-type]
"""Knows only the types of the table, one object each, and leaves the numbers to ``_columns``, which sees all."""

_FORM_OF, _PLACE_OF = attrgetter("shape", "dtype"), attrgetter("data_offsets")


def open_safetensors(path: Path) -> ExtentSource:
    """The tensors of one safetensors file, also of one that is damaged. Raises OpenError if it has no usable header."""
    with opened(path) as (descriptor, file):
        header = read_header(descriptor, file)
    with collector_paused():
        listing = list_tensors(header, file)
    return ExtentSource(path.name, listing, {}, {file.name: file})


def read_header(descriptor: Descriptor, file: DataFile, start: int = 0) -> bytes:
    """The JSON text of the header; ``file`` begins at the byte ``start`` of what is read. Raises OpenError, OSError."""
    name = clean(file.name, 120)
    if file.size == 0:
        raise OpenError(f"{name} is empty (0 bytes)")
    if file.size < 8:
        raise OpenError(f"{name} has {file.size} bytes, too few for a safetensors file")
    length = int.from_bytes(read_bytes(descriptor, start, 8), "little")
    # A longer header than the format allows is listed all the same, if it is there.
    limit, whose = MAX_HEADER_NBYTES, "that the format allows"
    if length <= file.size - 8:
        limit, whose = MAX_LISTED_NBYTES, "that are read here"
    if length > limit:
        raise OpenError(
            f"{name} is not a safetensors file, or is damaged: its first 8 bytes announce a header of {length:,} bytes,"
            f" more than the {limit:,} {whose}"
        )
    header = read_bytes(descriptor, start + 8, min(length, file.size - 8))
    if len(header) < length:
        raise OpenError(
            f"{name} ends inside its header: only {len(header):,} of its {plural(length, 'byte')}"
            f" {are(len(header))} there: it is truncated"
        )
    if not header.lstrip(b" \t\r\n").startswith(b"{"):
        raise OpenError(f"{name} is not a safetensors file, or is damaged: its header does not start with '{{'")
    return header


def list_tensors(header: bytes, file: DataFile) -> Listing:
    """What the header says, checked against the size of the file. Raises OpenError if it is no JSON object."""
    sound = _list_sound(header, file)
    if sound is not None:
        return sound
    try:
        entries = _DECODER.decode(header)
        raw_metadata = b""
        if "__metadata__" in entries:
            raw_metadata = _raw_metadata(header)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return _list_exactly(header, file)
    metadata = read_plainly(raw_metadata) if raw_metadata else None
    if not _is_plain(header, len(entries), raw_metadata) or (raw_metadata and metadata is None):
        return _list_exactly(header, file)
    entries.pop("__metadata__", None)
    base = 8 + len(header)
    available = file.size - base
    types = {code: from_safetensors(code) for code in {entry.dtype for entry in entries.values()}}
    tensors: list[TensorInfo] = []
    findings = size_findings(header, file)
    places: list[Place] = []
    name_of_file = file.name
    for name, entry in entries.items():
        begin, end = entry.data_offsets
        shape = entry.shape
        dtype = types[entry.dtype]
        numel = prod(shape)
        # Not DType.fills: no type of this format is stored in blocks, and a call takes a twentieth of the opening.
        if dtype is None or end > available or numel * dtype.bits != (end - begin) * 8 or not numel:
            if not entry.dtype or begin < 0 or shape == _Entry().shape:
                return _list_exactly(header, file)
            raw = {"dtype": entry.dtype, "shape": list(shape), "data_offsets": [begin, end]}
            info, finding = describe_faulty(name, raw, file, base)
            tensors.append(info)
            if finding is not None:
                findings.append(finding)
            if info.offset is None:
                continue
        else:
            tensors.append(TensorInfo(name, shape, dtype, numel, end - begin, "tensor", name_of_file, base + begin))
        places.append((begin, end, name))
    return _listing(tensors, places, metadata, findings, file, available)


def _list_sound(header: bytes, file: DataFile) -> Listing | None:
    """What a header says in which nothing is wrong, as in most; None if anything is odd, or if it lists no tensor."""
    try:
        entries: dict[str, Any] = _QUICK_DECODER.decode(header)
        raw_metadata = _raw_metadata(header) if "__metadata__" in entries else b""
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    metadata = read_plainly(raw_metadata) if raw_metadata else None
    if not _is_plain(header, len(entries), raw_metadata) or (raw_metadata and metadata is None):
        return None
    entries.pop("__metadata__", None)
    base = 8 + len(header)
    tensors = _columns(entries, file.name, base, file.size - base)
    if tensors is None:
        return None
    return _listing(tensors, None, metadata, size_findings(header, file), file, file.size - base)


def _columns(entries: dict[str, Any], file: str, base: int, available: int) -> TensorColumns | None:
    """The tensors of a file if each begins where the last one ends, and none is without elements; else None.

    Whole columns are compared at once: 100,000 tensors have a few shapes, and a loop over them would take as long as
    the parser.
    """
    found = list(entries.values())
    number_of: defaultdict[tuple[tuple[int, ...], str], int] = defaultdict(count().__next__)
    rows = array("i", map(number_of.__getitem__, map(_FORM_OF, found)))
    forms: list[Form] = []
    for shape, code in number_of:
        dtype, numel = from_safetensors(code), prod(shape)
        if dtype is None or not min(shape, default=1) > 0 or len(shape) > MAX_NDIM or numel * dtype.bits % 8:
            return None
        forms.append(Form(shape, dtype, numel, numel * dtype.bits // 8, file))
    try:
        bounds = array("q", chain.from_iterable(map(_PLACE_OF, found)))
    except OverflowError:
        return None
    begins, ends = bounds[::2], bounds[1::2]
    if not found or begins[0] != 0 or ends[-1] != available or begins[1:] != ends[:-1]:
        return None
    # Their sizes fit if the sums of what the shapes need are the ends.
    if any(map(ne, accumulate(map([form.nbytes for form in forms].__getitem__, rows)), ends)):
        return None
    return TensorColumns(list(entries), forms, rows, shifted(begins, base))


class _Metadata(msgspec.Struct):
    metadata: msgspec.Raw = msgspec.field(name="__metadata__")


_METADATA_DECODER = msgspec.json.Decoder(_Metadata)
_METADATA_FIRST = b'{"__metadata__":{'


def _raw_metadata(header: bytes) -> bytes:
    """The text of the ``__metadata__`` of a header that has one. Raises MsgspecError, RecursionError."""
    if header.startswith(_METADATA_FIRST):
        # Where it comes first, as writers have it, it ends at the first such place, unless that is inside a text: then
        # what is before it is no JSON. The parser would pass over all the rest.
        end = header.find(b'},"', len(_METADATA_FIRST))
        try:
            return bytes(_METADATA_DECODER.decode(header[: end + 1] + b"}").metadata)
        except msgspec.MsgspecError:
            pass
    return bytes(_METADATA_DECODER.decode(header).metadata)


def _is_plain(header: bytes, count: int, metadata: bytes) -> bool:
    """Whether a quick parse of ``header``, into ``count`` entries, has lost nothing, nor let pass what is forbidden.

    If none of its fields is missing, an entry has ten quotes: two around its name, each of its three fields and its
    type. A name or field that occurs twice, an unknown field, and a quote in a name make more of them.
    """
    quotes = 10 * count
    if metadata:
        quotes += 2 - 10 + metadata.count(b'"')
    # The parser takes -0 for 0; the library does not.
    return header.count(b'"') == quotes and not (
        b"-" in header and b"-0" in header and NEGATIVE_ZERO.search(header) is not None
    )


def _list_exactly(header: bytes, file: DataFile) -> Listing:
    """The slow way, for headers that the quick parse does not understand: lists everything that can be shown."""
    base = 8 + len(header)
    pairs, findings = parse_exactly(header, file)
    findings[:0] = size_findings(header, file)
    tensors: dict[str, TensorInfo] = {}
    places: list[Place] = []
    metadata: Any = None
    for name, raw in pairs:
        if name == "__metadata__":
            metadata = raw
            continue
        # Of two entries with one name the last is shown, as readers of JSON agree; the bytes of both are accounted for.
        info, finding = describe_faulty(name, raw, file, base)
        tensors[name] = info
        if finding is not None:
            findings.append(finding)
        if info.offset is not None:
            places.append((*raw["data_offsets"], name))
    return _listing(list(tensors.values()), places, metadata, findings, file, file.size - base)


def _listing(
    tensors: Sequence[TensorInfo],
    places: list[Place] | None,
    raw_metadata: Any,
    findings: list[Finding],
    file: DataFile,
    available: int,
) -> Listing:
    """The listing of a file; ``places`` are None if they are known to be sound."""
    metadata: dict[str, str] = {}
    more: list[Finding] = []
    if raw_metadata is not None:
        # Most say only {"format": "pt"}, which is about no tensor.
        named = {} if raw_metadata == {"format": "pt"} else {info.name: info for info in tensors}
        metadata, aliases, more = read_metadata(raw_metadata, named)
        tensors = [*tensors, *aliases] if aliases else tensors
    if places is not None:
        findings += layout_findings(places, available, file, tensors)
    adapters = read_adapters(raw_metadata)
    listed = tensors if isinstance(tensors, TensorColumns) else tuple(tensors)
    return Listing(FORMAT, listed, metadata, findings=(*findings, *more), adapters=adapters)
