"""Edits of values in a live model: what is asked, what would come of it, and what was done. Frozen values."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd, isfinite, isinf
from typing import Literal, Protocol, TypeAlias

import msgspec

from tui_params.core.dtypes import DType
from tui_params.core.figures import Figures
from tui_params.core.window import Axis, Window
from tui_params.errors import EditError

Operation = Literal["set", "add", "scale", "zero", "fill"]
OPERATIONS: tuple[Operation, ...] = ("set", "add", "scale", "zero", "fill")

Number: TypeAlias = "bool | int | float | complex"

_WORDS = {"set": "set to", "add": "add", "scale": "scale by", "zero": "zero", "fill": "fill from"}
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_LONGEST = 100
"""Characters of a number that is looked at."""


class Edit(msgspec.Struct, frozen=True):
    """What is to be done: ``operand`` is a number as text, or the name of a tensor or a file to fill from."""

    name: str
    expression: str
    operation: Operation
    operand: str = ""

    @property
    def words(self) -> str:
        return f"{_WORDS[self.operation]} {self.operand}".strip()


class Brief(msgspec.Struct, frozen=True, gc=False):
    """Statistics of the values of a slice: of the finite ones, beside the counts of NaN and of infinities.

    Of complex values, they are over the real and imaginary parts. None where no value is finite.
    """

    min: float | int | None
    max: float | int | None
    norm: float | None
    nan: int
    inf: int

    @staticmethod
    def of(figures: Figures) -> Brief:
        return Brief(figures.min, figures.max, figures.l2_norm, figures.nan, figures.pos_inf + figures.neg_inf)


class Change(msgspec.Struct, frozen=True):
    """An edit that was made: where, what, and the values of the slice before and after it.

    ``slice`` is in the form of ``Source.read``; ``value`` is what was typed. ``numel`` values are in the slice, and
    ``changed`` of them have other bytes than before. ``also`` are the names of other tensors that share the memory.
    """

    name: str
    slice: str
    operation: Operation
    value: str
    numel: int
    changed: int
    before: Brief
    after: Brief
    also: tuple[str, ...] = ()


class Seal(msgspec.Struct, frozen=True):
    """What must still hold when an edit is applied: the version counter, and digests of the bytes before and after."""

    version: int
    before: str
    after: str


class Proposal(msgspec.Struct, frozen=True):
    """An edit with what would come of it, as ``Change`` says it; ``remarks`` are sentences for the user."""

    edit: Edit
    window: Window
    numel: int
    changed: int
    before: Brief
    after: Brief
    seal: Seal
    first_name: str
    """The first name of the same elements."""
    also: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def change(self) -> Change:
        """What it will have been once it is applied."""
        edit = self.edit
        return Change(
            edit.name,
            self.window.expression,
            edit.operation,
            edit.operand,
            self.numel,
            self.changed,
            self.before,
            self.after,
            self.also,
        )


class Editor(Protocol):
    """Edits the values of one live model. Used by one thread at a time."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was applied and not undone, the oldest first."""

    @property
    def undoable(self) -> int:
        """How many of ``changes`` can be undone, the newest first."""

    def propose(self, edit: Edit, should_stop: Callable[[], bool] = ...) -> Proposal:
        """What would come of an edit; writes nothing. Raises EditError, SliceError, StoppedError."""

    def apply(self, proposals: tuple[Proposal, ...]) -> tuple[Change, ...]:
        """Make all edits, or none: raises EditError if anything is not as it was proposed."""

    def undo(self) -> Change:
        """Put back the bytes before the newest change. Raises EditError."""


def number_of(words: str, dtype: DType) -> Number:
    """The number that a text means for an element type. Raises EditError if it means none."""
    words = words.strip()
    shown = words if len(words) <= 24 else f"{words[:23]}…"
    if not words:
        raise EditError("a number is missing")
    if len(words) > _LONGEST:
        raise EditError(f"a number of {len(words)} characters is not read")
    if dtype.kind == "bool":
        if words.lower() not in _TRUTHS:
            raise EditError(f"{shown!r} is neither true nor false")
        return _TRUTHS[words.lower()]
    try:
        if dtype.kind == "complex":
            return complex(words.replace(" ", ""))
        number: int | float = _whole(words) if dtype.kind == "int" else float(words)
    except (ValueError, ArithmeticError):
        what = {"complex": "a complex number", "int": "a whole number"}.get(dtype.kind, "a number")
        raise EditError(f"{shown!r} is not {what}") from None
    if isinf(number) and not words.lstrip("+-").lower().startswith("inf"):
        raise EditError(f"{shown} is beyond float64; inf is written as inf")
    return number


def _whole(words: str) -> int:
    try:
        return int(words)
    except ValueError:
        number = float(words)
    from decimal import Decimal

    # 1e20 is exactly that; as a float it might be another number.
    exact = Decimal(words)
    if not isfinite(number) or exact != exact.to_integral_value():
        raise ValueError(words)
    return int(exact)


def overlap(one: Proposal, other: Proposal) -> bool:
    """Whether two edits touch the same elements, or may."""
    if one.first_name == other.first_name:
        return all(map(_meet, one.window.axes, other.window.axes))
    return other.edit.name in one.also or one.edit.name in other.also


def _meet(one: Axis, other: Axis) -> bool:
    """Whether two axes have an index in common: two arithmetic sequences (by the Chinese remainder theorem)."""
    if not (one.length and other.length):
        return False
    low = max(min(one.start, one.index(one.length - 1)), min(other.start, other.index(other.length - 1)))
    high = min(max(one.start, one.index(one.length - 1)), max(other.start, other.index(other.length - 1)))
    step, stride = abs(one.step), abs(other.step)
    shared = gcd(step, stride)
    if low > high or (other.start - one.start) % shared:
        return False
    turns = (other.start - one.start) // shared * pow(step // shared, -1, stride // shared) if stride > shared else 0
    common = one.start + turns * step
    period = step * stride // shared
    return low + (common - low) % period <= high
