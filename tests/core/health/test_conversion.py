"""Which weights float16 cannot hold, beside those that it can."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch

from tests.factories_memory import MemorySource
from tui_params import check


def said(**arrays: np.ndarray) -> list[tuple[str, str | None, str]]:
    found = check(MemorySource(arrays)).findings
    return [(item.severity, item.tensor, item.evidence) for item in found if item.rule == "float16-unsafe"]


def with_largest(value: float, dtype: object = np.float32) -> np.ndarray:
    array = np.linspace(-1, 1, 64, dtype=np.float64).reshape(8, 8) * min(abs(value), 1)
    array[2, 3] = value
    return array.astype(dtype)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize(
    "value", [65504.0, 65519.9, 65520.0, -65536.0, 1e5, -3e38, 2.0**-25, 2.0**-24, 2.0**-26, 1e-30]
)
def test_it_is_what_torch_does(value: float, dtype: type) -> None:
    array = with_largest(value, dtype)
    half = torch.from_numpy(array.astype(np.float64)).to(torch.float16)
    is_unsafe = bool(torch.isinf(half).any()) or not bool(half.any())
    assert [(severity, name) for severity, name, _ in said(**{"fc.weight": array})] == [
        ("info", "fc.weight")
    ] * is_unsafe


def test_the_sentences() -> None:
    found = said(**{"a.weight": with_largest(-7e4), "b.weight": with_largest(1e-9)})
    assert [evidence for _, _, evidence in found] == [
        "not safe for float16: the largest magnitude is 70,000, beyond 65,504, and would become infinite",
        "not safe for float16: the largest magnitude is 1e-9: every value would become zero",
    ]


def test_what_is_no_weight_or_float16_already() -> None:
    large = with_largest(1e9)
    assert said(**{"attn.mask": large, "ids": large.astype(np.int64), "optimizer.state.0.exp_avg": large}) == []
    assert said(**{"fc.weight": with_largest(65504.0, np.float16)}) == []
    assert said(**{"fc.weight": np.zeros((8, 8), np.float32), "empty.weight": np.zeros((0, 8), np.float32)}) == []
    assert [name for _, name, _ in said(**{"bn.running_var": np.full(8, 1e5, np.float32)})] == ["bn.running_var"]
