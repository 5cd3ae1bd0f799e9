from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file, save_model
from torch import nn

import tui_params
from tests.factories_memory import MemorySource
from tests.factories_models import TiedModel
from tests.factories_numbers import READABLE, BytesSource, pack_codes, part_of
from tests.factories_safetensors import entry, file_bytes, write_index
from tui_params.api.comparing import compare
from tui_params.api.opening import open_source
from tui_params.core.compare.changes_by_kind import group_changes
from tui_params.core.compare.comparer import Comparer, Comparison
from tui_params.core.compare.side_by_side import PIECE, WINDOW, ByteComparison, gathered, one_side, pieces, windows
from tui_params.core.compare.verdict import Progress, Verdict
from tui_params.core.dtypes import DType, from_torch, numpy_dtype
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo, describe
from tui_params.errors import OpenError, ReadError, StoppedError

RNG = np.random.default_rng(0)


def of(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


def memory(**arrays: Any) -> MemorySource:
    return MemorySource({name: np.asarray(array) for name, array in arrays.items()})


def only(comparison: Comparison) -> Any:
    (change,) = comparison.changed
    return change


def states(comparison: Comparison) -> dict[str, str]:
    return {
        **dict.fromkeys(comparison.identical, "identical"),
        **{change.name: "equal" for change in comparison.equal},
        **{change.name: change.change for change in comparison.changed},
        **{item.name: "uncompared" for item in comparison.uncompared},
    }


def test_what_changed_and_what_did_not() -> None:
    a = memory(x=np.array([[1.0, 2.0], [3.0, 4.0]]), y=np.arange(9), gone=np.zeros(1), z=np.float32(0.5))
    b = memory(x=np.array([[1.0, 2.0], [3.0, 5.0]]), y=np.arange(9), z=np.float32(0.5), new=np.zeros(1))
    found = compare(a, b)
    assert (found.only_in_a, found.only_in_b, found.identical, found.state) == (
        ("gone",),
        ("new",),
        ("y", "z"),
        "different",
    )
    change = only(found)
    assert (change.name, change.change, change.first_index) == ("x", "values", (1, 1))
    difference = change.difference
    assert (difference.max_abs, difference.mean_abs, difference.changed_fraction) == (1.0, 0.25, 0.25)
    assert difference.relative_l2 == pytest.approx(1 / math.sqrt(30))
    assert difference.cosine == pytest.approx(34 / math.sqrt(30 * 39))


def test_empty_scalar_and_nan() -> None:
    a = memory(
        empty=np.zeros((0, 3), np.float32), scalar=np.float64(1), nan=np.array([np.nan, np.inf, -np.inf], np.float16)
    )
    assert compare(a, a).identical == ("empty", "scalar", "nan")
    b = memory(empty=np.zeros((0, 3)), scalar=np.float64(2), nan=np.array([np.nan, np.nan, 1], np.float16))
    found = compare(a, b)
    assert states(found) == {"empty": "dtype", "scalar": "values", "nan": "values"}
    by_name = {change.name: change for change in found.changed}
    assert by_name["scalar"].first_index == ()
    assert by_name["empty"].difference is not None
    assert by_name["empty"].difference.changed_fraction == 0.0
    broken = by_name["nan"].difference
    assert broken is not None
    assert (broken.became_nan, broken.was_nan, broken.was_inf, broken.changed, broken.first) == (1, 0, 2, 2, 1)
    assert broken.max_abs is None


def test_another_shape_reads_no_value() -> None:
    a = MemorySource({"x": np.zeros((2, 3))}, broken={"x": "must not be read"})
    change = only(compare(a, memory(x=np.zeros((3, 2)))))
    assert (change.change, change.shape_a, change.shape_b, change.difference) == ("shape", (2, 3), (3, 2), None)


def test_another_type_is_a_change_even_if_every_value_is_equal() -> None:
    values = RNG.normal(size=1000).astype(ml_dtypes.bfloat16)
    change = only(compare(memory(x=values), memory(x=values.astype(np.float32))))
    assert (change.change, change.dtype_a, change.dtype_b) == ("dtype", "bf16", "f32")
    none = change.difference
    assert (none.max_abs, none.relative_l2, none.cosine, none.changed_fraction) == (0.0, 0.0, 1.0, 0.0)
    rounded = values.astype(ml_dtypes.float8_e4m3fn)
    some = only(compare(memory(x=values), memory(x=rounded))).difference
    exact = np.abs(rounded.astype(np.float64) - values.astype(np.float64))
    assert (some.max_abs, some.changed_fraction) == (exact.max(), np.count_nonzero(exact) / 1000)


def test_bits_that_mean_the_same_are_equal_but_not_identical() -> None:
    a = memory(
        zero=np.array([0.0, 1.0]), nan=np.array([0x7FF8000000000000], np.uint64).view(np.float64), same=np.ones(1)
    )
    b = memory(
        zero=np.array([-0.0, 1.0]), nan=np.array([0xFFF8000000000001], np.uint64).view(np.float64), same=np.ones(1)
    )
    found = compare(a, b)
    assert states(found) == {"zero": "equal", "nan": "equal", "same": "identical"}
    assert found.state == "same"


def test_tolerances() -> None:
    a, b = memory(x=np.array([1.0, 100.0])), memory(x=np.array([1.125, 101.0]))
    assert states(compare(a, b)) == {"x": "values"}
    assert states(compare(a, b, atol=1.0)) == {"x": "equal"}
    assert states(compare(a, b, rtol=0.125)) == {"x": "equal"}
    assert compare(a, b, rtol=0.125).state == "same"
    assert only(compare(a, b, rtol=0.01)).difference.changed_fraction == 0.5
    for rtol, atol in ((-1.0, 0.0), (0.0, math.nan), (0.0, math.inf)):
        with pytest.raises(ValueError, match="tolerance"):
            compare(a, b, rtol=rtol, atol=atol)


def test_another_type_may_be_ignored() -> None:
    values = RNG.normal(size=100).astype(ml_dtypes.bfloat16)
    a, b = memory(x=values, y=np.ones(1)), memory(x=values.astype(np.float32), y=np.ones(1))
    found = compare(a, b, ignore_dtype=True)
    assert (found.state, found.ignore_dtype, found.changed, found.identical) == ("same", True, (), ("y",))
    assert [(change.name, change.change) for change in found.equal] == [("x", "dtype")]
    nudged = memory(x=values.astype(np.float32) * np.float32(1.001), y=np.ones(1))
    assert states(compare(a, nudged, ignore_dtype=True)) == {"x": "dtype", "y": "identical"}
    assert compare(a, nudged, ignore_dtype=True).state == "different"
    assert tui_params.compare(a, nudged, ignore_dtype=True, rtol=0.01).state == "same"
    lost = MemorySource({"x": values, "y": np.ones(1)}, broken={"x": "gone"})
    assert states(compare(lost, b)) == {"x": "dtype", "y": "identical"}
    assert states(compare(lost, b, ignore_dtype=True)) == {"x": "uncompared", "y": "identical"}


def test_the_elements_of_a_kind_are_all_of_them() -> None:
    a = memory(**{"h.0": np.ones(4, np.complex64), "h.1": np.ones(3), "h.2": np.array([0.0, 1.0]), "h.3": np.ones(5)})
    b = memory(**{"h.0": np.ones(4, np.complex64), "h.1": np.zeros(3), "h.2": np.array([-0.0, 1.0]), "h.3": np.ones(6)})
    (group,) = group_changes(compare(a, b))
    assert (group.count, group.identical, group.equal, group.changed) == (4, 1, 1, 2)
    assert (group.elements, group.changed_elements) == (8 + 3 + 2, 3)
    assert (group.max_abs, group.relative_l2, group.cosine) == (1.0, 1.0, None)
    a, b = memory(**{"h.0": np.zeros(2), "h.1": np.ones(2)}), memory(**{"h.0": np.ones(2), "h.1": np.full(2, 2.0)})
    (group,) = group_changes(compare(a, b))
    assert (group.max_abs, group.relative_l2, group.cosine) == (1.0, None, 1.0)


def test_what_cannot_be_read_is_uncompared_and_the_rest_goes_on() -> None:
    arrays = {name: np.arange(4.0) for name in ("good", "lost", "breaks", "other")}
    a = MemorySource(arrays, unreadable={"lost": "shard 2 is missing"})
    b = MemorySource(arrays | {"other": np.arange(4)}, broken={"breaks": "the disk failed", "other": "the disk failed"})
    found = compare(a, b)
    assert states(found) == {"good": "identical", "lost": "uncompared", "breaks": "uncompared", "other": "dtype"}
    assert [item.reason for item in found.uncompared] == ["in A: shard 2 is missing", "the disk failed"]
    assert (only(found).difference, only(found).reason) == (None, "the disk failed")
    del a.arrays["other"], b.arrays["other"]
    whole = compare(MemorySource(a.arrays, unreadable={"lost": "x"}), MemorySource(b.arrays))
    assert whole.state == "uncompared"


class Odd(MemorySource):
    """A source whose blocks are not what they should be."""

    def __init__(self, arrays: dict[str, NDArray[Any]], mode: str) -> None:
        super().__init__(arrays)
        self.mode = mode

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        for block in super().blocks(info, start, stop):
            if self.mode == "short":
                yield block[: block.size // 2]
            elif self.mode == "long":
                yield np.concatenate([block, block])
            elif self.mode == "split":
                yield block[:3]
                yield block[3:]
            elif self.mode == "empty":
                yield block[:0]
                yield block
            else:
                raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("short", "x ended 50 elements early"),
        ("long", None),
        ("split", "x came in a block that ends inside an element"),
        ("empty", None),
        ("failing", "it could not be read: Input/output error"),
    ],
)
def test_odd_blocks(mode: str, reason: str | None) -> None:
    arrays = {"x": np.arange(100)}
    for a, b in ((MemorySource(arrays), Odd(arrays, mode)), (Odd(arrays, mode), MemorySource(arrays))):
        found = compare(a, b)
        assert [item.reason for item in found.uncompared] == ([] if reason is None else [reason])
        assert found.identical == (("x",) if reason is None else ())


