"""A check is "ok" only if it looked at something: sources without tensors, and tensors without elements."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import tui_params
from tests.factories_memory import MemorySource
from tui_params.core.health.checker import Report, check


def drawn(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def said(report: Report) -> set[tuple[str, str, str | None]]:
    return {(finding.severity, finding.rule, finding.tensor) for finding in report.findings}


def reasons(report: Report) -> list[tuple[str | None, str]]:
    return [(entry.tensor, entry.reason) for entry in report.unchecked]


NOTHING = [(None, "it has no tensors, so nothing was checked")]


@pytest.mark.parametrize("name", ["none.pt", "none.safetensors", "numbers.pt"])
def test_a_file_without_tensors_is_never_ok(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".pt"):
        torch.save({"lr": 0.1, "epoch": 3} if "numbers" in name else {}, path)
    else:
        save_file({}, path)
    report = tui_params.check(path)
    assert (report.status, report.checked, report.empty, reasons(report)) == ("unchecked", 0, 0, NOTHING)


def test_a_model_without_parameters_is_never_ok() -> None:
    assert reasons(tui_params.check(torch.nn.ReLU())) == NOTHING


def test_the_empty_views_of_a_rank_are_an_error_each(tmp_path: Path) -> None:
    path = tmp_path / "rank.safetensors"
    save_file({f"layers.{i}.fc.weight": torch.zeros(0) for i in range(26)}, path)
    report = tui_params.check(path)
    assert (report.status, report.checked, report.empty) == ("findings", 26, 26)
    assert said(report) == {("error", "empty-weight", f"layers.{i}.fc.weight") for i in range(26)}
    assert report.findings[0].evidence == (
        "its shape is [0]: it has no element, as when a rank saves its empty view of a sharded weight"
    )
    assert reasons(report) == [(None, "none of its 26 tensors has an element, so nothing was checked")]


@pytest.mark.parametrize("shape", [(0,), (0, 64), (4, 0)])
@pytest.mark.parametrize("name", ["fc.weight", "attn.in_proj_weight", "fc.qweight", "norm.weight"])
def test_one_empty_weight_among_good_ones_is_an_error(name: str, shape: tuple[int, ...]) -> None:
    dtype = np.int32 if name.endswith("qweight") else np.float32
    arrays = {f"layers.{i}.{name}": (5 * drawn(4, 64, seed=i)).astype(dtype) for i in range(6)}
    bad = f"layers.2.{name}"
    arrays[bad] = np.zeros(shape, dtype)
    report = check(MemorySource(arrays))
    # A qweight lacks its scales here, which is said of it as well.
    assert {found for found in said(report) if found[0] != "info" and found[1] != "companion-missing"} == {
        ("error", "empty-weight", bad)
    }
    (evidence,) = (finding.evidence for finding in report.findings if finding.rule == "empty-weight")
    assert evidence == f"its shape is {list(shape)}: it has no element, unlike 5 of 6 layers.#.{name}"
    assert report.unchecked == ()


@pytest.mark.parametrize(
    "name",
    [
        "fc.bias",
        "anchors",
        "cache",
        "position_ids",
        "state.0.momentum_buffer",
        "optimizer.state.1.weight.mu",
        "te._extra_state",
    ],
)
def test_other_tensors_may_be_empty(name: str) -> None:
    report = check(MemorySource({"x.weight": drawn(4, 4), name: np.zeros(0, np.float32)}))
    assert (report.status, report.findings, report.unchecked) == ("ok", (), ())
    assert (report.checked, report.empty) == (2, 1)


def test_a_buffer_may_be_empty_whatever_its_name() -> None:
    loss = torch.nn.Module()
    loss.fc = torch.nn.Linear(3, 3)
    loss.register_buffer("weight", torch.zeros(0))
    assert said(tui_params.check(loss)) == set()
    alone = check(MemorySource({"cache": np.zeros((0, 4), np.float32)}))
    assert (alone.status, reasons(alone)) == (
        "unchecked",
        [(None, "its one tensor has no element, so nothing was checked")],
    )


def test_a_layer_that_is_made_for_no_level_has_lost_nothing() -> None:
    names = [f"decoder.layers.{i}.cross_attn.sampling_offsets.weight" for i in range(2)]
    arrays = {"x.weight": drawn(4, 4)} | {name: np.zeros((0, 32), np.float32) for name in names}
    assert said(check(MemorySource(arrays))) == set()
    arrays[names[0]] = drawn(8, 32)
    assert said(check(MemorySource(arrays))) == {("error", "empty-weight", names[1])}


def test_what_cannot_be_read_is_told_without_a_second_reason() -> None:
    report = check(MemorySource({"a": drawn(4), "b": np.zeros(0)}, unreadable={"a": "no bytes"}))
    assert reasons(report) == [("a", "no bytes")]


def deepspeed(path: Path, **settings: Any) -> Report:
    """A check of a model file as DeepSpeed's stage 3 writes it."""
    module = OrderedDict({"fc.weight": torch.zeros(0), "fc.bias": torch.zeros(0), "bn.running_mean": torch.rand(4)})
    shapes = [OrderedDict({"fc.weight": torch.Size([3, 4]), "fc.bias": torch.Size([3])})]
    torch.save({"module": module, "buffer_names": ["bn.running_mean"], "param_shapes": shapes, **settings}, path)
    return tui_params.check(path)


def test_the_empty_places_of_deepspeed_are_no_error_and_not_checked(tmp_path: Path) -> None:
    report = deepspeed(tmp_path / "zero.pt", ds_version="0.19.8")
    assert (report.status, report.checked, report.findings) == ("unchecked", 1, ())
    reason = "a placeholder of DeepSpeed ZeRO-3: its values lie in the flat partitions of all ranks, not joined here"
    assert reasons(report) == [("module.fc.weight", reason), ("module.fc.bias", reason)]
    assert report.state("module.fc.weight") == "unchecked"
    torch.save({"module": {"fc.weight": torch.zeros(0), "bn.running_mean": torch.rand(4)}}, tmp_path / "other.pt")
    others = tui_params.check(tmp_path / "other.pt")
    assert said(others) == {("error", "empty-weight", "module.fc.weight")}


def test_a_rank_that_holds_no_piece_of_a_live_parameter_has_lost_nothing() -> None:
    model = torch.nn.Linear(4, 3)
    model.weight.data = torch.zeros(0)
    assert said(tui_params.check(model)) == {("error", "empty-weight", "weight")}
    model.weight.ds_shape = torch.Size([3, 4])
    report = tui_params.check(model)
    assert (report.status, report.findings) == ("unchecked", ())
    assert reasons(report) == [("weight", "this rank holds no piece of it (DeepSpeed stage 3)")]
