"""Builders of torch files: honest ones by torch itself, hostile pickles and zips by hand.

Torch is imported inside the functions, so that tests of readers alone do not load it.
"""

from __future__ import annotations

import argparse
import collections
import enum
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# fmt: off
TORCH_DTYPES = [
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2",
    "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "int64", "int32", "int16",
    "int8", "uint64", "uint32", "uint16", "uint8", "bool",
    "complex128", "complex64", "complex32", "float4_e2m1fn_x2",
]
# fmt: on
"""Every element type that torch saves and that numpy or ml_dtypes can hold (or that we view as such)."""


class Callback:
    """An object of a class of the user's own, with a tensor in it."""

    def __init__(self) -> None:
        import torch

        self.best_score = 0.25
        self.history = torch.arange(4.0)


class Stage(enum.Enum):
    """An enumeration: protocol 2 writes its members as calls."""

    FIT = "fit"


def random_tensor(dtype: str, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """A tensor of random bytes (of random truth values for bool), so that every bit pattern may occur."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    kind: torch.dtype = getattr(torch, dtype)
    if dtype == "bool":
        return torch.randint(0, 2, shape, generator=generator, dtype=torch.uint8).bool()
    raw = torch.randint(0, 256, (*shape[:-1], shape[-1] * kind.itemsize), generator=generator, dtype=torch.uint8)
    return raw.view(kind)


def all_dtypes() -> dict[str, torch.Tensor]:
    """One small tensor of each type."""
    return {name: random_tensor(name, (3, 4), seed) for seed, name in enumerate(TORCH_DTYPES)}


def all_layouts() -> dict[str, torch.Tensor]:
    """Everything that a strided tensor can be: views, steps, broadcasts, lazy bits, no dimension, no element."""
    import torch

    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    c64 = torch.view_as_complex(torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(1)))
    return {
        "base": base,
        "tied": base,
        "transposed": base.permute(2, 0, 1),
        "expanded": base[:1, :1].expand(2, 3, 5),
        "stepped": base[:, ::2, 1::3],
        "row": base[1],
        "last": base[2, 3, 4],
        "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(3.5, dtype=torch.bfloat16),
        "empty": torch.empty(0, 3),
        "conj": c64.conj(),
        "conj_transposed": torch.randn(2, 3, dtype=torch.complex128).mH,
        "neg": torch.randn(5, dtype=torch.complex64).conj().imag,
        "one_by_n": base[:1].transpose(0, 1)[:1],
    }


def build_model(*, seed: int = 0) -> torch.nn.Module:
    """A small module with everything that has a name: tied weights, buffers of both kinds, a frozen parameter."""
    import torch
    from torch import nn

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(7, 4)
            self.block = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 4, bias=False))
            self.head = nn.Linear(4, 7, bias=False)
            self.head.weight = self.embed.weight
            self.register_buffer("scratch", torch.ones(2), persistent=False)
            self.block[2].weight.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.head(self.block(self.embed(x)))
            return result

    torch.manual_seed(seed)
    # A class that is found by its name when torch pickles the whole module.
    Net.__qualname__ = "Net"
    globals()["Net"] = Net
    return Net()


def train_once(model: torch.nn.Module) -> torch.optim.Optimizer:
    """An AdamW that has made one step, so that it has states."""
    import torch

    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    model(torch.arange(5)).square().sum().backward()
    optimizer.step()
    return optimizer


def lightning_like() -> dict[Any, Any]:
    """What a trainer's checkpoint holds beside its weights: objects, enumerations, numpy, paths, functions."""
    import numpy as np
    import torch

    model = build_model()
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": model.state_dict(),
        "callbacks": {"Callback{'mode': 'min'}": Callback()},
        "optimizer_states": [train_once(model).state_dict()],
        "hyper_parameters": argparse.Namespace(lr=0.1, name="run 7", root=pathlib.PurePosixPath("/data/set")),
        "stage": Stage.FIT,
        "numpy": np.arange(6.0).reshape(2, 3),
        "score": np.float64(2.5),
        "counts": collections.Counter("aab"),
        "lists": collections.defaultdict(list, {"a": [1, 2]}),
        "steps": list(range(1024)),
        "seen": {1, 2},
        "device": torch.device("cuda", 1),
        "dtype": torch.float16,
        "size": torch.Size([2, 3]),
        "activation": torch.nn.functional.relu,
        "blob": b"\x00\xff" * 50,
        ("a", 1): "odd key",
        7: None,
    }


def save(path: Path, value: Any, **options: Any) -> Path:
    """``torch.save`` and the path."""
    import torch

    torch.save(value, path, **options)
    return path


# Bytes by hand