@given(st.data())
@settings(max_examples=80)
def test_blocks_of_any_size_are_laid_side_by_side_random(data: st.DataObject) -> None:
    # Of quantised types the bits are not all.
    dtype = data.draw(st.sampled_from([dtype for dtype in READABLE if not dtype.name.startswith("q")]))
    numel = data.draw(st.integers(0, 200))
    length = numel * (2 if dtype.is_complex else 1)
    bits = part_of(dtype).bits
    codes = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=length, max_size=length))
    other = list(codes)
    changed = data.draw(st.sets(st.integers(0, length - 1), max_size=3)) if length else set()
    for place in changed:
        other[place] ^= 1 << data.draw(st.integers(0, bits - 1))
    info = describe("x", (numel,), dtype)
    steps = [8 * data.draw(st.integers(1, 9)) for _ in "ab"]
    sources = [
        BytesSource({info: pack_codes(each, bits)}, step) for each, step in zip((codes, other), steps, strict=True)
    ]
    found = compare(*sources, threads=1)
    assert states(found)["x"] in (("values", "equal") if changed else ("identical",))
    if found.changed:
        difference = only(found).difference
        assert difference.first in {place // (2 if dtype.is_complex else 1) for place in changed}
        assert difference.count == length
    start = data.draw(st.integers(0, numel // 8)) * 8
    parts = [
        (piece.a.tobytes(), piece.start, piece.numel)
        for piece in pieces(sources[0], info, sources[1], info, start, numel)
    ]
    assert b"".join(part[0] for part in parts) == pack_codes(codes, bits).tobytes()[start * dtype.bits // 8 :]
    assert [part[1] for part in parts] == [start + sum(other[2] for other in parts[:i]) for i in range(len(parts))]
    assert b"".join(raw.tobytes() for raw, _ in one_side(sources[0], info, start, numel)) == b"".join(
        p[0] for p in parts
    )


@pytest.mark.parametrize("place", [0, 7, PIECE - 1, PIECE, PIECE + 9, 2 * PIECE, 2 * PIECE + 4])
def test_one_other_byte_anywhere_is_seen(place: int) -> None:
    a = np.zeros(2 * PIECE + 5, np.uint8)
    b = a.copy()
    compared = ByteComparison()
    assert compared.is_same(a, b)
    assert not compared.is_same(a, b[:-1])
    b[place] = 128
    assert not compared.is_same(a, b)
    assert not compared.is_same(a[place:], b[place:])


@given(st.lists(st.integers(0, 7), max_size=4), st.integers(1, 60))
@settings(max_examples=60)
def test_windows_are_the_tensor_in_order_random(shape: list[int], most: int) -> None:
    array = np.arange(math.prod(shape)).reshape(shape)
    source = MemorySource({"x": array})
    info = source.find("x")
    parts = [source.read_window(info, window).reshape(-1) for window in windows(info.shape, most)]
    assert np.array_equal(np.concatenate([np.empty(0, int), *parts]), array.reshape(-1))
    assert all(part.size <= most for part in parts)


def test_ranges_of_large_tensors_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_params.core.compare.lockstep.RANGE_NBYTES", 1 << 16)
    x = RNG.normal(size=100_000).astype(np.float32)
    y = x.copy()
    y[[40_007, 70_001]] += 1
    for threads in (1, 3):
        found = compare(memory(x=x, z=x), memory(x=y, z=x.copy()), threads=threads)
        change = only(found)
        assert (change.name, found.identical, change.first_index) == ("x", ("z",), (40_007,))
        difference, exact = change.difference, x.astype(np.float64)
        assert (difference.pairs, difference.changed) == (100_000, 2)
        norms = np.linalg.norm(exact), np.linalg.norm(y.astype(np.float64))
        assert difference.relative_l2 == pytest.approx(np.linalg.norm(y.astype(np.float64) - exact) / norms[0])
        assert difference.cosine == pytest.approx(exact @ y / norms[0] / norms[1])


def test_tied_elements_are_read_once_and_told_for_each_name() -> None:
    x, y = np.zeros(4), np.ones(4)
    tied = {"head": "embed"}
    a, b = (MemorySource({"embed": array, "head": array}, tied_to=tied) for array in (x, y))
    reads: list[str] = []

    class Counting(MemorySource):
        def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
            reads.append(info.name)
            yield from super().blocks(info, start, stop)

    counted = Counting(a.arrays, tied_to=tied)
    found = compare(counted, b)
    assert [change.name for change in found.changed] == ["embed", "head"]
    assert reads == ["embed"]
    untied = MemorySource({"embed": x, "head": y})
    assert states(compare(a, untied)) == {"embed": "identical", "head": "values"}


def test_a_further_name_of_tied_elements_makes_no_difference() -> None:
    a = MemorySource({"embed": np.zeros(4), "head": np.zeros(4)}, tied_to={"head": "embed"})
    for one in ("embed", "head"):
        found = compare(a, MemorySource({one: np.zeros(4)}))
        assert (found.state, found.only_in_a, found.identical) == ("same", (), (one,))
        assert [item.reason for item in found.implied] == [f"tied to {one}, which both have"]


def test_verdicts_come_one_by_one_and_for_chosen_names() -> None:
    arrays = {f"layers.{i}.w": np.full(8, float(i)) for i in range(5)}
    comparer = Comparer(MemorySource(arrays), MemorySource(arrays | {"layers.3.w": np.zeros(8)}))
    found: list[Verdict] = []
    told: list[Progress] = []
    comparer.run(found.append, names=["layers.3.w", "layers.1.w", "nothing"], progress=told.append)
    assert {verdict.name: verdict.state for verdict in found} == {"layers.1.w": "identical", "layers.3.w": "changed"}
    assert told[-1] == Progress(128, 128, 2, 2)
    assert comparer.comparison(found).identical == ("layers.1.w",)
    comparer.run(found.append)
    (group,) = group_changes(comparer.comparison(found))
    assert (group.kind, group.count, group.changed, group.identical) == ("layers.#.w", 5, 1, 4)
    assert group.worst is not None
    assert group.worst.name == "layers.3.w"


def test_a_comparison_stops_when_nobody_wants_it() -> None:
    arrays = {f"x{i}": np.zeros(100) for i in range(50)}
    found: list[Verdict] = []
    with pytest.raises(StoppedError):
        Comparer(MemorySource(arrays), MemorySource(arrays)).run(found.append, should_stop=lambda: len(found) >= 3)
    assert 3 <= len(found) < 50


def test_an_error_of_the_receiver_ends_the_threads() -> None:
    arrays = {f"x{i}": np.zeros(100) for i in range(50)}

    def fail(verdict: Verdict) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Comparer(MemorySource(arrays), MemorySource(arrays)).run(fail)


def test_a_fault_in_a_thread_is_not_swallowed() -> None:
    class Faulty(MemorySource):
        def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
            raise ZeroDivisionError("a fault of ours")

    with pytest.raises(ZeroDivisionError):
        compare(Faulty({"x": np.zeros(3)}), memory(x=np.zeros(3)))


def quantised(name: str, *notes: str, file: str | None = None) -> BytesSource:
    info = TensorInfo(name, (4,), of("qint8"), 4, 4, file=file, notes=notes)
    return BytesSource({info: np.arange(4, dtype=np.uint8)})


@pytest.mark.parametrize(
    ("a", "b", "state"),
    [
        ("scale 0.1, zero point 0", "quantised: scale 0.1, zero point 0", "identical"),
        ("scale 0.10000000149, zero point 3", "quantised: scale 0.1, zero point 3", "identical"),
        ("scale 0.1, zero point 0", "scale 0.2, zero point 0", "uncompared"),
        ("scale 0.1, zero point 0", "scale 0.1, zero point 1", "uncompared"),
        (
            "quantised: 4 scales and zero points along axis 0",
            "quantised: 4 scales and zero points along axis 0",
            "uncompared",
        ),
        ("scale x, zero point y", "scale x, zero point y", "uncompared"),
    ],
)
def test_quantised_integers_need_the_same_scale(a: str, b: str, state: str) -> None:
    assert states(compare(quantised("x", a), quantised("x", b))) == {"x": state}


def test_scales_that_are_tensors_of_their_own() -> None:
    a = quantised("x", "per_channel_affine along axis 0", file="a.pt")
    b = quantised("x", "per_channel_affine along axis 0", file="b.pt")
    assert states(compare(a, b)) == {"x": "identical"}


@pytest.mark.parametrize("name", ["float4_e2m1fn", "complex32", "bool", "bfloat16", "int64"])
def test_gathered_bytes_are_those_of_the_elements(name: str) -> None:
    dtype = of(name)
    native = numpy_dtype(dtype)
    values = np.arange(24).reshape(4, 6) % 7
    array = values.astype(np.complex64 if native is None else native)

    class Strided(MemorySource):
        def read_window(self, info: TensorInfo, window: Any) -> NDArray[Any]:
            return super().read_window(self.find("x"), window)

    source = Strided({"x": array})
    info = TensorInfo("x", (4, 6), dtype, 24, dtype.nbytes(24), stride=(1, 4))
    if dtype.is_packed:
        with pytest.raises(ReadError, match="strided view of packed"):
            list(gathered(source, info, 0, 24))
        return
    expected = array if native is not None else array.view(np.float32).astype(np.float16)
    assert b"".join(part.tobytes() for part in gathered(source, info, 0, 24)) == expected.tobytes()
    some = b"".join(part.tobytes() for part in gathered(source, info, 8, 20))
    assert some == expected.tobytes()[8 * dtype.bits // 8 : 20 * dtype.bits // 8]


def test_an_unknown_type_is_uncompared(tmp_path: Path) -> None:
    header = {"x": {"dtype": "F7", "shape": [2], "data_offsets": [0, 2]}}
    path = tmp_path / "a.safetensors"
    path.write_bytes(file_bytes(header, bytes(2)))
    found = tui_params.compare(path, path)
    assert [item.name for item in found.uncompared] == ["x"]
    assert "F7" in found.uncompared[0].reason


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return TiedModel()


def test_a_live_model_against_its_own_checkpoints(model: nn.Module, tmp_path: Path) -> None:
    save_model(model, str(tmp_path / "model.safetensors"))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    torch.save(model, tmp_path / "whole.pt")
    plain = {name: tensor.clone() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(plain, str(tmp_path / "plain.safetensors"))
    for name in ("model.safetensors", "model.pt", "whole.pt", "plain.safetensors"):
        for a, b in ((model, tmp_path / name), (tmp_path / name, model), (tmp_path / name, tmp_path / "model.pt")):
            found = tui_params.compare(a, b)
            assert (found.state, found.changed, found.uncompared) == ("same", (), ()), name
            assert len(found.identical) >= len(plain)
    assert tui_params.compare(model, model.state_dict()).state == "same"


def test_trained_layers_are_told_from_those_that_did_not_change(tmp_path: Path) -> None:
    # 27 tensors changed and 390 stayed bit-identical: what a person had to find out by hand (OpenRLHF issue 1258).
    torch.manual_seed(0)
    state = {f"model.layers.{i}.mlp.{part}.weight": torch.randn(8, 8).bfloat16() for i in range(32) for part in
             ("up_proj", "down_proj", "gate_proj")}  # fmt: skip
    state |= {f"model.layers.{i}.self_attn.{part}.weight": torch.randn(4, 8).bfloat16() for i in range(32) for part in
              ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")}  # fmt: skip
    state |= {f"model.layers.{i}.norm.weight": torch.ones(8).bfloat16() for i in range(32)}
    state |= {f"model.layers.{i}.bias": torch.ones(8).bfloat16() for i in range(97)}
    assert len(state) == 417
    save_file(state, str(tmp_path / "before.safetensors"))
    trained = dict(state)
    for i in range(27):
        name = f"model.layers.{i}.mlp.up_proj.weight"
        trained[name] = state[name] + 0.5
    torch.save(trained, tmp_path / "after.pt")
    for target in (tmp_path / "after.pt", trained):
        found = tui_params.compare(tmp_path / "before.safetensors", target)
        assert (len(found.changed), len(found.identical)) == (27, 390)
        first = group_changes(found)[0]
        assert (first.kind, first.changed, first.count) == ("model.layers.#.mlp.up_proj.weight", 27, 32)
        assert all(group.changed == 0 for group in group_changes(found)[1:])
    wrapped = nn.Module()
    found = tui_params.compare(tmp_path / "before.safetensors", {f"module.{name}": t for name, t in state.items()})
    assert (len(found.only_in_a), str(found.suggested[0].renames[0])) == (417, "b:module.=")
    found = tui_params.compare(
        tmp_path / "before.safetensors", {f"module.{n}": t for n, t in state.items()}, auto_rename=True
    )
    assert (found.state, len(found.identical)) == ("same", 417)
    assert tui_params.compare(wrapped, wrapped).state == "uncompared"


def test_two_shardings_of_one_model_are_identical(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = {f"layers.{i}.weight": torch.randn(5, 7) for i in range(9)}
    for count in (2, 4):
        folder = tmp_path / str(count)
        folder.mkdir()
        shards: dict[str, dict[str, torch.Tensor]] = {}
        for i, (name, tensor) in enumerate(state.items()):
            shards.setdefault(f"model-{i % count + 1:05}-of-{count:05}.safetensors", {})[name] = tensor
        for file, tensors in shards.items():
            save_file(tensors, str(folder / file))
        write_index(folder, {name: file for file, tensors in shards.items() for name in tensors})
    found = tui_params.compare(tmp_path / "2", tmp_path / "4")
    assert (found.state, len(found.identical)) == ("same", 9)
    (tmp_path / "4" / "model-00002-of-00004.safetensors").unlink()
    found = tui_params.compare(tmp_path / "2", tmp_path / "4")
    assert (found.state, len(found.identical), len(found.uncompared)) == ("uncompared", 7, 2)


def test_views_are_compared_by_their_elements(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = torch.randn(40, 30)
    state = {
        "transposed": base.t(),
        "strided": base[::2, ::3],
        "expanded": base[:1].expand(6, 30),
        "conjugated": torch.randn(3, 4, dtype=torch.complex64).conj(),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    torch.save(state, tmp_path / "views.pt")
    plain = {name: tensor.resolve_conj().contiguous() for name, tensor in state.items()}
    torch.save(plain, tmp_path / "plain.pt")
    targets: list[Any] = [tmp_path / "views.pt", tmp_path / "plain.pt", state, plain]
    for a in targets:
        for b in targets:
            assert len(tui_params.compare(a, b).identical) == 5
    other = dict(plain, transposed=plain["transposed"] + torch.eye(30, 40)[:, :] * (torch.arange(40) == 7))
    change = only(tui_params.compare(tmp_path / "views.pt", other))
    assert (change.name, change.first_index, change.difference.changed) == ("transposed", (7, 7), 1)


def test_gathering_goes_on_over_many_windows() -> None:
    side = math.isqrt(WINDOW) + 9
    base = torch.randn(side, side)
    changed = base.clone()
    changed[5, -1] += 1
    found = tui_params.compare({"x": base.t()}, {"x": changed.t().contiguous()})
    assert only(found).first_index == (side - 1, 5)
    assert only(found).difference.changed == 1


def small(path: Path, data: bytes) -> Path:
    path.write_bytes(file_bytes({"a": entry("F32", (4,), 0), "b": entry("F32", (4,), 16)}, data))
    return path


def test_a_truncated_side(tmp_path: Path) -> None:
    a, b = small(tmp_path / "a.safetensors", bytes(32)), small(tmp_path / "b.safetensors", bytes(24))
    found = tui_params.compare(a, b)
    assert (found.identical, found.state) == (("a",), "uncompared")
    assert found.uncompared[0].name == "b"
    assert found.uncompared[0].reason.startswith("in B: ")


def test_a_side_that_changes_while_it_is_read(tmp_path: Path) -> None:
    a, b = small(tmp_path / "a.safetensors", bytes(32)), small(tmp_path / "b.safetensors", bytes(32))
    with open_source(a) as left, open_source(b) as right:
        done: list[Verdict] = []

        def rewrite(verdict: Verdict) -> None:
            done.append(verdict)

        class Rewriting(Source):
            """``right``, whose file is rewritten when its second tensor is asked for."""

            label, listing = right.label, right.listing

            def read_window(self, info: TensorInfo, window: Any) -> NDArray[Any]:
                return right.read_window(info, window)

            def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
                if info.name == "b":
                    b.write_bytes(b.read_bytes()[:-1] + b"x")
                    os.utime(b, ns=(1, 1))
                return right.blocks(info, start, stop)

            def close(self) -> None:
                right.close()

        comparer = Comparer(left, Rewriting())
        comparer.run(rewrite, threads=1)
        found = comparer.comparison(done)
    assert (found.identical, found.changed) == (("a",), ())
    assert "was written to after it was opened" in found.uncompared[0].reason


def test_sources_that_were_opened_are_closed_and_others_stay_open(tmp_path: Path) -> None:
    path = small(tmp_path / "a.safetensors", bytes(32))
    kept = memory(a=np.zeros(4, np.float32), b=np.zeros(4, np.float32))
    assert tui_params.compare(path, kept).state == "same"
    assert not kept.is_closed
    with pytest.raises(OpenError, match="no such file"):
        tui_params.compare(path, tmp_path / "nothing")
    with pytest.raises(TypeError):
        tui_params.compare(path, 3)
