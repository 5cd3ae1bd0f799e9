from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from queue import Queue
from threading import Event, Thread

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_numbers import READABLE, BytesSource, part_of
from tui_params.core.dtypes import DType, from_torch
from tui_params.core.numbers.summary import Summary
from tui_params.core.reading import scanner as scan
from tui_params.core.reading import tensor_reading as reading
from tui_params.core.reading.outcome import HistogramOutcome, Outcome
from tui_params.core.reading.scanner import Activity, Scanner
from tui_params.core.reading.tensor_reading import sample, summarize
from tui_params.core.tensor import TensorInfo, describe
from tui_params.errors import ReadError, StoppedError

SOON = 300.0
"""Seconds after which a test gives up waiting for a thread; nothing ever takes that long, on no loaded machine."""


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a thread to end waits until it has."""
    monkeypatch.setattr(scan, "CLOSE_SECONDS", SOON)


def dtype_named(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


BF16 = dtype_named("bfloat16")


def tensor(name: str, numel: int, dtype: DType = BF16, seed: int = 0) -> tuple[TensorInfo, NDArray[np.uint8]]:
    raw = np.random.default_rng(seed).integers(0, 256, dtype.nbytes(numel), np.uint8)
    return describe(name, (numel,), dtype), raw


def source_of(*tensors: tuple[TensorInfo, NDArray[np.uint8]], step: int = 4096) -> GatedSource:
    return GatedSource(dict(tensors), step)


class GatedSource(BytesSource):
    """Bytes whose reading waits at a gate, block by block, where a test has put one."""

    def __init__(self, tensors: dict[TensorInfo, NDArray[np.uint8]], step: int = 4096) -> None:
        super().__init__(tensors, step)
        self.gates: dict[str, Event] = {}
        self.reached: Queue[str] = Queue()
        self.errors: dict[str, Exception] = {}

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        for number, block in enumerate(super().blocks(info, start, stop)):
            if number == 1 and info.name in self.errors:
                raise self.errors[info.name]
            if info.name in self.gates:
                self.reached.put(info.name)
                assert self.gates[info.name].wait(SOON)
            yield block


class Watch:
    """A Scanner, and what it delivered, in order."""

    def __init__(self, source: BytesSource) -> None:
        self.outcomes: Queue[Outcome] = Queue()
        self.histograms: Queue[HistogramOutcome] = Queue()
        self.activities: list[Activity | None] = []
        self.idle = Queue[None]()
        self.scanner = Scanner(source, self.outcomes.put, self.note)

    def note(self, activity: Activity | None) -> None:
        self.activities.append(activity)
        if activity is None:
            self.idle.put(None)

    def next(self) -> Outcome:
        return self.outcomes.get(timeout=SOON)

    def ask(self, name: str, low: float | None = None, high: float | None = None, is_log_axis: bool = False) -> None:
        self.scanner.want_histogram(name, 10, low, high, is_log_axis, self.histograms.put)

    def histogram(self) -> HistogramOutcome:
        return self.histograms.get(timeout=SOON)


@pytest.fixture
def watch() -> Iterator[Callable[[BytesSource], Watch]]:
    watches: list[Watch] = []

    def start(source: BytesSource) -> Watch:
        watches.append(Watch(source))
        return watches[-1]

    yield start
    for each in watches:
        each.scanner.close()
        assert not each.scanner._thread.is_alive()


@pytest.mark.parametrize("dtype", READABLE, ids=str)
def test_a_tensor_read_in_blocks_has_the_summary_of_all_its_bytes(dtype: DType) -> None:
    info, raw = tensor("t", 1003, dtype)
    assert summarize(BytesSource({info: raw}, 64), info) == Summary.of(raw, dtype, 1003)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_scalars_and_empty_tensors(shape: tuple[int, ...]) -> None:
    info = describe("t", shape, dtype_named("float32"))
    figures = summarize(BytesSource({info: np.zeros(info.nbytes, np.uint8)}), info).figures(info.numel)
    assert (figures.count, figures.zeros, figures.is_exact) == (info.numel, info.numel, True)


def test_progress_tells_every_block_and_stopping_happens_at_the_next() -> None:
    info, raw = tensor("t", 1000)
    source = BytesSource({info: raw}, 256)
    told: list[int] = []
    summarize(source, info, progress=told.append)
    assert told == [256, 512, 768, 1000]
    told.clear()
    with pytest.raises(StoppedError):
        summarize(source, info, should_stop=lambda: len(told) == 2, progress=told.append)
    assert told == [256, 512]


def test_what_is_unreadable_is_refused_before_it_is_read() -> None:
    info = TensorInfo("t", (4,), BF16, 4, 8, unreadable="the file ends before it")
    source = BytesSource({info: np.zeros(8, np.uint8)})
    for read in (summarize, sample):
        with pytest.raises(ReadError, match="the file ends before it"):
            read(source, info)
    assert source.reads == []


def test_a_source_that_ends_early_is_an_error() -> None:
    class Short(BytesSource):
        def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
            yield from super().blocks(info, start, 512)

    info, raw = tensor("t", 1000)
    with pytest.raises(ReadError, match="t ended after 512 of 1000 elements"):
        summarize(Short({info: raw}, 256), info)


@pytest.mark.parametrize("dtype", [d for d in READABLE if part_of(d).bits <= 16], ids=str)
def test_a_sample_is_spread_and_aligned_and_says_so(dtype: DType) -> None:
    numel = reading.SAMPLE_BEYOND + 1001
    info, raw = tensor("t", numel, dtype)
    source = BytesSource({info: raw}, 1 << 16)
    figures = sample(source, info).figures(numel)
    assert figures.is_sampled
    assert not figures.is_exact
    assert not figures.quantiles_exact
    assert 1_000_000 <= figures.count // figures.parts < 2_200_000
    starts = [start for _, start, _ in source.reads]
    assert all(start % 8 == 0 and (dtype.bits < 8 or dtype.nbytes(start) % 65536 == 0) for start in starts)
    assert len(set(starts)) == reading.SAMPLE_RUNS
    assert starts[0] == 0
    assert max(stop for _, _, stop in source.reads) > numel - (1 << 18)


def test_a_small_tensor_is_sampled_whole() -> None:
    info, raw = tensor("t", 1000)
    assert sample(BytesSource({info: raw}), info) == Summary.of(raw, BF16, 1000)


def test_tensors_come_in_the_order_in_which_they_are_wanted(watch: Callable[[BytesSource], Watch]) -> None:
    tensors = [tensor(name, 100, seed=i) for i, name in enumerate("abc")]
    seen = watch(source_of(*tensors))
    seen.scanner.want(["c", "a", "b"])
    outcomes = [seen.next() for _ in range(3)]
    assert [outcome.name for outcome in outcomes] == ["c", "a", "b"]
    for info, raw in tensors:
        assert seen.scanner.ledger.figures(info.name) == Summary.of(raw, BF16, 100).figures(100)
    seen.idle.get(timeout=SOON)
    assert seen.activities[-1] is None


def test_tied_tensors_are_read_once(watch: Callable[[BytesSource], Watch]) -> None:
    a, raw = tensor("a", 100)
    tied = msgspec.structs.replace(a, name="tied", tied_to="a")
    source = source_of((a, raw), (tied, raw))
    seen = watch(source)
    seen.scanner.want(["a", "tied"])
    first, second = seen.next(), seen.next()
    assert second == Outcome("tied", first.figures, None, True)
    seen.ask("tied")
    assert seen.histogram().histogram == Summary.of(raw, BF16, 100).histogram(10)
    assert [name for name, _, _ in source.reads] == ["a", "tied"]


def test_what_is_final_is_not_read_again(watch: Callable[[BytesSource], Watch]) -> None:
    source = source_of(tensor("a", 100), tensor("b", 100))
    seen = watch(source)
    seen.scanner.want(["a"])
    assert seen.next().name == "a"
    seen.scanner.want(["a", "b"])
    assert seen.next().name == "b"
    assert [name for name, _, _ in source.reads] == ["a", "b"]


def test_a_more_urgent_tensor_puts_the_running_one_aside_which_then_goes_on_where_it_was(
    watch: Callable[[BytesSource], Watch],
) -> None:
    (big, raw), small = tensor("big", 1024), tensor("small", 100)
    source = source_of((big, raw), small, step=256)
    gate = source.gates["big"] = Event()
    seen = watch(source)
    seen.scanner.want(["big"])
    assert source.reached.get(timeout=SOON) == "big"
    seen.scanner.want(["small", "big"])
    gate.set()
    assert [seen.next().name for _ in range(2)] == ["small", "big"]
    assert source.reads == [("big", 0, 1024), ("small", 0, 100), ("big", 256, 1024)]
    assert seen.scanner.ledger.figures("big") == Summary.of(raw, BF16, 1024).figures(1024)


def test_a_strided_tensor_starts_again_because_its_order_is_not_known(watch: Callable[[BytesSource], Watch]) -> None:
    big = TensorInfo("big", (32, 32), BF16, 1024, 2048, stride=(1, 32))
    source = source_of((big, tensor("", 1024)[1]), tensor("small", 100), step=256)
    gate = source.gates["big"] = Event()
    seen = watch(source)
    seen.scanner.want(["big"])
    source.reached.get(timeout=SOON)
    seen.scanner.want(["small", "big"])
    gate.set()
    assert [seen.next().name for _ in range(2)] == ["small", "big"]
    assert source.reads[-1] == ("big", 0, 1024)


def test_a_running_tensor_that_is_still_first_is_not_started_again(watch: Callable[[BytesSource], Watch]) -> None:
    source = source_of(tensor("a", 1024), tensor("b", 100), step=256)
    gate = source.gates["a"] = Event()
    seen = watch(source)
    seen.scanner.want(["a"])
    source.reached.get(timeout=SOON)
    for _ in range(20):
        seen.scanner.want(["a", "b"])
    gate.set()
    assert [seen.next().name for _ in range(2)] == ["a", "b"]
    assert source.reads == [("a", 0, 1024), ("b", 0, 100)]


def test_what_is_no_longer_wanted_is_not_delivered(watch: Callable[[BytesSource], Watch]) -> None:
    source = source_of(tensor("a", 1024), tensor("b", 100), step=256)
    gate = source.gates["a"] = Event()
    seen = watch(source)
    seen.scanner.want(["a"])
    source.reached.get(timeout=SOON)
    seen.scanner.want([])
    gate.set()
    seen.idle.get(timeout=SOON)
    assert seen.outcomes.empty()
    assert seen.scanner.ledger.figures("a") is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ReadError("the file was cut short"), "the file was cut short"),
        (OSError(5, "Input/output error"), "it could not be read: Input/output error"),
        (MemoryError(), "there is not enough memory to read it"),
    ],
)
def test_an_error_is_an_outcome_with_a_reason_and_the_work_goes_on(
    watch: Callable[[BytesSource], Watch], error: Exception, reason: str
) -> None:
    source = source_of(tensor("a", 1024), tensor("b", 100), step=256)
    source.errors["a"] = error
    seen = watch(source)
    seen.scanner.want(["a", "missing", "b"])
    assert seen.next() == Outcome("a", None, reason, True)
    missing = seen.next()
    assert missing.reason is not None
    assert "missing" in missing.reason
    assert seen.next().figures is not None
    seen.ask("a")
    assert seen.histogram() == HistogramOutcome("a", None, reason, True)


def test_a_large_tensor_is_sampled_first(
    watch: Callable[[BytesSource], Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SAMPLE_BEYOND", 1 << 20)
    info, raw = tensor("a", (1 << 20) + 8)
    seen = watch(source_of((info, raw), step=1 << 16))
    seen.scanner.want(["a"])
    first, last = seen.next(), seen.next()
    assert first.figures is not None
    assert first.figures.is_sampled or first.figures.count > info.numel
    assert not first.is_final
    assert last == Outcome("a", Summary.of(raw, BF16, info.numel).figures(info.numel), None, True)


def test_histograms_come_from_what_is_kept_or_are_read_again(
    watch: Callable[[BytesSource], Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "KEPT_SUMMARIES", 1)
    (a, raw), b = tensor("a", 100), tensor("b", 100, seed=1)
    source = source_of((a, raw), b)
    seen = watch(source)
    seen.scanner.want(["a"])
    seen.next()
    seen.ask("a", -1.0, 1.0)
    expected = Summary.of(raw, BF16, 100).histogram(10, -1.0, 1.0, numel=100)
    assert seen.histogram() == HistogramOutcome("a", expected, None, True)
    assert len(source.reads) == 1
    seen.scanner.want(["b"])
    seen.next()
    seen.ask("a", -1.0, 1.0)
    assert seen.histogram() == HistogramOutcome("a", expected, None, True)
    assert [name for name, _, _ in source.reads] == ["a", "b", "a"]
    assert seen.outcomes.empty()
    seen.ask("a", 1.0, -1.0)
    assert seen.histogram().reason == "no 10 bins fit between 1.0 and -1.0"


def test_a_histogram_is_answered_between_the_blocks_of_another_tensor(watch: Callable[[BytesSource], Watch]) -> None:
    source = source_of(tensor("a", 100), tensor("b", 1024), step=256)
    gate = source.gates["b"] = Event()
    seen = watch(source)
    seen.scanner.want(["a", "b"])
    assert seen.next().name == "a"
    source.reached.get(timeout=SOON)
    seen.ask("a")
    gate.set()
    assert seen.histogram().histogram is not None
    assert seen.next().name == "b"
    assert [name for name, _, _ in source.reads] == ["a", "b"]


def test_a_histogram_of_what_was_never_read_is_read_for_at_once(watch: Callable[[BytesSource], Watch]) -> None:
    source = source_of(tensor("a", 1024), tensor("b", 100), step=256)
    gate = source.gates["a"] = Event()
    seen = watch(source)
    seen.scanner.want(["a"])
    source.reached.get(timeout=SOON)
    seen.ask("b", is_log_axis=True)
    gate.set()
    assert seen.histogram().histogram is not None
    assert [seen.next().name for _ in range(2)] == ["b", "a"]


def test_activity_names_what_is_read_and_how_much_waits(watch: Callable[[BytesSource], Watch]) -> None:
    source = source_of(tensor("a", 1024), tensor("b", 100), step=256)
    seen = watch(source)
    seen.scanner.want(["a", "b"])
    seen.idle.get(timeout=SOON)
    assert seen.activities[0] == Activity("a", 256, 1024, 1)


def test_close_stops_within_a_block_and_may_be_called_twice() -> None:
    source = source_of(tensor("a", 1 << 14), step=256)
    gate = source.gates["a"] = Event()
    seen = Watch(source)
    seen.scanner.want(["a"])
    source.reached.get(timeout=SOON)
    gate.set()
    seen.scanner.close()
    seen.scanner.close()
    assert not seen.scanner._thread.is_alive()
    seen.scanner.want(["a"])
    seen.ask("a")
    assert seen.histograms.empty()


def test_a_callback_may_close_the_scanner(watch: Callable[[BytesSource], Watch]) -> None:
    closed = Event()

    def deliver(outcome: Outcome) -> None:
        scanner.close()
        closed.set()

    scanner = Scanner(source_of(tensor("a", 100)), deliver, lambda activity: None)
    scanner.want(["a"])
    assert closed.wait(SOON)
    scanner.close()
    assert not scanner._thread.is_alive()


def test_importing_it_does_not_import_numpy() -> None:
    code = (
        "import sys, tui_params.core.reading.scanner; print(sorted({'numpy', 'ml_dtypes', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_whatever_is_wanted_in_whatever_haste_each_tensor_comes_once(watch: Callable[[BytesSource], Watch]) -> None:
    tensors = [tensor(f"t{i}", 64 + 64 * i, seed=i) for i in range(30)]
    source = source_of(*tensors, step=64)
    seen = watch(source)
    names = [info.name for info, _ in tensors]
    for i in range(200):
        turn = i * 7 % 30
        seen.scanner.want(names[turn:] + names[:turn])
        seen.ask(names[i % 30])
    outcomes = {outcome.name: outcome.figures for outcome in (seen.next() for _ in names)}
    assert outcomes == {info.name: Summary.of(raw, BF16, info.numel).figures(info.numel) for info, raw in tensors}
    answered: set[str] = set()
    while answered != set(names):
        answered.add(seen.histograms.get(timeout=SOON).name)
    assert seen.outcomes.empty()


def test_channels_come_with_the_final_figures(watch: Callable[[BytesSource], Watch]) -> None:
    info = describe("a", (32, 16), BF16)
    raw = tensor("", 512)[1]
    raw[32 * 3 : 32 * 4] = 0
    source = source_of((info, raw), tensor("b", 100), step=128)
    gate = source.gates["a"] = Event()
    seen = watch(source)
    seen.scanner.want(["a"])
    source.reached.get(timeout=SOON)
    seen.scanner.want(["b", "a"])  # put aside, and taken up again in the middle
    gate.set()
    b, a = seen.next(), seen.next()
    assert b.channels is None
    assert a.channels == reading.measure(source, info).channels
    assert a.channels is not None
    assert a.channels.rows.first_dead == (3,)


def never() -> bool:
    return False


def in_a_thread(work: Callable[[], object]) -> Queue[object]:
    """What a function answers on another thread, once it does."""
    answers: Queue[object] = Queue()
    Thread(target=lambda: answers.put(work()), daemon=True).start()
    return answers


def test_a_sweep_waits_while_something_is_wanted(watch: Callable[[BytesSource], Watch]) -> None:
    source = source_of(tensor("a", 1024), tensor("b", 100), step=256)
    gate = source.gates["a"] = Event()
    seen = watch(source)
    seen.scanner.ledger.give_way(never)
    seen.scanner.want(["a"])
    source.reached.get(timeout=SOON)
    waiting = [
        in_a_thread(lambda: seen.scanner.ledger.give_way(never)),
        in_a_thread(lambda: seen.scanner.ledger.lend("a", never)),
    ]
    stopped = in_a_thread(lambda: seen.scanner.ledger.lend("b", lambda: True))
    assert stopped.get(timeout=SOON) is None
    assert [answer.empty() for answer in waiting] == [True, True]
    gate.set()
    assert [answer.get(timeout=SOON) for answer in waiting] == [None, seen.next()]


def test_what_is_lent_is_not_read_a_second_time(watch: Callable[[BytesSource], Watch]) -> None:
    source = source_of(tensor("a", 100), tensor("b", 100))
    seen = watch(source)
    assert seen.scanner.ledger.lend("a", never) is None
    seen.scanner.want(["a", "b"])
    assert seen.next().name == "b"
    seen.idle.get(timeout=SOON)
    assert [name for name, _, _ in source.reads] == ["b"]
    found = Outcome("a", None, "found elsewhere", True)
    assert seen.scanner.ledger.take(found)
    assert not seen.scanner.ledger.take(Outcome("a", None, "and once more", True))
    assert seen.scanner.ledger.lend("a", never) == found
    seen.ask("a")
    assert seen.histogram().reason == "found elsewhere"


def test_what_is_tied_to_what_is_known_is_not_lent(watch: Callable[[BytesSource], Watch]) -> None:
    a, raw = tensor("a", 100)
    source = source_of((a, raw), (msgspec.structs.replace(a, name="tied", tied_to="a"), raw))
    seen = watch(source)
    seen.scanner.want(["a"])
    seen.idle.get(timeout=SOON)
    known = seen.scanner.ledger.lend("tied", never)
    assert known == msgspec.structs.replace(seen.next(), name="tied")
    assert seen.scanner.ledger.take(known)
    assert [name for name, _, _ in source.reads] == ["a"]


def test_what_was_lent_and_is_given_back_is_read(watch: Callable[[BytesSource], Watch]) -> None:
    source = source_of(tensor("a", 100))
    seen = watch(source)
    assert seen.scanner.ledger.lend("a", never) is None
    seen.scanner.want(["a"])
    seen.scanner.ledger.take_back()
    assert seen.next().figures is not None


def test_of_a_large_tensor_that_is_lent_there_is_a_sample(
    watch: Callable[[BytesSource], Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SAMPLE_BEYOND", 1 << 20)
    info, raw = tensor("a", (1 << 20) + 8)
    source = source_of((info, raw), step=1 << 16)
    seen = watch(source)
    assert seen.scanner.ledger.lend("a", never) is None
    seen.scanner.want(["a"])
    assert not seen.next().is_final
    seen.idle.get(timeout=SOON)
    assert len(source.reads) == reading.SAMPLE_RUNS
    assert seen.outcomes.empty()


def test_a_scanner_that_is_closed_keeps_no_sweep_waiting() -> None:
    source = source_of(tensor("a", 1 << 14), step=256)
    gate = source.gates["a"] = Event()
    seen = Watch(source)
    seen.scanner.want(["a"])
    source.reached.get(timeout=SOON)
    waiting = in_a_thread(lambda: seen.scanner.ledger.give_way(never))
    gate.set()
    seen.scanner.close()
    assert waiting.get(timeout=SOON) is None
