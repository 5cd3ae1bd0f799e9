"""The pieces of a tensor on its page: which rows and columns each rank and file has."""

from __future__ import annotations

from tui_params.core import text
from tui_params.core.piece import Piece
from tui_params.tui.state.pieces import Stored
from tui_params.tui.terminal.line import Line

_SHOWN = 64


def piece_summary(stored: Stored) -> str:
    """In how many pieces a tensor lies: ``in 4 pieces by 4 ranks``."""
    by = f" by {text.plural(stored.ranks, 'rank')}" if stored.ranks else ""
    files = len({piece.file for piece in stored.pieces})
    where = f" in {text.plural(files, 'file')}" if files != stored.ranks and stored.count == len(stored.pieces) else ""
    return f"{text.plural(stored.count, 'piece')}{by}{where}"


def piece_lines(stored: Stored, shape: tuple[int, ...], width: int) -> list[Line]:
    """A heading, and a line for each of the first pieces: the rank, the part of the tensor, the file and the byte."""
    ranks = [_rank(piece) for piece in stored.pieces[:_SHOWN]]
    parts = [_part(piece, shape) for piece in stored.pieces[:_SHOWN]]
    rank_width = max(map(len, ranks), default=0)
    part_width = min(max(map(len, parts), default=0), max(width - rank_width - 12, 8))
    lines: list[Line] = [[], [("Pieces", "label")]]
    for piece, rank, part in zip(stored.pieces, ranks, parts, strict=False):
        line: Line = [(f"{rank.ljust(rank_width)} ", "dim")] if rank_width else []
        line.append((f"{text.shorten(part, part_width).ljust(part_width)} ", "number"))
        room = width - rank_width - part_width - 3
        line.append((text.shorten(f"{text.clean(piece.file)} @ {piece.offset:,}", max(room, 1)), "dim"))
        lines.append(line)
    if stored.count > len(parts):
        lines.append([(f"and {stored.count - len(parts):,} more", "dim")])
    return lines


def _rank(piece: Piece) -> str:
    return "" if piece.rank is None else f"rank {piece.rank}"


def _part(piece: Piece, shape: tuple[int, ...]) -> str:
    """The box of a piece as a slice; ``:`` where it has the whole dimension."""
    spans = zip(piece.start, piece.stop, shape, strict=True)
    return f"[{', '.join(':' if stop - start == dim else f'{start}:{stop}' for start, stop, dim in spans)}]"
