"""Errors that nobody foresaw, in what runs beside the screen: each is one sentence where the answer would stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from threading import Event, current_thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from textual.message import Message

from tests.factories_memory import MemorySource
from tests.factories_screen import PATIENCE, on_stage, ramp
from tui_params.core.compare.both import BothSources
from tui_params.core.compare.looks import Look
from tui_params.core.health import checker as core_checker
from tui_params.core.reading import tensor_reading
from tui_params.core.reading.outcome import reason_of
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.errors import ReadError, StoppedError
from tui_params.tui.desk.comparison_run import ComparisonRun
from tui_params.tui.desk.desk import Desk
from tui_params.tui.desk.messages import (
    Checked,
    ComparedFailed,
    Faulted,
    FilesVerified,
    Measured,
    Working,
)
from tui_params.tui.desk.recording import Recording
from tui_params.tui.desk.verifying import Verifying
from tui_params.tui.desk.worker import Worker
from tui_params.tui.screens.tensor.lenses import LENSES
from tui_params.tui.screens.tensor.screen import TensorScreen
from tui_params.tui.state.opened import prepare

SENTENCE = "a fault of tui-params, please report it: IndexError: no such place"


_PLACE = re.compile(r" \(tui_params/[a-z_/]+\.py, line \d+\)")


def plain(words: str | None) -> str:
    """A sentence without the place in the package, which is not the same in every version."""
    assert words is not None
    return _PLACE.sub("", " ".join(words.split()))


class FaultySource(MemorySource):
    """A MemorySource whose tensors named ``bad`` raise what no reader should."""

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        self._fail(info)
        return super().read_window(info, window)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        self._fail(info)
        yield from super().blocks(info, start, stop)

    def _fail(self, info: TensorInfo) -> None:
        if info.name.startswith("bad"):
            raise IndexError("no such\nplace")


def source() -> FaultySource:
    return FaultySource({"bad": ramp(8, 8), "good": ramp(8, 8)})


class Post:
    """What was said, and a wait for the first message of a kind."""

    def __init__(self, kind: type[Message]) -> None:
        self.kind = kind
        self.said: list[Message] = []
        self._has_come = Event()

    def __call__(self, message: Message) -> None:
        self.said.append(message)
        if isinstance(message, self.kind):
            self._has_come.set()

    def wait(self) -> Any:
        assert self._has_come.wait(PATIENCE)
        return next(message for message in self.said if isinstance(message, self.kind))


def test_the_sentence_says_whose_fault_it_is() -> None:
    assert reason_of(IndexError("no such\nplace")) == SENTENCE
    assert reason_of(AssertionError()) == "a fault of tui-params, please report it: AssertionError"
    assert reason_of(ReadError("it is cut")) == "it is cut"
    assert len(reason_of(ValueError("x" * 10_000))) < 400


def test_the_sentence_names_the_line_of_ours() -> None:
    nothing: Any = None
    with pytest.raises(AttributeError) as caught:
        tensor_reading.summarize(nothing, nothing)
    assert re.search(r" \(tui_params/core/reading/tensor_reading\.py, line \d+\)$", reason_of(caught.value))


def test_a_worker_does_the_next_thing_also_after_one_has_failed() -> None:
    failed: list[str] = []
    done = Event()
    worker = Worker("test", failed.append)

    def stopped() -> None:
        raise StoppedError("not wanted")

    worker.do(lambda: [][0])
    worker.do(stopped)
    worker.do(done.set)
    assert done.wait(PATIENCE)
    assert [plain(words) for words in failed] == [
        "a fault of tui-params, please report it: IndexError: list index out of range"
    ]
    worker.stop()


@pytest.mark.parametrize("entry", LENSES, ids=lambda entry: entry.slot)
async def test_each_lens_says_it_in_the_place_of_the_picture(entry: Any) -> None:
    async with on_stage(source(), size=(120, 24)) as stage:
        await stage.go("bad")
        await stage.press("enter", str([lens.slot for lens in LENSES].index(entry.slot) + 1))
        assert isinstance(stage.app.screen, TensorScreen)
        assert stage.app.screen.lens is not None
        assert SENTENCE[1:] in plain(stage.app.screen.lens.plain())
        assert SENTENCE[:40] in stage.lines[1]  # and where the value would stand


async def test_the_page_says_it_and_the_other_tensors_are_read() -> None:
    async with on_stage(source(), size=(120, 36)) as stage:
        await stage.press("S")
        await stage.go("bad")
        assert "a fault of tui-params" in " ".join(stage.facts.split())
        await stage.press("v")
        assert "a fault of tui-params" in " ".join(stage.values.split())
        report = stage.screen.pages.report  # type: ignore[union-attr]
        assert report is not None
        assert report.checked == 1
        assert [(entry.tensor, plain(entry.reason)) for entry in report.unchecked] == [("bad", SENTENCE)]


def test_a_rule_that_fails_leaves_the_tensor_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(subject: Any) -> Any:
        raise IndexError("no such place")

    monkeypatch.setattr(core_checker, "check_tensor", fail)
    post = Post(Checked)
    desk = Desk(prepare(MemorySource({"a": ramp(4)})), 1, post)
    assert desk.sweep()
    report = post.wait().report
    assert (report.status, report.checked) == ("unchecked", 0)
    assert plain(report.unchecked[0].reason) == f"it could not be checked: {SENTENCE}"
    outcomes = [outcome for said in post.said if isinstance(said, Measured) for outcome, _ in said.outcomes]
    assert outcomes[0].reason == report.unchecked[0].reason
    desk.close(wait=2)


def test_a_cross_check_that_fails_is_over_and_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Any:
        raise IndexError("no such place")

    monkeypatch.setattr(core_checker.Checker, "finish", fail)
    post = Post(Faulted)
    desk = Desk(prepare(MemorySource({"a": ramp(4)})), 1, post)
    assert desk.sweep()
    assert plain(post.wait().words) == f"Something was not done: {SENTENCE}."
    assert not desk.is_cross_checking
    assert not any(isinstance(message, Checked) for message in post.said)
    desk.close(wait=2)


def test_a_sweep_that_fails_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_params.core.reading.sweep.scan_all", lambda *arguments, **options: [][0])
    post = Post(Faulted)
    desk = Desk(prepare(MemorySource({"a": ramp(4)})), 1, post)
    assert desk.sweep()
    assert "the reading of all tensors ended early" in post.wait().words
    assert not desk.is_sweeping
    assert any(isinstance(message, Working) and message.sweep is None for message in post.said)
    desk.close(wait=2)


def test_a_comparison_that_fails_is_over_and_says_why() -> None:
    post = Post(ComparedFailed)
    both = BothSources(source(), MemorySource({"bad": ramp(8, 8) + 1, "good": ramp(8, 8)}))
    ComparisonRun(both, 7, post).start()
    assert (post.wait().generation, plain(post.wait().reason)) == (7, SENTENCE)


async def test_the_explorer_says_that_a_comparison_ended_early() -> None:
    other = MemorySource({"bad": ramp(8, 8) + 1, "good": ramp(8, 8)})
    async with on_stage(source(), size=(120, 36), other=lambda: other) as stage:
        assert plain(stage.screen.notice.words) == f"The comparison ended early: {SENTENCE}."
        assert stage.screen.pages is not None
        assert stage.screen.pages.changes.is_stopped


def test_a_recording_has_the_sentence_for_one_tensor() -> None:
    look = Look("14:02:11")
    Recording(source(), 1, look, None, (), keeps_values=False, figures=lambda name: None).run()
    assert (plain(look.kept["bad"].reason), look.kept["good"].reason) == (SENTENCE, "")


def test_files_that_cannot_be_verified_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_params.core.health.digests.verify", lambda *arguments: [][0])
    post = Post(FilesVerified)
    Verifying(source(), 1, post)
    assert "list index out of range" in post.wait().reason


def test_an_error_in_a_thread_that_helps_to_read_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = current_thread()

    class Faulty(MemorySource):
        def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
            if current_thread() is not caller:
                raise IndexError("no such place")
            yield from super().blocks(info, start, stop)

    monkeypatch.setattr(tensor_reading, "THREADS_BEYOND", 1)
    monkeypatch.setattr(tensor_reading, "MIN_RANGE", 1 << 10)
    monkeypatch.setattr(tensor_reading.Reading, "_useful_threads", lambda self, threads: 2)
    large = Faulty({"a": ramp(1 << 18)}, step=256)
    with pytest.raises(IndexError, match="no such place"):
        tensor_reading.summarize(large, large.find("a"))
