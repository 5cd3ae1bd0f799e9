"""Values that are elsewhere on the other side: what is told holds, and nothing is told of coincidences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.api.comparing import compare
from tui_params.core.compare import lines, search
from tui_params.core.compare.comparer import Comparison
from tui_params.core.compare.elsewhere import Relation
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import parse_window
from tui_params.errors import StoppedError

Arrays = Mapping[str, NDArray[Any]]
RNG = np.random.default_rng(0)


def weights(*shape: int) -> NDArray[Any]:
    return RNG.normal(size=shape).astype(ml_dtypes.bfloat16)


def between(a: Arrays, b: Arrays, **options: Any) -> Comparison:
    return compare(MemorySource(a, **options), MemorySource(b))


def told(found: Comparison) -> list[str]:
    return [
        f"{item.a}{item.slice_a or ''} {item.how} {item.b}{item.slice_b or ''}{' turned' * item.is_transposed}"
        for item in found.elsewhere.relations
    ]


def holds(relation: Relation, a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether a relation is true, by means of numpy alone."""
    a, b = a.view(f"u{a.itemsize}"), b.view(f"u{b.itemsize}")
    if relation.how in {"same", "reshaped"}:
        return bool((a.reshape(-1) == b.reshape(-1)).all())
    if relation.how == "transposed":
        axes = (1, 0, *range(2, a.ndim)) if a.ndim != 3 or a.transpose(1, 0, 2).shape == b.shape else (0, 2, 1)
        return np.array_equal(a.transpose(axes), b) or np.array_equal(a.swapaxes(-1, -2), b)
    if relation.how in {"rows", "columns"}:
        axis = 0 if relation.how == "rows" else 1
        rows = [sorted(np.moveaxis(side, axis, 0).reshape(side.shape[axis], -1).tolist()) for side in (a, b)]
        return rows[0] == rows[1]
    part, whole, where = (a, b, relation.slice_b) if relation.slice_b else (b, a, relation.slice_a)
    assert where is not None
    if where.endswith("in another order"):
        return not Counter(map(str, part.tolist())) - Counter(map(str, whole.tolist()))
    runs = re.fullmatch(r"\[(\d+):\d+\] and so on, (\d+) of every (\d+) rows", where)
    if runs is not None:
        start, run, step = map(int, runs.groups())
        places = [start + number // run * step + number % run for number in range(part.shape[0])]
        return np.array_equal(whole[places], part)
    view = parse_window(where, whole.shape)
    picked = whole[
        tuple(
            axis.start if axis.is_index else slice(axis.start, axis.start + axis.length * axis.step, axis.step)
            for axis in view.axes
        )
    ]
    return np.array_equal(picked.T if relation.is_transposed else picked, part)


M, S, C = weights(16, 12), weights(16, 16), weights(16, 3, 5, 5)
ORDER = RNG.permutation(16)
Q, K, V = weights(16, 12), weights(8, 12), weights(8, 12)
EXPERTS = [weights(16, 12) for _ in range(4)]
BIASES = [weights(16) for _ in range(3)]
Q2, Q3 = weights(16, 12), weights(16, 12)


def numbered(name: str, arrays: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.replace("#", str(number)): array for number, array in enumerate(arrays)}


PLANTED: list[tuple[Arrays, Arrays, list[str]]] = [
    ({"w": M}, {"w": M.T.copy()}, ["w transposed w"]),
    ({"w": S}, {"w": S.T.copy()}, ["w transposed w"]),
    ({"w": S, "same": M}, {"v": S.T.copy(), "same": M}, ["w transposed v"]),
    ({"w": M}, {"w": M[ORDER]}, ["w rows w"]),
    ({"w": M}, {"v": M[ORDER]}, ["w rows v"]),
    ({"w": S}, {"w": S[:, ORDER]}, ["w columns w"]),
    ({"w": C}, {"w": C[::-1].copy()}, ["w rows w"]),
    ({"w": C}, {"w": C[:, [2, 0, 1]].copy()}, ["w columns w"]),
    ({"w": C}, {"w": C.transpose(1, 0, 2, 3).copy()}, ["w transposed w"]),
    ({"w": C}, {"w": C.reshape(16, -1)}, ["w reshaped w"]),
    ({"w": BIASES[0]}, {"w": BIASES[0].reshape(1, 16)}, ["w reshaped w"]),
    ({"w": BIASES[0]}, {"w": BIASES[0][ORDER]}, ["w rows w"]),
    ({"x.w": M}, {"y.v": M}, ["x.w same y.v"]),
    # A symmetric matrix is the same before it is transposed.
    ({"x.w": S + S.T}, {"y.v": S + S.T}, ["x.w same y.v"]),
    (
        {"q": Q, "k": K, "v": V},
        {"qkv": np.concatenate([Q, K, V])},
        ["q part qkv[0:16]", "k part qkv[16:24]", "v part qkv[24:32]"],
    ),
    (
        {"v": V, "k": K, "q": Q},
        {"qkv": np.concatenate([Q, K, V])},
        ["v part qkv[24:32]", "k part qkv[16:24]", "q part qkv[0:16]"],
    ),
    # The larger one is in A.
    ({"qkv": np.concatenate([Q, K])}, {"q": Q, "k": K}, ["qkv[0:16] part q", "qkv[16:24] part k"]),
    # GPT-2 keeps its fused weight as [in, out].
    (
        {"q": Q, "v": Q2},
        {"qkv": np.concatenate([Q, Q2]).T.copy()},
        ["q part qkv[:, 0:16] turned", "v part qkv[:, 16:32] turned"],
    ),
    (
        {"q": Q, "v": Q2},
        {"qkv": np.concatenate([Q, Q2], 1)},
        ["q part qkv[:, 0:12]", "v part qkv[:, 12:24]"],
    ),
    (
        {"gate": Q, "up": Q2},
        {"gate_up": np.stack([Q, Q2], 1).reshape(32, 12)},
        ["gate part gate_up[0:31:2]", "up part gate_up[1:32:2]"],
    ),
    # GPT-NeoX: the heads one after the other, each with its q, k and v.
    (
        {"q": Q, "k": Q2, "v": Q3},
        {"qkv": np.stack([side.reshape(4, 4, 12) for side in (Q, Q2, Q3)], 1).reshape(48, 12)},
        [
            f"{name} part qkv[{at}:{at + 4}] and so on, 4 of every 12 rows"
            for name, at in (("q", 0), ("k", 4), ("v", 8))
        ],
    ),
    ({"q": Q[ORDER]}, {"qk": np.concatenate([K, Q])}, ["q part qk16 rows, in another order"]),
    (
        numbered("0.experts.#.w", EXPERTS),
        {"0.experts.w": np.stack(EXPERTS)},
        [f"0.experts.{i}.w part 0.experts.w[{i}]" for i in range(4)],
    ),
    (
        numbered("0.experts.#.w", EXPERTS),
        {"0.experts.w": np.stack([side.T for side in EXPERTS])},
        [f"0.experts.{i}.w part 0.experts.w[{i}] turned" for i in range(4)],
    ),
    (
        numbered("0.experts.#.gate", [side[:8] for side in EXPERTS]),
        {"0.experts.gate_up": np.stack(EXPERTS)},
        [f"0.experts.{i}.gate part 0.experts.gate_up[{i}, 0:8]" for i in range(4)],
    ),
    (
        numbered("0.experts.#.up", [side[8:] for side in EXPERTS]),
        {"0.experts.gate_up": np.stack([side.T for side in EXPERTS])},
        [f"0.experts.{i}.up part 0.experts.gate_up[{i}, :, 8:16] turned" for i in range(4)],
    ),
    ({"w": np.stack(EXPERTS)}, {"w": np.stack([side.T for side in EXPERTS])}, ["w transposed w"]),
    ({"w": np.stack(EXPERTS)}, {"w": np.stack(EXPERTS[::-1])}, ["w rows w"]),
    ({"e": M}, {"e": np.concatenate([M, K])}, ["e part e[0:16]"]),
    (numbered("#.b", BIASES), {"b": np.stack(BIASES)}, [f"{i}.b part b[{i}]" for i in range(3)]),
    (numbered("#.b", BIASES), {"b": np.stack(BIASES, 1)}, [f"{i}.b part b[:, {i}]" for i in range(3)]),
    (
        {"q.bias": BIASES[0], "k.bias": BIASES[1]},
        {"qk.bias": np.concatenate(BIASES[:2])},
        ["q.bias part qk.bias[0:16]", "k.bias part qk.bias[16:32]"],
    ),
]


@pytest.mark.parametrize(("a", "b", "expected"), PLANTED)
def test_what_is_elsewhere_is_told_and_still_a_difference(a: Arrays, b: Arrays, expected: list[str]) -> None:
    found = between(a, b)
    assert told(found) == expected
    assert all(holds(relation, a[relation.a], b[relation.b]) for relation in found.elsewhere.relations)
    assert (found.state, found.elsewhere.untried) == ("different", ())
    assert found.elsewhere.tried >= 2


SYMMETRIC = (S + S.T).astype(np.float32)
SWAPPED = np.arange(16, dtype=np.float32).reshape(4, 4)
SWAPPED[[0, 1], [0, 1]] = SWAPPED[[1, 0], [1, 0]]
MASK = np.tril(np.ones((4, 4), np.bool_))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        # The same.
        ({"w": SYMMETRIC}, {"w": SYMMETRIC}),
        # Other values, also of the same sum or the same norm.
        ({"w": M}, {"w": (M + 1)}),
        ({"w": M}, {"w": -M}),
        ({"w": SWAPPED}, {"w": np.arange(16, dtype=np.float32).reshape(4, 4)}),
        ({"w": M}, {"w": weights(12, 16)}),
        ({"w": S}, {"w": np.roll(S.reshape(-1), 1).reshape(16, 16)}),
        # One element of one row is another.
        ({"q": Q}, {"qkv": np.concatenate([np.where(np.arange(192).reshape(16, 12) == 7, Q + 1, Q), K])}),
        # Values that any tensor may have.
        ({"x": np.ones((16, 16), np.float32)}, {"y": np.ones((16, 16), np.float32)}),
        ({"x": np.zeros(16, np.float32)}, {"y": np.zeros(48, np.float32)}),
        ({"x": np.array([0.5, 1], np.float32)}, {"y": np.array([3, 0.5, 1], np.float32)}),
        ({"x": np.array([1, 0, 1], np.uint8)}, {"y": np.array([0, 1, 0, 1, 0], np.uint8)}),
        ({"x": MASK}, {"x": MASK.T.copy()}),
        # Too few different values for their order to mean anything.
        ({"x": np.arange(4096) % 2}, {"x": (np.arange(4096) + 1) % 2}),
        # Some of very many elements, of which a type of 16 bits has only so many different ones.
        ({"x": weights(16)}, {"y": weights(40_000)}),
        ({"x": weights(16, 1)}, {"y": weights(40_000, 1)}),
        # Another type: its bits are others.
        ({"w": M}, {"v": M.T.astype(np.float32)}),
        ({"s": np.float32(1)}, {"t": np.float32(1)}),
        ({"e": np.zeros((0, 4), np.float32)}, {"e": np.zeros((4, 0), np.float32)}),
    ],
)
def test_nothing_is_told_of_what_only_looks_alike(a: Arrays, b: Arrays) -> None:
    assert told(between(a, b)) == []


