"""Rules about gaps: a tensor or a layer that is absent although its neighbours have it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tui_params.core.findings import Finding
from tui_params.core.health.lists import ModuleList, lists_in
from tui_params.core.health.pieces import is_piece
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint
from tui_params.core.kinds import compact_ranges
from tui_params.core.text import name as shown_name

_FEWEST = 4
"""With fewer layers no pattern shows."""

_LEAST_HELD = 10
"""One in so many numbers may be absent; where more are, the list leaves numbers out by design."""

_MOST_NAMED = 3
_SHOWN = 200


def find_gaps(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Layers that lack what nearly all others have, and numbers that no layer has."""
    if is_piece(checkpoint):
        return
    for modules in checkpoint.once(lists_in).values():
        if len(modules.items) < _FEWEST:
            continue
        for module, evidence in gaps_in(modules, checkpoint.thresholds.pattern_share):
            yield Finding("warning", "gap", None, evidence, module=module)


def gaps_in(modules: ModuleList, share: float) -> Iterator[tuple[str, str]]:
    """What is absent in a list: the module where that is seen, and a sentence.

    The module is the layer that lacks a tensor; the list, if several do or if a layer is absent. A list without a name
    is no module: of that the first such layer, or the one before the gap.
    """
    yield from _absent_layers(modules)
    yield from _absent_tensors(modules, share)


def _absent_layers(modules: ModuleList) -> Iterator[tuple[str, str]]:
    """The numbers between the first and the last layer that no layer has."""
    first, end = min(modules.items), modules.end
    absent = [number for number in range(first, end) if number not in modules.items]
    if not absent or _LEAST_HELD * len(absent) > max(end - first, _LEAST_HELD) or not modules.is_of_layers:
        return
    if is_regular(absent, first, end) and len(absent) > 1:
        return
    for number in absent:
        # EfficientFormer flattens between blocks that differ: a module without parameters has a number too.
        before = max(other for other in modules.items if other < number)
        after = min(other for other in modules.items if other > number)
        if modules.items[before] != modules.items[after]:
            return
    have = len(modules.items)
    what = f"{_items(modules.prefix, absent)} {'is' if len(absent) == 1 else 'are'} absent"
    before = max(number for number in modules.items if number < absent[0])
    yield modules.prefix or f"{before}", f"{have:,} of {have + len(absent):,} {_items(modules.prefix)} are here, {what}"


def _absent_tensors(modules: ModuleList, share: float) -> Iterator[tuple[str, str]]:
    """Each set of tensors that a few layers lack and nearly all comparable ones have."""
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
        if len(having) < _FEWEST - 1 or len(having) < share * (len(having) + len(lacking)):
            continue
        absent = sorted(more - held)
        if is_by_design(lacking, numbers, absent, held) or any(_is_of_list(below) for below in absent):
            continue
        kinds = ", ".join(absent[:_MOST_NAMED])
        if len(absent) > _MOST_NAMED:
            kinds += f" and {len(absent) - _MOST_NAMED:,} more"
        prefix, total = modules.prefix, len(having) + len(lacking)
        module = prefix if prefix and len(lacking) > 1 else f"{prefix}.{lacking[0]}".lstrip(".")
        yield (
            module,
            f"{_items(prefix, lacking)} {'has' if len(lacking) == 1 else 'have'} no {shown_name(kinds, _SHOWN)}, but "
            f"{len(having):,} of {total:,} such layers have {'it' if len(absent) == 1 else 'them'}: "
            f"{_items(prefix, having)}",
        )


def _items(prefix: str, numbers: Sequence[int] = ()) -> str:
    """``layers.5``, ``layers.{0-4, 6-11}``, and ``layers.#`` for all of them."""
    stem = f"{shown_name(prefix, _SHOWN)}." if prefix else ""
    if not numbers:
        return f"{stem}#"
    return f"{stem}{numbers[0]}" if len(numbers) == 1 else f"{stem}{{{compact_ranges(numbers)}}}"


def _is_of_list(below: str) -> bool:
    """Whether a tensor is in a list of its own inside the layer: the branches of a stage may be longer or shorter."""
    return "#." in below and "experts.#." not in below


