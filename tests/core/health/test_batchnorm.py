"""A BatchNorm with the statistics of a fresh one among trained ones, and the fresh ones that are normal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tui_params


def trained(seed: int = 0) -> nn.Sequential:
    """Three convolutions with a BatchNorm each, after a few batches; its own gains and biases are untouched."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for i in range(3):
        layers += [nn.Conv2d(3 if not i else 8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    model = nn.Sequential(*layers)
    for _ in range(4):
        model(torch.randn(4, 3, 8, 8))
    return model


def warned(target: Any) -> dict[str | None, str]:
    """What is said at which tensor, apart from remarks."""
    return {f.tensor: f.evidence for f in tui_params.check(target).findings if f.severity != "info"}


def reset(model: nn.Sequential, at: int) -> dict[str, torch.Tensor]:
    model[at].reset_running_stats()
    return dict(model.state_dict())


def test_one_reset_norm_among_trained_ones_is_a_warning() -> None:
    assert warned(trained().state_dict()) == {}
    state = reset(trained(), 4)
    start = "the mean is 0 and the variance 1 in all 8 channels, as before the first batch, "
    assert warned(state) == {"4.running_mean": f"{start}unlike those of 2 of 3 #"}
    without = {name: tensor for name, tensor in state.items() if "tracked" not in name}
    assert warned(without) == {"4.running_mean": f"{start}unlike those of 2 of 3 #"}
    went_on = state | {"4.num_batches_tracked": torch.tensor(4)}
    assert warned(went_on) == {"4.running_mean": f"{start}although it counted 4 batches"}
    assert warned(state | {"4.num_batches_tracked": torch.tensor(1)}) == {
        "4.running_mean": f"{start}although it counted 1 batch"
    }
    with_gains = state | {"4.weight": torch.rand(8)}
    assert warned(with_gains) == {"4.running_mean": f"{start}although its gain or bias has been trained"}


def test_norms_of_different_names_are_known_by_their_gains() -> None:
    names = ("stem", "body", "tail")
    state = {
        f"{name}.bn.{key}": tensor
        for name, at in zip(names, (1, 4, 7), strict=True)
        for key, tensor in trained()[at].state_dict().items()
    }
    assert warned(state) == {}
    state |= {"body.bn.running_mean": torch.zeros(8), "body.bn.running_var": torch.ones(8)}
    state |= {"body.bn.num_batches_tracked": torch.tensor(0)}
    assert warned(state) == {}  # it may be a new layer in front of which nothing has been trained yet
    state["body.bn.bias"] = torch.rand(8)
    assert set(warned(state)) == {"body.bn.running_mean"}


@pytest.mark.parametrize("model", [trained(), nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.BatchNorm2d(8))])
def test_a_fresh_head_on_a_trained_body_and_a_fresh_model_are_normal(model: nn.Sequential) -> None:
    head = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    assert warned(nn.ModuleDict({"body": model, "head": head})) == {}
    assert warned(head) == {}


def test_norms_without_gains_or_of_one_channel_are_told_too() -> None:
    def norm(mean: float, channels: int) -> Mapping[str, np.ndarray[Any, Any]]:
        return {
            "running_mean": np.full(channels, mean, np.float32),
            "running_var": np.full(channels, 1 + mean, np.float32),
        }

    for channels in (1, 4):
        state = {
            f"bn{i}.{key}": torch.from_numpy(t)
            for i, mean in enumerate((0.5, 0.0, 0.2))
            for key, t in norm(mean, channels).items()
        }
        assert set(warned(state)) == {"bn1.running_mean"}
