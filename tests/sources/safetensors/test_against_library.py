"""Damaged headers, compared with what the real library says of them: a file that it refuses is never healthy here.

The environment variable TUI_PARAMS_FUZZ_HEADERS gives the number of files (``just fuzz-headers``), and
TUI_PARAMS_FUZZ_SEED another start. A failure prints the shortest file of its kind.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.factories_headers import Answer, ask_library, random_file
from tests.factories_safetensors import entry, file_bytes
from tui_params.core.dtypes import from_safetensors
from tui_params.core.findings import Finding
from tui_params.errors import OpenError
from tui_params.sources.safetensors.reader import open_safetensors

NUMBER = int(os.environ.get("TUI_PARAMS_FUZZ_HEADERS", "600"))
SEED = int(os.environ.get("TUI_PARAMS_FUZZ_SEED", "0"))
BATCH = 2000

TOLERATED = re.compile(
    r"occurs (more than once|\d+ times) in the (header|__metadata__)|its entry in the header is not a JSON object"
    r"|the header gives no dtype for it|its shape in the header is too large for any machine"
)
"""What the format forbids and the library takes all the same: a name given twice, an entry that is an array of its
three fields, a dtype that is an object with one key, and an empty tensor with another size beyond any machine."""


def disagreement(path: Path, file: bytes, answer: Answer) -> str | None:
    """What the library and we say differently of a file, or None."""
    path.write_bytes(file)
    try:
        source = open_safetensors(path)
    except OpenError as error:
        return None if answer.refusal is not None else f"accused: {error}"
    with source:
        listing = source.listing
        faults = [finding for finding in listing.findings if finding.severity != "info"]
        if answer.refusal is not None:
            if any(finding.severity == "error" for finding in faults):
                return None
            # A type of a newer format may be sound: that a reader of today refuses it is no error of the file.
            is_known = any(finding.rule == "unknown-dtype" for finding in faults)
            return None if is_known and "unknown variant" in answer.refusal else f"passed: {answer.refusal}"
        if any(TOLERATED.search(finding.evidence) for finding in faults):
            # The earlier of two entries with one name is looked at too, but not by the library.
            return None
        if faults:
            return f"accused: {faults[0].evidence}"
        mine = {
            info.name: (info.dtype, info.shape, file[info.offset or 0 : (info.offset or 0) + info.nbytes])
            for info in listing.tensors
            if info.tied_to is None and info.unreadable is None
        }
        theirs = {each.name: (from_safetensors(each.code), each.shape, each.data) for each in answer.tensors}
        return None if mine == theirs else f"differs: {mine} and {theirs}"


def test_fuzz_what_the_library_refuses_is_never_healthy(tmp_path: Path) -> None:
    random = Random(SEED)
    kinds: Counter[str] = Counter()
    shortest: dict[str, bytes] = {}
    refused = 0
    for begin in range(0, NUMBER, BATCH):
        files = [random_file(random) for _ in range(min(BATCH, NUMBER - begin))]
        for file, answer in zip(files, ask_library(files), strict=True):
            refused += answer.refusal is not None
            said = disagreement(tmp_path / "x.safetensors", file, answer)
            if said is not None:
                kind = re.sub(r"`[^`]*`|\d+", "#", said)[:120]
                kinds[kind] += 1
                shortest[kind] = min(shortest.get(kind, file), file, key=len)
    print(f"{NUMBER:,} files, {refused:,} refused by the library, {sum(kinds.values()):,} disagreements")
    for kind, count in kinds.most_common():
        print(f"{count:7,} {kind} {shortest[kind]!r}")
    assert not kinds
    # The inputs are of use only if many are refused and many are not.
    assert NUMBER / 4 < refused < NUMBER * 19 / 20


def findings_of(folder: Path, file: bytes) -> tuple[Finding, ...]:
    path = folder / "x.safetensors"
    path.write_bytes(file)
    with open_safetensors(path) as source:
        return source.listing.findings


ONE = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
TWO = '{"dtype":"U8","shape":[1],"data_offsets":[1,2]}'
FIELDS = '"dtype":"U8","shape":[1],"data_offsets":[0,1]'


def with_field(field: str) -> str:
    """A header of one tensor whose entry has a field more."""
    return f'{{"a":{{{field},{FIELDS}}}}}'


REFUSED = [
    ("bad-json", "U\\+0001.*at character 3", f'{{"a\x01":{ONE}}}', 1),
    ("bad-json", "U\\+0009", f'{{"a\t":{ONE}}}', 1),
    ("bad-json", "U\\+000A", f'{{"__metadata__":{{"x":"a\nb"}},"a":{ONE}}}', 1),
    ("bad-json", "U\\+0000", with_field('"x":"\0"'), 1),
    ("bad-json", "half of a surrogate pair", f'{{"\\ud800":{ONE}}}', 1),
    ("bad-json", "half of a surrogate pair", f'{{"__metadata__":{{"x":"\\udc00\\ud800"}},"a":{ONE}}}', 1),
    ("bad-json", "the value NaN", with_field('"x":NaN'), 1),
    ("bad-json", "the value -Infinity", with_field('"x":[-Infinity]'), 1),
    ("bad-json", "no float64 can hold", with_field('"x":1e999'), 1),
    ("bad-json", "no float64 can hold", with_field('"x":-' + "9" * 400), 1),
    ("bad-json", "more than 127 deep", with_field('"x":' + "[" * 126 + "]" * 126), 1),
    ("bad-json", "more than 127 deep", with_field('"x":' + '{"y":' * 126 + "1" + "}" * 126), 1),
    ("bad-entry", r"no list of sizes: \{\}", '{"a":{"dtype":"U8","shape":{},"data_offsets":[0,1]}}', 1),
    ("bad-entry", "no list of sizes: -0.0", '{"a":{"dtype":"U8","shape":-0,"data_offsets":[0,0]}}', 0),
    ("bad-entry", r"no list of sizes: \[-0.0\]", '{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', 0),
    ("bad-entry", "no pair of positions", '{"a":{"dtype":"U8","shape":[1],"data_offsets":[-0,1]}}', 1),
    ("bad-entry", "no pair of positions", '{"a":{"dtype":"U8","shape":[1],"data_offsets":{"a":0,"b":1}}}', 1),
    ("bad-entry", "no pair of positions", '{"a":{"dtype":"U8","shape":[0]}}', 0),
    ("bad-entry", "no list of sizes: null", '{"a":{"dtype":"U8","data_offsets":[0,1]}}', 1),
    # A field that one entry lacks and another gives twice.
    (
        "bad-entry",
        "no list of sizes: null",
        '{"a":{"dtype":"U8","data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[1,2]}}',
        2,
    ),
    ("duplicate-name", "a occurs 2 times", f'{{"a":{{}},"a":{ONE}}}', 1),
    ("duplicate-name", "a occurs 2 times", f'{{"a":{{"x":1}},"a":{ONE}}}', 1),
    ("duplicate-name", "a occurs 2 times", f'{{"a":{ONE},"a":{TWO}}}', 2),
    ("duplicate-name", "__metadata__ occurs 2 times", f'{{"__metadata__":{{}},"__metadata__":{{}},"a":{ONE}}}', 1),
    ("duplicate-name", "gives dtype 2 times", with_field('"dtype":"U8"'), 1),
    ("duplicate-name", "gives shape 2 times", with_field('"sh\\u0061pe":[2]'), 1),
    ("duplicate-name", "gives data_offsets 3 times", with_field('"data_offsets":[0,2],"data_offsets":[0,0]'), 1),
    ("bad-metadata", "no JSON object", f'{{"__metadata__":3,"a":{ONE}}}', 1),
    ("bad-metadata", "is no string, which the format", f'{{"__metadata__":{{"x":null}},"a":{ONE}}}', 1),
    ("duplicate-name", "x occurs more than once", f'{{"__metadata__":{{"x":{{}},"x":"2"}},"a":{ONE}}}', 1),
    ("size-mismatch", "not end at a whole byte", '{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}', 2),
    ("size-mismatch", "not end at a whole byte", '{"a":{"dtype":"F4","shape":[1,1],"data_offsets":[0,1]}}', 1),
    ("size-mismatch", "not end at a whole byte", '{"a":{"dtype":"F6_E2M3","shape":[5],"data_offsets":[0,4]}}', 4),
]


@pytest.mark.parametrize(("rule", "words", "header", "nbytes"), REFUSED, ids=lambda value: str(value)[:40])
def test_each_fault_that_the_library_refuses_is_an_error(
    tmp_path: Path, rule: str, words: str, header: str, nbytes: int
) -> None:
    file = file_bytes(header.encode(), bytes(range(1, nbytes + 1)))
    (answer,) = ask_library([file])
    assert answer.refusal is not None
    findings = findings_of(tmp_path, file)
    assert any(each.rule == rule and re.search(words, each.evidence) for each in findings), findings
    assert {each.severity for each in findings} == {"error"}


@pytest.mark.parametrize(
    "header",
    [
        f'{{"a\x7f-0":{ONE}}}',
        f'{{"[-0":{ONE}}}',
        f'{{"a\\n\\u0001\\ud83d\\ude00":{ONE}}}',
        f'{{"\\\\ud800":{ONE}}}',
        f'{{"__metadata__":null,"a":{ONE}}}',
        f'{{"__metadata__":{{"x":"{{\\"y\\": NaN}}"}},"a":{ONE}}}',
        with_field('"x":-0,"y":1e308,"z":-12345678901234567890123'),
        with_field('"x":' + "[" * 125 + "]" * 125),
        with_field('"x":1,"x":2'),
        f'\n{{\r\n"a"\t:{ONE} }} \n',
    ],
)
def test_what_only_looks_like_a_fault_is_none(tmp_path: Path, header: str) -> None:
    file = file_bytes(header.encode(), b"\1")
    (answer,) = ask_library([file])
    assert answer.refusal is None
    assert findings_of(tmp_path, file) == ()


@pytest.mark.parametrize(("place", "is_fault"), [(0, False), (2, True), (4, False), (6, True), (8, False), (9, True)])
def test_an_empty_tensor_lies_between_others(tmp_path: Path, place: int, is_fault: bool) -> None:
    header = {"a": entry("U8", (4,), 0), "b": entry("U8", (2, 2), 4), "empty": entry("F32", (0, 3), place)}
    file = file_bytes(header, bytes(range(1, 9)))
    (answer,) = ask_library([file])
    assert (answer.refusal is not None) == is_fault
    findings = findings_of(tmp_path, file)
    assert bool(findings) == is_fault
    if place in (2, 6):
        (finding,) = findings
        assert (finding.severity, finding.rule, finding.tensor) == ("error", "overlap", "empty")
        assert f"inside {'a' if place == 2 else 'b'}: other readers refuse" in finding.evidence


def test_a_key_of_the_metadata_that_is_given_twice_is_a_warning(tmp_path: Path) -> None:
    file = file_bytes(f'{{"__metadata__":{{"x":"1","x":"2"}},"a":{ONE}}}'.encode(), b"\1")
    (finding,) = findings_of(tmp_path, file)
    assert (finding.severity, finding.rule) == ("warning", "duplicate-name")


def test_many_entries_with_a_doubled_field_are_told_shortly(tmp_path: Path) -> None:
    entries = ",".join(
        f'"t{number}":{{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[{number},{number + 1}]}}'
        for number in range(50)
    )
    findings = findings_of(tmp_path, file_bytes(f"{{{entries}}}".encode(), bytes(50)))
    assert len(findings) == 21
    assert "30 more entries" in findings[-1].evidence
