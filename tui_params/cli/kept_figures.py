"""What is known of the values of a kind without reading them: from the statistics that the explorer has kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core import text
from tui_params.core.kinds import KindGroup
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from tui_params.cache.figures import SourceCache
    from tui_params.core.source import Source


class Range(msgspec.Struct, frozen=True):
    """The least, the median and the greatest of some figures."""

    least: float
    median: float
    greatest: float


class KindFigures(msgspec.Struct, frozen=True):
    """The figures of the ``known`` tensors of a kind; ``nan`` and ``inf`` of them have NaN, and infinities."""

    known: int
    nan: int
    inf: int
    std: Range | None
    abs_max: Range | None


def kept_of(source: Source) -> SourceCache | None:
    """What is kept of a source; None if nothing is, or if the user has turned that off."""
    from tui_params.cache.figures import FigureCache

    return FigureCache().for_source(source)


def figures_of(group: KindGroup, tensors: Sequence[TensorInfo], kept: SourceCache | None) -> KindFigures | None:
    """What is known of a kind; None if it is of no tensor."""
    measured = [kept.get(tensors[index]) for index in group.indices] if kept is not None else []
    found = [each.figures for each in measured if each is not None]
    if not found:
        return None
    return KindFigures(
        len(found),
        sum(figures.nan > 0 for figures in found),
        sum(figures.pos_inf + figures.neg_inf > 0 for figures in found),
        _range([figures.std for figures in found]),
        _range([figures.abs_max for figures in found]),
    )


def entry(found: KindFigures | None) -> dict[str, Any] | None:
    """The same for ``--json``."""
    return None if found is None else msgspec.to_builtins(found)


def words(found: KindFigures, count: int) -> str:
    """The same in a few words: ``std 0.0166 to 0.0254, NaN in 1``."""
    parts = []
    if found.std is not None:
        low, high = text.number(found.std.least, 3), text.number(found.std.greatest, 3)
        parts.append(f"std {low}" if low == high else f"std {low} to {high}")
    parts += [f"{what} in {many:,}" for what, many in (("NaN", found.nan), ("Inf", found.inf)) if many]
    if found.known < count:
        parts.append(f"{found.known:,} of {count:,} known")
    return ", ".join(parts)


def _range(values: Sequence[float | None]) -> Range | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    from statistics import median

    return Range(min(known), median(known), max(known))
