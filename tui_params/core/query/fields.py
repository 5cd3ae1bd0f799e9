"""The fields of the filter language: ``dtype`` in ``dtype:bf16``, ``nan`` in ``nan>0``.

A new field is a new line of ``_ALL``, one about a statistic of ``_OF_FIGURES``. Each field turns an operator and a
value into a test of a tensor, or raises QueryError with the place of the fault in the value.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import get_args

import msgspec

from tui_params.core.dtypes import DTYPES, DType, from_torch
from tui_params.core.figures import Figures
from tui_params.core.query.changes import Moved, has_changed, is_cosine, is_on, is_size
from tui_params.core.query.findings import findings_called
from tui_params.core.query.names import is_glob, translate_glob
from tui_params.core.tensor import TensorInfo, TensorKind
from tui_params.errors import QueryError


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What a tensor's own TensorInfo does not say: whether it has a gradient, and whether another one is tied to it.

    ``said`` are the rules and the severities of the findings about it; None if it has not been read yet. ``change`` is
    how it has moved since an earlier look, or how it differs on the other side; None where that is not known (yet).
    """

    has_gradient: bool = False
    has_ties: bool = False
    said: frozenset[str] | None = None
    change: Moved | None = None


InfoTest = Callable[[TensorInfo, Facts], "bool | None"]
FiguresTest = Callable[[Figures], "bool | None"]


class UnfinishedError(QueryError):
    """A value that is not complete yet, and may be right when more was typed."""


class Field(msgspec.Struct, frozen=True):
    """One field: its spellings (the first is shown), and the function that makes a test of an operator and a value.

    Exactly one of ``on_info`` and ``on_figures`` is set. ``is_of_gradient``: the figures are those of the gradient.
    """

    names: tuple[str, ...]
    on_info: Callable[[str, str], InfoTest] | None = None
    on_figures: Callable[[str, str], FiguresTest] | None = None
    needs_reading: bool = False
    needs_change: bool = False
    is_of_gradient: bool = False


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ":": operator.eq,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}
_NUMBER = re.compile(r"([+-]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)([a-z]*|%)", re.IGNORECASE)
_UNFINISHED_NUMBER = re.compile(r"[+-]?\.?|[+-]?[\d_]*\.?\d*e[+-]?", re.IGNORECASE)
_COUNT_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}
_BYTE_UNITS = {"": 1, "b": 1} | {
    f"{letter}{tail}": base ** (n + 1)
    for n, letter in enumerate("kmgt")
    for tail, base in (("", 1000), ("b", 1000), ("ib", 1024), ("i", 1024))
}
_YES = ("yes", "true", "on", "1")
_NO = ("none", "false", "off", "0")


def _number(value: str, units: dict[str, int]) -> float:
    """The number that ``value`` means, times its unit; whole numbers stay exact."""
    match = _NUMBER.fullmatch(value[:64])
    if match is None or len(value) > 64 or match[2].lower() == "e":
        if _UNFINISHED_NUMBER.fullmatch(value):
            raise UnfinishedError(f"{value!r} is not a number yet", 0, len(value))
        raise QueryError(f"{value[:40]!r} is not a number", 0, len(value))
    digits, unit = match[1].replace("_", ""), match[2]
    if unit.lower() not in units:
        known = ", ".join(name for name in units if name) or "none"
        raise QueryError(f"{unit!r} is not a unit here; known: {known}", match.start(2), match.end(2))
    factor = units[unit.lower()]
    if digits.lstrip("+-").isdecimal():
        return int(digits) * factor
    number = float(digits) * factor
    if number in (float("inf"), float("-inf")):
        raise QueryError(f"{value!r} is more than a float64 holds", 0, len(value))
    return int(number) if number.is_integer() else number


def _equality(operator_: str, name: str) -> bool:
    """Whether the operator means equal (True) or different (False); the others make no sense for words."""
    if operator_ in _MIRRORED:
        raise QueryError(f"{name} is compared with : or !=, not with {operator_}", -len(operator_), 0)
    return operator_ != "!="


