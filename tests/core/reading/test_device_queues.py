from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_numbers import BytesSource
from tests.factories_safetensors import small_file
from tui_params.api.opening import open_source
from tui_params.core.dtypes import DType, from_torch
from tui_params.core.reading import device_queues
from tui_params.core.reading import tensor_reading as reading
from tui_params.core.reading.device_queues import ReadTogether, device_of, split_by_device
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.sweep import ScanProgress, scan_all
from tui_params.core.reading.tensor_reading import measure
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, StoppedError

SOON = 300.0
"""Seconds after which a test gives up waiting for a thread; nothing ever takes that long, on no loaded machine."""


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a thread to end waits until it has."""
    monkeypatch.setattr(device_queues, "LEAVE_SECONDS", SOON)


def dtype_named(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


BF16 = dtype_named("bfloat16")


def placed(name: str, file: str | None, offset: int = 0, tied_to: str | None = None) -> TensorInfo:
    return TensorInfo(name, (40, 40), BF16, 1600, 3200, file=file, offset=offset, tied_to=tied_to)


def disk_of(info: TensorInfo) -> int | None:
    """Which device a file lies on, by its first letter."""
    assert info.file is not None, "what lies in no file need not be asked for"
    return {"s": 1, "q": 2}.get(info.file[0])


def names(queues: Iterable[Iterable[TensorInfo]]) -> list[list[str]]:
    return [[info.name for info in queue] for queue in queues]


def test_each_device_has_a_queue_in_the_order_of_the_plan() -> None:
    order = [placed("a", "slow1"), placed("b", "quick1"), placed("c", "quick1", 9), placed("d", "slow2")]
    assert names(split_by_device(order, disk_of)) == [["a", "d"], ["b", "c"]]
    assert names(split_by_device(order[:1], disk_of)) == [["a"]]
    assert split_by_device([], disk_of) == []


def test_what_lies_in_no_file_and_where_nobody_knows_is_read_along_with_the_first_device() -> None:
    order = [placed("none", None), placed("a", "slow1"), placed("?", "unknown"), placed("b", "quick1")]
    assert names(split_by_device(order, disk_of)) == [["none", "a", "?"], ["b"]]
    assert names(split_by_device(order[:3], disk_of)) == [["none", "a", "?"]]


def test_the_names_of_tied_tensors_stay_in_one_queue() -> None:
    order = [placed("a", "slow1"), placed("tied", "quick1", tied_to="a"), placed("b", "quick1")]
    assert names(split_by_device(order, disk_of)) == [["a", "tied"], ["b"]]


def test_the_device_is_that_of_the_file_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    for name in ("a", "b"):
        (tmp_path / "far" / f"{name}.safetensors").write_bytes(small_file((f"{name}.x", f"{name}.y", f"{name}.z")))
    (tmp_path / "near").mkdir()
    for name in ("a", "b"):
        (tmp_path / "near" / f"{name}.safetensors").symlink_to(tmp_path / "far" / f"{name}.safetensors")
    with open_source(tmp_path / "near") as source:
        assert len(source.listing.tensors) == 6
        for info in source.listing.tensors:
            assert device_of(source, info) == (tmp_path / "far").stat().st_dev
    assert device_of(BytesSource(), placed("a", None)) is None


class TwoDisks(BytesSource):
    """Tensors on a slow disk, which waits at ``gate`` before its first block, and on a quick one."""

    def __init__(self, count: int = 3) -> None:
        infos = [placed(f"{disk}{i}", disk, i) for disk in ("slow", "quick") for i in range(count)]
        rng = np.random.default_rng(0)
        super().__init__({info: rng.integers(0, 256, info.nbytes, np.uint8) for info in infos}, 256)
        self.wanted = [info.name for info in infos]
        self.gate = Event()
        self.is_waiting = Event()
        self.errors: dict[str, Exception] = {}
        self.threads: dict[str, Thread] = {}

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        self.threads[info.name] = current_thread()
        if info.file == "slow":
            self.is_waiting.set()
            assert self.gate.wait(SOON), "nobody opened the gate"
        for number, block in enumerate(super().blocks(info, start, stop)):
            if number == 2 and info.name in self.errors:
                raise self.errors[info.name]
            yield block


def test_a_slow_device_does_not_hold_up_the_other_and_everything_is_told_on_the_calling_thread() -> None:
    source = TwoDisks()
    outcomes: list[Outcome] = []
    told: list[ScanProgress] = []

    def deliver(outcome: Outcome) -> None:
        assert current_thread() is main_thread()
        outcomes.append(outcome)
        if outcome.name == "quick2":
            assert len(outcomes) == 3
            source.gate.set()

    def progress(far: ScanProgress) -> None:
        assert current_thread() is main_thread()
        told.append(far)

    scan_all(source, source.wanted, deliver, progress=progress, threads=2, device_of=disk_of)
    assert [outcome.name for outcome in outcomes] == [f"{disk}{i}" for disk in ("quick", "slow") for i in range(3)]
    for info, outcome in zip([*source.listing.tensors[3:], *source.listing.tensors[:3]], outcomes, strict=True):
        found = measure(source, info)
        assert outcome == Outcome(info.name, found.summary.figures(info.numel), None, True, found.channels)
    assert told[-1] == ScanProgress(6 * 3200, 6 * 3200)
    assert [far.done_bytes for far in told] == sorted(far.done_bytes for far in told)


def test_on_one_device_no_thread_is_started() -> None:
    source = TwoDisks()
    source.gate.set()
    outcomes: list[Outcome] = []
    scan_all(source, source.wanted, outcomes.append, threads=1, device_of=lambda info: 7)
    assert set(source.threads.values()) == {main_thread()}
    assert [outcome.name for outcome in outcomes] == source.wanted


def test_each_device_is_read_by_one_thread() -> None:
    source = TwoDisks()
    source.gate.set()
    scan_all(source, source.wanted, lambda outcome: None, threads=1, device_of=disk_of)
    slow, quick = ({source.threads[f"{disk}{i}"] for i in range(3)} for disk in ("slow", "quick"))
    assert len(slow) == len(quick) == 1
    assert slow.isdisjoint(quick)


def test_an_error_on_one_device_is_the_reason_of_its_tensor_and_the_rest_goes_on() -> None:
    source = TwoDisks()
    source.gate.set()
    source.errors = {"slow0": OSError(5, "Input/output error"), "quick1": ReadError("gone")}
    outcomes: dict[str, Outcome] = {}
    scan_all(source, source.wanted, lambda outcome: outcomes.update({outcome.name: outcome}), device_of=disk_of)
    assert {name: outcome.reason for name, outcome in outcomes.items() if outcome.reason is not None} == {
        "slow0": "it could not be read: Input/output error",
        "quick1": "gone",
    }
    assert len(outcomes) == 6


def test_a_sweep_is_stopped_although_one_device_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_queues, "LEAVE_SECONDS", 0.01)
    source = TwoDisks()
    outcomes: list[Outcome] = []

    def should_stop() -> bool:
        return len(outcomes) == 3 and source.is_waiting.is_set()

    with pytest.raises(StoppedError):
        scan_all(source, source.wanted, outcomes.append, should_stop=should_stop, device_of=disk_of)
    assert {outcome.name for outcome in outcomes} == {"quick0", "quick1", "quick2"}
    source.gate.set()
    reader = source.threads["slow0"]
    reader.join(SOON)
    assert not reader.is_alive()
    assert "slow1" not in source.threads


def test_a_fault_on_either_side_comes_out_and_no_reader_is_left_behind() -> None:
    source = TwoDisks()
    source.errors["quick1"] = ZeroDivisionError("a fault of the reader")
    source.gate.set()
    with pytest.raises(ZeroDivisionError):
        scan_all(source, source.wanted, lambda outcome: None, device_of=disk_of)
    assert not any(thread.is_alive() for thread in source.threads.values() if thread is not main_thread())

    def deliver(outcome: Outcome) -> None:
        raise ZeroDivisionError("a fault of the taker")

    source = TwoDisks()
    source.gate.set()
    with pytest.raises(ZeroDivisionError, match="taker"):
        scan_all(source, source.wanted, deliver, device_of=disk_of)
    assert not any(thread.is_alive() for thread in source.threads.values() if thread is not main_thread())


def test_where_no_thread_can_be_started_one_device_is_read_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", start)
    source = TwoDisks()
    source.gate.set()
    outcomes: list[Outcome] = []
    scan_all(source, source.wanted, outcomes.append, device_of=disk_of)
    assert [outcome.name for outcome in outcomes] == source.wanted


def test_tied_tensors_on_two_devices_are_read_once() -> None:
    raw = np.zeros(3200, np.uint8)
    a = placed("a", "slow")
    tensors = {
        a: raw,
        msgspec.structs.replace(a, name="tied", file="quick", tied_to="a"): raw,
        placed("b", "quick"): raw,
    }
    source = BytesSource(tensors, 256)
    outcomes: dict[str, Outcome] = {}
    told: list[ScanProgress] = []
    scan_all(
        source,
        [info.name for info in tensors],
        lambda outcome: outcomes.update({outcome.name: outcome}),
        progress=told.append,
        device_of=disk_of,
    )
    assert sorted(outcomes) == ["a", "b", "tied"]
    assert sorted(name for name, _, _ in source.reads) == ["a", "b"]
    assert told[-1] == ScanProgress(6400, 6400)


def test_the_threads_are_shared_among_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, int | None] = {}

    def useful(self: reading.Reading, threads: int | None) -> int:
        asked[self._info.name] = threads
        return 1

    monkeypatch.setattr(reading.Reading, "_useful_threads", useful)
    source = TwoDisks()

    def deliver(outcome: Outcome) -> None:
        if outcome.name == "quick2":
            source.gate.set()

    scan_all(source, source.wanted, deliver, threads=4, device_of=disk_of)
    assert {asked[name] for name in ("slow0", "quick0", "quick1", "quick2")} == {2}
    scan_all(source, source.wanted, lambda outcome: None, threads=4, device_of=lambda info: 1)
    assert set(asked.values()) == {4}


def test_only_so_many_results_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_queues, "MOST_WAITING", 4)
    drawn: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            drawn.append(number)
            yield number

    together: ReadTogether[int] = ReadTogether(lambda: None)
    taken = []
    for number in together.read([numbers(), iter(())]):
        taken.append(number)
        # One in the hand of the thread, one that it has just put in place of the taken one.
        assert len(drawn) <= len(taken) + 4 + 2
    assert taken == list(range(100))
