"""``tui-params timeline``: a run of a small model in which NaN sets in at a known step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.core.compare.test_timeline import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six steps; the head is frozen from step 300 on, one layer jumps at 400 and has NaN from 500 on."""
    generator = torch.Generator().manual_seed(0)
    weights = {f"layers.{n}.w": torch.randn(8, 8, generator=generator) for n in range(3)}
    weights |= {"head": torch.randn(4, generator=generator)}
    steps = {}
    for number in range(100, 700, 100):
        for name, value in weights.items():
            rate = 0.0 if name == "head" and number > 300 else 10.0 if (name, number) == ("layers.1.w", 400) else 0.01
            weights[name] = value + rate * torch.randn(value.shape, generator=generator)
        if number >= 500:
            weights["layers.1.w"][2, :3] = torch.nan
        steps[number] = {name: value.clone() for name, value in weights.items()}
    return run(tmp_path / "run", steps)


def test_the_step_of_the_first_nan_the_jump_and_what_is_frozen_are_named(folder: Path, cli: Callable[..., Any]) -> None:
    ran = cli("timeline", str(folder))
    assert (ran.code, ran.err) == (1, "")
    lines = ran.out.splitlines()
    assert lines[0] == "6 steps: 100, 200, 300, 400, 500 and 600"
    assert "NaN or infinities first at step 500, in 1 of 4 tensors" in lines
    assert "  layers.1.w  3 NaN, 0 Inf of 64 elements" in lines
    assert "  step 400: layers.1.w" in lines
    assert "  since step 300: head" in lines
    assert not any("all with NaN" in line for line in lines)
    assert any(line.startswith("! layers.1.w") for line in lines)
    assert max(map(len, lines)) <= 100


def test_the_document_has_every_moment(folder: Path, cli: Callable[..., Any]) -> None:
    ran = cli("timeline", "--json", str(folder))
    found = json.loads(ran.out)
    assert found["first_broken"] == {"step": 4, "tensors": ["layers.1.w"]}
    by_name = {entry["name"]: entry for entry in found["tensors"]}
    assert (by_name["layers.1.w"]["jump"], by_name["head"]["frozen_since"]) == (3, 2)
    assert [step["number"] for step in found["steps"]] == [100, 200, 300, 400, 500, 600]
    assert all(len(entry["moments"]) == 6 for entry in found["tensors"])
    assert found["unread"] == []


def test_steps_may_be_given_one_by_one(folder: Path, cli: Callable[..., Any]) -> None:
    first, second = (str(folder / f"checkpoint-{number}") for number in (200, 100))
    ran = cli("timeline", first, second, "--names")
    assert ran.code == 0
    assert "the numbers of the steps do not rise in this order" in ran.out
    assert "No NaN and no infinity at any step" in ran.out


def test_what_could_not_be_read_is_no_clean_run(folder: Path, cli: Callable[..., Any]) -> None:
    (folder / "checkpoint-200" / "pytorch_model.bin").write_bytes(b"PK\x03\x04 nothing")
    steps = [str(folder / f"checkpoint-{number}") for number in (100, 200, 300)]
    ran = cli("timeline", *steps)
    assert ran.code == 3
    assert "No NaN and no infinity in what could be read" in ran.out
    assert cli("timeline", str(folder / "checkpoint-100")).code == 3
    assert cli("timeline").code == 2


def test_steps_with_other_tensors_and_numbers_that_are_there_twice_are_said(
    tmp_path: Path, cli: Callable[..., Any]
) -> None:
    w, half = torch.ones(4, 4), torch.ones(4, 4, dtype=torch.float16)
    steps = {10: {"a": w, "b": w, "c": w}, 20: {"a": w, "b": half, "new": w}, 30: {"a": w[:2], "b": half, "new": w}}
    folder = run(tmp_path / "run", steps)
    (folder / "checkpoint-20").rename(folder / "step_10")
    ran = cli("timeline", str(folder))
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[2] == "step 10 is there twice: checkpoint-10/ and step_10/"
    at = lines.index("Not the same tensors at every step")
    assert lines[at + 1 : at + 3] == [
        "  step 10: 1 of another type (b); 1 no longer there (c); 1 not at the step before (new)",
        "  step 30: 1 of another shape (a)",
    ]
    for name in ("out.md", "out.html"):
        assert cli("report", str(folder), "-o", str(tmp_path / name)).code == 0
        written = (tmp_path / name).read_text()
        assert "Not the same tensors at every step" in written
        assert "1 of another shape (a)" in written
        assert "10 is there twice" in written
    assert cli("timeline", str(folder / "checkpoint-10"), str(folder / "checkpoint-10")).out.count("twice") == 1


def test_a_tensor_that_is_all_nan_is_frozen_and_that_is_said(tmp_path: Path, cli: Callable[..., Any]) -> None:
    weights = {at: torch.full((4,), float(at)) for at in (10, 20)}
    lost = {at: torch.full((4,), torch.nan) for at in (30, 40)}
    folder = run(tmp_path / "run", {at: {"a": w, "b": torch.ones(2)} for at, w in (weights | lost).items()})
    words = "a (all with NaN or infinities)"
    assert f"  since step 30: {words}" in cli("timeline", str(folder)).out.splitlines()
    for name in ("out.md", "out.html"):
        assert cli("report", str(folder), "-o", str(tmp_path / name)).code == 1
        assert words.removeprefix("a") in (tmp_path / name).read_text()


def test_a_step_that_cannot_be_read_is_not_called_another_structure(tmp_path: Path, cli: Callable[..., Any]) -> None:
    folder = run(tmp_path / "run", {at: {"a": torch.ones(4, 4), "b": torch.ones(4)} for at in (10, 20, 30, 40)})
    for at, kept in ((20, 20), (30, -8)):
        path = next((folder / f"checkpoint-{at}").iterdir())
        path.write_bytes(path.read_bytes()[:kept])
    ran = cli("timeline", str(folder))
    assert ran.code == 3
    assert "Not the same" not in ran.out
    assert ran.out.count("\n! ") == 2
