from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_numbers import BytesSource
from tui_params.api.opening import open_source
from tui_params.core.dtypes import DType, from_torch
from tui_params.core.kernels.engine import Engine
from tui_params.core.numbers.summary import Summary
from tui_params.core.reading import tensor_reading as reading
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.sweep import ScanProgress, plan, scan_all
from tui_params.core.reading.tensor_reading import Reading, measure
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo, describe
from tui_params.errors import ReadError, StoppedError


def dtype_named(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


BF16 = dtype_named("bfloat16")
F32 = dtype_named("float32")


def tensor(
    name: str, shape: tuple[int, ...], dtype: DType = BF16, seed: int = 0
) -> tuple[TensorInfo, NDArray[np.uint8]]:
    info = describe(name, shape, dtype)
    return info, np.random.default_rng(seed).integers(0, 256, info.nbytes, np.uint8)


class FailingSource(BytesSource):
    """Bytes of which some cannot be had: an error by tensor, after ``after`` elements."""

    def __init__(self, tensors: dict[TensorInfo, NDArray[np.uint8]], step: int = 256) -> None:
        super().__init__(tensors, step)
        self.errors: dict[str, Exception] = {}
        self.after = 0

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        done = start
        for block in super().blocks(info, start, stop):
            if info.name in self.errors and done >= self.after:
                raise self.errors[info.name]
            yield block
            done += block.size * 8 // info.dtype.bits


def swept(source: Source, names: list[str] | None = None, threads: int | None = 1) -> list[Outcome]:
    outcomes: list[Outcome] = []
    scan_all(source, names or [info.name for info in source.listing.tensors], outcomes.append, threads=threads)
    return outcomes


def placed(name: str, file: str | None, offset: int | None) -> TensorInfo:
    return TensorInfo(name, (4,), BF16, 4, 8, file=file, offset=offset)


def test_a_plan_reads_each_file_once_and_forward() -> None:
    infos = [
        placed("a", "2.safetensors", 100),
        placed("b", "1.safetensors", 50),
        placed("c", "2.safetensors", 0),
        placed("d", None, None),
        placed("e", "1.safetensors", 8),
    ]
    assert [info.name for info in plan(infos)] == ["c", "a", "e", "b", "d"]


@given(st.lists(st.tuples(st.sampled_from(["x", "y", None]), st.one_of(st.none(), st.integers(0, 99))), max_size=20))
def test_a_plan_loses_nothing_and_never_turns_back(places: list[tuple[str | None, int | None]]) -> None:
    infos = [placed(str(i), file, offset) for i, (file, offset) in enumerate(places)]
    order = plan(infos)
    assert sorted(info.name for info in order) == sorted(info.name for info in infos)
    files = [info.file for info in order]
    assert len([i for i in range(1, len(files)) if files[i] != files[i - 1]]) == max(len(set(files)) - 1, 0)
    for before, after in pairwise(order):
        assert before.file != after.file or (before.offset or 0) <= (after.offset or 0)


def test_every_tensor_comes_once_with_what_measure_finds(engine: Engine) -> None:
    tensors = dict([tensor("a", (30, 40)), tensor("b", (7,), F32), tensor("c", (), F32), tensor("d", (0, 3))])
    source = BytesSource(tensors, engine=engine)
    outcomes = swept(source)
    assert [outcome.name for outcome in outcomes] == ["a", "b", "c", "d"]
    for info, outcome in zip(tensors, outcomes, strict=True):
        found = measure(source, info)
        assert outcome == Outcome(info.name, found.summary.figures(info.numel), None, True, found.channels)
    assert outcomes[0].channels is not None
    assert outcomes[1].channels is None


def test_tied_tensors_are_read_once_and_their_bytes_count_once() -> None:
    a, raw = tensor("a", (16, 16))
    names = [msgspec.structs.replace(a, name=name, tied_to="a") for name in ("first", "last")]
    source = BytesSource({names[0]: raw, a: raw, names[1]: raw})
    told: list[ScanProgress] = []
    outcomes: list[Outcome] = []
    scan_all(source, ["first", "a", "last", "a"], outcomes.append, progress=told.append)
    assert [outcome.name for outcome in outcomes] == ["first", "a", "last"]
    assert len({outcome.figures for outcome in outcomes}) == 1
    assert [name for name, _, _ in source.reads] == ["first"]
    assert told[-1] == ScanProgress(512, 512)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ReadError("the file was truncated"), "the file was truncated"),
        (OSError(5, "Input/output error"), "it could not be read: Input/output error"),
        (MemoryError(), "there is not enough memory to read it"),
    ],
)
def test_what_cannot_be_read_has_a_reason_and_the_rest_goes_on(error: Exception, reason: str) -> None:
    unreadable = msgspec.structs.replace(describe("hole", (9,), BF16), unreadable="the file ends before it")
    source = FailingSource(dict([tensor("a", (40, 40)), tensor("b", (40, 40)), (unreadable, np.zeros(18, np.uint8))]))
    source.errors["a"] = error
    source.after = 256
    told: list[ScanProgress] = []
    outcomes: list[Outcome] = []
    scan_all(source, ["a", "missing", "hole", "b"], outcomes.append, progress=told.append)
    by_name = {outcome.name: outcome for outcome in outcomes}
    assert by_name["a"] == Outcome("a", None, reason, True)
    assert by_name["hole"].reason == "the file ends before it"
    assert by_name["missing"].reason == "bytes has no tensor 'missing'"
    assert by_name["b"].figures is not None
    assert told[-1] == ScanProgress(6400, 6400)


