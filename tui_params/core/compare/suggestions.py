"""Which renames to suggest: wrappers and prefixes by their names, words by the shapes of the tensors.

Wrappers put their own segment into every name: DDP ``module.``, torch.compile ``_orig_mod.``, FSDP
``_fsdp_wrapped_module.``, activation checkpointing ``_checkpoint_wrapped_module.``, PEFT ``base_model.model.``,
Lightning a ``state_dict.`` and a ``model.`` before the names of the module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import msgspec

from tui_params.core.compare.llama_cpp_names import from_llama_cpp
from tui_params.core.compare.renames import Rename, Side, renamed
from tui_params.core.compare.substitutions import Shapes, infer_substitutions

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


class Suggestion(msgspec.Struct, frozen=True):
    """Renames that, applied together, give ``matches`` more names a partner."""

    renames: tuple[Rename, ...]
    matches: int


def suggest_renames(
    unmatched_a: Sequence[str],
    unmatched_b: Sequence[str],
    shapes_a: Shapes | None = None,
    shapes_b: Shapes | None = None,
) -> tuple[Suggestion, ...]:
    """Renames that match names without a partner: those that match most come first, and each matches at least one.

    They give names of llama.cpp those of transformers, or remove wrapper segments anywhere, chains of the usual
    prefixes, and any other prefix that one side has before names of the other. If the shapes of all tensors are given,
    by name, they also replace words by others, alone or after the best of these (``infer_substitutions``).
    """
    if not unmatched_a or not unmatched_b:
        return ()
    found = _by_prefix(unmatched_a, unmatched_b) | _by_naming(unmatched_a, unmatched_b)
    if shapes_a is not None and shapes_b is not None:
        first = min(found, key=lambda renames: _rank(renames, found[renames]), default=())
        most = found.get(first, 0)
        for before in dict.fromkeys(((), first)):
            replaced, matches = _after(before, unmatched_a, unmatched_b, shapes_a, shapes_b)
            if matches > most:
                found[before + replaced] = matches
    # Nobody can type one with a control character.
    typable = {renames: matches for renames, matches in found.items() if all(str(one).isprintable() for one in renames)}
    ranked = sorted(typable.items(), key=lambda item: _rank(*item))
    suggestions: list[Suggestion] = []
    for renames, matches in ranked:
        # Keep only what matches fewer names than every earlier suggestion, but with no more renames.
        if all(matches < other.matches and len(renames) <= len(other.renames) for other in suggestions):
            suggestions.append(Suggestion(renames, matches))
    return tuple(suggestions[:MOST_SUGGESTIONS])


def _rank(renames: tuple[Rename, ...], matches: int) -> tuple[int, int, int]:
    """A sort key: more matches first; if two ways match equally many, fewer and shorter renames are better."""
    return -matches, len(renames), len(" ".join(map(str, renames)))


def _by_prefix(unmatched_a: Sequence[str], unmatched_b: Sequence[str]) -> dict[tuple[Rename, ...], int]:
    """How many names match after the renames of wrappers and prefixes that match any."""
    ways_a = _ways(unmatched_a, frozenset(unmatched_b), "a")
    ways_b = _ways(unmatched_b, frozenset(unmatched_a), "b")
    found: dict[tuple[Rename, ...], int] = {}
    for (renames_a, called_a), (renames_b, called_b) in product(ways_a.items(), ways_b.items()):
        matches = len(called_a & called_b)
        if matches and (renames_a or renames_b):
            found[renames_a + renames_b] = matches
    return found


def _by_naming(unmatched_a: Sequence[str], unmatched_b: Sequence[str]) -> dict[tuple[Rename, ...], int]:
    """How many names match once those of llama.cpp are called as transformers calls them."""
    found: dict[tuple[Rename, ...], int] = {}
    sides: tuple[tuple[Side, Sequence[str], Sequence[str]], ...] = (
        ("a", unmatched_a, unmatched_b),
        ("b", unmatched_b, unmatched_a),
    )
    for side, names, others in sides:
        renames = from_llama_cpp(names, side)
        matches = len(set(renamed(names, renames, side).called).intersection(others)) if renames else 0
        if matches:
            found[renames] = matches
    return found


def _after(
    before: tuple[Rename, ...],
    unmatched_a: Sequence[str],
    unmatched_b: Sequence[str],
    shapes_a: Shapes,
    shapes_b: Shapes,
) -> tuple[tuple[Rename, ...], int]:
    """Substitutions for what ``before`` leaves without a partner, and how many names match with both."""
    left_a, shapes_a = _called(unmatched_a, before, "a", shapes_a)
    left_b, shapes_b = _called(unmatched_b, before, "b", shapes_b)
    common = set(left_a).intersection(left_b)
    left_a, left_b = ([name for name in left if name not in common] for left in (left_a, left_b))
    replaced, matches = infer_substitutions(left_a, left_b, shapes_a, shapes_b)
    return replaced, len(common) + matches


def _called(
    names: Iterable[str], renames: Sequence[Rename], side: Side, shapes: Shapes
) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    """What names are called after the renames, and the shapes of all tensors under their names then."""
    renaming = renamed(names, renames, side)
    called = renaming.called
    # What lost its name to another has none that could be matched.
    old = {*called.values(), *(collision.name for collision in renaming.collisions)}
    after = {name: shape for name, shape in shapes.items() if name not in old}
    return list(called), after | {new: shapes[name] for new, name in called.items()}


def choose_renames(
    names_a: Iterable[str], names_b: Iterable[str], shapes_a: Shapes | None = None, shapes_b: Shapes | None = None
) -> tuple[Rename, ...]:
    """Take the best suggestion again and again until none matches another name."""
    left_a, left_b = list(names_a), list(names_b)
    chosen: list[Rename] = []
    for _ in range(_MOST_ROUNDS):
        best = next(iter(suggest_renames(left_a, left_b, shapes_a, shapes_b)), None)
        if best is None:
            break
        chosen += [rename for rename in best.renames if rename not in chosen]
        if shapes_a is not None and shapes_b is not None:
            left_a, shapes_a = _called(left_a, best.renames, "a", shapes_a)
            left_b, shapes_b = _called(left_b, best.renames, "b", shapes_b)
        else:
            left_a = list(renamed(left_a, best.renames, "a").called)
            left_b = list(renamed(left_b, best.renames, "b").called)
        common = set(left_a).intersection(left_b)
        left_a, left_b = ([name for name in left if name not in common] for left in (left_a, left_b))
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
