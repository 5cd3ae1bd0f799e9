"""Timelines: figures against numpy in float64, and runs with gaps, other shapes, types and lost steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tui_params
from tests.factories_memory import MemorySource
from tui_params.core.compare import timeline as module
from tui_params.core.compare.timeline import read_timeline
from tui_params.core.compare.tracks import Moment, Step, Timeline, Track
from tui_params.core.kernels.engine import Engine
from tui_params.errors import OpenError, StoppedError

TYPES = ("float32", "float64", "bfloat16", "float16", "float8_e5m2", "float8_e4m3fn", "int32", "int8", "complex64")
ODD = (np.nan, np.inf, -np.inf, -0.0, 0.0)


def track_of(*arrays: Any, engine: Engine | None = None) -> Track:
    """The one tensor of a run in memory; None where a step has no such tensor."""
    sources = [MemorySource({} if array is None else {"w": array}) for array in arrays]
    for source in sources:
        source.engine = engine or source.engine
    (track,) = read_timeline([Step(str(at)) for at in range(len(arrays))], sources).tracks
    return track


def wide(array: Any) -> Any:
    return array.astype(np.float64)


def check_against_definition(track: Track, arrays: list[Any]) -> None:
    """Compare with what numpy finds in float64; a complex element is two numbers."""
    flat = [array.reshape(-1) for array in arrays]
    numbers = [wide(array.view(np.float32) if array.dtype.kind == "c" else array) for array in flat]
    for at, now in enumerate(numbers):
        moment = track.moments[at]
        assert moment is not None
        finite = now[np.isfinite(now)]
        assert (moment.nan, moment.infinite) == (np.isnan(now).sum(), np.isinf(now).sum())
        assert moment.norm == (pytest.approx(np.linalg.norm(finite), rel=1e-14) if finite.size else None)
        assert moment.abs_max == (np.abs(finite).max() if finite.size else None)
        if not at:
            continue
        before = numbers[at - 1]
        pairs = np.isfinite(now) & np.isfinite(before)
        assert moment.since == at - 1
        assert moment.is_identical == (arrays[at].tobytes() == arrays[at - 1].tobytes())
        differ = (now != before) & ~(np.isnan(now) & np.isnan(before))
        assert moment.changed == (differ.mean() if now.size else 0)
        norm, change = np.linalg.norm(before[pairs]), np.linalg.norm(now[pairs] - before[pairs])
        if moment.is_identical:
            assert moment.change == 0
        elif norm:
            assert moment.change == pytest.approx(change / norm, rel=1e-12)
        else:
            assert moment.change == (0 if pairs.any() and not change else None)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(30, 40), (), (3, 0)])
def test_figures_are_those_of_numpy(dtype: str, shape: tuple[int, ...], engine: Engine) -> None:
    random = np.random.default_rng(4)
    element = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    with np.errstate(all="ignore"):
        arrays = [np.asarray((random.standard_normal(shape) * 50).astype(element)) for _ in range(8)]
        for at, value in enumerate(ODD if element.kind not in "i" else (0,), 1):
            arrays[at].reshape(-1)[: at * arrays[at].size // 7 + 1] = value
        arrays[-1] = arrays[-2].copy()
        check_against_definition(track_of(*arrays, engine=engine), arrays)


def test_a_norm_that_lies_between_two_numbers_is_read_again(
    compiled_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = [np.random.default_rng(at).standard_normal(5000).astype(np.float32) for at in range(2)]
    whole = track_of(*arrays, engine=compiled_engine)
    monkeypatch.setattr("tui_params.core.numbers.movement._DOUBT", 30)
    assert track_of(*arrays, engine=compiled_engine) == whole


def test_large_tensors_are_read_in_ranges_to_the_same_figures(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    arrays = [random.standard_normal(5000).astype(np.float32) for _ in range(3)]
    arrays[2][:4000] = arrays[1][:4000]  # equal ranges before the first difference count into the norm
    whole = track_of(*arrays, engine=engine)
    monkeypatch.setattr(module, "RANGE", 1024)
    for cut, uncut in zip(track_of(*arrays, engine=engine).moments, whole.moments, strict=True):
        assert cut is not None
        assert uncut is not None
        assert cut.change == (None if uncut.change is None else pytest.approx(uncut.change, rel=1e-14))
        assert msgspec.structs.replace(cut, change=uncut.change) == uncut


def test_nan_is_found_at_the_step_where_it_sets_in() -> None:
    arrays = [np.full(100, step, np.float32) for step in range(1, 6)]
    arrays[3][[7, 8]] = np.nan
    arrays[4][9] = np.inf
    track = track_of(*arrays)
    assert track.first_broken == 3
    third, fourth = track.moments[3], track.moments[4]
    assert third is not None
    assert fourth is not None
    assert (third.nan, third.infinite, fourth.nan, fourth.infinite) == (2, 0, 0, 1)
    # Over the elements that are finite on both sides: from 3 to 4.
    assert third.change == pytest.approx(1 / 3)


def test_a_jump_is_told_and_a_frozen_tensor_too() -> None:
    steps = [np.full(50, value, np.float32) for value in (1.0, 1.01, 1.02, 1.03, 2.0, 2.01)]
    assert track_of(*steps).jump == 4
    assert track_of(*steps[:4]).jump is None
    assert track_of(steps[0], steps[1], steps[1], steps[1]).frozen_since == 1
    assert track_of(*steps).frozen_since is None


def test_minus_zero_is_no_change_and_not_frozen() -> None:
    moment = track_of(np.zeros(3, np.float32), -np.zeros(3, np.float32)).moments[1]
    assert moment is not None
    assert (moment.changed, moment.is_identical) == (0.0, False)


def test_a_tensor_that_is_absent_or_has_another_shape_is_compared_with_the_last_of_its_shape() -> None:
    a, b = np.ones(4, np.float32), np.full(4, 3, np.float32)
    track = track_of(a, None, np.ones((2, 2), np.float32), b)
    assert track.moments[1] is None
    other, last = track.moments[2], track.moments[3]
    assert other is not None
    assert last is not None
    assert (other.since, last.since, last.change) == (None, 0, 2.0)


def test_another_element_type_is_compared_by_value() -> None:
    a = np.linspace(-1, 1, 64, dtype=np.float32)
    moment = track_of(a, a.astype(ml_dtypes.bfloat16)).moments[1]
    assert moment is not None
    assert moment.dtype == "bf16"
    assert 0 < (moment.change or 0) < 0.004


@pytest.mark.parametrize("array", [np.float32(2.5), np.zeros((3, 0), np.float32), np.array([True, False])])
def test_scalars_empty_ones_and_truth_values(array: Any) -> None:
    track = track_of(np.asarray(array), np.asarray(array))
    moment = track.moments[1]
    assert moment is not None
    assert (moment.is_identical, moment.change, moment.changed) == (True, 0.0, 0.0)


@pytest.mark.parametrize("types", ["fff", "fdd", "dfd", "ddf"])
def test_a_step_that_is_lost_half_way_leaves_its_neighbours_compared(
    types: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RANGE", 256)
    arrays = [np.full(1000, value, kind) for value, kind in zip((1.0, 2.0, 3.0), types, strict=True)]
    sources = [MemorySource({"w": array}) for array in arrays]
    for source in sources:
        source.engine = engine
    read = sources[1].blocks
    calls = 0

    def lost(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise OSError("the disk is gone")
        return read(*arguments, **options)

    monkeypatch.setattr(sources[1], "blocks", lost)
    (track,) = read_timeline([Step("a"), Step("b"), Step("c")], sources, threads=1).tracks
    second, third = track.moments[1], track.moments[2]
    assert second is not None
    assert third is not None
    assert second.reason == "it could not be read: the disk is gone"
    assert (third.since, third.change, third.changed) == (0, 2.0, 1.0)


def test_reading_stops_when_it_is_asked_to() -> None:
    sources = [MemorySource({"w": np.ones(10, np.float32)}) for _ in range(2)]
    with pytest.raises(StoppedError):
        read_timeline([Step("a"), Step("b")], sources, should_stop=lambda: True)


@given(st.lists(st.sampled_from([None, 1.0, 1.5, float("nan"), float("inf"), 0.0]), min_size=2, max_size=6))
def test_any_course_gives_a_track(values: list[float | None]) -> None:
    arrays = [None if value is None else np.full(5, value, np.float32) for value in values]
    if all(array is None for array in arrays):
        return
    track = track_of(*arrays)
    broken = [at for at, value in enumerate(values) if value is not None and not np.isfinite(value)]
    assert track.first_broken == (broken[0] if broken else None)
    for at, value in enumerate(values):
        assert (track.moments[at] is None) == (value is None)


def test_the_numbers_of_steps_are_looked_at() -> None:
    moment = Moment("f32", 1)
    track = Track("w", (1,), (moment, moment))
    assert Timeline((Step("a", 1), Step("b", 2)), (track,)).is_monotonic()
    assert not Timeline((Step("a", 2), Step("b", 2)), (track,)).is_monotonic()


def run(folder: Path, steps: dict[int, Any]) -> Path:
    """The folder of a run as transformers' Trainer makes one."""
    for number, tensors in steps.items():
        place = folder / f"checkpoint-{number}"
        place.mkdir(parents=True)
        torch.save(tensors, place / "pytorch_model.bin")
    return folder


