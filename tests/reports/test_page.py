"""The HTML page: its figures are those of the commands, what is text stays text, and it needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import tui_params
from tests.factories_memory import MemorySource
from tests.factories_names import deepseek_v3_names
from tests.reports import figures
from tests.reports.dom import Node, parse
from tests.reports.sources import HOSTILE, hostile_file, pair, run_folder
from tui_params.api.summarizing import summarize
from tui_params.cli.app import run
from tui_params.core.compare.tracks import Moment, Step, Timeline, Track
from tui_params.core.dtypes import from_safetensors
from tui_params.core.figures import Figures
from tui_params.core.health.checker import Report, Unchecked
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo, describe
from tui_params.core.text import clean
from tui_params.core.tree.tree import Tree
from tui_params.reports.facts import Checked, Facts
from tui_params.reports.markdown import MOST_BYTES, markdown
from tui_params.reports.page import page

MOST_PAGE_BYTES = 2_000_000

# Every element that a page is made of: none of them runs or loads anything.
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "section", "footer", "h1", "h2", "h3", "h4", "small",
    "p", "div", "span", "a", "code", "strong", "wbr", "i", "ul", "li", "dl", "dt", "dd", "table", "thead", "tbody",
    "tr", "th", "td", "figure", "details", "summary", "svg", "path", "text", "circle",
}  # fmt: skip

Json = Callable[..., Any]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Json:
    """The document that a command prints with ``--json``."""

    def document(*arguments: str) -> Any:
        run([*arguments, "--json"])
        return msgspec.json.decode(capsys.readouterr().out)

    return document


def page_of(*targets: Any) -> Node:
    """The page as a tree; it is a whole document."""
    text = tui_params.report(*targets)
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    return parse(text.removeprefix("<!DOCTYPE html>\n"))


def test_two_sources_have_the_figures_of_the_commands(tmp_path: Path, printed: Json) -> None:
    a, b = map(str, pair(tmp_path))
    tree = page_of(a, b)
    figures.compare_difference(tree, printed("diff", a, b))
    problems = tree.one("section", id="problems").all(class_="source")
    for part, path in zip(problems, (a, b), strict=True):
        figures.compare_check(part, printed("check", path))
    figures.compare_listing(tree, printed("ls", b), printed("ls", b, "--kinds"))
    assert figures.compare_statistics(tree, printed("stats", b)) > 100
    matrix = tree.one("section", id="matrix")
    crosses = [path for path in matrix.all("path", class_="bad") if "layers" in path.text]
    assert [path.text for path in crosses] == ["model.layers.1.up.weight: std 1.109; NaN or Inf"]
    assert "3: std 7.2x the median" in tree.one("section", id="kinds").text
    assert "different" in tree.one("header").text


def test_a_run_has_the_figures_of_timeline_and_the_problems_of_its_last_step(tmp_path: Path, printed: Json) -> None:
    folder = str(run_folder(tmp_path / "run"))
    tree = page_of(folder)
    figures.compare_timeline(tree, printed("timeline", folder))
    figures.compare_check(tree.one("section", id="problems").one(class_="source"), printed("check", folder))
    figures.compare_listing(tree, printed("ls", folder), printed("ls", folder, "--kinds"))
    header = tree.one("header").text
    assert "A run of 6 steps, 100 to 1000" in header
    assert "NaN or Inf first at step 900" in header
    assert "not all of the run was read (1)" in header
    picture = tree.one("section", id="timeline").one("svg", class_="lines")
    # Steps stand at their numbers: 300 to 500 is twice as far as 100 to 200 and 200 to 300, and half of 500 to 900.
    ticks = [float(path.attributes["d"][1:].split()[0]) for path in picture.all("path", class_="axis")]
    widths = [round((right - left) / (ticks[1] - ticks[0]), 1) for left, right in pairwise(ticks)]
    assert widths == [1.0, 1.0, 2.0, 4.0, 1.0]
    assert [path.text for path in picture.all("path", class_="lost")] == ["step 200 could not be opened"]
    crosses = [path.text for path in picture.all("path", class_="cross")]
    assert [words.partition(":")[0] for words in crosses] == [
        f"model.layers.1.up.weight, step {step}" for step in (900, 1000)
    ]


def test_names_are_text_wherever_they_stand(tmp_path: Path, printed: Json) -> None:
    path = str(hostile_file(tmp_path / "<b>file&.pt"))
    for targets in ((path,), (path, path), (path, path, path)):
        text = tui_params.report(*targets)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        tree = parse(text.removeprefix("<!DOCTYPE html>\n"))
        assert {node.tag for node in tree if node.tag} <= TAGS
        attributes = {name for node in tree for name in node.attributes}
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "action")]
        assert {node.attributes["href"][0] for node in tree.all(href=None)} <= {"#"}
        for name in HOSTILE:
            assert (clean(name) or "(empty name)") in tree.one("body").text
        assert "<b>file&.pt" in tree.one("header").text
    figures.compare_listing(tree, printed("ls", path), printed("ls", path, "--kinds"))
    figures.compare_statistics(tree, printed("stats", path))


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    text = tui_params.report(pair(tmp_path)[0])
    policy = parse(text.removeprefix("<!DOCTYPE html>\n")).one("meta", http_equiv="Content-Security-Policy")
    assert policy.attributes["content"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert not re.search(r"https?:|//|url\(|@import|<script|<link", text)


def test_what_was_not_read_is_never_healthy() -> None:
    arrays = {f"layers.{n}.w": np.full((4, 4), n + 1.0, np.float32) for n in range(6)}
    source = MemorySource(arrays, broken={"layers.2.w": "the disk is <gone>"}, unreadable={"layers.4.w": "cut"})
    tree = page_of(source)
    header = tree.one("header").text
    assert "2 tensors not checked" in header
    assert not tree.one("header").all(class_="pill ok")
    problems = tree.one("section", id="problems")
    assert "2 tensors could not be checked" in problems.text
    assert "the disk is <gone>" in problems.text
    lost = [path.text for path in tree.one("section", id="matrix").all("path", class_="lost")]
    assert lost == ["not read", "layers.2.w: no std; not read", "layers.4.w: no std; not read"]
    assert "2 of 6 could not be read" in tree.one("section", id="kinds").text
    assert "no findings" in page_of(MemorySource({"w": np.eye(4, dtype=np.float32)})).one("header").text
    nothing = page_of(MemorySource({})).one("header")
    assert "nothing was checked" in nothing.text
    assert not nothing.all(class_="pill ok")


def synthetic(infos: Sequence[TensorInfo], figures_of: Callable[[int], Figures | None]) -> Facts:
    """Facts about tensors that nobody wrote."""
    tree = Tree(listing := Listing("made up", tuple(infos)))
    tensors = tuple(tree.tensors_below(None))
    found = {info.name: one for at, info in enumerate(tensors) if (one := figures_of(at)) is not None}
    unchecked = tuple(Unchecked(info.name, "it is not there") for info in tensors if info.name not in found)
    names = frozenset(info.name for info in tensors)
    report = Report("unchecked" if unchecked else "ok", len(found), (), unchecked, {}, names)
    return Facts((Checked("made up", listing, tree.totals(), tensors, found, report, ()),))


@pytest.fixture(scope="module")
def any_figures() -> Figures:
    summary = summarize(np.array([1.0, 2.5, -3.25], np.float32))
    return Figures(**{name: getattr(summary, name) for name in Figures.__struct_fields__})


def test_ninety_two_thousand_tensors_fold_into_a_small_page(any_figures: Figures) -> None:
    infos = [
        describe(name, shape, from_safetensors(code) or pytest.fail(code)) for name, shape, code in deepseek_v3_names()
    ]
    broken = msgspec.structs.replace(any_figures, nan=1)
    facts = synthetic(infos, lambda at: broken if at == 40_000 else any_figures)
    text = "".join(page(facts))
    assert len(text.encode()) < MOST_PAGE_BYTES
    tree = parse(text.removeprefix("<!DOCTYPE html>\n"))
    assert "the 500 largest of 91,991" in tree.one("section", id="tensors").text
    assert len(tree.one("section", id="kinds").all("tr", data_kind=None)) == 43
    (bad,) = [path for path in tree.one("section", id="matrix").all("path", class_="bad") if "layer" in path.text]
    assert bad.text.endswith("256 tensors: std 2.435; NaN or Inf in 1 of them")


def test_ten_thousand_kinds_with_long_names_stay_within_bounds(any_figures: Figures) -> None:
    dtype = from_safetensors("F32")
    assert dtype is not None
    evil = '<"&\u202e|`@' * 60
    infos = [describe(f"layers.{at % 400}.{at // 4}{evil}.w", (at + 1,), dtype) for at in range(10_000)]
    facts = synthetic(infos, lambda at: any_figures if at % 3 else None)
    text = "".join(page(facts))
    assert len(text.encode()) < MOST_PAGE_BYTES
    assert "the 300 largest of 2,500 kinds" in text
    assert "the first 400 of 400 layers and the first 10 of 2,500 kinds" in text
    assert len(markdown(facts).encode()) < MOST_BYTES


def test_a_run_of_many_steps_stays_within_bounds() -> None:
    facts = synthetic([], lambda _: None)
    for count in (1_900, 2_100):
        steps = tuple(Step(f"checkpoint-{7 * at}", 7 * at) for at in range(count))
        moments = tuple(
            Moment("f32", 4, at % 11 == 5, 0, 1.0 + at % 17, 2.0, max(at - 1, 0), 0.5, 1.0) for at in range(count)
        )
        run = Timeline(steps, tuple(Track(f"layers.{at}.w", (4,), moments) for at in range(80)))
        text = "".join(page(msgspec.structs.replace(facts, timeline=run)))
        assert len(text.encode()) < MOST_PAGE_BYTES
        assert "60 of 80 tensors" in text
        assert ("Norms are not drawn: there are more than 2,000 steps." in text) == (count > 2_000)
        assert "first NaN or Inf: 35" in text or count > 2_000
        assert len(markdown(msgspec.structs.replace(facts, timeline=run)).encode()) < MOST_BYTES
