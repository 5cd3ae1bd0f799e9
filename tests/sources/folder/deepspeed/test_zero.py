"""What the files of all ranks are together is what was there before DeepSpeed cut it, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.factories_deepspeed import TAG, Zero, optimizer_file, write_universal
from tui_params.api.comparing import compare
from tui_params.core.health.checker import Report, check
from tui_params.core.health.checksums import WatchedSource
from tui_params.core.source import Source
from tui_params.core.window import parse_window
from tui_params.sources.detect import open_path

LAYOUTS: dict[str, dict[str, Any]] = {
    "stage 1": {"stage": 1},
    "stage 2": {"stage": 2},
    "stage 2, 3 ranks": {"stage": 2, "world": 3},
    "stage 2, 1 rank": {"stage": 2, "world": 1},
    "stage 2, 16 ranks": {"stage": 2, "world": 16},
    "stage 2, groups": {"stage": 2, "world": 3, "groups": 2},
    "stage 2, aligned": {"stage": 2, "world": 3, "alignment": 8},
    "elastic": {"stage": 1, "world": 3, "is_elastic": True},
    "BF16_Optimizer": {"stage": 1, "world": 3, "is_bf16_optimizer": True},
    "stage 3": {"stage": 3},
    "stage 3, 3 ranks": {"stage": 3, "world": 3},
    "stage 3, 1 rank": {"stage": 3, "world": 1},
    "stage 3, 16 ranks": {"stage": 3, "world": 16},
    "stage 3, sub-groups": {"stage": 3, "world": 3, "sub_group": 2},
}


def raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def assert_whole(source: Source, expected: dict[str, torch.Tensor]) -> None:
    assert set(source.names()) == set(expected)
    for name, tensor in expected.items():
        info = source.find(name)
        assert (info.shape, info.dtype.name) == (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        assert info.unreadable is None
        assert source.read(name).tobytes() == raw(tensor)
        assert b"".join(block.tobytes() for block in source.blocks(info)) == raw(tensor)


def above_remarks(report: Report) -> list[str]:
    return [f"{found.rule} {found.evidence}" for found in report.findings if found.severity != "info"]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_parts_of_the_ranks_are_the_whole(tmp_path: Path, layout: dict[str, Any]) -> None:
    zero = Zero(**layout)
    folder = zero.write(tmp_path / "run")
    for path in (folder, folder / TAG):
        with open_path(path) as source:
            assert_whole(source, zero.everything)
            report = check(source)
            assert above_remarks(report) == []
            assert report.status == "ok"


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_windows_and_ranges_read_their_own_elements(tmp_path: Path, layout: dict[str, Any]) -> None:
    zero = Zero(**layout)
    with open_path(zero.write(tmp_path)) as source:
        for name in ("emb.weight", "optimizer.l1.weight.exp_avg_sq", "head.weight"):
            whole = zero.everything[name].numpy()
            info = source.find(name)
            for expression in ("[1:6:2, ::-1]", "[-1, 2:4]", "[3]", "[:, 4]", "[5:5]"):
                window = parse_window(expression, info.shape)
                assert np.array_equal(source.read_window(info, window), eval(f"whole{expression}"))
            for start, stop in ((0, 8), (8, 24), (16, info.numel)):
                part = b"".join(block.tobytes() for block in source.blocks(info, start, stop))
                assert part == whole.reshape(-1)[start:stop].tobytes()


def test_listing_and_metadata(tmp_path: Path) -> None:
    zero = Zero(2)
    (tmp_path / "global_step1").mkdir()
    torch.save({"module": {}}, tmp_path / "global_step1" / "mp_rank_00_model_states.pt")
    torch.save(torch.ones(3), tmp_path / "rng_state_0.pth")
    with open_path(zero.write(tmp_path)) as source:
        listing = source.listing
        assert listing.format == "DeepSpeed ZeRO-2, 2 ranks"
        facts = listing.metadata
        assert (facts["deepspeed.tag"], facts["deepspeed.zero_stage"], facts["deepspeed.ranks"]) == (TAG, "2", "2")
        assert (facts["epoch"], facts["optimizer.loss_scaler.cur_scale"], facts["ds_version"]) == ("3", "1.0", "0.19.8")
        assert facts["optimizer.param_groups.0.lr"] == "0.1"
        assert listing.not_opened == ("rng_state_0.pth", "global_step1/")
        assert facts["folder.not_opened"] == "rng_state_0.pth, global_step1/ (open by path)"
        kinds = {info.name: (info.kind, info.requires_grad) for info in listing.tensors}
        assert kinds["l1.weight"] == ("tensor", True)
        assert kinds["frozen"] == ("tensor", False)
        assert kinds["buf"][0] == "buffer"
        assert source.find("head.weight").tied_to == "emb.weight"
        assert source.find("optimizer.l1.bias.exp_avg").notes == ("state of l1.bias",)
        assert source.find("optimizer.l1.bias.step").tied_to == "optimizer.scale.step"
        (note,) = source.find("l1.weight").notes
        assert note == (
            f"the model computes with a bfloat16 copy in {TAG}/mp_rank_00_model_states.pt, which is not listed"
        )
        assert listing.states == ("optimizer",)


def test_pieces_name_their_ranks(tmp_path: Path) -> None:
    with open_path(Zero(3, 3).write(tmp_path)) as source:
        pieces = source.pieces_of(source.find("l1.bias"))
        assert [(str(piece), piece.rank) for piece in pieces] == [("[0:3]", 0), ("[3:6]", 1), ("[6:9]", 2)]
        assert [piece.file for piece in pieces] == [f"{TAG}/{optimizer_file(rank)}" for rank in range(3)]
        assert source.find("l1.bias").location == ""
        (piece,) = source.pieces_of(source.find("scale"))
        assert source.find("scale").location == f"{piece.file} @ {piece.offset}"
        assert source.pieces_of(source.find("buf")) == ()


def test_padding_is_in_no_figure(tmp_path: Path) -> None:
    zero = Zero(3, 16)
    with open_path(zero.write(tmp_path)) as source:
        figures = source.summarize("l1.weight").figures(45)
        assert (figures.nan, figures.finite) == (0, 45)
        assert figures.mean == pytest.approx(zero.values["l1.weight"].double().mean().item(), rel=1e-12)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_nan_is_found_in_its_tensor_rank_and_place(tmp_path: Path, stage: int) -> None:
    zero = Zero(stage, 2)
    zero.values["l1.weight"][8, 2] = torch.nan
    zero.cut()
    with open_path(zero.write(tmp_path)) as source:
        report = check(source)
    (finding,) = [found for found in report.findings if found.severity == "error"]
    assert (finding.tensor, finding.rule, finding.indices) == ("l1.weight", "nan", ((8, 2),))
    file = "zero_pp_rank_1_mp_rank_00_optim_states.pt"
    assert finding.evidence.startswith("1 of 45 values is NaN; in the part of rank 1, ")
    assert finding.evidence.endswith(file)


def test_many_nan_name_the_ranks_of_the_first(tmp_path: Path) -> None:
    zero = Zero(3, 3)
    zero.values["l2.bias"][:2] = torch.nan
    zero.values["l1.weight"][:] = torch.nan
    zero.cut()
    with open_path(zero.write(tmp_path)) as source:
        report = check(source)
    found = {finding.tensor: finding.evidence for finding in report.findings if finding.severity == "error"}
    assert found["l2.bias"].endswith("; in the parts of ranks 0-1")
    assert found["l1.weight"].endswith("_rank_0_mp_rank_00_optim_states.pt")
    assert "; the first in the part of rank 0, " in found["l1.weight"]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_consolidated_file_is_the_same(tmp_path: Path, stage: int) -> None:
    zero = Zero(stage, 3)
    whole = {name: value for name, value in zero.values.items() if name != "head.weight"}
    save_file(whole, tmp_path / "whole.safetensors")
    result = compare(zero.write(tmp_path / "run"), tmp_path / "whole.safetensors")
    assert (result.state, len(result.identical)) == ("same", 9)
    reasons = {item.name: item.reason for item in result.implied}
    assert reasons["head.weight"] == "tied to emb.weight, which both have"
    assert reasons["optimizer.l2.bias.exp_avg"] == "a state of the training run, and B holds no such states"
    assert len(reasons) == 1 + len(zero.states)
    turned = compare(tmp_path / "whole.safetensors", tmp_path / "run")
    assert turned.state == "same"
    assert {item.reason for item in turned.implied} >= {"a state of the training run, and A holds no such states"}


def test_states_count_where_the_other_side_has_some(tmp_path: Path) -> None:
    zero = Zero(2)
    some = zero.values | {"optimizer.scale.exp_avg": zero.states["optimizer.scale.exp_avg"]}
    del some["head.weight"]
    save_file(some, tmp_path / "some.safetensors")
    result = compare(zero.write(tmp_path / "run"), tmp_path / "some.safetensors")
    assert result.state == "different"
    assert len(result.only_in_a) == len(zero.states) - 1


@pytest.mark.parametrize("stage", [2, 3])
def test_a_universal_checkpoint_is_the_same(tmp_path: Path, stage: int) -> None:
    zero = Zero(stage)
    universal = write_universal(tmp_path / "universal", zero)
    expected = zero.everything
    if stage == 3:
        expected = {name: value for name, value in expected.items() if not name.endswith(".step")}
    with open_path(universal) as source:
        assert source.listing.format == "DeepSpeed universal checkpoint"
        assert_whole(source, expected)
        assert above_remarks(check(source)) == []
        assert source.listing.metadata["optimizer.param_groups.0.lr"] == "0.1"
    if stage == 2:
        assert compare(universal, zero.write(tmp_path / "run")).state == "same"


def test_a_universal_checkpoint_below_latest_universal(tmp_path: Path) -> None:
    write_universal(tmp_path / "u", Zero(2))
    (tmp_path / "latest_universal").write_text("u")
    with open_path(tmp_path) as source:
        assert source.listing.metadata["deepspeed.tag"] == "u"
        assert source.find("l1.weight").location.startswith("u/zero/l1.weight/fp32.pt @ ")


def test_without_zero_the_model_file_has_everything(tmp_path: Path) -> None:
    model = {"w": torch.randn(3, 4).bfloat16(), "buf": torch.arange(3.0)}
    model["tied"] = model["w"]
    states = {0: {"step": torch.tensor(2.0), "exp_avg": torch.randn(3, 4)}}
    optimizer = {"state": states, "param_groups": [{"lr": 0.1, "params": [0]}]}
    value = {"module": model, "buffer_names": ["buf"], "optimizer": optimizer, "param_shapes": None, "global_steps": 2}
    (tmp_path / "step").mkdir()
    torch.save(value, tmp_path / "step" / "mp_rank_00_model_states.pt")
    (tmp_path / "latest").write_text("step")
    expected = {**model, "optimizer.state.0.exp_avg": states[0]["exp_avg"], "optimizer.state.0.step": states[0]["step"]}
    with open_path(tmp_path) as source:
        assert_whole(source, expected)
        assert source.listing.format == "DeepSpeed without ZeRO"
        assert source.find("tied").tied_to == "w"
        assert source.find("buf").kind == "buffer"
        assert source.find("optimizer.state.0.exp_avg").notes == ("state of w (by order and shapes)",)
        assert source.listing.metadata["global_steps"] == "2"


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_checksums_need_no_second_reading_but_of_padding(tmp_path: Path, layout: dict[str, Any]) -> None:
    zero = Zero(**layout)
    with open_path(zero.write(tmp_path)) as source:
        records = source.records()
        watching = WatchedSource(source, records)
        for info in source.listing.tensors:
            for start in range(0, max(info.numel, 1), 16):
                for _ in watching.blocks(info, start, min(start + 16, info.numel)):
                    pass
        again: list[int] = []
        assert watching.verify(progress=lambda _, total: again.append(total)).findings == ()
        partitions = {f"{TAG}/{name}" for name in zero.files if "optim" in name}
        stored = sum(
            record.nbytes for record in records if record.file in partitions and "/data/" in f"/{record.label}"
        )
        read = sum(
            piece.nbytes for name in {*zero.shapes, *zero.states} for piece in source.pieces_of(source.find(name))
        )
        counters = 4 * len({info.offset for info in source.listing.tensors if info.name.endswith(".step")})
        others = sum(record.nbytes for record in records) - stored
        assert max(again, default=0) <= others + stored - read - counters + 4 * zero.world * 3


def test_checksums_are_verified(tmp_path: Path) -> None:
    zero = Zero(3)
    path = zero.write(tmp_path) / TAG / optimizer_file(1)
    with open_path(tmp_path) as source:
        (piece,) = [piece for piece in source.pieces_of(source.find("l1.bias")) if piece.rank == 1]
    data = bytearray(path.read_bytes())
    data[piece.offset] ^= 1
    path.write_bytes(data)
    with open_path(tmp_path) as source:
        found = [finding for finding in check(source).findings if finding.rule == "checksum"]
    assert [finding.file for finding in found] == [f"{TAG}/{optimizer_file(1)}"]
