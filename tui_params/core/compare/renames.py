"""Renames: how the names of one source become those of another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from time import perf_counter
from typing import Literal

import msgspec

from tui_params.core.regex import PATTERN_LENGTH, compile_regex
from tui_params.core.text import shorten
from tui_params.errors import QueryError

Side = Literal["a", "b"]

RENAMING_SECONDS = 10.0
"""How long the renames of one side may take over all names."""

LONGEST_NAME = 100_000
"""Characters that a regular expression may put into one name."""


class Rename(msgspec.Struct, frozen=True):
    """Names of ``side`` that start with ``old`` start with ``new`` instead; if they only end with ``old``, they end so.

    At the end ``old`` stands for whole segments: ``gamma`` changes ``norm.gamma``, not ``norm.gamma_gamma``. If it
    begins with a dot, only ends can match. ``is_anywhere``: ``old`` is replaced wherever a segment starts with it,
    and nowhere else. ``is_regex``: ``old`` is a regular expression, each match of which is replaced by ``new``, where
    ``\\1`` and ``\\g<name>`` are what its groups matched. An empty ``old`` puts ``new`` before every name. ``str()``
    is the expression that ``parse_rename`` reads. Raises ValueError for a regular expression that cannot be used.
    """

    old: str
    new: str
    side: Side = "a"
    is_anywhere: bool = False
    is_regex: bool = False

    def __post_init__(self) -> None:
        if not self.is_regex:
            return
        if len(self.new) > PATTERN_LENGTH:
            raise ValueError(f"the replacement has {len(self.new)} characters; at most {PATTERN_LENGTH} can be used")
        try:
            pattern, _ = _compiled(self.old)
        except QueryError as error:
            raise ValueError(f"/{self.old}/ cannot be used: {error}") from None
        try:
            pattern.sub(self.new, "")
        except (re.error, IndexError) as error:
            raise ValueError(f"{self.new!r} cannot replace what /{self.old}/ matches: {error}") from None

    def __str__(self) -> str:
        side = "b:" if self.side == "b" else ""
        if self.is_regex:
            # A slash before an equals sign would end the expression.
            old = re.sub(r"(\\.)|/=", lambda match: match[1] or r"\/=", self.old)
            return f"{side}/{old}/={self.new}"
        return f"{side}{'*' if self.is_anywhere else ''}{self.old}={self.new}"

    def apply(self, name: str) -> str:
        """``name`` after the rename; unchanged if the rename does not apply to it.

        Raises ValueError for a name on which a regular expression could take too long or that would become too long.
        """
        if self.is_regex:
            return self._replaced(name)
        if self.is_anywhere:
            return re.sub(rf"(?:(?<=\.)|^){re.escape(self.old)}", lambda _: self.new, name)
        if name.startswith(self.old):
            return self.new + name[len(self.old) :]
        end = self.old.removeprefix(".")
        before = name.removesuffix(end)
        if not end or end.endswith(".") or before == name or (before and not before.endswith(".")):
            return name
        new = self.new.removeprefix(".")
        return before + new if new else before.removesuffix(".")

    def _replaced(self, name: str) -> str:
        pattern, longest = _compiled(self.old)
        if len(name) > longest:
            shown = shorten(name, 40)
            raise ValueError(
                f"/{self.old}/ could take too long on {shown!r}, which has {len(name):,} characters: "
                f"it can be used on {longest:,}"
            )
        room = LONGEST_NAME

        def expanded(match: re.Match[str]) -> str:
            nonlocal room
            new = match.expand(self.new)
            room -= len(new)
            if room < 0:
                raise ValueError(f"{self} would make a name of more than {LONGEST_NAME:,} characters")
            return new

        return pattern.sub(expanded, name)


@lru_cache(maxsize=64)
def _compiled(text: str) -> tuple[re.Pattern[str], int]:
    return compile_regex(text)


def parse_rename(expression: str) -> Rename:
    """The rename that an expression means.

    ``OLD=NEW`` changes the start of names of A, or the end if they do not start with OLD; ``.OLD=NEW`` the end only;
    ``*OLD=NEW`` every segment that starts with OLD; ``/REGEX/=NEW`` every match of a regular expression, in which
    upper and lower case differ. ``b:`` before any of these changes names of B. ``OLD=`` takes OLD away, and ``=NEW``
    puts NEW before every name. Raises ValueError, one sentence.
    """
    side: Side = "b" if expression.startswith("b:") else "a"
    body = expression[2:] if expression.startswith(("a:", "b:")) else expression
    match = re.fullmatch(r"/((?:\\.|[^\\])*?)/=(.*)", body, re.DOTALL)
    if match is not None:
        if not match[1]:
            raise ValueError(f"{expression!r} does not say what is to be replaced")
        return Rename(match[1], match[2], side, is_regex=True)
    old, separator, new = body.partition("=")
    if not separator:
        raise ValueError(f"{expression!r} is not a rename: write OLD=NEW, such as module.= to take away a prefix")
    is_anywhere = old.startswith("*")
    old = old.removeprefix("*")
    if old == new:
        raise ValueError(f"{expression!r} changes no name")
    if (is_anywhere and not old) or old == ".":
        raise ValueError(f"{expression!r} does not say what is to be replaced")
    return Rename(old, new, side, is_anywhere)


class Collision(msgspec.Struct, frozen=True):
    """Two tensors of ``side`` that renames give one name, ``called``: ``taken_by`` has it, ``name`` has no partner."""

    side: Side
    name: str
    called: str
    taken_by: str


class Renaming(msgspec.Struct, frozen=True):
    """What became of the names of one side: those that still have one of their own, by their new names.

    ``unused`` are the renames that changed no name.
    """

    called: dict[str, str]
    collisions: tuple[Collision, ...]
    unused: tuple[Rename, ...]


def renamed(names: Iterable[str], renames: Sequence[Rename], side: Side) -> Renaming:
    """The names of ``side`` after all ``renames`` in order.

    If two would get the same name, the one that was renamed gets it, or the first of two that were. Raises ValueError
    if that takes too long.
    """
    mine = [rename for rename in renames if rename.side == side]
    found: dict[str, str] = {}
    kept: list[str] = []
    lost: list[tuple[str, str]] = []
    used: set[Rename] = set()
    deadline = perf_counter() + RENAMING_SECONDS
    for name in names:
        if mine and perf_counter() > deadline:
            raise ValueError(_too_slow(mine))
        called = name
        for rename in mine:
            new = rename.apply(called)
            if new != called:
                used.add(rename)
            called = new
        if called == name:
            kept.append(name)
        elif called in found:
            lost.append((name, called))
        else:
            found[called] = name
    for name in kept:
        if name in found:
            lost.append((name, name))
        else:
            found[name] = name
    collisions = tuple([Collision(side, name, called, found[called]) for name, called in lost])
    return Renaming(found, collisions, tuple(rename for rename in dict.fromkeys(mine) if rename not in used))


def _too_slow(renames: Sequence[Rename]) -> str:
    slow = " ".join(str(rename) for rename in renames if rename.is_regex)
    if slow:
        return f"{slow} takes more than {RENAMING_SECONDS:g} s over these names: write it with fewer repeats"
    many = f"{len(renames):,} renames take" if len(renames) > 1 else "one rename takes"
    return f"{many} more than {RENAMING_SECONDS:g} s over these names: give fewer of them"
