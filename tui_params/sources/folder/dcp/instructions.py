"""A machine for the few instructions that torch's writer leaves in a ``.metadata``. It gives up at anything else.

The opcodes are those of CPython's Lib/pickletools.py. The scanner stands on it, and adds what is taken at once.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from tui_params.sources.folder.dcp.patterns import LIST, PLACE, number_of
from tui_params.sources.inert_pickle.allowed import TORCH_ALLOWED
from tui_params.sources.inert_pickle.values import Obj, OddKey, Stub, Text

_CLASSES = (
    *("Metadata", "TensorStorageMetadata", "TensorProperties", "ChunkStorageMetadata"),
    *("BytesStorageMetadata", "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING"),
)
_GLOBALS = frozenset(
    {(LIST, name) for name in _CLASSES}
    | {(PLACE, "_StorageInfo"), ("torch.serialization", "_get_layout"), ("torch", "Size"), ("pathlib", "PosixPath")}
)
_CONSTANTS = {0x29: (), 0x4E: None, 0x88: True, 0x89: False}
_WIDTHS = {0x4B: 1, 0x4D: 2, 0x4A: 4}
_f8 = Struct(">d").unpack_from


class GivenUpError(Exception):
    """The bytes are not as torch's writer makes them."""


def without_frames(data: bytes) -> bytes | None:
    """The instructions without the frames around them, each of which must begin where the last one ends."""
    if data[:2] not in (b"\x80\x04", b"\x80\x05") or data[2:3] != b"\x95":
        return None
    parts = []
    at = 2
    view = memoryview(data)
    while at < len(data):
        stop = at + 9 + int.from_bytes(data[at + 1 : at + 9], "little")
        if data[at] != 0x95 or stop > len(data):
            return None
        parts.append(view[at + 9 : stop])
        at = stop
    return b"".join(parts)


