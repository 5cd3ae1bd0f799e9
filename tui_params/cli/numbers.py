"""Numbers on the command line, with what is wrong with one in our own words."""

from __future__ import annotations

import math
from typing import Any

import click


class Tolerance(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number from 0 on."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number < math.inf:
            self.fail(f"{value!r} is not a tolerance: write a number from 0 on, such as 1e-5.", param, ctx)
        return number


class Seconds(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number of seconds above 0, at most ``most``."""

    name = "seconds"

    def __init__(self, most: float) -> None:
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 < number <= self._most:
            self.fail(f"{value!r} is no time: write seconds above 0, at most {self._most:.0f}.", param, ctx)
        return number
