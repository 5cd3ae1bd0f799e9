"""Mistakes that tools of this kind make and that no other test would notice, each tested from the outside."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.factories_memory import MemorySource
from tui_params.api.opening import open_source
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check
from tui_params.core.health.subjects import Subject
from tui_params.tui import keys

README = Path(__file__).parent.parent / "README.md"


def _documented() -> set[str]:
    """The keys of the first column of the README's table, as Textual calls them."""
    section = README.read_text(encoding="utf-8").partition("\n## Keys\n")[2].partition("\n## ")[0]
    column = " ".join(
        row.split("|")[1].replace("<code>&#124;</code>", "`|`") for row in section.splitlines() if row.startswith("|")
    )
    found: set[str] = set()
    for group in re.findall(r"`([^`]+)`", column):
        found |= set(group)
    words = re.sub(r"`[^`]+`", " ", column)
    names = {
        "arrows": {"up", "down", "left", "right"},
        "page up and down": {"pageup", "pagedown"},
        "home": {"home"},
        "end": {"end"},
        "space": {"space"},
        "enter": {"enter"},
        "tab": {"tab"},
        "ctrl+s": {"ctrl+s"},
        "ctrl+e": {"ctrl+e"},
        "ctrl+l": {"ctrl+l"},
    }
    for name, stands_for in names.items():
        if name in words:
            found |= stands_for
    return found


_SIGNS = {
    "slash": "/",
    "exclamation_mark": "!",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "question_mark": "?",
    "colon": ":",
    "apostrophe": "'",
    "vertical_line": "|",
    "equals_sign": "=",
    "minus": "-",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}


def test_the_keys_in_the_readme_are_those_of_the_program() -> None:
    used = [
        [_SIGNS.get(key, key) for key in entry.keys.split(",")]
        for entry in (*keys.TREE, *keys.SCREEN, *keys.COMPARE, *keys.EDITS)
    ]
    documented = _documented()
    assert documented - {key for group in used for key in group} == set()
    # The help has the keys for scrolling the detail and for leaving; the README has a key for everything else.
    assert {group[0] for group in used if not documented & set(group)} == {"escape", "ctrl+d", "ctrl+u"}


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of bytes that each call reads from files."""
    counts: list[int] = []

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            result = call(*args)
            counts.append(result if isinstance(result, int) else len(result))
            return result

        return wrapper

    for name in ("read", "pread", "preadv"):
        if hasattr(os, name):
            monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return counts


@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_for_one_tensor_not_the_whole_file_is_read(tmp_path: Path, read_bytes: list[int], form: str) -> None:
    state = {"a": torch.zeros(1 << 20), "small": torch.arange(1000.0), "z": torch.zeros(1 << 20)}
    path = tmp_path / form
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    assert path.stat().st_size > 8 << 20
    with open_source(path) as source:
        np.testing.assert_array_equal(source.read("small", "[:3]"), [0, 1, 2])
        assert source.summarize("small").figures(1000).max == 999
        source.read("a", "[1000000:1000004]")
    # The older stream has no directory: its pickles are looked for in a piece of 1 MiB.
    assert 0 < sum(read_bytes) < 2 << 20


def test_a_rule_that_fails_does_not_leave_a_tensor_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(subject: Subject) -> tuple[Finding, ...]:
        raise ZeroDivisionError("a fault of the rule")

    monkeypatch.setattr("tui_params.core.health.checker.check_tensor", fails)
    with pytest.raises(ZeroDivisionError, match="a fault of the rule"):
        check(MemorySource({"a": np.ones(4, np.float32)}))


def test_a_source_that_fails_in_an_unforeseen_way_is_not_healthy() -> None:
    class Faulty(MemorySource):
        def blocks(self, *args: Any, **kwargs: Any) -> Any:
            raise ZeroDivisionError("a fault of the reader")

    source = Faulty({"a": np.ones(4, np.float32), "b": np.ones(70_000, np.float32)})
    with pytest.raises(ZeroDivisionError, match="a fault of the reader"):
        check(source)
