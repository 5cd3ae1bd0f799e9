"""Arrays of numpy in a mapping in memory: read where they lie, or named with the reason."""

from __future__ import annotations

import collections
import decimal
import fractions
import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tui_params.api.opening import open_source
from tui_params.core.health.checker import check
from tui_params.live.source import StateDictSource


class Mine(np.ndarray[Any, Any]):
    """Once it was made, none of its own code may run."""

    is_made = False

    def __array_finalize__(self, other: Any) -> None:
        assert not Mine.is_made

    def __getitem__(self, key: Any) -> Any:
        raise AssertionError


def read_only() -> NDArray[Any]:
    array = np.arange(6.0).reshape(2, 3)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(40, dtype="u2").reshape(5, 8)[1:4, ::3],
        np.arange(5, dtype=">f4"),
        np.arange(5)[::-1],
        np.arange(3, dtype="c8"),
        np.array([True, False]),
        np.ones(3, ml_dtypes.bfloat16),
        np.ones(3, ml_dtypes.float8_e4m3fn),
        np.zeros((0, 3)),
        np.array(2.5),
        np.float16(1.5),
        np.int64(-3),
        read_only(),
        np.frombuffer(b"\0" * 9, "u1")[1:].view("f4"),
    ],
)
def test_any_array_is_read_as_it_is(array: Any) -> None:
    with warnings.catch_warnings(), StateDictSource({"a": {"w": array}}) as source:
        warnings.simplefilter("error")
        info = source.find("a.w")
        assert (info.kind, info.shape, info.unreadable) == ("array", array.shape, None)
        native = np.asarray(array).astype(array.dtype.newbyteorder("="))
        read = source.read("a.w")
        assert (read.dtype, read.tolist()) == (native.dtype, native.tolist())
        assert sum(block.size for block in source.blocks(info)) == native.nbytes
        assert source.changed() is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.array([1, "a"], object), "an array of Python objects, some of them numbers"),
        (np.zeros(2, [("a", "i4"), ("b", "f8")]), "an array of records (fields a, b)"),
        (np.ones(2, ml_dtypes.int4), "elements of type int4 cannot be decoded here"),
        (np.ma.array([1.0, 2.0], mask=[True, False]), "a masked array: the mask"),
    ],
)
def test_what_cannot_be_read_is_named(value: Any, reason: str) -> None:
    with StateDictSource({"t": torch.eye(3), "x": value}) as source:
        info = source.find("x")
        assert (info.kind, info.shape) == ("array", (2,))
        assert info.unreadable is not None
        assert info.unreadable.startswith(reason)
        report = check(source)
    assert report.status == "unchecked"
    assert [entry.tensor for entry in report.unchecked] == ["x"]


def test_texts_and_dates_are_metadata() -> None:
    value = {
        "texts": np.array(["a"]),
        "dates": np.array("2020-01-01", "M8[D]"),
        "objects": np.array(["a", None], object),
    }
    with StateDictSource({"t": torch.eye(3), **value}) as source:
        assert [info.name for info in source.listing.tensors] == ["t"]
        assert set(source.listing.metadata) == set(value)
        assert check(source).status == "ok"


def test_a_nan_is_found_and_a_change_is_seen() -> None:
    array = np.ones((3, 4)) / 3
    array[1, 2] = np.nan
    mapping = {"w": array}
    with StateDictSource(mapping) as source:
        found = [(found.rule, found.tensor, found.indices) for found in check(source).findings]
        assert ("nan", "w", ((1, 2),)) in found
        mapping["w"] = array.copy()
        assert source.changed() is not None


def test_an_array_and_the_tensor_that_shares_its_memory_are_tied() -> None:
    array = np.arange(4.0)
    with StateDictSource({"a": array, "t": torch.from_numpy(array), "b": array.copy()}) as source:
        assert [info.tied_to for info in source.listing.tensors] == [None, "a", None]


