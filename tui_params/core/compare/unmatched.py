"""Why two sources have nothing that could be compared: no tensors, no common name, or no elements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tui_params.core.compare.structure import Structure
from tui_params.core.health.roles import role_of
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import plural

_MOST_ALIKE = 0.8
"""From this share of common shapes on, two sources are taken for one model under two ways of naming."""

_FEWEST_ALIKE = 0.2
"""Below this share, they are taken for two models."""


def why_nothing(laid: Structure, a: Sequence[TensorInfo], b: Sequence[TensorInfo]) -> str | None:
    """One sentence on why no tensor of A has a partner in B, with the likely reason; None if one has."""
    if laid.pairs:
        return None
    if not a or not b:
        return "neither has a tensor" if not (a or b) else f"{'B' if a else 'A'} has no tensors"
    if not laid.only_in_a and not laid.only_in_b and laid.unread:
        return "what one side lists could not be read on the other"
    if not laid.only_in_a and not laid.only_in_b:
        return "what both have is not saved in a checkpoint"
    reason = "no name is common"
    if laid.suggested:
        matches = laid.suggested[0].matches
        return f"{reason}; with the renames below {plural(matches, 'name')} would match"
    return f"{reason}{_guess(a, b)}"


def _guess(a: Sequence[TensorInfo], b: Sequence[TensorInfo]) -> str:
    """The likely reason why no name is common, as the end of a sentence."""
    what_a, what_b = _what(a), _what(b)
    if what_a != what_b:
        words = f": A holds {what_a}, B {what_b}"
        if {what_a, what_b} == {"weights", "an adapter"}:  # names never match, and yet they belong together
            words += "; how far it moves them is told separately"
        return words
    counts = [Counter(info.shape for info in infos if info.unreadable is None) for infos in (a, b)]
    common, fewest = (counts[0] & counts[1]).total(), min(len(a), len(b))
    if common >= _MOST_ALIKE * fewest:
        whose = "A" if len(a) <= len(b) else "B"
        return (
            f", but {common:,} of {plural(fewest, 'tensor')} of {whose} have the shape of one on the other side: "
            "perhaps one model under two ways of naming"
        )
    if common <= _FEWEST_ALIKE * fewest:
        return f", and {common:,} of {plural(fewest, 'shape')}: these look like two models"
    return f"; {common:,} of {plural(fewest, 'shape')} {'is' if common == 1 else 'are'}"


def _what(infos: Sequence[TensorInfo]) -> str:
    """What sort of tensors a source has, in words."""
    if all("lora" in info.name.lower() for info in infos):
        return "an adapter"
    return "optimizer states" if all(role_of(info) == "optimizer" for info in infos) else "weights"
