"""A row of the tree as a line: its columns stand still, it fits, it tells what is wrong without colour."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from rich.cells import cell_len

from tests.factories_memory import MemorySource
from tests.factories_screen import ramp
from tui_params.core import text
from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorKind
from tui_params.core.tree.order import Sort
from tui_params.core.tree.tree import Tree
from tui_params.tui.state.columns import BY_NAME, COLUMNS, content_of, indent, lay_out
from tui_params.tui.state.marks import Mark
from tui_params.tui.terminal.glyphs import ASCII, UNICODE, Glyphs
from tui_params.tui.terminal.themes import INKS
from tui_params.tui.widgets.canvas import to_ascii
from tui_params.tui.widgets.tree.tree_cells import Known
from tui_params.tui.widgets.tree.tree_row import RowState, heading_line, row_line

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
CONTENT = content_of(SOURCE.listing.tensors)
KNOWN: dict[str, Figures] = {
    info.name: SOURCE.summarize(info.name).figures(info.numel) for info in SOURCE.listing.tensors
}


def words(node: int, width: int, glyphs: Glyphs = UNICODE, *, is_known: bool = True, mark: Mark = "") -> str:
    figures = KNOWN.get(TREE.name(node)) if is_known and not TREE.is_module(node) else None
    line = row_line(TREE, node, RowState(True, Known(figures, mark)), width, lay_out(width, None, CONTENT), glyphs)
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
    layout = lay_out(width, None, CONTENT)
    assert layout.name + sum(cells for _, cells in layout.cells) == width
    assert layout.name >= width * 0.4
    assert layout.has("shape") or width < 30
    if layout.has("dtype"):
        start = layout.start("dtype")
        for info in SOURCE.listing.tensors:
            node = TREE.find(info.name)
            assert node is not None
            if not TREE.is_module(node):
                assert words(node, width)[start:].startswith(f" {info.dtype.short} ")


@given(st.integers(0, 400), st.integers(20, 200))
def test_the_indent_leaves_two_thirds_of_the_row(depth: int, width: int) -> None:
    assert indent(depth, width) <= width / 3


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
        return words(node, 60, **options)[lay_out(60, None, CONTENT).start("spark") :].strip()  # type: ignore[arg-type]

    assert last("w", is_known=False) == "·"
    assert last("w", is_known=False, mark="unreadable") == "n/a"
    assert last("empty") == "empty"
    assert last("constant") == "=-1e-20"
    assert last("nan") != ""
    assert set(last("w")) <= set("▁▂▃▄▅▆▇█ ")


@pytest.mark.parametrize("width", [42, 44, 49, 50, 56, 60, 66, 120])
def test_no_word_and_no_number_of_a_cell_is_cut(width: int) -> None:
    layout = lay_out(width, None, CONTENT)
    start = layout.start("spark")
    whole = {"n/a", "equal", "=-1e-20", "=-1.2e-20", "empty", "NaN", "=-4.61e18", "=-4.6e18", "=-5e18"}
    for name in ("constant", "integers", "empty", "nan"):
        for mark, is_known in (("unreadable", False), ("", True)):
            node = TREE.find(name)
            assert node is not None
            assert words(node, width, mark=mark, is_known=is_known)[start:].strip() in whole  # type: ignore[arg-type]
    node = TREE.find("mixed")
    assert node is not None
    start = layout.start("dtype")
    mix = words(node, width)[start : start + 8].strip().split("  ")[0]
    assert mix in ("i64+2", "i64 +2", "i64 f32 +1"[:7])


def test_a_type_that_does_not_fit_beside_others_says_that_it_is_cut() -> None:
    arrays = {"m.a": np.zeros(9, ml_dtypes.float8_e4m3fn), "m.b": ramp(1), "m.c": np.zeros(1, np.int8)}
    source = MemorySource(arrays)
    layout = lay_out(40, None, content_of(source.listing.tensors))
    state = RowState(False, Known())
    line = "".join(part for part, _ in row_line(Tree(source.listing), 0, state, 40, layout, UNICODE))
    assert " f8e…+2 " in line


ORDERS = (
    ("", False),
    ("name", False),
    ("", True),
    ("absmax", False),
    ("absmax", True),
    ("numel", True),
    ("dtype", True),
)


@pytest.mark.parametrize("width", range(20, 131))
def test_under_every_order_rows_and_names_of_columns_fit(width: int) -> None:
    for order, is_flat in ORDERS:
        layout = lay_out(width, None, CONTENT, sorted_by=order, is_flat=is_flat)
        head = "".join(part for part, _ in heading_line(layout, UNICODE, order, is_ascending=False, is_live=True))
        assert cell_len(head) == width
        if order in BY_NAME:
            assert layout.has(order)
        for node in range(len(TREE)):
            figures = KNOWN.get(TREE.name(node)) if not TREE.is_module(node) else None
            value = ("-1.2e-4", "dim") if order in ("absmax", "grad") else None
            state = RowState(True, Known(figures), sorted_by=order, is_flat=is_flat, value=value)
            line = row_line(TREE, node, state, width, layout, UNICODE)
            assert cell_len("".join(part for part, _ in line)) <= width
            assert {style for _, style in line} <= set(INKS)


@pytest.mark.parametrize("name", [column.name for column in COLUMNS])
def test_every_column_fits_and_says_something_of_every_tensor(name: str) -> None:
    for glyphs in (UNICODE, ASCII):
        for width in (30, 60, 120):
            layout = lay_out(width, (name,), CONTENT)
            assert [column.name for column, _ in layout.cells] == [name]
            for node in range(len(TREE)):
                info = TREE.tensor(node)
                if info is None:
                    continue
                known = Known(KNOWN[info.name], owner="Linear")
                line = row_line(TREE, node, RowState(True, known), width, layout, glyphs)
                cell = "".join(part for part, _ in line)[layout.name :]
                assert len(cell) <= width - layout.name
                assert cell.strip() or name == "grad", (name, info.name)
                assert glyphs is UNICODE or "?" not in to_ascii(cell)


def test_the_gradient_column_gives_its_norm_or_the_reason() -> None:
    source = MemorySource({"p": ramp(3), "q": ramp(3)})
    layout = lay_out(60, ("grad",))

    def cell(known: Known, *, requires_grad: bool | None, kind: TensorKind = "parameter") -> str:
        infos = [structs.replace(info, requires_grad=requires_grad, kind=kind) for info in source.listing.tensors]
        tree = Tree(structs.replace(source.listing, tensors=tuple(infos)))
        line = row_line(tree, 0, RowState(False, known), 60, layout, UNICODE)
        return "".join(part for part, _ in line)[layout.name :].strip()

    norm = source.summarize("p").figures(3)
    assert cell(Known(gradient=norm, has_gradient=True), requires_grad=True) == text.number_within(norm.l2_norm, 7)
    assert cell(Known(has_gradient=True), requires_grad=True) == "·"
    assert cell(Known(), requires_grad=True) == "none"
    assert cell(Known(), requires_grad=False) == "frozen"
    assert cell(Known(), requires_grad=None, kind="buffer") == ""


def test_a_module_like_the_one_before_it_is_quiet() -> None:
    tree = Tree(MemorySource({f"layers.{n}.{part}": ramp(3) for n in range(2) for part in "ab"}).listing)
    node = tree.find_module("layers.1")
    assert node is not None
    layout = lay_out(60)
    for is_repeated, style in ((False, "number"), (True, "dim")):
        line = row_line(tree, node, RowState(False, Known(), is_repeated=is_repeated), 60, layout, UNICODE)
        assert [used for part, used in line if part.strip() == "6"] == [style]


def test_a_long_name_uses_the_blanks_of_the_first_column() -> None:
    name = "a_name_of_twenty_nine_letters"
    source = MemorySource({name: ramp(7), "other": np.zeros((12345, 3), np.int8)})
    tree, layout = Tree(source.listing), lay_out(48, None, content_of(source.listing.tensors))
    node = tree.find(name)
    assert node is not None
    line = "".join(part for part, _ in row_line(tree, node, RowState(False, Known()), 48, layout, UNICODE))
    assert layout.name < len(name) + 4 < layout.start("dtype")
    assert f"{name} 7 f32" in line


def test_in_a_flat_list_names_have_the_room() -> None:
    name = "model.layers.10.self_attn.q_proj.weight"
    tree = Tree(MemorySource({name: ramp(3), "model.x": ramp(1)}).listing, Sort(lambda info: info.numel, is_flat=True))

    def row(width: int) -> str:
        layout = lay_out(width, None, content_of(tuple(tree.tensors_below(None))), sorted_by="absmax", is_flat=True)
        state = RowState(False, Known(), sorted_by="absmax", is_flat=True)
        return "".join(part for part, _ in row_line(tree, 0, state, width, layout, UNICODE))

    assert row(42).startswith("   …10.self_attn.q_proj.weight ")
    assert row(62).startswith(f"   {name} ")
    assert row(80).startswith(f"   {name} ")
    assert " [3] f32 " in row(80)


def test_a_hit_is_marked_in_what_is_left_of_a_name() -> None:
    name = "model.layers.10.self_attn.q_proj.weight"
    tree = Tree(MemorySource({name: ramp(3), "model.x": ramp(1)}).listing, Sort(lambda info: info.numel, is_flat=True))
    spans = [(0, 5), (13, 21), (33, 39)]

    def hits(width: int) -> list[str]:
        layout = lay_out(width, ("absmax", "spark"), sorted_by="absmax", is_flat=True)
        state = RowState(False, Known(), spans, sorted_by="absmax", is_flat=True)
        return [part for part, style in row_line(tree, 0, state, width, layout, UNICODE) if style == "hit"]

    assert hits(60) == ["model", "10.self_", "weight"]
    assert hits(42) == ["10.self_", "weight"]  # …10.self_attn.q_proj.weight
    assert hits(36) == ["10.self_"]  # …10.self_attn.q_proj.w
    assert hits(30) == []  # …10.s.q_proj.weight


def test_a_hit_of_the_search_is_marked_in_the_label() -> None:
    node = TREE.find("constant")
    assert node is not None
    line = row_line(TREE, node, RowState(False, Known(), [(0, 4)]), 60, lay_out(60), UNICODE)
    assert ("cons", "hit") in line


@settings(max_examples=150)
@given(st.text(min_size=1, max_size=40).filter(lambda name: "." not in name), st.integers(20, 130))
def test_any_name_fits_and_is_printable(name: str, width: int) -> None:
    source = MemorySource({name: ramp(2), "z.z": ramp(2)}, metadata={f"{name}.note": name})
    tree = Tree(source.listing)
    for node in range(len(tree)):
        state = RowState(True, Known())
        line = "".join(text for text, _ in row_line(tree, node, state, width, lay_out(width), UNICODE))
        assert cell_len(line) <= width
        assert not any(ord(letter) < 32 or letter in "\u202e\u2066\x7f" for letter in line)
