"""Random safetensors files, healthy and broken in every part, and what the real library says of each.

The library runs in a child process with a time limit, so that an input that hangs or ends it is an answer too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from tests.factories_safetensors import BITS

SECONDS = 120
"""The longest that the library may take for one batch."""

ODD_VALUES = (
    "-0", "0", "1", "2", "8", "1.0", "1e0", "-1", "01", "1e999", "9" * 400, "18446744073709551615",
    "18446744073709551616",
    "NaN", "Infinity", "-Infinity", "null", "true", "{}", "[]", '""', '"U8"', '{"U8":null}', "[-0]", "[1.0]", "[0,0]",
    "[0,1]", "[1]", '{"0":0}', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\q"', '"\\u00e9"', '"\\u0000"',
    '"\x01"', '"\n"', '"a\tb"', '"\x7f"', '"\x1f"', "'a'", "[" * 126 + "]" * 126, "[" * 140 + "]" * 140,
    '{"a":' * 130 + "1" + "}" * 130, '["U8",[1],[0,1]]', '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}',
    '{"a":1,"a":1}', "[[0],[1]]", "[1,]", "/**/1", "+1", ".5", "1.", "0x1", "True", "None", "1_000",
)  # fmt: skip
"""JSON values, and texts that some parsers take for values, to stand where a value of the header stood."""

ODD_BYTES = (
    b"\0", b"\x01", b"\t", b"\n", b"\r", b"\x0b", b"\x0c", b"\x1b", b"\x1f", b" ", b"\x7f", b"\x80", b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc2\xa0", b"\xe2\x80\xa8", b'"', b"\\", b"\\u", b"\\u0000", b"\\ud800", b"{",
    b"}", b"[", b"]", b",", b":", b"-", b"0", b"9", b".", b"e5", b"{}", b'"a":{},', b'"__metadata__":{},',
)  # fmt: skip
"""Bytes to be put somewhere into the text of a header."""

Pairs = list[tuple[str, Any]]
"""A JSON object in which a name may occur twice; a value that is a str is written as it is."""


class Tensor(NamedTuple):
    """A tensor as the library has read it."""

    name: str
    code: str
    shape: tuple[int, ...]
    data: bytes


class Answer(NamedTuple):
    """What the library says of one file: its tensors, or why it refuses the file."""

    tensors: tuple[Tensor, ...]
    refusal: str | None


def random_file(random: Random) -> bytes:
    """A file of up to five small tensors, with up to three faults."""
    pairs, data = _healthy(random)
    faults = random.choices((0, 1, 2, 3), (1, 12, 4, 2))[0]
    in_text = 0
    for _ in range(faults):
        if random.random() < 0.55:
            pairs, data = _break_structure(random, pairs, data)
        else:
            in_text += 1
    text = _written(random, pairs).encode()
    for _ in range(in_text):
        text = _break_text(random, text)
    announced = len(text)
    if faults and random.random() < 0.02:
        announced += random.choice((-2, -1, 1, 2, 8))
    return max(announced, 0).to_bytes(8, "little") + text + data


def _healthy(random: Random) -> tuple[Pairs, bytes]:
    entries: Pairs = []
    begin = 0
    for name in random.sample(
        ("a", "b", "layer.0.weight", "é", "x y", "dtype", "shape", "", 'q"', "\\"), random.randint(0, 5)
    ):
        code = random.choice(list(BITS))
        shape = [random.choice((0, 1, 2, 3, 4, 8)) for _ in range(random.randint(0, 3))]
        if BITS[code] < 8 and not (shape and shape[-1] in (0, 4, 8)):
            shape = [*shape, 4]
        bits = BITS[code]
        for dim in shape:
            bits *= dim
        end = begin + bits // 8
        fields = [("dtype", json.dumps(code)), ("shape", json.dumps(shape)), ("data_offsets", f"[{begin},{end}]")]
        if random.random() < 0.1:
            random.shuffle(fields)
        entries.append((name, fields))
        begin = end
    random.shuffle(entries)
    if random.random() < 0.4:
        notes: Pairs = [("format", '"pt"'), ("k", '"{\\"a\\": \\"b\\"}"'), ("é", '"\\u00e9"'), ("t", '"a"')]
        entries.insert(random.randint(0, len(entries)), ("__metadata__", random.sample(notes, random.randint(0, 4))))
    return entries, random.randbytes(begin)


def _written(random: Random, pairs: Pairs) -> str:
    space = random.choice(("", "", "", " ", "\n", "\r\n\t"))

    def write(value: Any) -> str:
        if isinstance(value, str):
            return value
        inner = f",{space}".join(f"{json.dumps(key, ensure_ascii=False)}{space}:{write(each)}" for key, each in value)
        return f"{{{space}{inner}{space}}}"

    return space + write(pairs) + random.choice(("", space, " " * 5))


def _break_structure(random: Random, pairs: Pairs, data: bytes) -> tuple[Pairs, bytes]:
    """One fault in what the header says, or in the number of bytes that follow it."""
    pairs = [(key, list(value) if isinstance(value, list) else value) for key, value in pairs]
    places = [number for number, (_, value) in enumerate(pairs) if isinstance(value, list)]
    what = random.randrange(11)
    if what == 0 or not places:
        more = random.choice((-3, -1, 1, 2, 9))
        return pairs, data + bytes(more) if more > 0 else data[:more]
    number = random.choice(places)
    key, fields = pairs[number]
    if what == 1:
        pairs[number] = key, random.choice(ODD_VALUES)
    elif what == 2:
        twin = random.choice(("{}", '{"x":1}', "null", "3", "[]", fields))
        pairs.insert(random.randint(0, len(pairs)), (key, twin))
    elif what == 3:
        pairs[number] = random.choice(pairs)[0], fields
    elif what == 4 and fields:
        del fields[random.randrange(len(fields))]
    elif what == 5 and fields:
        fields.insert(random.randint(0, len(fields)), random.choice(fields))
    elif what == 6:
        name = random.choice(("x", "dtype", "shape", "data_offsets", "format", ""))
        fields.insert(random.randint(0, len(fields)), (name, random.choice(ODD_VALUES)))
    elif what == 7 and fields:
        place = random.randrange(len(fields))
        fields[place] = fields[place][0], random.choice(ODD_VALUES)
    elif what == 8:
        at = random.randint(0, len(data) + 2)
        code = random.choice(list(BITS))
        empty = [
            ("dtype", json.dumps(code)),
            ("shape", random.choice(("[0]", "[2,0]"))),
            ("data_offsets", f"[{at},{at}]"),
        ]
        pairs.insert(random.randint(0, len(pairs)), (random.choice(("empty", key)), empty))
    else:
        for place, (field, value) in enumerate(fields):
            if field in ("shape", "data_offsets") and isinstance(value, str):
                fields[place] = field, _shift_one(random, value)
    return pairs, data


def _shift_one(random: Random, text: str) -> str:
    try:
        numbers = json.loads(text)
    except ValueError:
        return text
    if isinstance(numbers, list) and numbers and random.random() < 0.7:
        place = random.randrange(len(numbers))
        if isinstance(numbers[place], int):
            numbers[place] += random.choice((-8, -4, -1, 1, 2, 4, 8, 1 << 40, 1 << 62))
    return json.dumps(numbers)


def _break_text(random: Random, text: bytes) -> bytes:
    """One fault in the bytes of the header."""
    at = random.randint(0, len(text))
    what = random.random()
    if what < 0.4:
        return text[:at] + random.choice(ODD_BYTES) + text[at:]
    if what < 0.7:
        return text[:at] + random.choice(ODD_BYTES) + text[at + 1 :]
    if what < 0.8:
        return text[:at] + text[at + 1 :]
    if what < 0.9:
        return text[:at] + bytes([random.randrange(256)]) + text[at + 1 :]
    end = min(at + random.randint(1, 60), len(text))
    return text[:end] + text[at:]


_CHILD = """
import json, sys
import safetensors
while True:
    length = sys.stdin.buffer.read(4)
    if len(length) < 4:
        break
    data = sys.stdin.buffer.read(int.from_bytes(length, "little"))
    try:
        found = safetensors.deserialize(data)
        said = [[name, each["dtype"], list(each["shape"]), bytes(each["data"]).hex()] for name, each in found]
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps(said), flush=True)
"""


def ask_library(files: Sequence[bytes]) -> Iterator[Answer]:
    """What the library says of each file; "no answer" where an input ended or hung its process."""
    todo = list(files)
    while todo:
        sent = b"".join(len(file).to_bytes(4, "little") + file for file in todo)
        try:
            done = subprocess.run([sys.executable, "-c", _CHILD], input=sent, capture_output=True, timeout=SECONDS)
            lines = done.stdout.splitlines()
        except subprocess.TimeoutExpired as error:
            lines = (error.stdout or b"").splitlines()
        for line in lines:
            said = json.loads(line)
            if isinstance(said, str):
                yield Answer((), said)
            else:
                tensors = [Tensor(name, code, tuple(shape), bytes.fromhex(data)) for name, code, shape, data in said]
                yield Answer(tuple(tensors), None)
        todo = todo[len(lines) :]
        if todo:
            yield Answer((), "no answer: this input ended its process, or hung")
            del todo[0]
