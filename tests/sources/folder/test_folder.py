from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.factories_safetensors import entry, file_bytes, small_file, write_index
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check
from tui_params.core.source import Source
from tui_params.errors import OpenError, ReadError, SourceChangedError, TuiParamsError
from tui_params.sources.bytes.local import POOL
from tui_params.sources.bytes.pool import MAX_OPEN_FILES
from tui_params.sources.detect import open_path

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two honest shards and their index: a and b in the first, c in the second."""
    path = tmp_path / "model"
    path.mkdir()
    save_file({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}, path / ONE)
    save_file({"c": torch.arange(5)}, path / TWO)
    write_index(path, {"a": ONE, "b": ONE, "c": TWO}, total_size=24 + 8 + 40)
    return path


def names(source: Source) -> list[str]:
    return sorted(info.name for info in source.listing.tensors)


def rules(source: Source) -> list[str]:
    return [finding.rule for finding in source.listing.findings]


def the_only(source: Source, rule: str) -> Finding:
    assert rules(source) == [rule]
    return source.listing.findings[0]


def test_shards_are_one_source(folder: Path) -> None:
    (folder / "config.json").write_text(
        json.dumps(
            {
                "model_type": "llama",
                "architectures": ["LlamaForCausalLM"],
                "torch_dtype": "bfloat16",
                "tie_word_embeddings": True,
                "quantization_config": {"quant_method": "fp8"},
            }
        )
    )
    source = open_path(folder)
    assert source.label == "model/"
    assert source.listing.format == "safetensors, 2 shards"
    assert source.listing.findings == ()
    assert names(source) == ["a", "b", "c"]
    assert source.find("c").file == TWO
    np.testing.assert_array_equal(source.read("a", "[1]"), [3, 4, 5])
    np.testing.assert_array_equal(source.read("c"), np.arange(5))
    assert b"".join(block.tobytes() for block in source.blocks(source.find("c"))) == np.arange(5).tobytes()
    metadata = source.listing.metadata
    assert metadata["index.total_size"] == "72"
    assert metadata["config.model_type"] == "llama"
    assert metadata["config.architectures"] == "LlamaForCausalLM"
    assert metadata["config.torch_dtype"] == "bfloat16"
    assert metadata["config.quantization_config.quant_method"] == "fp8"
    assert metadata["config.tie_word_embeddings"].startswith("true (lm_head.weight is not stored")
    assert source.changed() is None
    source.close()
    with pytest.raises(ReadError, match="closed"):
        source.read("a")


def test_the_index_file_itself_opens_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(open_path(folder / "model.safetensors.index.json")) == ["a", "b", "c"]
    monkeypatch.chdir(folder)
    source = open_path("model.safetensors.index.json")
    assert (names(source), source.label) == (["a", "b", "c"], "model/")
    assert open_path(".").label == "model/"
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    assert open_path("..").label == "model/"


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors.index.fp16.json",
        "diffusion_pytorch_model.safetensors.index.json",
        "pytorch_model.bin.index.json",
    ],
)
def test_other_names_of_an_index(folder: Path, name: str) -> None:
    (folder / "model.safetensors.index.json").rename(folder / name)
    # Beside safetensors files the index of bin files is not followed unasked.
    source = open_path(folder / name if ".bin" in name else folder)
    assert source.listing.metadata["index.total_size"] == "72"
    assert names(source) == ["a", "b", "c"]


def test_pickled_shards(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2, 2).T, "h": torch.zeros(3).half()}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.arange(3)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    one, two = (f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2))
    write_index(tmp_path, {"a": one, "h": one, "b": two}, "pytorch_model.bin.index.json", total_size=16 + 6 + 24)
    source = open_path(tmp_path)
    assert source.listing.findings == ()
    assert names(source) == ["a", "b", "h"]
    np.testing.assert_array_equal(source.read("b"), [0, 1, 2])
    np.testing.assert_array_equal(source.read("a"), np.ones((2, 2)))


def test_a_missing_shard_hides_nothing_else(folder: Path) -> None:
    (folder / TWO).unlink()
    source = open_path(folder)
    finding = the_only(source, "missing-shard")
    assert (finding.severity, finding.evidence) == ("error", f"1 tensor: its shard {TWO} is missing from the folder")
    assert names(source) == ["a", "b", "c"]
    info = source.find("c")
    assert (info.shape, info.numel, info.nbytes, info.dtype.kind) == ((), 0, 0, "unknown")
    with pytest.raises(ReadError, match="is missing from the folder"):
        source.read("c")
    with pytest.raises(ReadError, match="is missing from the folder"):
        list(source.blocks(info))
    assert source.read("a").shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "Git LFS pointer, not the weights: run git lfs pull",
        ),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x00" * 100, "starts with zeros"),
        (file_bytes(b"{}", b"", announced=99), "ends inside its header"),
    ],
)
def test_a_bad_shard_hides_nothing_else(folder: Path, content: bytes, words: str) -> None:
    (folder / TWO).write_bytes(content)
    source = open_path(folder)
    assert words in the_only(source, "bad-shard").evidence
    assert names(source) == ["a", "b", "c"]
    assert words in (source.find("c").unreadable or "")
    assert source.read("a").shape == (2, 3)


def test_a_truncated_shard_tells_which_tensors_are_cut(folder: Path) -> None:
    os.truncate(folder / ONE, (folder / ONE).stat().st_size - 1)
    source = open_path(folder)
    finding = the_only(source, "truncated")
    assert finding.file == ONE
    assert finding.evidence.startswith("it is truncated")
    assert [info.name for info in source.listing.tensors if info.unreadable] == ["b"]


def test_a_fifo_and_a_folder_in_place_of_a_shard(folder: Path) -> None:
    (folder / TWO).unlink()
    os.mkfifo(folder / TWO)
    assert "named pipe" in the_only(open_path(folder), "bad-shard").evidence
    (folder / TWO).unlink()
    (folder / TWO).mkdir()
    assert "is a folder" in the_only(open_path(folder), "bad-shard").evidence


@pytest.mark.parametrize(
    "hostile", ["../secret.safetensors", "/etc/passwd", "sub/x.safetensors", "", ".", "..", "a\0b", "..\\x"]
)
def test_the_index_cannot_lead_out_of_its_folder(folder: Path, hostile: str) -> None:
    (folder / TWO).unlink()
    save_file({"c": torch.zeros(1)}, folder.parent / "secret.safetensors")
    (folder / "sub").mkdir()
    save_file({"c": torch.zeros(1)}, folder / "sub" / "x.safetensors")
    write_index(folder, {"a": ONE, "b": ONE, "c": hostile})
    source = open_path(folder)
    assert "is no file of this folder" in the_only(source, "outside-folder").evidence
    with pytest.raises(ReadError, match="no file of this folder"):
        source.read("c")
    assert source.read("a").shape == (2, 3)


def test_a_symbolic_link_is_a_file_of_the_folder(folder: Path) -> None:
    # The cache of huggingface_hub keeps every file as a link into blobs/.
    (folder / TWO).rename(folder.parent / "blob")
    (folder / TWO).symlink_to("../blob")
    source = open_path(folder)
    assert source.listing.findings == ()
    np.testing.assert_array_equal(source.read("c"), np.arange(5))


def test_a_link_in_a_circle_hides_nothing_else(folder: Path) -> None:
    (folder / "loop").symlink_to("loop")
    assert names(open_path(folder)) == ["a", "b", "c"]
    (folder / TWO).unlink()
    (folder / TWO).symlink_to(TWO)
    assert "symbolic link" in the_only(open_path(folder), "bad-shard").evidence


def test_tensors_that_the_index_forgot_or_misplaced(folder: Path) -> None:
    write_index(folder, {"a": ONE, "c": ONE, "d": TWO})
    source = open_path(folder)
    found = {finding.rule: finding for finding in source.listing.findings}
    assert set(found) == {"unindexed-tensor", "misplaced-tensor", "missing-tensor"}
    assert (found["unindexed-tensor"].tensor, found["unindexed-tensor"].severity) == ("b", "warning")
    assert found["misplaced-tensor"].evidence == f"it lies in {TWO}, but model.safetensors.index.json says {ONE}"
    assert found["missing-tensor"].tensor == "d"
    assert names(source) == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(source.read("c"), np.arange(5))
    assert source.read("b").shape == (4,)
    with pytest.raises(ReadError, match="but it is not there"):
        source.read("d")


def test_a_shard_that_the_index_forgot(folder: Path) -> None:
    save_file({"x": torch.zeros(1)}, folder / "consolidated.safetensors")
    write_index(folder, {"a": ONE, "b": ONE})
    source = open_path(folder)
    assert the_only(source, "unindexed-shard").file == TWO
    assert names(source) == ["a", "b", "c"]
    np.testing.assert_array_equal(source.read("c"), np.arange(5))
    assert source.listing.metadata["folder.not_opened"].startswith("consolidated.safetensors")


def test_shards_that_the_index_forgets_are_named_in_their_order(tmp_path: Path) -> None:
    names = [f"model-{number:05d}-of-00009.safetensors" for number in range(1, 10)]
    for name in names:
        (tmp_path / name).write_bytes(small_file((name[6:11], f"{name[6:11]}b", f"{name[6:11]}c")))
    write_index(tmp_path, dict.fromkeys(("00001", "00001b", "00001c"), names[0]))
    found = open_path(tmp_path).listing.findings
    assert [finding.file for finding in found if finding.rule == "unindexed-shard"] == names[1:]


def test_an_unsharded_file_beside_the_index_is_told(folder: Path) -> None:
    save_file({"a": torch.full((2, 3), float("nan"))}, folder / "model.safetensors")
    source = open_path(folder)
    finding = the_only(source, "unindexed-whole")
    assert finding.file == "model.safetensors"
    assert finding.evidence.startswith("it lies beside the index")
    assert names(source) == ["a", "b", "c"]
    assert check(source).status == "findings"


def test_a_tensor_in_two_shards(folder: Path) -> None:
    save_file({"c": torch.arange(5), "a": torch.zeros(2, 3)}, folder / TWO)
    source = open_path(folder)
    finding = the_only(source, "in-two-shards")
    assert finding.evidence == f"it is in two shards, {ONE} (shown) and {TWO}"
    np.testing.assert_array_equal(source.read("a", "[1]"), [3, 4, 5])
    assert names(source) == ["a", "b", "c"]


def test_a_total_size_that_does_not_match(folder: Path) -> None:
    write_index(folder, {"a": ONE, "b": ONE, "c": TWO}, total_size=100)
    finding = the_only(open_path(folder), "total-size")
    assert (finding.severity, "100 bytes" in finding.evidence, "take 72" in finding.evidence) == ("info", True, True)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"weight_map": 3}', b'{"weight_map": {"a": 1}}', b"\xff" * 30, b'{"a":' * 2_000]
)
def test_a_broken_index_does_not_hide_the_files(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors.index.json").write_bytes(content)
    source = open_path(folder)
    assert the_only(source, "bad-index").severity == "error"
    assert names(source) == ["a", "b", "c"]
    with pytest.raises(OpenError, match="is not the index"):
        open_path(folder / "model.safetensors.index.json")


@settings(max_examples=150)
@given(
    weight_map=st.dictionaries(
        st.text(max_size=3) | st.sampled_from("abc"), st.text(max_size=4) | st.sampled_from([ONE, TWO]), max_size=6
    ),
    metadata=st.none()
    | st.integers()
    | st.dictionaries(
        st.sampled_from(["total_size", "x"]), st.none() | st.integers() | st.floats(-1e9, 1e9), max_size=2
    ),
)
def test_any_index_is_survived(
    tmp_path_factory: pytest.TempPathFactory, weight_map: dict[str, str], metadata: object
) -> None:
    path = tmp_path_factory.mktemp("index")
    (path / ONE).write_bytes(file_bytes({"a": entry("U8", (2,), 0), "b": entry("U8", (2,), 2)}, b"abcd"))
    (path / TWO).write_bytes(file_bytes({"c": entry("U8", (2,), 0), "a": entry("U8", (1,), 2)}, b"abc"))
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": metadata, "weight_map": weight_map}))
    source = open_path(path)
    assert {"a", "b", "c"} | set(weight_map) == set(names(source))
    for info in source.listing.tensors:
        if info.unreadable:
            with pytest.raises(TuiParamsError):
                source.read(info.name)
        else:
            assert source.read(info.name).shape == info.shape


def test_hostile_indexes_are_told_shortly(folder: Path) -> None:
    write_index(folder, {f"t{number}": f"shard{number}" for number in range(3000)})
    source = open_path(folder)
    assert rules(source).count("missing-shard") == 21
    assert any("2,980 more" in finding.evidence for finding in source.listing.findings)
    assert len(source.listing.tensors) == 3003


def test_a_shard_that_is_replaced_while_open(folder: Path) -> None:
    source = open_path(folder)
    source.read("c")
    (folder / "other").write_bytes((folder / TWO).read_bytes())
    (folder / "other").replace(folder / TWO)
    with pytest.raises(SourceChangedError, match=TWO):
        source.read("c")
    assert TWO in (source.changed() or "")
    assert source.read("a").shape == (2, 3)


def test_files_without_an_index(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "one.safetensors")
    save_file({"b": torch.ones(3)}, tmp_path / "two.safetensors")
    torch.save({"c": torch.ones(1)}, tmp_path / "other.pt")
    source = open_path(tmp_path)
    assert source.listing.format == "safetensors, 2 files"
    assert names(source) == ["a", "b"]
    assert source.listing.metadata["folder.not_opened"] == "other.pt (open by path)"
    np.testing.assert_array_equal(source.read("b"), np.ones(3))


def test_names_that_collide_get_the_stem_of_their_file(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "model.safetensors")
    save_file({"w": torch.ones(2), "v": torch.ones(1)}, tmp_path / "model.fp16.safetensors")
    source = open_path(tmp_path)
    assert names(source) == ["model.fp16.v", "model.fp16.w", "model.w"]
    np.testing.assert_array_equal(source.read("model.w"), [0, 0])
    np.testing.assert_array_equal(source.read("model.fp16.w"), [1, 1])
    assert b"".join(block.tobytes() for block in source.blocks(source.find("model.w"))) == bytes(8)


def test_ties_survive_the_renaming(tmp_path: Path) -> None:
    for name in ("x", "y"):
        header = {"__metadata__": {"tied": "w"}, "w": entry("U8", (2,), 0)}
        (tmp_path / f"{name}.safetensors").write_bytes(file_bytes(header, name.encode() * 2))
    source = open_path(tmp_path)
    assert names(source) == ["x.tied", "x.w", "y.tied", "y.w"]
    assert source.find("y.tied").tied_to == "y.w"
    np.testing.assert_array_equal(source.read("y.tied"), [ord("y")] * 2)


def test_pickles_of_a_training_run(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.ones(2, 2)}, tmp_path / "pytorch_model.bin")
    torch.save({"n": torch.ones(1)}, tmp_path / "optimizer.pt")
    torch.save({"n": 3}, tmp_path / "training_args.bin")
    assert names(open_path(tmp_path)) == ["layer.weight", "optimizer.n"]
    source = open_path(tmp_path, "folder")
    assert names(source) == ["layer.weight"]
    assert source.listing.metadata["folder.not_opened"].startswith("optimizer.pt, training_args.bin")
    (tmp_path / "pytorch_model.bin").unlink()
    assert names(open_path(tmp_path)) == ["optimizer.n"]
    (tmp_path / "training_args.bin").unlink()
    assert names(open_path(tmp_path)) == ["n"]


def test_an_adapter(tmp_path: Path) -> None:
    save_file({"base_model.model.q.lora_A.weight": torch.zeros(2, 4)}, tmp_path / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["q", "v"],
        "base_model_name_or_path": "x/y",
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    metadata = open_path(tmp_path).listing.metadata
    assert metadata["adapter.r"] == "8"
    assert metadata["adapter.lora_alpha"] == "16"
    assert metadata["adapter.target_modules"] == "q, v"
    assert metadata["adapter.base_model_name_or_path"] == "x/y"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"model_type": {"a": [1]}}', b"\xff", b'{"a":' * 2_000])
def test_a_broken_config_is_no_obstacle(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    assert names(open_path(folder)) == ["a", "b", "c"]


def test_numbered_files_of_which_some_are_missing(tmp_path: Path) -> None:
    for number in (1, 4):
        save_file({f"t{number}": torch.zeros(1)}, tmp_path / f"model-0000{number}-of-00005.safetensors")
    evidence = the_only(open_path(tmp_path), "missing-shard").evidence
    assert evidence == "3 shards of 5 of model-*.safetensors are missing, the first is number 2"


def test_one_bad_file_among_several_and_only_bad_ones(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "good.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not at all")
    source = open_path(tmp_path)
    assert names(source) == ["a"]
    assert the_only(source, "bad-shard").evidence.startswith("bad.safetensors is in no format")
    (tmp_path / "good.safetensors").write_bytes(b"")
    with pytest.raises(OpenError, match="none of the 2 tensor files"):
        open_path(tmp_path)
    (tmp_path / "good.safetensors").unlink()
    with pytest.raises(OpenError, match=r"^bad.safetensors is in no format"):
        open_path(tmp_path)


def test_a_folder_without_tensors_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        OpenError, match=r"holds no tensor file: looked for \*\.safetensors, \*\.dduf, \*\.keras, \*\.distcp, \*\.bin"
    ):
        open_path(tmp_path)
    for number in range(7):
        inner = tmp_path / "runs" / f"step_{number}"
        inner.mkdir(parents=True)
        save_file({"a": torch.zeros(1)}, inner / "model.safetensors")
    with pytest.raises(OpenError, match=r"subfolders do: runs/step_0, .*runs/step_4 and 2 more$"):
        open_path(tmp_path)
    (tmp_path / ".metadata").write_bytes(b"\x80\x04")
    with pytest.raises(OpenError, match=r"distributed checkpoint .* cannot be opened: \.metadata ends too early"):
        open_path(tmp_path)


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> Iterator[object]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(OpenError, match="cannot be read: permission denied"):
        open_path(tmp_path)


def test_more_shards_than_descriptors(tmp_path: Path) -> None:
    weight_map = {}
    for number in range(163):
        name = f"model-{number + 1:05}-of-00163.safetensors"
        (tmp_path / name).write_bytes(file_bytes({f"t{number}": entry("U8", (1,), 0)}, bytes([number])))
        weight_map[f"t{number}"] = name
    write_index(tmp_path, weight_map)
    source = open_path(tmp_path)
    assert len(POOL) <= MAX_OPEN_FILES  # Opening keeps none.
    assert [int(source.read(f"t{number}")[0]) for number in range(163)] == list(range(163))
    assert len(POOL) <= MAX_OPEN_FILES
    source.close()


def saved_and_compared(model: torch.nn.Module, folder: Path) -> Source:
    model.save_pretrained(folder, max_shard_size="20KB")
    source = open_path(folder)
    assert source.listing.findings == ()
    state = model.state_dict()
    assert len(list(folder.glob("*.safetensors"))) > 1
    for info in source.listing.tensors:
        np.testing.assert_array_equal(source.read(info.name), state[info.name].numpy())
    return source


def test_transformers_gpt2_and_llama(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    torch.manual_seed(0)
    gpt2 = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=300, n_positions=32)
    )
    source = saved_and_compared(gpt2, tmp_path / "gpt2")
    assert "transformer.h.1.mlp.c_proj.weight" in names(source)
    assert "lm_head.weight" not in names(source)
    assert source.listing.metadata["config.model_type"] == "gpt2"
    llama = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            num_hidden_layers=2,
            hidden_size=16,
            intermediate_size=24,
            num_attention_heads=2,
            vocab_size=300,
            tie_word_embeddings=False,
        )
    )
    source = saved_and_compared(llama, tmp_path / "llama")
    assert "lm_head.weight" in names(source)
    assert source.listing.metadata["config.architectures"] == "LlamaForCausalLM"
