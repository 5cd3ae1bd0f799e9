"""Tensors of one side alone that are no difference, as entries for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.core import text
from tui_params.core.compare.structure import Implied


def implied_entries(found: Sequence[Implied], *, names: bool) -> Iterator[tuple[str, str, str]]:
    """Side, name and reason of each tensor; several with one reason below a module at the top are one line."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for item in found:
        top = item.name if names else item.name.partition(".")[0]
        alike.setdefault((item.side, top, item.reason), []).append(item.name)
    for (side, top, reason), below in alike.items():
        yield side, below[0] if len(below) == 1 else f"{top}, {text.plural(len(below), 'tensor')}", reason
