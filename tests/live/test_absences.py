"""Why a parameter has no gradient, in the loops in which that happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tui_params.api.opening import open_source


class Two(torch.nn.Module):  # type: ignore[misc]
    """Two layers, of which only the first need be used."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 2)
        self.second = torch.nn.Linear(3, 2)


def reasons(model: Any, optimizer: Any = None) -> dict[str, str]:
    with open_source(model, optimizer=optimizer) as source:
        return dict(source.listing.absences)


def nothing(model: Two, optimizer: torch.optim.Optimizer) -> None:
    pass


def backward(model: Two, optimizer: torch.optim.Optimizer) -> None:
    model.first(torch.ones(1, 3)).sum().backward()


def step_and_clear(model: Two, optimizer: torch.optim.Optimizer) -> None:
    (model.first(torch.ones(1, 3)) + model.second(torch.ones(1, 3))).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def reached_once(model: Two, optimizer: torch.optim.Optimizer) -> None:
    step_and_clear(model, optimizer)
    backward(model, optimizer)


def frozen(model: Two, optimizer: torch.optim.Optimizer) -> None:
    model.second.requires_grad_(False)
    backward(model, optimizer)


def accumulated(model: Two, optimizer: torch.optim.Optimizer) -> None:
    model.second.weight.main_grad = torch.zeros(2, 3, dtype=torch.float64)
    backward(model, optimizer)


NOT_REACHED = "the last backward() did not reach it, others have one"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (nothing, "no backward() yet: no parameter has a gradient"),
        (backward, NOT_REACHED),
        (step_and_clear, "zero_grad() has set the gradients to None since the last step of the optimizer"),
        (reached_once, f"{NOT_REACHED}; it was reached before: the optimizer has a state of it"),
        (frozen, "frozen (requires_grad is False)"),
        (accumulated, "it is accumulated in .main_grad (float64), not in .grad"),
    ],
)
def test_the_reason_is_that_of_the_loop(act: Callable[[Two, torch.optim.Optimizer], None], said: str) -> None:
    model = Two()
    optimizer = torch.optim.Adam(model.parameters())
    act(model, optimizer)
    found = reasons(model, optimizer)
    assert found["second.weight"] == said
    assert ("first.weight" in found) is (model.first.weight.grad is None)


def test_a_parameter_in_no_group_is_said_to_be_in_none() -> None:
    model = Two()
    optimizer = torch.optim.SGD(model.first.parameters(), lr=0.1)
    backward(model, optimizer)
    assert reasons(model, optimizer)["second.bias"].endswith("; it is in no group of the optimizer")
    assert "group" not in reasons(model)["second.bias"]


def test_with_gradients_everywhere_nothing_is_absent() -> None:
    model = Two()
    (model.first(torch.ones(1, 3)) + model.second(torch.ones(1, 3))).sum().backward()
    assert reasons(model) == {}


def test_what_is_no_leaf_keeps_no_gradient() -> None:
    model = Two()
    model.second._parameters["weight"] = model.second.weight * 2
    backward(model, torch.optim.SGD(model.first.parameters()))
    assert "not a leaf" in reasons(model)["second.weight"]


def test_copies_are_not_trained() -> None:
    model = Two()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    backward(model, torch.optim.SGD(model.parameters()))
    found = reasons({"model": model, "averaged": averaged})
    assert "follows the weights of another module" in found["averaged.module.first.weight"]
    assert "did not reach it" in found["model.second.weight"]
