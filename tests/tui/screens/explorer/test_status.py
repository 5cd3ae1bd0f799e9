"""The header and the status line as functions of a BarState, without a screen."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from tests.factories_memory import MemorySource
from tests.factories_screen import ramp
from tui_params.core.findings import Finding
from tui_params.core.query.query import parse_query
from tui_params.core.reading.scanner import Activity
from tui_params.tui.desk.messages import SweepProgress
from tui_params.tui.screens.explorer.bar_state import BarState, Focus
from tui_params.tui.screens.explorer.status import (
    _first_parts,
    header_lines,
    key_at_status,
    status_lines,
)
from tui_params.tui.state.opened import prepare
from tui_params.tui.state.searching import Found
from tui_params.tui.state.sorting import SortChoice
from tui_params.tui.terminal.glyphs import ASCII, UNICODE
from tui_params.tui.terminal.line import Line

OPENED = prepare(MemorySource({"a.weight": ramp(4, 4), "a.bias": ramp(4)}, label="m.safetensors"))
STATE = BarState(UNICODE, "m.safetensors", OPENED)


def words(lines: list[Line]) -> str:
    return "\n".join("".join(part for part, _ in line) for line in lines)


def header(state: BarState, width: int = 120) -> str:
    return words(header_lines(state, width))


def status(state: BarState, width: int = 120) -> str:
    return words(status_lines(state, width))


def test_a_state_is_frozen() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        STATE.said = "no"  # type: ignore[misc]


def test_until_something_is_open_the_header_says_what_is_being_opened() -> None:
    assert header(BarState(UNICODE, "m.safetensors")) == " m.safetensors\n opening"


def test_the_header_says_what_is_open_and_how_it_is_sorted() -> None:
    assert header(STATE).splitlines()[0].split() == ["m.safetensors", "memory"]
    assert "2 tensors · 20 parameters · 80 B · f32" in header(STATE)
    sorted_ = header(replace(STATE, sort=SortChoice("mean"), sort_read=(1, 2)))
    assert "sorted by mean, 1 of 2 read" in sorted_


def test_the_header_does_not_add_up_several_models() -> None:
    source = MemorySource({"model.w": ramp(4, 4), "consolidated.w": ramp(4, 4)}, label="m")
    source.listing = msgspec.structs.replace(source.listing, models={"model": ("a",), "consolidated": ("b",)})
    assert header(replace(STATE, opened=prepare(source))).splitlines()[1].strip() == "2 tensors in 2 models"


def test_the_header_says_what_is_running() -> None:
    assert "reading 25 %, 3 to go" in header(replace(STATE, activity=Activity("a.weight", 4, 16, 3)))
    assert "50 %" in header(replace(STATE, sweep=SweepProgress(40, 80, 1.0)))
    checking = replace(STATE, sweep=SweepProgress(80, 80, 1.0), is_cross_checking=True)
    assert "cross-checking the tensors" in header(checking)
    assert "99 %" not in header(checking)


def test_the_header_says_what_is_wrong_the_reason_to_reload_first() -> None:
    assert "2 errors so far" in header(replace(STATE, errors=2))
    finding = Finding("warning", "odd-padding", None, "there is something between the tensors")
    source = MemorySource({"a": ramp(3)}, findings=(finding,))
    found = replace(STATE, opened=prepare(source), errors=2)
    assert "~ odd-padding" in header(found)
    assert "odd-padding" not in header(replace(found, stale="it is gone"))
    assert "! it is gone" in header(replace(found, stale="it is gone"))


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, "; R reloads"),
        (120, "; what is shown is the last that was read; R reloads"),
    ],
)
def test_of_a_reason_that_is_too_long_the_first_clause_stays(width: int, expected: str) -> None:
    stale = "the process has ended, or no longer serves its model; what is shown is the last that was read"
    line = header(replace(STATE, stale=stale), width).splitlines()[1]
    assert line.rstrip().endswith(f" ! the process has ended, or no longer serves its model{expected}")
    assert "! the process has ended" in header(replace(STATE, stale=stale), 60)


@pytest.mark.parametrize(
    ("focus", "expected"),
    [
        ("tree", "enter open     / search"),
        ("search", "enter keep  esc clear  ↑↓ earlier"),
        ("slice", "enter to the values"),
        ("values", "↑↓←→ move over the values  home start"),
        ("facts", "v values  s log counts"),
    ],
)
def test_the_status_line_shows_the_keys_that_matter_where_the_focus_is(focus: Focus, expected: str) -> None:
    assert status(replace(STATE, focus=focus)).startswith(f" {expected}")
    plain = status(replace(STATE, focus=focus, glyphs=ASCII))
    assert plain.isascii()


def test_keys_are_shown_as_the_user_has_them() -> None:
    assert " f search" in status(replace(STATE, keys={"search": "f,slash"}))
    assert "enter look in" in status(replace(STATE, is_tensor=True))
    assert "[ next table" not in status(replace(STATE, focus="values"))
    assert "] next table" in status(replace(STATE, focus="values", has_tables=True))


def test_what_is_being_written_stands_before_the_keys() -> None:
    state = replace(STATE, running="writing m-a.weight.npy, 45 %")
    assert status(state).startswith(" writing m-a.weight.npy, 45 %, esc stops   enter ")
    for width in (60, 80, 120):
        line = status(replace(state, running=f"writing {'x' * 40}.npy, 45 %"), width)
        assert len(line) <= width
        assert ", 45 %, esc stops   enter " in line
        assert key_at_status(state, width, status(state, width).index("search")) == "search"
    assert "45 %, Q stops" in status(replace(state, keys={"clear": "Q"}))
    assert key_at_status(state, 120, 5) is None


def test_what_was_said_stands_in_place_of_the_keys_and_the_filter_beside_it() -> None:
    found = Found((0,), 2)
    state = replace(STATE, said="There is nothing here.", query=parse_query("bias"), found=found)
    assert status(state).startswith(" There is nothing here.")
    assert status(state).rstrip().endswith("/bias  1 match, esc clears")
    assert "/bias" not in status(replace(state, is_searching=True))


def test_what_is_wrong_with_a_filter_stands_whole_where_the_note_has_no_room_for_it() -> None:
    state = replace(STATE, query=parse_query("finding:foo"), is_searching=True, focus="search", note_width=10)
    assert status(state, 80).startswith(" no such rule; the choices are error,")
    assert len(status(state, 80)) <= 80
    assert status(replace(state, note_width=1000), 80).startswith(" enter keep")


def test_a_format_that_has_no_room_loses_its_last_parts() -> None:
    words = "newest of 2 steps: safetensors, optimizer, scheduler and rng_state"
    assert _first_parts(words, 80) == words
    assert _first_parts(words, 60) == "newest of 2 steps: safetensors, optimizer, scheduler"
    assert _first_parts(words, 40) == "newest of 2 steps: safetensors"
    assert _first_parts(words, 5) == "newest of 2 steps"
