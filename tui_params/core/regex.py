"""Regular expressions that a user writes, bounded: Python's matcher backtracks, and must not do so for ever."""

from __future__ import annotations

import re
import sys
import warnings
from math import factorial

from tui_params.errors import QueryError

PATTERN_LENGTH = 200
REPEAT_LIMIT = 1000

_STEPS = 10_000_000
_SHORTEST_LIMIT = 64


def compile_regex(text: str, flags: int = 0) -> tuple[re.Pattern[str], int]:
    """The pattern, and the length of the longest text in which it may be looked for.

    On a longer text it could take too long. Raises QueryError for a pattern that does not compile or that could take
    too long on every text; positions are in ``text``.
    """
    refuse_long(text)
    longest = _longest_text(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "possible nested set": a warning would be written over the screen
            return re.compile(text, flags), longest
    except (re.error, OverflowError, RecursionError) as error:
        at = min(getattr(error, "pos", None) or 0, max(len(text) - 1, 0))
        raise QueryError(f"not a regular expression: {getattr(error, 'msg', error)}", at, len(text)) from error


def refuse_long(pattern: str) -> None:
    """Raises QueryError for a pattern of more than PATTERN_LENGTH characters."""
    if len(pattern) > PATTERN_LENGTH:
        length = len(pattern)
        raise QueryError(f"this pattern has {length} characters; at most {PATTERN_LENGTH} can be used", 0, length)


_TOKEN = re.compile(
    r"(?P<atom>\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<open>\((?:\?(?:P?<[=!]?|[:=!>#]|[a-zA-Z-]*[:)])?)?)|(?P<close>\))"
    r"|(?P<repeat>[*+?]|\{(?P<low>\d*)(?P<comma>,?)(?P<high>\d*)\})(?P<lazy>[?+]?)|(?P<choice>\|)|(?P<other>.)",
    re.DOTALL,
)


def _longest_text(text: str) -> int:
    """The longest text on which the pattern takes no more than about ``_STEPS`` steps.

    Python's matcher backtracks. With k repeats, a search takes up to length ** (k + 1) / (k + 1)! steps, and twice as
    many for each option and for each choice in a group; a repeat of digits counts as two options, because numbers are
    short. Raises QueryError if the length is too short to be useful, and for a repeated group with a repeat, an option
    or a choice inside, which takes exponentially long.
    """
    groups = [False]  # whether something in each open group repeats or can match in several ways
    repeats = doublings = 0
    longest = sys.maxsize
    previous, previous_varies = "", False
    for match in _TOKEN.finditer(text):
        where = match.start(), match.end()
        if match["open"]:
            if match["open"].endswith(")"):  # inline flags
                continue
            groups.append(False)
            previous, previous_varies = "", False
        elif match["close"]:
            previous, previous_varies = "()", groups.pop() if len(groups) > 1 else False
            groups[-1] = groups[-1] or previous_varies
        elif match["choice"]:
            previous = ""
            doublings += len(groups) > 1
            groups[-1] = True
        elif match["repeat"] and previous:
            low, high = _bounds(match)
            if high > 1 and previous_varies:
                says = "a repeat of a group with a repeat, an option or a choice in it can take for ever; write it flat"
                raise QueryError(says, *where)
            if REPEAT_LIMIT < max(low, high) < float("inf"):
                raise QueryError(f"no name repeats that often; at most {REPEAT_LIMIT} can be asked", *where)
            if (low, high) == (0, 1):
                doublings += 1
            elif low != high and previous in {r"\d", "[0-9]"}:
                doublings += 2
            else:
                repeats += low != high
            # A fixed count is quick by itself, but not inside another: four levels of (){1000} take 10 ** 12 steps.
            groups[-1] = groups[-1] or low != high or high > 1
            previous_varies = previous_varies or low != high or high > 1
        else:
            previous, previous_varies = match.group(), False
        if repeats or doublings:
            longest = int((_STEPS * factorial(repeats + 1) / 2**doublings) ** (1 / (repeats + 1)))
        if longest < _SHORTEST_LIMIT:
            says = "with so many repeats (* + {}), options (?) or choices (|) this can take too long"
            raise QueryError(says, *where)
    return longest


def _bounds(match: re.Match[str]) -> tuple[int, float]:
    """How often a repeat matches, at least and at most."""
    sign = match["repeat"]
    if sign in {"*", "+", "?"}:
        return {"*": (0, float("inf")), "+": (1, float("inf")), "?": (0, 1)}[sign]
    low = int(match["low"][:9] or 0)
    high = float(match["high"][:9] or "inf") if match["comma"] else low
    return low, high
