"""What one side lists and the other could not read is neither a difference nor the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.factories_dcp import save_distributed
from tests.factories_gguf import gguf_bytes, plain
from tests.factories_memory import MemorySource
from tests.factories_onnx import model, tensor
from tests.factories_runs import write_trainer
from tui_params import check, compare, open_source
from tui_params.core.compare.comparer import Comparison
from tui_params.core.compare.structure import structure
from tui_params.core.dtypes import unknown
from tui_params.core.findings import Finding
from tui_params.core.source import Hidden
from tui_params.core.tensor import TensorInfo
from tui_params.errors import OpenError

Damage = Callable[[Path], object]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def uncompared(found: Comparison) -> set[tuple[str, str | None]]:
    return {(item.name, item.side) for item in found.uncompared}


@pytest.mark.parametrize("damage", [Path.unlink, cut, empty])
def test_a_distributed_checkpoint_without_its_pieces(tmp_path: Path, damage: Damage) -> None:
    inside = {"rates": ("a", torch.zeros(2, 2)), "steps": 3, "names": ["x"]}
    whole = save_distributed(tmp_path / "whole", {"w": torch.ones(64, 64), **inside})
    broken = Path(shutil.copytree(whole, tmp_path / "broken"))
    for path in broken.glob("*.distcp"):
        damage(path)
    found = compare(whole, broken)
    assert (found.state, found.only_in_a, found.only_in_b) == ("uncompared", (), ())
    assert {("w", None), ("rates.1", "a")} <= uncompared(found)
    assert all(item.reason for item in found.uncompared)
    turned = compare(broken, whole)
    assert (turned.state, turned.only_in_a, turned.only_in_b) == ("uncompared", (), ())
    assert {("w", None), ("rates.1", "b")} <= uncompared(turned)


@pytest.mark.parametrize("damage", [cut, empty])
def test_a_run_without_its_optimizer(tmp_path: Path, damage: Damage) -> None:
    write_trainer(tmp_path / "whole")
    broken = Path(shutil.copytree(tmp_path / "whole", tmp_path / "broken"))
    damage(broken / "optimizer.pt")
    found = compare(tmp_path / "whole", broken)
    assert (found.state, found.only_in_a, found.only_in_b) == ("uncompared", (), ())
    assert {name.partition(".")[0] for name, _ in uncompared(found)} == {"optimizer"}
    assert "optimizer.pt" in found.uncompared[0].reason
    assert compare(broken, tmp_path / "whole").state == "uncompared"
    report = check(open_source(broken))
    assert [(entry.tensor, entry.file) for entry in report.unchecked] == [(None, "optimizer.pt")]


def test_what_is_certainly_missing_is_a_difference(tmp_path: Path) -> None:
    write_trainer(tmp_path / "whole")
    broken = Path(shutil.copytree(tmp_path / "whole", tmp_path / "broken"))
    empty(broken / "optimizer.pt")
    state = {info.name: torch.ones(2) for info in open_source(broken) if not info.name.startswith("rng")}
    save_file(state | {"more.weight": torch.ones(2)}, broken / "model.safetensors")
    found = compare(tmp_path / "whole", broken)
    assert (found.state, found.only_in_b) == ("different", ("more.weight",))
    (tmp_path / "broken" / "optimizer.pt").unlink()
    (tmp_path / "broken" / "model.safetensors").write_bytes((tmp_path / "whole" / "model.safetensors").read_bytes())
    gone = compare(tmp_path / "whole", broken)
    assert gone.state == "different", "a file that is not there is a difference, one that cannot be read is none"


def test_a_folder_of_files_one_of_which_is_empty(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in (1, 2):
            file = tmp_path / name / f"model-0000{number}-of-00002.safetensors"
            save_file({f"layers.{number}.weight": torch.full((4,), float(number))}, file)
    assert compare(tmp_path / "a", tmp_path / "b").state == "same"
    broken = tmp_path / "b" / "model-00002-of-00002.safetensors"
    for damage in (empty, Path.unlink):
        damage(broken)
        found = compare(tmp_path / "a", tmp_path / "b")
        assert (found.state, uncompared(found)) == ("uncompared", {("layers.2.weight", "a")})
        assert [entry.file for entry in check(open_source(tmp_path / "b")).unchecked] == [
            "model-00002-of-00002.safetensors" if damage is empty else "model-*.safetensors"
        ]


def test_a_member_of_a_pipeline(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for member in ("unet", "vae"):
            (tmp_path / name / member).mkdir(parents=True)
            (tmp_path / name / member / "config.json").write_text("{}")
            save_file({"w": torch.ones(2)}, tmp_path / name / member / "diffusion_pytorch_model.safetensors")
        index = {"_class_name": "Pipe", "unet": ["diffusers", "UNet"], "vae": ["diffusers", "VAE"]}
        (tmp_path / name / "model_index.json").write_text(json.dumps(index))
    empty(tmp_path / "b" / "vae" / "diffusion_pytorch_model.safetensors")
    found = compare(tmp_path / "a", tmp_path / "b")
    assert (found.state, uncompared(found)) == ("uncompared", {("vae.w", "a")})
    save_file({"v": torch.ones(2)}, tmp_path / "b" / "unet" / "diffusion_pytorch_model.safetensors")
    assert compare(tmp_path / "a", tmp_path / "b").only_in_a == ("unet.w",)


def test_a_file_that_is_cut_anywhere(tmp_path: Path) -> None:
    arrays = {f"layers.{number}.weight": np.full((4, 4), number, "<f4") for number in range(3)}
    whole = {
        "x.gguf": gguf_bytes([plain(name, array) for name, array in arrays.items()]),
        "x.onnx": model([tensor(name, (4, 4), 1, raw=array.tobytes()) for name, array in arrays.items()]),
    }
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    save_file(state, tmp_path / "x.safetensors")
    torch.save(state, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    for file in ("x.safetensors", "x.pt"):
        whole[file] = (tmp_path / file).read_bytes()
    (tmp_path / "cut").mkdir()
    for file, data in whole.items():
        (tmp_path / file).write_bytes(data)
        states = set()
        # The end of an ONNX model cannot be missed where what is cut off is a whole field behind its graph.
        for end in range(8, len(data) - 24, 13):
            (tmp_path / "cut" / file).write_bytes(data[:end])
            try:
                states.add(compare(tmp_path / file, tmp_path / "cut" / file).state)
            except OpenError:
                continue
        assert states == {"uncompared"}, file


def unread(name: str, reason: str) -> TensorInfo:
    return TensorInfo(name, (), unknown("?"), 0, 0, unreadable=reason)


def listed(*names: str, **more: Any) -> MemorySource:
    source = MemorySource({name: np.ones(2, np.float32) for name in names})
    infos = (*source.listing.tensors, *(unread(name, "gone") for name in more.pop("lost", ())))
    source.listing = msgspec.structs.replace(source.listing, tensors=infos, **more)
    return source


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (listed("x", lost=("b",)), {"b.w": "perhaps in B too: b: gone", "b": "in B: gone"}),
        (listed("x", lost=("b.w.c",)), {"b.w.c": "in B: gone"}),
        (listed("x", hidden=(Hidden("b", "f", "why"),)), {"b.w": "perhaps in B too: why"}),
        (listed("x", hidden=(Hidden("", "f", "why"),)), dict.fromkeys(("b.w", "bc"), "perhaps in B too: why")),
        (listed("x", unlisted="more"), dict.fromkeys(("b.w", "bc"), "perhaps in B too: more")),
        (
            listed("x", findings=(Finding("warning", "walk-limit", None, "more"),)),
            dict.fromkeys(("b.w", "bc"), "perhaps in B too: more"),
        ),
        (listed("x", findings=(Finding("warning", "other", None, "more"),)), {}),
    ],
)
def test_names_that_may_be_hidden(other: MemorySource, expected: dict[str, str]) -> None:
    mine = listed("x", "b.w", "bc")
    laid = structure(mine, other)
    assert {item.name: item.reason for item in laid.unread} == expected
    assert set(laid.only_in_a) == {"b.w", "bc"} - expected.keys()
    assert laid.only_in_b == ()
    turned = structure(other, mine)
    assert {item.name for item in turned.unread} == expected.keys()
    assert laid.is_same is False


def test_a_rename_finds_what_is_hidden() -> None:
    other = listed("x", lost=("new",))
    laid = structure(listed("x", "old.w"), other, renames=["old=new"])
    assert [item.name for item in laid.unread] == ["old.w", "new"]
    assert compare(listed("old.w"), listed(lost=("new",))).state == "different"


def test_nothing_but_what_is_hidden() -> None:
    found = compare(listed("b.w"), listed(lost=("b",)))
    assert (found.state, found.reason) == ("uncompared", "what one side lists could not be read on the other")
