"""A gradient beside its parameter: the table fits and is right, and both distributions stand on one axis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.factories_memory import MemorySource
from tests.factories_screen import on_stage
from tui_params.api.opening import open_source
from tui_params.core import text
from tui_params.core.figures import Figures
from tui_params.tui.terminal.glyphs import ASCII, UNICODE
from tui_params.tui.terminal.themes import INKS
from tui_params.tui.widgets.canvas import to_ascii
from tui_params.tui.widgets.detail.beside import LEAST_WIDTH, Beside, beside_lines, on_axis


def figures_of(array: np.ndarray) -> Figures:
    return MemorySource({"a": array}).summarize("a").figures(array.size)


RNG = np.random.default_rng(0)
VALUES = {
    "normal": figures_of(RNG.normal(size=500).astype(np.float32)),
    "small": figures_of((1e-6 * RNG.normal(size=500)).astype(np.float32)),
    "constant": figures_of(np.full(7, -1.2345e-20)),
    "nan": figures_of(np.full(3, np.nan, np.float32)),
    "mixed": figures_of(np.array([np.nan, np.inf, -0.0, 1e-42, 3.0], np.float32)),
    "huge": figures_of(np.array([-1.7e308, 1.7e308])),
    "empty": figures_of(np.zeros((0, 3), np.float32)),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("other", [*VALUES, None])
def test_every_page_fits_and_every_number_is_whole(name: str, other: str | None) -> None:
    figures = VALUES[name]
    gradient = VALUES[other] if other is not None else None
    for width in (LEAST_WIDTH, 31, 40, 49, 50, 60, 100):
        for glyphs in (UNICODE, ASCII):
            beside = Beside(gradient, None, ("0.0123", "-1.5e-08") * 9, "[0:1, 0:5]")
            lines = beside_lines(figures, beside, width, glyphs)
            assert {style for line in lines for _, style in line} <= set(INKS)
            words = ["".join(part for part, _ in line) for line in lines]
            assert max(map(cell_len, words)) <= width
            assert glyphs is UNICODE or all("?" not in to_ascii(line) for line in words)
            for label, value in (("std", figures.std), ("L2", figures.l2_norm)):
                row = next(
                    line.split(f"{label} ", 1)[1].split() for line in words if f"{label} " in line and "/" not in line
                )
                assert row[0] in {text.number(value), *(text.number_within(value, room) for room in range(7, 30))}


def test_a_gradient_that_cannot_be_read_says_why() -> None:
    lines = beside_lines(VALUES["normal"], Beside(None, "the disk says no"), 60, UNICODE)
    assert lines[-1] == [("gradient: x the disk says no", "warning")]
    lines = beside_lines(VALUES["normal"], Beside(None), 60, UNICODE)
    assert "reading" in lines[-1][0][0]


@given(st.sampled_from(["normal", "small", "mixed"]), st.floats(0, 1e3), st.floats(0, 1e3), st.integers(8, 60))
def test_on_another_axis_nothing_is_lost(name: str, before: float, after: float, cells: int) -> None:
    figures = VALUES[name]
    assert figures.spark_low is not None
    assert figures.spark_high is not None
    low, high = figures.spark_low - before, figures.spark_high + after
    if not low < high:
        return
    heights = on_axis(figures, low, high, cells)
    assert len(heights) == cells
    assert sum(heights) == pytest.approx(1000 * sum(figures.spark), rel=0.01, abs=cells)


def test_on_its_own_axis_it_is_the_same() -> None:
    figures = VALUES["normal"]
    assert figures.spark_low is not None
    assert figures.spark_high is not None
    heights = on_axis(figures, figures.spark_low, figures.spark_high, len(figures.spark))
    assert [round(height / 1000) for height in heights] == list(figures.spark)


async def test_the_page_of_a_parameter_has_both_without_a_key() -> None:
    model = torch.nn.Linear(4, 3)
    model.weight.grad = torch.full((3, 4), 0.5)
    model.bias.requires_grad_(False)
    async with on_stage(lambda: open_source(model), (120, 36)) as stage:
        await stage.go("weight")
        facts = stage.facts
        assert "∇ grad" in facts
        norm = float(torch.linalg.vector_norm(model.weight.grad.double()))
        assert text.number(norm) in facts
        ratio = norm / float(torch.linalg.vector_norm(model.weight.double()))
        assert f"grad L2 / L2 {text.number(ratio, 3)}" in facts
        assert "grad [0:1, 0:4] 0.5" in facts
        await stage.go("bias")
        assert "no gradient: frozen (requires_grad is False)" in stage.facts


async def test_a_key_held_down_never_shows_a_gradient_beside_another_parameter() -> None:
    model = torch.nn.Sequential(*[torch.nn.Linear(3, 3) for _ in range(12)])
    for place, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, place + 1.0)
    async with on_stage(lambda: open_source(model), (120, 36)) as stage:
        await stage.press("E")
        for _ in range(20):
            await stage.send("down")
            shown = stage.facts.splitlines()
            values = next((line for line in shown if line.strip().startswith("grad [")), None)
            if values is not None:
                place = next(at for at, (name, _) in enumerate(model.named_parameters()) if shown[0].strip() == name)
                assert float(values.split()[-1]) == place + 1
        await stage.rest()


@pytest.mark.parametrize(("value", "gradient"), [(1.0, 0.001), (0.3, 1.0), (-2.0, 1.0)])
def test_what_is_all_at_one_end_of_the_axis_is_seen(value: float, gradient: float) -> None:
    spread = np.linspace(-gradient, gradient, 9)
    for one, other in ((np.full(9, value), spread), (spread, np.full(9, value))):
        lines = beside_lines(figures_of(one), Beside(figures_of(other)), 60, UNICODE)
        drawn = [part for line in lines[:2] for part, style in line if style == "spark"]
        assert len(drawn) == 2
        assert all(part.strip() for part in drawn)