def test_no_code_of_a_subclass_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = np.arange(3.0).view(Mine)
    monkeypatch.setattr(Mine, "is_made", True)
    with StateDictSource({"w": mine}) as source:
        assert source.read("w").tolist() == [0, 1, 2]


def floats(*shape: int) -> Any:
    return (np.arange(np.prod(shape)).reshape(shape) / 2).tolist()


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (floats(1000), (1000,)),
        (tuple(floats(1001)), (1001,)),
        (floats(10, 10), (10, 10)),
        ([tuple(floats(5, 5)) for _ in range(4)], (4, 5, 5)),
        ([*range(999), 0.5], (1000,)),
        ([np.float32(0.5)] * 1000, (1000,)),
        (floats(999), None),
        (floats(9, 11), None),
        (list(range(5000)), None),
        ([*floats(10, 10), [1.0]], None),
        ([True] * 5000, None),
        ([*floats(1000), "x"], None),
        ([*floats(1000), None], None),
        ([], None),
        ({f"w{number}": number + 0.5 for number in range(1000)}, (1000,)),
        (collections.OrderedDict(enumerate(floats(1000))), (1000,)),
        (collections.defaultdict(float, enumerate(floats(1000))), (1000,)),
        ({number: np.float64(number) for number in range(1000)}, (1000,)),
        (set(floats(1000)), (1000,)),
        (frozenset(floats(1000)), (1000,)),
        (collections.deque(floats(1000)), (1000,)),
        ([decimal.Decimal("1.5")] * 1000, (1000,)),
        ([decimal.Decimal(1)] * 10 * 100 + [2], (1001,)),
        ([[decimal.Decimal("1.5")] * 10] * 10, (10, 10)),
        ([fractions.Fraction(1, number + 2) for number in range(1000)], (1000,)),
        ([complex(number, 1) for number in range(1000)], (1000,)),
        (dict(enumerate(floats(999))), None),
        (dict(enumerate(range(5000))), None),
        ({**{f"n{number}": 0.5 for number in range(1000)}, "name": "x"}, None),
        (set(range(5000)), None),
        ({number: {"lr": 0.5} for number in range(1000)}, None),
    ],
)
def test_long_lists_of_numbers_are_the_same_in_memory_and_in_a_file(
    value: Any, shape: tuple[int, ...] | None, tmp_path: Path
) -> None:
    state = {"t": torch.eye(3), "a": {"x": value}}
    torch.save(state, tmp_path / "x.pt")
    reports = []
    listed: list[Any] = []
    for target in (state, str(tmp_path / "x.pt")):
        with open_source(target) as source:
            info = next((info for info in source.listing.tensors if info.name == "a.x"), None)
            listed.append(info and (info.kind, info.shape, info.dtype, info.numel, info.nbytes, info.unreadable))
            reports.append(check(source))
    assert listed[0] == listed[1]
    assert (listed[0] is None) == (shape is None)
    assert listed[0] is None or listed[0][1] == shape
    assert reports[0].unchecked == reports[1].unchecked
    assert reports[0].status == reports[1].status == ("ok" if shape is None else "unchecked")


def test_a_list_that_was_replaced_is_a_change_and_lists_in_optimizers_are_named_too() -> None:
    mapping = {"t": torch.eye(3), "x": floats(1000)}
    with StateDictSource(mapping) as source:
        assert source.changed() is None
        mapping["x"] = floats(1000)
        assert source.changed() is not None
    weight = torch.nn.Parameter(torch.eye(3))
    optimizer = torch.optim.SGD([{"params": [weight], "schedule": floats(1000), "betas": [0.9, 0.95]}], lr=0.1)
    with StateDictSource({"optimizer": optimizer}) as source:
        info = source.find("optimizer.param_groups.0.schedule")
        assert info.unreadable == "a list of 1,000 Python numbers, not an array: its values are not read"
        assert source.listing.metadata["optimizer.param_groups.0.betas"] == "[0.9, 0.95]"
