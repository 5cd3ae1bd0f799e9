"""Condition: what is waited for, as it is written: ``nan``, ``inf``, ``norm>10``, ``norm>5x``, ``still:100``."""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from tui_params.errors import QueryError

What = Literal["nan", "inf", "norm", "growth", "still"]

MAX_STEPS = 10**9
_FORMS = "nan, inf, norm>NUMBER, norm>NUMBERx, or still:STEPS"
_NORM = re.compile(r"norm>([^x]+)(x?)")


class Condition(msgspec.Struct, frozen=True):
    """``amount`` is the norm, the multiple of the median, or the number of steps. ``text`` is as it was written."""

    what: What
    amount: float
    text: str

    @property
    def minds_gradients(self) -> bool:
        """Whether it is about gradients."""
        return self.what != "still"

    @property
    def minds_values(self) -> bool:
        """Whether it is about parameters and buffers."""
        return self.what in ("nan", "inf", "still")


def parse_condition(text: str) -> Condition:
    """Raises QueryError."""
    word = text.strip().lower()
    if word == "nan":
        return Condition("nan", 0, word)
    if word == "inf":
        return Condition("inf", 0, word)
    norm = _NORM.fullmatch(word)
    if norm is not None:
        try:
            amount = float(norm[1])
        except ValueError:
            amount = math.nan
        if 0 < amount < math.inf:
            return Condition("growth" if norm[2] else "norm", amount, word)
        raise QueryError(f"{text!r}: a norm is compared with a number above 0", 0, len(text))
    if word.startswith("still:"):
        steps = word.removeprefix("still:")
        if steps.isascii() and steps.isdigit() and len(steps) <= 10 and 0 < int(steps) <= MAX_STEPS:
            return Condition("still", int(steps), word)
        raise QueryError(f"{text!r}: a number of steps from 1 on follows still:", 0, len(text))
    raise QueryError(f"{text!r} is no condition: write {_FORMS}", 0, len(text))
