"""Adapters of peft in a model: what each of its layers keeps by the name of an adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MOST = 100
"""The most adapters of one layer that are looked at."""

Scaling = tuple[str, "int | None", "float | None", "float | None"]
"""The name of an adapter, its rank, its alpha and its scale."""


def scalings_of(kept: Mapping[str, Any]) -> Iterator[Scaling]:
    """The adapters of a layer of peft, of its attributes: plain dicts of numbers, peft/tuners/lora/layer.py."""
    scales = kept.get("scaling")
    # Only plain dicts: any other answers by code of somebody else.
    if type(scales) is not dict:
        return
    ranks, alphas = kept.get("r"), kept.get("lora_alpha", kept.get("alpha"))
    for name, scale in list(scales.items())[:MOST]:
        if type(name) is str:
            rank = ranks.get(name) if type(ranks) is dict else None
            alpha = _number(alphas.get(name)) if type(alphas) is dict else None
            yield name, rank if type(rank) is int else None, alpha, _number(scale)


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and abs(value) < 1e30 else None
