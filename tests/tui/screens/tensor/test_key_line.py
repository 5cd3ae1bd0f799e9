"""The keys in the last line of a screen, where there is room for few of them."""

from __future__ import annotations

import pytest

from tui_params.tui import keys
from tui_params.tui.screens.tensor.header import key_line


@pytest.mark.parametrize("table", [keys.KINDS, keys.MATRIX, keys.TIMELINE])
def test_the_help_keeps_its_place(table: list[keys.Key]) -> None:
    shown = [key for key in table if key.label][6:]
    assert any(key.id.endswith("help") for key in shown)
    whole = "".join(words for words, _ in key_line("", "", shown, {}, 400))
    before = 0
    for width in range(12, 200):
        line = "".join(words for words, _ in key_line("", "", shown, {}, width)).rstrip()
        assert "? keys" in line
        assert len(line) <= width
        # What is left out is the end, and nothing that comes first.
        others = line.replace("? keys", "").rstrip()
        assert whole.startswith(others) or "? keys" in whole[: len(others)]
        assert len(line) >= before
        before = len(line)
