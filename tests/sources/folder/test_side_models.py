"""Several models in one folder without an index, and what findings about a file say of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tui_params.core.findings import Finding
from tui_params.core.health.checker import check
from tui_params.core.source import Source
from tui_params.sources.detect import open_path


def names(source: Source) -> list[str]:
    return sorted(info.name for info in source.listing.tensors)


def found(source: Source, rule: str) -> Finding:
    (finding,) = [finding for finding in source.listing.findings if finding.rule == rule]
    return finding


def write(folder: Path, files: dict[str, Iterable[str]], shape: tuple[int, ...] = (2, 3)) -> Path:
    for file, tensors in files.items():
        save_file({name: torch.rand(shape) for name in tensors}, folder / file)
    return folder


def test_the_same_weights_under_two_names_are_two_models(tmp_path: Path) -> None:
    # Mistral's folders have both, with other names for the tensors.
    write(tmp_path, {"model.safetensors": ["model.q", "model.k"], "consolidated.safetensors": ["wq", "wk"]})
    source = open_path(tmp_path)
    assert names(source) == ["consolidated.wk", "consolidated.wq", "model.model.k", "model.model.q"]
    finding = found(source, "several-models")
    assert finding.severity == "info"
    assert finding.evidence == (
        "consolidated and model seem to hold the same weights twice: each is counted by itself (consolidated 2 tensors"
        " of 12 elements, model 2 tensors of 12 elements), under the name of its file"
    )
    assert source.read("consolidated.wq").shape == (2, 3)
    assert check(source).status == "ok"


def test_shards_without_an_index_are_one_of_two_models(tmp_path: Path) -> None:
    shards = {f"model-0000{number}-of-00002.safetensors": [f"model.w{number}"] for number in (1, 2)}
    write(tmp_path, {**shards, "consolidated.safetensors": ["w1", "w2"]})
    source = open_path(tmp_path)
    assert names(source) == ["consolidated.w1", "consolidated.w2", "model.model.w1", "model.model.w2"]
    assert "the same weights twice" in found(source, "several-models").evidence


def test_models_of_other_shapes_or_with_the_same_names_are_models_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, {"model.safetensors": ["q", "k"], "adapter_model.safetensors": ["q.lora_A"]})
    assert "adapter_model and model are models of their own" in found(open_path(tmp_path), "several-models").evidence
    (tmp_path / "adapter_model.safetensors").unlink()
    write(tmp_path, {"model.fp16.safetensors": ["q", "k"]})
    assert "model.fp16 and model seem to hold the same" in found(open_path(tmp_path), "several-models").evidence


def test_two_adapters_of_the_same_shapes_are_not_called_copies(tmp_path: Path) -> None:
    write(tmp_path, {"a.safetensors": ["x.lora_down.weight"], "b.safetensors": ["x.lora_down.weight"]})
    assert "a and b are models of their own" in found(open_path(tmp_path), "several-models").evidence


def test_parts_of_one_model_are_merged_in_silence(tmp_path: Path) -> None:
    write(tmp_path, {"encoder.safetensors": ["layers.0.w"], "decoder.safetensors": ["layers.1.w"]})
    source = open_path(tmp_path)
    assert (names(source), source.listing.findings) == (["layers.0.w", "layers.1.w"], ())


@pytest.mark.parametrize("name", ["consolidated.0{}.pth", "mp_rank_0{}_model_states.pt", "ckpt_rank{}.pt"])
def test_slices_of_one_model_are_told(tmp_path: Path, name: str) -> None:
    for rank in range(2):
        torch.save({"wq": torch.rand(4, 8), "norm": torch.ones(8)}, tmp_path / name.format(rank))
    source = open_path(tmp_path)
    assert len(names(source)) == 4
    first, second = (name.format(rank).rpartition(".")[0] for rank in range(2))
    finding = found(source, "model-slices")
    what = "slices of one model" if name.startswith("consolidated") else "files of single ranks"
    assert finding.evidence.startswith(f"{first} and {second} are {what} and do not say which part of")
    assert [finding.rule for finding in source.listing.findings] == ["model-slices"]


def test_a_finding_about_a_file_names_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.save({f"{name}.w": torch.ones(2), "stage": Path("x")}, tmp_path / f"{name}.pt")
    (tmp_path / "b.pt").write_bytes((tmp_path / "b.pt").read_bytes() + b"#")

    def assert_told() -> None:
        finding = found(open_path(tmp_path), "trailing-bytes")
        assert (finding.tensor, finding.file) == (None, "b.pt")
        assert finding.evidence.startswith("1 byte after the end")

    assert_told()
    weight_map = {"a.w": "a.pt", "b.w": "b.pt"}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert_told()


def test_a_finding_about_a_tensor_names_it_as_it_is_listed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.save({"w": torch.ones(2), "v": torch.ones(3)}, tmp_path / f"{name}.pt")
    raw = bytearray((tmp_path / "b.pt").read_bytes())
    raw[raw.index(b"K\x02\x85") + 1] = 9
    (tmp_path / "b.pt").write_bytes(bytes(raw))
    assert found(open_path(tmp_path), "storage-bounds").tensor == "b.w"


def test_a_whole_model_of_the_hugging_face_writer_is_no_piece(tmp_path: Path) -> None:
    import torch.distributed.checkpoint as dcp

    writer = dcp.HuggingFaceStorageWriter(path=str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save({"w": torch.rand(2, 2), "b": torch.rand(3)}, storage_writer=writer, no_dist=True)
    source = open_path(tmp_path)
    assert (source.listing.format, source.listing.findings) == ("safetensors", ())


def test_a_further_model_of_accelerate_is_by_itself_whatever_its_names(tmp_path: Path) -> None:
    write(tmp_path, {"model.safetensors": ["a"], "model_1.safetensors": ["b"]})
    assert names(open_path(tmp_path)) == ["model.a", "model_1.b"]
    (tmp_path / "model_1.safetensors").rename(tmp_path / "part_1.safetensors")
    assert names(open_path(tmp_path)) == ["a", "b"]
