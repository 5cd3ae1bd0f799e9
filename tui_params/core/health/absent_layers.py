"""Layers that are absent from a list: before its first one, between two, and experts that only one block lacks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tui_params.core.health.lists import ModuleList
from tui_params.core.kinds import compact_ranges, kind_of
from tui_params.core.text import name as shown_name

_OF_LAYERS = re.compile(r"(?:.*_)?(?:layers|layer|blocks|block|h|experts)|resblocks", re.ASCII)
"""What the lists of layers are called whose numbers start at 0 and leave none out. A Sequential counts activations."""

_LEAST_SHARE = 3
"""Of such a list a third may be absent; where more is, it may be a piece, or leave numbers out by design."""

_LEAST_HELD = 10
"""The same of a list with another name."""

_FEWEST_OF_LAYERS = 2
_FEWEST = 4
"""With fewer no pattern shows."""

SHOWN = 200


def find_absent_layers(modules: ModuleList, *, is_of_states: bool = False) -> Iterator[tuple[str, str]]:
    """The module where it is seen that layers are absent, and a sentence.

    Of the states of an optimizer, layers may be absent because they were frozen: most often the first ones.
    """
    if not modules.is_of_layers:
        return
    absent = absent_numbers(modules, is_strict=is_of_states or not _is_named_so(modules.prefix))
    if not absent:
        return
    have = len(modules.items)
    what = f"{items_of(modules.prefix, absent)} {'is' if len(absent) == 1 else 'are'} absent"
    before = max((number for number in modules.items if number < absent[0]), default=min(modules.items))
    evidence = f"{have:,} of {have + len(absent):,} {items_of(modules.prefix)} are here, {what}"
    yield modules.prefix or f"{before}", evidence


def absent_numbers(modules: ModuleList, *, is_strict: bool) -> list[int]:
    """The numbers below the last that no layer has; none where that may be by design. ``is_strict``: of other lists."""
    held = sorted(modules.items)
    if len(held) < (_FEWEST if is_strict else _FEWEST_OF_LAYERS):
        return []
    first, end = (held[0] if is_strict else 0), modules.end
    absent = [number for number in range(first, end) if number not in modules.items]
    least, most = (_LEAST_HELD, max(end - first, _LEAST_HELD)) if is_strict else (_LEAST_SHARE, end)
    if not absent or least * len(absent) > most or absent == list(range(1, end, 2)):
        return []
    if not _is_of_experts(modules.prefix) and is_every_nth(absent, first, end):
        return []
    for run in _runs(absent):
        left = [number for number in held if number < run[0]]
        right = [number for number in held if number > run[-1]]
        if not _is_alike(modules, left, right):
            return []
    return absent


def _is_named_so(prefix: str) -> bool:
    return _OF_LAYERS.fullmatch(prefix.rpartition(".")[2]) is not None


def _is_of_experts(prefix: str) -> bool:
    return prefix.rpartition(".")[2] == "experts"


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _is_alike(modules: ModuleList, left: Sequence[int], right: Sequence[int]) -> bool:
    """Whether what stands on both sides of a gap is of one kind, so that a layer between would be too.

    EfficientFormer flattens between blocks that differ: a module without parameters has a number too.
    """
    items = modules.items
    if not left:
        return len(right) > 1 and items[right[0]] == items[right[1]]
    if items[left[-1]] == items[right[0]]:
        return True
    return any(items[number] == items[left[-1]] for number in right) or any(
        items[number] == items[right[0]] for number in left
    )


def is_every_nth(places: Sequence[int], first: int, end: int) -> bool:
    """Whether some places are every n-th of a range; two of them only if a multiple of n is one of them or the end."""
    if len(places) < 2:
        return False
    step = places[1] - places[0]
    if step == 1 or places[0] - first >= step or list(places) != list(range(places[0], end, step)):
        return False
    if len(places) > 2:
        return True
    return 0 in ((places[0] - first) % step, (places[0] - first + 1) % step, (end - first) % step)


def find_uneven_experts(lists: Mapping[str, ModuleList], share: float) -> Iterator[tuple[str, str]]:
    """Blocks with fewer experts than the others: the module, and a sentence."""
    kinds: dict[str, list[ModuleList]] = {}
    for modules in lists.values():
        if _is_of_experts(modules.prefix):
            kinds.setdefault(kind_of(modules.prefix), []).append(modules)
    for kind, members in kinds.items():
        usual, count = Counter(modules.end for modules in members).most_common(1)[0]
        if len(members) <= 2 or count < min(share * len(members), len(members) - 1):
            continue
        for modules in members:
            if modules.end < usual:
                absent = list(range(modules.end, usual))
                evidence = f"{items_of(modules.prefix, absent)} {'is' if len(absent) == 1 else 'are'} absent, but "
                evidence += f"{count:,} of {len(members):,} {shown_name(kind, SHOWN)} have {usual:,} experts"
                yield modules.prefix, evidence


def items_of(prefix: str, numbers: Iterable[int] = ()) -> str:
    """``layers.5``, ``layers.{0-4, 6-11}``, and ``layers.#`` for all of them."""
    numbers = list(numbers)
    stem = f"{shown_name(prefix, SHOWN)}." if prefix else ""
    if not numbers:
        return f"{stem}#"
    return f"{stem}{numbers[0]}" if len(numbers) == 1 else f"{stem}{{{compact_ranges(numbers)}}}"
