"""Tables read back to the same values, and nothing in them is a formula, a row or a column more."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.export import table as tables
from tui_params.core.export.table import Table, Value, table_of

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["=1+1", "'", "-x", "@a", "+", 'a,b\n"c"'])
floats = st.floats()
values = texts | st.integers() | floats | st.booleans() | st.none() | st.lists(st.integers(0, 9)).map(tuple)
rows = st.lists(st.tuples(values, values))


def written(form: str, *rows: tuple[Value, ...], columns: tuple[str, ...] = ("a", "b"), **options: object) -> str:
    pieces = table_of(Table(columns, rows, **options), form).pieces  # type: ignore[arg-type]
    return b"".join(bytes(piece) for piece in pieces).decode()


def cell(value: Value) -> str:
    """What a reader of CSV finds, after it has taken away our apostrophe."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(list(value)) if isinstance(value, tuple) else repr(value)


@given(rows)
def test_csv_reads_back(rows: list[tuple[Value, ...]]) -> None:
    # NUL is an error to the reader of Python 3.10.
    rows = [tuple(v.replace("\0", "") if isinstance(v, str) else v for v in row) for row in rows]
    found = list(csv.reader(io.StringIO(written("csv", *rows), newline="")))
    assert found[0] == ["a", "b"]
    for row, line in zip(rows, found[1:], strict=True):
        for value, got in zip(row, line, strict=True):
            if isinstance(value, str):
                assert not got or got[0] not in "=+-@\t\r\n"
                got = got.removeprefix("'")
            assert got == cell(value)


@given(rows)
def test_json_reads_back(rows: list[tuple[Value, ...]]) -> None:
    page = written("json", *rows, facts={"filter": "x"}, closing=lambda: {"unchecked": 3})
    assert page.isascii()
    found = json.loads(page, parse_constant=lambda word: pytest.fail(word))
    assert (found["filter"], found["columns"], found["unchecked"]) == ("x", ["a", "b"], 3)
    for row, got in zip(rows, found["tensors"], strict=True):
        for value, back in zip(row, got.values(), strict=True):
            if isinstance(value, float) and not math.isfinite(value):
                assert repr(value) == back
            else:
                assert (list(value) if isinstance(value, tuple) else value) == back


@given(rows)
def test_markdown_keeps_its_rows_and_columns(rows: list[tuple[Value, ...]]) -> None:
    lines = written("md", *rows).split("\n")
    assert lines.pop() == ""
    assert lines[:2] == ["| a | b |", "| --- | --- |"]
    assert len(lines) == len(rows) + 2
    for line in lines:
        assert line.replace("\\\\", "").replace("\\|", "").count("|") == 3


def test_formulas_are_text() -> None:
    for words in ("=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "＝1", "'a"):
        assert written("csv", (words, 1)).split("\n", 1)[1].startswith(f'"\'{words}"')
    assert written("csv", ("a=1", -1)) == '"a","b"\n"a=1",-1\n'


def test_lone_surrogates_are_escapes() -> None:
    assert "\\udc80" in written("csv", ("a\udc80", None))
    assert json.loads(written("json", ("a\udc80", None)))["tensors"][0]["a"] == "a\udc80"
    assert "\\udc80" in written("md", ("a\udc80", None))


@pytest.mark.parametrize("form", ["csv", "md", "json"])
def test_it_comes_in_pieces(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_AT_ONCE", 10)
    made: list[int] = []

    def rows() -> object:
        for number in range(100):
            made.append(number)
            yield number, None

    pieces = iter(table_of(Table(("a", "b"), rows()), form).pieces)  # type: ignore[arg-type]
    next(pieces)
    assert len(made) <= 10
    assert b"".join(map(bytes, pieces)).count(b"\n") >= 90
    assert made == list(range(100))


def test_no_rows() -> None:
    assert written("csv") == '"a","b"\n'
    assert json.loads(written("json"))["tensors"] == []
    assert written("md") == "| a | b |\n| --- | --- |\n"
