"""What ``watch`` says of an event."""

from __future__ import annotations

import pytest

from tui_params.cli.watch_report import TextReport
from tui_params.core.dtypes import from_torch
from tui_params.core.tensor import describe
from tui_params.live.attached.figures import LookFigures
from tui_params.live.watching.condition import parse_condition
from tui_params.live.watching.judge import Event
from tui_params.live.watching.watch import Look


@pytest.mark.parametrize(
    ("dtype", "shape", "figures", "condition", "words"),
    [
        ("float32", (4,), (4, 0, 0, 0.0), "nan", "nan: 4 of 4 values NaN"),
        ("float32", (), (1, 0, 0, 0.0), "nan", "nan: 1 of 1 value NaN"),
        ("float32", (4,), (3, 0, 0, 2.0), "nan", "nan: 3 of 4 values NaN, norm of the others 2"),
        ("float32", (4,), (3, 0, 0, 0.0), "nan", "nan: 3 of 4 values NaN, norm of the others 0"),
        ("float32", (4,), (2, 1, 1, 0.0), "nan", "nan: 2 of 4 values NaN"),
        ("float32", (4,), (0, 4, 0, 0.0), "inf", "inf: 4 of 4 values infinite (4 above 0)"),
        ("complex64", (2,), (4, 0, 0, 0.0), "nan", "nan: 4 of 4 values NaN"),
        ("complex64", (4,), (4, 0, 0, 3.0), "nan", "nan: 4 of 8 values NaN, norm of the others 3"),
        ("float32", (4,), (3, 1, 0, 0.0), "norm>5", "norm>5: 3 NaN and 1 infinite of 4 values"),
    ],
)
def test_the_norm_of_the_others_is_said_where_there_are_others(
    dtype: str,
    shape: tuple[int, ...],
    figures: tuple[int, int, int, float],
    condition: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kind = from_torch(dtype)
    assert kind is not None
    event = Event(3, describe("w", shape, kind), parse_condition(condition), LookFigures(*figures))
    TextReport().look(Look(3, (event,), {}), None, None)
    assert capsys.readouterr().out == f"step 3  w  {words}\n"
