"""The files that DeepSpeed's ZeRO-3 writes for each rank, in its layout: padding that was never written is no fault."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.factories_torch import save
from tui_params.core.health.checker import Report, check
from tui_params.sources.detect import open_path


class ZeroStageEnum(int, enum.Enum):
    """As ``deepspeed.runtime.zero.config.ZeroStageEnum``: written as a call with the number."""

    optimizer_states = 1
    gradients = 2
    weights = 3


NAN = float("nan")


def flat() -> torch.Tensor:
    """A partition of parameters with 7 and 35 elements for one of two ranks, with padding."""
    return torch.cat([torch.ones(3), torch.full((1,), NAN), torch.rand(17), torch.full((1,), 3e38)])


def optimizer_file(stage: int, count: Any) -> dict[str, Any]:
    states = {0: {"step": torch.tensor(3.0), "exp_avg": flat(), "exp_avg_sq": flat()}}
    inner = {"state": states, "param_groups": [{"lr": 0.1, "params": [0]}]}
    state: dict[str, Any] = {"zero_stage": ZeroStageEnum(stage), "partition_count": count, "loss_scaler": None}
    if stage == 3:
        state |= {"optimizer_state_dict": inner, "fp32_flat_groups": [flat()]}
    else:
        state |= {"base_optimizer_state": inner, "single_partition_of_fp32_groups": [flat()]}
    return {"optimizer_state_dict": state, "ds_config": {}, "ds_version": "0.19.8"}


def model_file(stage: int) -> dict[str, Any]:
    frozen = torch.tensor([1.0, 1.0, NAN]).bfloat16() if stage == 3 else torch.ones(5).bfloat16()
    weight = torch.empty(0) if stage == 3 else torch.rand(5, 7)
    return {
        "module": {"l.weight": weight, "frozen": weight[:0] if stage == 3 else torch.ones(5), "buf": torch.arange(3.0)},
        "buffer_names": ["buf"],
        "param_shapes": [{"l.weight": torch.Size([5, 7])}],
        "frozen_param_shapes": {"frozen": torch.Size([5])},
        "frozen_param_fragments": {"frozen": frozen},
        "ds_version": "0.19.8",
    }


def checked(path: Path) -> Report:
    with open_path(path) as source:
        return check(source)


@pytest.mark.parametrize("count", [2, 3])
def test_flat_partitions_with_padding_are_unread(tmp_path: Path, count: int) -> None:
    report = checked(save(tmp_path / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", optimizer_file(3, count)))
    assert [finding for finding in report.findings if finding.severity != "info"] == []
    assert {entry.tensor for entry in report.unchecked} == {
        "optimizer_state_dict.fp32_flat_groups.0",
        "optimizer_state_dict.optimizer_state_dict.state.0.exp_avg",
        "optimizer_state_dict.optimizer_state_dict.state.0.exp_avg_sq",
    }
    assert {entry.reason for entry in report.unchecked} == {
        "a flat partition of DeepSpeed ZeRO-3: between its parameters lies padding that was never written"
    }
    assert (report.status, report.checked) == ("unchecked", 1)


@pytest.mark.parametrize(("stage", "count"), [(3, 1), (1, [2]), (2, [2, 2])])
def test_partitions_without_such_padding_are_checked(tmp_path: Path, stage: int, count: Any) -> None:
    report = checked(save(tmp_path / "a.pt", optimizer_file(stage, count)))
    assert report.unchecked == ()
    assert "nan" in {finding.rule for finding in report.findings}


def test_weights_of_the_model_file_are_placeholders(tmp_path: Path) -> None:
    path = save(tmp_path / "zero_pp_rank_0_mp_rank_00_model_states.pt", model_file(3))
    report = checked(path)
    assert [entry.tensor for entry in report.unchecked] == [
        "module.l.weight",
        "module.frozen",
        "frozen_param_fragments.frozen",
    ]
    assert report.unchecked[0].reason.startswith("a placeholder of DeepSpeed ZeRO-3")
    assert (report.status, report.checked) == ("unchecked", 1)


def test_the_model_file_of_stage_2_is_read_whole(tmp_path: Path) -> None:
    report = checked(save(tmp_path / "mp_rank_00_model_states.pt", model_file(2)))
    assert (report.unchecked, report.checked) == ((), 4)


def test_another_empty_weight_is_no_placeholder(tmp_path: Path) -> None:
    value = model_file(3) | {"module": {"other.weight": torch.empty(0)}, "param_shapes": [[1], {"x": 3, 4: ()}]}
    with open_path(save(tmp_path / "a.pt", value)) as source:
        assert source.find("module.other.weight").unreadable is None
    with open_path(save(tmp_path / "b.pt", {"optimizer_state_dict": [3]})) as source:
        assert source.listing.tensors == ()