def test_a_folder_of_a_run_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", {n: {"w": torch.full((4,), float(n))} for n in (1000, 500, 90)})
    torch.save({"w": torch.zeros(4)}, folder / "pytorch_model.bin")  # the end of the run, beside its steps
    found = tui_params.timeline(folder)
    assert [step.number for step in found.steps] == [90, 500, 1000]
    (track,) = found.tracks
    last = track.moments[2]
    assert last is not None
    assert last.change == 1.0


def test_a_damaged_step_is_said_and_the_others_are_compared(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", {n: {"w": torch.full((4,), float(n))} for n in (1, 2, 3)})
    (folder / "checkpoint-2" / "pytorch_model.bin").write_bytes(b"PK\x03\x04 nothing")
    found = tui_params.timeline([folder / f"checkpoint-{n}" for n in (1, 2, 3)])
    assert found.steps[1].reason is not None
    assert found.unread
    last = found.tracks[0].moments[2]
    assert last is not None
    assert (last.since, last.change) == (0, 2.0)


def test_a_step_without_tensors_is_not_passed_over(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", {n: {"w": torch.full((4,), float(n))} for n in (1, 2)})
    (folder / "checkpoint-3").mkdir()
    found = tui_params.timeline(folder)
    assert [step.number for step in found.steps] == [1, 2, 3]
    assert "holds no tensor file" in (found.steps[2].reason or "")
    assert found.unread
    (folder / "logs-4").mkdir()
    assert len(tui_params.timeline(folder).steps) == 3


def test_fewer_than_two_steps_are_no_run(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", {1: {"w": torch.ones(2)}})
    with pytest.raises(OpenError, match="no folder with two steps"):
        tui_params.timeline(folder)
    with pytest.raises(OpenError, match="no folder with two steps"):
        tui_params.timeline([folder])
    with pytest.raises(OpenError):
        tui_params.timeline([folder / "checkpoint-1", tmp_path / "nothing"])
    with pytest.raises(TypeError):
        tui_params.timeline({"w": torch.ones(2)})


def test_each_track_is_told_and_what_is_known_is_not_read_again() -> None:
    random = np.random.default_rng(7)
    arrays = [{"a": random.standard_normal(40), "b": random.standard_normal(9)} for _ in range(5)]
    del arrays[2]["b"]
    arrays[3]["a"] = arrays[2]["a"].copy()
    steps = [Step(str(at)) for at in range(5)]
    told: list[Track] = []
    whole = read_timeline(steps, [MemorySource(step) for step in arrays], found=told.append)
    assert sorted(told, key=lambda track: track.name) == list(whole.tracks)
    tracks = {track.name: track for track in whole.tracks}
    for bits in range(32):
        sources = [ReadOnce(step) for step in arrays]
        known = {
            name: [moment if bits >> at & 1 else None for at, moment in enumerate(track.moments)]
            for name, track in tracks.items()
        }
        assert read_timeline(steps, sources, known=known.__getitem__) == whole
        for at, source in enumerate(sources):
            unknown = [name for name in ("a", "b") if tracks[name].moments[at] is not None and not bits >> at & 1]
            assert source.were_read >= set(unknown)
        if bits == 31:
            assert not any(source.were_read for source in sources)
        if bits == 15:  # the last step is new: only it and the one before it are read
            assert [bool(source.were_read) for source in sources] == [False, False, False, True, True]


def test_a_step_that_is_gone_when_a_new_one_comes_is_passed_over() -> None:
    arrays = [np.full(8, value, np.float32) for value in (1.0, 2.0, 3.0)]
    before = track_of(*arrays[:2]).moments
    sources = [MemorySource({"w": array}) for array in arrays]
    sources[1].blocks = lost  # type: ignore[method-assign]
    (track,) = read_timeline([Step(str(at)) for at in range(3)], sources, known=lambda name: [*before, None]).tracks
    assert track.moments[:2] == before
    last = track.moments[2]
    assert last is not None
    assert (last.since, last.change) == (0, 2.0)


def lost(*_: Any, **__: Any) -> Any:
    raise OSError("the file is gone")


class ReadOnce(MemorySource):
    """Knows which tensors were read."""

    def __init__(self, arrays: Any) -> None:
        super().__init__(arrays)
        self.were_read: set[str] = set()

    def blocks(self, info: Any, *more: Any, **options: Any) -> Any:
        self.were_read.add(info.name)
        return super().blocks(info, *more, **options)
