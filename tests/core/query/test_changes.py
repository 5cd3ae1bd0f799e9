"""Filters on what has moved since an earlier look never say more than is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.compare.moved import Change, Sums
from tui_params.core.query.fields import _COMPARE
from tui_params.core.query.query import parse_query
from tui_params.core.tensor import TensorInfo

ZEROS = Sums(4, 4, 0, 0, 4, 0.0, 0.0, 0.0, 0.0, 0.0)
ONES = Sums(4, 4, 0, 0, 0, 1.0, 0.0, 1.0, 1.0, 2.0)
CHANGES = {
    "same": Change("same", ONES, ONES),
    "tenth": Change("moved", ONES, ONES, relative=0.1),
    "bound": Change("moved", ONES, ONES, at_least=0.2),
    "somehow": Change("moved", ONES, ONES),
    "zeros": Change("moved", ZEROS, ONES),
    "new": Change("new", about="there was none"),
    "shape": Change("shape", about="another shape"),
    "unread": Change("unread", about="not read"),
}


def found(text: str) -> tuple[list[str], int]:
    """The names that match, and of how many that is not known."""
    query = parse_query(text)
    assert not query.errors
    assert query.needs_changes
    assert not query.needs_figures
    names = [*CHANGES, "later"]
    matches = query.filter([_info(name) for name in names], change_of=CHANGES.get)
    return [names[index] for index in matches.indices], matches.unknown


def _info(name: str) -> TensorInfo:
    from tui_params.core.dtypes import from_safetensors

    dtype = from_safetensors("F32")
    assert dtype is not None
    return TensorInfo(name, (2, 2), dtype, 4, 16)


@pytest.mark.parametrize(
    ("text", "names", "unknown"),
    [
        ("changed:no", ["same"], 2),
        ("changed:yes", ["tenth", "bound", "somehow", "zeros", "new", "shape"], 2),
        ("!changed:yes", ["same"], 2),
        ("changed!=no", ["tenth", "bound", "somehow", "zeros", "new", "shape"], 2),
        ("change>0.1", ["bound", "zeros"], 3),
        ("change>=10%", ["tenth", "bound", "zeros"], 3),
        ("change=0", ["same"], 3),
        ("change<0.15", ["same", "tenth"], 3),
        ("change>=0.2", ["bound", "zeros"], 3),
    ],
)
def test_what_is_found(text: str, names: list[str], unknown: int) -> None:
    assert found(text) == (names, unknown)


def test_without_an_earlier_look_nothing_is_known() -> None:
    assert parse_query("changed:no").filter([_info("a")]).unknown == 1
    assert parse_query("changed:").errors[0].is_unfinished
    assert "neither yes nor no" in parse_query("changed:7").errors[0].message
    assert "is not a number" in parse_query("change>much").errors[0].message


@given(st.sampled_from(sorted(_COMPARE)), st.floats(0, 2), st.floats(0, 2), st.floats(0, 1))
def test_what_follows_from_a_bound_holds_of_every_true_value(
    sign: str, number: float, true: float, share: float
) -> None:
    query = parse_query(f"change{sign}{number:.6f}")
    by_bound = query.filter([_info("a")], change_of={"a": Change("moved", ONES, ONES, at_least=true * share)}.get)
    exactly = query.filter([_info("a")], change_of={"a": Change("moved", ONES, ONES, relative=true)}.get)
    if not by_bound.unknown:
        assert by_bound.indices == exactly.indices