def stored_zip(path: Path, members: Iterable[tuple[str, bytes]], *, method: int = zipfile.ZIP_STORED) -> Path:
    """A zip of these members, in order."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def torch_zip(path: Path, pickled: bytes, storages: dict[str, bytes] | None = None, **options: Any) -> Path:
    """The least that is a torch.save zip: this ``data.pkl`` and these storages."""
    members = [("archive/data.pkl", pickled), ("archive/version", b"3\n")]
    members += [(f"archive/data/{key}", data) for key, data in (storages or {}).items()]
    return stored_zip(path, members, **options)


def repack(path: Path, to: Path, method: int) -> Path:
    """The same members in a zip made by another program, as ``zip -r`` would."""
    with zipfile.ZipFile(path) as old:
        return stored_zip(to, [(info.filename, old.read(info)) for info in old.infolist()], method=method)


def string(text: str) -> bytes:
    """BINUNICODE."""
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(number: int) -> bytes:
    """BININT, or LONG1 for what does not fit."""
    if -(1 << 31) <= number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    raw = number.to_bytes((number.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def numbers(values: Iterable[int]) -> bytes:
    """A tuple of integers."""
    return b"(" + b"".join(map(integer, values)) + b"t"


def tensor_pickle(
    numel: int = 4,
    *,
    shape: tuple[int, ...] = (4,),
    stride: tuple[int, ...] = (1,),
    offset: int = 0,
    storage: str = "FloatStorage",
    key: str = "0",
) -> bytes:
    """The opcodes that leave one tensor on the stack, whatever the numbers say."""
    pid = b"(" + string("storage") + f"ctorch\n{storage}\n".encode() + string(key) + string("cpu") + integer(numel)
    arguments = b"(" + pid + b"tQ" + integer(offset) + numbers(shape) + numbers(stride)
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"\x89ccollections\nOrderedDict\n)RtR"


def state_dict_pickle(tensors: dict[str, bytes]) -> bytes:
    """A pickle of a dict of such tensors."""
    return b"\x80\x02}(" + b"".join(string(name) + code for name, code in tensors.items()) + b"u."


def payloads(marker: Path) -> dict[str, bytes]:
    """Pickles that make a file at ``marker`` when a plain unpickler reads them, by how they call."""
    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w').close()"
    system = b"cos\nsystem\n"
    return {
        "reduce": b"\x80\x02" + system + string(command) + b"\x85R.",
        "reduce of protocol 0": b"cos\nsystem\n(S'" + command.encode() + b"'\ntR.",
        "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + string(command) + b"\x85R.",
        "inst": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
        "obj": b"(" + system + string(command) + b"o.",
        "newobj": b"\x80\x02" + system + string(command) + b"\x85\x81.",
        "newobj_ex": b"\x80\x04" + system + string(command) + b"\x85}\x92.",
        "eval": b"\x80\x02cbuiltins\neval\n" + string(code) + b"\x85R.",
        "eval of Python 2": b"\x80\x02c__builtin__\neval\n" + string(code) + b"\x85R.",
        "exec": b"\x80\x02cbuiltins\nexec\n" + string(code) + b"\x85R.",
        "build": b"\x80\x02c__main__\nThing\n)\x81}" + string("run") + system + string(command) + b"\x85Rsb.",
        "in a tensor's arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
        + system
        + string(command)
        + b"\x85RK\x00))\x89NtR.",
        "getattr": b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\n" + string("__call__") + b"\x86R"
        b"" + string("os") + b"\x85R0" + system + string(command) + b"\x85R.",
        "persistent id": b"\x80\x02" + system + string(command) + b"\x85RQ.",
        "runpy": b"\x80\x02crunpy\n_run_code\n" + string(code) + b"}\x86R.",
        "partial": b"\x80\x02cfunctools\npartial\n" + system + string(command) + b"\x86R)R.",
    }


def doubled_tuples(levels: int) -> bytes:
    """The opcodes of a global, m.C, in tuples of two, each level twice the one below.

    Hashing what they leave on the stack hashes the global 2^levels times.
    """
    return b"cm\nC\n" + b"\x32\x86" * levels


def repeated_lists(levels: int) -> bytes:
    """A list of ten times the same list, and so on, down to a list of one text: 10^levels texts when written out."""
    code = b"\x80\x02]q\x00" + string("ha") + b"a"
    for level in range(levels):
        code += b"](" + (b"h" + bytes([level])) * 10 + b"e" + b"q" + bytes([level + 1])
    return code + b"."


def nested_lists(levels: int) -> bytes:
    """A list in a list in a list."""
    return b"\x80\x02" + b"]" * levels + b"a" * (levels - 1) + b"."


def deflated_zeros(path: Path, kilobytes: int) -> Path:
    """A deflated ``data.pkl`` that is one long string of zeros."""
    pickled = b"\x80\x02X" + struct.pack("<I", kilobytes << 10) + bytes(kilobytes << 10) + b"."
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = compressor.compress(pickled) + compressor.flush()
    return raw_zip(path, [("a/data.pkl", 8, zlib.crc32(pickled), packed, len(pickled))])


def raw_zip(path: Path, members: Iterable[tuple[str, int, int, bytes, int]]) -> Path:
    """A zip of (name, method, crc, bytes, claimed size), which need not be true."""
    body, directory, count = b"", b"", 0
    for name, method, crc, data, size in members:
        raw = name.encode()
        fields = struct.pack("<HHHHLLLHH", 0, method, 0, 0, crc, len(data), size, len(raw), 0)
        directory += (
            b"PK\1\2"
            + struct.pack("<HH", 20, 20)
            + fields[:-2]
            + struct.pack("<HHHHLL", 0, 0, 0, 0, 0, len(body))
            + raw
        )
        body += b"PK\3\4" + struct.pack("<H", 20) + fields + raw + data
        count += 1
    end = b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, count, count, len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    return path
