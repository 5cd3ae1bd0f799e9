"""Objects that hold one value in several ways: as an attribute, as an argument and as an item."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.factories_torch import save
from tui_params.sources.detect import open_path


@dataclass
class ModelOutput(OrderedDict[str, Any]):
    """As that of transformers 5: utils/generic.py; each field is an attribute and, if it is not None, an item."""

    loss: Any = None
    logits: Any = None
    hidden_states: Any = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                OrderedDict.__setitem__(self, field.name, value)

    def __reduce__(self) -> Any:
        made = super().__reduce__()
        return made[0], tuple(getattr(self, field.name) for field in fields(self)), *made[2:]


class Thing:
    """An object with attributes."""


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_model_output_has_each_of_its_tensors_once(tmp_path: Path, is_zip: bool) -> None:
    output = ModelOutput(None, torch.rand(2, 3), (torch.rand(2), torch.rand(3)))
    path = tmp_path / "a.pt"
    torch.save({"out": output, "twice": output}, path, _use_new_zipfile_serialization=is_zip)
    listing = open_path(path).listing
    assert {info.name: (info.shape, info.tied_to) for info in listing.tensors} == {
        "out.logits": ((2, 3), None),
        "out.hidden_states.0": ((2,), None),
        "out.hidden_states.1": ((3,), None),
    }
    assert [finding.rule for finding in listing.findings] == ["pickle-classes"]
    assert listing.metadata["out.loss"] == "None"
    assert listing.metadata["twice"] == "the same object as out"
    assert "out.0" not in listing.metadata


def test_an_item_that_is_another_value_than_the_attribute_is_listed_too(tmp_path: Path) -> None:
    output = ModelOutput(None, torch.rand(2, 3))
    OrderedDict.__setitem__(output, "logits", torch.rand(4))
    listing = open_path(save(tmp_path / "a.pt", {"out": output})).listing
    assert {info.name: info.shape for info in listing.tensors} == {"out.logits": (2, 3), "out.logits~2": (4,)}
    assert [finding.rule for finding in listing.findings] == ["pickle-classes", "duplicate-names"]


def test_many_objects_with_one_large_state_take_linear_time(tmp_path: Path) -> None:
    state = {f"w{i}": torch.ones(1) for i in range(300)}
    things = [Thing() for _ in range(300)]
    for thing in things:
        thing.__dict__ = state
    listing = open_path(save(tmp_path / "a.pt", things)).listing
    assert len(listing.tensors) == 300
