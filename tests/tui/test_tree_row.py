"""A row of the tree as a line: its columns stand still, it fits, it tells what is wrong without colour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.factories_memory import MemorySource
from tests.factories_screen import ramp
from tui_params.core.figures import Figures
from tui_params.core.tree import Tree
from tui_params.tui.glyphs import ASCII, UNICODE, Glyphs
from tui_params.tui.themes import INKS
from tui_params.tui.troubles import Mark
from tui_params.tui.widgets.canvas import to_ascii
from tui_params.tui.widgets.tree_row import Columns, RowState, row_line

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
    assert last("w", is_known=False, mark="unreadable").startswith("unread")
    assert last("empty") == "empty"
    assert last("constant") == "=-1.23e-20"[:8]
    assert last("nan") != ""
    assert set(last("w")) <= set("▁▂▃▄▅▆▇█ ")


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
