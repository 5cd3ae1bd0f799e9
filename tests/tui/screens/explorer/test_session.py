"""A source that changes while it is looked at: the header says in its own words how, and R opens it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories_memory import MemorySource
from tests.factories_safetensors import entry, file_bytes
from tests.factories_screen import Stage, on_stage, ramp
from tui_params.api.opening import open_source
from tui_params.tui.screens.explorer import delays

SIZES = ((60, 20), (80, 24), (120, 36))


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources are looked at again and again without a pause."""
    monkeypatch.setattr(delays, "WATCH_EVERY", 0.01)


async def says(stage: Stage, sentence: str) -> None:
    """Wait for the sentence; in the header it is whole, or both ends of its first clauses are; a toast has it whole."""
    await stage.until(lambda: "R reloads" in stage.header, "the header")
    shown = stage.lines[1].strip().removeprefix("! ").removesuffix("; R reloads")
    clauses = sentence.split("; ")
    wholes = ["; ".join(clauses[:count]) for count in range(1, len(clauses) + 1)]
    if "…" in shown:
        head, _, tail = shown.partition("…")
        assert len(stage.lines[1].rstrip()) >= stage.app.size.width - 1  # nothing is left out that had room
        assert any(whole.startswith(head) and whole.endswith(tail) for whole in wholes)
    else:
        assert shown.endswith(tuple(wholes))
    assert [notice.message for notice in stage.app._notifications] == [sentence]
    assert max(map(len, stage.lines)) == stage.app.size.width


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_live_model_that_was_written_to(size: tuple[int, int]) -> None:
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    async with on_stage(lambda: open_source(model), size) as stage:
        with torch.no_grad():
            model[1].weight.add_(1.0)
        await says(stage, "1 tensor was written to since this was opened, first 1.weight")
        await stage.press("R")
        await stage.until(lambda: stage.screen.session.generation == 2, "opened again")
        await stage.rest()
        assert "R reloads" not in stage.header
        assert "4 tensors" in stage.header


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_file_that_was_truncated(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_bytes({"a": entry("F32", (64,), 0)}, bytes(256)))
    whole = path.stat().st_size
    async with on_stage(lambda: open_source(path), size) as stage:
        with path.open("r+b") as file:
            file.truncate(whole - 100)
        before, after = f"{whole} B", f"{whole - 100} B"
        sentence = f"model.safetensors was truncated from {before} to {after} after it was opened; open it again"
        await says(stage, sentence)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_sentence_of_a_source_with_wide_names_fits(size: tuple[int, int]) -> None:
    class Renamed(MemorySource):
        def changed(self) -> str | None:
            return f"{'重み' * 100} was replaced"

    async with on_stage(Renamed({"a": ramp(3)}), size) as stage:
        await stage.until(lambda: "replaced; R reloads" in stage.header, "the header")
        assert "…" in stage.lines[1]
