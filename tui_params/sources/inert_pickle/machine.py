"""An inert pickle machine: it reads protocols 0 to 5 and builds plain data. Nothing is imported, called or hashed.

The opcodes are those of CPython's ``Lib/pickletools.py``. A global becomes a Stub, and a call of it becomes an Obj,
unless the global is in the closed table of ``constructors``. Work and memory are bounded by the limits below.
"""

from __future__ import annotations

import re
from codecs import escape_decode  # what pickle itself uses
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import repeat
from struct import Struct, error
from typing import Any

from tui_params.core.collector import collector_paused
from tui_params.core.text import plural
from tui_params.errors import OpenError
from tui_params.sources.inert_pickle.calls import CallLog, is_bound_method, member_of, words_before_fault
from tui_params.sources.inert_pickle.constructors import CONSTRUCTORS
from tui_params.sources.inert_pickle.faults import (
    UNHASHABLE,
    Faults,
    build,
    call_fault,
    has_numbers,
    is_text,
    is_unhashable,
    name_kind,
    named_again,
)
from tui_params.sources.inert_pickle.joblib_arrays import has_objects, is_aligned, is_wrapper, read_array
from tui_params.sources.inert_pickle.labels import is_class_name
from tui_params.sources.inert_pickle.results import takes
from tui_params.sources.inert_pickle.values import (
    UNFIT,
    ArrayValue,
    ByteArray,
    Composite,
    Encoded,
    Obj,
    OddKey,
    Parameter,
    SetValue,
    Storage,
    Stub,
    TensorValue,
    Text,
    TypedTensor,
    render,
)

_MADE_BY_FUNCTIONS = frozenset({TensorValue, ArrayValue, Parameter})
_BUFFERS = frozenset({bytes, Encoded, ByteArray, ArrayValue, Text, Obj})
_FUNCTIONS = frozenset({"encode", "_get_layout"})
_LOGGED = frozenset({Obj, Composite, TypedTensor})
"""What a call builds if it is not all imitated by a constructor: such calls are written down."""

MAX_OPERATIONS = 16_000_000
MAX_CONTAINERS = 4_000_000
MAX_PICKLE_BYTES = 256 << 20
MAX_LONG_BYTES = 64 << 10
MIN_BLOB_BYTES = 256
MAX_BEHIND = 10_000
_MAX_DIGITS = 1_000
_MAX_JOBLIB_DEPTH = 8
_SHADOW_STEPS = 10_000
_MAX_GLOBAL_NAME = 4_096
_FRAME_SIZE = 64 << 10
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_OCTAL = re.compile(r"[+-]?0[0-7]+")

_u2 = Struct("<H").unpack_from
_u4 = Struct("<I").unpack_from
_i4 = Struct("<i").unpack_from
_f8 = Struct(">d").unpack_from

# Python 2 wrote other names for these modules; the rules for names need one spelling.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins", "_numpy": "numpy"}
_INT64 = range(-(1 << 63), 1 << 63)


class PickleEndsError(OpenError):
    """The bytes end before the pickle does."""


