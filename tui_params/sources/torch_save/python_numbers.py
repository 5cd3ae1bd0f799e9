"""Numbers of Python in a pickle, which are no arrays: long lists and dicts of them are listed, others looked through.

What is listed has the reason why it is not read, so that a check says so. Shorter lists and dicts are settings, rates
and histories, which every training checkpoint has: they are metadata, and a NaN or an infinity among them is reported.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Iterable
from math import prod
from typing import Any

from tui_params.core.dtypes import from_torch
from tui_params.core.findings import Finding
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural
from tui_params.sources.inert_pickle.values import ArrayType, ArrayValue, Obj, Stub, Text
from tui_params.sources.torch_save.arrays import is_number
from tui_params.sources.torch_save.layout import MAX_NUMBER, TensorLister

MIN_LIST = 1_000
"""A flat list or a dict of so many numbers is listed. Shorter ones are settings, rates and histories: metadata."""

MIN_TABLE = 100
"""Numbers from which a table (lists of equal length in a list) is listed: it is a matrix rather than a setting."""

MAX_DEPTH = 8
_MOST_TOLD = 5
_SHOWN = 160

_LISTS = frozenset({list, tuple})
_NUMBERS = frozenset({int, float, ArrayValue, Obj, Text})


def list_shape(items: Any) -> tuple[tuple[int, ...] | None, Collection[Any], int]:
    """The shape of a list of numbers that is long enough to be listed (None of any other list), its numbers, and how
    many items were looked at. Numbers of a list that stands in it several times are there once.

    The lists in it have equal lengths. At least one number is written as a float: lists of whole numbers are indices,
    seeds and the states of random generators.
    """
    if not items or (len(items) < MIN_LIST and type(items[0]) not in _LISTS):
        return None, (), 0
    first = items
    for _ in range(MAX_DEPTH):
        if type(first) in _LISTS and first:
            first = first[0]
    if type(first) not in _NUMBERS:
        return None, (), 0
    shape: tuple[int, ...] = ()
    rows: Any = (items,)
    looked_at = 0
    while type(rows[0]) in _LISTS and len(shape) < MAX_DEPTH:
        if not {type(row) for row in rows} <= _LISTS:
            return None, (), looked_at
        # A list that is referred to again and again is looked at once.
        distinct = list({id(row): row for row in rows}.values())
        lengths = {len(row) for row in distinct}
        if len(lengths) > 1 or 0 in lengths:
            return None, (), looked_at
        shape += (*lengths,)
        rows = distinct[0] if len(distinct) == 1 else [item for row in distinct for item in row]
        looked_at += len(rows)
    numel = prod(shape)
    if not (MIN_LIST if len(shape) == 1 else MIN_TABLE) <= numel <= MAX_NUMBER // 8:
        return None, (), looked_at
    return (shape if are_numbers(rows) else None), rows, looked_at


def are_numbers(items: Collection[Any]) -> bool:
    """Whether all items are numbers, and not all are whole ones of Python."""
    types = set(map(type, items))
    if not types <= _NUMBERS or types == {int}:
        return False
    return types <= {int, float} or all(_is_other_number(item) for item in items if type(item) not in (int, float))


def _is_other_number(value: Any) -> bool:
    """Whether a value is a number of numpy, a complex one, a Decimal or a Fraction."""
    kind = type(value)
    if kind is Obj:
        return type(value.cls) is Stub and (str(value.cls.module), str(value.cls.name)) in _EXACT
    if kind is Text:
        return str(value.text).endswith(("j", "j)"))
    return is_number(value)


_EXACT = frozenset({("decimal", "Decimal"), ("_pydecimal", "Decimal"), ("fractions", "Fraction")})


def add_list(lister: TensorLister, name: str, shape: tuple[int, ...], kind: str = "") -> None:
    """List numbers of Python under ``name``, which must be new, with the reason why they are not read."""
    dtype = from_torch("float64")
    assert dtype is not None
    numel = prod(shape)
    kind = kind or ("list" if len(shape) == 1 else "table of lists")
    reason = f"a {kind} of {numel:,} Python numbers, not an array: its values are not read"
    nbytes = dtype.nbytes(numel)
    lister.tensors.append(TensorInfo(name, shape, dtype, numel, nbytes, "array", lister.file, unreadable=reason))


class NumberWatch:
    """What is not finite among the numbers that are shown as metadata."""

    def __init__(self) -> None:
        self._told: list[tuple[str, str]] = []
        self._single: list[str] = []
        self._singles = 0

    def look_at(self, name: str, items: Iterable[Any], least: int = MIN_TABLE) -> None:
        """Count the NaN and infinities of a list, or of the values of a dict; ``least`` makes it a long one."""
        total = nan = infinite = 0
        for item in items:
            kind = type(item)
            if kind is ArrayValue:
                item = _of_numpy(item)
                kind = type(item)
            if kind is int or (kind is Obj and _is_other_number(item)):
                total += 1
                nan += kind is Obj and _is_nan(item)
            elif kind is float:
                total += 1
                if not math.isfinite(item):
                    nan += item != item
                    infinite += item == item
        if not nan and not infinite:
            return
        if total < least:
            self._single += [name] * (nan > 0 and len(self._single) < _MOST_TOLD)
            self._singles += nan
            return
        counts = [(count, what) for count, what in ((nan, "NaN"), (infinite, "infinite")) if count]
        words = " and ".join(f"{count:,} {'is' if count == 1 else 'are'} {what}" for count, what in counts)
        self._told.append((name, f"of {total:,} numbers, {words}"))

    def findings(self) -> list[Finding]:
        """A warning for each long list or dict with such numbers, and one remark for all others that are NaN."""
        found = [
            Finding("warning", "python-numbers", None, f"{clean(name, _SHOWN) or 'the list'}: {what}")
            for name, what in self._told[:_MOST_TOLD]
        ]
        if len(self._told) > _MOST_TOLD:
            more = f"{len(self._told) - _MOST_TOLD:,} more lists or dicts have numbers that are not finite"
            found.append(Finding("warning", "python-numbers", None, more))
        if self._singles:
            names = ", ".join(clean(name, _SHOWN) or "value" for name in self._single)
            verb = "is" if self._singles == 1 else "are"
            evidence = f"{plural(self._singles, 'number')} among the metadata {verb} NaN: {names}"
            found.append(Finding("info", "python-numbers", None, evidence))
        return found


_FORMATS = {"f8": "d", "f4": "f", "f2": "e"}


def _of_numpy(value: ArrayValue) -> float | None:
    """The number that a scalar of numpy is; None of other types than floats, and if it is not bytes."""
    dtype = value.dtype
    code = dtype.code.lstrip("<>=|") if type(dtype) is ArrayType and type(dtype.code) is str else ""
    letter = _FORMATS.get(code)
    if letter is None or type(value.data) is not bytes or len(value.data) != int(code[1]):
        return None
    number: float = struct.unpack((">" if dtype.is_big_endian else "<") + letter, value.data)[0]
    return number


def _is_nan(value: Obj) -> bool:
    text = value.args[0] if type(value.args) is tuple and value.args else ""
    return type(text) is str and text.lstrip("+-").lower().startswith(("nan", "snan"))
