"""Models that are found in the variables of threads: what they are called, and which optimizers change them."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from tui_params.live.inside.roots import find_roots


class Computing(nn.Module):  # type: ignore[misc]
    """A model that stays in its own forward until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(200, 200)
        self.here, self.go_on = threading.Event(), threading.Event()

    def forward(self) -> None:
        self.here.set()
        self.go_on.wait(100)


@pytest.mark.parametrize("is_named", [True, False])
def test_a_model_in_its_own_forward_has_the_name_of_its_variable_or_of_its_class(*, is_named: bool) -> None:
    made = Computing()

    def train() -> None:
        network = made
        network.forward()

    thread = threading.Thread(target=train if is_named else made.forward)
    thread.start()
    try:
        assert made.here.wait(100)
        (name,) = [root.name for root in find_roots() if root.model is made]
    finally:
        made.go_on.set()
        thread.join()
    assert name == ("network" if is_named else "Computing")


def test_of_several_optimizers_of_a_model_those_in_containers_are_found_too() -> None:
    made = Computing()
    late = nn.Linear(3, 3)
    idle = torch.optim.SGD([late.weight], lr=0.1)

    def train() -> None:
        optimizer = torch.optim.SGD([made.layer.weight], lr=0.1)
        others = {"bias": [torch.optim.AdamW([made.layer.bias], lr=0.1)]}
        made.forward()
        del optimizer, others

    thread = threading.Thread(target=train)
    thread.start()
    try:
        assert made.here.wait(100)
        (root,) = [root for root in find_roots() if root.model is made]
    finally:
        made.go_on.set()
        thread.join()
    assert [type(each).__name__ for each in root.optimizers] == ["SGD", "AdamW"]
    assert idle not in root.optimizers
