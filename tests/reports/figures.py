"""Compares the figures in a page with those that the commands print with ``--json``."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.reports.dom import Node
from tui_params.core.kinds import kind_of
from tui_params.core.text import clean

Document = dict[str, Any]


def value(node: Node, name: str) -> float | int | None:
    """A figure of an element; None if it has none."""
    found = node.attributes.get(f"data-{name}")
    return None if found is None else json.loads(found)


def compare_listing(page: Node, listed: Document, kinds: Document) -> None:
    """The totals and the kinds of the last source against ``ls --json`` and ``ls --kinds --json``."""
    totals = page.one("section", id="totals").all(class_="source")[-1]
    for name in ("tensors", "numel", "nbytes"):
        assert value(totals.one("dd", data_figure=name), "value") == listed["totals"][name], name
    types = {node.attributes["data-dtype"]: value(node, "nbytes") for node in totals.all("span", data_dtype=None)}
    assert types == listed["totals"]["dtypes"]
    rows = {row.attributes["data-kind"]: row for row in page.all("tr", data_kind=None, data_nbytes=None)}
    assert set(rows) == {clean(entry["kind"]) for entry in kinds["kinds"]}
    for entry in kinds["kinds"]:
        row = rows[clean(entry["kind"])]
        found = (
            value(row.one("td", data_count=None), "count"),
            value(row.one("td", data_numel=None), "numel"),
            value(row, "nbytes"),
        )
        assert found == (entry["count"], entry["numel"], entry["nbytes"]), entry["kind"]


def compare_statistics(page: Node, stats: Document) -> int:
    """Kinds, tensors and the cells of the matrix against ``stats --json``; how many figures were compared."""
    by_name = {clean(entry["name"]): entry["summary"] for entry in stats["tensors"]}
    compared = 0
    for statistic, field in (("std", "std"), ("absmax", "abs_max")):
        every: dict[str, list[float]] = {}
        for entry in stats["tensors"]:
            if entry["summary"] is not None and entry["summary"][field] is not None:
                every.setdefault(clean(kind_of(entry["name"])), []).append(entry["summary"][field])
        for row in page.all("tr", data_kind=None, data_nbytes=None):
            values = every.get(row.attributes["data-kind"])
            cells = row.all("td", data_statistic=statistic)
            assert [(value(cell, "low"), value(cell, "high")) for cell in cells] == (
                [] if values is None else [(min(values), max(values))]
            )
            compared += len(cells)
    for row in page.one("section", id="tensors").all("tr", data_name=None):
        summary = by_name[row.attributes["data-name"]]
        if summary is None:
            assert "not read" in row.text
            continue
        for name in ("mean", "std", "min", "max", "zeros", "nan"):
            cells = row.all("td", **{f"data_{name}": None})
            assert [value(cell, name) for cell in cells] == ([] if summary[name] is None else [summary[name]]), name
            compared += 1
    for stack in page.all("div", data_stack=None):
        for cell in stack.all("path", data_low=None):
            name, _, _ = cell.one("title").text.rpartition(": std ")
            if name in by_name:
                assert value(cell, "low") == value(cell, "high") == by_name[name]["std"], name
                compared += 1
    return compared


def compare_check(part: Node, check: Document) -> None:
    """The problems of one source against ``check --json``."""
    assert part.attributes["data-status"] == check["status"]
    assert value(part, "checked") == check["checked"]
    assert value(part, "unchecked") == len(check["unchecked"])
    found: Counter[tuple[str, str]] = Counter()
    for node in part.all("li", data_rule=None):
        found[node.attributes["data-severity"], node.attributes["data-rule"]] += int(node.attributes["data-count"])
    assert found == Counter((finding["severity"], finding["rule"]) for finding in check["findings"])


def compare_difference(page: Node, diff: Document) -> None:
    """The comparison against ``diff --json``."""
    counts = page.one(id="counts")
    assert counts.attributes["data-status"] == diff["status"]
    for name in ("changed", "equal", "uncompared", "only_in_a", "only_in_b"):
        assert value(counts, name.replace("_", "-")) == len(diff[name]), name
    assert value(counts, "identical") == diff["identical"]
    for table, entries, key in (("changed-tensors", diff["changed"], "name"), ("changed-kinds", diff["kinds"], "kind")):
        by_name = {clean(entry[key]): entry for entry in entries}
        rows = page.one("table", id=table).all("tr", **{f"data_{key}": None})
        assert rows
        for row in rows:
            entry = by_name[row.attributes[f"data-{key}"]]
            for name in ("max_abs", "relative_l2", "cosine"):
                attribute = name.replace("_", "-")
                cells = row.all("td", **{f"data_{name}": None})
                assert [value(cell, attribute) for cell in cells] == ([] if entry[name] is None else [entry[name]])


def compare_timeline(page: Node, timeline: Document) -> None:
    """The run against ``timeline --json``."""
    part = page.one("section", id="timeline")
    first = timeline["first_broken"]
    broken = [value(node, "first-broken") for node in part.all("ul", data_first_broken=None)]
    assert broken == ([] if first is None else [first["step"]])
    unread = [value(node, "unread") for node in part.all("ul", data_unread=None)]
    assert unread == ([len(timeline["unread"])] if timeline["unread"] else [])
    by_name = {clean(entry["name"]): entry for entry in timeline["tensors"]}
    rows = part.one("table", id="tracks").all("tr", data_name=None)
    assert rows
    for row in rows:
        entry = by_name[row.attributes["data-name"]]
        norms = [None if moment is None else moment["norm"] for moment in entry["moments"]]
        assert json.loads(row.attributes["data-norms"]) == norms
        for name in ("first_broken", "jump", "frozen_since"):
            assert value(row, name.replace("_", "-")) == entry[name]
