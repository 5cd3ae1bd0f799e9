"""What can be wrong with a safetensors header, and what can be shown all the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import msgspec

from tui_params.core.adapter_config import AdapterConfig, parse_adapter_metadata
from tui_params.core.dtypes import from_safetensors, unknown
from tui_params.core.findings import Finding
from tui_params.core.tensor import MAX_LISTED_NDIM, TensorInfo, beyond_numpy
from tui_params.core.text import are, clean, exact_size, plural, shorten, size
from tui_params.sources.bytes.local import DataFile
from tui_params.sources.safetensors.header_text import MAX_FINDINGS, Pairs, is_array

Place = tuple[int, int, str]
"""First byte, one past the last byte (both from the start of the data), name."""

_ADAPTER_KEY = "lora_adapter_metadata"

MAX_TEXT = 2000
"""Characters that are kept of one piece of metadata."""

MAX_OFFSET = 1 << 60
"""The largest offset, and number of elements, that is accepted: a file offset has 63 bits, and a byte 8."""


def describe_faulty(name: str, raw: Any, file: DataFile, base: int) -> tuple[TensorInfo, Finding | None]:
    """The TensorInfo of one header entry, which may be anything, and what is wrong with it.

    ``base`` is the byte of the file where the data start. A tensor that is only cut off gets no finding of its own:
    ``layout_findings`` reports a truncation once.
    """

    def bad(rule: str, reason: str, severity: str = "error", **fields: Any) -> tuple[TensorInfo, Finding]:
        described: dict[str, Any] = {"shape": (), "dtype": unknown("?"), "numel": 0, "nbytes": 0} | fields
        info = TensorInfo(name, **described, file=file.name, unreadable=reason)
        return info, Finding("warning" if severity == "warning" else "error", rule, name, reason)

    if not isinstance(raw, dict):
        return bad("bad-entry", "its entry in the header is not a JSON object")
    code, dims, offsets = raw.get("dtype"), raw.get("shape"), raw.get("data_offsets")
    if not isinstance(code, str):
        return bad("bad-entry", "the header gives no dtype for it")
    dtype = from_safetensors(code) or unknown(shorten(code, 40))
    if is_array(dims) and len(dims) > MAX_LISTED_NDIM:
        reason = f"its shape in the header has {len(dims):,} dimensions, and {MAX_LISTED_NDIM:,} are listed at most"
        return bad("bad-entry", reason, dtype=dtype)
    if not (is_array(dims) and all(_is_natural(dim) for dim in dims)):
        text = clean(_written(dims), 80)
        return bad("bad-entry", f"its shape in the header is no list of sizes: {text}", dtype=dtype)
    numel = prod(dims)
    if prod(dim for dim in dims if dim) > MAX_OFFSET:
        return bad("bad-entry", "its shape in the header is too large for any machine", dtype=dtype)
    fields: dict[str, Any] = {"shape": tuple(dims), "dtype": dtype, "numel": numel}
    if not (is_array(offsets) and len(offsets) == 2 and all(_is_natural(offset) for offset in offsets)):
        text = clean(_written(offsets), 80)
        return bad("bad-entry", f"its data_offsets in the header are no pair of positions: {text}", **fields)
    begin, end = offsets
    if begin > end or end > MAX_OFFSET:
        return bad("bad-entry", f"its data_offsets in the header make no sense: {clean(str(offsets), 80)}", **fields)
    fields |= {"nbytes": end - begin, "offset": base + begin}
    if not dtype.is_sized:
        reason = f"its type {clean(shorten(code, 40))!r} is not known, so its values cannot be decoded"
        return bad("unknown-dtype", reason, "warning", **fields)
    if dtype.nbytes(numel) != end - begin:
        reason = f"its shape needs {plural(dtype.nbytes(numel), 'byte')}, but the header gives it {end - begin:,}"
        return bad("size-mismatch", reason, **fields)
    missing = base + end - file.size
    if missing > 0:
        if file.size <= base + begin and end > begin:
            reason = f"the file ends before the first byte of this tensor ({size(end - begin)}): it is truncated"
        else:
            reason = f"the file ends {size(missing)} before the end of this tensor: it is truncated"
        return TensorInfo(name, **fields, file=file.name, unreadable=reason), None
    info = TensorInfo(name, **fields, file=file.name, unreadable=beyond_numpy(len(dims)))
    if not dtype.fills(numel, end - begin):
        elements = f"{plural(numel, 'element')} of {plural(dtype.bits, 'bit')}"
        evidence = f"its {elements} {are(numel, 'does', 'do')} not end at a whole byte: other readers refuse the file"
        return info, Finding("error", "size-mismatch", name, evidence)
    return info, None


def _is_natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class _Overlap(NamedTuple):
    """The place of a tensor that starts before the end of another, and the bytes that the two share.

    ``is_same``: it is the place of the other one too.
    """

    begin: int
    end: int
    tensor: str
    other: str
    shared: int
    is_same: bool


def _overlap_findings(overlaps: list[_Overlap], name: str) -> list[Finding]:
    """One finding for each tensor that overlaps, one for all that have the same bytes, or one for very many."""
    groups: dict[tuple[int, int], list[_Overlap]] = {}
    for overlap in overlaps:
        groups.setdefault((overlap.begin, overlap.end), []).append(overlap)
    if len(groups) > MAX_FINDINGS:
        first = overlaps[0]
        evidence = (
            f"{plural(len(overlaps), 'tensor')} of {name} overlap with others, first {clean(first.tensor, 120)} with"
            f" {clean(first.other, 120)}: they do not hold their own values"
        )
        return [Finding("error", "overlap", None, evidence)]
    findings = []
    for (begin, end), members in groups.items():
        tensor, other = clean(members[0].tensor, 120), clean(members[0].other, 120)
        if begin == end:
            evidence = (
                f"{tensor} has no elements, but the place that the header gives it is inside {other}:"
                " other readers refuse the file"
            )
            findings.append(Finding("error", "overlap", members[0].tensor, evidence))
        elif len(members) > 1:
            shared = size(end - begin)
            if members[0].is_same:
                who = f"{len(members) + 1:,} tensors of {name} share the same {shared}, first {other} and {tensor}"
            else:
                who = f"{len(members):,} tensors of {name}, first {tensor}, share the same {shared} of {other}"
            evidence = f"{who}: at most one of them holds its own values"
            findings.append(Finding("error", "overlap", None, evidence))
        else:
            evidence = (
                f"{tensor} and {other} share {size(members[0].shared)} of {name}: one of them does not hold its own"
                " values"
            )
            findings.append(Finding("error", "overlap", members[0].tensor, evidence))
    return findings


def layout_findings(
    places: list[Place], available: int, file: DataFile, tensors: Sequence[TensorInfo]
) -> list[Finding]:
    """What is wrong with the places of all tensors together: the format requires every byte to be used exactly once.

    ``tensors`` are all tensors that the file lists, tied ones under each of their names; the evidence counts them.
    """
    if all(before[1] == after[0] for before, after in pairwise(places)) and (
        places[0][0] == 0 and places[-1][1] == available if places else available == 0
    ):
        return []
    name = clean(file.name, 120)
    overlaps: list[_Overlap] = []
    holes: list[tuple[int, int]] = []
    cursor, last, place = 0, "", (0, 0)
    for begin, end, tensor in sorted(places):
        if begin < cursor:
            overlaps.append(_Overlap(begin, end, tensor, last, min(cursor, end) - begin, (begin, end) == place))
        elif begin > cursor:
            holes.append((cursor, begin))
        if end > cursor:
            cursor, last, place = end, tensor, (begin, end)
    findings = _overlap_findings(overlaps, name)
    if holes:
        total = sum(end - begin for begin, end in holes)
        evidence = (
            f"{exact_size(total)} of the data of {name} {are(total, 'belongs', 'belong')} to no tensor,"
            f" in {plural(len(holes), 'hole')};"
            f" the first is at byte {holes[0][0] + file.size - available:,} of the file"
        )
        findings.append(Finding("error", "hole", None, evidence))
    if cursor > available:
        missing = cursor - available
        lost = {tensor for begin, end, tensor in places if end > max(available, begin)}
        cut = sum(info.name in lost or info.tied_to in lost for info in tensors)
        evidence = (
            f"it is truncated: {exact_size(missing)} {are(missing)} missing at its end, so that"
            f" {cut:,} of {plural(len(tensors), 'tensor')} cannot be read"
        )
        if not cut:
            evidence = evidence.partition(", so that")[0] + ", where no tensor has a value"
        findings.append(Finding("error", "truncated", None, evidence))
    elif cursor < available:
        behind = available - cursor
        belong = are(behind, "belongs", "belong")
        evidence = f"it has {exact_size(behind)} after the last tensor that {belong} to none"
        findings.append(Finding("error", "trailing-bytes", None, evidence))
    return findings


def read_metadata(raw: Any, tensors: dict[str, TensorInfo]) -> tuple[dict[str, str], list[TensorInfo], list[Finding]]:
    """Reads the ``__metadata__`` of a header: texts of bounded length by dotted name, tied tensors, findings.

    ``save_model`` of the safetensors library keeps one of several tied tensors and records each of the others as
    ``{"its name": "name of the one that was kept"}``.
    """
    findings: list[Finding] = []
    aliases: list[TensorInfo] = []
    metadata: dict[str, str] = {}
    if not isinstance(raw, dict):
        findings.append(Finding("error", "bad-metadata", None, "the __metadata__ of the header is no JSON object"))
        return {"__metadata__": _text(raw)}, [], findings
    for key, value in raw.items():
        is_text = isinstance(value, str)
        if is_text and key != "format" and key not in tensors and value in tensors:
            aliases.append(msgspec.structs.replace(tensors[value], name=key, tied_to=value))
            continue
        metadata[f"__metadata__.{key}"] = _text(value)
        if not is_text:
            evidence = f"the value of {clean(key, 120)} in __metadata__ is no string, which the format does not allow"
            findings.append(Finding("error", "bad-metadata", None, evidence))
        if key == "DCP_SHARDING_INFO" and _is_piece(value, tensors):
            evidence = (
                "this is one rank's piece of a distributed checkpoint (DCP_SHARDING_INFO):"
                " the shapes are those of the local pieces, not of the whole tensors"
            )
            findings.append(Finding("info", "local-shapes", None, evidence))
    if len(findings) > MAX_FINDINGS:
        findings = findings[:MAX_FINDINGS]
    return metadata, aliases, findings


def read_adapters(raw: Any) -> tuple[AdapterConfig, ...]:
    """The configurations of adapters that diffusers keeps in the ``__metadata__`` of a header."""
    text = raw.get(_ADAPTER_KEY) if isinstance(raw, dict) else None
    return parse_adapter_metadata(text, _ADAPTER_KEY) if isinstance(text, str) else ()


def _is_piece(info: Any, tensors: dict[str, TensorInfo]) -> bool:
    """Whether the file has one rank's pieces: torch/distributed/checkpoint/hf_storage.py, ``_hf_utils.py``.

    A whole model (``save_distributed=False``) has the same entry, with zero offsets only, and is not named ``shard-``.
    """
    if any((tensor.file or "").startswith("shard-") for tensor in tensors.values()):
        return True
    try:
        offsets = msgspec.json.decode(info, type=dict[str, dict[str, list[int]]])
    except (msgspec.MsgspecError, RecursionError, ValueError, TypeError):
        return True
    return any(number for entry in offsets.values() for number in entry.get("saved_offsets", ()))


def _text(value: Any) -> str:
    return shorten(value if isinstance(value, str) else _written(value), MAX_TEXT)


def _written(value: Any) -> str:
    """``value`` as JSON. What could just be parsed may be nested too deeply to be written again."""
    import json

    try:
        return json.dumps(_plain(value), default=str)
    except RecursionError:
        return "(nested too deeply to show)"


def _plain(value: Any) -> Any:
    if isinstance(value, Pairs):
        return {key: _plain(each) for key, each in value}
    return [_plain(each) for each in value] if isinstance(value, list) else value
