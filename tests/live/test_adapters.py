"""Adapters of a model in memory: what peft's layers keep of them, and what is not taken for that."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import tui_params
from tui_params.api.opening import open_source
from tui_params.core.health.adapters import adapters_of, summarize_adapters


class Layer(nn.Module):  # type: ignore[misc]  # mypy does not read torch
    """A layer as peft 0.21 builds it: halves by the name of the adapter, and plain dicts of numbers."""

    def __init__(self, **kept: Any) -> None:
        super().__init__()
        self.base_layer = nn.Linear(8, 6)
        names = kept.pop("names", ("default",))
        ranks = kept["r"] if isinstance(kept.get("r"), dict) else {}
        self.lora_A = nn.ModuleDict({name: nn.Linear(8, ranks.get(name, 4), bias=False) for name in names})
        self.lora_B = nn.ModuleDict({name: nn.Linear(ranks.get(name, 4), 6, bias=False) for name in names})
        for name, value in kept.items():
            setattr(self, name, value)


class Rotation(nn.Module):  # type: ignore[misc]
    """OFT's module as peft 0.21 builds it: the rows and columns of a triangle are buffers beside the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 28))
        rows, columns = torch.triu_indices(8, 8, 1)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("cols", columns, persistent=False)


def rotated(*modules: str) -> nn.Module:
    layers = {name: nn.ModuleDict({"oft_R": nn.ModuleDict({"default": Rotation()})}) for name in modules}
    return nn.ModuleDict(layers)


def lines(layer: nn.Module) -> list[str]:
    return summarize_adapters(adapters_of(open_source(nn.ModuleDict({"q_proj": layer}))))


def test_the_scale_is_the_one_in_use() -> None:
    layer = Layer(r={"default": 4}, lora_alpha={"default": 8}, scaling={"default": 2.0})
    assert lines(layer) == ["LoRA: rank 4, alpha 8 (the model), scale 2 (alpha/rank)"]
    layer.scaling["default"] = 0.5
    assert lines(layer) == ["LoRA: rank 4, alpha 8 (the model), scale 0.5 (as it is in use)"]
    layer.scaling["default"] = 4.0
    assert lines(layer) == ["rsLoRA: rank 4, alpha 8 (the model), scale 4 (alpha/√rank)"]


def test_each_adapter_of_a_layer_has_its_own() -> None:
    ranks, alphas = {"default": 4, "second": 2}, {"default": 8, "second": 2}
    layer = Layer(names=("default", "second"), r=ranks, lora_alpha=alphas, scaling={"default": 2.0, "second": 1.0})
    assert lines(layer) == [
        "LoRA: rank 4, alpha 8 (the model), scale 2 (alpha/rank)",
        "LoRA second: rank 2, alpha 2 (the model), scale 1 (alpha/rank)",
    ]


def test_adalora_divides_by_the_rank_that_is_left() -> None:
    layer = Layer(r={"default": 4}, lora_alpha={"default": 8}, scaling={"default": 8})
    layer.lora_E = nn.ParameterDict({"default": torch.ones(4, 1)})
    assert lines(layer) == ["AdaLoRA: rank 4, alpha 8 (the model), scale 2 (alpha/rank)"]


def test_attributes_of_other_kinds_say_nothing() -> None:
    class Loud(dict[str, float]):
        def items(self) -> Any:
            raise AssertionError("somebody's code ran")

    unknown = ["LoRA: rank 4, alpha unknown (no adapter_config.json or metadata here state it)"]
    assert lines(Layer()) == unknown
    assert lines(Layer(scaling=Loud(default=2.0), lora_alpha={"default": 8})) == unknown
    assert lines(Layer(scaling=0.5)) == unknown
    assert lines(Layer(scaling={"default": torch.ones(1)}, lora_alpha={"default": "8"}, r=[4])) == [
        "LoRA: rank 4, alpha unknown (the model does not say it in a way that can be told)"
    ]


def test_a_rank_that_the_layer_does_not_have() -> None:
    layer = Layer(r={"default": 4}, lora_alpha={"default": 8}, scaling={"default": 2.0})
    layer.r["default"] = 16
    found = tui_params.check(nn.ModuleDict({"q_proj": layer})).findings
    assert [finding.evidence for finding in found if finding.rule == "adapter-rank"] == [
        "the model says r 16, but q_proj has rank 4"
    ]


def test_the_indices_of_a_fresh_rotation_are_no_trained_parts() -> None:
    model = rotated("q", "k", "v")
    assert {finding.severity for finding in tui_params.check(model).findings} == {"info"}
    assert summarize_adapters(adapters_of(open_source(model))) == ["OFT in 3 modules: no rank, no alpha"]
    with torch.no_grad():
        model.q.oft_R.default.weight.normal_()
        model.k.oft_R.default.weight.normal_()
    (finding,) = [finding for finding in tui_params.check(model).findings if finding.severity != "info"]
    assert (finding.rule, finding.tensor) == ("untrained-lora", "v.oft_R.default.weight")
    assert finding.evidence.endswith("but 2 of 3 in this file are not")