def test_of_tied_tensors_each_is_tried_where_the_first_cannot_be_read() -> None:
    a, raw = tensor("a", (16, 16))
    tied = msgspec.structs.replace(a, name="tied", tied_to="a")
    source = FailingSource({a: raw, tied: raw})
    source.errors["a"] = ReadError("gone")
    assert [outcome.reason for outcome in swept(source)] == ["gone", None]


def test_a_sweep_stops_where_it_is() -> None:
    source = BytesSource(dict([tensor("a", (40, 40)), tensor("b", (40, 40))]), 256)
    outcomes: list[Outcome] = []
    with pytest.raises(StoppedError):
        scan_all(source, ["a", "b"], outcomes.append, should_stop=lambda: bool(outcomes))
    assert [outcome.name for outcome in outcomes] == ["a"]


def test_progress_is_told_ten_times_a_second_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.03
        return now[0]

    monkeypatch.setattr(time, "monotonic", clock)
    source = BytesSource(dict([tensor("a", (64, 64)), tensor("b", (64, 64))]), 256)
    told: list[ScanProgress] = []
    scan_all(source, ["a", "b"], lambda outcome: None, progress=told.append)
    assert told[-1] == ScanProgress(16384, 16384)
    assert [progress.done_bytes for progress in told] == sorted(progress.done_bytes for progress in told)
    assert 7 <= len(told) <= 10


class TestThreads:
    """Large tensors, made of small ranges."""

    @pytest.fixture(autouse=True)
    def _many_ranges(self, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
        monkeypatch.setattr(Source, "engine", engine)
        monkeypatch.setattr(reading, "THREADS_BEYOND", 1)
        monkeypatch.setattr(reading, "MIN_RANGE", 1 << 10)
        monkeypatch.setattr(reading, "MAX_RANGE", 1 << 11)

    @pytest.mark.parametrize(
        "name", ["bfloat16", "float8_e4m3fn", "float6_e2m3fn", "float4_e2m1fn", "float32", "int64"]
    )
    def test_whatever_the_threads_the_summary_is_the_same(self, name: str) -> None:
        info, raw = tensor("t", (10_007,), dtype_named(name))
        source = BytesSource({info: raw}, 256)
        told: list[int] = []
        found = measure(source, info, threads=4, progress=told.append)
        assert found.summary == Summary.of(raw, info.dtype, info.numel)
        assert told[-1] == info.numel
        assert told == sorted(told)

    def test_an_error_in_any_thread_is_that_of_the_tensor(self) -> None:
        source = FailingSource(dict([tensor("a", (100, 100)), tensor("b", (100, 100))]))
        source.errors["a"] = OSError(5, "Input/output error")
        source.after = 5000
        outcomes = swept(source, threads=3)
        assert [outcome.reason for outcome in outcomes] == ["it could not be read: Input/output error", None]

    def test_a_source_that_ends_early_is_an_error_whoever_reads_it(self) -> None:
        class Short(BytesSource):
            def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
                yield from super().blocks(info, start, min(stop or info.numel, max(start, 6000)))

        info, raw = tensor("a", (100, 100))
        with pytest.raises(ReadError, match="a ended after"):
            measure(Short({info: raw}, 256), info, threads=3)

    @pytest.mark.parametrize("blocks", [1, 5, 17])
    def test_a_reading_that_was_stopped_goes_on_and_finds_the_same(self, blocks: int) -> None:
        is_stopped = Event()

        class Waiting(BytesSource):
            """Helpers read one block of each range, and more only when they were told to stop."""

            def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
                for number, block in enumerate(super().blocks(info, start, stop)):
                    if number and current_thread() is not main_thread():
                        assert is_stopped.wait(300)
                    yield block

        info, raw = tensor("a", (100, 100))
        source = Waiting({info: raw}, 256)
        read = Reading(source, info, has_channels=True)
        asked: list[None] = []

        def should_stop() -> bool:
            asked.append(None)
            if len(asked) > blocks:
                is_stopped.set()
            return is_stopped.is_set()

        with pytest.raises(StoppedError):
            read.run(should_stop, None, 3)
        assert read.can_resume
        assert 0 < read.done <= info.numel  # a helper that is told to go on late may read the rest before it is stopped
        read.run(None, None, 2)
        assert read.done == info.numel
        assert read.measurement().summary == Summary.of(raw, BF16, info.numel)
        assert read.measurement().channels == measure(source, info, threads=1).channels

    def test_where_no_thread_can_be_started_one_reads_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def start(thread: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(Thread, "start", start)
        info, raw = tensor("a", (100, 100))
        assert measure(BytesSource({info: raw}), info, threads=3).summary == Summary.of(raw, BF16, info.numel)


def test_a_file_that_shrinks_during_the_sweep_is_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = {
        name: {"dtype": "F32", "shape": [100, 100], "data_offsets": [40_000 * i, 40_000 * (i + 1)]}
        for i, name in enumerate("ab")
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(80_000))
    outcomes: list[Outcome] = []

    def deliver(outcome: Outcome) -> None:
        outcomes.append(outcome)
        path.write_bytes(path.read_bytes()[:-50_000])

    with open_source(path) as source:
        scan_all(source, ["a", "b"], deliver)
    assert outcomes[0].figures is not None
    assert outcomes[1].figures is None
    assert "model.safetensors was truncated" in (outcomes[1].reason or "")