def _words(value: str) -> re.Pattern[str]:
    return re.compile("(?s)" + translate_glob(value.lower()))


def _count_field(name: str, get: Callable[[TensorInfo], int], units: dict[str, int]) -> Field:
    def make(operator_: str, value: str) -> InfoTest:
        compare, number = _COMPARE[operator_], _number(value, units)
        return lambda info, _: compare(get(info), number)

    return Field(tuple(name.split()), make)


def _dtype(operator_: str, value: str) -> InfoTest:
    same = _equality(operator_, "dtype")
    word = value.lower().removeprefix("torch.")
    kinds = {"float", "int", "bool", "complex", "unknown"}
    pattern = _words(word) if is_glob(word) else None
    exact = {spelling for dtype in DTYPES for spelling in _spellings(dtype)}
    alias = None if word in kinds else from_torch(word)
    known: dict[str, bool] = {}

    def accepts(dtype: DType) -> bool:
        spellings = _spellings(dtype)
        if pattern is not None:
            return any(pattern.fullmatch(spelling) for spelling in spellings)
        if word in kinds:
            return dtype.kind == word
        if alias is not None:
            return dtype.name == alias.name
        return word in spellings if word in exact else any(spelling.startswith(word) for spelling in spellings)

    def test(info: TensorInfo, _: Facts) -> bool:
        answer = known.get(info.dtype.name)
        if answer is None:
            answer = known[info.dtype.name] = accepts(info.dtype) is same
        return answer

    return test


def _spellings(dtype: DType) -> tuple[str, ...]:
    return dtype.name.lower(), dtype.short, (dtype.safetensors or dtype.name).lower()


def _shape(operator_: str, value: str) -> InfoTest:
    same = _equality(operator_, "shape")
    inner = value.strip()
    opening = inner[:1] in "([" and inner[:1]
    start = value.find(inner) + bool(opening)
    inner = inner[1:] if opening else inner
    if opening and inner.endswith(("]", ")")):
        inner = inner[:-1].rstrip().removesuffix(",")
    elif opening or inner.endswith(("x", "X", "×", ",")):
        raise UnfinishedError("this shape is not complete", 0, len(value))
    elif inner.lower() == "scalar":
        inner = ""
    parts: list[str] = []
    for match in re.finditer(r"[^xX×,]+|(?<=[xX×,])(?=[xX×,])|^(?=[xX×,])", inner):
        part = match.group().strip()
        if part in {"...", "…"}:
            parts.append("(?:[0-9]+,)*?")
        elif part in {"*", "?", "_"}:
            parts.append("[0-9]+,")
        elif part.isdecimal() and len(part) < 20:
            parts.append(f"{int(part)},")
        else:
            where = (start + match.start(), start + max(match.end(), match.start() + 1))
            raise QueryError(f"{part!r} is not a dimension; a number, * or ... is", *where)
    if sum("?:" in part for part in parts) > 2:
        raise QueryError("a shape can have ... twice at most", 0, len(value))
    pattern = re.compile("".join(parts))
    known: dict[tuple[int, ...], bool] = {}

    def test(info: TensorInfo, _: Facts) -> bool:
        answer = known.get(info.shape)
        if answer is None:
            text = "".join([f"{size}," for size in info.shape])
            answer = known[info.shape] = (pattern.fullmatch(text) is not None) is same
        return answer

    return test


def _kind(operator_: str, value: str) -> InfoTest:
    same = _equality(operator_, "kind")
    pattern = _words(value if is_glob(value) else value + "*")
    kinds: tuple[str, ...] = get_args(TensorKind)
    wanted = {kind for kind in kinds if pattern.fullmatch(kind)}
    if not wanted:
        raise QueryError(f"{value[:40]!r} is not a kind; the kinds are {', '.join(kinds)}", 0, len(value))
    return lambda info, _: (info.kind in wanted) is same


