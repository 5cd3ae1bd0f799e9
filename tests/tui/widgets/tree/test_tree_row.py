"""A row of the tree as a line: its columns stand still, it fits, it tells what is wrong without colour."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.factories_memory import MemorySource
from tests.factories_screen import ramp
from tui_params.core.figures import Figures
from tui_params.core.tree.order import Sort
from tui_params.core.tree.tree import Tree
from tui_params.tui.state.marks import Mark
from tui_params.tui.terminal.glyphs import ASCII, UNICODE, Glyphs
from tui_params.tui.terminal.themes import INKS
from tui_params.tui.widgets.canvas import to_ascii
from tui_params.tui.widgets.tree.tree_row import Columns, RowState, heading_line, row_line

DEEP = "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p"


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "w": rng.normal(size=(64, 64)).astype(np.float32),
        "nan": np.full(3, np.nan, np.float32),
        "empty": np.zeros((0, 2), np.float16),
        "constant": np.full(9, -1.2345e-20),
        "integers": np.array([-(2**62), -(2**62)]),
        f"{DEEP}.one": ramp(3),
        f"{DEEP}.two": np.zeros(3, bool),
        "x" * 300: ramp(3),
        "": ramp(1),
        "mixed.a": ramp(3),
        "mixed.b": np.zeros(3, np.float16),
        "mixed.c": np.zeros(3, np.int64),
    }


SOURCE = MemorySource(arrays(), tied_to={"mixed.a": "w"}, metadata={"step": "1" * 500, "note": "a\tb"})
TREE = Tree(SOURCE.listing)
KNOWN: dict[str, Figures] = {
    info.name: SOURCE.summarize(info.name).figures(info.numel) for info in SOURCE.listing.tensors
}


def words(node: int, width: int, glyphs: Glyphs = UNICODE, *, is_known: bool = True, mark: Mark = "") -> str:
    figures = KNOWN.get(TREE.name(node)) if is_known and not TREE.is_module(node) else None
    line = row_line(TREE, node, RowState(True, figures, mark), width, glyphs)
    assert {style for _, style in line} <= set(INKS)
    return "".join(text for text, _ in line)


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("is_known", [True, False], ids=["read", "unread"])
def test_every_row_fits_every_width(glyphs: Glyphs, is_known: bool) -> None:
    over = {
        (width, line)
        for width in range(20, 131)
        for node in range(len(TREE))
        if cell_len(line := words(node, width, glyphs, is_known=is_known)) > width
    }
    assert over == set()


@pytest.mark.parametrize("mark", ["", "error", "warning", "unreadable"])
def test_in_ascii_a_row_is_ascii(mark: Mark) -> None:
    for node in range(len(TREE)):
        for width in (20, 40, 60, 100):
            assert "?" not in to_ascii(words(node, width, ASCII, mark=mark))
            assert "?" not in to_ascii(words(node, width, ASCII, is_known=False, mark=mark))


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 80, 120])
def test_columns_stand_at_the_same_place_in_every_row(width: int) -> None:
    columns = Columns.fit(width)
    assert columns.name + columns.numel + columns.nbytes + columns.dtype + columns.spark <= width
    assert columns.name >= width * 0.3
    if columns.dtype:
        start = columns.name + columns.numel + columns.nbytes
        for info in SOURCE.listing.tensors:
            node = TREE.find(info.name)
            assert node is not None
            if not TREE.is_module(node):
                assert words(node, width)[start:].startswith(f" {info.dtype.short}"[: columns.dtype])


@given(st.integers(0, 400), st.integers(20, 200))
def test_the_indent_leaves_two_thirds_of_the_row(depth: int, width: int) -> None:
    assert Columns.indent(depth, width) <= width / 3


def test_each_mark_is_a_character_and_not_only_a_colour() -> None:
    node = TREE.find("w")
    assert node is not None
    firsts = [words(node, 60, mark=mark)[0] for mark in ("error", "warning", "unreadable", "")]
    assert firsts == ["!", "~", "x", " "]
    tied = TREE.find("mixed.a")
    assert tied is not None
    assert words(tied, 60)[1] == "="


def test_the_last_column_says_what_is_known() -> None:
    def last(name: str, **options: object) -> str:
        node = TREE.find(name)
        assert node is not None
        columns = Columns.fit(60)
        return words(node, 60, **options)[-columns.spark :].strip()  # type: ignore[arg-type]

    assert last("w", is_known=False) == "·"
    assert last("w", is_known=False, mark="unreadable") == "n/a"
    assert last("empty") == "empty"
    assert last("constant") == "=-1e-20"
    assert last("nan") != ""
    assert set(last("w")) <= set("▁▂▃▄▅▆▇█ ")


@pytest.mark.parametrize("width", [40, 42, 49, 50, 56, 60, 66, 120])
def test_no_word_and_no_number_of_a_cell_is_cut(width: int) -> None:
    columns = Columns.fit(width)
    assert columns.spark
    whole = {"n/a", "equal", "=-1e-20", "=-1.2e-20", "empty", "NaN", "=-4.61e18", "=-4.6e18", "=-5e18"}
    for name in ("constant", "integers", "empty", "nan"):
        for mark, is_known in (("unreadable", False), ("", True)):
            node = TREE.find(name)
            assert node is not None
            assert words(node, width, mark=mark, is_known=is_known)[-columns.spark :].strip() in whole  # type: ignore[arg-type]
    start = columns.name + columns.numel + columns.nbytes
    node = TREE.find("mixed")
    assert node is not None
    mix = words(node, width)[start : start + columns.dtype].strip()
    assert mix in ("i64+2", "i64 +2")


def test_a_type_that_does_not_fit_beside_others_says_that_it_is_cut() -> None:
    arrays = {"m.a": np.zeros(9, ml_dtypes.float8_e4m3fn), "m.b": ramp(1), "m.c": np.zeros(1, np.int8)}
    tree = Tree(MemorySource(arrays).listing)
    line = "".join(part for part, _ in row_line(tree, 0, RowState(False, None, ""), 40, UNICODE))
    assert " f8e…+2 " in line


ORDERS = (("", False), ("", True), ("absmax", False), ("absmax", True), ("numel", True), ("dtype", True))


@pytest.mark.parametrize("width", range(20, 131))
def test_under_every_order_rows_and_names_of_columns_fit(width: int) -> None:
    for heading, is_flat in ORDERS:
        value = "-1.2e-4" if heading else ""
        head = "".join(part for part, _ in heading_line(heading, width, is_flat=is_flat))
        assert cell_len(head) <= width
        columns = Columns.fit(width, heading, is_flat=is_flat)
        end = columns.name + columns.numel + columns.nbytes
        assert head[:end].endswith(heading) or not columns.nbytes
        for node in range(len(TREE)):
            state = RowState(True, None, "", value=value, heading=heading, is_flat=is_flat)
            line = "".join(part for part, _ in row_line(TREE, node, state, width, UNICODE))
            assert cell_len(line) <= width
            if columns.nbytes and heading and TREE.tensor(node) is not None:
                assert line[:end].endswith(f" {value}"), (line, columns)


def test_in_a_flat_list_names_have_the_room() -> None:
    name = "model.layers.10.self_attn.q_proj.weight"
    tree = Tree(MemorySource({name: ramp(3), "model.x": ramp(1)}).listing, Sort(lambda info: info.numel, is_flat=True))

    def row(width: int) -> str:
        state = RowState(False, None, "", value="3", heading="absmax", is_flat=True)
        return "".join(part for part, _ in row_line(tree, 0, state, width, UNICODE))

    assert row(42).startswith("   …10.self_attn.q_proj.w ")
    assert row(60).startswith(f"   {name} ")
    assert row(80).startswith(f"   {name} ")
    assert "    3 f32 " in row(80)


def test_a_hit_is_marked_in_what_is_left_of_a_name() -> None:
    name = "model.layers.10.self_attn.q_proj.weight"
    tree = Tree(MemorySource({name: ramp(3), "model.x": ramp(1)}).listing, Sort(lambda info: info.numel, is_flat=True))
    spans = [(0, 5), (13, 21), (33, 39)]

    def hits(width: int) -> list[str]:
        state = RowState(False, None, "", spans, heading="absmax", is_flat=True)
        return [part for part, style in row_line(tree, 0, state, width, UNICODE) if style == "hit"]

    assert hits(60) == ["model", "10.self_", "weight"]
    assert hits(47) == ["10.self_", "weight"]  # …10.self_attn.q_proj.weight
    assert hits(42) == ["10.self_"]  # …10.self_attn.q_proj.w
    assert hits(30) == []  # …10.s.q_proj.weight


def test_a_hit_of_the_search_is_marked_in_the_label() -> None:
    node = TREE.find("constant")
    assert node is not None
    line = row_line(TREE, node, RowState(False, None, "", [(0, 4)]), 60, UNICODE)
    assert ("cons", "hit") in line


@settings(max_examples=150)
@given(st.text(min_size=1, max_size=40).filter(lambda name: "." not in name), st.integers(20, 130))
def test_any_name_fits_and_is_printable(name: str, width: int) -> None:
    source = MemorySource({name: ramp(2), "z.z": ramp(2)}, metadata={f"{name}.note": name})
    tree = Tree(source.listing)
    for node in range(len(tree)):
        line = "".join(text for text, _ in row_line(tree, node, RowState(True, None, ""), width, UNICODE))
        assert cell_len(line) <= width
        assert not any(ord(letter) < 32 or letter in "\u202e\u2066\x7f" for letter in line)
