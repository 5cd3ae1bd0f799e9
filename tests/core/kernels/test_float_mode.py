"""Subnormal numbers count, whatever mode the caller's thread is in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tui_params
from tui_params.core.kernels import float_mode
from tui_params.core.kernels.float_mode import gradual_underflow, is_flushing
from tui_params.errors import ReadError

torch = pytest.importorskip("torch")


@pytest.fixture
def flushing() -> Iterator[None]:
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    yield
    torch.set_flush_denormal(False)


def test_nothing_is_changed_where_subnormals_count() -> None:
    assert not is_flushing()
    with gradual_underflow():
        assert not is_flushing()


@pytest.mark.usefixtures("flushing")
def test_the_mode_of_the_caller_comes_back() -> None:
    assert is_flushing()
    with gradual_underflow():
        assert not is_flushing()
    assert is_flushing()
    with pytest.raises(RuntimeError, match="x"), gradual_underflow():
        raise RuntimeError("x")
    assert is_flushing()


@pytest.mark.usefixtures("flushing")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_statistics_and_differences_are_those_of_the_bits(dtype: str) -> None:
    bits = {"float64": torch.int64, "float32": torch.int32}.get(dtype, torch.int16)
    codes = torch.full((300_000,), 100, dtype=bits)
    other = codes.clone()
    other[::1000] = 50
    a, b = ({"w": part.view(getattr(torch, dtype))} for part in (codes, other))
    found = tui_params.compare(a, b)
    assert [change.difference.changed for change in found.changed if change.difference is not None] == [300]
    with tui_params.open_source(a) as source:
        figures = source.summarize("w").figures(300_000)
        values = source.read("w", "[:2]")
    assert figures.subnormals == 300_000
    assert figures.min is not None
    with gradual_underflow():
        assert figures.min > 0
        assert figures.mean == figures.max == float(values[0]) > 0
    assert is_flushing()
    assert tui_params.check(a).status in ("ok", "findings")


@pytest.mark.usefixtures("flushing")
def test_where_the_mode_cannot_be_changed_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float_mode, "is_flushing", lambda: True)
    with pytest.raises(ReadError, match="subnormal"), gradual_underflow():
        pass


def test_what_numpy_finds_is_not_disturbed() -> None:
    assert np.array([5e-324])[0] * 1.0 > 0
