"""Rules about gaps: a tensor or a layer that is absent although its neighbours have it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.core.findings import Finding
from tui_params.core.health.absent_layers import (
    SHOWN,
    find_absent_layers,
    find_uneven_experts,
    is_every_nth,
    items_of,
)
from tui_params.core.health.lists import ModuleList, lists_in
from tui_params.core.health.partners import VITAL, absent_modules, absent_partners
from tui_params.core.health.pieces import is_piece
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint
from tui_params.core.text import name as shown_name

_FEWEST = 3
"""As many layers must have what others lack; of fewer, only what no module does without is told."""

_PAIR = 2
"""So many layers are odd among twice as many others, whatever the share."""

_MOST_NAMED = 3


def find_gaps(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Layers that lack what nearly all others have, and numbers that no layer has."""
    if is_piece(checkpoint):
        return
    lists = checkpoint.once(lists_in)
    share = checkpoint.thresholds.pattern_share
    for modules in lists.values():
        for module, evidence in gaps_in(modules, share):
            yield Finding("warning", "gap", None, evidence, module=module)
    for module, evidence in find_uneven_experts(lists, share):
        yield Finding("warning", "gap", None, evidence, module=module)


def gaps_in(modules: ModuleList, share: float, *, is_of_states: bool = False) -> Iterator[tuple[str, str]]:
    """What is absent in a list: the module where that is seen, and a sentence.

    The module is the layer that lacks a tensor; the list, if several do or if a layer is absent. A list without a name
    is no module: of that the first such layer, or the one before the gap. ``is_of_states``: of an optimizer, which has
    no state of a layer that was frozen.
    """
    if len(modules.items) < 2:
        return
    yield from find_absent_layers(modules, is_of_states=is_of_states)
    told: set[tuple[int, str]] = set()
    for lacking, names, having in _absent_tensors(modules, share):
        told |= {(number, name) for number in lacking for name in names}
        yield _sentence(modules.prefix, lacking, names, having)
    for number, names, having in absent_modules(modules):
        if (number, names[0]) not in told:
            told |= {(number, name) for name in names}
            yield _sentence(modules.prefix, [number], names, having)
    partners: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    for number, absent, held, having in absent_partners(modules):
        if (number, absent) not in told:
            told.add((number, absent))
            partners.setdefault((absent, held), ([], having))[0].append(number)
    for (absent, held), (lacking, having) in partners.items():
        yield _sentence(modules.prefix, lacking, [absent], having, f"{shown_name(held, SHOWN)} but no")


def _sentence(
    prefix: str, lacking: Sequence[int], absent: Sequence[str], having: Sequence[int], what: str = "no"
) -> tuple[str, str]:
    kinds = ", ".join(absent[:_MOST_NAMED])
    if len(absent) > _MOST_NAMED:
        kinds += f" and {len(absent) - _MOST_NAMED:,} more"
    total = len(having) + len(lacking)
    module = prefix if prefix and len(lacking) > 1 else f"{prefix}.{lacking[0]}".lstrip(".")
    have = "have" if len(having) > 1 else "has"
    return (
        module,
        f"{items_of(prefix, lacking)} {'has' if len(lacking) == 1 else 'have'} {what} {shown_name(kinds, SHOWN)}, but "
        f"{len(having):,} of {total:,} such layers {have} {'it' if len(absent) == 1 else 'them'}: "
        f"{items_of(prefix, having)}",
    )


def _absent_tensors(modules: ModuleList, share: float) -> Iterator[tuple[list[int], list[str], list[int]]]:
    """Layers that lack a set of tensors, that set, and the comparable layers, nearly all, which have it."""
    groups: dict[frozenset[str], list[int]] = {}
    for number in sorted(modules.items):
        groups.setdefault(frozenset(modules.items[number]), []).append(number)
    if len(groups) == 1:
        return
    numbers = sorted(modules.items)
    for held, lacking in groups.items():
        more = max((other for other in groups if held < other), key=lambda other: len(groups[other]), default=None)
        if more is None:
            continue
        having = groups[more]
        is_odd = len(having) >= share * (len(having) + len(lacking)) or len(lacking) <= _PAIR <= len(having) // 2
        if len(having) < _FEWEST or not is_odd:
            continue
        absent = sorted(more - held)
        if is_by_design(lacking, numbers, absent, held) or any(_is_of_list(below) for below in absent):
            continue
        yield lacking, absent, having


def _is_of_list(below: str) -> bool:
    """Whether a tensor is in a list of its own inside the layer: the branches of a stage may be longer or shorter."""
    return "#." in below and "experts.#." not in below


def is_by_design(lacking: Sequence[int], numbers: Sequence[int], absent: Sequence[str], held: frozenset[str]) -> bool:
    """Whether a model may be built so: the first or the last layers, every n-th, or whole modules of some layers."""
    places = {number: place for place, number in enumerate(numbers)}
    at = [places[number] for number in lacking]
    if at[0] == 0 or at[-1] == len(numbers) - 1:
        # ModernBERT's first layer has no norm before the attention; SD3's last has nothing that nobody would read.
        if len(at) > 1 or len(absent) > 1 or not absent[0].endswith(".weight"):
            return True
        return "norm" in absent[0] and absent[0].partition(".")[0] not in VITAL
    if len(at) > 1 and is_every_nth(at, 0, len(numbers)):
        return True
    tops = {below.partition(".")[0] for below in absent}
    is_whole = not any(below.partition(".")[0] in tops for below in held)
    # Whole attentions and MLPs are left out of some layers by search (Nemotron-NAS), with the norms before them.
    return len(at) > 1 and is_whole and not all("norm" in top for top in tops)


GAP_RULES: tuple[Rule, ...] = (
    Rule(
        "gap",
        "Gap among the layers",
        ("warning",),
        "A layer that is absent before or between others, lacks a tensor that nearly all others of its list have, or "
        "lacks what its module is of no use without: up_proj without down_proj.",
        "the models of transformers, whose lists of layers have no gaps of this kind",
        ("pattern_share",),
        cross_check=find_gaps,
    ),
)
