"""The text of a safetensors header: parsed slowly and completely, with a finding for all that RFC 8259 forbids.

Python's parser is more tolerant than the readers that people load their files with. What it lets pass is found here: a
file that the safetensors library refuses must not be called healthy.
"""

from __future__ import annotations

import re
from typing import Any, TypeGuard

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.text import are, clean, plural, shorten
from tui_params.errors import OpenError
from tui_params.sources.bytes.content import MAX_HEADER_NBYTES
from tui_params.sources.bytes.local import DataFile

MAX_FINDINGS = 20
"""Findings of one rule for one file; the others are only counted."""

MAX_DEPTH = 127
"""Objects and arrays inside each other that ``serde_json`` reads, the parser of the safetensors library."""

NEGATIVE_ZERO = re.compile(rb"[\[,:\s]-0")

FIELDS = ("dtype", "shape", "data_offsets")

_USUAL = b'{"format":"pt"}'
"""What writers of models put into the metadata of a header."""

_CONTROL = "Invalid control character"
"""How the message of Python's parser starts where it refuses one."""

_ESCAPE = re.compile(
    r"\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|\\u[dD][89a-fA-F][\da-fA-F]{2}|\\.", re.DOTALL
)
"""An escape in a string: both halves of a surrogate pair, one half alone, or any other."""


class Pairs(list[tuple[str, Any]]):
    """A JSON object before it is a dict, which would keep only the last of two equal keys."""


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Whether ``value`` was an array in the text; an object may be a list of pairs here."""
    return isinstance(value, list) and not isinstance(value, Pairs)


def size_findings(header: bytes, file: DataFile) -> list[Finding]:
    """An error if the header is longer than the format allows."""
    if len(header) <= MAX_HEADER_NBYTES:
        return []
    evidence = (
        f"the header of {clean(file.name, 120)} has {len(header):,} bytes, more than the {MAX_HEADER_NBYTES:,} that the"
        f" format allows: other readers refuse the file"
    )
    return [Finding("error", "long-header", None, evidence)]


def read_plainly(raw: bytes) -> dict[str, str] | None:
    """The ``__metadata__`` of a header as a dict, or None if there is anything to say about it."""
    if raw == _USUAL:
        return {"format": "pt"}
    import json  # takes 1 ms, before the first screen

    try:
        metadata = msgspec.json.decode(raw, type=dict[str, str] | None) or {}
        pairs = json.loads(raw, object_pairs_hook=list) or []
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return metadata if len(pairs) == len(metadata) else None


def parse_exactly(header: bytes, file: DataFile) -> tuple[list[tuple[str, Any]], list[Finding]]:
    """The entries of the header in order, repeated names included, and what is wrong with the text itself.

    Raises OpenError if the text is not a JSON object.
    """
    import json

    name = clean(file.name, 120)
    findings: list[Finding] = []
    try:
        text = header.decode()
    except UnicodeDecodeError as error:
        text = header.decode(errors="replace")
        evidence = f"the header of {name} is not valid UTF-8 at byte {error.start + 8:,}; \ufffd stands for such bytes"
        findings.append(Finding("error", "bad-utf8", None, evidence))
    parser = _Parser(text)
    try:
        top = parser.parse()
    except json.JSONDecodeError as error:
        raise OpenError(
            f"the header of {name} is not valid JSON: {error.msg} at character {error.pos:,}; the file is damaged"
        ) from None
    except (RecursionError, ValueError):
        raise OpenError(
            f"the header of {name} cannot be parsed: it is nested too deeply or holds a huge number"
        ) from None
    if not isinstance(top, Pairs):
        raise OpenError(f"the header of {name} is not a JSON object; the file is damaged")
    findings += [
        Finding("error", "bad-json", None, f"the header of {name} {fault}: other readers refuse the file")
        for fault in parser.faults
    ]
    findings += _doubled_names(top, name)
    findings += _doubled_fields(top, name)
    return [(key, dict(value) if isinstance(value, Pairs) else value) for key, value in top], findings


class _Parser:
    """Parses one text as Python does, and notes in ``faults`` (ends of sentences) what other parsers refuse."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.faults: dict[str, None] = {}

    def parse(self) -> Any:
        """The value of the text. Raises JSONDecodeError, ValueError, RecursionError."""
        import json

        if "\\u" in self._text:
            self._text = _ESCAPE.sub(self._whole_escape, self._text)
        try:
            value = self._load(is_strict=True)
        except json.JSONDecodeError as error:
            if not error.msg.startswith(_CONTROL):
                raise
            code = ord(self._text[error.pos]) if error.pos < len(self._text) else 0
            self.faults.clear()
            value = self._load(is_strict=False)
            self.faults[
                f"has a control character (U+{code:04X}) in a string, at character {error.pos:,}, which JSON allows"
                " only as an escape (RFC 8259, section 7)"
            ] = None
        if _depth(value) > MAX_DEPTH:
            self.faults[f"is nested more than {MAX_DEPTH} deep"] = None
        return value

    def _load(self, *, is_strict: bool) -> Any:
        import json

        return json.loads(
            self._text,
            object_pairs_hook=Pairs,
            parse_constant=self._constant,
            parse_int=self._int,
            parse_float=self._float,
            strict=is_strict,
        )

    def _whole_escape(self, match: re.Match[str]) -> str:
        found = match[0]
        if len(found) == 6:
            self.faults[f"has half of a surrogate pair ({found}) in a string, which stands for no character"] = None
            return "\ufffd"
        return found

    def _constant(self, text: str) -> float:
        self.faults[f"has the value {text}, which JSON does not have (RFC 8259, section 6)"] = None
        return float(text)

    def _int(self, text: str) -> float:
        # -0 is a float: no size and no position may be written so.
        return -0.0 if text == "-0" else int(text) if len(text) < 300 else self._within(text, int(text))

    def _float(self, text: str) -> float:
        return self._within(text, float(text))

    def _within(self, text: str, number: float) -> float:
        try:
            is_finite = abs(float(number)) != float("inf")
        except OverflowError:
            is_finite = False
        if not is_finite:
            self.faults[f"has the number {shorten(text, 20)}, which no float64 can hold"] = None
        return number


