"""The tensors of a run in words."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core import text
from tui_params.core.compare.tracks import Track
from tui_params.core.kinds import kind_of, name_of_kind

_LONGEST_NAME = 200
_MOST_KINDS = 12


def named(tracks: Sequence[Track]) -> str:
    """The tensors by their kinds, the first few."""
    kinds: dict[str, list[str]] = {}
    for track in tracks:
        kinds.setdefault(kind_of(track.name), []).append(track.name)
    words = [text.name(name_of_kind(names), _LONGEST_NAME) for names in kinds.values()]
    return text.listed(words, _MOST_KINDS)
