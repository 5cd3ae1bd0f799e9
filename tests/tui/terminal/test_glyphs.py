"""The characters of the interface: one cell each, and ASCII where the terminal has no more."""

from __future__ import annotations

import locale

import msgspec
import pytest
from rich.cells import cell_len

from tui_params.tui.terminal.glyphs import ASCII, UNICODE, choose


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_marks_are_one_cell_wide_and_tell_each_other_apart(glyphs: object) -> None:
    found = msgspec.structs.asdict(glyphs)  # type: ignore[arg-type]
    marks = [
        found[name] for name in ("error", "warning", "unreadable", "tied", "trainable", "unknown", "opened", "closed")
    ]
    assert all(cell_len(mark) == 1 for mark in marks)
    assert len(set(marks[:6])) == 6
    assert found["opened"] != found["closed"]
    assert cell_len(found["divider"]) == cell_len(found["bar"]) == 1


def test_the_ascii_set_is_ascii() -> None:
    assert all(str(glyph).isascii() for glyph in msgspec.structs.asdict(ASCII).values())


def test_the_user_or_the_locale_asks_for_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locale, "getpreferredencoding", lambda do_setlocale=True: "UTF-8")
    assert choose({}) is UNICODE
    assert choose({"TUI_PARAMS_ASCII": "0"}) is UNICODE
    assert choose({"TUI_PARAMS_ASCII": "1"}) is ASCII
    # Python answers UTF-8 for the locale C, whatever the terminal can do.
    assert choose({"LC_ALL": "C", "LANG": "en_US.UTF-8"}) is ASCII
    assert choose({"LC_ALL": "POSIX"}) is ASCII
    assert choose({"LC_CTYPE": "C", "LANG": "en_US.UTF-8"}) is ASCII
    assert choose({"LC_ALL": "", "LANG": "C"}) is ASCII
    assert choose({"LC_ALL": "en_US.UTF-8", "LANG": "C"}) is UNICODE
    assert choose({"LC_CTYPE": "C.UTF-8", "LANG": "C"}) is UNICODE
    monkeypatch.setattr(locale, "getpreferredencoding", lambda do_setlocale=True: "ANSI_X3.4-1968")
    assert choose({}) is ASCII
