"""Partners: parts of one module that no layer has without each other, such as an MLP's two projections.

Whether a model has them at all is told by its other layers, so a part counts as absent only where one of these has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.core.health.lists import ModuleList

_TOGETHER = (
    ("gate_proj", "up_proj", "down_proj"),
    ("gate_up_proj", "down_proj"),
    ("dense_h_to_4h", "dense_4h_to_h"),
    ("linear_fc1", "linear_fc2"),
    ("fc1", "fc2"),
    ("w1", "w2", "w3"),
    ("linear1", "linear2"),
    ("lin1", "lin2"),
    ("c_fc", "c_proj"),
    ("fc_in", "fc_out"),
    ("wi", "wo"),
    ("wi_0", "wi_1", "wo"),
    ("Wi", "Wo"),
    ("q_proj", "o_proj"),
    ("q_proj", "out_proj"),
    ("q_proj", "dense"),
    ("qkv_proj", "o_proj"),
    ("qkv_proj", "out_proj"),
    ("q_a_proj", "q_b_proj"),
    ("kv_a_proj_with_mqa", "kv_b_proj"),
    ("query_key_value", "dense"),
    ("Wqkv", "Wo"),
    ("c_attn", "c_proj"),
    ("qkv", "proj"),
    ("query", "key", "value"),
    ("q_lin", "k_lin", "v_lin", "out_lin"),
    ("q", "k", "v", "o"),
    ("wq", "wo"),
    ("to_q", "to_out.0"),
    ("in_proj", "out_proj"),
    ("gate", "experts"),
    ("router", "experts"),
)
"""Parts of one module that are of no use alone. Keys and values are not among them where layers share these."""

_ONE_WAY = (("v_proj", "k_proj"), ("wv", "wk"), ("to_v", "to_k"))
"""The first is of no use without the second; the second alone may be both (Gemma 4: ``attention_k_eq_v``)."""

VITAL = frozenset(
    {
        "self_attn", "attn", "attention", "self_attention", "mlp", "feed_forward", "ffn", "input_layernorm",
        "post_attention_layernorm", "ln_1", "ln_2",
    }
)  # fmt: skip
"""Modules that each layer of a transformer has, if its others have them; T5's ``relative_attention_bias`` is none."""

_FEW = 4
"""In a list of so few, one layer may be the odd one; in longer ones ``pattern_share`` tells."""

_NEEDS: dict[str, set[str]] = {}
for _parts in _TOGETHER:
    for _part in _parts:
        _NEEDS.setdefault(_part, set()).update(other for other in _parts if other != _part)
for _user, _used in _ONE_WAY:
    _NEEDS.setdefault(_user, set()).add(_used)


def absent_partners(modules: ModuleList) -> Iterator[tuple[int, str, str, list[int]]]:
    """For each part that an item lacks: its number, the tensor, the partner that it has, and the items with both.

    A bias without its weight counts too.
    """
    known: dict[frozenset[str], set[tuple[str, str]]] = {}
    pairs: dict[tuple[str, str], list[int]] = {}
    held: dict[int, set[tuple[str, str]]] = {}
    for number in sorted(modules.items):
        names = frozenset(modules.items[number])
        if names not in known:
            known[names] = set(_pairs_in(names))
        held[number] = known[names]
        for pair in held[number]:
            pairs.setdefault(pair, []).append(number)
    if len(known) == 1:
        return
    for (one, two), having in sorted(pairs.items()):
        lacking = [n for n, names in modules.items.items() if one in names and two not in names]
        if len(lacking) > 1 and min(lacking) > max(having):
            # The last of LongCat's experts are places without a weight.
            continue
        owner = split(two)[0]
        others = [_below(owner, modules.items[number]) for number in having]
        for number in lacking:
            # A part that is there in another form has names that the others do not have.
            if any(_below(owner, modules.items[number]) < other for other in others):
                yield number, two, one, having


def absent_modules(modules: ModuleList) -> Iterator[tuple[int, list[str], list[int]]]:
    """The one layer of a few that lacks a module which all others have: its number, what it lacks, and the others."""
    if len(modules.items) > _FEW:
        return
    for number, names in modules.items.items():
        others = {other: held for other, held in modules.items.items() if other != number}
        if others and all(names < held for held in others.values()):
            absent = set.intersection(*others.values()) - names
            tops = {name.partition(".")[0] for name in absent}
            if tops and tops <= VITAL and not any(name.partition(".")[0] in tops for name in names):
                yield number, sorted(absent), sorted(others)


def _pairs_in(names: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The tensors of an item that need another one, each with that one."""
    parts: dict[tuple[str, str], list[str]] = {}
    for name in names:
        owner, part = split(name)
        parts.setdefault((owner, part), []).append(name)
        head, _, last = name.rpartition(".")
        if last == "bias" and f"{head}.weight" in names:
            yield name, f"{head}.weight"
    for (owner, part), ones in parts.items():
        for other in _NEEDS.get(part, ()):
            two = _weight(parts.get((owner, other), ()))
            one = _weight(ones)
            if one is not None and two is not None:
                yield one, two


def _weight(names: Sequence[str]) -> str | None:
    """The first of the tensors of a part, without its bias."""
    return min((name for name in names if not name.endswith("bias")), default=None)


def split(name: str) -> tuple[str, str]:
    """The module that a part belongs to and the part: ``mlp`` and ``down_proj`` of ``mlp.down_proj.weight``."""
    segments = name.split(".")
    if "experts" in segments:
        # A mixture is one part, however its experts are stored.
        place = segments.index("experts")
        return ".".join(segments[:place]), "experts"
    if segments[-1] in ("weight", "bias"):
        del segments[-1]
    if not segments:
        return "", name
    if segments[-1] == "0" or segments[-1] == "#":
        return ".".join(segments[:-2]), ".".join(segments[-2:]).replace("#", "0")
    return ".".join(segments[:-1]), segments[-1]


def _below(owner: str, names: set[str]) -> set[str]:
    return {name for name in names if name.startswith(owner)}
