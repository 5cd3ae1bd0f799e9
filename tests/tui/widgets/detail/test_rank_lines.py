"""A tensor over the ranks of a job as lines: figures, the ranks at the ends, and who has other bits."""

from __future__ import annotations

import torch

from tests.factories_screen import on_stage
from tests.factories_training import TrainingSource
from tui_params.core import dtypes
from tui_params.core.over_ranks import OverRanks, RankFigures
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError
from tui_params.tui.state.pieces import Pieces, Stored
from tui_params.tui.terminal.glyphs import UNICODE
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.rank_lines import rank_lines, rank_table


def plain(lines: list[Line]) -> list[str]:
    return ["".join(part for part, _ in line).rstrip() for line in lines]


def sentences(over: OverRanks | None, width: int = 80, reason: str = "") -> list[str]:
    return plain(rank_lines(over, reason, width, UNICODE))


def ranks(*norms: float, is_replica: bool = True, non_finite: int = 0) -> OverRanks:
    figures = [RankFigures(rank, norm, norm / 2, 0, str(norm).encode()) for rank, norm in enumerate(norms)]
    figures[-1] = RankFigures(len(norms) - 1, norms[-1], norms[-1] / 2, non_finite, str(norms[-1]).encode())
    return OverRanks(tuple(figures), 1_204, len(norms), is_replica=is_replica)


def test_who_has_other_bits() -> None:
    assert sentences(ranks(3, 3)) == ["over 2 ranks, after step 1,204: the same bits"]
    assert sentences(ranks(2, 2, 5, non_finite=1)) == [
        "! over 3 ranks, after step 1,204: rank 2 differs from the others",
        "! NaN or Inf on rank 2",
    ]
    assert sentences(ranks(2, 5, is_replica=False)) == ["over 2 ranks, after step 1,204: rank 1 differs from rank 0"]
    assert sentences(OverRanks(ranks(2, 5).ranks, 7, 4, is_piece=True)) == [
        "over 2 of 4 ranks, after step 7: each has a part of its own"
    ]
    assert sentences(None, reason="it has gone") == ["over the ranks: it has gone"]
    assert sentences(None) == []


def test_figures_and_whose_they_are() -> None:
    over = ranks(2, 2, 5)
    assert plain(rank_table(over, 33)) == [
        "ranks     least    mean    most",
        "L2            2       3       5",
        "absmax        1     1.5     2.5",
    ]
    assert plain(rank_table(over, 60))[:2] == [
        "ranks     least               mean    most",
        "L2            2  rank 0          3       5  rank 2",
    ]
    # Of integers, only the bits are compared.
    assert rank_table(OverRanks((RankFigures(0, None, None, 0, b""),), 3, 1), 33) == []
    assert rank_table(None, 33) == []


def test_what_was_known_stays_with_its_step_until_it_is_known_anew() -> None:
    info = TensorInfo("w", (1,), dtypes.unknown("float32"), 1, 4)
    asked: list[str] = []
    before, after = (Pieces(lambda info: asked.append(info.name)) for _ in range(2))
    before.take("w", Stored((), 0, 0, ranks(1, 1)))
    after.keep(before)
    assert after.of(info) is None
    assert after.over(info) == Stored((), 0, 0, ranks(1, 1))
    after.take("w", Stored((), 0, 0, None, "it has gone"))
    assert (after.over(info), asked) == (Stored((), 0, 0, None, "it has gone"), ["w"])


class Ranked(TrainingSource):
    """A source of ranks that have what they are told to have."""

    over: OverRanks | None = None

    def over_ranks(self, info: TensorInfo) -> OverRanks | None:
        if info.name == "bias":
            raise ReadError("it has gone")
        return self.over


async def test_the_page_of_a_tensor_has_what_the_ranks_have() -> None:
    source = Ranked(torch.nn.Linear(4, 3))
    source.over = ranks(1, 1, 2)
    async with on_stage(lambda: source, (120, 36)) as stage:
        await stage.go("weight")
        await stage.until(lambda: "! over 3 ranks, after step 1,204: rank 2" in stage.facts)
        assert "L2            1  rank 0       1.33       2  rank 2" in stage.facts
        await stage.go("bias")
        await stage.until(lambda: "over the ranks: it has gone" in stage.facts)
