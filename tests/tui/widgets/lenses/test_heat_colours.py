"""The colours of the heat map: lightness tells sizes apart in each table, and NaN is not like anything else."""

from __future__ import annotations

from itertools import pairwise

import pytest
from rich.style import Style

from tui_params.core.numbers.levels import BAD, MIDDLE, TOP
from tui_params.tui.terminal.colour_depth import Depth, depth_of
from tui_params.tui.widgets.lenses.heat_colours import RAMP, SHADES, color_of, glyph_of, heat_style


def lightness(table: str, level: int, depth: Depth, is_dark: bool) -> float:
    """Relative luminance of the colour of a level (WCAG 2, without the gamma)."""
    red, green, blue = color_of(table, level, depth, is_dark).get_truecolor()
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("is_dark", [True, False])
@pytest.mark.parametrize("depth", ["24 bit", "256"])
def test_larger_is_lighter_on_dark_and_darker_on_light(depth: Depth, is_dark: bool) -> None:
    ways = [("sequential", range(TOP + 1)), ("signed", range(MIDDLE, TOP + 1)), ("signed", range(MIDDLE, -1, -1))]
    for table, levels in ways:
        found = [lightness(table, level, depth, is_dark) for level in levels]
        steps = [(b - a) * (1 if is_dark else -1) for a, b in pairwise(found)]
        assert min(steps) > -12  # the few of 256 colours are not all in order
        assert sum(steps) > 100


@pytest.mark.parametrize("is_dark", [True, False])
@pytest.mark.parametrize("depth", ["24 bit", "256"])
def test_nan_is_far_from_every_other_colour(depth: Depth, is_dark: bool) -> None:
    bad = color_of("signed", BAD, depth, is_dark).get_truecolor()
    for table in ("signed", "sequential"):
        assert color_of(table, BAD, depth, is_dark).get_truecolor() == bad
        for level in range(TOP + 1):
            other = color_of(table, level, depth, is_dark).get_truecolor()
            assert sum((a - b) ** 2 for a, b in zip(bad, other, strict=True)) > 110**2


def test_signs_differ_in_hue() -> None:
    for depth in ("24 bit", "256"):
        for is_dark in (True, False):
            low = color_of("signed", 0, depth, is_dark).get_truecolor()
            high = color_of("signed", TOP, depth, is_dark).get_truecolor()
            assert low.blue > low.red
            assert high.red > high.blue


def test_few_colours_and_none() -> None:
    assert [glyph_of(f"heat signed {level}", "16") for level in (0, MIDDLE, TOP, BAD)] == ["█", " ", "█", "N"]
    colors = [heat_style(f"heat signed {level}", "16", True, Style()).color for level in (10, 250)]
    assert colors[0] != colors[1]
    ramp = "".join(glyph_of(f"heat signed {level}", "none") for level in range(TOP + 1))
    assert "".join(dict.fromkeys(ramp)) == RAMP
    assert "".join(dict.fromkeys(glyph_of(f"heat sequential {level}", "16") for level in range(TOP + 1))) == SHADES
    bad = heat_style(f"heat signed {BAD}", "none", True, Style())
    assert bad.reverse
    assert bad.color is None


def test_the_place_has_a_colour_of_its_own() -> None:
    style = heat_style("heat signed o 3", "24 bit", True, Style())
    assert style.color is not None
    assert style.color.get_truecolor() == (255, 255, 255)
    assert heat_style("heat signed 3 x", "24 bit", True, Style(bgcolor="red")).bgcolor == Style(bgcolor="red").bgcolor


@pytest.mark.parametrize(
    ("system", "no_color", "is_ascii", "depth"),
    [
        ("truecolor", False, False, "24 bit"),
        ("256", False, False, "256"),
        ("standard", False, False, "16"),
        (None, False, False, "none"),
        ("truecolor", True, False, "none"),
        ("truecolor", False, True, "none"),
    ],
)
def test_the_depth_is_that_of_the_terminal(system: str | None, no_color: bool, is_ascii: bool, depth: Depth) -> None:
    assert depth_of(system, no_color=no_color, is_ascii=is_ascii) == depth
