"""The lines of the detail pane: they fit every width, and in ASCII they are ASCII."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.factories_memory import MemorySource
from tests.factories_screen import ramp
from tui_params.core.dtypes import from_safetensors, unknown
from tui_params.core.figures import Figures
from tui_params.core.findings import Finding
from tui_params.core.health.registry import apply_rules
from tui_params.core.kinds import group_by_kind
from tui_params.core.tensor import TensorInfo, describe
from tui_params.core.tree.totals import Entry
from tui_params.core.tree.tree import Tree
from tui_params.tui.terminal.glyphs import ASCII, UNICODE, Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.terminal.themes import INKS
from tui_params.tui.widgets.canvas import to_ascii
from tui_params.tui.widgets.detail.detail_lines import (
    TensorView,
    entry_lines,
    plot_height,
    summary_line,
    tensor_lines,
)
from tui_params.tui.widgets.detail.module_page import ModuleView, module_lines

WIDTHS = range(20, 131)
LONG = "model.language_model.layers.47.mlp.experts.255.gate_up_projection.weight_scale_inverse"


def plain(lines: list[Line]) -> str:
    return "\n".join("".join(text for text, _ in line) for line in lines)


def figures_of(values: Any, name: str = "a") -> tuple[TensorInfo, Figures]:
    source = MemorySource({name: np.asarray(values)})
    info = source.find(name)
    return info, source.summarize(name).figures(info.numel)


def views() -> dict[str, TensorView]:
    """Tensors of every kind, as the pane knows them."""
    info, figures = figures_of(np.random.default_rng(0).normal(size=(40, 60)).astype(np.float32) * 1e-7, LONG)
    bad, bad_figures = figures_of(np.array([[1e30, np.nan], [np.inf, -np.inf]], np.float32), "bad.weight")
    none, none_figures = figures_of(np.full((2, 2), np.nan, np.float32))
    integers, integer_figures = figures_of(np.array([-(2**63), 2**63 - 1], np.int64))
    unreadable = msgspec.structs.replace(info, unreadable="the shard " + "model-00001-of-00002 " * 20 + "is missing")
    rich = msgspec.structs.replace(
        info,
        kind="parameter",
        requires_grad=True,
        file="model-00001-of-00163.safetensors",
        offset=123456789012,
        device="cuda:7",
        storage_nbytes=1 << 40,
        shape=(1,) * 20 + info.shape,
        notes=("per-channel scale 0.0123 " * 9, "x" * 300, "persistent=False"),
    )
    sampled = msgspec.structs.replace(figures, numel=10**12, is_exact=False)
    return {
        "unread": TensorView(info),
        "reason": TensorView(info, reason="it could not be read: " + "Input/output error" * 12),
        "unreadable": TensorView(unreadable),
        "read": TensorView(info, figures=figures),
        "rich": TensorView(
            rich,
            tied_names=(f"{LONG}.tied", "b"),
            class_name="ColumnParallelLinear" * 4,
            figures=figures,
            findings=(Finding("info", "a", LONG, "a long sentence about it, " * 12),),
            gradient="∇ g shows its gradient",
        ),
        "bad": TensorView(bad, figures=bad_figures, findings=apply_rules(bad, bad_figures), is_tight=True),
        "none": TensorView(none, figures=none_figures, findings=apply_rules(none, none_figures)),
        "integers": TensorView(integers, figures=integer_figures),
        "sampled": TensorView(info, figures=sampled),
        "constant": TensorView(*_constant()),
        "empty": TensorView(*_empty()),
    }


def _constant() -> tuple[Any, ...]:
    info, figures = figures_of(np.full((3, 3), -1.23456789e-30))
    return info, (), None, figures


def _empty() -> tuple[Any, ...]:
    info, figures = figures_of(np.zeros((0, 3), np.float16))
    return info, (), None, figures


VIEWS = views()


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_every_line_of_a_tensor_fits_every_width(name: str, glyphs: Glyphs) -> None:
    over = {
        (width, "".join(text for text, _ in line))
        for width in WIDTHS
        for line in tensor_lines(VIEWS[name], width, glyphs)
        if cell_len("".join(text for text, _ in line)) > width
    }
    assert over == set()


@pytest.mark.parametrize("name", VIEWS)
def test_in_ascii_the_page_of_a_tensor_is_ascii(name: str) -> None:
    view = msgspec.structs.replace(VIEWS[name], gradient="")
    for width in (20, 50, 100):
        assert "?" not in to_ascii(plain(tensor_lines(view, width, ASCII)))


@pytest.mark.parametrize("name", VIEWS)
def test_the_styles_are_those_that_the_theme_colours(name: str) -> None:
    assert {style for line in tensor_lines(VIEWS[name], 60, UNICODE) for _, style in line} <= set(INKS)


def test_what_is_worst_stands_above_the_statistics() -> None:
    page = plain(tensor_lines(VIEWS["bad"], 60, UNICODE)).splitlines()
    place = next(index for index, line in enumerate(page) if "NaN" in line)
    assert place < next(index for index, line in enumerate(page) if line.startswith("mean"))
    assert page[place].startswith("! ")


def test_a_sample_says_so_and_never_calls_itself_exact() -> None:
    page = plain(tensor_lines(VIEWS["sampled"], 80, UNICODE))
    assert "sampled: 2,400 of 1,000,000,000,000 elements (<0.01 %)" in page
    assert "exact, " not in page
    info, figures = VIEWS["sampled"].info, VIEWS["sampled"].figures
    assert summary_line(info, figures).endswith("(sampled)")


def test_a_reason_stands_in_place_of_the_statistics() -> None:
    page = plain(tensor_lines(VIEWS["reason"], 60, UNICODE))
    assert "x it could not be read" in page
    assert "mean" not in page
    assert "reading" not in page


def test_an_unread_tensor_claims_nothing() -> None:
    page = plain(tensor_lines(VIEWS["unread"], 60, UNICODE))
    assert "reading" in page
    assert "exact" not in page


def test_names_are_broken_after_dots() -> None:
    page = plain(tensor_lines(VIEWS["unread"], 40, UNICODE)).splitlines()
    assert page[0].endswith(".")
    assert "".join(page[:3]).startswith(LONG[:60])


@given(st.text(max_size=60), st.integers(20, 130))
@settings(max_examples=150)
def test_any_name_fits_and_is_printable(name: str, width: int) -> None:
    info = msgspec.structs.replace(VIEWS["read"].info, name=name)
    view = msgspec.structs.replace(VIEWS["read"], info=info, tied_names=(name,), reason=name)
    for line in tensor_lines(view, width, UNICODE):
        words = "".join(text for text, _ in line)
        assert cell_len(words) <= width
        assert not any(ord(letter) < 32 or letter in "\u202e\u2066\x7f" for letter in words)
    for line in entry_lines(Entry(name, name * 3), width, UNICODE):
        assert cell_len("".join(text for text, _ in line)) <= width


def module_view(path: str = "m") -> ModuleView:
    arrays = {f"{path}.{LONG}.{number}": ramp(number + 1, 3) for number in range(12)}
    arrays |= {f"{path}.b": np.zeros(3, np.int8), f"{path}.c": np.zeros(4, np.float16)}
    source = MemorySource(arrays)
    tree = Tree(source.listing)
    infos = tuple(source.listing.tensors)
    findings = tuple(
        Finding(severity, "rule", f"{path}.{LONG}.{number}", f"{number} of 1,000 values are NaN")
        for number in range(4)
        for severity in ("error", "warning")
    )
    unread = tuple((info.name, "the disk says no " * 9) for info in infos[:5])
    return ModuleView(path, "ModuleList" * 9, tree.totals(0), infos[:8], findings, unread, 3)


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("path", ["m", LONG], ids=["short", "long"])
def test_every_line_of_a_module_fits_every_width(path: str, glyphs: Glyphs) -> None:
    view = module_view(path)
    over = {
        (width, words)
        for width in WIDTHS
        for line in module_lines(view, width, glyphs)
        if cell_len(words := "".join(text for text, _ in line)) > width
    }
    assert over == set()
    if glyphs.is_ascii:
        for width in (20, 60, 120):
            assert [
                line for line in plain(module_lines(view, width, glyphs)).splitlines() if "?" in to_ascii(line)
            ] == []


def test_a_module_that_was_not_read_is_not_called_healthy() -> None:
    view = msgspec.structs.replace(module_view(), findings=(), unread=(), measured=0)
    page = plain(module_lines(view, 80, UNICODE))
    assert "no tensor below has been read yet" in page
    assert "3 of 14 tensors below have been read so far" in plain(
        module_lines(msgspec.structs.replace(view, measured=3), 80, UNICODE)
    )


@pytest.mark.parametrize("name", ["read", "rich", "integers"])
def test_the_histogram_gets_the_lines_that_are_left(name: str) -> None:
    view = VIEWS[name]
    for width in (33, 59, 110):
        for height in (6, 12, 20, 34, 60):
            rows = plot_height(view, width, height, UNICODE)
            assert rows == 0 or 4 <= rows <= 14
            if height < 8:
                assert rows == 0


def test_the_summary_line_is_one_line_with_everything_that_is_loud() -> None:
    info, figures = VIEWS["bad"].info, VIEWS["bad"].figures
    line = summary_line(info, figures)
    assert line.startswith("bad.weight [2, 2] f32 ")
    assert "1 NaN" in line
    assert "1 +Inf" in line
    assert "1 -Inf" in line
    assert summary_line(info, None) == "bad.weight [2, 2] f32"
    odd = msgspec.structs.replace(info, name="a\nb\x1b")
    assert summary_line(odd, figures).isprintable()


@pytest.mark.parametrize(
    ("code", "shape", "words"),
    [
        ("F4", (4, 16), "stored as [4, 8] bytes, 2 elements in each"),
        ("F6_E2M3", (4, 16), "stored as [4, 12] bytes, 4 elements in every 3"),
        ("F6_E3M2", (4, 3), ""),
        ("F4", (), ""),
        ("F8_E4M3", (4, 16), ""),
    ],
)
def test_packed_elements_say_how_they_are_stored(code: str, shape: tuple[int, ...], words: str) -> None:
    dtype = from_safetensors(code)
    assert dtype is not None
    lines = tensor_lines(TensorView(describe("w", shape, dtype)), 80, UNICODE)
    page = "\n".join("".join(part for part, _ in line) for line in lines)
    assert words in page
    assert ("stored as" in page) is bool(words)


def test_what_is_known_of_a_tensor_in_a_missing_shard() -> None:
    info = TensorInfo("model.a.weight", (), unknown("?"), 0, 0, file="b.safetensors", unreadable="its shard is missing")
    for width in (34, 60, 100):
        page = plain(tensor_lines(TensorView(info), width, UNICODE)).splitlines()
        assert page[:3] == ["model.a.weight", "x its shard is missing", "shape and type unknown"]
        assert not any("0 B" in line or "[]" in line or "element" in line for line in page)
    odd = msgspec.structs.replace(info, dtype=unknown("F128"))
    assert "shape unknown, F128" in plain(tensor_lines(TensorView(odd), 60, UNICODE))


def test_why_a_tensor_cannot_be_read_stands_before_its_shape() -> None:
    page = plain(tensor_lines(VIEWS["unreadable"], 60, UNICODE)).splitlines()
    shape = next(place for place, line in enumerate(page) if line.startswith("[40, 60]"))
    assert any(line.startswith("x the shard") for line in page[:shape])


def test_where_values_are_wrong_stands_behind_what_is_wrong() -> None:
    info, figures = figures_of(ramp(4, 4))
    places = ((0, 1), (2, 3), (3, 0), (3, 1), (3, 2))

    def page(*, count: int, is_tight: bool = False) -> str:
        finding = Finding("error", "nan", "a", f"{count} of 16 values are NaN", places[:count])
        return plain(
            tensor_lines(TensorView(info, (), None, figures, None, (finding,), is_tight=is_tight), 99, UNICODE)
        )

    assert "2 of 16 values are NaN, at [0, 1], [2, 3]\n" in page(count=2)
    assert "3 of 16 values are NaN, at [0, 1], [2, 3], [3, 0]\n" in page(count=3, is_tight=True)
    assert "4 of 16 values are NaN, first at [0, 1], [2, 3], [3, 0]\n" in page(count=4, is_tight=True)
    assert "first at [0, 1], [2, 3], [3, 0], [3, 1], [3, 2]\n" in page(count=5)


def test_a_module_of_entries_counts_entries() -> None:
    source = MemorySource({"m.w": ramp(3)}, metadata={"config.a": "1", "config.b": "2", "m.epoch": "3"})
    tree = Tree(source.listing)
    for name, words in (("config", "2 entries beside the tensors"), ("m", "1 tensor · 3 elements · 12 B · 1 entry")):
        node = tree.find_module(name)
        assert node is not None
        first, last = tree.span(node)
        totals = tree.totals(node)
        view = ModuleView(name, None, totals, (), (), (), 0, last - first - totals.tensors)
        assert plain(module_lines(view, 60, UNICODE)).splitlines()[1] == words


def test_what_says_the_same_below_a_module_is_said_once() -> None:
    view = module_view("m")
    names = [f"m.layers.{number}.w" for number in range(9)]
    findings = tuple(Finding("error", "nan", name, "1 of 9 values is NaN") for name in names)
    unread = tuple((f"m.x{number}", "its shard is missing") for number in range(2000))
    page = plain(module_lines(msgspec.structs.replace(view, findings=findings, unread=unread), 80, UNICODE))
    assert "! layers.#.w × 9: 1 of 9 values is NaN" in page
    assert "x x0 and 999 more: its shard is missing" in page
    assert "and 1,000 more could not be read" in page


def test_the_size_of_a_module_that_is_not_all_known_is_a_least_one() -> None:
    page = plain(module_lines(msgspec.structs.replace(module_view(), has_unknown_sizes=True), 80, UNICODE))
    assert "14 tensors · at least 241 elements" in page


def test_the_page_of_a_module_puts_tensors_of_one_kind_together() -> None:
    arrays = {f"m.layers.{place}.{part}": ramp(2, 3) for place in range(4) for part in ("up", "down")}
    arrays["m.layers.4.up"] = ramp(5)
    infos = MemorySource(arrays).listing.tensors
    tree = Tree(MemorySource(arrays).listing)
    view = ModuleView("m.layers", None, tree.totals(None), (), (), (), 0, kinds=group_by_kind(infos))
    words = ["".join(part for part, _ in line) for line in module_lines(view, 60, UNICODE)]
    at = words.index("Kinds")
    assert words[at + 1].split() == ["#.up", "5", "x", "2", "shapes", "116", "B"]
    assert words[at + 2].split() == ["#.down", "4", "x", "2×3", "96", "B"]
    for width in (20, 26, 40, 120):
        for glyphs in (UNICODE, ASCII):
            for line in module_lines(view, width, glyphs):
                assert cell_len("".join(part for part, _ in line)) <= width
    alone = ModuleView("m", None, tree.totals(None), (), (), (), 0, kinds=group_by_kind(infos[:2]))
    assert not any("Kinds" in part for line in module_lines(alone, 60, UNICODE) for part, _ in line)
