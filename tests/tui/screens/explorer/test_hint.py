"""The hint on the first screen: there until the user does something, with the keys that they have."""

from __future__ import annotations

import pytest

from tests.factories_screen import on_stage
from tui_params.cli.demo import HINT
from tui_params.settings import Settings
from tui_params.tui import keys
from tui_params.tui.screens.explorer import notice

SENTENCE = "S checks every tensor, then ! lists what is wrong."


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 36)])
async def test_the_first_screen_has_it_and_it_stays(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice, "SAID_FOR", 0.0)
    async with on_stage(size=size, hint=HINT) as stage:
        assert stage.status == f" {SENTENCE}".ljust(size[0])
        assert stage.screen.notice._later is None
        await stage.press("down")
        assert "checks every tensor" not in stage.status
        assert "keys" in stage.status


async def test_it_goes_when_it_was_followed_and_does_not_come_back() -> None:
    async with on_stage(hint=HINT) as stage:
        await stage.press("S")
        assert "checks every tensor" not in stage.status
        await stage.press("exclamation_mark", "escape", "R")
        assert "checks every tensor" not in stage.status


async def test_it_is_not_there_any_more_behind_the_problems() -> None:
    async with on_stage(hint=HINT) as stage:
        await stage.press("exclamation_mark", "S", "escape")
        assert "checks every tensor" not in stage.status


async def test_nothing_else_has_one() -> None:
    async with on_stage() as stage:
        assert stage.screen.notice.words == ""
        assert "checks every tensor" not in stage.status


async def test_it_names_the_keys_that_the_user_has() -> None:
    settings = Settings(theme="quiet-dark", keys={"scan": "f5,S", "problems": "x"})
    async with on_stage(hint=HINT, settings=settings) as stage:
        assert "f5 checks every tensor, then x lists what is wrong." in stage.status


def test_other_braces_are_left_alone() -> None:
    assert keys.fill_in("{scan} {} {nothing} {0.x} {", {}) == "S {} {nothing} {0.x} {"
