"""A model that trains while it is looked at: its steps in the header, figures read anew, a picture that is held."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import tui_params
from tests import scenes
from tests.factories_screen import on_stage
from tests.factories_training import FixedCourses, TrainingSource
from tests.live.attached.conftest import runtime
from tui_params.core.beat import Beat
from tui_params.core.course import Course, Point
from tui_params.core.health.checker import Report
from tui_params.core.source import Traffic
from tui_params.live.attached import asked_copies
from tui_params.live.attached.source import AttachedSource
from tui_params.tui.screens.explorer import pulse

__all__ = ["runtime"]


class BusyLine:
    """A line over which something comes all the time."""

    address = "ssh://far"
    nbytes = 0

    @property
    def traffic(self) -> Traffic:
        self.nbytes += 1_000
        return Traffic(self.nbytes, 1)

    def lacking(self, path: Path, begin: int, end: int) -> int:
        return end - begin


@pytest.mark.parametrize("is_far", [False, True])
async def test_what_is_on_screen_follows_the_training(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, is_far: bool
) -> None:
    monkeypatch.setattr(pulse, "EVERY", 0.02)
    monkeypatch.setattr(pulse, "AGAIN", 0.0)
    monkeypatch.setattr(AttachedSource, "line", BusyLine() if is_far else None)
    monkeypatch.setattr(asked_copies, "STEP_SECONDS", 0.2)
    net = nn.Linear(3, 2, bias=False)
    nn.init.constant_(net.weight, 1.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    server = tui_params.serve(net, optimizer, name="net")

    def step() -> None:
        net.weight.grad = torch.ones_like(net.weight)
        optimizer.step()

    try:
        async with on_stage(AttachedSource(Path(server.path)), is_settled=False) as stage:
            await stage.until(lambda: "no step yet" in stage.lines[0], "the header")
            figures = stage.screen.session.figures
            await stage.until(lambda: getattr(figures("weight"), "mean", None) == 1.0, "read")
            step()
            await stage.until(lambda: "step 1" in stage.lines[0], "counted")
            # The gradient is copied at the end of a step, so that one more is needed.
            step()
            await stage.until(lambda: getattr(figures("weight"), "mean", None) == 0.0, "read anew")
            await stage.send("F")
            await stage.until(lambda: "held at step" in stage.lines[0], "held")
            step()
            await stage.until(
                lambda: stage.screen.pulse._beat is not None and stage.screen.pulse._beat.steps == 3, "seen"
            )
            assert getattr(figures("weight"), "mean", None) == 0.0
            await stage.send("F")
            await stage.until(lambda: getattr(figures("weight"), "mean", None) == -0.5, "it follows again")
            server.stop()
            await stage.until(lambda: "last seen at step 3" in stage.lines[0], "ended")
            assert getattr(figures("weight"), "mean", None) == -0.5
    finally:
        server.stop()


async def test_nothing_is_held_where_nothing_trains() -> None:
    async with on_stage() as stage:
        await stage.press("F")
        assert "Nothing here trains" in stage.lines[-1]
        assert stage.screen.pulse.words == ""


async def test_a_check_holds_the_picture_and_trusts_nothing_that_was_read_before(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "EVERY", 0.02)
    monkeypatch.setattr(asked_copies, "STEP_SECONDS", 0.2)
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    server = tui_params.serve(net, name="net")
    try:
        async with on_stage(AttachedSource(Path(server.path)), is_settled=False) as stage:

            def report() -> Report | None:
                return stage.screen.pages.report if stage.screen.pages is not None else None

            def wrong() -> set[str | None]:
                found = report()
                return set() if found is None else {finding.tensor for finding in found.findings}

            await stage.send("S")
            await stage.until(lambda: report() is not None, "checked")
            assert "held at step 0" in stage.lines[0]
            assert "1.weight" not in wrong()
            with torch.no_grad():
                net[1].weight[0, 0] = float("nan")
            await stage.send("S")
            await stage.until(lambda: "1.weight" in wrong(), "checked again")
    finally:
        server.stop()


async def test_what_was_seen_step_by_step_stands_in_the_rows_and_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "EVERY", 0.02)
    net = nn.Linear(3, 2)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    seen = Course((Point(1, 1.0), Point(2, 4.0), Point(3, None, "NaN")), (Point(2, 0.25), Point(3, 0.125)))
    source = TrainingSource(net, {"weight": seen})
    async with on_stage(source, is_settled=False, size=(160, 40)) as stage:
        await stage.until(lambda: any("▃█!" in line for line in stage.lines[:12]), "the row")
        row = next(line for line in stage.lines if "weight" in line and "▃█!" in line)
        assert "0.125" in row
        await stage.until(lambda: any("update  █▅ 0.125" in line for line in stage.lines), "the page")
        courses = source.courses()
        assert isinstance(courses, FixedCourses)
        assert {"weight", "bias"} <= set(courses.wanted)
        courses._published = False
        await stage.send("F")
        courses.wanted = []
        stage.screen.pulse.look()
        assert courses.wanted == []


async def test_the_header_says_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        Beat(1204, 0.1): "step 1,204",
        Beat(1204, 0.1, by="passes"): "pass 1,204",
        Beat(1204, 61.0): "step 1,204, 1 min 01 s ago",
        Beat(1204, 0.1, held=1203, by="passes"): "training held at pass 1,203",
        Beat(1204, 0.1, lost="gone", by="passes"): "last seen at pass 1,204",
        Beat(0): "no step yet",
        Beat(0, by="nothing"): "no step seen, values may be of two moments",
        Beat(1204, 61.0, by="nothing"): "no step seen, values may be of two moments",
    }
    now = next(iter(said))
    monkeypatch.setattr(TrainingSource, "beat", lambda _: now)
    async with on_stage(TrainingSource(nn.Linear(3, 2)), is_settled=False, size=(120, 24)) as stage:
        for now, words in said.items():  # noqa: B007 what the source says next
            stage.screen.pulse._steps.clear()
            stage.screen.pulse.look()
            assert stage.screen.pulse.words == words
            await stage.until(lambda words=words: words in stage.lines[0], "the header")  # type: ignore[misc]


def test_the_courses_of_the_pictures_end_with_what_their_rows_say() -> None:
    source = scenes.attached()
    assert isinstance(source, TrainingSource)
    courses = source.courses()
    courses.publish()
    for name, info in source.listing.gradients.items():
        course, figures = courses.of(name), source.summarize(info.name).figures(info.numel)
        assert course is not None
        last = course.norms[-1]
        assert (last.word, last.value) == (("NaN", None) if figures.nan else ("", pytest.approx(figures.l2_norm)))


async def test_the_end_of_a_training_is_told_as_what_it_is(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "EVERY", 0.02)
    server = tui_params.serve(nn.Linear(3, 2), name="net")
    async with on_stage(AttachedSource(Path(server.path)), (80, 24), is_settled=False) as stage:
        await stage.until(lambda: "weight" in stage.text, "open")
        server.stop()
        await stage.until(lambda: "R reloads" in stage.header, "told in the header")
        assert "! the process has ended, or no longer serves its model; R reloads" in stage.header
        assert [(each.title, each.message) for each in stage.app._notifications] == [
            (
                "No longer read",
                "the process has ended, or no longer serves its model; what is shown is the last that was read",
            )
        ]
