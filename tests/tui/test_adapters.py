"""The scale of adapters on the page of their module, and the metadata of kohya's scripts on theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.factories_adapters import kohya_lora, peft_lora, values, write_kohya, write_peft
from tests.factories_memory import MemorySource
from tests.factories_screen import on_stage, ramp
from tui_params.api.opening import open_source
from tui_params.core.text import number


async def test_the_page_of_a_module_has_its_scale(tmp_path: Path) -> None:
    folder = write_peft(tmp_path, peft_lora({0: 4, 1: 4, 2: 8}), rank_pattern={"layers.2.self_attn.q_proj": 8})
    async with on_stage(open_source(folder), (200, 30)) as stage:
        assert stage.cursor == "base_model.model.layers"
        assert "LoRA in 2 modules: rank 4, alpha 8 (adapter_config.json)," in stage.text
        assert "LoRA: rank 8, alpha 8 (adapter_config.json), scale 1" in stage.text
        await stage.go("base_model.model.layers.2.self_attn.q_proj")
        assert "LoRA: rank 8, alpha 8 (adapter_config.json), scale 1" in stage.text
        assert "lora_A [8, 64], lora_B [48, 8]" in stage.text
        assert "rank 4" not in stage.text


async def test_the_page_of_a_module_has_the_norm_of_its_change(tmp_path: Path) -> None:
    arrays = peft_lora({0: 4, 1: 4})
    module = "base_model.model.layers.{}.self_attn.q_proj"
    arrays[f"{module.format(0)}.base_layer.weight"] = values(48, 64)
    folder = write_peft(tmp_path, arrays, base_model_name_or_path="org/tiny")
    norms = [
        float(np.linalg.norm(arrays[f"{module.format(n)}.lora_B.weight"] @ arrays[f"{module.format(n)}.lora_A.weight"]))
        for n in (0, 1)
    ]
    async with on_stage(open_source(folder), (200, 30)) as stage:
        # Of two modules both are told, each by its name.
        await stage.go("base_model.model.layers")
        await stage.until(lambda: f"1.self_attn.q_proj: change {number(2 * norms[1])}" in stage.text, "both changes")
        await stage.go("base_model.model.layers.0.self_attn.q_proj")
        await stage.until(lambda: f"norm of the change {number(2 * norms[0])}, " in stage.text, "the change")
        assert "% of that of the weight" in stage.text
        assert "for org/tiny" in stage.text
        await stage.go("base_model.model.layers.1.self_attn.q_proj")
        await stage.until(lambda: f"norm of the change {number(2 * norms[1])}" in stage.text, "the other change")
        assert "of the weight" not in stage.text


async def test_a_page_with_many_adapters_computes_no_norms(tmp_path: Path) -> None:
    folder = write_peft(tmp_path, peft_lora(dict.fromkeys(range(9), 4)))
    async with on_stage(open_source(folder), (200, 30)) as stage:
        assert "LoRA in 9 modules: rank 4" in stage.text
        assert "norm of the change" not in stage.text


async def test_alphas_are_read_for_the_page(tmp_path: Path) -> None:
    path = write_kohya(tmp_path / "a.safetensors", kohya_lora({0: 8, 1: 8}))
    async with on_stage(open_source(path), (200, 30)) as stage:
        assert "LoRA: rank 16, alpha 8 (its tensor), scale 0.5" in stage.text


async def test_a_model_without_adapters_says_nothing_of_them() -> None:
    async with on_stage(MemorySource({"act.alpha": ramp(1), "act.lora_scale": ramp(2)})) as stage:
        assert "Adapter" not in stage.text


async def test_the_metadata_are_readable(tmp_path: Path) -> None:
    path = write_kohya(tmp_path / "a.safetensors", kohya_lora({0: 8}), conv_dim="4", conv_alpha="1")
    async with on_stage(open_source(path), (200, 30)) as stage:
        await stage.go("__metadata__.ss_network_args")
        assert '"conv_dim": "4",' in stage.text
        assert [line.split("│")[-1].strip() for line in stage.text.splitlines() if "conv_" in line.split("│")[-1]] == [
            '"conv_dim": "4",',
            '"conv_alpha": "1"',
        ]
