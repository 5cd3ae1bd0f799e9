"""Filter terms about names: a part of the name, a glob, or a regular expression.

A key press never waits for a pattern. Globs are compiled so that they cannot backtrack; a regular expression that
could take exponentially long is refused with a reason, and a slow one is stopped after ``REGEX_SECONDS``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from time import perf_counter

import msgspec

from tui_params.core.regex import compile_regex, refuse_long

REGEX_SECONDS = 0.25
STEP = 256
"""Names that a regular expression looks at before it asks for the time."""


class NameTest(msgspec.Struct, frozen=True):
    """The test of one term on names.

    ``needle`` is in every lower-case name that passes. If there is a ``pattern``, it must be found too, or else
    ``beginning`` must match at the start: one pattern for both, with an alternative in front, takes four times as
    long. They see the lower-case name, or with ``is_exact`` the name itself. ``hit`` finds what to highlight.
    Names of more than ``longest`` characters are not looked at, because the pattern could take too long on them.
    """

    needle: str
    hit: re.Pattern[str]
    pattern: re.Pattern[str] | None = None
    beginning: re.Pattern[str] | None = None
    is_regex: bool = False
    is_exact: bool = False
    longest: int = sys.maxsize

    def holds(self, name: str, lowered: str) -> bool | None:
        """Whether the name passes; None if it was not looked at."""
        if self.needle not in lowered:
            return False
        if len(name) > self.longest:
            return None
        seen = name if self.is_exact else lowered
        if self.pattern is None or self.pattern.search(seen) is not None:
            return True
        return self.beginning is not None and self.beginning.match(seen) is not None

    def spans(self, name: str) -> Iterator[tuple[int, int]]:
        """The parts of the name that it matches, without empty ones."""
        if len(name) > self.longest:
            return
        for match in islice(self.hit.finditer(name), 64):
            if match.end() > match.start():
                yield match.span()

    def select(
        self, names: Sequence[str], lowered: Sequence[str], candidates: Sequence[int], inverted: bool
    ) -> tuple[list[int], list[int]]:
        """Those of the candidates (indices into both lists of names) that pass, and those that were not looked at."""
        if self.is_regex:
            return self._select_by_regex(names, lowered, candidates, inverted)
        needle = self.needle
        if self.pattern is None:
            if inverted:
                return [i for i in candidates if needle not in lowered[i]], []
            return [i for i in candidates if needle in lowered[i]], []
        search = self.pattern.search
        match = self.beginning.match if self.beginning is not None else _is_nowhere
        found = [i for i in candidates if needle in (n := lowered[i]) and (search(n) or match(n))]
        if inverted:
            out = set(found)
            return [i for i in candidates if i not in out], []
        return found, []

    def _select_by_regex(
        self, names: Sequence[str], lowered: Sequence[str], candidates: Sequence[int], inverted: bool
    ) -> tuple[list[int], list[int]]:
        assert self.pattern is not None
        seen, search = names if self.is_exact else lowered, self.pattern.search
        skipped: list[int] = []
        if self.longest < sys.maxsize:
            skipped = [i for i in candidates if len(seen[i]) > self.longest]
            candidates = [i for i in candidates if len(seen[i]) <= self.longest] if skipped else candidates
        passed: list[int] = []
        deadline = perf_counter() + REGEX_SECONDS
        for first in range(0, len(candidates), STEP):
            if perf_counter() > deadline:
                return passed, [*skipped, *candidates[first:]]
            passed += [i for i in candidates[first : first + STEP] if (search(seen[i]) is None) is inverted]
        return passed, skipped


def _is_nowhere(_: str) -> None:
    return None


def part_of_name(word: str) -> NameTest:
    """A test for names that contain ``word``, in upper or lower case."""
    return NameTest(word.lower(), re.compile(re.escape(word), re.IGNORECASE))


def is_glob(word: str) -> bool:
    return any(character in word for character in "*?[")


def translate_glob(word: str) -> str:
    """The regular expression of a shell pattern: ``*`` is any text, ``?`` any character, ``[a-c]`` one of these.

    Every piece between two stars is matched as early as possible and never tried again (an atomic group, written with
    a lookahead and a back reference for Python 3.10), so from each starting place the time is linear.
    Raises QueryError for a pattern of more than PATTERN_LENGTH characters.
    """
    refuse_long(word)
    pieces: list[str] = [""]
    at = 0
    while at < len(word):
        character = word[at]
        at += 1
        if character == "*":
            if pieces[-1] or len(pieces) == 1:
                pieces.append("")
        elif character == "?":
            pieces[-1] += "."
        elif character == "[":
            close = word.find("]", at + 2 if word[at : at + 1] == "!" else at + 1)
            body = word[at:close] if close > 0 else ""
            classes = _character_class(body)
            pieces[-1] += classes or re.escape("[")
            at = close + 1 if classes else at
        else:
            pieces[-1] += re.escape(character)
    if len(pieces) == 1:
        return pieces[0]
    middle = "".join(f"(?=(?P<s{n}>.*?{piece}))(?P=s{n})" for n, piece in enumerate(pieces[1:-1]))
    return f"{pieces[0]}{middle}.*{pieces[-1]}"


def _character_class(body: str) -> str:
    """The regular expression of ``[body]``, or "" if it is not a class (``[]``, ``[b-a]``)."""
    negated = body.startswith("!")
    parts = re.findall(r".-.|.", body[negated:], re.DOTALL)
    if not parts or any(len(part) == 3 and part[0] > part[2] for part in parts):
        return ""
    inside = "".join("-".join(map(re.escape, part[:: max(len(part) - 1, 1)])) for part in parts)
    return f"[{'^' if negated else ''}{inside}]"


def glob_of_name(word: str) -> NameTest:
    """A test for names with a part that begins and ends at dots (or at the ends) and matches the shell pattern."""
    refuse_long(word)
    core = word.lower().strip("*")
    body = translate_glob(core) + ("" if word.endswith("*") else r"(?:\.|\Z)")
    hit = re.compile(("" if word.startswith("*") else r"(?:(?<=\.)|^)") + f"(?s:{body})", re.IGNORECASE)
    needle = max(re.split(r"[*?]|\[.*\]", core), key=len)
    if word.startswith("*"):
        return NameTest(needle, hit, re.compile(f"(?s:{body})"))
    return NameTest(needle, hit, re.compile(rf"(?s:\.{body})"), re.compile(f"(?s:{body})"))


def regex_of_name(text: str) -> NameTest:
    """A test for names in which ``re.search`` finds the pattern, ignoring case (``(?-i:X)`` respects it).

    Raises QueryError for a pattern that does not compile or could take too long; positions are in ``text``.
    """
    hit, longest = compile_regex(text, re.IGNORECASE)
    # A pattern without capital letters finds the same in lower-case names, three times as fast as with IGNORECASE.
    is_plain = text.isascii() and re.search(r"\[xuUN0-9]|\(\?[a-zA-Z-]", text) is None
    is_exact = not is_plain or re.search("[A-Z]", re.sub(r"\.", "", text)) is not None
    pattern = hit if is_exact else compile_regex(text)[0]
    return NameTest("", hit, pattern, is_regex=True, is_exact=is_exact, longest=longest)
