"""Distributed checkpoints of torch (DCP) cannot be opened yet: nothing of them passes for the whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tui_params.errors import OpenError
from tui_params.sources.detect import open_path

NAN = {"w": torch.full((4, 4), float("nan"))}


def save_distributed(folder: Path, value: dict[str, Any]) -> Path:
    import torch.distributed.checkpoint as dcp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(value, checkpoint_id=folder, no_dist=True)
    return folder


def refusal(path: Path) -> str:
    with pytest.raises(OpenError) as raised:
        open_path(path)
    return str(raised.value)


@pytest.mark.parametrize("beside", ["meta.pt", "common.pt", "weights.pth"])
def test_a_file_beside_it_does_not_pass_for_it(tmp_path: Path, beside: str) -> None:
    folder = save_distributed(tmp_path / "ck", NAN)
    assert refusal(folder).endswith("ck is a distributed checkpoint of torch (DCP); this format cannot be opened yet")
    torch.save({"epoch": 1, "t": torch.ones(2)}, folder / beside)
    assert refusal(folder).endswith(f"opened yet; beside it lies {beside}, to be opened by path")
    assert [info.name for info in open_path(folder / beside).listing.tensors] == ["t"]


def test_a_safetensors_file_beside_it_does_not_pass_for_it(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", NAN)
    for name in "ab":
        save_file({name: torch.ones(2)}, folder / f"{name}.safetensors")
    assert "lie a.safetensors, b.safetensors, to be opened by path" in refusal(folder)


def finish_nothing(folder: Path) -> None:
    (folder / ".metadata").rename(folder / ".metadata.tmp")


def lose_metadata(folder: Path) -> None:
    (folder / ".metadata").unlink()


def begin_again(folder: Path) -> None:
    (folder / ".metadata.tmp").write_bytes(b"")


def split_by_rank(folder: Path) -> None:
    (folder / ".metadata").rename(folder / "__0.metadata")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (finish_nothing, "; its saving did not finish: .metadata.tmp is there, and .metadata is not"),
        (lose_metadata, "; it has 1 .distcp file and no .metadata: its saving did not finish, or a part is lost"),
        (begin_again, "; a later save into it did not finish (.metadata.tmp is there too)"),
        (split_by_rank, "cannot be opened yet"),
    ],
)
def test_an_unfinished_save_is_told(tmp_path: Path, change: Callable[[Path], None], words: str) -> None:
    folder = save_distributed(tmp_path / "ck", NAN)
    change(folder)
    assert refusal(folder).endswith(words)


def test_a_part_of_one_is_no_checkpoint(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", {**NAN, "ok": torch.ones(2)})
    assert "is the list of tensors of a distributed checkpoint" in refusal(folder / ".metadata")
    assert "__0_0.distcp is one part of a distributed checkpoint" in refusal(folder / "__0_0.distcp")
    (folder / "__0_0.distcp").rename(tmp_path / "renamed.pt")
    assert "renamed.pt is several zip archives one after the other" in refusal(tmp_path / "renamed.pt")
    # One item after the other, of which the last is compressed or is in another format.
    (tmp_path / "x.distcp").write_bytes((tmp_path / "renamed.pt").read_bytes() + bytes(100_000))
    assert "is one part of a distributed checkpoint" in refusal(tmp_path / "x.distcp")
    (tmp_path / "y.distcp").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(50))
    assert "is one part of a distributed checkpoint" in refusal(tmp_path / "y.distcp")


def test_another_file_named_metadata_is_no_distributed_checkpoint(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / ".metadata").write_text("{}")
    assert [info.name for info in open_path(tmp_path).listing.tensors] == ["a"]
    (tmp_path / ".metadata").unlink()
    (tmp_path / ".metadata").mkdir()
    assert [info.name for info in open_path(tmp_path).listing.tensors] == ["a"]


def test_subfolders_that_are_distributed_are_named(tmp_path: Path) -> None:
    save_distributed(tmp_path / "pytorch_model_fsdp_0", NAN)
    assert "holds no tensor file (" in refusal(tmp_path)
    assert "; its subfolder pytorch_model_fsdp_0 is a distributed checkpoint of torch" in refusal(tmp_path)
    save_distributed(tmp_path / "optimizer_0", NAN)
    assert refusal(tmp_path).endswith("; optimizer_0, pytorch_model_fsdp_0 hold tensors")
    assert "its subfolder checkpoints/step_9 is a distributed" in (
        refusal(save_distributed(tmp_path / "run" / "checkpoints" / "step_9", NAN).parent.parent)
    )


@pytest.mark.parametrize("name", ["args.pkl", "state.pickle"])
def test_a_pickle_beside_a_model_is_named_as_not_read(tmp_path: Path, name: str) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / name).write_bytes(b"\x80\x02}.")
    assert open_path(tmp_path).listing.not_opened == (name,)