class PickleMachine:
    """Reads one pickle in ``data`` from ``pos`` on. Then ``root`` is what it builds, and ``pos`` the byte after it;
    ``is_read`` says that it came so far.

    ``globals`` are all names that it mentions, ``calls`` what is called, ``storages`` all storages. ``blobs`` has the
    longer byte strings (those of Python 2 as text) by identity, each with its place in ``data``. ``what`` is what error
    messages call these bytes.
    ``budget`` is how many steps the machine may take, by default MAX_OPERATIONS. ``pid_length`` is how many items the
    persistent id of a storage has where this pickle stands (0: it may have none; None: 5 or 6).
    ``faults`` say what a plain unpickler refuses, though it can be read here. ``named`` are the values that persistent
    ids of one number name, as in the tar of torch 0.1; ``is_packaged`` says that the pickle is one of torch.package.
    Only where it ``may_have_joblib`` arrays may stand in it as joblib writes them, which only its own unpickler passes
    over; ``has_joblib`` says that there are some, and ``depth`` counts the pickles around it there.
    """

    def __init__(
        self,
        data: bytes,
        pos: int = 0,
        what: str = "the pickle",
        budget: int | None = None,
        pid_length: int | None = None,
        *,
        named: Mapping[int, Any] | None = None,
        is_packaged: bool = False,
        may_have_joblib: bool = False,
        depth: int = 0,
    ) -> None:
        self.named = named
        self.may_have_joblib = may_have_joblib
        self.depth = depth
        self.has_joblib = False
        self.is_packaged = is_packaged
        self.data = data
        self.pos = pos
        self.what = what
        self.budget = MAX_OPERATIONS if budget is None else budget
        self.root: Any = None
        self.is_read = False
        self.globals: dict[tuple[str, str], Stub] = {}
        self.calls = CallLog()
        self.storages: list[Storage] = []
        self._storages_named: dict[str, str] = {}
        self.blobs: dict[int, tuple[int, bytes | str]] = {}
        self.pid_length = pid_length
        self.faults = Faults()
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._plain: set[int] = set()
        self._frame_end = 0
        self._frame_length = 0

    def load(self) -> Any:
        """What the pickle builds. Raises OpenError, and nothing else, for any bytes at all."""
        if len(self.data) > MAX_PICKLE_BYTES:
            raise OpenError(f"{self.what} is {len(self.data):,} bytes long: more than {MAX_PICKLE_BYTES:,} are refused")
        with collector_paused():
            try:
                self.root = self._load()
                self.is_read = True
            except OpenError as fault:
                raise type(fault)(f"{fault}{words_before_fault(self.calls)}") from None
        return self.root

    def place_of(self, value: object) -> int | None:
        """Where in ``data`` the bytes of a longer byte string lie as they are; None of any other value."""
        found = self.blobs.get(id(value))
        return None if found is None else found[0]

    def _load(self) -> Any:
        try:
            return self._run()
        except error:
            raise self._ends_early() from None
        except IndexError:
            if self.pos >= len(self.data):
                raise self._ends_early() from None
            raise self._damaged("takes a value from an empty stack") from None
        except KeyError:
            raise self._damaged("refers to a value that was never stored") from None
        finally:
            self._stack, self._outer, self._memo, self._plain = [], [], {}, set()

    def _run(self) -> Any:
        data, pos, size = self.data, self.pos, len(self.data)
        # A mark sets the stack aside and begins a new one, so that nothing can be taken from below it.
        stack, outer, memo, plain = self._stack, self._outer, self._memo, self._plain
        containers = 0
        last: Any
        push, pop = stack.append, stack.pop
        try:
            # Ordered by how often torch.save writes them; literals, because a name costs a lookup.
            for _ in repeat(None, self.budget):
                op = data[pos]
                pos += 1
                if op == 0x72:  # LONG_BINPUT
                    memo[_u4(data, pos)[0]] = stack[-1]
                    pos += 4
                elif op == 0x68:  # BINGET
                    push(memo[data[pos]])
                    pos += 1
                elif op == 0x4B:  # BININT1
                    push(data[pos])
                    pos += 1
                elif op == 0x58:  # BINUNICODE
                    start = pos + 4
                    pos = start + _u4(data, pos)[0]
                    if pos > size:
                        raise self._ends_early()
                    try:
                        push(data[start:pos].decode())
                    except UnicodeDecodeError:
                        push(self._odd_text(data[start:pos]))
                elif op == 0x94:  # MEMOIZE
                    memo[len(memo)] = stack[-1]
                elif op == 0x28:  # MARK
                    outer.append(stack)
                    self._stack = stack = []
                    push, pop = stack.append, stack.pop
                elif op == 0x74:  # TUPLE
                    last = tuple(stack)
                    self._stack = stack = outer.pop()
                    push, pop = stack.append, stack.pop
                    push(last)
                elif op == 0x52 or op == 0x81:  # REDUCE, NEWOBJ
                    args = pop()
                    last = _construct(stack[-1], args)
                    if type(last) in _LOGGED:
                        last = self._log(last, stack[-1], args, is_called=op == 0x52)
                    elif type(last) is dict:
                        plain.discard(id(last))
                    elif type(last) is TensorValue and not has_numbers(last):
                        self.faults.add(f"calls {stack[-1]} with a size that is none")
                    elif op == 0x81 and (type(last) in _MADE_BY_FUNCTIONS or stack[-1].name in _FUNCTIONS):
                        self.faults.add("makes an object of a function")
                    stack[-1] = last
                elif op == 0x86:  # TUPLE2
                    last = pop()
                    stack[-1] = (stack[-1], last)
                elif op == 0x4D:  # BININT2
                    push(_u2(data, pos)[0])
                    pos += 2
                elif op == 0x51:  # BINPERSID
                    stack[-1] = self._persistent(stack[-1])
                elif op == 0x89:  # NEWFALSE
                    push(False)
                elif op == 0x29:  # EMPTY_TUPLE
                    push(())
                elif op == 0x8C:  # SHORT_BINUNICODE
                    start = pos + 1
                    pos = start + data[pos]
                    if pos > size:
                        raise self._ends_early()
                    try:
                        push(data[start:pos].decode())
                    except UnicodeDecodeError:
                        push(self._odd_text(data[start:pos]))
                elif op == 0x71:  # BINPUT
                    memo[data[pos]] = stack[-1]
                    pos += 1
                elif op == 0x4A:  # BININT
                    push(_i4(data, pos)[0])
                    pos += 4
                elif op == 0x6A:  # LONG_BINGET
                    push(memo[_u4(data, pos)[0]])
                    pos += 4
                elif op == 0x85:  # TUPLE1
                    stack[-1] = (stack[-1],)
                elif op == 0x87:  # TUPLE3
                    last = pop()
                    middle = pop()
                    stack[-1] = (stack[-1], middle, last)
                elif op == 0x88:  # NEWTRUE
                    push(True)
                elif op == 0x4E:  # NONE
                    push(None)
                elif op == 0x7D or op == 0x5D:  # EMPTY_DICT, EMPTY_LIST
                    containers += 1
                    if containers > MAX_CONTAINERS:
                        break
                    if op == 0x7D:
                        last = {}
                        plain.add(id(last))
                        push(last)
                    else:
                        push([])
                elif op == 0x47:  # BINFLOAT
                    push(_f8(data, pos)[0])
                    pos += 8
                elif op == 0x61:  # APPEND
                    item = pop()
                    self._extend(stack[-1], [item])
                elif op == 0x65:  # APPENDS
                    items = stack
                    self._stack = stack = outer.pop()
                    push, pop = stack.append, stack.pop
                    self._extend(stack[-1], items)
                elif op == 0x2E:  # STOP
                    if not stack:
                        raise self._damaged("builds nothing")
                    self._end_part(pos)
                    self._check_memo()
                    return pop()
                else:
                    self.pos = pos
                    self._step(op)
                    pos = self.pos
                    if stack is not self._stack:
                        stack = self._stack
                        push, pop = stack.append, stack.pop
        finally:
            self.pos = max(self.pos, pos)
        raise OpenError(
            f"{self.what} takes more than {self.budget:,} steps or {MAX_CONTAINERS:,} containers: it is refused"
        )

    def _step(self, op: int) -> None:
        """Carry out one of the opcodes that are rare in checkpoints."""
        stack = self._stack
        if op == 0x75:  # SETITEMS
            items = self._pop_mark()
            self._set_items(self._stack[-1], items)
        elif op == 0x73:  # SETITEM
            value = stack.pop()
            key = stack.pop()
            self._set_items(stack[-1], [key, value])
        elif op == 0x62:  # BUILD
            state = stack.pop()
            target = stack[-1]
            if type(target) is Stub:
                self._touch(target, "__setstate__", state)
            elif not build(target, state) or (type(target) is dict and id(target) in self._plain):
                self.faults.add(f"sets the state of {name_kind(target)} to what it does not take")
            elif self.may_have_joblib and type(target) is Obj and is_wrapper(target):
                stack[-1] = self._array_behind(target.state)
        elif op == 0x63:  # GLOBAL
            module = self._line()
            stack.append(self._global(module, self._line()))
        elif op == 0x93:  # STACK_GLOBAL
            name = stack.pop()
            stack[-1] = self._global(stack[-1], name)
        elif op == 0x80:  # PROTO
            version = self._take(1)[0]
            if version > 5:
                raise self._damaged(f"is of protocol {version}; protocols up to 5 are known")
        elif op == 0x95:  # FRAME
            length = int.from_bytes(self._take(8), "little")
            self._end_part(self.pos - 9)
            if length > len(self.data) - self.pos:
                self.faults.add(f"announces {plural(length, 'byte')} where {len(self.data) - self.pos:,} follow")
            self._frame_end, self._frame_length = self.pos + length, length
        elif op in _LENGTHS:
            stack.append(self._sized(op))
        elif op in (0x69, 0x6F, 0x92):  # INST, OBJ, NEWOBJ_EX
            self._instance(op)
        elif op in (0x49, 0x4C, 0x46, 0x53, 0x56, 0x50, 0x67, 0x70):
            self._text_opcode(op)
        else:
            self._shuffle(op)

    def _array_behind(self, state: dict[Any, Any]) -> Any:
        """The array of joblib whose elements follow as they are, or as a pickle of their own."""
        self._end_part(self.pos)
        self._frame_end = 0
        self.has_joblib = True
        if has_objects(state):
            if self.depth >= _MAX_JOBLIB_DEPTH:
                raise self._damaged("nests arrays of joblib too deeply")
            inner = self._beside(self.budget // 4)
            inner.faults, inner.storages, inner.blobs = self.faults, self.storages, self.blobs
            value = inner.load()
            self.pos = inner.pos
            return value
        if not is_aligned(state):
            # An older joblib. What another unpickler would take for instructions is noted, as far as it makes sense.
            with suppress(OpenError):
                self._beside(_SHADOW_STEPS).load()
        value, raw, self.pos = read_array(state, self.data, self.pos, self.what)
        if len(raw) >= MIN_BLOB_BYTES:
            self.blobs[id(raw)] = (self.pos - len(raw), raw)
        return value

    def _beside(self, budget: int) -> PickleMachine:
        """A machine that reads on from here with a stack of its own, and notes what it finds where this one does."""
        inner = PickleMachine(
            self.data, self.pos, self.what, budget, self.pid_length, may_have_joblib=True, depth=self.depth + 1
        )
        inner.calls, inner.globals = self.calls, self.globals
        return inner

    def _end_part(self, pos: int) -> None:
        """The part that the last FRAME announced must end at ``pos``, where the next one begins or the pickle ends.

        Only texts and bytes of 64 KiB and more stand outside of parts, and an end of less than 4 bytes after a part
        that is so long: CPython's Lib/pickle.py, ``_Framer``.
        """
        gap = pos - self._frame_end
        if self._frame_end and gap and (gap < 0 or max(gap, self._frame_length) < _FRAME_SIZE):
            self.faults.add("has an instruction across the end of a part")

    def _check_memo(self) -> None:
        """The numbers under which values are stored are counted up from 0: a plain unpickler keeps a table of them."""
        if self._memo and max(self._memo) > MAX_OPERATIONS:
            self.faults.add(f"stores a value as number {max(self._memo):,}, for which a table would be too long")

    def _sized(self, op: int) -> Any:
        """The value of an opcode that says how many bytes follow."""
        width, kind = _LENGTHS[op]
        length = int.from_bytes(self._take(width), "little", signed=width == 4 and kind in ("int", "string"))
        if length < 0:
            raise self._damaged("holds a negative length")
        if kind == "int" and length > MAX_LONG_BYTES:
            raise self._damaged(f"holds an integer of {length:,} bytes")
        raw = self._take(length)
        if kind == "int":
            return int.from_bytes(raw, "little", signed=True)
        if kind in ("bytes", "bytearray"):
            if length >= MIN_BLOB_BYTES:
                self.blobs[id(raw)] = (self.pos - length, raw)
            return ByteArray(raw) if kind == "bytearray" else raw
        if kind == "string":
            text = _python2_string(raw)
            if length >= MIN_BLOB_BYTES:
                self.blobs[id(text)] = (self.pos - length, text)
            return text
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return self._odd_text(raw)

    def _odd_text(self, raw: bytes) -> str:
        """Bytes that are no UTF-8, as a text that can be shown."""
        self.faults.add("holds a text that is no UTF-8")
        return raw.decode("utf-8", "replace")

    def _instance(self, op: int) -> None:
        stack = self._stack
        if op == 0x92:
            kwargs = stack.pop()
            args = stack.pop()
            if type(args) is not tuple or type(kwargs) is not dict or type(stack[-1]) is not Stub:
                self.faults.add("makes an object of what is no class, or with arguments that are none")
            stack[-1] = self._log(Obj(stack[-1], (args, kwargs)), stack[-1], (args, kwargs), is_called=False)
            return
        if op == 0x69:
            module = self._line()
            cls: Any = self._global(module, self._line())
            args = tuple(self._pop_mark())
        else:
            items = self._pop_mark()
            if not items:
                raise self._damaged("makes an object of nothing")
            cls, args = items[0], tuple(items[1:])
        made = _construct(cls, args)
        if type(made) in _LOGGED:
            # Without arguments, a class is not called.
            is_called = bool(args) or type(cls) is not Stub or not is_class_name(cls.name)
            made = self._log(made, cls, args, is_called=is_called)
        self._stack.append(made)

    def _log(self, value: Any, callee: Any, args: Any, *, is_called: bool) -> Any:
        """Write down the call that made ``value``, and return it, or the global that it stands for."""
        fault = call_fault(value, callee, args, is_called=is_called)
        if fault is not None:
            self.faults.add(fault)
        member = member_of(callee, args) if is_called else None
        if member is None:
            if not is_bound_method(callee, args):
                self.calls.add(callee, args, is_called=is_called)
            return value
        cls, name = member
        self.calls.add_member(callee, cls)
        return self._global(cls.module, f"{cls.name}.{name}")

    def _text_opcode(self, op: int) -> None:
        """The opcodes of protocol 0, whose argument is a line of text."""
        raw = self._raw_line()
        stack = self._stack
        if op == 0x53:  # STRING: a Python 2 repr
            text = _python2_repr(raw)
            if text is None:
                self.faults.add("holds a text without its quotes, or with a malformed escape")
                text = _python2_string(raw[1:-1] if len(raw) > 1 else raw)
            stack.append(text)
            return
        if op == 0x56:  # UNICODE
            text = raw.decode("raw-unicode-escape", "replace")
            if not is_text(text) or "\ufffd" in text:
                text = self._odd_text(text.encode("utf-8", "surrogatepass"))
            stack.append(text)
            return
        line = raw.decode("utf-8", "replace")
        if op == 0x67:  # GET
            stack.append(self._memo[self._integer(line)])
        elif op == 0x70:  # PUT
            number = self._integer(line)
            if number < 0:
                self.faults.add("stores a value under a negative number")
            self._memo[number] = stack[-1]
        elif op == 0x50:  # PERSID
            stack.append(self._persistent(line))
        elif op == 0x49 and line in ("00", "01"):
            stack.append(line == "01")
        elif op in (0x49, 0x4C):  # INT, LONG
            stack.append(self._integer(line.removesuffix("L") if op == 0x4C else line, 0))
        else:  # FLOAT
            try:
                if "_" in line or line.strip() != line:
                    raise ValueError(line)
                stack.append(float(line))
            except ValueError:
                raise self._damaged("holds a malformed number") from None

    def _shuffle(self, op: int) -> None:
        """The opcodes that only move or wrap what is on the stack."""
        stack = self._stack
        if op == 0x30:  # POP
            if self._outer and not stack:
                self._stack = self._outer.pop()
            else:
                stack.pop()
        elif op == 0x31:  # POP_MARK
            self._pop_mark()
        elif op == 0x32:  # DUP
            stack.append(stack[-1])
        elif op == 0x6C:  # LIST
            items = self._pop_mark()
            self._stack.append(items)
        elif op == 0x64:  # DICT
            items = self._pop_mark()
            fresh: dict[Any, Any] = {}
            self._set_items(fresh, items)
            self._plain.add(id(fresh))
            self._stack.append(fresh)
        elif op == 0x8F:  # EMPTY_SET
            stack.append(SetValue([]))
        elif op == 0x90:  # ADDITEMS
            items = self._pop_mark()
            self._add_items(self._stack[-1], items)
        elif op == 0x91:  # FROZENSET
            items = self._pop_mark()
            self._check_hashable(items)
            self._stack.append(SetValue(tuple(items), is_frozen=True))
        elif op in (0x82, 0x83, 0x84):  # EXT1, EXT2, EXT4: a number for a registry that is not consulted
            code = int.from_bytes(self._take(1 << (op - 0x82)), "little")
            self.faults.add("uses the registry of copyreg, which only the program that wrote it knows")
            stack.append(self._global("copyreg.extension", str(code)))
        elif op == 0x97:  # NEXT_BUFFER
            stack.append(Text("a buffer outside the pickle"))
        elif op == 0x98:  # READONLY_BUFFER
            if type(stack[-1]) not in _BUFFERS:
                self.faults.add(f"makes a view of the bytes of {name_kind(stack[-1])}")
        else:
            raise self._damaged(f"holds an unknown instruction {op:#04x}")

    def _take(self, length: int) -> bytes:
        end = self.pos + length
        if end > len(self.data):
            raise self._ends_early()
        raw = self.data[self.pos : end]
        self.pos = end
        return raw

    def _line(self) -> str:
        raw = self._raw_line()
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return self._odd_text(raw)

    def _raw_line(self) -> bytes:
        end = self.data.find(b"\n", self.pos)
        if end < 0:
            raise self._ends_early()
        raw = self.data[self.pos : end]
        self.pos = end + 1
        return raw

    def _integer(self, line: str, base: int = 10) -> int:
        if len(line) > _MAX_DIGITS:
            raise self._damaged(f"holds an integer of {len(line):,} digits")
        try:
            # CPython's unpickler takes 0x10 for 16, and with INT 010 for 8.
            return int(line, 8 if base == 0 and _OCTAL.fullmatch(line) else base)
        except ValueError:
            raise self._damaged("holds a malformed number") from None

    def _pop_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._outer.pop()
        return items

    def _global(self, module: Any, name: Any) -> Stub:
        if type(module) is not str or type(name) is not str or len(module) + len(name) > _MAX_GLOBAL_NAME:
            raise self._damaged("names a global by something that is no name")
        module = _RENAMED.get(module, module)
        stub = self.globals.get((module, name))
        if stub is None:
            stub = self.globals[module, name] = Stub(module, name, CONSTRUCTORS.get((module, name)))
        return stub

    def _persistent(self, pid: Any) -> Any:
        """The storage that a persistent id names (torch/serialization.py, ``persistent_id``)."""
        if self.named is not None:
            return self._named(pid, self.named)
        if type(pid) is tuple and len(pid) >= 2:
            if len(pid) in (5, 6) and pid[0] == "storage":
                storage = Storage(pid[1], pid[2], pid[3], pid[4], pid[5] if len(pid) == 6 else None)
                self.storages.append(storage)
                if self.pid_length is not None and len(pid) != self.pid_length:
                    due = f"{self.pid_length} are due" if self.pid_length else "none may stand here"
                    self.faults.add(f"names a storage by {len(pid)} items, where {due}")
                elif type(pid[1]) is not Stub or not pid[1].name.endswith("Storage"):
                    self.faults.add(f"names a storage of the class {render(pid[1], 1)}, which is none")
                elif storage.view is not None and (type(storage.view) is not tuple or len(storage.view) != 3):
                    self.faults.add("names a part of a storage by something else than a key and two numbers")
                elif again := named_again(self._storages_named, storage):
                    self.faults.add(again)
                return storage
            if pid[0] == "module":
                # Legacy files embed the Python source of module classes here: (..., class, file, source).
                return pid[1]
            if pid[0] == "reduce_package" and self.is_packaged and len(pid) in (3, 4) and type(pid[-2]) is Stub:
                # torch/package/package_importer.py: (..., function, arguments), called when it is loaded.
                if (pid[-2].module, pid[-2].name) == ("torch.jit._script", "unpackage_script_module"):
                    return Obj(pid[-2], pid[-1])
                return self._log(Obj(pid[-2], pid[-1]), pid[-2], pid[-1], is_called=True)
        self.faults.add("holds a persistent id that names no storage")
        return Obj(Text("persistent object"), (pid,))

    def _named(self, pid: Any, named: Mapping[int, Any]) -> Any:
        """What an id of the tar of torch 0.1 names: a tensor or a storage by number, or a class with its source."""
        if type(pid) is tuple and pid:
            return pid[0]
        text = f"{pid}" if type(pid) in (int, str) and (type(pid) is str or pid in _INT64) else ""
        number = int(text) if len(text) <= _MAX_DIGITS and _WHOLE.fullmatch(text) else None
        if number is None or number not in named:
            self.faults.add("holds a persistent id that names no tensor and no storage")
            return Obj(Text("persistent object"), (pid,))
        return named[number]

    def _touch(self, target: Stub, verb: str, value: Any) -> None:
        self.calls.touch(target, verb, value)
        self.faults.add("changes a global itself")

    def _check_hashable(self, items: Iterable[Any]) -> None:
        for item in items:
            if type(item) in UNHASHABLE and is_unhashable(item):
                self.faults.add(f"uses {name_kind(item)} as a key or as an item of a set")
                return

    def _add_items(self, target: Any, items: list[Any]) -> None:
        if type(target) is SetValue and not target.is_frozen and type(target.items) is list:
            self._check_hashable(items)
            target.items.extend(items)
        elif type(target) is Stub:
            self._touch(target, "update", items)
        elif type(target) is Obj:
            if not takes(target, "members"):
                self.faults.add(f"adds items to {name_kind(target)}")
            if target.items is None:
                target.items = []
            target.items.extend(items)
        else:
            raise self._damaged("adds items to a value that is no set")

    def _extend(self, target: Any, items: list[Any]) -> None:
        kind = type(target)
        if kind is list:
            target.extend(items)
        elif kind is Stub:
            self._touch(target, "extend", items)
        elif kind is Obj:
            if not takes(target, "items"):
                self.faults.add(f"appends to {name_kind(target)}")
            if target.items is None:
                target.items = []
            target.items.extend(items)
        else:
            raise self._damaged("appends to a value that is no list")

    def _set_items(self, target: Any, items: list[Any]) -> None:
        if len(items) % 2:
            raise self._damaged("sets a key without a value")
        kind = type(target)
        if kind is dict:
            due = len(target) + len(items) // 2
            for key, value in zip(items[::2], items[1::2], strict=True):
                if not _is_plain_key(key):
                    self._check_hashable((key,))
                    key = OddKey(key)
                target[key] = value
            if len(target) != due:
                # The value before is lost, and was never looked at.
                self.faults.add("sets a key of a dict twice")
        elif kind is Stub:
            self._touch(target, "__setitem__", items)
        elif kind is Obj:
            if not takes(target, "keys"):
                self.faults.add(f"sets a key in {name_kind(target)}")
            if target.pairs is None:
                target.pairs = []
            target.pairs.extend(zip(items[::2], items[1::2], strict=True))
        else:
            raise self._damaged("sets a key in a value that is no dict")

    def _ends_early(self) -> PickleEndsError:
        return PickleEndsError(f"{self.what} ends too early")

    def _damaged(self, reason: str) -> OpenError:
        return OpenError(f"{self.what} is damaged: it {reason}")


# How many bytes the length takes, and what follows: LONG1, LONG4, BINBYTES8, SHORT_BINBYTES, BINBYTES, BYTEARRAY8,
# BINUNICODE8, SHORT_BINSTRING, BINSTRING.
_LENGTHS: dict[int, tuple[int, str]] = {
    0x8A: (1, "int"),
    0x8B: (4, "int"),
    0x8E: (8, "bytes"),
    0x43: (1, "bytes"),
    0x42: (4, "bytes"),
    0x96: (8, "bytearray"),
    0x8D: (8, "text"),
    0x55: (1, "string"),
    0x54: (4, "string"),
}


def _is_plain_key(key: Any) -> bool:
    kind = type(key)
    if kind is int:
        # Larger integers can be chosen so that they all have one hash.
        return key in _INT64
    return kind in (str, bool, float, bytes, Stub) or key is None


def _python2_string(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


# What the repr of a str of Python 2 may escape; codecs.escape_decode warns about anything else.
_ESCAPE = re.compile(rb"\\(?:[\\'\"abfnrtv]|x[0-9a-fA-F]{2}|[0-3][0-7]{2})")


def _python2_repr(line: bytes) -> str | None:
    """The string whose repr is ``line``; None if it is not one."""
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
        return None
    raw = line[1:-1]
    if b"\\" in raw and b"\\" not in _ESCAPE.sub(b"", raw):
        raw = escape_decode(raw)[0]
    elif b"\\x" in _ESCAPE.sub(b"", raw):
        return None
    return _python2_string(raw)


def _construct(cls: Any, args: Any) -> Any:
    if type(cls) is Stub and cls.build is not None and type(args) is tuple:
        value = cls.build(args)
        if value is not UNFIT:
            return value
    return Obj(cls, args)


def load_behind(machine: PickleMachine) -> list[PickleMachine]:
    """The machines of the pickles that follow the one that was read, up to the first bytes that are none.

    No loader of torch reads them, but a program that calls ``pickle.load`` again does. All together may take as many
    steps as one pickle.
    """
    found: list[PickleMachine] = []
    first = machine.pos
    while machine.pos < len(machine.data) and len(found) < MAX_BEHIND:
        # Each step takes a byte at least.
        budget = MAX_OPERATIONS - (machine.pos - first)
        if budget <= 0:
            break
        machine = PickleMachine(machine.data, machine.pos, "a pickle behind the first", budget)
        found.append(machine)
        try:
            machine.load()
        except OpenError:
            # What it called before the fault is written down.
            break
    return found


def load_pickle(data: bytes, what: str = "the pickle", pid_length: int | None = None) -> PickleMachine:
    """The machine after it has read the one pickle that ``data`` starts with. Raises OpenError."""
    machine = PickleMachine(data, 0, what, pid_length=pid_length)
    machine.load()
    return machine
