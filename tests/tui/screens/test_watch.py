"""Watching from the explorer: the dialog, what it refuses, the marks, the bell, the first event in the status line."""

from __future__ import annotations

import pytest
from textual.app import App
from torch import nn

from tests.factories_screen import on_stage
from tests.factories_training import TrainingSource
from tui_params.core.findings import Finding
from tui_params.core.watching import NOTHING, Wish
from tui_params.tui.screens.explorer import pulse


def event(name: str, step: int) -> Finding:
    return Finding("error", "watch", name, f"step {step}, in its gradient: nan: 1 of 6 values NaN")


async def test_a_module_is_watched_and_what_is_seen_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "EVERY", 0.02)
    bells: list[int] = []
    monkeypatch.setattr(App, "bell", lambda app: bells.append(1))
    source = TrainingSource(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), {})
    watching = source.watching()
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(lambda: "0.weight" in stage.text or "weight" in stage.text, "open")
        await stage.send("W")
        await stage.until(lambda: "Watch at every step" in stage.text, "the dialog")
        await stage.send("backspace", "x", "enter")
        await stage.until(lambda: "'inx' is no condition" in stage.text, "it says what is wrong")
        assert watching.wish == Wish()
        await stage.send("backspace", "f", "enter")
        await stage.until(lambda: ", watched" in stage.lines[0], "watched")
        assert (watching.names, watching.wish) == (["0.weight", "0.bias"], Wish("nan inf"))
        await stage.until(lambda: "Watching 2 tensors for nan inf." in stage.lines[-1], "said")
        # What is asked for stays in the dialog, so that it can be mended, but the header does not say that it is done.
        watching.words = f"{NOTHING}: there is no folder odd"
        await stage.until(lambda: ", watched" not in stage.lines[0], "it is not watched")
        watching.words = "watching 2 tensors and gradients for nan inf"
        await stage.until(lambda: ", watched" in stage.lines[0], "it is")
        assert bells == []
        watching.seen = (event("1.weight", 7),)
        await stage.until(lambda: "1.weight: step 7, in its gradient" in stage.lines[-1], "told")
        watching.seen += (event("0.bias", 8), event("0.weight", 8))
        await stage.until(lambda: "1.weight: step 7" in stage.lines[-1] and "and 2 more" in stage.lines[-1], "more")
        assert bells == [1, 1]
        assert sum(line.startswith("!") for line in stage.lines[2:10]) >= 3
        # Everything is read anew, and the marks stay.
        stage.screen.pulse.hold_to_check()
        await stage.until(lambda: sum(line.startswith("!") for line in stage.lines[2:10]) >= 3, "still marked")
        await stage.send("W")
        await stage.until(lambda: "step 8, in its gradient" in stage.text, "the events")
        await stage.send("tab", "enter")
        await stage.until(lambda: watching.names is None, "everything")
        await stage.send("W")
        await stage.until(lambda: "Watch at every step" in stage.text, "the dialog again")
        await stage.send("ctrl+u", "enter")
        await stage.until(lambda: ", watched" not in stage.lines[0], "no more")


async def test_what_is_saved_and_that_the_training_stands_is_asked_for_and_it_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulse, "EVERY", 0.02)
    source = TrainingSource(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), {})
    watching = source.watching()
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(lambda: "weight" in stage.text, "open")
        await stage.send("W")
        await stage.until(lambda: "nothing is saved" in stage.text, "the dialog")
        await stage.send("tab", "down", *"odd", "down", *"long", "enter")
        await stage.until(lambda: "'long' is no number of seconds" in stage.text, "it says what is wrong")
        await stage.send("ctrl+u", *"90", "enter")
        await stage.until(lambda: ", watched" in stage.lines[0], "watched")
        wish = Wish("nan inf", "odd", 90.0)
        assert (watching.names, watching.wish) == (None, wish)
        watching.standing = "the training stands at the end of step 7, for at most 90 s more"
        await stage.until(lambda: "The training stands at the end of step 7" in stage.lines[-1], "told")
        watching.standing = "the training stands at the end of step 8, for at most 90 s more"
        await stage.until(lambda: "The training stands at the end of step 8" in stage.lines[-1], "told again")
        await stage.send("W")
        await stage.until(lambda: "for at most 90 s more" in stage.text, "the dialog says so")
        assert "enter lets the training go on" in stage.text
        assert "for at most" not in stage.lines[-1]  # it stays there, and would be wrong a second later
        watching.names = ()
        await stage.send("enter")
        await stage.until(lambda: not watching.standing, "released")
        assert (watching.names, watching.wish) == ((), wish)  # not begun anew
