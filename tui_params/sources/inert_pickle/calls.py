"""What a pickle calls, written down by the machine as it reads, whether or not the result is kept.

The globals that the machine builds itself and those that torch allows are not written down, so a pickle of tensors
costs nothing here. For each other one the first calls are rendered and all are counted: memory is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tui_params.core.findings import Finding, Severity
from tui_params.core.text import clean, plural
from tui_params.sources.inert_pickle.allowed import PLAIN_BASES
from tui_params.sources.inert_pickle.forms import transforms
from tui_params.sources.inert_pickle.labels import Label, is_alarming, is_class_name, label
from tui_params.sources.inert_pickle.values import Obj, Stub, Text, raw_of, render

MAX_CALLEES = 1_000
_MAX_WRAPPED = 50
_SHOWN = 10
_SHOWN_EACH = 2
_CALL_LENGTH = 120

_LOAD_BYTES = ("torch.storage", "_load_from_bytes")
_ENCODE = ("_codecs", "encode")
_FROM_TYPE = ("torch._tensor", "_rebuild_from_type_v2")
_WRAPPER = ("torch._utils", "_rebuild_wrapper_subclass")
_RECONSTRUCTORS = frozenset({"_reconstructor", "__newobj__", "__newobj_ex__"})
_CALLS_ARGUMENT = frozenset(
    [("numpy.random._pickle", f"__{kind}_ctor") for kind in ("generator", "randomstate", "bit_generator")]
    + [("pandas.core.indexes.base", "_new_Index"), ("pandas.core.indexes.datetimes", "_new_DatetimeIndex")]
)
_REDUCE = frozenset({"functools", "_functools", "builtins"})
_OPERATOR = frozenset({"operator", "_operator"})
_FORMS = _REDUCE | _OPERATOR | {_LOAD_BYTES[0], _FROM_TYPE[0], _WRAPPER[0], "copyreg"}
_FORMS |= {module for module, _ in _CALLS_ARGUMENT}


class Callee:
    """One global and what is done with it: how often it is called, and the first calls as text.

    ``is_counted`` says that enough of it is known: more calls of it are only counted.
    """

    __slots__ = ("called", "is_counted", "is_made", "shown", "stub", "touched")

    def __init__(self, stub: Stub | None) -> None:
        self.stub = stub
        self.called = 0
        self.touched = 0
        self.is_counted = False
        self.is_made = False
        self.shown: list[str] = []

    def label(self) -> Label:
        """What the worst of its uses is."""
        if self.stub is None or self.touched:
            return "code"
        if (self.stub.module, self.stub.name) == _ENCODE:
            # Of its calls, only those by a codec that no pickler writes are written down.
            return "function"
        return label(self.stub.module, self.stub.name, is_called=self.called > 0)

    def texts(self) -> list[str]:
        """The calls as a person reads them; the last says how many more there are."""
        more = self.called + self.touched - len(self.shown)
        if not self.shown:
            return [clean(str(self.stub), _CALL_LENGTH)]
        last = f"{self.shown[-1]} (and {plural(more, 'more call')})"
        return [*self.shown[:-1], last] if more > 0 else self.shown


class CallLog:
    """The calls of one pickle that are neither imitated nor allowed.

    ``nested`` are the byte strings that ``torch.storage._load_from_bytes`` would load: pickles of their own, by
    identity. ``more`` counts what was left out once MAX_CALLEES were met.
    """

    __slots__ = ("callees", "harmless", "has_more_code", "more", "nested")

    def __init__(self) -> None:
        self.callees: dict[Stub | None, Callee] = {}
        self.harmless: set[Stub] = set()
        self.nested: dict[int, Any] = {}
        self.more = 0
        self.has_more_code = False

    def add(self, callee: Any, args: Any, *, is_called: bool) -> None:
        """A call of ``callee``, or with ``is_called`` False an object made of it."""
        known = self.callees.get(callee) if type(callee) is Stub else None
        if known is not None and known.is_counted and is_called:
            known.called += 1
            return
        for _ in range(_MAX_WRAPPED):
            if type(callee) is not Stub:
                self._record(None, callee, args)
                return
            name = (callee.module, callee.name)
            if callee.module == "copyreg" and callee.name in _RECONSTRUCTORS:
                self._add_reconstruction(callee, args)
                return
            if name == _WRAPPER and type(args) is tuple and args:
                self._make(args[0])
            if name != _FROM_TYPE:
                break
            # It calls its first argument with its third, and gives the result to a class: torch/_tensor.py.
            if type(args) is not tuple or len(args) < 3:
                self._record(None, callee, args)
                return
            self._make(args[1])
            callee, args, is_called = args[0], args[2], True
        else:
            # Nested so deeply, nobody rebuilds a tensor.
            self._record(None, callee, args)
            return
        if callee.build is not None:
            if name == _ENCODE and is_called and transforms(args):
                self._record(callee, callee, args)
            return
        if name in _CALLS_ARGUMENT:
            self._add_argument(callee, args)
        if name == _LOAD_BYTES and type(args) is tuple and len(args) == 1:
            data = raw_of(args[0])
            self.nested[id(data)] = data
        elif not is_called or _is_member_by_value(callee, args):
            self._make(callee)
        elif _is_harmless(callee, args):
            self.harmless.add(callee)
        elif label(callee.module, callee.name, is_called=True) != "quiet":
            self._record(callee, callee, args)

    def add_member(self, getter: Stub, cls: Stub) -> None:
        """``getattr`` of a class in the form that ``member_of`` knows."""
        self.harmless.add(getter)
        self._make(cls)

    def touch(self, target: Stub, verb: str, value: Any) -> None:
        """Something that is done to a global itself: its attributes or its items are set."""
        self._record(target, Text(f"{target}.{verb}"), (value,), is_touched=True)

    def name_nested(self, data: Any) -> None:
        """The bytes of a nested pickle could not be followed: the call that would load them is named."""
        stub = Stub(*_LOAD_BYTES)
        self._record(stub, stub, (data,))

    def _add_reconstruction(self, callee: Stub, args: Any) -> None:
        """copyreg: ``_reconstructor`` also calls ``__new__`` and ``__init__`` of its second argument with the third."""
        if type(args) is not tuple or not args or type(args[0]) is not Stub:
            self._record(None, callee, args)
            return
        self._make(args[0])
        if callee.name == "_reconstructor" and len(args) == 3:
            base = args[1]
            if type(base) is not Stub or str(base) not in PLAIN_BASES:
                self.add(base, (args[2],), is_called=True)

    def _add_argument(self, callee: Stub, args: Any) -> None:
        """Rebuilding functions that call an argument: numpy/random/_pickle.py, pandas/core/indexes/base.py."""
        if type(args) is not tuple:
            self._record(None, callee, args)
        elif callee.module != "numpy.random._pickle":
            self._make(args[0] if args else None)
        elif len(args) > 1:
            self.add(args[1], args[:1], is_called=True)
        elif callee.name == "__bit_generator_ctor" and args and type(args[0]) is Stub:
            self.add(args[0], (), is_called=True)

    def _make(self, cls: Any) -> None:
        if type(cls) is Stub and cls.build is None:
            found = self._callee(cls, is_called=False)
            if found is not None:
                found.is_made = True

    def _callee(self, stub: Stub | None, *, is_called: bool) -> Callee | None:
        found = self.callees.get(stub)
        if found is None:
            kind = "code" if stub is None else label(stub.module, stub.name, is_called=is_called)
            # Half of the places are kept for functions: a thousand classes must not hide one.
            if len(self.callees) >= (MAX_CALLEES if kind in ("code", "function") else MAX_CALLEES // 2):
                self.more += 1
                self.has_more_code = self.has_more_code or kind == "code"
                return None
            found = self.callees[stub] = Callee(stub)
        return found

    def _record(self, stub: Stub | None, callee: Any, args: Any, *, is_touched: bool = False) -> None:
        found = self._callee(stub, is_called=True)
        if found is None:
            return
        if is_touched:
            found.touched += 1
        else:
            found.called += 1
            # The forms of these packages are told apart by their arguments, each time.
            found.is_counted = len(found.shown) == _SHOWN_EACH and stub is not None and stub.module not in _FORMS
        if len(found.shown) < _SHOWN_EACH:
            found.shown.append(clean(render(Obj(callee, args)), _CALL_LENGTH))


def member_of(callee: Any, args: Any) -> tuple[Stub, str] | None:
    """The class and the attribute, if this is how Python pickles a member of an enum or a class inside a class.

    That is ``getattr(Class, "name")`` under protocols 0 to 3. The attribute is then a global of a dotted name, as
    protocol 4 writes it, and a call of it is judged by that name.
    """
    if type(callee) is not Stub or callee.name != "getattr" or callee.module != "builtins":
        return None
    if type(args) is not tuple or len(args) != 2:
        return None
    cls, name = args
    if type(cls) is not Stub or type(name) is not str or not name.isidentifier() or name.startswith("__"):
        return None
    if not is_class_name(cls.name) or label(cls.module, cls.name, is_called=False) not in ("quiet", "class"):
        return None
    return cls, name


def is_bound_method(callee: Any, args: Any) -> bool:
    """Whether this is how Python pickles a method of an object, ``getattr(object, "name")``: it is not called here."""
    if type(callee) is not Stub or callee.name != "getattr" or callee.module != "builtins":
        return False
    if type(args) is not tuple or len(args) != 2:
        return False
    made, name = args
    cls = made.cls if type(made) is Obj else None
    if type(cls) is not Stub or type(name) is not str or not name.isidentifier() or name.startswith("__"):
        return False
    return is_class_name(cls.name) and label(cls.module, cls.name, is_called=False) in ("quiet", "class")


def _is_member_by_value(callee: Stub, args: Any) -> bool:
    """``EnumClass(1)``: a class outside the standard library that is called with one whole number."""
    is_number = type(args) is tuple and len(args) == 1 and type(args[0]) is int
    return is_number and label(callee.module, callee.name, is_called=False) == "class" and is_class_name(callee.name)


def _is_harmless(callee: Stub, args: Any) -> bool:
    """The exact forms in which Python itself pickles types and annotations."""
    if type(args) is not tuple or not args:
        return False
    name, first = callee.name, args[0]
    if callee.module == "builtins" and name == "type" and len(args) == 1:
        return first is None or (type(first) is Stub and first.name in ("Ellipsis", "NotImplemented"))
    if callee.module in _OPERATOR and name == "getitem" and len(args) == 2:
        # List[int] and Optional[int].
        return type(first) is Stub and first.module in ("typing", "collections.abc")
    if callee.module in _REDUCE and name == "reduce" and len(args) == 2:
        # int | None.
        is_or = type(first) is Stub and first.module in _OPERATOR and first.name == "or_"
        return is_or and type(args[1]) is tuple and all(map(_is_type, args[1]))
    return False


def _is_type(value: Any) -> bool:
    """Whether ``value`` is a global, or one of the types and annotations above."""
    if type(value) is Obj:
        value = value.cls
        return type(value) is Stub and value.name in ("type", "getitem", "GenericAlias")
    return type(value) is Stub


def code_finding(logs: Iterable[tuple[CallLog, Iterable[Stub]]]) -> Finding | None:
    """The finding about what would run elsewhere, from each log and the globals of its pickle; None if nothing would.

    It is an error if something is known to do more than build data, and a warning where a function is not known here
    or a name is only mentioned.
    """
    certain: dict[str, None] = {}
    is_certain = False
    unknown: dict[str, None] = {}
    mentioned: dict[str, None] = {}
    more = 0
    for log, globals_ in logs:
        more += log.more
        is_certain = is_certain or log.has_more_code
        for callee in log.callees.values():
            kind = callee.label()
            if kind in ("code", "function"):
                (certain if kind == "code" else unknown).update(dict.fromkeys(callee.texts()))
        for stub in globals_:
            if stub not in log.callees and stub not in log.harmless and is_alarming(stub.module, stub.name):
                mentioned[clean(str(stub), _CALL_LENGTH)] = None
    calls = [*certain, *unknown]
    parts = []
    if calls:
        parts.append(f"contains calls that would run in a plain unpickler: {_listed(calls, more)}")
    if mentioned:
        verb = "mentions" if not calls else "it also mentions"
        parts.append(f"{verb} {_listed(list(mentioned), 0)} without calling it")
    if not parts:
        return None
    severity: Severity = "error" if certain or is_certain else "warning"
    return Finding(severity, "pickle-code", None, "; ".join([*parts, "nothing was run here"]))


def words_before_fault(log: CallLog) -> str:
    """What a pickle that breaks off has called by then, as the end of the sentence about the fault; or nothing.

    A plain unpickler has run it all when it comes to the fault.
    """
    calls = [text for found in log.callees.values() if found.label() in ("code", "function") for text in found.texts()]
    return (
        f"; before the fault it calls {_listed(calls[:3], len(calls[3:]))}, and nothing was run here" if calls else ""
    )


def class_names(logs: Iterable[CallLog]) -> list[str]:
    """The classes that a plain unpickler makes objects of, each once."""
    found: dict[str, None] = {}
    for log in logs:
        for callee in log.callees.values():
            if callee.stub is not None and callee.label() == "class":
                found[clean(str(callee.stub), _CALL_LENGTH)] = None
    return list(found)


def _listed(texts: list[str], more: int) -> str:
    more += max(0, len(texts) - _SHOWN)
    return ", ".join(texts[:_SHOWN]) + (f" and {more:,} more" if more else "")