@pytest.mark.parametrize(
    "dtype", [np.complex128, np.complex64, np.float64, np.int64, np.uint8, ml_dtypes.float8_e4m3fn]
)
def test_elements_of_every_width(dtype: Any) -> None:
    array = RNG.integers(0, 100, (16, 16)).astype(dtype)
    assert told(between({"w": array}, {"w": array.T.copy()})) == ["w transposed w"]
    assert told(between({"w": array}, {"v": np.concatenate([array, array[::-1]])})) == ["w part v[0:16]"]
    assert told(between({"w": array.reshape(-1)[:40]}, {"w": array.reshape(-1)})) == ["w part w[0:40]"]


def test_rows_of_packed_elements() -> None:
    array = RNG.integers(0, 6, (16, 32)).astype(ml_dtypes.float4_e2m1fn)
    assert told(between({"w": array}, {"w": array[ORDER]})) == ["w rows w"]
    assert told(between({"w": array}, {"v": np.concatenate([array, array[:4]])})) == ["w part v[0:16]"]
    # Columns of half a byte have no bytes of their own, nor have rows that end inside one.
    assert told(between({"w": array}, {"w": array.T.copy()})) == []
    assert told(between({"w": array[:, :31].copy()}, {"w": array[ORDER, :31].copy()})) == []