def _device(operator_: str, value: str) -> InfoTest:
    same = _equality(operator_, "device")
    pattern = re.compile(_words(value).pattern + ("" if is_glob(value) else "(?::.*)?"))
    return lambda info, _: (pattern.fullmatch((info.device or "").lower()) is not None) is same


def _file(operator_: str, value: str) -> InfoTest:
    same = _equality(operator_, "file")
    pattern = _words(value if is_glob(value) else f"*{value}*")
    return lambda info, _: (pattern.fullmatch((info.file or "").lower()) is not None) is same


def _finding(operator_: str, value: str) -> InfoTest:
    same = _equality(operator_, "finding")
    word = value.lower()
    if word in {"yes", "no"}:
        return lambda _, facts: None if facts.said is None else bool(facts.said) is (same is (word == "yes"))
    wanted = findings_called(word)
    return lambda _, facts: None if facts.said is None else (not wanted.isdisjoint(facts.said)) is same


def _yes_no_field(names: str, get: InfoTest) -> Field:
    name, *others = names.split()

    def make(operator_: str, value: str) -> InfoTest:
        same = _equality(operator_, name)
        word = value.lower()
        if not any(answer.startswith(word) for answer in _YES + _NO) or word == "o":
            raise QueryError(f"{value[:40]!r} is neither yes nor no", 0, len(value))
        wanted = any(answer.startswith(word) for answer in _YES) is same

        def test(info: TensorInfo, facts: Facts) -> bool | None:
            answer = get(info, facts)
            return None if answer is None else answer is wanted

        return test

    return Field((name, *others), make)


def _grad(operator_: str, value: str) -> InfoTest:
    """Whether a parameter has a gradient. What is no parameter (a buffer, a state of an optimizer) lacks none."""
    make = _yes_no_field("grad", lambda _, facts: facts.has_gradient).on_info
    assert make is not None
    test = make(operator_, value)
    return lambda info, facts: (info.kind == "parameter" or facts.has_gradient) and test(info, facts)


def _change(operator_: str, value: str) -> InfoTest:
    share = value.endswith("%")
    number = _number(value[:-1] if share else value, {"": 1}) / (100 if share else 1)
    compare = _COMPARE[operator_]
    return lambda _, facts: is_size(facts.change, compare, number)


def _cosine(operator_: str, value: str) -> InfoTest:
    number, compare = _number(value, {"": 1}), _COMPARE[operator_]
    return lambda _, facts: is_cosine(facts.change, compare, number)


def _only(operator_: str, value: str) -> InfoTest:
    same, side = _equality(operator_, "only"), value.lower()
    if side not in ("a", "b"):
        raise QueryError(f"{value[:40]!r} is no side; the sides are a and b", 0, len(value))

    def test(_: TensorInfo, facts: Facts) -> bool | None:
        answer = is_on(facts.change, side)
        return None if answer is None else answer is same

    return test


_CHANGED = _yes_no_field("changed", lambda _, facts: has_changed(facts.change))


def _is_trainable(info: TensorInfo, _: Facts) -> bool | None:
    return False if info.kind in {"buffer", "gradient"} else info.requires_grad


def _is_frozen(info: TensorInfo, _: Facts) -> bool | None:
    if info.kind in {"buffer", "gradient"}:
        return False
    return None if info.requires_grad is None else not info.requires_grad


def flag_or_name(word: str) -> InfoTest | None:
    """What ``frozen`` and ``trainable`` mean as single words: the flag, or a name with that word in it."""
    get = {"frozen": _is_frozen, "trainable": _is_trainable}.get(word)
    return None if get is None else lambda info, facts: get(info, facts) is True or word in info.name.lower()


