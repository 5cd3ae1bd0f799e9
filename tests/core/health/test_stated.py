"""The rule that compares weights with the config.json beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tui_params.api.opening import open_source
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check

Arrays = dict[str, NDArray[Any]]

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 4,
    "vocab_size": 64,
    "tie_word_embeddings": False,
    "dtype": "float32",
}


def model(layers: int = 4, rows: int = 64, prefix: str = "model.", dtype: Any = np.float32) -> Arrays:
    random = np.random.default_rng(0)
    arrays = {f"{prefix}embed_tokens.weight": random.standard_normal((rows, 8))}
    arrays["lm_head.weight"] = random.standard_normal((rows, 8))
    for i in range(layers):
        for name in ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"):
            arrays[f"{prefix}layers.{i}.{name}.weight"] = random.standard_normal((8, 8))
    return {name: array.astype(dtype) for name, array in arrays.items()}


def told(folder: Path, arrays: Arrays, config: dict[str, Any]) -> list[Finding]:
    save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    with open_source(folder) as source:
        return [finding for finding in check(source).findings if finding.rule == "unlike-config"]


def test_what_agrees_is_quiet(tmp_path: Path) -> None:
    assert told(tmp_path, model(), LLAMA) == []


@pytest.mark.parametrize(("stored", "key"), [(3, "num_hidden_layers"), (1, "num_hidden_layers"), (5, "n_layer")])
def test_another_number_of_layers(tmp_path: Path, stored: int, key: str) -> None:
    config = {name: value for name, value in LLAMA.items() if name != "num_hidden_layers"} | {key: 4}
    (finding,) = told(tmp_path, model(stored), config)
    assert (finding.severity, finding.tensor, finding.module) == ("warning", None, "model.layers")
    assert finding.evidence == f"config.json says {key} 4, but model.layers has {stored}"


def test_an_encoder_and_a_decoder_are_not_one_number(tmp_path: Path) -> None:
    arrays = model(2) | {f"decoder.{name}": array for name, array in model(3).items()}
    assert told(tmp_path, arrays, LLAMA) == []


def test_the_vocabulary(tmp_path: Path) -> None:
    (finding,) = told(tmp_path, model(rows=60), LLAMA)
    assert (finding.severity, finding.tensor) == ("warning", "model.embed_tokens.weight")
    assert finding.evidence == "config.json says vocab_size 64, but it has 60 rows"
    (finding,) = told(tmp_path, model(rows=128), LLAMA)
    assert finding.severity == "info", "rows are padded on purpose"


def test_an_output_head_that_is_absent_or_differs(tmp_path: Path) -> None:
    arrays = model()
    tied = LLAMA | {"tie_word_embeddings": True}
    (finding,) = told(tmp_path, arrays, tied)
    assert (finding.severity, finding.tensor) == ("warning", "lm_head.weight")
    assert finding.evidence.startswith("config.json says tie_word_embeddings true, but its values differ from those of")
    assert told(tmp_path, arrays | {"lm_head.weight": arrays["model.embed_tokens.weight"]}, tied) == []
    del arrays["lm_head.weight"]
    assert told(tmp_path, arrays, tied) == []
    (finding,) = told(tmp_path, arrays, LLAMA)
    assert (finding.severity, finding.tensor) == ("warning", "model.embed_tokens.weight")
    assert "tie_word_embeddings false, but no lm_head.weight" in finding.evidence
    assert told(tmp_path, arrays, LLAMA | {"architectures": ["LlamaModel"]}) == []


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_the_type(tmp_path: Path, key: str) -> None:
    config = {name: value for name, value in LLAMA.items() if name != "dtype"} | {key: "bfloat16"}
    (finding,) = told(tmp_path, model(), config)
    assert (finding.severity, finding.evidence) == (
        "info",
        f"config.json says {key} bfloat16, but 0 of 18 tensors are; 18 are float32",
    )
    mixed = model(dtype=ml_dtypes.bfloat16) | {"model.norm.weight": np.ones(8, np.float32)}
    assert told(tmp_path, mixed, config) == []


def test_layers_that_predict_further_tokens(tmp_path: Path) -> None:
    config = LLAMA | {"model_type": "deepseek_v3", "num_nextn_predict_layers": 1}
    (finding,) = told(tmp_path, model(), config)
    assert finding.severity == "info"
    assert finding.evidence == (
        "config.json says num_nextn_predict_layers 1, but model.layers has 4 layers and none that predicts further "
        "tokens is stored"
    )
    assert told(tmp_path, model(5), config) == []
    assert told(tmp_path, model() | {"mtp.0.proj.weight": np.ones((8, 8), np.float32)}, config) == []


def gptq() -> Arrays:
    arrays = model()
    for name in [name for name in arrays if "layers" in name]:
        module = name.removesuffix(".weight")
        del arrays[name]
        arrays |= {f"{module}.qweight": np.ones((1, 8), np.int32), f"{module}.qzeros": np.ones((1, 1), np.int32)}
        arrays |= {f"{module}.scales": np.ones((1, 8), np.float32), f"{module}.g_idx": np.zeros(8, np.int32)}
    return arrays


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "fp8", "mxfp4"])
def test_a_quantisation_that_is_announced_but_not_stored(tmp_path: Path, method: str) -> None:
    (finding,) = told(tmp_path, model(), LLAMA | {"quantization_config": {"quant_method": method}})
    assert finding.severity == "warning"
    assert finding.evidence.startswith(f"config.json says that the weights are quantised by {method}, but none of 18")
    assert finding.evidence.endswith("18 of 18 matrices hold plain floats")


def test_a_quantisation_that_is_stored_but_not_announced(tmp_path: Path) -> None:
    assert told(tmp_path, gptq(), LLAMA | {"quantization_config": {"quant_method": "gptq"}}) == []
    (finding,) = told(tmp_path, gptq(), LLAMA)
    assert finding.severity == "warning"
    assert finding.evidence == (
        "config.json says nothing of a quantisation, but 16 tensors of a packing are stored, the first is "
        "model.layers.0.mlp.down_proj.qweight"
    )
    (tmp_path / "quantize_config.json").write_text('{"bits": 4}')
    assert told(tmp_path, gptq(), LLAMA) == []


def test_an_fp8_model_as_it_should_be(tmp_path: Path) -> None:
    arrays = model()
    for name in [name for name in arrays if "layers" in name]:
        arrays[name] = arrays[name].astype(ml_dtypes.float8_e4m3fn)
        arrays[f"{name}_scale_inv"] = np.ones((1, 1), np.float32)
    assert told(tmp_path, arrays, LLAMA | {"quantization_config": {"quant_method": "fp8"}}) == []
    (finding,) = told(tmp_path, arrays, LLAMA)
    assert "says nothing of a quantisation, but 16 tensors" in finding.evidence


def test_the_text_model_of_several(tmp_path: Path) -> None:
    text = {"model_type": "qwen2_vl_text", "num_hidden_layers": 4, "vocab_size": 64}
    config = {"model_type": "qwen2_vl", "text_config": text, "vision_config": {"model_type": "v", "depth": 2}}
    arrays = model(prefix="model.language_model.")
    arrays |= {f"model.visual.blocks.{i}.{name}.weight": np.ones((2, 2), np.float32) for i in range(2) for name in "ab"}
    assert told(tmp_path, arrays, config) == []
    (finding,) = told(tmp_path, arrays, config | {"text_config": text | {"num_hidden_layers": 6}})
    assert finding.evidence == (
        "config.json says text_config.num_hidden_layers 6, but model.language_model.layers has 4"
    )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_type": "of_our_own", "num_hidden_layers": 9, "vocab_size": 9},
        {"model_type": "efficientnet", "num_hidden_layers": 9},
        {"num_hidden_layers": 9, "architectures": ["LlamaForCausalLM"]},
        {
            "model_type": "llama",
            "num_hidden_layers": "many",
            "vocab_size": -1,
            "dtype": ["x"],
            "quantization_config": 3,
        },
        {"model_type": "llama", "num_hidden_layers": 10**40, "text_config": [], "tie_word_embeddings": None},
    ],
)
def test_what_is_not_known_says_nothing(tmp_path: Path, config: dict[str, Any]) -> None:
    assert told(tmp_path, model(), config) == []


def test_an_adapter_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert told(tmp_path, model(2), LLAMA) == []
    (tmp_path / "model.safetensors").rename(tmp_path / "adapter_model.safetensors")
    assert told_of(tmp_path / "adapter_model.safetensors") == []


def told_of(path: Path) -> list[Finding]:
    with open_source(path) as source:
        return [finding for finding in check(source).findings if finding.rule == "unlike-config"]


def shards(folder: Path, arrays: Arrays, config: dict[str, Any]) -> list[Path]:
    """Two shards: the embedding with one layer, and everything else."""
    (folder / "config.json").write_text(json.dumps(config))
    first = {name: array for name, array in arrays.items() if "embed" in name or ".0." in name}
    paths = [folder / f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    save_file(first, paths[0])
    save_file({name: array for name, array in arrays.items() if name not in first}, paths[1])
    return paths


def test_one_shard_is_not_accused_of_what_is_in_the_others(tmp_path: Path) -> None:
    one, two = shards(tmp_path, model(), LLAMA)
    assert told_of(one) == told_of(two) == told_of(tmp_path) == []
    two.unlink()
    assert told_of(tmp_path) == [], "the shard that is missing is said instead"


def test_what_one_shard_shows_is_said(tmp_path: Path) -> None:
    one, two = shards(tmp_path, model(rows=60), LLAMA | {"dtype": "bfloat16"})
    found = told_of(one)
    assert {finding.evidence for finding in found} == {
        "config.json says dtype bfloat16, but 0 of 5 tensors of this piece are; 5 are float32",
        "config.json says vocab_size 64, but it has 60 rows",
    }
    assert [finding.evidence.partition(",")[0] for finding in told_of(two)] == ["config.json says dtype bfloat16"]
    bert = LLAMA | {"architectures": ["BertModel"], "model_type": "bert"}
    assert told_of(shards(tmp_path, model(rows=60), bert)[0]) == [], "another embedding may be in another shard"


def test_the_piece_of_a_rank_has_fewer_rows_by_nature(tmp_path: Path) -> None:
    shards(tmp_path, model(rows=60), LLAMA)
    info = {"DCP_SHARDING_INFO": json.dumps({"model.embed_tokens.weight": {"saved_offsets": [4, 0]}})}
    path = tmp_path / "model-00001-of-00002.safetensors"
    save_file({"model.embed_tokens.weight": model(rows=60)["model.embed_tokens.weight"]}, path, metadata=info)
    assert told_of(path) == []


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_the_one_file_of_a_model_is_compared_with_the_file_beside_it(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | {"num_hidden_layers": 6}))
    arrays = model()
    path = tmp_path / ("model.safetensors" if suffix == "safetensors" else "pytorch_model.bin")
    if suffix == "safetensors":
        save_file(arrays, path)
    else:
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    (finding,) = told_of(path)
    assert finding.evidence == "config.json says num_hidden_layers 6, but model.layers has 4"
    assert told_of(path) == told_of(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert told_of(path) == []
    (tmp_path / "config.json").write_text("{")
    assert told_of(path) == []


def test_a_dict_called_config_in_a_checkpoint_is_not_config_json(tmp_path: Path) -> None:
    weights = {name: torch.from_numpy(array) for name, array in model().items()}
    path = tmp_path / "pytorch_model.bin"
    inside = LLAMA | {"num_hidden_layers": 9, "vocab_size": 7, "tie_word_embeddings": True}
    torch.save({**weights, "config": inside, "adapter": {"peft_type": "LORA"}}, path)
    for opened in (path, tmp_path):
        with open_source(opened) as source:
            assert source.listing.metadata["config.num_hidden_layers"] == "9"
            assert source.listing.metadata["config.tie_word_embeddings"] == "True"
        assert told_of(opened) == []
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | {"num_hidden_layers": 6}))
    for opened in (path, tmp_path):
        (finding,) = told_of(opened)
        assert finding.evidence == "config.json says num_hidden_layers 6, but model.layers has 4"
    path = tmp_path / "x" / "model.safetensors"
    path.parent.mkdir()
    save_file(model(), path, {f"config.{key}": str(value) for key, value in inside.items()})
    assert told_of(path) == told_of(path.parent) == []


@pytest.mark.parametrize(
    "name", ["other.safetensors", "model.fp16.safetensors", "optimizer.bin", "model_1.safetensors"]
)
def test_a_file_of_another_name_may_be_another_model(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | {"num_hidden_layers": 6, "dtype": "bfloat16"}))
    save_file(model(), tmp_path / name)
    with open_source(tmp_path / name) as source:
        assert not source.listing.metadata
    assert told_of(tmp_path / name) == []


def test_a_tied_head_is_explained_for_a_whole_model_only(tmp_path: Path) -> None:
    arrays = model()
    del arrays["lm_head.weight"]
    paths = shards(tmp_path, arrays, LLAMA | {"tie_word_embeddings": True})
    save_file(arrays, tmp_path / "model.safetensors")
    for path, end in ((paths[0], "true"), (tmp_path / "model.safetensors", "in its place)")):
        with open_source(path) as source:
            assert source.listing.metadata["config.tie_word_embeddings"].endswith(end)


# An encoder and a decoder


def two_sides(encoder: int, decoder: int, block: str = "block") -> Arrays:
    below = ("SelfAttention.q", "SelfAttention.o", "layer_norm")
    names = [f"encoder.{block}.{i}.layer.0.{name}.weight" for i in range(encoder) for name in below]
    names += [f"decoder.{block}.{i}.layer.0.{name}.weight" for i in range(decoder) for name in below]
    random = np.random.default_rng(0)
    return {name: random.standard_normal((8, 8)).astype(np.float32) for name in [*names, "shared.weight"]}


T5: dict[str, Any] = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "num_layers": 3,
    "num_decoder_layers": 5,
}
BART = {"architectures": ["BartModel"], "model_type": "bart", "encoder_layers": 3, "decoder_layers": 5}


@pytest.mark.parametrize(("config", "block"), [(T5, "block"), (BART, "layers")])
def test_an_encoder_and_a_decoder_are_both_compared(tmp_path: Path, config: dict[str, Any], block: str) -> None:
    assert told(tmp_path, two_sides(3, 5, block), config) == []
    (finding,) = told(tmp_path, two_sides(3, 4, block), config)
    key = "num_decoder_layers" if config is T5 else "decoder_layers"
    assert (finding.severity, finding.module) == ("warning", f"decoder.{block}")
    assert finding.evidence == f"config.json says {key} 5, but decoder.{block} has 4"
    (finding,) = told(tmp_path, two_sides(2, 5, block), config)
    key = "num_layers" if config is T5 else "encoder_layers"
    assert finding.evidence == f"config.json says {key} 3, but encoder.{block} has 2"


def test_a_whole_side_is_absent(tmp_path: Path) -> None:
    (finding,) = told(tmp_path, two_sides(3, 0), T5)
    assert finding.evidence == "config.json says num_decoder_layers 5, but no layer of the decoder is stored"
    assert told(tmp_path, two_sides(3, 0), T5 | {"architectures": ["T5EncoderModel"]}) == []
    assert told(tmp_path, two_sides(3, 4), T5 | {"model_type": "somebody's"}) == []
    assert (
        told(tmp_path, two_sides(3, 5), {key: T5[key] for key in ("model_type", "architectures", "num_layers")}) == []
    )


# Layers between


def test_a_layer_between_is_absent_where_the_names_do_not_tell(tmp_path: Path) -> None:
    arrays = {name: array for name, array in model(4).items() if ".layers.1." not in name}
    for name in [name for name in arrays if ".layers.0.self_attn" in name]:
        arrays[name.replace("self_attn", "linear_attn")] = arrays.pop(name)
    (finding,) = told(tmp_path, arrays, LLAMA)
    assert finding.evidence == "config.json says num_hidden_layers 4, but model.layers.1 is absent"
    assert finding.module == "model.layers"
    alike = {name: array for name, array in model(4).items() if ".layers.1." not in name}
    assert told(tmp_path, alike, LLAMA) == []
    with open_source(tmp_path) as source:
        assert "gap" in {finding.rule for finding in check(source).findings}


# Runs and pipelines


def test_the_states_of_a_run_are_no_part_of_the_model(tmp_path: Path) -> None:
    halves = LLAMA | {"dtype": "bfloat16"}
    single = {name: torch.from_numpy(array) for name, array in model().items()}
    state = {number: {"exp_avg": tensor, "exp_avg_sq": tensor.abs()} for number, tensor in enumerate(single.values())}
    torch.save({"state": state}, tmp_path / "optimizer.pt")
    assert told(tmp_path, model(dtype=ml_dtypes.bfloat16), halves) == []
    assert told(tmp_path, model(), LLAMA) == []
    (finding,) = told(tmp_path, model(), halves)
    assert finding.evidence == "config.json says dtype bfloat16, but 0 of 18 tensors are; 18 are float32"
    torch.save({"state": {0: {"exp_avg": torch.ones(8, 8).bfloat16()}}}, tmp_path / "optimizer.pt")
    (finding,) = told(tmp_path, model(), halves)
    assert (finding.severity, finding.file) == ("info", "config.json")
    (finding,) = told(tmp_path, model(3), LLAMA)
    assert finding.evidence == "config.json says num_hidden_layers 4, but model.layers has 3"


def test_each_part_of_a_pipeline_is_compared_with_its_own(tmp_path: Path) -> None:
    names = ("text_encoder", "text_encoder_2", "prior")
    (tmp_path / "model_index.json").write_text(json.dumps({name: ["transformers", "LlamaModel"] for name in names}))
    for name, layers in zip(names, (4, 3, 4), strict=True):
        (tmp_path / name).mkdir()
        save_file(model(layers, dtype=np.float16), tmp_path / name / "model.safetensors")
        dtype = {"dtype": "float32" if name == "prior" else "float16"}
        (tmp_path / name / "config.json").write_text(json.dumps(LLAMA | dtype))
    with open_source(tmp_path) as source:
        first, second = [finding for finding in check(source).findings if finding.rule == "unlike-config"]
    assert (first.module, second.file) == ("text_encoder_2.model.layers", "prior/config.json")
    assert first.evidence == "config.json says num_hidden_layers 4, but text_encoder_2.model.layers has 3"
    assert second.evidence == "config.json says dtype float32, but 0 of 18 tensors are; 18 are float16"
