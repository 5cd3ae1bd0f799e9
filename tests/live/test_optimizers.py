"""Optimizers beside their models: whose states they are, and which parameters nobody changes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import tui_params
from tui_params import check
from tui_params.core.findings import Finding
from tui_params.core.health.live import LIVE_RULES
from tui_params.errors import SourceChangedError
from tui_params.live.source import ModelSource, StateDictSource


def names(source: Any) -> list[str]:
    return [info.name for info in source.listing.tensors]


def trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()


def two_layers() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))


def about(source: Any, rule: str = "not-in-optimizer") -> list[Finding]:
    return [finding for finding in source.listing.findings if finding.rule == rule]


def test_a_mapping_of_a_model_and_its_optimizer_opens_as_what_they_are() -> None:
    model = two_layers()
    optimizer = torch.optim.AdamW(model.parameters())
    trained(model, optimizer)
    source = tui_params.open_source({"model": model, "optimizer": optimizer, "epoch": 3, "rng": torch.zeros(2)})
    assert source.listing.format == "models in memory"
    assert names(source)[:5] == ["model.0.weight", "model.0.bias", "model.1.weight", "model.1.bias", "rng"]
    assert source.find("model.0.weight").kind == "parameter"
    state = optimizer.state[model[1].bias]["exp_avg"]
    assert source.read("optimizer.model.1.bias.exp_avg").tolist() == state.tolist()
    assert source.listing.modules == {"model": "Sequential", "model.0": "Linear", "model.1": "Linear"}
    assert set(source.listing.gradients) == {"model.0.weight", "model.0.bias", "model.1.weight", "model.1.bias"}
    metadata = source.listing.metadata
    assert (metadata["epoch"], metadata["optimizer.param_groups.0.lr"]) == ("3", "0.001")
    assert metadata["model.training"] == "True"
    assert source.listing.findings == ()
    assert source.changed() is None


def test_models_below_a_list_and_a_second_mapping_are_opened_too() -> None:
    first, second = nn.Linear(4, 1), nn.Linear(4, 1, bias=False)
    optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], momentum=0.9)
    trained(first, optimizer)
    source = StateDictSource({"nets": [first, second], "more": {"optimizer": optimizer}})
    assert names(source)[:3] == ["nets.0.weight", "nets.0.bias", "nets.1.weight"]
    assert "more.optimizer.nets.0.weight.momentum_buffer" in names(source)
    replaced = {"model": first}
    source = StateDictSource(replaced)
    replaced["model"] = nn.Linear(4, 1)
    with pytest.raises(SourceChangedError, match=r"model\.weight was replaced"):
        source.read("model.weight")


def test_a_plain_state_dict_is_what_it_was() -> None:
    source = StateDictSource(two_layers().state_dict())
    assert source.listing.format == "state dict in memory"
    assert (source.listing.modules, source.listing.metadata, source.listing.findings) == ({}, {}, ())


def test_a_trainable_parameter_in_no_group_is_named() -> None:
    model = two_layers()
    optimizer = torch.optim.AdamW(model[0].parameters())
    (finding,) = about(ModelSource(model, optimizer=optimizer))
    assert (finding.severity, finding.tensor) == ("warning", None)
    assert finding.evidence == (
        "2 trainable parameters are in no group of the optimizer, so no step changes them: 1.weight, 1.bias; "
        "the other 2 are"
    )
    report = tui_params.check(model, optimizer=optimizer)
    assert report.status == "findings"
    assert about(tui_params.open_source({"m": model, "o": optimizer}))[0].evidence.count("m.1.weight") == 1


def test_one_parameter_that_was_replaced_after_the_optimizer_was_made_is_named() -> None:
    model = two_layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model[1].bias = nn.Parameter(torch.zeros(2))
    (finding,) = about(ModelSource(model, optimizer=optimizer))
    assert finding.evidence.startswith("1 trainable parameter is in no group of the optimizer, so no step changes it")
    assert ": 1.bias;" in finding.evidence


def test_an_optimizer_of_another_copy_is_told() -> None:
    model = two_layers()
    optimizer = torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1)
    (finding,) = about(ModelSource(model, optimizer=optimizer))
    assert "none of the 4 trainable parameters is in a group of the optimizer" in finding.evidence
    assert "another copy of the model" in finding.evidence


def test_every_honest_arrangement_is_quiet() -> None:
    tied = two_layers()
    tied.add_module("again", tied[1])
    frozen = two_layers()
    frozen[0].requires_grad_(False)
    averaged = nn.ModuleDict({"model": two_layers()})
    averaged["copy"] = torch.optim.swa_utils.AveragedModel(averaged["model"])
    target = nn.ModuleDict({"net": two_layers(), "target_net": two_layers()})
    model = two_layers()
    masters = [p.detach().double().requires_grad_() for p in model.parameters()]
    flat = [torch.cat([p.detach().flatten() for p in model.parameters()]).requires_grad_()]
    for case, parameters in (
        (two_layers(), None),
        (tied, None),
        (frozen, list(frozen[1].parameters())),
        (averaged, list(averaged["model"].parameters())),
        (target, list(target["net"].parameters())),
        (model, masters),
        (model, flat),
        (torch.compile(model), list(model.parameters())),
        (nn.DataParallel(model), list(model.parameters())),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), None),
        (nn.utils.parametrizations.spectral_norm(nn.Linear(4, 2)), None),
    ):
        optimizer = torch.optim.SGD(list(case.parameters()) if parameters is None else parameters, lr=0.1)
        assert ModelSource(case, optimizer=optimizer).listing.findings == ()
    first, second = two_layers(), two_layers()
    both = {"first": first, "second": second, "a": torch.optim.SGD(first.parameters(), lr=0.1)}
    both["b"] = torch.optim.Adam(second.parameters())
    assert StateDictSource(both).listing.findings == ()
    assert StateDictSource({"model": first}).listing.findings == ()


def test_averaged_copies_are_not_said_to_lack_a_gradient() -> None:
    class ModelEmaV2(nn.Module):  # type: ignore[misc]
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.module = copy.deepcopy(model)

    model = two_layers()
    for name, average in (
        ("average", torch.optim.swa_utils.AveragedModel(model)),
        ("shadow", ModelEmaV2(model)),
        ("model_ema", copy.deepcopy(model)),
    ):
        whole = nn.ModuleDict({"model": model})
        whole[name] = average
        whole["model"](torch.ones(1, 4)).sum().backward()
        assert about(ModelSource(whole), "no-gradient") == []
    whole = nn.ModuleDict({"model": model, "unused": nn.Linear(2, 2), "schema": nn.Linear(2, 2)})
    (finding,) = about(ModelSource(whole), "no-gradient")
    assert finding.evidence.startswith("4 trainable parameters have no gradient")


def test_the_state_of_lbfgs_is_that_of_all_parameters() -> None:
    model = two_layers()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(torch.ones(1, 4)).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    source = ModelSource(model, optimizer=optimizer)
    states = [name for name in names(source) if name.startswith("optimizer.")]
    assert states
    assert all(name.startswith("optimizer.all_parameters.") for name in states)
    assert source.find("optimizer.all_parameters.d").numel == sum(p.numel() for p in model.parameters())
    assert source.listing.metadata["optimizer.all_parameters.func_evals"]
    assert source.read("optimizer.all_parameters.d").shape == (30,)


def test_an_optimizer_inside_another_shows_its_states() -> None:
    class Sharded(torch.optim.Optimizer):  # type: ignore[misc]
        """As ZeroRedundancyOptimizer: all parameters in its groups, the states in another optimizer."""

        def __init__(self, parameters: list[Any]) -> None:
            super().__init__(parameters, {})
            self.optim = torch.optim.AdamW(parameters[:2])

        def step(self, closure: Any = None) -> None:
            self.optim.step()

    model = two_layers()
    optimizer = Sharded(list(model.parameters()))
    trained(model, optimizer)
    source = ModelSource(model, optimizer=optimizer)
    assert [name for name in names(source) if name.endswith("exp_avg")] == [
        "optimizer.0.weight.exp_avg", "optimizer.0.bias.exp_avg",
    ]  # fmt: skip
    assert source.listing.findings == ()
    fresh = Sharded(list(model.parameters()))
    assert not any(name.startswith("optimizer.") for name in names(ModelSource(model, optimizer=fresh)))


def test_check_takes_an_optimizer() -> None:
    model = two_layers()
    optimizer = torch.optim.AdamW(model.parameters())
    trained(model, optimizer)
    optimizer.state[model[0].weight]["exp_avg"][1, 2] = float("nan")
    report = tui_params.check(model, optimizer=optimizer)
    assert [(finding.severity, finding.tensor) for finding in report.findings if finding.severity == "error"] == [
        ("error", "optimizer.0.weight.exp_avg")
    ]
    with pytest.raises(TypeError, match="the target is a mapping of tensors"):
        tui_params.check(model.state_dict(), optimizer=optimizer)


def test_compare_takes_the_optimizer_of_the_one_module() -> None:
    model = two_layers()
    optimizer = torch.optim.AdamW(model.parameters())
    trained(model, optimizer)
    kept = tui_params.open_source(model, optimizer=optimizer)
    report = tui_params.compare(model, kept, optimizer=optimizer)
    assert len(report.identical) == len(kept.listing.tensors) == 16
    assert tui_params.compare(kept, model, optimizer=optimizer).only_in_a == ()
    assert len(tui_params.compare(model, model.state_dict(), optimizer=optimizer).only_in_a) == 12
    with pytest.raises(TypeError, match="a and b are both one: open each by open_source"):
        tui_params.compare(model, two_layers(), optimizer=optimizer)
    with pytest.raises(TypeError, match="neither a nor b is one"):
        tui_params.compare(model.state_dict(), kept, optimizer=optimizer)


def test_the_rules_about_live_models_are_documented() -> None:
    from pathlib import Path

    folder = Path(tui_params.__file__).parent / "live" / "inside"
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    assert [rule.id for rule in LIVE_RULES if f'"{rule.id}"' not in text] == []


def stepped(optimizer_of: Callable[[Any], torch.optim.Optimizer]) -> tuple[Any, torch.optim.Optimizer]:
    model = torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(4)])
    optimizer = optimizer_of(model.parameters())
    for _ in range(3):
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


@pytest.mark.parametrize("optimizer_of", [torch.optim.AdamW, torch.optim.Adagrad, torch.optim.RMSprop])
def test_a_parameter_without_state_and_one_of_other_steps_are_found(
    optimizer_of: Callable[[Any], torch.optim.Optimizer],
) -> None:
    model, optimizer = stepped(optimizer_of)
    assert [finding.rule for finding in check(model, optimizer=optimizer).findings if finding.severity != "info"] == []
    del optimizer.state[model[2].weight]
    optimizer.state[model[3].weight]["step"] = torch.tensor(1.0)
    for target, options in ((model, {"optimizer": optimizer}), ({"model": model, "optimizer": optimizer}, {})):
        found = {finding.rule: finding.evidence for finding in check(target, **options).findings}
        assert "2.weight" in found["optimizer-no-state"]
        assert "optimizer-steps" in found


def test_a_frozen_parameter_needs_no_state() -> None:
    model, optimizer = stepped(torch.optim.AdamW)
    model[1].weight.requires_grad_(False)
    del optimizer.state[model[1].weight]
    assert [finding.rule for finding in check(model, optimizer=optimizer).findings if finding.severity != "info"] == []
