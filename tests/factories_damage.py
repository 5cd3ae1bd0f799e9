"""Damaged torch files: honest ones with a few faults in the bytes, in the zip around them, or in the pickle.

Faults in the pickle and in the zip are made on the parsed file, which is put together again with true sizes and
checksums, so that they reach the reader behind.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

Ops = list[bytes]
"""A pickle as the bytes of its instructions, one after another."""

ODD_TEXTS = (
    b"", b"\xff", b"\xed\xa0\x80", b"\xc3", b"a\nb", b"\0", b"a.b", b"0", b"1", b"2", b"cpu", b"cuda:0", b"meta",
    b"storage", b"module", b"weight", b"f4", b">f4", b"<", b">", b"=", b"O8", b"V8", b"latin1", b"utf-8",
    b"\xe2\x80\xae", b"x" * 300,
)  # fmt: skip


def _text(raw: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(raw)) + raw


def _global(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


GLOBALS = tuple(
    map(
        _global,
        (
            "collections.OrderedDict", "collections.Counter", "torch._utils._rebuild_tensor_v2",
            "torch._utils._rebuild_tensor", "torch._utils._rebuild_parameter", "torch._utils._rebuild_tensor_v3",
            "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_qtensor",
            "torch._tensor._rebuild_from_type_v2", "torch.FloatStorage", "torch.HalfStorage", "torch.BFloat16Storage",
            "torch.LongStorage", "torch.ByteStorage", "torch.BoolStorage", "torch.DoubleStorage",
            "torch.storage.UntypedStorage", "torch.storage.TypedStorage", "torch.ComplexFloatStorage",
            "torch.QInt8Storage", "torch.Size", "torch.device", "torch.float32", "torch.float16", "torch.Tensor",
            "torch.nn.parameter.Parameter", "torch.serialization._get_layout", "builtins.set", "builtins.bytearray",
            "builtins.complex", "_codecs.encode", "numpy.ndarray", "numpy.dtype", "numpy._core.multiarray.scalar",
            "numpy._core.multiarray._reconstruct", "numpy._core.numeric._frombuffer", "my.pkg.Thing", "my.pkg.thing",
        ),
    )
)  # fmt: skip

NUMBERS = (
    b"K\x00", b"K\x01", b"K\x02", b"K\x03", b"K\xff", b"M\x00\x01", b"M\xff\xff", b"J\xff\xff\xff\xff",
    b"J\x00\x00\x00\x80", b"J\xff\xff\xff\x7f", b"\x8a\x00", b"\x8a\x01\xff", b"\x8a\x05\x00\x00\x00\x00\x01",
    b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"\x8a\x09" + bytes(8) + b"\x01", b"G?\xf0\x00\x00\x00\x00\x00\x00",
    b"G\x7f\xf8\x00\x00\x00\x00\x00\x00", b"G@\x10\x00\x00\x00\x00\x00\x00", b"I01\n", b"I3\n", b"I3 \n", b"L3L\n",
    b"L-3L\n", b"F1.5\n", b"I1_0\n", b"\x88", b"\x89", b"N",
)  # fmt: skip

INSTRUCTIONS = (
    *NUMBERS, *GLOBALS, b"(", b"0", b"1", b"2", b"N", b"}", b"]", b")", b"\x8f", b"t", b"l", b"d", b"e", b"a", b"s",
    b"u", b"\x85", b"\x86", b"\x87", b"R", b"\x81", b"b", b"Q", b".", b"o", b"\x90", b"\x91", b"\x92", b"\x93",
    b"\x94", b"q\x00", b"q\x05", b"h\x00", b"h\x01", b"h\x05", b"j\x02\x00\x00\x00", b"r\x07\x00\x00\x00",
    b"\x80\x02", b"\x80\x04", b"\x80\x05", b"\x95" + bytes(8), b"U\x01a", b"U\x01\xff", b"T\x01\x00\x00\x00a",
    b"\x8c\x01a", b"C\x01a", b"B\x01\x00\x00\x00a", b"S'a'\n", b"S'\\x41'\n", b"S'a\n", b"Va\\u00e9\n", b"V\\ud800\n",
    b"\x96\x01" + bytes(7) + b"a", b"g1\n", b"p9\n", b"P1\n", b"\x82\x01",
)  # fmt: skip


def split(code: bytes) -> Ops:
    """The instructions of the first pickle in ``code``."""
    starts = [place or 0 for _, _, place in pickletools.genops(code)]
    ends = [*starts[1:], starts[-1] + 1]
    return [code[begin:end] for begin, end in zip(starts, ends, strict=True)]


def break_pickle(random: Random, ops: Ops) -> bytes:
    """The pickle with one to three faults."""
    ops = list(ops)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        at = random.randrange(len(ops))
        what = random.randrange(9)
        if what == 0:
            ops[at] = random.choice(INSTRUCTIONS)
        elif what == 1:
            ops[at] = random.choice(ops)
        elif what == 2:
            del ops[at]
        elif what == 3:
            ops.insert(at, random.choice((*INSTRUCTIONS, *ops)))
        elif what == 4:
            other = random.randrange(len(ops))
            ops[at], ops[other] = ops[other], ops[at]
        else:
            _change_argument(random, ops, what)
        if not ops:
            break
    return b"".join(ops)


def _change_argument(random: Random, ops: Ops, what: int) -> None:
    """Another argument for one instruction: a text, a number, a global, or a byte of any."""
    first = b"XU\x8cVST" if what < 7 else b"KMJG\x8a\x88\x89" if what == 7 else b"c"
    places = [place for place, op in enumerate(ops) if op[0] in first]
    if not places:
        return
    at = random.choice(places)
    op = ops[at]
    if what == 7:
        ops[at] = random.choice(NUMBERS)
    elif what == 8:
        ops[at] = random.choice(GLOBALS)
    elif op[0] == 0x58 and random.random() < 0.7:
        text = op[5:]
        place = random.randint(0, len(text))
        choice = random.randrange(4)
        if choice == 0:
            text = random.choice(ODD_TEXTS)
        elif choice == 1:
            text = text[:place] + random.choice(ODD_TEXTS[:12]) + text[place:]
        elif choice == 2:
            text = text[:place] + bytes([random.randrange(256)]) + text[place + 1 :]
        else:
            text = text[:place] + text[place + 1 :]
        ops[at] = _text(text)
    elif len(op) > 1:
        place = random.randrange(1, len(op))
        ops[at] = op[:place] + bytes([random.randrange(256)]) + op[place + 1 :]


def break_bytes(random: Random, data: bytes) -> bytes:
    """The file with one to three faults in its bytes."""
    raw = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if not raw:
            break
        # Half of the strokes fall on the end, where a zip has its directory.
        at = (
            random.randrange(len(raw)) if random.random() < 0.6 else len(raw) - 1 - random.randrange(min(900, len(raw)))
        )
        what = random.randrange(8)
        if what < 4:
            raw[at] = (random.randrange(256), 0, 0xFF, raw[at] ^ (1 << random.randrange(8)))[what]
        elif what == 4:
            del raw[at : at + random.choice((1, 2, 8, random.randint(1, 300)))]
        elif what == 5:
            raw[at:at] = random.randbytes(random.choice((1, 2, 8, 30)))
        elif what == 6:
            raw[at:at] = raw[at : at + random.randint(1, 100)]
        elif random.random() < 0.4:
            del raw[at:]
        else:
            raw += random.choice((b"\0", b"PK\5\6" + bytes(18), b"\x80\x02N.", random.randbytes(random.randint(1, 60))))
    return bytes(raw)


# Zips


@dataclass
class Part:
    """A member of a zip: its name, its bytes, and the fields that are not to be true, by header and name."""

    name: bytes
    data: bytes
    method: int = 0
    wrong: dict[tuple[str, str], Any] = field(default_factory=dict)


_LOCAL = ("version", "flags", "method", "time", "date", "crc", "packed", "size", "name_length", "extra_length")
_ENTRY = (
    "made", "version", "flags", "method", "time", "date", "crc", "packed", "size", "name_length", "extra_length",
    "comment_length", "disk", "internal", "external", "header",
)  # fmt: skip
_END = ("disk", "first_disk", "here", "count", "size", "offset", "comment_length")


def read_parts(data: bytes) -> list[Part]:
    """The members of an honest zip."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [Part(info.filename.encode(), archive.read(info)) for info in archive.infolist()]


