"""The first text inside another process: what went wrong is told as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tui_params.live.inside import doorstep


def test_the_word_appears_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = tmp_path / f"{os.getpid()}.failed"
    word.write_text("of an earlier visit")
    seen = []
    fdopen = os.fdopen

    def look(*arguments: Any, **keywords: Any) -> Any:
        seen.append(word.read_text())
        return fdopen(*arguments, **keywords)

    monkeypatch.setattr(os, "fdopen", look)
    doorstep.leave_word(str(tmp_path), "it has not imported torch")
    assert seen == ["of an earlier visit"]
    assert word.read_text() == "it has not imported torch"
    assert list(tmp_path.iterdir()) == [word]
