"""The rules about the rank, the alpha and the scale of adapters, and what healthy adapters look like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import tui_params
from tests.factories_adapters import PEFT, Arrays, kohya_lora, peft_lora, values, write_kohya, write_peft
from tests.factories_memory import MemorySource
from tui_params.api.opening import open_source
from tui_params.core.findings import Finding
from tui_params.core.health.adapters import Adapter, adapters_of, summarize_adapters

_RULES = ("adapter-rank", "adapter-alpha", "alpha-missing", "alpha-zero")
FIRST = "lora_unet_down_blocks_0_attentions_0_to_q"


def told(path: Path) -> list[Finding]:
    return [finding for finding in tui_params.check(path).findings if finding.rule in _RULES]


def evidence(path: Path, rule: str) -> list[str]:
    found = told(path)
    assert {(finding.severity, finding.rule) for finding in found} <= {("warning", rule)}
    return [finding.evidence for finding in found]


def adapters(path: Path) -> tuple[Adapter, ...]:
    with open_source(path) as source:
        return adapters_of(source)


def lines(path: Path) -> list[str]:
    return summarize_adapters(adapters(path))


# The scale


def test_the_scale_of_peft_is_alpha_by_rank(tmp_path: Path) -> None:
    folder = write_peft(tmp_path, peft_lora({0: 4, 1: 4}))
    assert lines(folder) == ["LoRA in 2 modules: rank 4, alpha 8 (adapter_config.json), scale 2 (alpha/rank)"]
    assert lines(folder / "adapter_model.safetensors") == lines(folder)  # opened by its path
    assert told(folder) == told(folder / "adapter_model.safetensors") == []


def test_a_rank_stabilized_scale_is_by_the_root(tmp_path: Path) -> None:
    folder = write_peft(tmp_path, peft_lora({0: 4}), lora_alpha=16, use_rslora=True)
    assert lines(folder) == ["rsLoRA: rank 4, alpha 16 (adapter_config.json), scale 8 (alpha/√rank)"]


def test_patterns_are_matched_as_peft_does(tmp_path: Path) -> None:
    ranks = {"q_proj": 6, "layers.2.self_attn.q_proj": 2}
    arrays = peft_lora({0: 6, 1: 6, 2: 6}) | peft_lora({0: 4, 1: 4}, "base_model.model.layers.{}.xq_proj")
    alphas = {r"layers\.[12]\.self_attn\.q_proj": 3, "^layers.0.self_attn.q_proj": 12}
    folder = write_peft(tmp_path, arrays, rank_pattern=ranks, alpha_pattern=alphas)
    # The first pattern that matches counts; a name must be whole.
    assert [(a.module[17:], a.rank, a.stated_rank, a.scale) for a in adapters(folder)] == [
        ("layers.0.self_attn.q_proj", 6, 6, 2.0),
        ("layers.0.xq_proj", 4, 4, 2.0),
        ("layers.1.self_attn.q_proj", 6, 6, 0.5),
        ("layers.1.xq_proj", 4, 4, 2.0),
        ("layers.2.self_attn.q_proj", 6, 6, 0.5),
    ]
    assert told(folder) == []


def test_dora_and_embeddings_and_convolutions(tmp_path: Path) -> None:
    module = "base_model.model.layers.0.conv"
    arrays = peft_lora({0: 4}) | {
        f"{PEFT.format(0)}.lora_magnitude_vector": values(48),
        "base_model.model.embed.lora_embedding_A": values(4, 100),
        "base_model.model.embed.lora_embedding_B": values(64, 4),
        f"{module}.lora_A.weight": values(4, 64, 3, 3),
        f"{module}.lora_B.weight": values(64, 4, 1, 1),
    }
    folder = write_peft(tmp_path, arrays)
    assert [(a.kind, a.rank, a.scale) for a in adapters(folder)] == [("LoRA", 4, 2), ("LoRA", 4, 2), ("DoRA", 4, 2)]
    assert told(folder) == []


def test_kohya_keeps_an_alpha_in_each_module(tmp_path: Path) -> None:
    path = write_kohya(tmp_path / "a.safetensors", kohya_lora({0: 8, 1: 8}))
    assert lines(path) == ["LoRA in 2 modules: rank 16, alpha 8 (its tensor), scale 0.5 (alpha/rank)"]
    path = write_kohya(tmp_path / "b.safetensors", kohya_lora({0: None, 1: None}))
    assert lines(path) == [
        "LoRA in 2 modules: rank 16, alpha 16 (none is stored: loaders take the rank), scale 1 (alpha/rank)"
    ]
    assert told(path) == []


@pytest.mark.parametrize(
    ("halves", "line"),
    [
        ({"hada_w1_a": (64, 4), "hada_w1_b": (4, 64), "hada_w2_a": (64, 4), "hada_w2_b": (4, 64)}, "LoHa|rank 4, "),
        ({"lokr_w1": (8, 8), "lokr_w2_a": (8, 4), "lokr_w2_b": (4, 16)}, "LoKr|rank 4, "),
        ({"lokr_w1": (8, 8), "lokr_t2": (4, 4, 3, 3), "lokr_w2_a": (4, 8), "lokr_w2_b": (4, 8)}, "LoKr|rank 4, "),
        ({"lora_down.weight": (4, 64), "lora_up.weight": (64, 4), "dora_scale": (64, 1)}, "DoRA|rank 4, "),
        ({"lora_down.weight": (4, 9, 3, 3), "lora_mid.weight": (4, 4), "lora_up.weight": (64, 4)}, "LoRA|rank 4, "),
    ],
)
def test_what_lycoris_writes(halves: dict[str, tuple[int, ...]], line: str, tmp_path: Path) -> None:
    kind, words = line.split("|")
    arrays: Arrays = {
        f"lycoris_layers_{i}_q.{half}": values(*shape, seed=i) for i in range(3) for half, shape in halves.items()
    }
    arrays |= {f"lycoris_layers_{i}_q.alpha": np.array(2.0, np.float32) for i in range(3)}
    path = write_kohya(tmp_path / "a.safetensors", arrays, dim=4, alpha=2.0)
    assert lines(path) == [f"{kind} in 3 modules: {words}alpha 2 (its tensor), scale 0.5 (alpha/rank)"]
    assert told(path) == []


def test_whole_factors_have_a_scale_of_one_and_an_alpha_of_their_own(tmp_path: Path) -> None:
    arrays: Arrays = {
        "m.lokr_w1": values(4, 4), "m.lokr_w2": values(16, 16), "m.alpha": np.array(8.0, np.float32)
    }  # fmt: skip
    path = write_kohya(tmp_path / "a.safetensors", arrays, dim=8, alpha=4.0, algo="lokr", full_matrix="True")
    assert lines(path) == ["LoKr: no rank, alpha 8 (its tensor), scale 1 (both factors are whole)"]
    assert told(path) == []
    # peft divides by the rank of the configuration.
    arrays = {f"base_model.model.{name}": array for name, array in arrays.items() if "alpha" not in name}
    folder = write_peft(tmp_path / "peft", arrays, peft_type="LOKR", r=64, alpha=8, lora_alpha=None)
    assert [(a.rank, a.stated_rank, a.scale) for a in adapters(folder)] == [(None, 64, 0.125)]
    assert told(folder) == []


@pytest.mark.parametrize(
    ("config", "parts", "words"),
    [
        (
            {"peft_type": "ADALORA", "r": 8, "init_r": 6, "lora_alpha": 12},
            {"lora_A": (6, 64), "lora_B": (48, 6), "lora_E": (6, 1)},
            "AdaLoRA: rank 6, alpha 12 (adapter_config.json), scale 2 (alpha/rank)",
        ),
        (
            {"peft_type": "VERA", "lora_alpha": None},
            {"vera_lambda_b": (64,), "vera_lambda_d": (4,)},
            "VeRA: rank 4, no alpha",
        ),
        ({"peft_type": "IA3", "r": None, "lora_alpha": None}, {"ia3_l": (64, 1)}, "IA3: no rank, no alpha"),
        (
            {"peft_type": "OFT", "r": 0, "lora_alpha": None},
            {"oft_R.weight": (8, 28)},
            "OFT: no rank, no alpha",
        ),
        ({"peft_type": "HRA", "lora_alpha": None}, {"hra_u": (64, 4)}, "HRA: rank 4, no alpha"),
        (
            {"peft_type": "RANDLORA", "lora_alpha": None, "randlora_alpha": 640},
            {"randlora_lambda": (4, 16), "randlora_gamma": (16, 64)},
            "RandLoRA: rank 4, alpha 640 (adapter_config.json), scale 160 (alpha/rank)",
        ),
        (
            {"target_parameters": ["experts.gate_up"]},
            {"lora_A.weight": (16, 32), "lora_B.weight": (64, 16)},
            "LoRA: rank 16, alpha 8 (adapter_config.json), scale 2 (alpha/rank)",
        ),
    ],
)
def test_other_adapters_of_peft(
    config: dict[str, Any], parts: dict[str, tuple[int, ...]], words: str, tmp_path: Path
) -> None:
    arrays = {f"{PEFT.format(0)}.{part}": values(*shape) for part, shape in parts.items()}
    folder = write_peft(tmp_path, arrays, **config)
    assert lines(folder) == [words]
    assert told(folder) == []


def test_diffusers_keeps_the_configurations_in_the_metadata(tmp_path: Path) -> None:
    arrays = peft_lora({0: 4, 1: 2}, "unet.down_blocks.{}.to_q") | peft_lora({0: 8}, "text_encoder.layers.{}.q_proj")
    config = {
        "unet.peft_type": "LORA", "unet.r": 4, "unet.lora_alpha": 8, "unet.rank_pattern": {"down_blocks.1.to_q": 2},
        "text_encoder.r": 8, "text_encoder.lora_alpha": 4,
    }  # fmt: skip
    path = tmp_path / "pytorch_lora_weights.safetensors"
    save_file(arrays, path, metadata={"lora_adapter_metadata": json.dumps(config, indent=2)})
    assert [(a.module, a.rank, a.scale) for a in adapters(path)] == [
        ("text_encoder.layers.0.q_proj", 8, 0.5),
        ("unet.down_blocks.0.to_q", 4, 2),
        ("unet.down_blocks.1.to_q", 2, 4),
    ]
    assert told(path) == []
    config["text_encoder.r"] = 16
    save_file(arrays, path, metadata={"lora_adapter_metadata": json.dumps(config)})
    assert evidence(path, "adapter-rank") == [
        "lora_adapter_metadata says r 16, but text_encoder.layers.0.q_proj has rank 8"
    ]
    save_file(arrays, path)
    assert [(a.alpha, a.scale) for a in adapters(path)] == 3 * [(None, None)]
    assert told(path) == []


def test_no_scale_where_the_tensors_and_the_configuration_disagree(tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "rank", peft_lora({0: 4, 1: 4, 2: 8}), r=8)
    assert lines(folder) == [
        "LoRA in 2 modules: rank 4 (adapter_config.json says 8), alpha 8 (adapter_config.json), scale not certain",
        "LoRA: rank 8, alpha 8 (adapter_config.json), scale 1 (alpha/rank)",
    ]
    assert [(a.rank, a.stated_rank, a.scale) for a in adapters(folder)] == [(4, 8, None), (4, 8, None), (8, 8, 1)]
    arrays = peft_lora({0: 4}) | {f"{PEFT.format(0)}.alpha": np.array(2.0, np.float32)}
    folder = write_peft(tmp_path / "alpha", arrays)
    assert lines(folder) == ["LoRA: rank 4, alpha 2 (its tensor; adapter_config.json says 8), scale not certain"]
    arrays = peft_lora({0: 4}) | {f"{PEFT.format(0)}.lora_B.weight": values(48, 2)}
    assert lines(write_peft(tmp_path / "halves", arrays)) == [
        "LoRA: rank 4 and 2, alpha 8 (adapter_config.json), scale not certain"
    ]


# Another rank


def test_a_rank_that_the_configuration_does_not_state(tmp_path: Path) -> None:
    folder = write_peft(tmp_path, peft_lora(dict.fromkeys(range(6), 8)))
    first = PEFT.format(0)
    assert evidence(folder, "adapter-rank") == [
        f"adapter_config.json says r 4, but 6 modules (the first is {first}) have rank 8"
    ]
    assert told(folder)[0].tensor == f"{first}.lora_A.weight"
    folder = write_peft(tmp_path, peft_lora({0: 4, 1: 4, 2: 5}))
    assert evidence(folder, "adapter-rank") == [f"adapter_config.json says r 4, but {PEFT.format(2)} has rank 5"]
    folder = write_peft(tmp_path, peft_lora({0: 4, 1: 4}), rank_pattern={"layers.1.self_attn.q_proj": 2})
    assert evidence(folder, "adapter-rank") == [
        f"adapter_config.json says rank_pattern 2, but {PEFT.format(1)} has rank 4"
    ]


def test_a_rank_that_ss_network_dim_does_not_state(tmp_path: Path) -> None:
    path = write_kohya(tmp_path / "a.safetensors", kohya_lora({0: 8, 1: 8}), dim=32)
    assert evidence(path, "adapter-rank") == [
        f"the metadata say ss_network_dim 32, but 2 modules (the first is {FIRST}) have rank 16"
    ]


# Another alpha


def test_an_alpha_that_the_metadata_do_not_state(tmp_path: Path) -> None:
    path = write_kohya(tmp_path / "a.safetensors", kohya_lora({0: 8, 1: 8, 2: 8}), alpha=1.0)
    assert evidence(path, "adapter-alpha") == [
        f"the metadata say ss_network_alpha 1, but 3 modules (the first is {FIRST}) have the alpha tensor 8"
    ]
    path = write_kohya(tmp_path / "a.safetensors", kohya_lora({0: 8, 1: 80, 2: 8}))
    assert evidence(path, "adapter-alpha") == [
        "the metadata say ss_network_alpha 8, but lora_unet_down_blocks_1_attentions_0_to_q has the alpha tensor 80"
    ]
    arrays = peft_lora({0: 4}) | {f"{PEFT.format(0)}.alpha": np.array(2.0, np.float32)}
    assert evidence(write_peft(tmp_path / "peft", arrays), "adapter-alpha") == [
        f"adapter_config.json says alpha 8, but {PEFT.format(0)} has the alpha tensor 2"
    ]


@pytest.mark.parametrize(
    ("alphas", "stated", "arguments"),
    [
        ({0: 8, 1: 8}, {"alpha": 8.02}, {}),  # rounded to bfloat16
        ({0: 16, 1: 16}, {"alpha": 0}, {}),  # 0 stands for the rank
        ({0: 8, 1: 3}, {}, {"block_alphas": "8,3"}),
        ({0: 8, 1: 3}, {"dim": "Dynamic", "alpha": "Dynamic"}, {}),
        ({0: 16, 1: 16}, {"dim": 32, "alpha": 32.0}, {"block_dims": "16,16", "block_alphas": "16,16"}),
        ({0: 32, 1: 32}, {"alpha": 8.0}, {"rs_lora": "True"}),
    ],
)
def test_alphas_that_agree(
    alphas: dict[int, float | None], stated: dict[str, Any], arguments: dict[str, str], tmp_path: Path
) -> None:
    path = write_kohya(tmp_path / "a.safetensors", kohya_lora(alphas), **stated, **arguments)
    assert "adapter-alpha" not in {finding.rule for finding in told(path)}


def test_convolutions_and_small_weights_have_their_own(tmp_path: Path) -> None:
    arrays = kohya_lora({0: 8, 1: 8}) | {
        "lora_unet_conv1.lora_down.weight": values(4, 32, 3, 3),
        "lora_unet_conv1.lora_up.weight": values(32, 4, 1, 1),
        "lora_unet_conv1.alpha": np.array(1.0, np.float32),
    }
    assert told(write_kohya(tmp_path / "a.safetensors", arrays, conv_dim="4", conv_alpha="1")) == []
    # An extraction by SVD has no more ranks than the weight, and the rank for its alpha.
    arrays = kohya_lora({0: 16, 1: 16}) | {
        "lora_unet_small.lora_down.weight": values(4, 320),
        "lora_unet_small.lora_up.weight": values(4, 4),
        "lora_unet_small.alpha": np.array(4.0, np.float32),
    }
    assert told(write_kohya(tmp_path / "b.safetensors", arrays, alpha=16.0)) == []


# An absent alpha


def test_an_alpha_that_is_absent_among_others(tmp_path: Path) -> None:
    path = write_kohya(tmp_path / "a.safetensors", kohya_lora({0: 8, 1: None, 2: 8}))
    assert evidence(path, "alpha-missing") == [
        "lora_unet_down_blocks_1_attentions_0_to_q has no alpha, but 2 of 3 adapters have one: loaders take the rank"
        " for it, a scale of 1"
    ]
    path = write_kohya(tmp_path / "a.safetensors", kohya_lora({0: None, 1: None, 2: 8}))
    assert evidence(path, "alpha-missing")[0].startswith(f"2 modules (the first is {FIRST}) have no alpha, but 1 of 3")
    arrays = {
        f"m{i}.{part}": values(8, 8, seed=i) for i in range(3) for part in ("lokr_w1", "lokr_w2_a", "lokr_w2_b")
    } | {f"m{i}.alpha": np.array(8.0, np.float32) for i in (0, 2)}
    save_file(arrays, path)
    assert evidence(path, "alpha-missing")[0].startswith("m1 has no alpha, but 2 of 3 adapters have one")


def test_two_spellings_in_one_file_are_counted_apart(tmp_path: Path) -> None:
    arrays = kohya_lora({0: 8, 1: 8}) | peft_lora({0: 4, 1: 4}, "transformer.blocks.{}.to_q")
    path = tmp_path / "a.safetensors"
    save_file(arrays, path)
    assert told(path) == []


def test_numbers_that_are_no_alpha(tmp_path: Path) -> None:
    # An activation has a parameter of that name.
    path = tmp_path / "a.safetensors"
    save_file({"act.alpha": np.array(1.0, np.float32), "fc.weight": values(8, 8)}, path)
    assert (lines(path), told(path)) == ([], [])


@pytest.mark.parametrize(
    ("down", "up"),
    [
        ("lora_A.weight", "lora_B.weight"),
        ("lora_down.weight", "lora_up.weight"),
        ("lora.down.weight", "lora.up.weight"),
    ],
)
def test_halves_that_do_not_fit_together_are_a_warning(down: str, up: str) -> None:
    def said(rank_of_two: int) -> list[str]:
        arrays = {}
        for place in range(4):
            arrays[f"layers.{place}.q.{down}"] = values(4, 16)
            arrays[f"layers.{place}.q.{up}"] = values(16, rank_of_two if place == 2 else 4)
        findings = tui_params.check(MemorySource(arrays)).findings
        return [finding.evidence for finding in findings if finding.rule == "adapter-rank"]

    assert said(4) == []
    (evidence,) = said(6)
    assert "layers.2.q" in evidence
    assert "halves of rank 4 and of rank 6, which do not fit together" in evidence


# No effect


def test_adapters_whose_alpha_is_zero_change_nothing(tmp_path: Path) -> None:
    path = write_kohya(tmp_path / "x.safetensors", kohya_lora({0: 0.0, 1: 0.0, 2: 0.0}), alpha=0)
    (found,) = [finding.evidence for finding in told(path) if finding.rule == "alpha-zero"]
    assert found == (
        f"3 modules (the first is {FIRST}) of 3 adapters have alpha 0 (its tensor): "
        "the scale is 0, so that they change nothing"
    )
    path = write_kohya(tmp_path / "y.safetensors", kohya_lora({0: 8.0, 1: 0.0, 2: 8.0}), alpha="Dynamic")
    (found,) = [finding.evidence for finding in told(path) if finding.rule == "alpha-zero"]
    assert found.endswith("of 3 adapters has alpha 0 (its tensor): the scale is 0, so that it changes nothing")


def test_a_configuration_with_alpha_zero(tmp_path: Path) -> None:
    arrays = peft_lora({0: 4, 1: 4})
    (found,) = evidence(write_peft(tmp_path / "all", arrays, lora_alpha=0), "alpha-zero")
    assert "2 modules" in found
    assert "have alpha 0 (adapter_config.json)" in found
    (found,) = evidence(
        write_peft(tmp_path / "one", arrays, alpha_pattern={"layers.1.self_attn.q_proj": 0}), "alpha-zero"
    )
    assert "layers.1.self_attn.q_proj of 2 adapters has alpha 0" in found
    assert told(write_peft(tmp_path / "little", arrays, lora_alpha=0.001)) == []