def _figure_field(name: str, get: Callable[[Figures], float | None], bound: int, *, is_count: bool) -> Field:
    """A statistic. If only a part of a tensor was read, ``bound`` relates the figure to that of the whole tensor.

    1: it is at most that; -1: it is at least that; 0: nothing is certain.
    """

    def make(operator_: str, value: str) -> FiguresTest:
        of_count = is_count and value.endswith("%")
        number = _number(value[:-1] if of_count else value, _COUNT_UNITS if is_count else {"": 1})
        compare = _COMPARE[operator_]

        def test(figures: Figures) -> bool | None:
            have = get(figures)
            if figures.is_sampled:
                return None if have is None or of_count or not bound else _bounded(have, operator_, number, bound)
            if have is None or (of_count and not figures.count):
                return False
            # A share is compared without dividing, so that no rounding decides about 50% of an odd count.
            return compare(have * 100, number * figures.count) if of_count else compare(have, number)

        return test

    return Field(tuple(name.split()), on_figures=make)


def _bounded(have: float, operator_: str, number: float, bound: int) -> bool | None:
    """Compare a true value that is not known: ``have`` is at most (1) or at least (-1) the true value."""
    if bound < 0:
        have, number, operator_ = -have, -number, _MIRRORED.get(operator_, operator_)
    if operator_ in {">", ">="}:
        return True if _COMPARE[operator_](have, number) else None
    if operator_ in {"<", "<="}:
        return None if _COMPARE[operator_](have, number) else False
    return None if have <= number else operator_ == "!="


_OF_FIGURES: tuple[Field, ...] = (
    _figure_field("nan", lambda figures: figures.nan, 1, is_count=True),
    _figure_field("inf", lambda figures: figures.pos_inf + figures.neg_inf, 1, is_count=True),
    _figure_field("zeros zero", lambda figures: figures.zeros, 1, is_count=True),
    _figure_field("subnormals", lambda figures: figures.subnormals, 1, is_count=True),
    _figure_field("min", lambda figures: figures.min, -1, is_count=False),
    _figure_field("max", lambda figures: figures.max, 1, is_count=False),
    _figure_field("absmax abs_max", lambda figures: figures.abs_max, 1, is_count=False),
    _figure_field("mean", lambda figures: figures.mean, 0, is_count=False),
    _figure_field("std", lambda figures: figures.std, 0, is_count=False),
    _figure_field("l2 l2_norm norm", lambda figures: figures.l2_norm, 1, is_count=False),
    _figure_field("rms", lambda figures: figures.rms, 0, is_count=False),
)

_OF_GRADIENTS = tuple(
    msgspec.structs.replace(field, names=tuple(f"grad_{name}" for name in field.names), is_of_gradient=True)
    for field in _OF_FIGURES
)
"""The same of the gradient of a parameter: ``grad_norm``, ``grad_nan``."""

_ALL: tuple[Field, ...] = (
    Field(("dtype", "type"), _dtype),
    Field(("shape",), _shape),
    Field(("kind",), _kind),
    Field(("device",), _device),
    Field(("file", "shard"), _file),
    _count_field("numel", lambda info: info.numel, _COUNT_UNITS),
    _count_field("nbytes bytes size", lambda info: info.nbytes, _BYTE_UNITS),
    _count_field("ndim dim", lambda info: len(info.shape), {"": 1}),
    Field(("grad",), _grad),
    _yes_no_field("trainable requires_grad", _is_trainable),
    _yes_no_field("frozen", _is_frozen),
    _yes_no_field("tied", lambda info, facts: info.tied_to is not None or facts.has_ties),
    _yes_no_field("unreadable", lambda info, _: info.unreadable is not None),
    Field(("finding", "rule"), _finding, needs_reading=True),
    Field(("change",), _change, needs_change=True),
    msgspec.structs.replace(_CHANGED, needs_change=True),
    Field(("cosine",), _cosine, needs_change=True),
    Field(("only",), _only, needs_change=True),
    *_OF_FIGURES,
    *_OF_GRADIENTS,
)

FIELDS: dict[str, Field] = {name: field for field in _ALL for name in field.names}
"""Every field by each of its spellings."""