def write_parts(parts: list[Part], end: dict[str, int] | None = None, *, is_wide: bool = False) -> bytes:
    """A zip of these members as torch lays them out; with ``is_wide`` the end is written in 64 bits too."""
    body, directory = b"", b""
    for part in parts:
        data = part.data
        if part.method == 8:
            packer = zlib.compressobj(6, zlib.DEFLATED, -15)
            data = packer.compress(data) + packer.flush()
        crc = zlib.crc32(part.data)
        pad = -(len(body) + 30 + len(part.name) + 4) % 64
        extra = b"FB" + struct.pack("<H", pad) + b"Z" * pad
        true = {
            "made": 0, "version": 0, "flags": 0, "method": part.method, "time": 0, "date": 0, "crc": crc,
            "packed": len(data), "size": len(part.data), "name_length": len(part.name), "extra_length": len(extra),
            "comment_length": 0, "disk": 0, "internal": 0, "external": 0, "header": len(body),
        }  # fmt: skip
        local = [part.wrong.get(("local", key), true[key]) for key in _LOCAL]
        entry = [part.wrong.get(("entry", key), 0 if key == "extra_length" else true[key]) for key in _ENTRY]
        body += b"PK\3\4" + struct.pack("<5H3L2H", *local) + part.wrong.get(("local", "name"), part.name) + extra + data
        directory += b"PK\1\2" + struct.pack("<6H3L5H2L", *entry) + part.wrong.get(("entry", "name"), part.name)
    whole = {
        "disk": 0, "first_disk": 0, "here": len(parts), "count": len(parts), "size": len(directory),
        "offset": len(body), "comment_length": 0,
    }  # fmt: skip
    wide = b""
    if is_wide:
        numbers = (44, 798, 45, 0, 0, len(parts), len(parts), len(directory), len(body))
        wide = b"PK\6\6" + struct.pack("<Q2H2L4Q", *numbers)
        wide += b"PK\6\7" + struct.pack("<LQL", 0, len(body) + len(directory), 1)
    fields = {**whole, **(end or {})}
    return body + directory + wide + b"PK\5\6" + struct.pack("<4H2LH", *(fields[key] for key in _END))