class Instructions:
    """Carries out the instructions in ``data``, from which the frames are taken.

    ``memo`` has what was stored, by its number; ``numbers`` the first number of each text and global.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.memo: dict[int, Any] = {}
        self.numbers: dict[object, int] = {}
        self.count = 0
        self.pos = 0
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self._globals: dict[tuple[str, str], Stub] = {}

    def take(self, name: str, start: int) -> bool:
        """Take what begins at ``start`` with a reference to the class of that name; False if nothing was taken."""
        return False

    def run(self) -> Any:
        """The object that the pickle builds. Raises GivenUpError, and the errors of Python for what does not fit."""
        data = self.data
        steps: dict[int, Callable[[], None]] = {
            0x93: self._global,
            0x81: self._new,
            0x52: self._reduce,
            0x62: self._build,
            0x75: self._set_items,
            0x73: self._set_item,
            0x65: self._append_items,
            0x61: self._append,
        }
        stack = self.stack
        while True:
            op = data[self.pos]
            self.pos += 1
            if op == 0x94:  # MEMOIZE
                self._memoize(stack[-1])
            elif op == 0x8C:  # SHORT_BINUNICODE
                start = self.pos + 1
                self.pos = start + data[self.pos]
                stack.append(data[start : self.pos].decode())
                if self.pos > len(data):
                    raise GivenUpError
            elif op == 0x68 or op == 0x6A:  # BINGET, LONG_BINGET
                start = self.pos
                self.pos += 1 if op == 0x68 else 4
                value = self.memo[int.from_bytes(data[start : self.pos], "little")]
                if type(value) is not Stub or not self.take(value.name, start - 1):
                    stack.append(value)
            elif op == 0x28:  # MARK
                self.outer.append(stack)
                self.stack = stack = []
            elif op in (0x85, 0x86, 0x87):  # TUPLE1 to TUPLE3
                length = op - 0x84
                if len(stack) < length:
                    raise GivenUpError
                stack[-length:] = [tuple(stack[-length:])]
            elif op == 0x74:  # TUPLE
                items = tuple(stack)
                self.stack = stack = self.outer.pop()
                stack.append(items)
            elif op in steps:
                steps[op]()
                stack = self.stack
            elif op == 0x2E:  # STOP
                if len(stack) != 1 or self.outer or self.pos != len(data):
                    raise GivenUpError
                return stack[0]
            else:
                self._push(op)

    def _push(self, op: int) -> None:
        """Put a constant on the stack."""
        data, stack = self.data, self.stack
        if op in _CONSTANTS:
            stack.append(_CONSTANTS[op])
        elif op == 0x7D:
            stack.append({})
        elif op == 0x5D:
            stack.append([])
        elif op in _WIDTHS:
            stop = self.pos + _WIDTHS[op]
            stack.append(number_of(data[self.pos - 1 : stop]))
            self.pos = stop
        elif op == 0x8A:  # LONG1
            stop = self.pos + 1 + data[self.pos]
            stack.append(int.from_bytes(data[self.pos + 1 : stop], "little", signed=True))
            self.pos = stop
        elif op == 0x47:  # BINFLOAT
            if self.pos + 8 > len(data):
                raise GivenUpError
            stack.append(_f8(data, self.pos)[0])
            self.pos += 8
        elif op == 0x58:  # BINUNICODE
            start = self.pos + 4
            self.pos = start + int.from_bytes(data[self.pos : start], "little")
            stack.append(data[start : self.pos].decode())
        else:
            raise GivenUpError
        if self.pos > len(data):
            raise GivenUpError

    def _memoize(self, value: Any) -> None:
        self.memo[self.count] = value
        kind = type(value)
        key: object = None
        if kind is str:
            key = value
        elif kind is Stub:
            key = (value.module, value.name)
        elif kind is Text and value.text == "strided":
            key = ("torch.serialization._get_layout", "torch.strided")
        elif kind is Obj and type(value.cls) is Stub and value.cls.name == "_MEM_FORMAT_ENCODING":
            key = ("_MEM_FORMAT_ENCODING", *value.args)
        if key is not None:
            self.numbers.setdefault(key, self.count)
        self.count += 1

    def _global(self) -> None:
        name = self.stack.pop()
        module = self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise GivenUpError
        key = (module, name)
        if key not in _GLOBALS and not (module == "torch" and f"torch.{name}" in TORCH_ALLOWED):
            raise GivenUpError
        stub = self._globals.get(key)
        if stub is None:
            stub = self._globals[key] = Stub(module, name)
        self.stack.append(stub)

    def _new(self) -> None:
        args = self.stack.pop()
        cls = self.stack[-1]
        if args != () or type(cls) is not Stub or (cls.module != LIST and cls.module != PLACE):
            raise GivenUpError
        self.stack[-1] = Obj(cls, args)

    def _reduce(self) -> None:
        args = self.stack.pop()
        cls = self.stack[-1]
        if type(cls) is not Stub or type(args) is not tuple:
            raise GivenUpError
        if cls.name == "_MEM_FORMAT_ENCODING":
            if len(args) != 1 or type(args[0]) is not int:
                raise GivenUpError
            self.stack[-1] = Obj(cls, args)
            return
        self.stack[-1] = _call(cls.name, args)

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is not Obj or type(state) not in (dict, tuple):
            raise GivenUpError
        target.state = state

    def _set_items(self) -> None:
        items = self.stack
        self.stack = self.outer.pop()
        self._put(self.stack[-1], items)

    def _set_item(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._put(self.stack[-1], [key, value])

    def _put(self, target: Any, items: list[Any]) -> None:
        if type(target) is not dict or len(items) % 2:
            raise GivenUpError
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is Obj:
                key = OddKey(key)
            elif type(key) is not str:
                raise GivenUpError
            target[key] = value

    def _append_items(self) -> None:
        items = self.stack
        self.stack = self.outer.pop()
        if type(self.stack[-1]) is not list:
            raise GivenUpError
        self.stack[-1].extend(items)

    def _append(self) -> None:
        item = self.stack.pop()
        if type(self.stack[-1]) is not list:
            raise GivenUpError
        self.stack[-1].append(item)


def _call(name: str, args: tuple[Any, ...]) -> Any:
    """What a function of that name makes, as ``inert_pickle.constructors`` has it."""
    if name == "Size" and len(args) == 1 and type(args[0]) is tuple and len(args[0]) <= 64:
        if all(type(item) is int for item in args[0]):
            return args[0]
    elif name == "_get_layout" and args == ("torch.strided",):
        return Text("strided")
    elif name == "PosixPath" and all(type(part) is str for part in args):
        return Text("a path")
    raise GivenUpError
