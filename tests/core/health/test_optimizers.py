"""The rules about the states of optimizers."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.factories_memory import MemorySource
from tui_params.api.opening import open_source
from tui_params.core.beat import Beat
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check

_RULES = {"optimizer-no-state", "optimizer-steps"}


def told(source: Any) -> list[Finding]:
    return [finding for finding in check(source).findings if finding.rule in _RULES]


def trained(folder: Path, without: Collection[int] = (), late: Collection[int] = (), kind: Any = None) -> Path:
    """The state of an optimizer after 3 steps; some of 12 parameters never had a gradient, some only in the last."""
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(6)])
    parameters = list(model.parameters())
    optimizer = (kind or torch.optim.AdamW)(parameters, 1e-3)
    for step in range(3):
        for i, parameter in enumerate(parameters):
            parameter.grad = None if i in without or (i in late and step < 2) else torch.randn_like(parameter)
        optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "run.pt")
    return folder / "run.pt"


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adamax, torch.optim.Adagrad])
def test_an_optimizer_that_stepped_everything(tmp_path: Path, kind: Any) -> None:
    with open_source(trained(tmp_path, kind=kind)) as source:
        assert told(source) == []


@pytest.mark.parametrize("number", [0, 5, 11])
def test_a_parameter_without_a_state(tmp_path: Path, number: int) -> None:
    with open_source(trained(tmp_path, {number})) as source:
        (finding,) = told(source)
    assert (finding.severity, finding.rule) == ("warning", "optimizer-no-state")
    assert (finding.tensor, finding.module) == (None, "optimizer.state")
    assert finding.evidence == (
        f"11 of 12 parameters have a state, optimizer.state.{{{number}}} is absent: "
        "it had no gradient in any step, or the state was lost"
    )


def test_many_parameters_without_a_state_may_be_frozen(tmp_path: Path) -> None:
    with open_source(trained(tmp_path, set(range(8)))) as source:
        (finding,) = told(source)
    assert finding.severity == "info"
    assert finding.evidence.startswith("4 of 12 parameters have a state, optimizer.state.{0-7} are absent: these had")


def test_a_parameter_that_was_stepped_less(tmp_path: Path) -> None:
    with open_source(trained(tmp_path, late={4})) as source:
        (finding,) = told(source)
    assert (finding.severity, finding.rule, finding.tensor) == ("warning", "optimizer-steps", "optimizer.state.4.step")
    assert finding.evidence == "it was stepped 1 time, but 11 of 12 parameters 3 times"


def test_many_that_were_stepped_less_are_a_remark(tmp_path: Path) -> None:
    with open_source(trained(tmp_path, late={1, 2, 3, 4, 5})) as source:
        (finding,) = told(source)
    assert (finding.severity, finding.tensor, finding.module) == ("info", None, "optimizer.state")
    assert finding.evidence == "12 parameters were stepped between 1 and 3 times; 7 of them 3 times"


def test_steps_that_are_numbers_in_the_metadata() -> None:
    arrays = {f"state.{i}.exp_avg": np.full((2, 2), i + 1, np.float32) for i in range(6)}
    steps = {f"state.{i}.step": "3" for i in range(6)}
    assert told(MemorySource(arrays, metadata=steps)) == []
    (finding,) = told(MemorySource(arrays, metadata=steps | {"state.2.step": "1"}))
    assert (finding.severity, finding.tensor) == ("warning", "state.2.exp_avg")
    del arrays["state.2.exp_avg"]
    arrays["state.2.other"] = np.ones((2, 2), np.float32)
    found = told(MemorySource(arrays, metadata=steps | {"state.2.step": "1"}))
    assert [f.module for f in found if f.rule == "optimizer-steps"] == ["state.2"]


def test_steps_of_a_training_that_goes_on_are_of_different_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {f"state.{i}.exp_avg": np.full((2, 2), i + 1, np.float32) for i in range(12)}
    source = MemorySource(arrays, metadata={f"state.{i}.step": f"{9_000 + i // 8}" for i in range(12)})
    assert [finding.severity for finding in told(source)] == ["info"]
    monkeypatch.setattr(source, "beat", lambda: Beat(40))
    assert told(source) == []
    # One that has made none of thousands of steps is behind, whenever it was read.
    steps = {f"state.{i}.step": f"{9_000 + i // 11 if i else 3}" for i in range(12)}
    source = MemorySource(arrays, metadata=steps)
    monkeypatch.setattr(source, "beat", lambda: Beat(40))
    assert [(finding.severity, finding.tensor) for finding in told(source)] == [("warning", "state.0.exp_avg")]


def named(*lost: str) -> MemorySource:
    arrays: dict[str, Any] = {}
    for i in range(8):
        for name in ("attn.q.weight", "mlp.up.weight", "mlp.up.bias"):
            for part in ("exp_avg", "exp_avg_sq"):
                arrays[f"optimizer.state.layers.{i}.{name}.{part}"] = np.full((2, 2), i + 1, np.float32)
    return MemorySource({name: array for name, array in arrays.items() if not name.startswith(lost)})


def test_states_by_the_names_of_the_parameters() -> None:
    assert told(named("nothing")) == []
    (finding,) = told(named("optimizer.state.layers.3.mlp.up.bias"))
    assert finding.evidence.startswith(
        "of the states in optimizer.state, layers.3 has no mlp.up.bias, but 7 of 8 such layers have it"
    )
    assert finding.module == "optimizer.state.layers.3"
    (finding,) = told(named("optimizer.state.layers.3."))
    assert finding.evidence == "of the states in optimizer.state, 7 of 8 layers.# are here, layers.3 is absent"
    assert finding.module == "optimizer.state.layers"


def test_a_part_of_a_state() -> None:
    (finding,) = told(named("optimizer.state.layers.3.mlp.up.weight.exp_avg_sq"))
    assert (finding.severity, finding.tensor) == ("warning", "optimizer.state.layers.3.mlp.up.weight.exp_avg")
    assert finding.evidence == "the state has no exp_avg_sq, but 23 of 24 states have"


def test_other_states_by_design() -> None:
    """Muon beside AdamW, Adafactor's rows and columns, 8-bit states of large parameters only."""
    arrays: dict[str, Any] = {}
    for i in range(12):
        parts = ("momentum_buffer",) if i % 2 else ("exp_avg", "exp_avg_sq")
        arrays |= {f"state.{i}.{part}": np.full((2, 2), i + 1, np.float32) for part in parts}
        arrays[f"state.{i}.row_var"] = np.full(2, i + 1, np.float32)
    assert told(MemorySource(arrays)) == []
    assert told(MemorySource({"state.3.exp_avg": np.ones((2, 2), np.float32), "state.x": np.ones(1)})) == []
