"""What every test of the interface needs: short delays, notices that stay, an environment that names no colours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from textual import app, pilot
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot

from tests.factories_screen import quiet
from tui_params.tui.screens.explorer import delays, notice


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses before a question is asked are for people who hold a key down."""
    for name in ("DETAIL", "WANT", "FILTER", "MODULE", "RECORD"):
        monkeypatch.setattr(delays, f"{name}_DELAY", 0.004)
    for name in ("FILTER_AGAIN", "SORT_AGAIN"):
        monkeypatch.setattr(delays, name, 0.004)
    monkeypatch.setattr(delays, "RECORD_QUIET", 0.0)
    monkeypatch.setattr(delays, "METER_EVERY", 0.01)
    # However slow the machine is, a notice is there until the test looks at it.
    monkeypatch.setattr(notice, "SAID_FOR", 1000.0)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours and characters are as on a good terminal, unless a test says otherwise."""
    for name in ("NO_COLOR", "TUI_PARAMS_ASCII", "TUI_PARAMS_THEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")


def share_stylesheets(patch: pytest.MonkeyPatch) -> None:
    """Each app parses the same styles; read once, they serve all."""
    parse, parsed = Stylesheet._parse_rules, dict[Any, Any]()

    def parse_once(self: Stylesheet, *where: Any, **how: Any) -> Any:
        key = (frozenset(self._variables.items()), where, tuple(how.items()))
        if key not in parsed:
            parsed[key] = parse(self, *where, **how)
        return parsed[key]

    patch.setattr(Stylesheet, "_parse_rules", parse_once)


@pytest.fixture(scope="session", autouse=True)
def shared_stylesheets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        share_stylesheets(patch)
        yield


@pytest.fixture(autouse=True)
def quick_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pilot waits until no message is left; by itself it watches how busy the processor is, for 20 ms at least."""

    async def wait_for_screen(self: Pilot[None], timeout: float = 0.0) -> bool:
        await quiet(self.app)
        return True

    async def no_wait(*_: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(Pilot, "_wait_for_screen", wait_for_screen)
    monkeypatch.setattr(pilot, "wait_for_idle", no_wait)
    monkeypatch.setattr(app, "wait_for_idle", no_wait)
