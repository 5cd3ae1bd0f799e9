"""The search bar: the filter language on screen, while it is typed and while figures arrive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from textual.widgets import Input, Static

from tests.factories_memory import MemorySource
from tests.factories_screen import GatedSource, Stage, eventually, on_stage, ramp, small_model
from tui_params.cache.choices import Choices
from tui_params.cache.folder import CacheFolder
from tui_params.tui.state.searches import MOST, Searches


def kept(stage: Stage) -> list[str]:
    """The names of the visible tensors."""
    opened, rows = stage.screen.opened, stage.screen.tree_view.rows
    assert opened is not None
    assert rows is not None
    return [opened.tree.name(node) for node in rows.visible if opened.tree.tensor(node) is not None]


async def search(stage: Stage, words: str) -> None:
    """Write a filter and let it apply."""
    await stage.send("slash")
    stage.screen.search.query_one(Input).value = words
    await stage.rest()


LAYERS = (0, 2, 10)


FILTERS: tuple[tuple[str, list[str]], ...] = (
    ("bias", [f"layers.{layer}.attn.bias" for layer in LAYERS]),
    ("BIAS", [f"layers.{layer}.attn.bias" for layer in LAYERS]),
    ("layers.2.*", ["layers.2.attn.weight", "layers.2.attn.bias", "layers.2.mlp.weight"]),
    ("layers.*.mlp.*", [f"layers.{layer}.mlp.weight" for layer in LAYERS]),
    ("/^embed|steps$", ["embed.weight", "steps"]),
    ("!layers", ["embed.weight", "norm.weight", "steps"]),
    ("weight !layers", ["embed.weight", "norm.weight"]),
    ("dtype:bf16", ["norm.weight"]),
    ("dtype:int", ["steps"]),
    ("numel>100 !mlp", ["embed.weight"]),
    ("nan>0", ["layers.2.mlp.weight"]),
    ("zeros=100%", ["layers.10.mlp.weight"]),
    ("no such name", []),
)


async def test_what_a_filter_leaves() -> None:
    async with on_stage() as stage:
        for words, expected in FILTERS:
            await search(stage, words)
            assert kept(stage) == expected, words
            assert stage.matching == len(expected), words
            assert f"{len(expected)} of 12" in str(stage.screen.query_one("#search-note", Static).visual), words


async def test_nothing_matches_and_no_key_harms() -> None:
    async with on_stage() as stage:
        await search(stage, "no such name")
        assert "no tensor matches" in stage.text
        await stage.press(
            "enter", "down", "v", "escape", "y", "Y", "e", "n", "p", "J", "left_square_bracket", "G", "space"
        )
        assert stage.app.is_running


async def test_q_and_other_keys_typed_into_a_search_are_letters() -> None:
    async with on_stage(MemorySource({"q_proj": ramp(3), "k_proj": ramp(3)})) as stage:
        await stage.send("slash")
        await stage.type("q")
        await stage.rest()
        assert stage.app.is_running
        assert kept(stage) == ["q_proj"]
        await stage.type("?:zgvRyYnNEC<>")
        assert stage.screen.search.text == "q?:zgvRyYnNEC<>"
        assert stage.app.is_running
        assert stage.screen.session.generation == 1
        assert stage.app.screen is stage.screen


async def test_enter_keeps_the_filter_and_escape_clears_it() -> None:
    async with on_stage() as stage:
        everything = stage.names
        await search(stage, "bias")
        await stage.press("enter")
        assert not stage.screen.search.display
        assert stage.screen.tree_view.has_focus
        assert len(kept(stage)) == 3
        assert "/bias" in stage.status
        assert "3 match" in stage.status
        await stage.press("slash")
        assert stage.screen.search.text == "bias"
        await stage.press("escape")
        assert stage.names == everything
        assert "/bias" not in stage.status


async def test_the_cursor_keeps_its_tensor_through_a_filter() -> None:
    async with on_stage() as stage:
        await stage.go("layers.10.attn.weight")
        await search(stage, "attn")
        assert stage.cursor == "layers.10.attn.weight"
        await search(stage, "weight")
        assert stage.cursor == "layers.10.attn.weight"
        await stage.press("escape")
        assert stage.cursor == "layers.10.attn.weight"
        assert "weight" in stage.row("layers.10.attn.weight")
        await search(stage, "layers.2")
        assert (stage.cursor or "").startswith("layers.2.")
        assert stage.facts.startswith(stage.cursor or "?")


async def test_what_was_closed_before_a_search_is_closed_after_it() -> None:
    async with on_stage() as stage:
        await stage.press("C")
        await search(stage, "bias")
        assert len(kept(stage)) == 3
        await stage.press("escape")
        assert [name for name in stage.names if name.count(".") > 1] == []


@pytest.mark.parametrize(("down", "up"), [("pagedown", "pageup"), ("shift+down", "shift+up")])
async def test_the_page_keys_move_over_the_matches_while_typing(down: str, up: str) -> None:
    async with on_stage() as stage:
        await search(stage, "bias")
        first = stage.cursor
        await stage.press(down, down)
        assert stage.cursor != first
        await stage.press(up, up)
        assert stage.cursor == first
        assert stage.screen.query_one("#search-text", Input).has_focus


async def test_the_arrows_walk_through_the_searches_of_before_and_back_to_what_was_typed(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 1 << 20, 10)
    async with on_stage(choices=Choices(folder)) as stage:
        for words in ("bias", "mlp dtype:f32"):
            await search(stage, words)
            await stage.press("enter")
        await search(stage, "dropped")
        await stage.press("escape")
    await eventually(lambda: len(Choices(folder).searches) == 2, "they are kept")
    async with on_stage(choices=Choices(folder)) as stage:
        await stage.send("slash")
        await stage.type("layers")
        field = stage.screen.query_one("#search-text", Input)
        for key, words in (
            ("up", "mlp dtype:f32"),
            ("up", "bias"),
            ("up", "bias"),
            ("down", "mlp dtype:f32"),
            ("down", "layers"),
            ("down", "layers"),
        ):
            await stage.press(key)
            assert field.value == words
            assert field.cursor_position == len(words)
        await stage.press("up", "up")
        assert stage.matching == 3
        await stage.type("x")
        assert field.value == "biasx"
        await stage.press("up")
        assert field.value == "mlp dtype:f32"
        await stage.press("down")
        assert field.value == "biasx"


def test_a_search_is_kept_once_and_their_number_is_bounded() -> None:
    told: list[tuple[str, ...]] = []
    searches = Searches((), lambda texts: told.append(tuple(texts)))
    for words in ("a", "b", "a", "a", " ", ""):
        searches.add(words)
    assert told == [("a",), ("a", "b"), ("b", "a")]
    for number in range(2 * MOST):
        searches.add(f"{number}")
    assert len(told[-1]) == MOST
    assert told[-1][-1] == f"{2 * MOST - 1}"
    assert Searches(("a",)).step(-1, "a") is None  # it stands there already
    assert Searches(()).step(-1, "x") is None
    assert Searches(("a",)).step(1, "x") is None


async def test_hits_are_underlined_in_the_rows() -> None:
    async with on_stage() as stage:
        await search(stage, "bias")
        tree = stage.screen.tree_view
        underlined = [
            part.text for y in range(12) for part in tree.render_line(y) if part.style and part.style.underline
        ]
        assert set(underlined) == {"bias"}
        assert len(underlined) >= 2  # the row of the cursor has a bar instead


WRONG = ("dtipe:bf16", "numel>many", "/a(", "shape:x", "nan>", 'x "', "!", "numel>>1", "std>")


async def test_a_wrong_term_says_why_and_the_rest_applies() -> None:
    async with on_stage() as stage:
        for words in WRONG:
            await search(stage, f"bias {words}")
            query = stage.screen.filter.query
            assert query is not None
            errors = query.errors
            note = str(stage.screen.query_one("#search-note", Static).visual)
            if errors:
                assert note[:20] == errors[0].message[:20], words
                assert set(kept(stage)) <= {f"layers.{layer}.attn.bias" for layer in LAYERS}, words
                assert bool(stage.screen.search._underline.spans) is not errors[0].is_unfinished, words
        await stage.press("enter", "escape")
        assert len(kept(stage)) == 12


async def test_the_part_that_is_wrong_is_underlined() -> None:
    async with on_stage() as stage:
        await search(stage, "bias dtipe:bf16")
        field = stage.screen.query_one("#search-text", Input)
        strip = field.render_line(0)
        underlined = "".join(part.text for part in strip if part.style is not None and part.style.underline)
        assert underlined.strip()
        assert underlined.strip() in "dtipe:bf16"
        assert "dtype" in str(stage.screen.query_one("#search-note", Static).visual)
        await stage.press(*["backspace"] * 10)
        assert not stage.screen.query_one("#search-note", Static).has_class("wrong")


async def test_matches_on_statistics_grow_while_figures_arrive() -> None:
    arrays = {f"layer{number}": ramp(4) for number in range(6)}
    arrays["layer4"][2] = np.nan
    arrays["layer1"][0] = np.nan
    source = GatedSource(arrays, ("layer3", "layer4", "layer5"))
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(source.started["layer3"].is_set, "layer3 is being read")
        await stage.send("slash")
        await stage.type("nan>0")
        await stage.until(lambda: kept(stage) == ["layer1"], "what is known")
        assert "3 not read yet" in str(stage.screen.query_one("#search-note", Static).visual)
        source.open_gates()
        await stage.until(lambda: kept(stage) == ["layer1", "layer4"], "what came")
        await stage.rest()
        assert "not read" not in str(stage.screen.query_one("#search-note", Static).visual)


async def test_what_cannot_be_read_is_not_said_to_be_still_coming() -> None:
    source = MemorySource({"a": ramp(3), "b": ramp(3)}, broken={"b": "the disk says no"})
    async with on_stage(source) as stage:
        await search(stage, "nan>0")
        note = str(stage.screen.query_one("#search-note", Static).visual)
        assert "0 of 2" in note
        assert "reading" not in stage.text


async def test_unreadable_tensors_elsewhere_do_not_hide_that_more_is_coming() -> None:
    arrays = {name: ramp(4) for name in ("b0", "b1", "b2", "b3", "a")}
    arrays["a"][2] = np.nan
    broken = {name: "the disk says no" for name in arrays if name != "a"}
    source = GatedSource(arrays, ("a",), broken=broken)
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(source.started["a"].is_set, "a is being read")
        await stage.until(lambda: stage.row("b3").startswith("x"), "the others have failed")
        await stage.send("slash")
        stage.screen.search.query_one(Input).value = "nan>0 a"
        await stage.until(lambda: "0 of 5" in stage.text, "the note")
        assert "1 not read yet" in stage.text
        source.open_gates()
        await stage.until(lambda: kept(stage) == ["a"], "what came")


async def test_a_filter_is_applied_to_what_a_reload_brings() -> None:
    opened: list[MemorySource] = []

    def open_it() -> MemorySource:
        arrays = small_model()
        if opened:
            arrays["late.bias"] = ramp(3)
        opened.append(MemorySource(arrays))
        return opened[-1]

    async with on_stage(open_it) as stage:
        await search(stage, "bias")
        await stage.press("enter", "R")
        await stage.until(lambda: stage.screen.session.generation == 2, "opened again")
        await stage.rest()
        assert "late.bias" in kept(stage)
        assert len(kept(stage)) == 4


async def test_markup_and_control_characters_in_a_filter_are_text() -> None:
    async with on_stage() as stage:
        await stage.send("slash")
        field = stage.screen.query_one("#search-text", Input)
        for words in ("[bold]x[/bold]", "[/", "a\x1bb", "x" * 3000, "\u202e", "$(rm)", "[red]:1", "numel>[b]"):
            field.value = words
            await stage.rest()
            assert stage.app.is_running
            assert "\x1b" not in stage.text
        await stage.press("enter", "escape")
        assert len(kept(stage)) == 12


def note(stage: Stage) -> str:
    return str(stage.screen.query_one("#search-note", Static).visual)


async def test_findings_by_severity_before_and_after_a_check_of_everything() -> None:
    kinds = {f"layers.{place}.w": ramp(8, 8) for place in range(7)} | {"layers.7.w": 1e3 * ramp(8, 8)}
    async with on_stage(MemorySource({**small_model(), **kinds}), (80, 24)) as stage:
        await search(stage, "finding:error")
        assert kept(stage) == ["layers.2.mlp.weight", "layers.10.mlp.weight"]
        assert "2 of 20, S may find more" in note(stage)
        await search(stage, "finding:std-of-kind")
        assert "no match so far: S may find more" in stage.text
        await stage.press("enter")
        assert "0 match so far, S may find more" in stage.status
        await stage.press("S")
        assert kept(stage) == ["layers.7.w"]
        assert "1 match, esc clears" in stage.status
        await search(stage, "finding:shape-of-kind")
        assert "no tensor matches" in stage.text


async def test_a_rule_that_there_is_not_is_underlined_and_what_there_is_stands_below() -> None:
    async with on_stage(size=(80, 24)) as stage:
        await search(stage, "bias finding:foo")
        assert [tuple(span) for span in stage.screen.search._underline.spans] == [(13, 16)]
        assert note(stage) == "no such rule"
        assert stage.status.startswith(" no such rule; the choices are error, warning, info, nan, inf, all-zero, ")
        assert len(kept(stage)) == 3
        await stage.press(*["backspace"] * 12)
        assert "no such rule" not in stage.text


async def test_a_kept_filter_says_what_it_does_not_know_yet() -> None:
    arrays = {f"layer{number}": ramp(4) for number in range(6)}
    source = GatedSource(arrays, ("layer3",), broken={"layer5": "the disk says no"})
    async with on_stage(source, (80, 24), is_settled=False) as stage:
        await stage.until(source.started["layer3"].is_set, "layer3 is being read")
        await stage.send("slash")
        stage.screen.search.query_one(Input).value = "std>9"
        await stage.until(lambda: "no match so far:" in stage.text, "nothing is sure")
        await stage.send("enter")
        assert "0 match so far, " in stage.status
        assert "no tensor matches" not in stage.text
        source.open_gates()
        await stage.rest()
        assert "0 match, 1 cannot tell" in stage.status
        assert "no match, but 1 tensor cannot be read" in stage.text
