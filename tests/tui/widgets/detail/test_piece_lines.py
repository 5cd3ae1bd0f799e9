"""The pieces of a tensor on its page: bounded, aligned, and with the parts that each rank has."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from tui_params.core.dtypes import unknown
from tui_params.core.piece import Piece
from tui_params.core.tensor import describe
from tui_params.tui.state.pieces import Pieces, Stored
from tui_params.tui.widgets.detail.piece_lines import piece_lines, piece_summary


def stored(count: int, total: int | None = None) -> Stored:
    pieces = tuple(
        Piece((2 * rank, 0), (2, 3), f"__{rank}_0.distcp", 1000 * rank, 24, None, rank) for rank in range(count)
    )
    return Stored(pieces, total or count, count)


def text_of(lines: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def test_rows_and_columns_with_rank_file_and_byte() -> None:
    assert text_of(piece_lines(stored(3), (6, 3), 60)) == [
        "",
        "Pieces",
        "rank 0 [0:2, :] __0_0.distcp @ 0",
        "rank 1 [2:4, :] __1_0.distcp @ 1,000",
        "rank 2 [4:6, :] __2_0.distcp @ 2,000",
    ]
    assert piece_summary(stored(3)) == "3 pieces by 3 ranks"


def test_pieces_without_ranks_and_of_one_dimension() -> None:
    some = Stored((Piece((0,), (5,), "a", 0, 20), Piece((5,), (5,), "a", 20, 20)), 2, 0)
    assert text_of(piece_lines(some, (10,), 40))[2:] == ["[0:5]  a @ 0", "[5:10] a @ 20"]
    assert piece_summary(some) == "2 pieces in 1 file"


def test_of_many_pieces_the_first_are_listed() -> None:
    lines = text_of(piece_lines(stored(64, 4096), (8192, 3), 60))
    assert len(lines) == 67
    assert lines[-1] == "and 4,032 more"
    assert piece_summary(stored(64, 4096)) == "4,096 pieces by 64 ranks"


@pytest.mark.parametrize("width", range(12, 80, 7))
def test_they_fit(width: int) -> None:
    assert all(cell_len(line) <= max(width, 22) for line in text_of(piece_lines(stored(12), (24, 3), width)))


def test_they_are_asked_for_once() -> None:
    asked: list[str] = []
    pieces = Pieces(lambda info: asked.append(info.name))
    info = describe("w", (6, 3), unknown("float32"))
    assert pieces.is_settled
    assert pieces.of(info) is pieces.of(info) is None
    assert asked == ["w"]
    assert not pieces.is_settled
    pieces.take("w", stored(3))
    assert pieces.is_settled
    assert pieces.of(info) == stored(3)
    pieces.take("w", Stored((), 0, 0))
    assert pieces.of(info) is None
    assert asked == ["w"]
