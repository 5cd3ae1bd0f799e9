"""Folders that are damaged, mixed or meant to do harm: one sentence each, and what can be shown is shown."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.factories_deepspeed import TAG, Zero, optimizer_file, write_universal
from tui_params.core.health.checker import check
from tui_params.core.source import Source
from tui_params.errors import OpenError, ReadError
from tui_params.sources.detect import open_path

MODEL = "mp_rank_00_model_states.pt"


def errors(source: Source) -> list[tuple[str, str | None, str]]:
    found = source.listing.findings
    return [(finding.rule, finding.file, finding.evidence) for finding in found if finding.severity == "error"]


def readable(source: Source) -> list[str]:
    names = [info.name for info in source.listing.tensors if info.unreadable is None]
    return [name for name in names if not name.startswith("optimizer.")]


def assert_true(source: Source, zero: Zero) -> None:
    """What can be read is right, and what cannot be has a reason."""
    for info in source.listing.tensors:
        if info.unreadable is None and info.name in zero.everything:
            expected = zero.everything[info.name].contiguous().reshape(-1).view(torch.uint8)
            assert source.read(info.name).tobytes() == expected.numpy().tobytes()
        elif info.unreadable is not None:
            with pytest.raises(ReadError):
                list(source.blocks(info))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_missing_rank_is_named_and_not_stitched_around(tmp_path: Path, stage: int) -> None:
    zero = Zero(stage, 3)
    zero.write(tmp_path)
    (tmp_path / TAG / optimizer_file(1)).unlink()
    with open_path(tmp_path) as source:
        assert errors(source) == [("missing-rank", None, "the optimizer file of rank 1 of 3 is missing")]
        assert source.find("l1.weight").unreadable == "the optimizer file of rank 1 is missing"
        assert source.find("optimizer.l2.bias.exp_avg").unreadable == "the optimizer file of rank 1 is missing"
        # Rank 0 alone has it.
        assert source.find("scale").unreadable is None
        assert_true(source, zero)
        report = check(source)
        assert (report.status, {entry.reason for entry in report.unchecked}) == (
            "findings",
            {"the optimizer file of rank 1 is missing"},
        )
        copies = [name for name in readable(source) if name.startswith("module.")]
        assert copies == (
            [] if stage == 3 else [f"module.l{part}" for part in ("1.weight", "1.bias", "2.weight", "2.bias")]
        )


def test_many_missing_ranks_take_no_time(tmp_path: Path) -> None:
    for stage in (2, 3):
        zero = Zero(stage, 2)
        for rank in range(2):
            state = zero.files[optimizer_file(rank)]["optimizer_state_dict"]
            state["partition_count"] = 16_000 if stage == 3 else [16_000]
        with open_path(zero.write(tmp_path / str(stage))) as source:
            assert ("missing-rank", None, "the optimizer files of ranks 2-15999 of 16,000 are missing") in errors(
                source
            )


def test_without_any_optimizer_file_the_copies_are_shown(tmp_path: Path) -> None:
    zero = Zero(2, 2)
    zero.write(tmp_path)
    for rank in range(2):
        (tmp_path / TAG / optimizer_file(rank)).unlink()
    with open_path(tmp_path) as source:
        reason = "there is no optimizer file, which has the float32 values"
        assert errors(source) == [("missing-rank", None, reason)]
        assert source.find("l1.weight").unreadable == reason
        expected = zero.values["l1.weight"].bfloat16().view(torch.int16).numpy().tobytes()
        assert source.read("module.l1.weight").tobytes() == expected
        assert check(source).status == "findings"


def test_without_the_model_file_nothing_says_what_is_padding(tmp_path: Path) -> None:
    Zero(2, 2).write(tmp_path)
    (tmp_path / TAG / MODEL).unlink()
    with open_path(tmp_path) as source:
        assert [rule for rule, _, _ in errors(source)] == ["missing-rank"]
        assert [info.name for info in source.listing.tensors if info.unreadable] == ["rank_0.flat.0", "rank_1.flat.0"]


def test_a_frozen_weight_needs_the_model_files_of_all_ranks(tmp_path: Path) -> None:
    Zero(3, 3).write(tmp_path)
    (tmp_path / TAG / "zero_pp_rank_2_mp_rank_00_model_states.pt").unlink()
    with open_path(tmp_path) as source:
        assert errors(source) == [("missing-rank", None, "the model file of rank 2 of 3 is missing")]
        assert source.find("frozen").unreadable == "the model file of rank 2 is missing"
        assert source.find("l1.weight").unreadable is None


def test_a_rank_that_is_there_twice_does_not_count(tmp_path: Path) -> None:
    zero = Zero(2, 3)
    zero.write(tmp_path)
    shutil.copy(tmp_path / TAG / optimizer_file(1), tmp_path / TAG / optimizer_file(1).removeprefix("bf16_"))
    with open_path(tmp_path) as source:
        ((rule, _, evidence),) = errors(source)
        assert rule == "missing-rank"
        assert evidence.startswith(
            "rank 1 has more than one optimizer file: bf16_zero_pp_rank_1_mp_rank_00_optim_states"
        )
        assert source.find("l2.bias").unreadable == evidence
        assert_true(source, zero)


def test_files_of_another_run_do_not_count(tmp_path: Path) -> None:
    zero = Zero(2, 3)
    zero.write(tmp_path / "a")
    Zero(2, 4).write(tmp_path / "b")
    Zero(3, 3).write(tmp_path / "c")
    folder = tmp_path / "a" / TAG
    shutil.copy(folder / optimizer_file(1), folder / optimizer_file(7))
    shutil.copy(tmp_path / "b" / TAG / optimizer_file(2), folder / optimizer_file(2))
    with open_path(tmp_path / "a") as source:
        assert errors(source) == [
            (
                "foreign-rank",
                f"{TAG}/{optimizer_file(2)}",
                "it says that there are 4 ranks, and most others 3: it is of another run",
            ),
            (
                "foreign-rank",
                f"{TAG}/{optimizer_file(7)}",
                "it is of rank 7, and the others say that there are 3 ranks",
            ),
        ]
        assert source.find("l2.bias").unreadable == "the optimizer file of rank 2 is of another run"
        assert_true(source, zero)
    shutil.copy(tmp_path / "c" / TAG / optimizer_file(2), folder / optimizer_file(2))
    with open_path(tmp_path / "a") as source:
        assert errors(source)[0][2] == "it is of ZeRO stage 3, unlike most others: it is of another run"
        assert_true(source, zero)


def test_ranks_of_different_steps_are_told(tmp_path: Path) -> None:
    zero = Zero(2, 3)
    state = zero.files[optimizer_file(1)]["optimizer_state_dict"]["base_optimizer_state"]["state"]
    state[0]["step"] = torch.tensor(4.0)
    with open_path(zero.write(tmp_path / "a")) as source:
        ((rule, file, evidence),) = errors(source)
        assert (rule, file) == ("foreign-rank", f"{TAG}/{optimizer_file(1)}")
        assert evidence.startswith("it is of step 4, and the file of rank 0 of step 2")
    zero = Zero(3, 3)
    zero.files["zero_pp_rank_2_mp_rank_00_model_states.pt"]["global_steps"] = 9
    with open_path(zero.write(tmp_path / "b")) as source:
        ((rule, _, evidence),) = errors(source)
        assert evidence.startswith("it is of step 9, and the file of rank 0 of step 2")


MISFITS: list[Any] = [torch.Size([10**9, 10**9]), (9, 50), (0, 5), (2**61, 2**61)]
MALFORMED: list[Any] = [(-1, 4), ("x",), 5, None, (2**70,), (1,) * 70, [[3]], (True, 3.5)]


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("shape", MISFITS, ids=str)
def test_shapes_that_do_not_fit_place_nothing(tmp_path: Path, stage: int, shape: Any) -> None:
    zero = Zero(stage)
    for name, value in zero.files.items():
        if "model_states" in name:
            value["param_shapes"][0]["l1.bias"] = shape
    with open_path(zero.write(tmp_path)) as source:
        assert "flat-layout" in {rule for rule, _, _ in errors(source)}
        assert not {"l1.weight", "l1.bias", "l2.bias", "optimizer.scale.exp_avg"} & set(readable(source))
        assert_true(source, zero)
        assert check(source).status == "findings"


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("shape", MALFORMED, ids=str)
def test_behind_a_malformed_shape_no_place_is_known(tmp_path: Path, stage: int, shape: Any) -> None:
    zero = Zero(stage)
    for name, value in zero.files.items():
        if "model_states" in name:
            value["param_shapes"][0]["l1.bias"] = shape
    with open_path(zero.write(tmp_path)) as source:
        assert {rule for rule, _, _ in errors(source)} == {"flat-layout"}
        assert source.find("l1.weight").unreadable is None
        assert source.find("l1.bias").has_unknown_size
        assert (source.find("l2.bias").unreadable or "").startswith("it lies behind a parameter whose shape is")
        assert_true(source, zero)


@pytest.mark.parametrize(
    "shapes", [[1], {"a": 3}, "x", [[]], [], [{}], [{3: torch.Size([1])}], [{"a": (1,)}] * 2], ids=str
)
def test_odd_lists_of_shapes_are_told(tmp_path: Path, shapes: Any) -> None:
    zero = Zero(2)
    zero.files[MODEL]["param_shapes"] = shapes
    with open_path(zero.write(tmp_path)) as source:
        assert "flat-layout" in {rule for rule, _, _ in errors(source)}
        assert source.find("buf").unreadable is None


def test_a_shape_that_the_state_dict_contradicts_is_told(tmp_path: Path) -> None:
    zero = Zero(2)
    zero.files[MODEL]["param_shapes"][0]["l1.weight"] = torch.Size([5, 9])
    with open_path(zero.write(tmp_path)) as source:
        assert errors(source) == [
            ("flat-layout", f"{TAG}/{MODEL}", "the state dict has l1.weight in another shape than param_shapes")
        ]


def test_ties_in_a_circle_end(tmp_path: Path) -> None:
    zero = Zero(2)
    ties = {"a": "b", "b": "a", "c": "c", "d": "nowhere", "e": "head.weight", "head.weight": "emb.weight"}
    ties |= {f"x{number}": f"x{number + 1}" for number in range(5_000)} | {"x5000": "scale"}
    zero.files[MODEL]["shared_params"] = ties
    with open_path(zero.write(tmp_path)) as source:
        assert [evidence.partition(",")[0] for _, _, evidence in errors(source)] == [
            f"shared_params: {alias} is another name of {owner}"
            for alias, owner in (("a", "b"), ("b", "a"), ("c", "c"), ("d", "nowhere"))
        ]
        assert source.find("e").tied_to == source.find("head.weight").tied_to == "emb.weight"
        assert source.find("x0").tied_to == "scale"
        assert source.read("x0").tolist() == zero.values["scale"].tolist()


def odd_partitions(zero: Zero, change: Callable[[torch.Tensor], Any]) -> Zero:
    state = zero.files[optimizer_file(1)]["optimizer_state_dict"]
    key = "fp32_flat_groups" if zero.stage == 3 else "single_partition_of_fp32_groups"
    state[key] = [change(flat) for flat in state[key]]
    return zero


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize(
    "change",
    [
        lambda flat: flat.reshape(1, -1),
        lambda flat: torch.stack([flat, flat], 1)[:, 0],
        lambda flat: flat.bfloat16(),
        lambda flat: flat[:5],
        lambda flat: torch.cat([flat, flat]),
        lambda flat: None,
        lambda flat: "x",
        lambda flat: torch._neg_view(flat),
    ],
)
def test_partitions_of_another_layout_are_not_cut(tmp_path: Path, stage: int, change: Any) -> None:
    zero = odd_partitions(Zero(stage), change)
    with open_path(zero.write(tmp_path)) as source:
        assert source.find("l1.weight").unreadable is not None
        assert_true(source, zero)
        assert check(source).status in ("findings", "unchecked")


def test_moments_that_a_rank_lacks_cannot_be_read(tmp_path: Path) -> None:
    zero = Zero(3, 2)
    state = zero.files[optimizer_file(1)]["optimizer_state_dict"]["optimizer_state_dict"]["state"]
    state[0]["exp_avg"] = state[0]["exp_avg"][:7]
    del state[0]["exp_avg_sq"]
    with open_path(zero.write(tmp_path)) as source:
        reason = source.find("optimizer.l1.weight.exp_avg").unreadable
        assert reason == "a rank has 7 elements of it, and 63 of the parameters"
        assert source.find("optimizer.l1.weight.exp_avg_sq").unreadable == (
            "a rank has 0 elements of it, and 63 of the parameters"
        )
        assert source.find("l1.weight").unreadable is None
        assert_true(source, zero)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("../other", "names '../other', which is no folder in it; global_step2 is there, to be opened by path"),
        ("/etc", "names '/etc', which is no folder in it"),
        ("..", "names '..', which is no folder in it"),
        ("", "names '', which is no folder in it"),
        ("a\0b", "which is no folder in it"),
        ("global_step9", "names global_step9, which is not there; global_step2 is there, to be opened by path"),
        ("empty", "names empty, which has no files of a checkpoint"),
        ("x" * 5_000, "latest has more than 4,096 bytes"),
    ],
)
def test_latest_leads_to_no_other_place(tmp_path: Path, text: str, why: str) -> None:
    Zero(2).write(tmp_path / "other")
    folder = Zero(2).write(tmp_path / "run")
    (folder / "empty").mkdir()
    (folder / "latest").write_text(text)
    with pytest.raises(OpenError) as error:
        open_path(folder)
    assert why in str(error.value)


def test_latest_may_end_with_a_newline(tmp_path: Path) -> None:
    folder = Zero(2).write(tmp_path)
    (folder / "latest").write_text(f"{TAG}\n")
    with open_path(folder) as source:
        assert source.find("l1.weight").unreadable is None


def test_weights_beside_the_tag_are_the_model_of_the_folder(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "pytorch_model.bin")
    with open_path(Zero(2).write(tmp_path)) as source:
        assert source.names() == ["w"]
        assert source.listing.not_opened == (f"{TAG}/",)


def test_parts_that_are_not_joined_are_named(tmp_path: Path) -> None:
    folder = Zero(2).write(tmp_path)
    others = [
        "mp_rank_01_model_states.pt",
        "zero_pp_rank_0_mp_rank_01_optim_states.pt",
        "layer_0_expert_3_mp_rank_00_model_states.pt",
        "layer_01-model_00-model_states.pt",
    ]
    for name in others:
        torch.save({"module": {"w": torch.ones(3)}}, folder / TAG / name)
    with open_path(folder) as source:
        found = [finding for finding in source.listing.findings if finding.rule == "not-joined"]
        assert [finding.severity for finding in found] == ["warning", "warning"]
        assert found[0].evidence.startswith(
            "mp_rank_01_model_states.pt, zero_pp_rank_0_mp_rank_01_optim_states.pt are not"
        )
        assert found[1].evidence.endswith("are not joined with the rest: experts, or layers of a pipeline")
        assert sorted(source.listing.not_opened) == sorted(f"{TAG}/{name}" for name in others)


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch evil-ran",)


def test_no_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    zero = Zero(3)
    zero.files[optimizer_file(1)]["optimizer_state_dict"]["loss_scaler"] = Evil()
    zero.files["zero_pp_rank_0_mp_rank_00_model_states.pt"]["client"] = Evil()
    with open_path(zero.write(tmp_path / "run")) as source:
        report = check(source)
    assert not (tmp_path / "evil-ran").exists()
    files = {finding.file for finding in report.findings if finding.rule == "pickle-code"}
    assert files == {f"{TAG}/{optimizer_file(1)}", f"{TAG}/zero_pp_rank_0_mp_rank_00_model_states.pt"}


def test_a_universal_checkpoint_with_holes(tmp_path: Path) -> None:
    zero = Zero(3)
    folder = write_universal(tmp_path, zero)
    shutil.rmtree(folder / "zero" / "l1.bias")
    (folder / "zero" / "l2.bias" / "exp_avg.pt").write_bytes(b"PK\3\4")
    torch.save(torch.ones(4), folder / "zero" / "l2.weight" / "fp32.pt")
    with open_path(folder) as source:
        assert {(rule, file) for rule, file, _ in errors(source)} == {
            ("missing-tensor", None),
            ("bad-shard", "zero/l2.bias/exp_avg.pt"),
            ("flat-layout", "zero/l2.weight/fp32.pt"),
        }
        assert source.find("l2.weight").shape == (4,)
        assert source.find("l1.weight").shape == (9, 5)


def assert_survives(folder: Path) -> None:
    """Opening, reading and checking raise nothing but what they may."""
    try:
        source = open_path(folder)
    except OpenError:
        return
    with source:
        for info in source.listing.tensors:
            try:
                read = sum(block.size for block in source.blocks(info))
            except ReadError:
                continue
            assert read == info.nbytes


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("what", ["model", "optim"])
def test_truncated_at_every_offset(tmp_path: Path, stage: int, what: str) -> None:
    folder = Zero(stage, shapes={"w": (3,), "b": (1,)}, has_frozen=stage == 3).write(tmp_path)
    path = sorted((folder / TAG).glob(f"*{what}*"))[-1]
    whole = path.read_bytes()
    for size in (*range(0, len(whole), 17), *range(len(whole) - 60, len(whole))):
        path.write_bytes(whole[:size])
        assert_survives(folder)
