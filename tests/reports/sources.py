"""Small checkpoints that have something of everything that a report shows."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.core.compare.test_timeline import run

HOSTILE = (
    "<script>alert(1)</script>",
    'a" onmouseover="alert(1)',
    "it's &lt;b&gt; & <b>",
    "</style></svg><img src=x onerror=alert(1)>",
    "layers.0.<svg onload=alert(1)>.w",
    "layers.1.<svg onload=alert(1)>.w",
    "\u202egnp.evil\x1b]0;title\x07\x00\n|@octocat `code` ``two``",
    "",
)


def hostile_file(path: Path) -> Path:
    """A checkpoint whose names are markup; some tensors have a NaN or are zero, so that they are named everywhere."""
    tensors = {name: torch.full((2, 2), float(at)) for at, name in enumerate(HOSTILE)}
    for name in HOSTILE[:6:2]:
        tensors[name][0, 0] = torch.nan
    torch.save(tensors, path)
    return path


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """Five layers and a head."""
    generator = torch.Generator().manual_seed(seed)
    found = {
        f"model.layers.{n}.{kind}.weight": torch.randn(8, 8, generator=generator)
        for n in range(5)
        for kind in ("attn.q", "attn.k", "up")
    }
    return found | {
        "model.norm": torch.ones(8),
        "ids": torch.tensor([2**53 + 1, -3]),
        "head": torch.randn(4, 8, generator=generator).bfloat16(),
    }


def pair(folder: Path) -> tuple[Path, Path]:
    """Two checkpoints: some tensors changed, one only on either side, one with NaN, one of another type."""
    a = weights()
    b = {name: value.clone() for name, value in a.items()}
    b["model.layers.1.up.weight"][2, 3] = torch.nan
    b["model.layers.3.attn.q.weight"] *= 7
    b["model.norm"] = b["model.norm"].half()
    b["new"] = b.pop("head").float() + 1
    paths = folder / "a.pt", folder / "b.pt"
    for path, state in zip(paths, (a, b), strict=True):
        torch.save(state, path)
    return paths


def run_folder(folder: Path) -> Path:
    """Six steps, not evenly spaced: the head is frozen from 300 on, a layer jumps at 500 and has NaN from 900 on.

    The file of step 200 is cut: that step cannot be opened.
    """
    generator = torch.Generator().manual_seed(3)
    state, steps = {name: value.float() for name, value in weights().items()}, {}
    for number in (100, 200, 300, 500, 900, 1000):
        for name, value in state.items():
            rate = 0.0 if name == "head" and number > 300 else 0.01
            rate = 10.0 if (name, number) == ("model.layers.1.up.weight", 500) else rate
            state[name] = value + rate * torch.randn(value.shape, generator=generator)
        if number >= 900:
            state["model.layers.1.up.weight"][2, :3] = torch.nan
        steps[number] = {name: value.clone() for name, value in state.items()}
    made = run(folder, steps)
    file = next((made / "checkpoint-200").iterdir())
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return made
