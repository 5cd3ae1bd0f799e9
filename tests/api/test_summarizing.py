"""``summarize``: tensors, arrays, and tensors of whatever can be opened; against numpy and torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import tui_params
from tui_params.core.dtypes import DTYPES, numpy_dtype
from tui_params.core.tensor_summary import TensorSummary
from tui_params.errors import ReadError, UnknownTensorError

TYPES = [dtype for dtype in DTYPES if dtype.numpy is not None and not dtype.name.startswith(("q", "bits"))]


def values(dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    random = np.random.default_rng(0)
    found: NDArray[Any] = (random.normal(size=shape) * (1 if dtype.itemsize > 1 else 2)).astype(np.float32)
    if dtype.kind == "c":
        found = found + 1j * random.normal(size=shape)
    if dtype.kind in "ub" or "uint" in dtype.name or dtype.name == "float8_e8m0fnu":
        found = np.abs(found)
    with np.errstate(invalid="ignore"):
        return found.astype(dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("view", ["whole", "transposed", "strided", "swapped"])
def test_arrays_of_every_type(dtype: Any, view: str) -> None:
    native = numpy_dtype(dtype)
    assert native is not None
    array = values(native, (70, 90))
    if view == "transposed":
        array = array.T
    elif view == "strided":
        array = array[::-2, 3::7]
    elif view == "swapped":
        if native.itemsize < 2 or native.kind == "V":
            pytest.skip("one byte has no order, and ml_dtypes has one order")
        array = array.astype(native.newbyteorder(">"))
    found = tui_params.summarize(array)
    plain = array.astype(np.complex128 if native.kind == "c" else np.float64).reshape(-1)
    parts = plain.view(np.float64) if native.kind == "c" else plain
    assert (found.shape, found.dtype, found.numel) == (array.shape, dtype, array.size)
    assert (found.min, found.max) == (parts.min(), parts.max())
    assert found.mean == pytest.approx(parts.mean())
    assert found.std == pytest.approx(parts.std(), abs=1e-9)
    assert found.zeros == (parts == 0).sum()


def test_torch_tensors_stay_where_they_are() -> None:
    tensor = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [float("nan"), 4.0]], dtype=torch.bfloat16).t())
    found = tui_params.summarize(tensor)
    assert str(found).startswith("[2, 2] bf16 x∈[-2 ")
    assert str(found).endswith(" 1 NaN")
    assert (found.mean, found.nan, found.finite) == (1.0, 1, 3)
    assert tui_params.summarize(torch.zeros(())).shape == ()


def test_a_tensor_of_a_source_a_model_or_a_path(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 4)
    torch.save(model.state_dict(), tmp_path / "last.ckpt")
    with tui_params.open_source(tmp_path / "last.ckpt") as source:
        lines = {str(tui_params.summarize(each, "weight")) for each in (source, model, tmp_path / "last.ckpt")}
        assert len(lines) == 1
        assert lines.pop().startswith("weight [4, 3] f32 x∈[")
        assert source.read("weight").shape == (4, 3)  # not closed
    with pytest.raises(UnknownTensorError):
        tui_params.summarize(model, "weights")


def test_it_is_frozen_and_has_a_form_for_notebooks() -> None:
    found = tui_params.summarize(np.array([1.0, np.inf]))
    assert isinstance(found, TensorSummary)
    with pytest.raises(AttributeError):
        found.nan = 3  # type: ignore[misc]
    assert repr(found) == "[2] f64 x=1 1 +Inf"
    html = found._repr_html_()
    assert "<code>[2] f64 x=1 1 +Inf</code>" in html
    assert "<th>+Inf</th>" in html


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (3, "expected a torch tensor or a numpy array"),
        ({"a": torch.ones(3)}, r"say which tensor: summarize\(source, name\)"),
        (torch.nn.Linear(2, 2), r"say which tensor: summarize\(source, name\)"),
        (np.array(["a"]), "the element type <U1 of this array is none whose numbers are summarized"),
        (np.ma.array([1, 2], mask=[False, True]), "a masked array hides elements"),
        (torch.ones(3).to_sparse(), r"this tensor is made of 2 others \(indices and values\): summarize those"),
    ],
)
def test_anything_else_is_one_sentence(wrong: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        tui_params.summarize(wrong)


def test_what_has_no_values_says_why() -> None:
    with pytest.raises(ReadError, match="meta device"):
        tui_params.summarize(torch.ones(2, device="meta"))


def test_a_packed_type_is_counted_by_its_own_values() -> None:
    found = tui_params.summarize(np.array([0.5, 6, -0.5, 0], np.float32).astype(ml_dtypes.float4_e2m1fn))
    assert (found.max, found.at_max, found.zeros, found.subnormals) == (6.0, 1, 1, 2)
