"""Substitutions: words in names that stand for one another, inferred from the names and shapes on both sides.

One word is replaced by another if that gives tensors a partner of the same shape, and only if the other side never
uses the word: so no name that has a partner loses it. If shapes allow two partners, the known pairs decide, or nothing
is inferred.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from tui_params.core.compare.renames import Rename, Side, parse_rename, renamed
from tui_params.core.kinds import kind_of

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""The shapes of all tensors of one side, by name."""

KNOWN = (
    # TensorFlow and the first BERT in torch: layer normalisation and batch normalisation.
    ("gamma", "weight"),
    ("beta", "bias"),
    ("moving_mean", "running_mean"),
    ("moving_variance", "running_var"),
    # flax: normalisation and embeddings. A kernel is no pure rename: it is transposed.
    ("scale", "weight"),
    ("embedding", "weight"),
    # torch.nn.utils.weight_norm and spectral_norm, and those of torch.nn.utils.parametrizations.
    ("weight_g", "parametrizations.weight.original0"),
    ("weight_v", "parametrizations.weight.original1"),
    ("weight_orig", "parametrizations.weight.original"),
    ("weight_u", "parametrizations.weight.0._u"),
    ("weight_v", "parametrizations.weight.0._v"),
)
"""Last parts of names that mean the same in two libraries, with the same values in the same layout."""

_KNOWN = frozenset(KNOWN) | {(new, old) for old, new in KNOWN}

_ROLES = frozenset({"weight", "bias", "running_mean", "running_var", "num_batches_tracked"})
"""Last parts of names that never mean the same."""

LONGEST = 4
"""Segments that a word may have."""

FEWEST = 2
"""Tensors to which a word that is not known must give a partner."""

MOST_PAIRS = 20_000
"""Pairs of kinds of names that are laid beside each other."""

MOST_CANDIDATES = 64
MOST_CHOSEN = 8
_MOST_SHAPES = 8


class _Candidate(msgspec.Struct):
    """One rename, and the names of A and B that it brings together."""

    rename: Rename
    is_known: bool
    partners: dict[str, str]


def infer_substitutions(
    left_a: Sequence[str], left_b: Sequence[str], shapes_a: Shapes, shapes_b: Shapes
) -> tuple[tuple[Rename, ...], int]:
    """Renames of single words that give names without a partner one of the same shape, and to how many names of A.

    ``left_a`` and ``left_b`` have no partner yet; the shapes are those of all tensors.
    """
    if not left_a or not left_b:
        return (), 0
    chosen = _choose(_candidates(left_a, left_b, shapes_a, shapes_b))
    called_a, called_b = renamed(left_a, chosen, "a").called, renamed(left_b, chosen, "b").called
    matches = sum(
        shapes_a[name] == shapes_b[called_b[called]] for called, name in called_a.items() if called in called_b
    )
    return (tuple(chosen), matches) if matches else ((), 0)


def _choose(candidates: list[_Candidate]) -> list[Rename]:
    """Those that do not contradict each other: the known ones first, then those that match most."""
    chosen: list[Rename] = []
    taken_a: set[str] = set()
    taken_b: set[str] = set()
    left = candidates
    while left and len(chosen) < MOST_CHOSEN:
        for candidate in left:
            candidate.partners = {a: b for a, b in candidate.partners.items() if a not in taken_a and b not in taken_b}
        left = [item for item in left if len(item.partners) >= (1 if item.is_known else FEWEST)]
        left.sort(key=lambda item: (not item.is_known, -len(item.partners), len(str(item.rename))))
        if not left:
            break
        best, *left = left
        rivals = [other for other in left if _is_rival(other, best)]
        if rivals:
            # The shapes allow several partners, and which is the right one is not known: these names are left alone.
            for rival in (best, *rivals):
                taken_a.update(rival.partners)
                taken_b.update(rival.partners.values())
            continue
        chosen.append(best.rename)
        taken_a.update(best.partners)
        taken_b.update(best.partners.values())
    return chosen


def _is_rival(other: _Candidate, best: _Candidate) -> bool:
    """Whether another candidate has as good a claim to some of the same names."""
    if other.is_known != best.is_known or len(other.partners) < len(best.partners):
        return False
    if other.partners == best.partners:
        return False
    mine = set(best.partners.values())
    return not best.partners.keys().isdisjoint(other.partners) or not mine.isdisjoint(other.partners.values())


