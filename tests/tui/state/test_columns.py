"""Columns: which of them a width has room for, and the chooser that switches and moves them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories_memory import MemorySource
from tests.factories_screen import on_stage, ramp, small_model
from tui_params.cache.choices import FILE, Choices
from tui_params.cache.folder import CacheFolder
from tui_params.tui.state.columns import BY_NAME, COLUMNS, Content, content_of, default_columns, lay_out
from tui_params.tui.widgets.canvas import LinesView

NAMES = [column.name for column in COLUMNS]
contents = st.builds(Content, st.integers(2, 40), st.integers(1, 40), st.integers(2, 12), st.booleans(), st.booleans())
sorted_by = st.sampled_from(["", "name", *NAMES])
wanted = st.none() | st.lists(st.sampled_from(NAMES), unique=True).map(tuple)


@given(st.integers(0, 300), wanted, contents, sorted_by, st.booleans())
def test_columns_never_need_more_than_the_width(
    width: int, wanted: tuple[str, ...] | None, content: Content, order: str, is_flat: bool
) -> None:
    layout = lay_out(width, wanted, content, sorted_by=order, is_flat=is_flat)
    assert layout.name + sum(cells for _, cells in layout.cells) == width
    assert layout.name >= min(width, max(width // 5, 1)) or not layout.cells
    shown = [column.name for column, _ in layout.cells]
    assert len(shown) == len(set(shown))
    assert set(shown) <= {*(default_columns(content.is_live) if wanted is None else wanted), order}
    if wanted is not None:
        assert [name for name in shown if name in wanted] == [name for name in wanted if name in shown]
    if order in BY_NAME and width >= 40:
        assert order in shown
    for name in shown:
        start = layout.start(name)
        assert layout.at(start) is BY_NAME[name]
    assert layout.at(layout.name - 1) is None


@pytest.mark.parametrize("is_live", [False, True], ids=["file", "model"])
def test_at_60_columns_the_names_keep_half_and_a_wider_tree_shows_no_less(is_live: bool) -> None:
    content = Content(shape=12, short_shape=9, dtype=4, is_live=is_live)
    for width in (59, 60):
        assert lay_out(width, None, content).name >= width // 2
    counts = [len(lay_out(width, None, content).cells) for width in (20, 30, 43, 60, 80, 120)]
    assert counts == sorted(counts)
    assert next(column.name for column, _ in lay_out(43, None, content).cells) == "shape"


def test_what_the_columns_need_is_measured_without_shapes_of_many_dimensions() -> None:
    found = content_of(MemorySource({"a": ramp(12345), "b": ramp(3)}).listing.tensors)
    assert found == Content(shape=7, short_shape=5, dtype=3)
    assert content_of(()) == Content()


async def test_a_heading_sorts_by_its_column_and_again_the_other_way_round() -> None:
    source = MemorySource({"a": ramp(3), "b": ramp(9), "c": ramp(5)})
    async with on_stage(source, (120, 36)) as stage:
        tree = stage.screen.tree_view
        x = tree.layout_of_columns.start("shape") + 2
        await stage.pilot.click(tree, offset=(x, 0))
        await stage.until(lambda: stage.names == ["b", "c", "a"], "by size")
        await stage.pilot.click(tree, offset=(x, 0))
        # The column of the numbers is there now, to the left of where the shapes were or in their place.
        await stage.until(lambda: stage.names == ["a", "c", "b"], "the other way round")
        await stage.pilot.click(tree, offset=(4, 0))
        await stage.until(lambda: stage.names == ["a", "b", "c"], "by name")
        assert stage.screen.order.choice.is_default
        await stage.pilot.click(tree, offset=(tree.layout_of_columns.start("spark") + 2, 0))
        await stage.until(lambda: "cannot be sorted" in stage.status, "it says so")


async def test_the_chooser_switches_moves_and_goes_back() -> None:
    async with on_stage(MemorySource(small_model()), (120, 36)) as stage:
        tree = stage.screen.tree_view

        def shown() -> list[str]:
            return [column.name for column, _ in tree.layout_of_columns.cells]

        usual = shown()
        assert usual[:2] == ["shape", "dtype"]
        await stage.send("vertical_line", "J", "enter")  # the first column one place later
        await stage.rest()
        assert shown() == ["dtype", "shape", *usual[2:]]
        await stage.send("vertical_line", "space", "escape")
        await stage.rest()
        assert shown() == ["shape", *usual[2:]]
        await stage.send("vertical_line", "end", "space", "q")
        await stage.rest()
        assert stage.screen.columns.chosen is not None
        await stage.send("vertical_line", "d", "enter")
        await stage.rest()
        assert shown() == usual
        assert stage.screen.columns.chosen is None


async def test_a_column_without_room_is_said_to_have_none() -> None:
    async with on_stage(MemorySource(small_model()), (80, 24)) as stage:
        await stage.send("vertical_line", *["down", "space"] * 12)
        await stage.rest()
        lines = stage.app.screen.query_one(LinesView).lines
        assert any("no room: make the tree wider" in part for line in lines for part, _ in line)
        await stage.send("escape")


async def test_the_choice_is_kept_for_its_kind_of_source(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "cache", 1 << 20, 10)
    chosen = ("std", "shape", "gone since")
    Choices(folder).choose_columns("file", chosen)
    await _until_written(folder)
    async with on_stage(MemorySource(small_model()), (120, 36), choices=Choices(folder)) as stage:
        shown = [column.name for column, _ in stage.screen.tree_view.layout_of_columns.cells]
        assert shown == ["std", "shape"]
        assert "std" in stage.lines[2]


async def _until_written(folder: CacheFolder) -> None:
    import asyncio

    for _ in range(1000):
        if folder.read(FILE) is not None:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it is not written")


def test_choices_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 1 << 20, 10)
    for content in (b"", b"{", b'{"columns": 3}', b'{"columns": {"file": [1]}}', b"\xff" * 9):
        folder.write(FILE, content)
        assert Choices(folder).columns("file") is None
    folder.write(FILE, b'{"columns": {"file": ["std"]}, "of a later version": 1}')
    assert Choices(folder).columns("file") == ("std",)
    assert Choices(folder).columns("model") is None
    assert folder.usage().files == 1
    assert folder.clear().files == 1
    assert Choices(None).columns("file") is None