def test_nan_and_infinities_move_with_their_rows() -> None:
    array = weights(16, 12)
    array[2, 3], array[5, 5], array[7] = np.nan, np.inf, 0
    assert told(between({"w": array}, {"w": array[ORDER]})) == ["w rows w"]
    other = array.copy()
    other[2, 3] = 1
    found = between({"w": array}, {"w": other})
    assert (told(found), found.elsewhere.tried) == ([], 0)


def test_views_of_a_model_in_memory() -> None:
    weight = torch.randn(16, 12)
    assert told(compare({"w": weight}, {"w": weight.T})) == ["w transposed w"]
    assert told(compare({"w": weight}, {"v": weight.T})) == ["w transposed v"]
    wide = torch.cat([weight, weight + 1], 1)
    assert told(compare({"a": wide[:, :12], "b": wide[:, 12:]}, {"ab": wide})) == [
        "a part ab[:, 0:12]",
        "b part ab[:, 12:24]",
    ]


def test_the_fused_weight_of_torchs_attention() -> None:
    fused = torch.nn.MultiheadAttention(16, 4).state_dict()
    parts = dict(
        zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), fused["in_proj_weight"].chunk(3), strict=True)
    )
    apart = torch.nn.MultiheadAttention(16, 4, kdim=16, vdim=16)
    apart._qkv_same_embed_dim = False
    state = {name: tensor for name, tensor in fused.items() if name != "in_proj_weight"} | parts
    assert told(compare(fused, state)) == [
        f"in_proj_weight[{at}:{at + 16}] part {name}_proj_weight" for name, at in (("q", 0), ("k", 16), ("v", 32))
    ]