def break_zip(random: Random, parts: list[Part]) -> bytes:
    """The zip with one or two faults in its members, its headers or its end."""
    parts = [replace(part, wrong=dict(part.wrong)) for part in parts]
    end: dict[str, int] = {}
    for _ in range(random.choice((1, 1, 2))):
        at, other = random.randrange(len(parts)), random.randrange(len(parts))
        what = random.randrange(12)
        if what == 0:
            parts[at].data, parts[other].data = parts[other].data, parts[at].data
        elif what == 1:
            parts[at], parts[other] = parts[other], parts[at]
        elif what == 2:
            which = random.choice(("local", "entry"))
            parts[at].wrong[which, "name"], parts[other].wrong[which, "name"] = parts[other].name, parts[at].name
            for place in (at, other):
                parts[place].wrong[which, "name_length"] = len(parts[place].wrong[which, "name"])
        elif what == 3:
            parts.insert(
                random.randint(0, len(parts)), replace(parts[at], data=random.choice((parts[other].data, b"")))
            )
        elif what == 4 and len(parts) > 1:
            del parts[at]
        elif what == 5:
            parts[at].name = _other_name(random, parts[at].name)
        elif what == 6:
            data = parts[at].data
            short = (b"", b"1", b"big", b"little", b"2\n", b"11\n", b"x")
            parts[at].data = random.choice((*short, data[:-1], data + b"\0", data[1:], data * 2))
        elif what == 7:
            parts[at].method = 8
        elif what == 8:
            end[random.choice(_END)] = random.choice((0, 1, 2, len(parts) - 1, len(parts) + 1, 0xFFFF))
        else:
            which = random.choice(("local", "entry", "entry"))
            key = random.choice(_LOCAL if which == "local" else _ENTRY)
            limit = 0xFFFFFFFF if key in ("crc", "packed", "size", "external", "header") else 0xFFFF
            guess = random.choice((0, 1, 2, 8, 12, limit, random.randint(0, 700), len(parts[other].data)))
            parts[at].wrong[which, key] = min(guess, limit)
    return write_parts(parts, end, is_wide=random.random() < 0.3)


def _other_name(random: Random, name: bytes) -> bytes:
    place = random.randrange(len(name) + 1)
    return random.choice(
        (
            name.upper(), name + b"/", b"/" + name, name.replace(b"/", b"\\"), name.replace(b"/", b"//", 1),
            b"x/" + name,
            name[:place] + bytes([random.randrange(256)]) + name[place + 1 :], name.rpartition(b"/")[2],
            name + b".debug_pkl", b".data/" + name, name[:-1] + b"0", name[:-1] + b"1",
        )
    )  # fmt: skip


# Whole files


@dataclass
class Seed:
    """An honest file and how it can be damaged. ``how`` is what the library is asked for."""

    data: bytes
    how: str
    suffix: str
    breakers: tuple[Callable[[Random], bytes], ...]


