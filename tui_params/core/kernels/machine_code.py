"""Machine code of the compiled loops, as bytes that are kept from one run to the next.

numba takes seconds to compile the loops and 0.3 s to be imported; llvmlite loads compiled loops in 0.05 s. So they are
compiled once for each kind of processor, by a process of its own (``compiler``), and every later run loads the
result. The file format: a magic line, the SHA-256 of the rest, a JSON line (Origin and symbols), an object
file (ELF or Mach-O) that refers to nothing outside itself. No part of it is a pickle.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import msgspec

MAGIC = b"tui-params machine code 1\n"


_SOURCES = (
    "compiler.py",
    "loop_arrays.py",
    "loops.py",
    "loops_blocks.py",
    "loops_difference.py",
    "loops_few.py",
    "loops_moved.py",
    "loops_seek.py",
)


class Store(Protocol):
    """Where machine code is kept, by a name that ``file_name`` gives. Never raises OSError."""

    def read(self, name: str) -> tuple[bytes, object] | None:
        """The bytes of that name, with any other facts about them, or None."""

    def write(self, name: str, data: bytes) -> object:
        """Replace the bytes of that name."""


FindStore: TypeAlias = Callable[[], Store | None]
"""A function that finds where machine code is kept; None: nowhere."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """What machine code was compiled from and for; it is used only where all of this is the same.

    ``source`` is the SHA-256 of the loops; ``triple``, ``processor`` and ``features`` are LLVM's names.
    """

    source: str
    triple: str
    processor: str
    features: str


class MachineCode(msgspec.Struct, frozen=True):
    """Compiled loops: an object file, and the symbol of each loop in it."""

    origin: Origin
    symbols: Mapping[str, str]
    object_file: bytes


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    origin: Origin
    symbols: dict[str, str]


def encode(code: MachineCode) -> bytes:
    """``code`` as bytes for a Store."""
    body = msgspec.json.encode(_Head(code.origin, dict(code.symbols))) + b"\n" + code.object_file
    return MAGIC + _digest(body).encode() + b"\n" + body


def decode(data: bytes) -> MachineCode:
    """The inverse of ``encode``. Raises ValueError for any other data, even if only one bit has changed."""
    digest, _, body = data.removeprefix(MAGIC).partition(b"\n")
    if not data.startswith(MAGIC) or _digest(body).encode() != digest:
        raise ValueError("the machine code is damaged, or of another version")
    text, _, object_file = body.partition(b"\n")
    head = msgspec.json.decode(text, type=_Head)
    return MachineCode(head.origin, head.symbols, object_file)


def file_name() -> str:
    """The name under which code for this machine is kept. Needs no LLVM; ``Origin`` decides whether it really fits."""
    import platform

    known = "\0".join((_source(), sys.platform, platform.machine(), _flags()))
    return _digest(known.encode())[:32] + ".code"


def _flags() -> str:
    """What Linux says about the first processor, because machines may share a home folder; empty elsewhere."""
    try:
        with open("/proc/cpuinfo", "rb") as file:
            block = file.read(4096).partition(b"\n\n")[0]
    except OSError:
        return ""
    kept = (b"vendor_id", b"cpu family", b"model", b"flags", b"Features", b"CPU")
    return b"\n".join(line for line in block.splitlines() if line.startswith(kept)).decode(errors="replace")


def _source() -> str:
    """The digest of the sources of the loops, which may lie in a zip. Raises OSError."""
    from pkgutil import get_data

    texts = [get_data(__package__, name) for name in _SOURCES]
    return _digest(b"".join(text for text in texts if text is not None))


def _digest(data: bytes) -> str:
    from hashlib import sha256

    return sha256(data).hexdigest()


def origin_here() -> Origin:
    """The origin that machine code must have for this process. Imports llvmlite; raises ImportError, OSError."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features().flatten()
    return Origin(_source(), llvm.get_process_triple(), llvm.get_host_cpu_name(), features)


def load(code: MachineCode) -> tuple[Any, dict[str, int]]:
    """An object that must live as long as the loops are called, and the addresses of the loops.

    Only for code whose origin is ``origin_here()``. Raises RuntimeError if LLVM rejects it.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(code.origin.triple)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.create_target_machine(jit=True))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.object_file))
    engine.finalize_object()
    addresses = {name: int(engine.get_function_address(symbol)) for name, symbol in code.symbols.items()}
    missing = [name for name, address in addresses.items() if not address]
    if missing:
        raise RuntimeError(f"the machine code lacks {', '.join(missing)}")
    return engine, addresses
