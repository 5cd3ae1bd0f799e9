"""Faults as torch itself makes them: slices, casts that saturate, optimizers that never stepped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tui_params.api.opening import open_source
from tui_params.core.health.checker import Report, check

torch: Any = pytest.importorskip("torch")


def check_path(path: Path) -> Report:
    with open_source(path) as source:
        return check(source)


def normal(*shape: int) -> Any:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def test_a_saved_slice_keeps_the_storage_that_it_was_cut_from(tmp_path: Path) -> None:
    whole = normal(1024, 512)
    torch.save({"part.weight": whole[:8], "copy.weight": whole[8:16].clone()}, tmp_path / "slice.pt")
    (finding,) = check_path(tmp_path / "slice.pt").findings
    assert (finding.severity, finding.rule, finding.tensor) == ("info", "view-of-large-storage", "part.weight")
    assert finding.evidence == "a view of 16,384 bytes keeps a storage of 2,097,152"


def test_what_torch_casts_to_float8_saturates_and_is_told(tmp_path: Path) -> None:
    weight = normal(256, 256)
    scale = weight.abs().amax(1, keepdim=True) / 448
    tensors = {
        "a.weight": (300 * weight).to(torch.float8_e4m3fn),
        "b.weight": (weight / scale).to(torch.float8_e4m3fn),
        "b.weight_scale": scale,
    }
    torch.save(tensors, tmp_path / "fp8.pt")
    (finding,) = check_path(tmp_path / "fp8.pt").findings
    at_max = int((tensors["a.weight"].float().abs() == 448).sum())
    assert (finding.severity, finding.rule, finding.tensor) == ("warning", "fp8-saturation", "a.weight")
    assert finding.evidence.startswith(f"{at_max:,} of 65,536 values (")
    assert len(finding.indices) == 5
    assert all(abs(tensors["a.weight"].float()[index]) == 448 for index in finding.indices)


def test_an_optimizer_whose_parameter_had_no_gradient_is_told(tmp_path: Path) -> None:
    first, second = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW([*first.parameters(), *second.parameters()])
    for _ in range(3):
        (first(torch.randn(4, 8)).square().sum() + 0 * second.weight.sum() + 0 * second.bias.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.save({"optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    report = check_path(tmp_path / "state.pt")
    told = {finding.tensor: finding.evidence for finding in report.findings if finding.severity == "warning"}
    assert told == {
        "optimizer.state.2.exp_avg_sq": "all 64 second moments are zero after 3 steps: it never had a gradient",
        "optimizer.state.3.exp_avg_sq": "all 8 second moments are zero after 3 steps: it never had a gradient",
    }
