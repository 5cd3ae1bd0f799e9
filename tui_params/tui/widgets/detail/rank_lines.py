"""What the ranks of a job have of a tensor, as lines of its page: least, mean and greatest, and who stands out."""

from __future__ import annotations

from collections.abc import Callable

from tui_params.core import text
from tui_params.core.over_ranks import OverRanks, RankFigures
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import wrapped

_LABEL, _CELL = 7, 8
_RANK_CELLS = 11
"""The rank beside a figure, where there is room: ``  rank 1024``."""

_MOST_NAMED = 8

_ROWS: tuple[tuple[str, Callable[[RankFigures], float | None]], ...] = (
    ("L2", lambda rank: rank.norm),
    ("absmax", lambda rank: rank.abs_max),
)


def rank_lines(over: OverRanks | None, reason: str, width: int, glyphs: Glyphs) -> list[Line]:
    """Whether the ranks have the same, and after which step; nothing where there are no ranks."""
    if over is None:
        return wrapped(f"over the ranks: {reason}", width, "dim", limit=3) if reason else []
    words, style = _bits(over)
    mark = f"{glyphs.error} " if style == "error" else ""
    read = len(over.ranks)
    count = text.plural(read, "rank") if read == over.served else f"{read:,} of {over.served:,} ranks"
    lines = wrapped(f"{mark}over {count}, after step {over.step:,}: {words}", width, style, hang=2, limit=4)
    odd = [each.rank for each in over.ranks if each.non_finite]
    if odd:
        lines += wrapped(f"{glyphs.error} NaN or Inf on {_named(odd)}", width, "error", hang=2, limit=3)
    return lines


def rank_table(over: OverRanks | None, width: int) -> list[Line]:
    """The figures over the ranks; nothing of what has none."""
    rows = [(label, _sorted(over, get)) for label, get in _ROWS] if over is not None else []
    rows = [(label, known) for label, known in rows if known]
    if not rows:
        return []
    has_names = width >= _LABEL + 3 * _CELL + 2 * _RANK_CELLS
    lines: list[Line] = []
    heading: Line = [("ranks".ljust(_LABEL), "label")]
    for words in ("least", "mean", "most"):
        heading.append((words.rjust(_CELL), "dim"))
        if has_names and words != "mean":
            heading.append((" " * _RANK_CELLS, "dim"))
    lines.append(heading)
    for label, known in rows:
        mean = sum(value / len(known) for value, _ in known)
        line: Line = [(label.ljust(_LABEL), "dim")]
        for value, rank in (known[0], (mean, None), known[-1]):
            line.append((text.number_within(value, _CELL - 1).rjust(_CELL), "number"))
            if has_names and rank is not None:
                line.append((f"  rank {rank}".ljust(_RANK_CELLS), "dim"))
        lines.append(line)
    return lines


def _sorted(over: OverRanks, get: Callable[[RankFigures], float | None]) -> list[tuple[float, int]]:
    known = [(value, each.rank) for each in over.ranks if (value := get(each)) is not None]
    return sorted(known, key=lambda item: item[0])


def _bits(over: OverRanks) -> tuple[str, str]:
    """Whether all have the same bits, and who has not."""
    if over.is_piece:
        return "each has a part of its own", "dim"
    if not over.odd:
        return "the same bits", "dim"
    others = "the others" if over.has_majority and len(over.ranks) > 2 else f"rank {over.ranks[0].rank}"
    verb = "differs" if len(over.odd) == 1 else "differ"
    return f"{_named(over.odd)} {verb} from {others}", "error" if over.is_replica else "accent"


def _named(ranks: list[int] | tuple[int, ...]) -> str:
    shown = ", ".join(map(str, ranks[:_MOST_NAMED]))
    more = f" and {len(ranks) - _MOST_NAMED:,} more" if len(ranks) > _MOST_NAMED else ""
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {shown}{more}"
