"""The list for a file: exact values under the columns of the tree, and a reason for each that is not known."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import numpy as np

from tests.factories_memory import MemorySource
from tui_params.core.dtypes import DTYPES
from tui_params.core.export.table import table_of
from tui_params.core.tensor import TensorInfo, describe
from tui_params.tui.state.columns import BY_NAME, COLUMNS
from tui_params.tui.state.listed import FIELDS, Row, fields_of, table_of_rows

F32 = next(dtype for dtype in DTYPES if dtype.name == "float32")

ARRAY = np.array([[0.1, -3.0, 0.0], [np.nan, np.inf, 1e-40]], np.float32)


def row_of(array: Any, **known: Any) -> Row:
    source = MemorySource({"x": np.asarray(array)})
    return Row(source.find("x"), source.summarize("x").figures(array.size), **known)


def as_json(columns: tuple[str, ...], *rows: Row) -> dict[str, Any]:
    contents = table_of(table_of_rows(iter(rows), fields_of(columns), len(rows), {"source": "m"}), "json")
    found: dict[str, Any] = json.loads(b"".join(map(bytes, contents.pieces)))
    return found


def test_every_column_has_its_fields() -> None:
    assert set(FIELDS) == {"name", *BY_NAME}
    names = [field.name for fields in FIELDS.values() for field in fields]
    assert len(names) == len(set(names))


def test_numbers_are_exact() -> None:
    row = row_of(ARRAY)
    assert row.figures is not None
    columns = tuple(column.name for column in COLUMNS if column.of_figures is not None and column.name != "grad")
    (found,) = as_json((*columns, "zeros", "subnormals", "spark"), row)["tensors"]
    for name in ("mean", "std", "min", "max", "abs_max", "rms", "l2_norm", "zeros", "subnormals", "nan", "pos_inf"):
        assert found[name] == getattr(row.figures, name), name
    assert (found["nan"], found["pos_inf"], found["neg_inf"], found["zeros"]) == (1, 1, 0, 1)
    assert found["max"] == float(np.float32(0.1))
    assert found["bins"] == list(row.figures.spark)
    assert found["unchecked"] is None


def test_what_is_not_known_is_said() -> None:
    info = describe("a", (2, 3), F32)
    lost = msgspec.structs.replace(describe("b", (), F32), numel=0, unreadable="the shard is missing")
    found = as_json(("shape", "numel", "nbytes", "mean"), Row(info), Row(lost, reason="the shard is missing"))
    first, second = found["tensors"]
    assert first == {
        "name": "a", "shape": [2, 3], "numel": 6, "nbytes": 24, "mean": None, "unchecked": "not read yet",
    }  # fmt: skip
    assert second == {
        "name": "b", "shape": None, "numel": None, "nbytes": None, "mean": None, "unchecked": "the shard is missing",
    }  # fmt: skip
    assert found["unchecked"] == 2
    assert as_json(("mean",), row_of(ARRAY), Row(info))["unchecked"] == 1


def test_without_statistics_nothing_is_called_unchecked() -> None:
    found = as_json(("shape", "dtype"), Row(describe("a", (2, 3), F32)))
    assert found["columns"] == ["name", "shape", "dtype"]
    assert found["unchecked"] is None


def test_gradients() -> None:
    parameter = msgspec.structs.replace(describe("w", (2,), F32), kind="parameter", requires_grad=True)
    buffer: TensorInfo = msgspec.structs.replace(describe("b", (2,), F32), kind="buffer")
    gradient = row_of(ARRAY).figures
    assert gradient is not None
    rows = (
        Row(parameter, has_gradient=True, gradient=gradient, owner="Linear"),
        Row(parameter, has_gradient=True),
        Row(parameter),
        Row(buffer),
    )
    found = as_json(("trainable", "grad", "module", "device"), *rows)["tensors"]
    assert [row["has_grad"] for row in found] == [True, True, False, None]
    assert [row["grad_l2_norm"] for row in found] == [gradient.l2_norm, None, None, None]
    assert [row["grad_non_finite"] for row in found] == [2, None, None, None]
    assert [row["requires_grad"] for row in found] == [True, True, True, None]
    assert [row["module"] for row in found] == ["Linear", None, None, None]


def test_in_csv_and_markdown() -> None:
    def page(form: str, *, is_drawn: bool = False) -> str:
        fields = fields_of(("shape", "spark"), is_drawn=is_drawn)
        pieces = table_of(table_of_rows(iter([row_of(ARRAY)]), fields, 1, {}), form).pieces
        return b"".join(map(bytes, pieces)).decode()

    (found,) = csv.DictReader(io.StringIO(page("csv")))
    assert found["shape"] == "[2, 3]"
    assert json.loads(found["bins"])
    assert found["unchecked"] == ""
    assert page("md", is_drawn=True).startswith("| name | shape | values | unchecked |\n")