def _depth(value: Any) -> int:
    """How many objects and arrays lie inside each other at most, 0 for a plain value."""
    depth, level = 0, [value]
    while level:
        inner: list[Any] = []
        has_container = False
        for each in level:
            if isinstance(each, list):
                has_container = True
                parts = [part for _, part in each] if isinstance(each, Pairs) else each
                inner += [part for part in parts if isinstance(part, list)]
        if has_container:
            depth += 1
        level = inner
    return depth


def _doubled_names(top: Pairs, name: str) -> list[Finding]:
    seen: dict[str, int] = {}
    for key, _ in top:
        seen[key] = seen.get(key, 0) + 1
    doubles = [key for key, count in seen.items() if count > 1]
    findings = []
    for key in doubles[:MAX_FINDINGS]:
        evidence = f"{clean(key, 120)} occurs {seen[key]} times in the header of {name}; the last one is shown"
        findings.append(Finding("error", "duplicate-name", key, evidence))
    if len(doubles) > MAX_FINDINGS:
        more = len(doubles) - MAX_FINDINGS
        occur = f"{plural(more, 'more name')} {are(more, 'occurs', 'occur')} more than once"
        evidence = f"{occur} in the header of {name}"
        findings.append(Finding("error", "duplicate-name", None, evidence))
    return findings


def _doubled_fields(top: Pairs, name: str) -> list[Finding]:
    """Entries that give a field twice; the library refuses them. Of a doubled key in the metadata it takes the last."""
    findings = []
    count = 0
    for key, value in top:
        if not isinstance(value, Pairs) or len(value) == len(dict(value)):
            continue
        is_metadata = key == "__metadata__"
        fields = [field for field, _ in value]
        twice = next((each for each in fields if fields.count(each) > 1 and (is_metadata or each in FIELDS)), None)
        if twice is None:
            continue
        count += 1
        if is_metadata:
            evidence = f"{clean(twice, 120)} occurs more than once in the __metadata__ of {name}; the last one is shown"
            # The library takes the last of two texts, but refuses the file for any other value.
            are_texts = all(isinstance(each, str) for _, each in value)
            findings.append(Finding("warning" if are_texts else "error", "duplicate-name", None, evidence))
        elif count <= MAX_FINDINGS:
            evidence = f"its entry in the header gives {twice} {fields.count(twice)} times; the last one is shown"
            findings.append(Finding("error", "duplicate-name", key, evidence))
    if count > MAX_FINDINGS:
        more = count - MAX_FINDINGS
        entries = f"{plural(more, 'more entry', 'more entries')} of {name} {are(more, 'gives', 'give')}"
        evidence = f"{entries} a field more than once"
        findings.append(Finding("error", "duplicate-name", None, evidence))
    return findings
