"""Damaged folders of DeepSpeed: what its own script refuses, or reads otherwise than we do, is never ok in a check.

TUI_PARAMS_FUZZ_FOLDERS gives the number of folders of each layout (``just fuzz-folders``), TUI_PARAMS_FUZZ_SEED another
start. Without a number nobody is asked: then nothing but our own errors may come out, no other file may be opened, and
little memory be taken. Without DeepSpeed torch alone is asked, whether it refuses a file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.factories_deepspeed import Zero, write_universal
from tests.factories_folder_damage import fuzz

ASKED = os.environ.get("TUI_PARAMS_FUZZ_FOLDERS")
NUMBER = int(ASKED or 15)
SEED = os.environ.get("TUI_PARAMS_FUZZ_SEED", "0")
SHAPES = {"w": (3, 2), "b": (1,), "l.weight": (2, 3)}

LAYOUTS: dict[str, dict[str, Any]] = {
    "stage 1": {"stage": 1, "is_elastic": True},
    "stage 2": {"stage": 2, "world": 3},
    "stage 3": {"stage": 3, "world": 3, "sub_group": 2},
    "BF16_Optimizer": {"stage": 1, "is_bf16_optimizer": True},
}
REFUSED = {"BF16_Optimizer"}
"""Layouts that the script never reads."""


@pytest.mark.parametrize("layout", [*LAYOUTS, "universal"])
def test_damaged_folders_are_told_fuzz(tmp_path: Path, layout: str) -> None:
    zero = Zero(**LAYOUTS.get(layout, {"stage": 2}), shapes=SHAPES)
    is_universal = layout == "universal"
    folder = (write_universal if is_universal else lambda folder, zero: zero.write(folder))(tmp_path / "honest", zero)
    work = tmp_path / "work"
    work.mkdir()
    how = None if not ASKED or is_universal or layout in REFUSED else "zero"
    tally = fuzz(folder, how, NUMBER, f"{SEED} {layout}", work)
    assert not tally.silent
    assert tally.told > NUMBER / 2
