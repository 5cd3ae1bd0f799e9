"""Renames: how the names of one source become those of another, and which renames to suggest.

Wrappers put their own segment into every name: DDP ``module.``, torch.compile ``_orig_mod.``, FSDP
``_fsdp_wrapped_module.``, activation checkpointing ``_checkpoint_wrapped_module.``, PEFT ``base_model.model.``,
Lightning a ``state_dict.`` and a ``model.`` before the names of the module.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Literal

import msgspec

Side = Literal["a", "b"]

PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "base_model.model.",
    "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
    "state_dict.",
)
"""Prefixes of every name in a model that was wrapped or nested."""

WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
"""Prefixes of any segment of a name, because submodules are wrapped one by one."""

MOST_SUGGESTIONS = 3
_MOST_PREFIXES = 6
_MOST_ROUNDS = 4


class Rename(msgspec.Struct, frozen=True):
    """Names of ``side`` that start with ``old`` start with ``new`` instead.

    ``is_anywhere``: ``old`` is replaced wherever a segment starts with it. An empty ``old`` puts ``new`` before
    every name. ``str()`` is the expression that ``parse_rename`` reads.
    """

    old: str
    new: str
    side: Side = "a"
    is_anywhere: bool = False

    def __str__(self) -> str:
        return f"{'b:' if self.side == 'b' else ''}{'*' if self.is_anywhere else ''}{self.old}={self.new}"

    def apply(self, name: str) -> str:
        """``name`` after the rename; unchanged if the rename does not apply to it."""
        if self.is_anywhere:
            return re.sub(rf"(?:(?<=\.)|^){re.escape(self.old)}", lambda _: self.new, name)
        return self.new + name[len(self.old) :] if name.startswith(self.old) else name


class Suggestion(msgspec.Struct, frozen=True):
    """Renames that, applied together, give ``matches`` more names a partner."""

    renames: tuple[Rename, ...]
    matches: int


def parse_rename(expression: str) -> Rename:
    """The rename that an expression means: ``OLD=NEW`` changes how names of A start.

    ``b:OLD=NEW`` changes names of B, ``*OLD=NEW`` every segment that starts with OLD; ``OLD=`` takes OLD away, and
    ``=NEW`` puts NEW before every name. Raises ValueError, one sentence.
    """
    old, separator, new = expression.partition("=")
    if not separator:
        raise ValueError(f"{expression!r} is not a rename: write OLD=NEW, such as module.= to take away a prefix")
    side: Side = "a"
    if old.startswith(("a:", "b:")):
        side = "a" if old[0] == "a" else "b"
        old = old[2:]
    is_anywhere = old.startswith("*")
    old = old.removeprefix("*")
    if old == new:
        raise ValueError(f"{expression!r} changes no name")
    if is_anywhere and not old:
        raise ValueError(f"{expression!r} does not say what is to be replaced")
    return Rename(old, new, side, is_anywhere)


def renamed(names: Iterable[str], renames: Sequence[Rename], side: Side) -> dict[str, str]:
    """The names of ``side``, by their new names after all ``renames`` in order.

    If two would get the same name, the one that was renamed gets it, or the first of two that were. The other one has
    no partner then: it is listed under its own name with a NUL before it, which no other name has.
    """
    mine = [rename for rename in renames if rename.side == side]
    found: dict[str, str] = {}
    kept: list[str] = []
    for name in names:
        called = name
        for rename in mine:
            called = rename.apply(called)
        if called == name:
            kept.append(name)
        else:
            found[called if called not in found else f"\0{name}"] = name
    for name in kept:
        found[name if name not in found else f"\0{name}"] = name
    return found


def suggest_renames(unmatched_a: Sequence[str], unmatched_b: Sequence[str]) -> tuple[Suggestion, ...]:
    """Renames that match names without a partner: those that match most come first, and each matches at least one.

    They remove wrapper segments anywhere, chains of the usual prefixes, and any other prefix that one side has before
    names of the other.
    """
    if not unmatched_a or not unmatched_b:
        return ()
    ways_a = _ways(unmatched_a, frozenset(unmatched_b), "a")
    ways_b = _ways(unmatched_b, frozenset(unmatched_a), "b")
    found: dict[tuple[Rename, ...], int] = {}
    for (renames_a, called_a), (renames_b, called_b) in product(ways_a.items(), ways_b.items()):
        matches = len(called_a & called_b)
        if matches and (renames_a or renames_b):
            found[renames_a + renames_b] = matches
    # If two ways match equally many, fewer and shorter renames are better.
    ranked = sorted(found.items(), key=lambda item: (-item[1], len(item[0]), len(" ".join(map(str, item[0])))))
    suggestions: list[Suggestion] = []
    for renames, matches in ranked:
        # Keep only what matches fewer names than every earlier suggestion, but with no more renames.
        if all(matches < other.matches and len(renames) <= len(other.renames) for other in suggestions):
            suggestions.append(Suggestion(renames, matches))
    return tuple(suggestions[:MOST_SUGGESTIONS])


def choose_renames(names_a: Iterable[str], names_b: Iterable[str]) -> tuple[Rename, ...]:
    """Take the best suggestion again and again until none matches another name."""
    left_a, left_b = list(names_a), list(names_b)
    chosen: list[Rename] = []
    for _ in range(_MOST_ROUNDS):
        best = next(iter(suggest_renames(left_a, left_b)), None)
        if best is None:
            break
        chosen += [rename for rename in best.renames if rename not in chosen]
        called_a = renamed(left_a, best.renames, "a")
        called_b = renamed(left_b, best.renames, "b")
        left_a = [name for called, name in called_a.items() if called not in called_b]
        left_b = [name for called, name in called_b.items() if called not in called_a]
    return tuple(chosen)


def _ways(names: Sequence[str], others: frozenset[str], side: Side) -> Mapping[tuple[Rename, ...], frozenset[str]]:
    """What ``names`` could be called, by the renames that do it; without renames they keep their names."""
    ways: dict[tuple[Rename, ...], frozenset[str]] = {(): frozenset(names)}
    unwrapping = tuple(
        Rename(wrapper, "", side, is_anywhere=True)
        for wrapper in WRAPPERS
        if any(f".{wrapper}" in name for name in names)
    )
    for wrappers in {(), unwrapping}:
        plain = list(names)
        for rename in wrappers:
            plain = [rename.apply(name) for name in plain]
        if wrappers:
            ways[wrappers] = frozenset(plain)
        for prefix in _prefixes(plain, others):
            renames = (*wrappers, Rename(prefix, "", side))
            ways[renames] = frozenset(name[len(prefix) :] for name in plain if name.startswith(prefix))
    return ways


def _prefixes(names: Sequence[str], others: frozenset[str]) -> list[str]:
    """Prefixes that are worth a try, those of most names first.

    They are chains of the usual ones, and whatever comes before a name that the other side has.
    """
    found: Counter[str] = Counter()
    for name in names:
        chain = 0
        while True:
            step = next((len(prefix) for prefix in PREFIXES if name.startswith(prefix, chain)), 0)
            if not step:
                break
            chain += step
            found[name[:chain]] += 1
        place = name.find(".")
        while place >= 0:
            if name[place + 1 :] in others:
                # This counts more than a usual prefix that leads to no name of the other side.
                found[name[: place + 1]] += 1 + (place + 1 > chain)
            place = name.find(".", place + 1)
    return [prefix for prefix, _ in found.most_common(_MOST_PREFIXES)]
