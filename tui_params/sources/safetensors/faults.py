"""What can be wrong with a safetensors header, and what can be shown all the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import msgspec

from tui_params.core.dtypes import from_safetensors, unknown
from tui_params.core.findings import Finding
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural, shorten, size
from tui_params.errors import OpenError
from tui_params.sources.bytes.local import DataFile

Place = tuple[int, int, str]
"""First byte, one past the last byte (both from the start of the data), name."""

MAX_FINDINGS = 20
"""Findings of one rule for one file; the others are only counted."""

MAX_TEXT = 2000
"""Characters that are kept of one piece of metadata."""

MAX_NDIM = 64
"""The most dimensions a tensor may have here; numpy and torch have the same limit."""

MAX_OFFSET = 1 << 60
"""The largest offset, and number of elements, that is accepted: a file offset has 63 bits, and a byte 8."""


def parse_exactly(header: bytes, file: DataFile) -> tuple[list[tuple[str, Any]], list[Finding]]:
    """The entries of the header in order, repeated names included, and what is wrong with the text itself.

    Raises OpenError if the text is not a JSON object.
    """
    name = clean(file.name, 120)
    findings: list[Finding] = []
    try:
        text = header.decode()
    except UnicodeDecodeError as error:
        text = header.decode(errors="replace")
        evidence = f"the header of {name} is not valid UTF-8 at byte {error.start + 8:,}; \ufffd stands for such bytes"
        findings.append(Finding("error", "bad-utf8", None, evidence))
    try:
        top = json.loads(text, object_pairs_hook=_Pairs, strict=False)
    except json.JSONDecodeError as error:
        raise OpenError(
            f"the header of {name} is not valid JSON: {error.msg} at character {error.pos:,}; the file is damaged"
        ) from None
    except (RecursionError, ValueError):
        raise OpenError(
            f"the header of {name} cannot be parsed: it is nested too deeply or holds a huge number"
        ) from None
    if not isinstance(top, _Pairs):
        raise OpenError(f"the header of {name} is not a JSON object; the file is damaged")
    seen: dict[str, int] = {}
    for key, _ in top:
        seen[key] = seen.get(key, 0) + 1
    doubles = [key for key, count in seen.items() if count > 1]
    for key in doubles[:MAX_FINDINGS]:
        evidence = f"{clean(key, 120)} occurs {seen[key]} times in the header of {name}; the last one is shown"
        findings.append(Finding("error", "duplicate-name", key, evidence))
    if len(doubles) > MAX_FINDINGS:
        evidence = f"{plural(len(doubles) - MAX_FINDINGS, 'more name')} occur more than once in the header of {name}"
        findings.append(Finding("error", "duplicate-name", None, evidence))
    return [(key, _plain(value)) for key, value in top], findings


class _Pairs(list[tuple[str, Any]]):
    """A JSON object before it is a dict, which would keep only the last of two equal keys."""


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, _Pairs) else value


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
    if not (isinstance(dims, list) and len(dims) <= MAX_NDIM and all(_is_natural(dim) for dim in dims)):
        text = clean(_written(_plain(dims)), 80)
        return bad("bad-entry", f"its shape in the header is no list of sizes: {text}", dtype=dtype)
    numel = prod(dims)
    if prod(dim for dim in dims if dim) > MAX_OFFSET:
        return bad("bad-entry", "its shape in the header is too large for any machine", dtype=dtype)
    fields: dict[str, Any] = {"shape": tuple(dims), "dtype": dtype, "numel": numel}
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(_is_natural(offset) for offset in offsets)):
        text = clean(_written(_plain(offsets)), 80)
        return bad("bad-entry", f"its data_offsets in the header are no pair of positions: {text}", **fields)
    begin, end = offsets
    if begin > end or end > MAX_OFFSET:
        return bad("bad-entry", f"its data_offsets in the header make no sense: {clean(str(offsets), 80)}", **fields)
    fields |= {"nbytes": end - begin, "offset": base + begin}
    if not dtype.is_sized:
        reason = f"its type {clean(shorten(code, 40))!r} is not known, so its values cannot be decoded"
        return bad("unknown-dtype", reason, "warning", **fields)
    if dtype.nbytes(numel) != end - begin:
        reason = f"its shape needs {dtype.nbytes(numel):,} bytes, but the header gives it {end - begin:,}"
        return bad("size-mismatch", reason, **fields)
    missing = base + end - file.size
    if missing > 0:
        if file.size <= base + begin and end > begin:
            reason = f"the file ends before the first byte of this tensor ({size(end - begin)}): it is truncated"
        else:
            reason = f"the file ends {size(missing)} before the end of this tensor: it is truncated"
        return TensorInfo(name, **fields, file=file.name, unreadable=reason), None
    info = TensorInfo(name, **fields, file=file.name)
    if not dtype.fills(numel, end - begin):
        evidence = f"its {numel:,} elements of {dtype.bits} bits do not end at a whole byte"
        return info, Finding("warning", "size-mismatch", name, evidence)
    return info, None


def _is_natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


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
    overlaps: list[Finding] = []
    holes: list[tuple[int, int]] = []
    cursor, last = 0, ""
    for begin, end, tensor in sorted(places):
        if begin < cursor and begin < end:
            evidence = (
                f"{clean(tensor, 120)} and {clean(last, 120)} share {size(min(cursor, end) - begin)} of {name}:"
                f" one of them does not hold its own values"
            )
            overlaps.append(Finding("error", "overlap", tensor, evidence))
        elif begin > cursor:
            holes.append((cursor, begin))
        if end > cursor:
            cursor, last = end, tensor
    findings = overlaps[:MAX_FINDINGS]
    if len(overlaps) > MAX_FINDINGS:
        evidence = f"{plural(len(overlaps) - MAX_FINDINGS, 'more tensor')} of {name} overlap with others"
        findings.append(Finding("error", "overlap", None, evidence))
    if holes:
        total = sum(end - begin for begin, end in holes)
        evidence = (
            f"{size(total)} of the data of {name} belong to no tensor, in {plural(len(holes), 'hole')};"
            f" the first is at byte {holes[0][0] + file.size - available:,} of the file"
        )
        findings.append(Finding("error", "hole", None, evidence))
    if cursor > available:
        lost = {tensor for begin, end, tensor in places if end > max(available, begin)}
        cut = sum(info.name in lost or info.tied_to in lost for info in tensors)
        evidence = (
            f"{name} is truncated: {size(cursor - available)} ({cursor - available:,} bytes) are missing at its end,"
            f" so that {plural(cut, 'tensor')} of {len(tensors):,} cannot be read"
        )
        findings.append(Finding("error", "truncated", None, evidence))
    elif cursor < available:
        evidence = f"{name} has {size(available - cursor)} after the last tensor that belong to none"
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
        findings.append(Finding("warning", "bad-metadata", None, "the __metadata__ of the header is no JSON object"))
        return {"__metadata__": _text(raw)}, [], findings
    for key, value in raw.items():
        is_text = isinstance(value, str)
        if is_text and key != "format" and key not in tensors and value in tensors:
            aliases.append(msgspec.structs.replace(tensors[value], name=key, tied_to=value))
            continue
        metadata[f"__metadata__.{key}"] = _text(value)
        if not is_text:
            evidence = (
                f"__metadata__ gives {clean(key, 120)} a value that is no string, which the format does not allow"
            )
            findings.append(Finding("warning", "bad-metadata", None, evidence))
        if key == "DCP_SHARDING_INFO":
            evidence = (
                "this is one rank's piece of a distributed checkpoint (DCP_SHARDING_INFO):"
                " the shapes are those of the local pieces, not of the whole tensors"
            )
            findings.append(Finding("info", "local-shapes", None, evidence))
    if len(findings) > MAX_FINDINGS:
        findings = findings[:MAX_FINDINGS]
    return metadata, aliases, findings


def _text(value: Any) -> str:
    return shorten(value if isinstance(value, str) else _written(value), MAX_TEXT)


def _written(value: Any) -> str:
    """``value`` as JSON. What could just be parsed may be nested too deeply to be written again."""
    try:
        return json.dumps(value, default=str)
    except RecursionError:
        return "(nested too deeply to show)"