def zip_seed(data: bytes) -> Seed:
    """A zip of torch.save."""
    parts = read_parts(data)
    place = next(number for number, part in enumerate(parts) if part.name.endswith(b"/data.pkl"))
    ops = split(parts[place].data)

    def in_pickle(random: Random) -> bytes:
        broken = [replace(part) for part in parts]
        broken[place].data = break_pickle(random, ops)
        return write_parts(broken)

    return Seed(
        data,
        "torch",
        ".pt",
        (in_pickle, in_pickle, lambda random: break_zip(random, parts), lambda random: break_bytes(random, data)),
    )


def _with_stable_keys(data: bytes) -> bytes:
    """The file with other keys of storages: torch takes the addresses in the memory for them."""
    keys = dict.fromkeys(re.findall(rb"\d{12,}", data))
    for number, key in enumerate(keys):
        data = data.replace(key, b"%0*d" % (len(key), number + 1))
    return data


def legacy_seed(data: bytes) -> Seed:
    """A stream of torch.save before 1.6: five pickles, then the storages."""
    data = _with_stable_keys(data)
    pickles: list[Ops] = []
    pos = 0
    for _ in range(5):
        pickles.append(split(data[pos:]))
        pos += sum(map(len, pickles[-1]))
    tail = data[pos:]

    def in_pickle(random: Random) -> bytes:
        which = random.choice((0, 1, 2, 3, 3, 3, 3, 3, 4, 4))
        codes = [b"".join(ops) for ops in pickles]
        codes[which] = break_pickle(random, pickles[which])
        return b"".join(codes) + tail

    def in_storages(random: Random) -> bytes:
        return data[:pos] + break_bytes(random, tail)

    return Seed(
        data, "torch", ".pt", (in_pickle, in_pickle, in_pickle, in_storages, lambda random: break_bytes(random, data))
    )


def pickle_seed(data: bytes) -> Seed:
    """A bare pickle."""
    data = _with_stable_keys(data)
    ops = split(data)
    in_pickle = lambda random: break_pickle(random, ops)  # noqa: E731
    return Seed(data, "pickle", ".pkl", (in_pickle, in_pickle, in_pickle, lambda random: break_bytes(random, data)))


def saved(value: Any, **options: Any) -> bytes:
    """What torch.save writes of a value."""
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def _values() -> list[dict[str, Any]]:
    import torch

    base = torch.arange(12, dtype=torch.float32).reshape(3, 4) + 1
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) + number + 0.5)
    return [
        {"a": base, "b": {"c": base.t(), "d": torch.tensor([1, 2, 3])}, "n": [1, "x"], "epoch": 3, "lr": 0.5},
        {"state": layer.state_dict(), "p": layer.weight, "h": torch.ones(2, 2).bfloat16(), "t": (True, None)},
        {"optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": base[1:]}}, "param_groups": [{"lr": 1e-3}]},
         "s": torch.sparse_coo_tensor([[0, 1]], [2.0, 3.0], (3,), check_invariants=True), "size": torch.Size([2, 3])},
    ]  # fmt: skip


def zip_seeds() -> list[Seed]:
    """Files of torch.save."""
    return [zip_seed(saved(value)) for value in _values()] + [zip_seed(saved(_values()[0], pickle_protocol=4))]


def legacy_seeds() -> list[Seed]:
    """Streams of torch.save before 1.6."""
    old: dict[str, Any] = {"_use_new_zipfile_serialization": False}
    seeds = [legacy_seed(saved(value, **old)) for value in _values()]
    return [*seeds, legacy_seed(saved(_values()[0], **old, pickle_protocol=4))]


def tensor_seeds() -> list[Seed]:
    """Bare pickles of tensors, whose bytes protocol 2 would write as text."""
    return [pickle_seed(pickle.dumps(value, protocol)) for value in _values()[:2] for protocol in (3, 5)]


def array_seeds() -> list[Seed]:
    """Bare pickles of numpy arrays."""
    import numpy as np

    table = np.arange(6, dtype=np.float32).reshape(2, 3) + 1
    value = {
        "w": table, "f": np.asfortranarray(table), "big": table.astype(">i4"), "half": table.astype(np.float16),
        "deep": {"m": np.array([True, False]), "one": np.float64(2.5), "zero": np.array(3)}, "epoch": 3,
    }  # fmt: skip
    return [pickle_seed(pickle.dumps(value, protocol)) for protocol in (0, 1, 2, 3, 4, 5)]


SEEDS: dict[str, Callable[[], list[Seed]]] = {
    "zip": zip_seeds,
    "legacy": legacy_seeds,
    "tensors": tensor_seeds,
    "arrays": array_seeds,
}
"""The honest files of each format."""


def damaged(random: Random, seeds: list[Seed]) -> tuple[Seed, bytes]:
    """One of the files, with faults."""
    seed = random.choice(seeds)
    return seed, random.choice(seed.breakers)(random)