def _candidates(left_a: Sequence[str], left_b: Sequence[str], shapes_a: Shapes, shapes_b: Shapes) -> list[_Candidate]:
    kinds_a, kinds_b = _by_kind(left_a), _by_kind(left_b)
    words_a, words_b = _Words(shapes_a), _Words(shapes_b)
    found: dict[Rename, _Candidate] = {}
    for kind_a, kind_b in _pairs(kinds_a, kinds_b, shapes_a, shapes_b):
        for rename, is_known in _renames(kind_a, kind_b, words_a, words_b):
            if rename not in found and len(found) == MOST_CANDIDATES:
                continue
            candidate = found.setdefault(rename, _Candidate(rename, is_known, {}))
            names, others = (kinds_a[kind_a], shapes_b) if rename.side == "a" else (kinds_b[kind_b], shapes_a)
            mine = shapes_a if rename.side == "a" else shapes_b
            free = set(kinds_b[kind_b] if rename.side == "a" else kinds_a[kind_a])
            for name in names:
                called = rename.apply(name)
                if called in free and mine[name] == others[called]:
                    a, b = (name, called) if rename.side == "a" else (called, name)
                    candidate.partners[a] = b
    return list(found.values())


def _by_kind(names: Sequence[str]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(kind_of(name), []).append(name)
    return kinds


def _pairs(
    kinds_a: Mapping[str, Sequence[str]], kinds_b: Mapping[str, Sequence[str]], shapes_a: Shapes, shapes_b: Shapes
) -> Iterator[tuple[str, str]]:
    """Kinds that have tensors of the same shape, those of A with most tensors first."""
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for kind, names in kinds_b.items():
        for shape in _some_shapes(names, shapes_b):
            by_shape.setdefault(shape, []).append(kind)
    left = MOST_PAIRS
    for kind, names in sorted(kinds_a.items(), key=lambda item: -len(item[1])):
        others = dict.fromkeys(other for shape in _some_shapes(names, shapes_a) for other in by_shape.get(shape, ()))
        for other in others:
            if not left:
                return
            left -= 1
            yield kind, other


def _some_shapes(names: Sequence[str], shapes: Shapes) -> list[tuple[int, ...]]:
    return list(dict.fromkeys(shapes[name] for name in names))[:_MOST_SHAPES]


class _Words:
    """What the names of one side consist of."""

    def __init__(self, names: Shapes) -> None:
        self.kinds = [f".{kind}." for kind in {kind_of(name) for name in names}]
        self._used: dict[str, bool] = {}

    def has(self, word: str) -> bool:
        """Whether a name has the word as whole segments, with whatever numbers."""
        found = self._used.get(word)
        if found is None:
            part = f".{kind_of(word)}."
            found = self._used[word] = any(part in kind for kind in self.kinds)
        return found

    def begins(self, word: str) -> bool:
        """Whether a name begins with these letters."""
        return any(kind.startswith(f".{word}") for kind in self.kinds)


def _renames(kind_a: str, kind_b: str, words_a: _Words, words_b: _Words) -> Iterator[tuple[Rename, bool]]:
    """The rename that makes one kind the other, and whether it is known; nothing if more than a word differs."""
    a, b = kind_a.split("."), kind_b.split(".")
    least = min(len(a), len(b))
    before = next((place for place in range(least) if a[place] != b[place]), least)
    after = next((place for place in range(least - before) if a[-1 - place] != b[-1 - place]), least - before)
    if not before and not after:
        return
    old, new = a[before : len(a) - after], b[before : len(b) - after]
    if max(len(old), len(new)) > LONGEST or (old and new and old[-1] in _ROLES and new[-1] in _ROLES):
        return
    word_a, word_b = (".".join("0" if part == "#" else part for part in word) for word in (old, new))
    is_known = (word_a, word_b) in _KNOWN and not after
    if "#" in {*old, *new} and not is_known:
        return
    sides: tuple[tuple[Side, str, str, _Words, _Words], ...] = (
        ("a", word_a, word_b, words_a, words_b),
        ("b", word_b, word_a, words_b, words_a),
    )
    for side, word, other, mine, others in sides:
        if word and not others.has(word):
            rename = _rename(word, other, side, bool(before), bool(after), mine)
            if _can_be_written(rename):
                yield rename, is_known
                return


def _rename(old: str, new: str, side: Side, has_before: bool, has_after: bool, words: _Words) -> Rename:
    if not has_after:
        is_prefix = words.begins(old)
        return Rename(f".{old}", f".{new}" if new else "", side) if is_prefix else Rename(old, new, side)
    return Rename(f"{old}.", f"{new}." if new else "", side, is_anywhere=has_before)


def _can_be_written(rename: Rename) -> bool:
    try:
        return parse_rename(str(rename)) == rename
    except ValueError:
        return False