class CountingSource(MemorySource):
    """Counts how many elements of each tensor were read by blocks."""

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        self.numel = getattr(self, "numel", Counter[str]())
        for block in super().blocks(info, start, stop):
            self.numel[info.name] += block.nbytes // info.dtype.itemsize
            yield block


def test_what_is_the_same_or_plainly_other_is_read_once() -> None:
    arrays = {"same": M, "other": M, "turned": S, "q": Q, "lone": weights(9, 7)}
    others = {"same": M, "other": M + 1, "turned": S.T.copy(), "qk": np.concatenate([Q, K])}
    a, b = CountingSource(arrays), CountingSource(others)
    found = compare(a, b, threads=1)
    assert told(found) == ["turned transposed turned", "q part qk[0:16]"]
    assert [a.numel[name] for name in ("same", "other", "lone")] == [M.size, M.size, 0]
    assert [b.numel[name] for name in ("same", "other")] == [M.size, M.size]
    # Once to compare it, once to see whether it is varied, once for its rows and columns.
    assert a.numel["turned"] <= 3 * S.size


def test_what_the_suggested_renames_match_is_not_read() -> None:
    names = [f"layers.{i}.w" for i in range(4)]
    a = CountingSource({f"module.{name}": weights(4, 8) for name in names} | {"q": Q})
    b = CountingSource({name: a.arrays[f"module.{name}"] for name in names} | {"qk": np.concatenate([Q, K])})
    found = compare(a, b)
    assert told(found) == ["q part qk[0:16]"]
    assert [(item.count, item.reason) for item in found.elsewhere.untried] == [
        (8, "the suggested renames match their names")
    ]
    assert set(a.numel) == {"q"}
    assert told(compare(a, b, auto_rename=True)) == ["q part qk[0:16]"]


