"""The key that shows packed weights as what they mean, and as they are stored again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.core.packed.test_layouts import gptq
from tests.factories_gguf import blocks, gguf_bytes
from tests.factories_screen import on_stage
from tui_params import open_source


async def test_a_key_shows_packed_weights_as_what_they_mean_and_back(tmp_path: Path) -> None:
    tensors, weight = gptq(4, is_v2=False)
    path = tmp_path / "model.safetensors"
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    async with on_stage(lambda: open_source(path)) as stage:
        assert "qweight" in stage.text
        # Not every stored element is a parameter.
        assert "1.08K stored elements · packed weights: t" in stage.lines[1]
        await stage.press("slash", *"qweight", "enter")
        await stage.until(lambda: "packed codes: t shows the weight" in stage.text, "the page of the codes")
        await stage.press("escape")
        await stage.press("t")
        await stage.until(lambda: "safetensors, 1 packed weight restored" in stage.lines[0], "the header")
        await stage.rest()
        assert "qweight" not in stage.lines[2]
        assert "6.14K parameters" in stage.lines[1]
        assert "packed codes" not in stage.text
        figures = stage.screen.session.figures("fc.weight")
        assert figures is not None
        assert figures.max == weight.max()
        await stage.press("t")
        await stage.until(lambda: "scales" in stage.text, "the stored tensors")


async def test_the_cursor_goes_from_a_part_to_its_weight_and_back_to_the_codes(tmp_path: Path) -> None:
    tensors, _ = gptq(4, is_v2=False)
    path = tmp_path / "model.safetensors"
    more = {"embed.weight": np.zeros((4, 4), np.float32)}
    save_file(more | {name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    for other in (None, lambda: open_source(path)):
        async with on_stage(lambda: open_source(path), other=other) as stage:
            for part in ("fc.scales", "fc.qweight"):
                await stage.go(part)
                await stage.press("t")
                await stage.until(lambda: stage.cursor == "fc.weight", "the weight of the part")
                await stage.rest()
                await stage.press("t")
                await stage.until(lambda: stage.cursor == "fc.qweight", "the codes of the weight")
                await stage.rest()


async def test_a_filter_that_has_the_codes_alone_is_dropped_for_the_weight(tmp_path: Path) -> None:
    tensors, _ = gptq(4, is_v2=False)
    path = tmp_path / "model.safetensors"
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    for words, is_kept in (("qweight", False), ("fc", True)):
        async with on_stage(lambda: open_source(path)) as stage:
            await stage.press("slash", *words, "enter")
            await stage.go("fc.qweight")
            await stage.press("t")
            await stage.until(lambda: stage.cursor == "fc.weight", "the weight of the codes")
            await stage.rest()
            assert "fc.weight" in stage.names
            assert (stage.matching is not None) == is_kept


async def test_the_page_of_codes_of_a_byte_names_the_key_too(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    codes = np.ones((4, 4), np.int8)
    save_file({"a.weight": codes, "b.weight": codes, "b.weight_scale": np.ones((4, 1), np.float32)}, path)
    async with on_stage(lambda: open_source(path)) as stage:
        for name, is_said in (("a.weight", False), ("b.weight", True), ("b.weight_scale", False)):
            await stage.go(name)
            assert ("packed codes: t shows the weight" in stage.facts) == is_said
        assert "36 parameters" in stage.lines[1]


async def test_codes_that_cannot_be_told_are_no_parameters(tmp_path: Path) -> None:
    tensors, _ = gptq(4, is_v2=False)
    tensors["fc.qzeros"] = tensors["fc.qzeros"].astype(np.int64)
    path = tmp_path / "model.safetensors"
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    async with on_stage(lambda: open_source(path)) as stage:
        await stage.press("t")
        await stage.until(lambda: "1 not told" in stage.lines[0], "the header")
        assert "1.08K stored elements · " in stage.lines[1]
        assert "packed weights: t" not in stage.lines[1]


async def test_blocks_of_gguf_are_always_shown_so(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes([blocks("w", (4, 64), 2, (32, 18))]))
    async with on_stage(lambda: open_source(path)) as stage:
        await stage.press("t")
        await stage.until(lambda: "Weights in blocks are always shown as what they stand for." in stage.lines[-1], "it")


async def test_the_page_beside_the_original_has_the_snr(tmp_path: Path) -> None:
    tensors, weight = gptq(4, is_v2=False)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, tmp_path / "b.safetensors")
    original = weight + np.float16(0.01)
    save_file({"fc.weight": np.ascontiguousarray(original)}, tmp_path / "a.safetensors")
    noise = np.linalg.norm((weight - original).astype(float)) / np.linalg.norm(original.astype(float))
    async with on_stage(
        lambda: open_source(tmp_path / "a.safetensors"),
        other=lambda: open_source(tmp_path / "b.safetensors", logical=True),
    ) as stage:
        await stage.until(lambda: f"SNR      {-20 * np.log10(noise):.1f} dB" in stage.text, "the SNR")
