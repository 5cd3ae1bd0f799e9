"""Kinds: which names are one line, and what that line says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories_names import deepseek_v3_names
from tui_params.core.dtypes import from_safetensors, from_torch, unknown
from tui_params.core.kinds import MAX_SHAPES, compact_ranges, group_by_kind, kind_of, name_of_kind
from tui_params.core.tensor import TensorInfo, describe
from tui_params.core.text import short_shape


def tensor(name: str, shape: tuple[int, ...] = (2, 3), dtype: str = "float32") -> TensorInfo:
    kind = from_torch(dtype)
    assert kind is not None
    return describe(name, shape, kind)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("layers.0.mlp.up_proj.weight", "layers.#.mlp.up_proj.weight"),
        ("layers.10.experts.255.w1", "layers.#.experts.#.w1"),
        ("0.1.2", "#.#.#"),
        ("blk.7", "blk.#"),
        ("layer3.conv1.weight", "layer3.conv1.weight"),
        ("q8_0.x", "q8_0.x"),
        ("a..1", "a..#"),
        ("", ""),
    ],
)
def test_kind_of(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_a_group_says_what_is_in_it() -> None:
    infos = [
        tensor("embed.weight", (10, 4), "bfloat16"),
        tensor("layers.0.w"),
        tensor("layers.1.w", (3, 3)),
        tensor("layers.1.b", (3,)),
        tensor("layers.5.w", dtype="float16"),
        msgspec.structs.replace(tensor("layers.6.w"), tied_to="layers.0.w"),
    ]
    embed, weights, bias = group_by_kind(infos)
    assert (embed.kind, embed.count, embed.numbers, embed.indices) == ("embed.weight", 1, (), (0,))
    assert (weights.kind, weights.count, weights.indices) == ("layers.#.w", 4, (1, 2, 4, 5))
    assert weights.numbers == ("0-1, 5-6",)
    assert weights.shapes == ((2, 3), (3, 3))
    assert [dtype.short for dtype in weights.dtypes] == ["f32", "f16"]
    assert weights.numel == 6 + 9 + 6  # the tied one counts once
    assert weights.nbytes == 24 + 36 + 12
    assert bias.numbers == ("1",)


def test_shapes_are_bounded() -> None:
    [group] = group_by_kind([tensor(f"x.{n}", (n,)) for n in range(100)])
    assert group.shapes == tuple((n,) for n in range(MAX_SHAPES))
    assert group.distinct_shapes == 100
    assert group_by_kind([]) == ()


def test_what_is_not_known_of_a_lost_tensor_is_no_second_shape_or_type() -> None:
    lost = [TensorInfo(f"h.{at}.w", (), unknown("?"), 0, 0, unreadable="its shard is missing") for at in (1, 2)]
    (group,) = group_by_kind([tensor("h.0.w"), *lost])
    assert (group.count, group.shapes, group.distinct_shapes) == (3, ((2, 3),), 1)
    assert [dtype.short for dtype in group.dtypes] == ["f32"]
    assert group.shape_in(short_shape) == "2×3"
    (group,) = group_by_kind(lost)
    assert (group.shapes, group.shape_in(short_shape), len(group.dtypes)) == ((), "?", 1)
    (scalars,) = group_by_kind([tensor("h.0.w", ()), tensor("h.1.w", (4,))])
    assert (scalars.shapes, scalars.shape_in(short_shape)) == (((), (4,)), "2 shapes")


def test_odd_names() -> None:
    huge = "9" * 5000
    groups = group_by_kind([tensor(f"x.{huge}"), tensor("x.#"), tensor("x.07"), tensor("x.7")])
    assert [(group.kind, group.count, group.numbers) for group in groups] == [("x.#", 4, ("7",))]


@given(st.sets(st.integers(0, 40)))
def test_ranges_name_exactly_the_numbers(numbers: set[int]) -> None:
    text = compact_ranges(numbers, most=100)
    named: set[int] = set()
    for part in filter(None, text.split(", ")):
        low, _, high = part.partition("-")
        assert not named & set(range(int(low), int(high or low) + 1))
        named |= set(range(int(low), int(high or low) + 1))
    assert named == numbers


def test_many_ranges_are_cut() -> None:
    assert compact_ranges(range(0, 20, 2), most=3) == "0, 2, 4, …"
    assert compact_ranges([3, 1, 2, 2]) == "1-3"


@given(st.lists(st.text("a1.#", max_size=6), unique=True, max_size=20))
def test_every_tensor_is_in_the_group_of_its_kind(names: list[str]) -> None:
    groups = group_by_kind([tensor(name) for name in names])
    assert sorted(index for group in groups for index in group.indices) == list(range(len(names)))
    assert len({group.kind for group in groups}) == len(groups)
    for group in groups:
        assert {kind_of(names[index]) for index in group.indices} == {group.kind}
        assert group.count == len(group.indices)


class Counted(Sequence[TensorInfo]):
    """Tensors that count how often one of them is looked at."""

    def __init__(self, infos: list[TensorInfo]) -> None:
        self.infos = infos
        self.reads = 0

    def __len__(self) -> int:
        return len(self.infos)

    @overload
    def __getitem__(self, index: int) -> TensorInfo: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TensorInfo]: ...
    def __getitem__(self, index: int | slice) -> TensorInfo | Sequence[TensorInfo]:
        self.reads += 1
        return self.infos[index]


def test_a_mixture_of_experts_has_few_kinds() -> None:
    infos = [
        describe(name, shape, dtype) for name, shape, code in deepseek_v3_names() if (dtype := from_safetensors(code))
    ]
    assert len(infos) == 91_991
    counted = Counted(infos)
    groups = group_by_kind(counted)
    assert counted.reads <= 2 * len(infos) + 1
    assert len(groups) == 43
    experts = next(group for group in groups if group.kind == "model.layers.#.mlp.experts.#.up_proj.weight")
    assert (experts.count, experts.numbers) == (59 * 256, ("3-61", "0-255"))
    assert (experts.shapes, [dtype.short for dtype in experts.dtypes]) == (((2048, 7168),), ["f8e4m3"])
    assert experts.numel == 59 * 256 * 2048 * 7168


def test_names_of_one_kind_as_one() -> None:
    assert name_of_kind(["layers.3.w"]) == "layers.3.w"
    assert name_of_kind([f"h.{i}.e.2.w" for i in (9, 0, 1, 2)]) == "h.{0-2, 9}.e.2.w"
    assert name_of_kind(["0.0", "1.1"]) == "{0-1}.{0-1}"
    assert name_of_kind(["x.#", "x.1", "x.2"]) == "x.{1-2}"
    assert name_of_kind([f"x.{'1' * 20}", f"x.{'2' * 20}"]) == "x.#"
    assert name_of_kind([""]) == ""
