"""A source as a Python collection: what it says of itself, its tensors as dicts, and as a table."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
import torch
from rich.console import Console

from tests.factories_memory import MemorySource
from tui_params import open_source
from tui_params.core import table_lines
from tui_params.core.source import Listing
from tui_params.core.table_lines import FIRST, LAST
from tui_params.core.tensor import TensorInfo, describe
from tui_params.core.tensor_table import FIGURES, TensorTable
from tui_params.core.tree.tree import Tree

HOSTILE = (
    "<script>alert(1)</script>",
    "[bold red]x[/]",
    ":smile:",
    "\x1b[31mred\x07",
    "a\nb",
    '"&',
    "\u202ereversed",
    "$x$",
)


def ones(*names: str) -> dict[str, Any]:
    return {name: np.ones((2, 3), np.float32) for name in names}


def printed(source: object, width: int = 100) -> str:
    """What rich prints on a terminal of so many columns."""
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=True, color_system=None, emoji=True).print(source)
    return stream.getvalue()


class Page(HTMLParser):
    """The tags of an HTML fragment in order, and the text of each cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert self.opened == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.rows and self.opened[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_a_source_is_a_collection_of_its_tensors() -> None:
    source = MemorySource(ones("b.10", "b.2", "a"), is_ordered=False)
    assert len(source) == 3
    assert source.names() == ["a", "b.2", "b.10"]
    assert list(source) == list(source.tensors)
    assert "b.2" in source
    assert source.find("b.2") in source
    assert "b" not in source
    assert describe("b.2", (1,), source.find("a").dtype) not in source  # another tensor of that name
    assert 3 not in source
    assert None not in source


@pytest.mark.parametrize("is_ordered", [True, False])
def test_the_order_is_that_of_the_tree(is_ordered: bool) -> None:
    names = ("x.10.w", "x.2.w", "y", "x.10.b", "x", "", "x..w", "Z.1")
    source = MemorySource(ones(*names), is_ordered=is_ordered, metadata={"x.2.step": "3", "a": "b"})
    assert source.names() == [info.name for info in Tree(source.listing).tensors_below(None)]


def test_the_repr_says_what_it_is_and_how_large() -> None:
    arrays = {**ones("a", "tied", "broken"), "steps": np.array(3, np.int64)}
    source = MemorySource(arrays, tied_to={"tied": "a"}, unreadable={"broken": "it is cut short"}, label="my\x1bmodel")
    assert repr(source) == "<Source my\\x1bmodel: memory; 4 tensors, 13 parameters, 56 B, 1 cannot be read>"
    source.close()
    assert repr(source).startswith("<Source my")
    assert repr(MemorySource({})) == "<Source memory: memory; 0 tensors, 0 parameters, 0 B>"
    assert repr(MemorySource.__new__(MemorySource)) == "<Source that could not be opened>"


def test_the_repr_agrees_with_the_tree_about_a_model() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    model[0].bias = model[1].bias
    source = open_source(model)
    totals = Tree(source.listing).totals()
    assert f"{totals.tensors} tensors, {totals.parameters} parameters, {totals.buffers} in buffers" in repr(source)
    assert f"{totals.nbytes} B" in repr(source)


def test_unknown_sizes_are_not_passed_over() -> None:
    source = MemorySource(ones("a", "b"))
    lost = msgspec.structs.replace(source.find("b"), shape=(), numel=0, nbytes=0, unreadable="its shard is missing")
    source.listing = Listing("memory", (source.find("a"), lost))
    assert "2 tensors, at least 6 parameters, at least 24 B, 1 cannot be read" in repr(source)
    source.listing = Listing("memory", (source.find("a"),), unlisted="its shards name 3 tensors that are not there")
    assert "1 tensor, at least 6 parameters, at least 24 B>" in repr(source)


def test_a_gradient_is_found_but_not_listed() -> None:
    model = torch.nn.Linear(3, 2)
    model(torch.ones(3)).sum().backward()
    source = open_source(model)
    assert "weight.grad" in source
    assert source.names() == ["weight", "bias"]
    assert len(source) == 2


def test_dicts_are_plain_and_complete() -> None:
    source = MemorySource(
        {"w": np.ones((2, 3), ml_dtypes.bfloat16), "tied": np.ones((2, 3), ml_dtypes.bfloat16), "s": np.array(1.0)},
        tied_to={"tied": "w"},
        unreadable={"s": "it is cut short"},
    )
    rows = source.tensors.to_dicts()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert rows[0] == {
        "name": "w", "shape": [2, 3], "dtype": "bf16", "numel": 6, "nbytes": 12, "kind": "tensor",
        "requires_grad": None, "device": None, "tied_to": None, "file": None, "unreadable": None,
    }  # fmt: skip
    assert [row["tied_to"] for row in rows] == [None, "w", None]
    assert (rows[2]["shape"], rows[2]["unreadable"]) == ([], "it is cut short")
    assert source.elements_read == 0
    model = open_source(torch.nn.Linear(3, 2)).tensors.to_dicts()
    assert [(row["kind"], row["requires_grad"], row["device"]) for row in model] == [("parameter", True, "cpu")] * 2


def test_dicts_with_figures_are_those_of_summarize() -> None:
    values = np.array([1, -2, np.nan, np.inf, 0], np.float32)
    source = MemorySource(
        {"a": values, "tied": values, "empty": np.zeros((0, 3), np.float32), "whole": np.arange(4)},
        tied_to={"tied": "a"},
    )
    rows = {row["name"]: row for row in source.tensors.to_dicts(figures=True)}
    for info in source:
        expected = source.summarize(info.name).figures(info.numel)
        assert {name: rows[info.name][name] for name in FIGURES} == {name: getattr(expected, name) for name in FIGURES}
        assert rows[info.name]["unchecked"] is None
    assert (rows["a"]["nan"], rows["a"]["pos_inf"], rows["a"]["min"], rows["empty"]["min"]) == (1, 1, -2, None)
    assert json.loads(json.dumps(list(rows.values()), allow_nan=False)) == list(rows.values())


def test_only_the_figures_that_are_asked_for_are_there() -> None:
    source = MemorySource(ones("a", "b"))
    plain = set(source.tensors.to_dicts()[0])
    assert set(source.tensors.to_dicts(figures=("std", "mean", "std"))[0]) - plain == {"mean", "std", "unchecked"}
    assert set(source.tensors.to_dicts(figures="nan")[0]) - plain == {"nan", "unchecked"}
    assert set(source.tensors.to_dicts(figures=[])[0]) == plain
    for wrong in (("median",), "means", ("std", "")):
        with pytest.raises(ValueError, match=r"there is no figure '.*'; the figures are count, finite, nan, "):
            source.tensors.to_dicts(figures=wrong)


def test_a_tensor_that_cannot_be_read_has_a_reason_and_no_figures() -> None:
    source = MemorySource(ones("a", "b", "c"), unreadable={"b": "it is cut short"}, broken={"c": "the disk is gone"})
    a, b, c = source.tensors.to_dicts(figures=("mean",))
    assert (a["mean"], a["unchecked"]) == (1, None)
    assert b["mean"] is c["mean"] is None
    assert "it is cut short" in b["unchecked"]
    assert "the disk is gone" in c["unchecked"]


def test_a_slice_is_a_table_and_reads_only_its_own() -> None:
    source = MemorySource(ones("a", "b", "c"), broken={"c": "nobody may read this"})
    table = source.tensors[:2]
    assert isinstance(table, TensorTable)
    assert [info.name for info in table] == ["a", "b"]
    assert [row["unchecked"] for row in table.to_dicts(figures=("std",))] == [None, None]
    assert isinstance(source.tensors[-1], TensorInfo)
    assert len(source.tensors[5:]) == 0
    with pytest.raises(IndexError):
        source.tensors[3]


def test_a_long_table_shows_both_ends_and_how_many_are_between() -> None:
    source = MemorySource({f"x.{number}": np.zeros(1, np.int8) for number in range(1234 + FIRST + LAST)})
    text, page = repr(source.tensors).splitlines(), Page(source.tensors._repr_html_())
    assert len(text) == len(page.rows) == 1 + FIRST + 1 + LAST
    assert text[1 + FIRST] == page.rows[1 + FIRST][0] == "… 1,234 more"
    assert text[FIRST].startswith(f"x.{FIRST - 1} ")
    assert text[-1].startswith(f"x.{len(source) - 1} ")
    assert page.rows[-1][:2] == [f"x.{len(source) - 1}", "[1]"]
    whole = repr(source.tensors[: FIRST + LAST])
    assert "more" not in whole
    assert len(whole.splitlines()) == 1 + FIRST + LAST
    assert "… 1 more" in repr(source.tensors[: FIRST + LAST + 1])


def test_rich_prints_the_summary_and_the_table() -> None:
    source = MemorySource(ones("layer.weight", "tied"), tied_to={"tied": "layer.weight"})
    lines = printed(source).splitlines()
    assert lines[0] == "memory: memory; 2 tensors, 6 parameters, 24 B"
    assert lines[1].split() == ["name", "shape", "dtype", "numel", "size", "note"]
    assert lines[2].split() == ["layer.weight", "[2,", "3]", "f32", "6", "24", "B"]
    assert lines[3].endswith("= layer.weight")
    assert printed(source.tensors).splitlines() == lines[1:] == repr(source.tensors).splitlines()


@pytest.mark.parametrize("width", [1, 2, 10, 20, 40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    names = ("model.layers.11.post_attention_layernorm.weight", "層" * 40, "e\u0301" * 70, "", *HOSTILE)
    source = MemorySource(ones(*names, "tied"), tied_to={"tied": names[0]}, unreadable={"": "it is cut short " * 40})
    lines = list(source.tensors.lines(width))
    assert max(table_lines._cells(line) for line in lines) <= width
    assert len(lines) == len(source) + 1
    assert len(printed(source.tensors, width).splitlines()) == len(lines)
    if width >= 60:
        assert any("11." in line for line in lines)  # the number of the layer tells names apart
        assert [line for line in lines if "!" in line]


def test_names_of_a_file_are_neither_markup_nor_control_characters() -> None:
    source = MemorySource(ones(*HOSTILE), label="<b>label</b>", unreadable={'"&': "<img src=x onerror=alert(1)>"})
    shown = printed(source, 200)
    assert {"[bold red]x[/]", ":smile:", "<script>alert(1)</script>", "$x$"} <= set(
        shown.replace("  ", "\n").split("\n")
    )
    assert shown.replace("\n", "").isprintable()
    assert repr(source.tensors).replace("\n", "").isprintable()
    html = source._repr_html_()
    page = Page(html)
    assert page.tags == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert page.attributes == {"class", "style"}
    assert html.isprintable()
    assert {"<script>alert(1)</script>", "\\x1b[31mred\\x07", "$x$"} <= {row[0] for row in page.rows}
    assert "<b>label</b>" not in html
    assert "mathjax_ignore" in html
    assert any(row[-1] == "! <img src=x onerror=alert(1)>" for row in page.rows)


def test_an_empty_source_says_so() -> None:
    source = MemorySource({})
    assert repr(source.tensors) == "no tensors"
    assert "no tensors" in source._repr_html_()
    assert printed(source).splitlines()[1] == "no tensors"
    assert source.tensors.to_dicts(figures=True) == []


def test_what_nobody_knows_has_no_column_and_a_model_says_what_is_trainable() -> None:
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    lines = repr(open_source(model).tensors).splitlines()
    assert lines[0].split() == ["name", "shape", "dtype", "numel", "size", "requires_grad"]
    assert [line.split()[-1] for line in lines[1:]] == ["True", "False"]
    assert "requires_grad" not in repr(MemorySource(ones("a")).tensors)
    assert "requires_grad" not in repr(open_source(model.state_dict()).tensors)  # detached, trainable or not


def test_many_names_are_listed_without_reading_a_value() -> None:
    dtype = MemorySource(ones("a")).find("a").dtype
    infos = tuple(describe(f"layers.{number // 10}.w{number % 10}", (2,), dtype) for number in range(92_000))
    source = MemorySource({})
    source.listing = Listing("memory", infos)
    assert len(source) == len(source.names()) == 92_000
    assert "… 91,970 more" in repr(source.tensors)
    assert "layers.9199.w9" in source