def is_by_design(lacking: Sequence[int], numbers: Sequence[int], absent: Sequence[str], held: frozenset[str]) -> bool:
    """Whether a model may be built so: the first or the last layers, every n-th, or whole modules of some layers."""
    places = {number: place for place, number in enumerate(numbers)}
    at = [places[number] for number in lacking]
    if at[0] == 0 or at[-1] == len(numbers) - 1:
        # ModernBERT's first layer has no norm before the attention; SD3's last has nothing that nobody would read.
        return len(at) > 1 or len(absent) > 1 or not absent[0].endswith(".weight") or "norm" in absent[0]
    if len(at) > 1 and is_regular(at, 0, len(numbers)):
        return True
    tops = {below.partition(".")[0] for below in absent}
    return len(at) > 1 and not any(below.partition(".")[0] in tops for below in held)


def is_regular(places: Sequence[int], first: int, end: int) -> bool:
    """Whether some places are the first of all, the last of all, or every n-th of them."""
    count = len(places)
    if list(places) in (list(range(first, first + count)), list(range(end - count, end))):
        return True
    if count < 2:
        return False
    step = places[1] - places[0]
    return places[0] - first < step and list(places) == list(range(places[0], end, step))


_HALVES = (
    ("lora_A", "lora_B"),
    ("lora_embedding_A", "lora_embedding_B"),
    ("lora_down", "lora_up"),
    ("hada_w1_a", "hada_w1_b"),
    ("hada_w2_a", "hada_w2_b"),
    ("hada_w1_a", "hada_w2_a"),
    ("lokr_w1_a", "lokr_w1_b"),
    ("lokr_w2_a", "lokr_w2_b"),
    ("vera_lambda_b", "vera_lambda_d"),
    ("vblora_logits_A", "vblora_logits_B"),
    ("randlora_lambda", "randlora_gamma"),
    ("lora.down", "lora.up"),
)
"""The halves of an adapter, as peft, kohya's scripts and LyCORIS name them; one alone changes nothing."""

_LORA = ("lora", "lora_linear_layer")
"""How the module around diffusers' ``down`` and ``up`` is called."""

_OTHER: dict[str, list[str]] = {}
for _one, _two in _HALVES:
    _OTHER.setdefault(_one, []).append(_two)
    _OTHER.setdefault(_two, []).append(_one)


_MAY_BE_HALF = re.compile("lora|hada_w|lokr_w|vera_lambda")
_KRON = {"lokr_w1": "lokr_w2", "lokr_w1_a": "lokr_w2", "lokr_w2": "lokr_w1", "lokr_w2_a": "lokr_w1"}
"""Each factor of LoKr is either whole or the product of its own two halves."""


def find_half_adapters(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Halves of adapters without the other half."""
    halves: dict[tuple[str, str, str], str] = {}
    for info in checkpoint.source.listing.tensors:
        # A bias may stand beside lora_B alone.
        if _MAY_BE_HALF.search(info.name) and not info.name.endswith(".bias"):
            halves |= dict.fromkeys(halves_in(info.name.split(".")), info.name)
    if not halves or is_piece(checkpoint):
        return
    for (module, half, rest), name in halves.items():
        for other in _OTHER.get(half, ()):
            if (module, other, rest) not in halves:
                yield _half(name, half, other)
        factor = _KRON.get(half)
        if factor is not None and not any((module, found, rest) in halves for found in (factor, f"{factor}_a")):
            yield _half(name, half, factor)


def halves_in(segments: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """The module, the half and what follows it, if a name has a half of an adapter in it."""
    for place, segment in enumerate(segments):
        # HydraLoRA numbers its heads: lora_B0, lora_B1.
        half = segment if segment in _KRON else segment.rstrip("0123456789")
        if half in ("down", "up") and place and segments[place - 1].rstrip("0123456789").endswith(_LORA):
            half = f"lora.{half}"
        if half in _OTHER or half in _KRON:
            yield ".".join(segments[:place]), half, ".".join(segments[place + 1 :])


def _half(name: str, half: str, other: str) -> Finding:
    evidence = f"the adapter has {half} here, but no {other}: one without the other changes nothing"
    return Finding("warning", "half-adapter", name, evidence)


GAP_RULES: tuple[Rule, ...] = (
    Rule(
        "gap",
        "Gap among the layers",
        ("warning",),
        "A layer that is absent between others, or lacks a tensor that nearly all others of its list have.",
        "the models of transformers, whose lists of layers have no gaps of this kind",
        ("pattern_share",),
        cross_check=find_gaps,
    ),
    Rule(
        "half-adapter",
        "Half of an adapter",
        ("warning",),
        "One factor of an adapter without the other: lora_A without lora_B, lora_up without lora_down.",
        "peft, kohya's sd-scripts, LyCORIS and diffusers, whose adapters are products of both",
        cross_check=find_half_adapters,
    ),
)
