"""Rule about halves of adapters: one factor of a product without the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tui_params.core.findings import Finding
from tui_params.core.health.pieces import is_piece
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint

_HALVES = (
    ("lora_A", "lora_B"),
    ("lora_a", "lora_b"),
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
    ("delora_A", "delora_B"),
    ("gralora_A", "gralora_B"),
    ("hira_A", "hira_B"),
    ("peanut_A", "peanut_B"),
    ("poly_lora_A", "poly_lora_B"),
)
"""The halves of an adapter, as peft, MLX, kohya's scripts and LyCORIS name them; one alone changes nothing."""

_LORA = ("lora", "lora_linear_layer")
"""How the module around diffusers' ``down`` and ``up`` is called."""

_OTHER: dict[str, list[str]] = {}
for _one, _two in _HALVES:
    _OTHER.setdefault(_one, []).append(_two)
    _OTHER.setdefault(_two, []).append(_one)


_MAY_BE_HALF = re.compile("lora|hada_w|lokr_w|vera_lambda|hira_|peanut_")
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


HALF_RULES: tuple[Rule, ...] = (
    Rule(
        "half-adapter",
        "Half of an adapter",
        ("warning",),
        "One factor of an adapter without the other: lora_A without lora_B, lora_up without lora_down.",
        "peft, mlx-lm, kohya's sd-scripts, LyCORIS and diffusers, whose adapters are products of both",
        cross_check=find_half_adapters,
    ),
)
