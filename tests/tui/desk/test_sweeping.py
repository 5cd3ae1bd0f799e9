"""``S``: everything is read beside the screen, which answers whatever the disk does."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, current_thread, main_thread
from time import monotonic
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from textual.message import Message

from tests.factories_elsewhere import ElsewhereSource
from tests.factories_memory import MemorySource
from tests.factories_safetensors import entry, file_bytes
from tests.factories_screen import PATIENCE, GatedSource, Stage, eventually, on_stage, ramp
from tui_params.api.opening import open_source
from tui_params.core.reading import sweep as core_sweep
from tui_params.core.reading.ledger import Ledger
from tui_params.core.reading.outcome import Outcome
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.tui.desk import sweeping
from tui_params.tui.desk.desk import Desk
from tui_params.tui.desk.messages import Checked, JudgedOutcome, Measured, SweepProgress, Working
from tui_params.tui.desk.sweeping import Batches
from tui_params.tui.screens.explorer import delays
from tui_params.tui.state.opened import prepare

ROWS = 60
"""More tensors than a terminal of 24 lines shows."""


def many(count: int = ROWS) -> dict[str, NDArray[Any]]:
    return {f"layer{number}": ramp(4) for number in range(count)}


class Office:
    """A Desk without a screen, and what it said."""

    def __init__(self, source: Source) -> None:
        self.said: list[Message] = []
        self.is_checked = Event()
        self.desk = Desk(prepare(source), 1, self.post)

    def post(self, message: Message) -> None:
        self.said.append(message)
        if isinstance(message, Checked):
            self.is_checked.set()

    def sweep(self) -> None:
        """Sweep, and wait until everything is checked and the sweep has ended, which follow in either order."""
        assert self.desk.sweep()
        assert self.is_checked.wait(PATIENCE)
        pause, stop = Event(), monotonic() + PATIENCE
        while self.desk.is_busy:
            assert monotonic() < stop
            pause.wait(0.001)

    def outcomes(self) -> list[JudgedOutcome]:
        return [judged for message in self.said if isinstance(message, Measured) for judged in message.outcomes]


def judged(name: str) -> JudgedOutcome:
    return Outcome(name, None, "why", True), ()


def test_the_first_outcome_goes_at_once_and_the_rest_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "PAUSE", 1000.0)
    sent: list[Sequence[JudgedOutcome]] = []
    batches = Batches(sent.append)
    for name in "abcd":
        batches.add(judged(name))
    assert sent == [(judged("a"),)]
    assert not batches.is_empty
    batches.flush()
    batches.flush()
    assert sent[1:] == [(judged("b"), judged("c"), judged("d"))]
    assert batches.is_empty
    batches.close()


def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "PAUSE", 1000.0)
    sent: list[Sequence[JudgedOutcome]] = []
    batches = Batches(sent.append)
    for number in range(2 * sweeping.MOST + 1):
        batches.add(judged(str(number)))
    assert [len(each) for each in sent] == [1, sweeping.MOST, sweeping.MOST]
    batches.close()


async def test_what_waits_is_sent_by_itself() -> None:
    sent: list[Sequence[JudgedOutcome]] = []
    batches = Batches(sent.append)
    for name in "abc":
        batches.add(judged(name))
    await eventually(lambda: sum(map(len, sent)) == 3, "all are sent, although nothing more comes")
    batches.close()


def test_a_sweep_reads_every_tensor_once_in_few_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "PAUSE", 1000.0)  # else there is one more for every moment that the reading takes
    source = MemorySource(many(3000))
    office = Office(source)
    office.sweep()
    assert sorted(outcome.name for outcome, _ in office.outcomes()) == sorted(source.arrays)
    assert sum(isinstance(message, Measured) for message in office.said) <= 2 + 3000 // sweeping.MOST
    # The report says more than the outcomes: it comes after them.
    places = [place for place, message in enumerate(office.said) if isinstance(message, Measured)]
    checked = next(place for place, message in enumerate(office.said) if isinstance(message, Checked))
    assert max(places) < checked
    office.desk.close(PATIENCE)


def test_the_calling_thread_plans_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    planning = []

    def plan(infos: Any) -> tuple[TensorInfo, ...]:
        planning.append(current_thread())
        return tuple(infos)

    monkeypatch.setattr(core_sweep, "plan", plan)
    office = Office(MemorySource(many()))
    office.sweep()
    assert len(planning) == 1
    assert planning[0] is not main_thread()
    office.desk.close(PATIENCE)


def test_tied_tensors_and_what_is_known_are_not_read_again() -> None:
    arrays = many(4)
    source = GatedSource(arrays, (), tied_to={"layer3": "layer1"})
    reads: list[str] = []
    blocks = source.blocks

    def noted(info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        reads.append(info.name)
        return blocks(info, start, stop)

    source.blocks = noted  # type: ignore[method-assign]
    office = Office(source)
    office.desk.want(["layer2", "layer1"])
    office.sweep()
    assert sorted(reads) == ["layer0", "layer1", "layer2"]
    assert len(office.outcomes()) == 4
    assert not office.desk.sweep()
    office.desk.close(PATIENCE)


def bar_of(stage: Stage) -> bool:
    """Whether the header shows a sweep."""
    return "░" in stage.header or "/s" in stage.header


def test_what_is_expected_is_not_taken_from_the_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    lent: list[str] = []
    lend = Ledger.lend

    def count(ledger: Ledger, name: str, should_stop: Callable[[], bool]) -> Outcome | None:
        lent.append(name)
        return lend(ledger, name, should_stop)

    monkeypatch.setattr(Ledger, "lend", count)

    class Looking(ElsewhereSource):
        @contextmanager
        def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> Iterator[None]:
            with super().expecting(infos):
                assert lent == []  # what is on screen could not be read before the sweep comes to it
                yield

    source = Looking(many(5))
    Office(source).sweep()
    assert source.expected == [list(source.arrays)]
    assert lent == list(source.arrays)


async def test_while_the_disk_hangs_the_screen_answers_and_escape_ends_the_sweep() -> None:
    source = GatedSource(many(), ("layer50",))
    async with on_stage(source, (80, 24)) as stage:
        desk = stage.screen.desk
        assert desk is not None
        await stage.send("S")
        await eventually(source.started["layer50"].is_set, "the sweep hangs in a read")
        await stage.until(lambda: desk.figures("layer49") is not None, "what came before is known")
        # Everything that is on screen, other than what hangs, is read and shown.
        await stage.send("end")
        await stage.until(lambda: desk.figures("layer59") is not None, "it is read")
        assert desk.is_sweeping
        await stage.send("escape")
        assert not desk.is_sweeping
        await stage.until(lambda: not bar_of(stage), "no sweep is shown")
        assert not source.gates["layer50"].is_set()  # the disk hangs still
        await stage.send("home", "down")
        assert stage.cursor == "layer1"
        source.open_gates()
        await stage.press("S")
        await stage.until(lambda: desk.figures("layer50") is not None, "a second sweep reads the rest")
        assert stage.screen.pages is not None
        await stage.until(lambda: stage.screen.pages.report is not None, "and checks it")
        assert stage.screen.pages.report.checked == ROWS


async def test_quitting_does_not_wait_for_a_disk_that_hangs() -> None:
    source = GatedSource(many(), ("layer50",))
    async with on_stage(source, (80, 24)) as stage:
        await stage.send("S")
        await eventually(source.started["layer50"].is_set, "the sweep hangs in a read")
        await stage.send("q")
        await stage.until(lambda: not stage.app.is_running, "it has ended")
        assert not source.gates["layer50"].is_set()  # the disk hangs still


async def test_what_cannot_be_read_is_no_healthy_tensor_and_the_rest_goes_on() -> None:
    arrays = many()
    broken = {"layer30": "the disk said no", "layer45": "and no again"}
    async with on_stage(MemorySource(arrays, broken=broken), (80, 24)) as stage:
        await stage.press("S")
        pages = stage.screen.pages
        assert pages is not None
        assert pages.report is not None
        assert pages.report.status == "unchecked"
        assert {entry.tensor: entry.reason for entry in pages.report.unchecked} == broken
        assert pages.report.checked == ROWS - 2
        await stage.go("layer45")
        assert "and no again" in stage.facts


class Failing(MemorySource):
    """One tensor breaks off in the middle."""

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        for number, block in enumerate(super().blocks(info, start, stop)):
            if info.name == "layer40" and number == 2:
                raise OSError(5, "Input/output error")
            yield block


async def test_a_read_that_fails_half_way() -> None:
    source = Failing({f"layer{number}": ramp(64) for number in range(ROWS)}, step=16)
    async with on_stage(source, (80, 24)) as stage:
        await stage.press("S")
        pages = stage.screen.pages
        assert pages is not None
        assert pages.report is not None
        assert [(entry.tensor, entry.reason) for entry in pages.report.unchecked] == [
            ("layer40", "it could not be read: Input/output error")
        ]
        await stage.go("layer40")
        assert "Input/output error" in stage.facts


async def test_a_file_that_shrinks_during_the_sweep(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    nbytes = 80_000  # smaller neighbours would be read at once
    header = {f"layer{number:02}": entry("F32", (nbytes // 4,), nbytes * number) for number in range(ROWS)}
    path.write_bytes(file_bytes(header, bytes(nbytes * ROWS)))
    shrunk = Event()

    def open_it() -> Source:
        source = open_source(path)
        blocks = source.blocks

        def shrinking(info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
            if info.name == "layer40" and not shrunk.is_set():
                os.truncate(path, nbytes * ROWS // 2)
                shrunk.set()
            return blocks(info, start, stop)

        source.blocks = shrinking  # type: ignore[method-assign]
        return source

    async with on_stage(open_it, (80, 24)) as stage:
        await stage.press("S")
        pages = stage.screen.pages
        assert pages is not None
        assert pages.report is not None
        assert pages.report.status != "ok"
        lost = {entry.tensor: entry.reason for entry in pages.report.unchecked if entry.tensor is not None}
        assert "layer40" in lost
        assert "layer10" not in lost
        assert all("model.safetensors was truncated" in reason for reason in lost.values())
        await stage.go("layer40")
        assert "was truncated" in stage.facts.replace("\n", " ")


async def test_a_sweep_of_what_was_opened_before_says_nothing_after_a_reload() -> None:
    sources = [GatedSource(many(), ("layer50",)), GatedSource(many(), ())]
    waiting = list(sources)
    async with on_stage(lambda: waiting.pop(0), (80, 24)) as stage:
        await stage.send("S")
        await eventually(sources[0].started["layer50"].is_set, "the sweep hangs in a read")
        await stage.send("R")
        await stage.until(lambda: stage.screen.session.generation == 2 and stage.is_resting, "it is opened again")
        assert not bar_of(stage)
        sources[0].open_gates()
        await eventually(lambda: sources[0].is_closed, "the old source is closed")
        await stage.rest()
        desk, pages = stage.screen.desk, stage.screen.pages
        assert desk is not None
        assert pages is not None
        assert desk.figures("layer50") is None
        assert pages.report is None
        assert pages.marks.read_below(None) < ROWS


async def test_escape_leaves_no_bar_behind_whatever_is_still_said() -> None:
    async with on_stage(GatedSource(many(), ("layer50",)), (80, 24)) as stage:
        await stage.send("S")
        assert stage.screen.desk is not None
        assert stage.screen.desk.is_sweeping
        await stage.send("escape")
        stage.screen.post_message(Working(None, SweepProgress(1, 2, 3.0)))
        await stage.turn()
        assert stage.screen.answers.sweep is None
        assert not bar_of(stage)


async def test_the_header_says_how_far_how_fast_and_how_long_still() -> None:
    source = GatedSource(many(), ("layer50",))
    async with on_stage(source, (120, 24)) as stage:
        await stage.press("slash", "l")
        await stage.press("enter")
        assert "esc clears" in stage.status
        await stage.send("S")
        await eventually(source.started["layer50"].is_set, "the sweep hangs in a read")
        desk = stage.screen.desk
        assert desk is not None
        say = desk._post
        desk._post = lambda message: None  # what the sweep says by itself is a matter of time
        await stage.turn()
        for far, words in (
            (SweepProgress(0, 1 << 34, 0.1), "░ 0 %  0 B of 16.0 GiB "),
            (SweepProgress(1 << 32, 1 << 34, 4.0), "25 %  4.00 GiB of 16.0 GiB  1.00 GiB/s  12 s left"),
            (SweepProgress(1 << 34, 1 << 34, 16.0), "99 %  16.0 GiB of 16.0 GiB  1.00 GiB/s"),
        ):
            stage.screen.post_message(Working(None, far))
            await stage.turn()
            assert words in stage.header
        assert "esc stop" in stage.status
        assert "esc clears" not in stage.status
        await stage.pilot.resize_terminal(80, 24)
        await stage.turn()
        assert "GiB of" not in stage.header
        desk._post = say
        await stage.send("escape")
        await stage.turn()
        assert "esc clears" in stage.status


async def test_the_collector_passes_over_what_was_opened_and_comes_back_to_it() -> None:
    gc.unfreeze()
    async with on_stage():
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0


async def test_a_filter_on_statistics_takes_what_the_sweep_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    source = GatedSource(many(), ("layer50",))
    async with on_stage(source, (80, 24)) as stage:
        await stage.send("S")
        await eventually(source.started["layer50"].is_set, "the sweep hangs in a read")
        await stage.send("slash")
        await stage.type("max>2")
        await stage.send("enter")
        await stage.until(lambda: (stage.matching or 0) >= 50, "what was read before is found")
        # The filter does not ask for all of them beside the sweep, which would then wait.
        assert len(stage.screen.questions.wanted) < ROWS
        # While something arrives all the time, the filter looks again all the same.
        monkeypatch.setattr(delays, "FILTER_AGAIN", 0.05)
        looked: list[None] = []
        monkeypatch.setattr(stage.screen.filter, "apply", lambda: looked.append(None))

        def has_looked() -> bool:
            stage.screen.post_message(Measured(stage.screen.session.generation, ()))
            return bool(looked)

        await eventually(has_looked, "the filter looks again")
        monkeypatch.undo()
        source.open_gates()
        await stage.until(lambda: stage.matching == ROWS, "all match in the end")


async def test_a_sweep_begins_under_a_filter_on_statistics() -> None:
    source = GatedSource(many(), ("layer40",))
    async with on_stage(source, (80, 24)) as stage:
        await stage.send("slash")
        await stage.type("max>2")
        await stage.send("enter")
        await eventually(source.started["layer40"].is_set, "the filter reads all")
        source.open_gates()
        await stage.send("S")
        await stage.until(lambda: stage.matching == ROWS, "all match in the end")
        desk = stage.screen.desk
        assert desk is not None
        await stage.until(lambda: not desk.is_busy, "the sweep ends")
