"""Values to paste: Python gives them back, CSV and Markdown have the same digits."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.export.snippets import snippet


@given(st.lists(st.lists(st.floats(), min_size=2, max_size=2), min_size=2, max_size=4))
def test_python_gives_the_values_back_at_random(rows: list[list[float]]) -> None:
    text = snippet(rows, "python", ["0"] * len(rows), ["0", "1"])
    assert repr(eval(text)) == repr(rows)


def test_one_row_is_a_list_and_one_value_a_number() -> None:
    assert snippet([[1.5, math.nan]], "python", ["0"], ["0", "1"]) == '[1.5, float("nan")]'
    assert snippet([[7]], "python", [""], [""]) == "7"
    assert snippet([[True]], "python", [""], [""]) == "True"
    assert eval(snippet([[complex(1, math.inf)]], "python", [""], [""])) == complex(1, math.inf)
    assert snippet([[1 + 2j]], "python", [""], [""]) == "(1+2j)"


def test_csv_and_markdown() -> None:
    rows = [[0.1, -math.inf], [1.0, math.nan]]
    assert snippet(rows, "csv", ["3", "4"], ["7", "8"]) == "0.1,-inf\n1.0,nan"
    assert snippet(rows, "markdown", ["3", "4"], ["7", "8"]).splitlines() == [
        "| | 7 | 8 |",
        "| --- | --- | --- |",
        "| 3 | 0.1 | -inf |",
        "| 4 | 1.0 | nan |",
    ]
    assert snippet([[True, False]], "csv", [""], ["0", "1"]) == "1,0"