@pytest.mark.parametrize(
    ("limit", "value", "arrays", "reason"),
    [
        ("MOST_NBYTES", 100, ({"w": M}, {"w": M.T.copy()}), "more than the 100 B that are read for this"),
        ("MOST_NBYTES", 100, ({"w": M}, {"v": M}), "more than the 100 B that are read for this"),
        ("MOST_GUESSED_NBYTES", 100, ({"w": M}, {"v": M[ORDER]}), "more than the 100 B that are read for this"),
        (
            "MOST_PROBES",
            0,
            ({"0.w": M}, {"1.w": M}),
            "more than the 0 of one side whose first values are compared",
        ),
        ("MOST_LINES", 20, ({"w": M}, {"w": M.T.copy()}), "more than the 20 rows and columns that are held for this"),
    ],
)
def test_what_is_not_tried_is_counted(
    limit: str, value: int, arrays: tuple[Arrays, Arrays], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(told(between(*arrays))) == 1
    monkeypatch.setattr(search, limit, value)
    found = between(*arrays)
    assert told(found) == []
    assert [(item.count, item.reason) for item in found.elsewhere.untried] == [(2, reason)]


def test_pairs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = numbered("p.#.x", EXPERTS), numbered("q.#.y", [side[ORDER] for side in EXPERTS])
    assert told(between(a, b)) == [f"p.{i}.x rows q.{i}.y" for i in range(4)]
    monkeypatch.setattr(search, "MOST_PAIRS", 2)
    found = between(a, b)
    assert told(found) == ["p.0.x rows q.0.y", "p.1.x rows q.1.y"]
    assert [(item.count, item.reason) for item in found.elsewhere.untried] == [
        (2, "more than the 2 pairs that are looked at")
    ]


def test_other_numbers_are_found_by_their_first_values() -> None:
    a, b = numbered("p.#.x", EXPERTS[:3]), numbered("q.#.y", EXPERTS[1:])
    assert told(between(a, b)) == ["p.1.x same q.0.y", "p.2.x same q.1.y"]


def test_lines_are_let_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {f"{layer}.{name}": weights(8, 12) for layer in range(5) for name in "qk"}
    fused = {f"{layer}.qk": np.concatenate([parts[f"{layer}.q"], parts[f"{layer}.k"]]) for layer in range(5)}
    monkeypatch.setattr(search, "MOST_LINES", 24)
    assert len(told(between(parts, fused))) == 10


def test_long_rows_and_many_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "SLAB_NBYTES", 100)
    for a, b, expected in PLANTED:
        assert told(compare(MemorySource(a, step=7), MemorySource(b, step=50))) == expected
    monkeypatch.setattr(lines, "LONGEST_ROW", 8)
    assert told(between({"w": M}, {"w": M.T.copy()})) == []
    monkeypatch.undo()
    monkeypatch.setattr(lines, "MOST_COLUMNS", 8)
    assert told(between({"w": S}, {"w": S.T.copy()})) == []
    assert told(between({"w": S}, {"w": S[ORDER]})) == ["w rows w"]


def test_what_cannot_be_read_is_counted_with_its_reason() -> None:
    found = between(
        {"w": M, "q": Q}, {"w": M.T.copy(), "qk": np.concatenate([Q, K])}, broken={"w": "its shard is gone"}
    )
    assert told(found) == ["q part qk[0:16]"]
    assert [(item.count, item.reason) for item in found.elsewhere.untried] == [(2, "its shard is gone")]
    lost = between({"w": M}, {"w": M.T.copy()}, unreadable={"w": "its shard is gone"})
    assert (told(lost), lost.elsewhere.tried) == ([], 0)


def test_the_search_stops_when_nobody_wants_it() -> None:
    asked = 0

    def stop_later() -> bool:
        nonlocal asked
        asked += 1
        return asked > 6

    with pytest.raises(StoppedError):
        search.find_elsewhere(
            MemorySource({"q": Q, "k": K}),
            MemorySource({"qk": np.concatenate([Q, K])}),
            (),
            MemorySource({"q": Q, "k": K}).listing.tensors,
            MemorySource({"qk": np.concatenate([Q, K])}).listing.tensors,
            stop_later,
        )


@given(st.data())
@settings(max_examples=150)
def test_no_relation_is_told_that_does_not_hold_random(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    values = data.draw(st.sampled_from([2, 3, 20, 60000]))

    def drawn(*shape: int) -> NDArray[Any]:
        return rng.integers(0, values, shape).astype(np.uint16).view(np.float16)

    shape = data.draw(st.sampled_from([(12, 8), (8, 8), (24,), (3, 8, 8), (8, 4, 3)]))
    base = drawn(*shape)
    change = data.draw(st.sampled_from(["none", "rows", "turn", "cut", "cat", "swap", "step"]))
    other = base
    if change == "rows":
        other = base[rng.permutation(len(base))]
    elif change == "turn":
        other = np.ascontiguousarray(base.swapaxes(-1, -2) if base.ndim > 1 else base[::-1])
    elif change == "cut":
        other = base[2:]
    elif change == "cat":
        other = np.concatenate([base[::-1], base, base])
    elif change == "step":
        other = np.ascontiguousarray(base[::2])
    elif change == "swap":
        other = base.copy()
        flat = other.reshape(-1)
        flat[[0, -1]] = flat[[-1, 0]]
    names = data.draw(st.sampled_from([("w", "w"), ("w", "v")]))
    found = compare(MemorySource({names[0]: base}), MemorySource({names[1]: other}), threads=1)
    for relation in found.elsewhere.relations:
        assert holds(relation, base, other), (change, relation)
    if values == 60000 and change in {"rows", "cut", "cat"} and base.tobytes() != other.tobytes():
        assert len(found.elsewhere.relations) == 1
