"""What every test of the interface needs: short delays, notices that stay, an environment that names no colours."""

from __future__ import annotations

import pytest

from tui_params.tui.screens.explorer import delays, notice


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses before a question is asked are for people who hold a key down."""
    for name in ("DETAIL", "WANT", "FILTER", "MODULE", "RECORD"):
        monkeypatch.setattr(delays, f"{name}_DELAY", 0.004)
    for name in ("FILTER_AGAIN", "SORT_AGAIN"):
        monkeypatch.setattr(delays, name, 0.004)
    monkeypatch.setattr(delays, "RECORD_QUIET", 0.0)
    # However slow the machine is, a notice is there until the test looks at it.
    monkeypatch.setattr(notice, "SAID_FOR", 1000.0)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours and characters are as on a good terminal, unless a test says otherwise."""
    for name in ("NO_COLOR", "TUI_PARAMS_ASCII", "TUI_PARAMS_THEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
