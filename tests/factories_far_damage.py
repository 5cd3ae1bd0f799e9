"""Damaged NPY, NPZ, GGUF, ONNX and HDF5 files: honest ones with faults in what they say of themselves."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import numpy as np

from tests.factories_damage import Seed, break_bytes, break_zip, read_parts, write_parts
from tests.factories_gguf import blocks, gguf_bytes, plain
from tests.factories_onnx import external, field, model, number, restoring, tensor

NUMBERS = (
    0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 63, 64, 127, 128, 255, 256, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
    1 << 32, 1 << 40, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
)  # fmt: skip

TABLE = np.arange(6, dtype=np.float32).reshape(2, 3) + 1


def _saved(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


_WORDS = (
    b"'descr'", b"'fortran_order'", b"'shape'", b"True", b"False", b"None", b"(2, 3)", b"(6,)", b"()", b"(0,)",
    b"(3, 2)",     b"'<f4'", b"'>f4'", b"'<f8'", b"'|O'", b"'|V4'", b"'<V2'", b"'|b1'", b"'<f1'", b"'<U1'", b"'=i4'",
    b"[('x', '<f4')]", b"'f4'", b"'<i4'", b"'float32'", b"'<m8[s]'", b"'<c8'", b"'|S4'", b"-1",
    b"1e3", b"2L", b"(2L, 3L)", b"(True, 6)",
    b"[2, 3]", b"(6)", b"{", b"}", b",", b"'", b"\n", b" ", b"#", b"(2, 3,)", b"((2, 3))", b"0x6", b"1_0", b"{}",
    b"1+1",
)  # fmt: skip


def _break_header(random: Random, data: bytes) -> bytes:
    """An NPY file with other words in its header; its length is written anew most times."""
    start = 10 if data[6] == 1 else 12
    size = int.from_bytes(data[8:start], "little")
    words = re.findall(rb"'[^']*'|\([^)]*\)|\w+|.", data[start : start + size], re.DOTALL)
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(words) if random.random() < 0.3 else min(len(words), 16))
        what = random.randrange(5)
        if what < 2:
            words[at] = random.choice(_WORDS)
        elif what == 2:
            words.insert(at, random.choice(_WORDS))
        elif what == 3:
            del words[at]
        else:
            other = random.randrange(len(words))
            words[at], words[other] = words[other], words[at]
        if not words:
            break
    header = b"".join(words)
    if random.random() < 0.8:
        header = header.rstrip() + b" " * (-(len(header.rstrip()) + 1 + start) % 64) + b"\n"
    length = len(header) if random.random() < 0.9 else random.choice(NUMBERS)
    width = start - 8
    return data[:8] + min(length, (1 << 8 * width) - 1).to_bytes(width, "little") + header + data[start + size :]


def npy_seeds() -> list[Seed]:
    """NPY files of several types, orders and versions."""
    arrays = [
        TABLE, np.asfortranarray(TABLE), TABLE.astype(">f8"), TABLE > 2, TABLE.astype("c8"), np.float32(3),
        np.zeros((0, 3)), np.arange(5, dtype="i8"), TABLE.astype("f2"),
    ]  # fmt: skip
    files = [_saved(array) for array in arrays]
    later = io.BytesIO()
    np.lib.format.write_array(later, TABLE, (2, 0))
    return [_npy_seed(data) for data in (*files, later.getvalue())]


def _npy_seed(data: bytes) -> Seed:
    header = lambda random: _break_header(random, data)  # noqa: E731
    return Seed(data, "npy", ".npy", (header, header, lambda random: break_bytes(random, data)))


def npz_seeds() -> list[Seed]:
    """Archives, stored and deflated."""
    seeds = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, a=TABLE, b=np.asfortranarray(TABLE.astype("i4")), c=np.arange(3))
        seeds.append(_npz_seed(buffer.getvalue()))
    return seeds


def _npz_seed(data: bytes) -> Seed:
    parts = read_parts(data)

    def in_member(random: Random) -> bytes:
        broken = [replace(part) for part in parts]
        part = random.choice(broken)
        part.data = _break_header(random, part.data)
        return write_parts(broken)

    zipped = lambda random: break_zip(random, parts)  # noqa: E731
    return Seed(data, "npz", ".npz", (in_member, zipped, zipped, lambda random: break_bytes(random, data)))


_META: list[tuple[str, tuple[int, Any]]] = [
    ("general.architecture", (8, "llama")), ("general.alignment", (4, 32)), ("n", (9, (8, ["x", "y"]))),
    ("f", (6, 1.5)), ("m", (9, (5, [1, 2, 3]))), ("b", (7, True)), ("l", (11, -3)), ("split.count",
    (2, 1)), ("split.no", (2, 0)),
]  # fmt: skip


def _break_gguf(random: Random) -> bytes:
    """A GGUF file written with other numbers than true ones."""
    tensors = [
        plain("a", TABLE), plain("h", TABLE.astype("f2")), blocks("q", (2, 64), 8, (32, 34)),
        plain("i", TABLE.astype("i4")), blocks("k", (256,), 12, (256, 144)),
    ]  # fmt: skip
    random.shuffle(tensors)
    tensors = tensors[: random.randint(1, 5)]
    meta = dict(random.sample(_META, random.randint(0, len(_META))))
    options: dict[str, Any] = {"version": random.choice((2, 3, 3, 3))}
    at = random.randrange(len(tensors))
    name, shape, kind, raw = tensors[at]
    what = random.randrange(9)
    if what == 0:
        tensors[at] = (
            name,
            random.choice(((), (3, 2), (6,), (0,), (1, 2, 3), (2, 3, 1, 1, 1), (2**40, 2**40))),
            kind,
            raw,
        )
    elif what == 1:
        tensors[at] = name, shape, random.choice((*range(42), 99, 1 << 31)), raw
    elif what == 2:
        tensors[at] = name, shape, kind, raw[: random.randrange(len(raw) + 1)]
    elif what == 3:
        tensors[at] = random.choice(("", "a", "h", "x" * 70, "\0", "é", "a.b")), shape, kind, raw
    elif what == 4:
        offsets = [random.choice((0, 32, 64, 96, 1, 31, random.randrange(600))) for _ in tensors]
        options["offsets"] = random.choice((offsets, [random.choice(NUMBERS) for _ in tensors]))
    elif what == 5:
        options["counts"] = (random.choice((len(tensors), *NUMBERS)), random.choice((len(meta), *NUMBERS)))
    elif what == 6:
        options["version"] = random.choice((0, 1, 2, 4, 1 << 24, 3 << 24))
    elif what == 7:
        meta["general.alignment"] = (4, random.choice((0, 1, 8, 16, 24, 32, 64, 1 << 31)))
    else:
        meta["general.alignment"] = random.choice(((8, "32"), (6, 32.0), (5, -32), (10, 32), (0, 32), (9, (4, [32]))))
    return gguf_bytes(tensors, meta, **options)


def gguf_seeds() -> list[Seed]:
    """GGUF files with plain tensors, blocks, and metadata of most types."""
    whole = gguf_bytes([plain("a", TABLE), blocks("q", (2, 64), 8, (32, 34))], dict(_META))
    small = gguf_bytes([plain("a", TABLE)])
    seeds = []
    for data in (whole, small):
        in_head, in_all = partial(_flip_head, data=data), partial(break_bytes, data=data)
        seeds.append(Seed(data, "gguf", ".gguf", (_break_gguf, _break_gguf, in_head, in_all)))
    return seeds


def _flip_head(random: Random, data: bytes) -> bytes:
    """Another number in eight or four bytes of the header."""
    width = random.choice((4, 8))
    at = random.randrange(4, min(len(data), 400) - width)
    return data[:at] + (random.choice(NUMBERS) % (1 << 8 * width)).to_bytes(width, "little") + data[at + width :]


Message = list[Any]
"""The fields of a message: number, kind, and a number, bytes or Message."""

_INSIDE = {(): {7, 8, 14}, (7,): {5, 1}, (7, 1): {5}, (7, 1, 5): {5}, (7, 5): {13}, (8,): set(), (14,): set()}


def is_sound(data: bytes) -> bool:
    """Whether the parts of an ONNX model in which its tensors are make sense as messages."""
    try:
        _parse(data)
    except (IndexError, ValueError):
        return False
    return True


def _parse(data: bytes, path: tuple[int, ...] = ()) -> Message:
    """The fields of a message, and of those in it that are on the way to a tensor. Raises IndexError or ValueError."""
    found: Message = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError

    while at < len(data):
        key = varint()
        place, kind = key >> 3, key & 7
        if kind not in (0, 1, 2, 5) or not 0 < place < 1 << 29:
            raise ValueError
        if kind == 0:
            found.append([place, kind, varint()])
            continue
        length = varint() if kind == 2 else 4 if kind == 5 else 8
        raw: Any = data[at : at + length]
        if len(raw) < length:
            raise ValueError
        at += length
        if kind == 2 and place in _INSIDE.get(path, ()):
            raw = _parse(raw, (*path, place))
        found.append([place, kind, raw])
    return found


def _write(message: Message) -> bytes:
    raw = b""
    for place, kind, value, *length in message:
        raw += number(place << 3 | kind)
        if isinstance(value, int):
            raw += number(value) if kind == 0 else value.to_bytes(8, "little")
            continue
        inner = value if isinstance(value, bytes) else _write(value)
        raw += (number(length[0] if length else len(inner)) if kind == 2 else b"") + inner
    return raw


def _break_message(random: Random, data: bytes) -> bytes:
    """An ONNX model with other, more, fewer or moved fields."""
    root = _parse(data)
    for _ in range(random.choice((1, 1, 2))):
        message = root
        while True:
            inner = [item[2] for item in message if isinstance(item[2], list) and item[2]]
            if not inner or random.random() < 0.15:
                break
            message = random.choice(inner)
        at, other = random.randrange(len(message)), random.randrange(len(message))
        what = random.randrange(9)
        item = message[at]
        if what == 0:
            item[0] = random.randrange(1, 30)
        elif what == 1:
            del message[at]
        elif what == 2:
            message.insert(other, list(item))
        elif what == 3:
            message[at], message[other] = message[other], message[at]
        elif what == 4 and item[1] == 2:
            item[3:] = [random.choice(NUMBERS)]
        elif what == 5:
            message.insert(at, [random.randrange(1, 20), 2, random.randbytes(random.randrange(9))])
        elif what == 6:
            message.insert(at, [random.randrange(1, 20), random.choice((0, 0, 1, 3, 4, 5, 6, 7)), b"", 0])
            message[at][2] = random.choice(NUMBERS) if message[at][1] in (0, 1) else bytes(4)
        elif isinstance(item[2], int):
            item[2] = random.choice(NUMBERS)
        elif isinstance(item[2], bytes) and item[2]:
            place = random.randrange(len(item[2]))
            cut = random.choice((0, 1, 1))
            item[2] = item[2][:place] + random.randbytes(random.choice((0, 1, 1, 2))) + item[2][place + cut :]
        if not root:
            break
    return _write(root)


def onnx_seeds() -> list[Seed]:
    """Models with raw, typed and external values, constants, and nodes that restore some or compute with codes."""
    raw = TABLE.tobytes()
    constant = field(
        1,
        field(2, "c") + field(4, "Constant") + field(5, field(1, "value") + field(5, tensor("", (1,), 1, raw=raw[:4]))),
    )
    numbers = b"".join(map(number, (1, 2, -1)))
    first = model([tensor("a", (2, 3), 1, raw=raw), tensor("b", (3,), 7, field(7, numbers))], constant)
    second = model(
        [
            tensor("f", (2, 3), 1, field(4, raw)), tensor("h", (3,), 10, field(5, number(15360) * 3)),
            tensor("d", (1,), 11, field(10, raw[:8])), tensor("n", (4,), 22, raw=b"\x12\x34"),
            tensor("u", (3,), 12, field(11, numbers[:2] + number(9))),
        ],
    )  # fmt: skip
    third = model([external("e", (2, 3), 1, location="e.data", offset="0", length="24")])
    parts = [tensor("q", (2, 3), 3, raw=bytes(range(6))), tensor("s", (3,), 1, raw=raw[:12])]
    fourth = model(parts, restoring(["q", "s"], axis=1))
    few = [tensor("w", (2, 2, 8), 2, raw=bytes(range(32))), tensor("t", (2, 2), 1, raw=raw[:16])]
    n_bits = restoring(["a", "w", "t"], "y", "com.microsoft", "MatMulNBits", K=30, N=2, bits=4, block_size=16)
    dynamic = field(1, field(1, "x") + b"".join(map(partial(field, 2), "abz")) + field(4, "DynamicQuantizeLinear"))
    steps = [
        restoring(["b", "o"], "bo", "", "Mul"), restoring(["a", "q", "z"], "i", "", "MatMulInteger"),
        restoring(["i"], "f", "", "Cast", to=1), restoring(["f", "bo"], "y", "", "Mul"),
    ]  # fmt: skip
    fifth = model([*few, parts[0], tensor("o", (), 1, raw=raw[:4])], n_bits, dynamic, *steps)
    seeds = []
    for data in (first, second, third, fourth, fifth):
        in_message, in_bytes = partial(_break_message, data=data), partial(break_bytes, data=data)
        seeds.append(Seed(data, "onnx", ".onnx", (in_message, in_message, in_bytes)))
    return seeds


def hdf5_seeds() -> list[Seed]:
    """A file of h5py with contiguous, chunked and compressed datasets."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["a/w"] = TABLE
        file["a/i"] = np.arange(5)
        file.create_dataset("b/c", data=np.arange(60, dtype="f4").reshape(6, 10), chunks=(4, 4), compression="gzip")
    data = buffer.getvalue()
    return [Seed(data, "hdf5", ".h5", (lambda random: break_bytes(random, data),))]


SEEDS: dict[str, Callable[[], list[Seed]]] = {
    "npy": npy_seeds,
    "npz": npz_seeds,
    "gguf": gguf_seeds,
    "onnx": onnx_seeds,
    "hdf5": hdf5_seeds,
}
"""The honest files of each format."""
