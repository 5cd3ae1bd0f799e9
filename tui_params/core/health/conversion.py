"""What a conversion to float16 would lose of values that are well in the type that they have."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core.findings import Finding
from tui_params.core.health.roles import PARAMETERS, Role
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Subject
from tui_params.core.text import number

_WIDER = frozenset({"float32", "bfloat16", "float64"})
_ROLES: frozenset[Role] = PARAMETERS | {"statistic"}

_TOO_LARGE = 65520.0
"""Halfway from the largest float16, 65504, to the value that would follow: from here on rounding gives infinity."""

_TOO_SMALL = 2.0**-25
"""Half of the smallest float16: up to here rounding gives zero."""


def check_half_safe(subject: Subject) -> Sequence[Finding]:
    figures = subject.figures
    largest = figures.abs_max
    if subject.info.dtype.name not in _WIDER or subject.role not in _ROLES or not largest:
        return ()
    if largest >= _TOO_LARGE:
        what = "beyond 65,504, and would become infinite"
        evidence = f"not safe for float16: the largest magnitude is {number(largest)}, {what}"
    elif largest <= _TOO_SMALL and figures.is_exact:
        evidence = f"not safe for float16: the largest magnitude is {number(largest)}: every value would become zero"
    else:
        return ()
    return (subject.finding("info", "float16-unsafe", evidence),)


CONVERSION_RULES: tuple[Rule, ...] = (
    Rule(
        "float16-unsafe",
        "Not safe for float16",
        ("info",),
        "A weight of a wider type that float16 cannot hold: from 65,520 on a magnitude becomes infinite, up to 2^-25 it"
        " becomes zero.",
        "IEEE 754 binary16, rounding to nearest; transformers guide to fp16 overflow (T5)",
        check=check_half_safe,
    ),
)
