"""The comparison with another source on the main screen: rows, pages, the dialog, what cannot be compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories_memory import MemorySource
from tests.factories_pair import base, base_arrays, tuned
from tests.factories_screen import GatedSource, on_stage, ramp
from tests.factories_training import STEP, TrainingSource
from tui_params.api.opening import open_source
from tui_params.core.source import Source
from tui_params.tui.screens.compare import CompareScreen


async def test_rows_pages_and_header_say_what_differs() -> None:
    async with on_stage(base, other=tuned) as stage:
        await stage.press("E")
        assert "against tuned.safetensors: 12 changed, 2 on one side alone, 9 same" in stage.header
        assert [word for word in ("change", "differ", "cosine") if word in stage.lines[2]] == [
            "change", "differ", "cosine",
        ]  # fmt: skip
        assert "other shape" in stage.row("embed.weight")
        assert "only in A" in stage.row("layers.0.mlp.up.bias")
        assert "bit-identical" in stage.row("layers.0.norm.weight")
        assert "3 of 5" in stage.row("layers.0")
        assert "━" in stage.row("layers.1.mlp.up.weight")
        await stage.go("layers.0.mlp.up.bias")
        assert "B - A" not in stage.status  # only A has it
        await stage.go("layers.1.mlp.up.weight")
        assert "d B - A" in stage.status
        page = stage.facts
        assert "4 of 2,048 values dif" in page
        assert "(0.20 %)" in page
        assert "differs at" in page
        assert "[3, 0]" in page
        assert "0.1 to 99.9 % of both" in page
        await stage.go("layers.2.mlp.up.bias")
        assert "1 are NaN in B alone" in stage.facts
        await stage.go("layers.3.norm.weight")
        assert "the type is f32 in A and bf16 in B, every value is equal" in " ".join(stage.facts.split())
        await stage.go("layers")
        assert "the most: layers.2.mlp.up.bias" in stage.facts
        await stage.press("o", "c")
        await stage.until(lambda: "by change" in stage.header, "the order")
        await stage.rest()
        assert [name for name in stage.names if name.startswith("layers.0.attn.")] == [
            "layers.0.attn.v_proj.weight",
            "layers.0.attn.q_proj.weight",
        ]
        await stage.press("slash")
        await stage.type("only:b")
        await stage.press("enter")
        assert stage.names == ["classifier.weight"]
        assert stage.cursor == "classifier.weight"
        assert "only B has it" in stage.facts


async def test_the_dialog_completes_opens_and_says_why_not(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(base_arrays(), tmp_path / "base.safetensors")
    arrays = base_arrays()
    arrays["head.weight"][0, 0] += 1
    save_file(arrays, tmp_path / "tuned.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"{")
    async with on_stage(lambda: open_source(tmp_path / "base.safetensors")) as stage:
        await stage.press("c")
        assert isinstance(stage.app.screen, CompareScreen)
        screen: CompareScreen = stage.app.screen
        screen.field.value = f"{tmp_path}/t"
        await stage.press("tab")
        assert "torn.safetensors" in stage.text
        assert "tuned.safetensors" in stage.text
        screen.field.value = f"{tmp_path}/torn.safetensors"
        await stage.press("enter")
        await stage.until(lambda: "opening" not in stage.text, "an answer")
        assert stage.app.screen is screen
        assert "torn.safetensors" in stage.text
        assert "against" not in stage.header
        screen.field.value = f"{tmp_path}/tu"
        await stage.press("tab", "enter")
        await stage.until(lambda: stage.app.screen is not screen, "the comparison")
        await stage.rest()
        assert "against tuned.safetensors: 1 changed, 21 same" in stage.header
        await stage.press("c")
        assert "22 tensors in both." in stage.text
        await stage.press("escape")
        assert "against" in stage.header
        assert "bit-identical" in stage.text
        await stage.press("c", "enter")  # with nothing: no comparison
        await stage.until(lambda: "against" not in stage.header, "no comparison")
        await stage.rest()
        assert "bit-identical" not in stage.text
        assert "change" not in stage.lines[2]
        await stage.press("U")
        assert "Nothing is compared" in stage.status


async def test_what_has_nothing_in_common_and_what_cannot_be_read_is_said() -> None:
    def strangers() -> Source:
        return MemorySource({"x": np.ones(3, np.float32)}, label="strangers")

    async with on_stage(base, other=strangers) as stage:
        assert "Nothing to compare: no name is common" in stage.status
        await stage.press("c")
        assert "these look like two models" in stage.text

    def torn() -> Source:
        return MemorySource(base_arrays(), broken={"head.weight": "the disk is gone"}, label="torn")

    async with on_stage(base, (80, 24), other=torn) as stage:
        assert "against torn: 21 same, 1 not compared" in stage.header
        assert "not compared" in stage.row("head.weight")
        await stage.go("head.weight")
        assert "in B: the disk is gone" in stage.facts or "the disk is gone" in stage.facts
        await stage.press("c")
        assert "1 tensor could not be compared" in stage.text
        assert "No difference" not in stage.text


async def test_a_model_that_trains_is_held_while_it_is_compared() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3)

    def before() -> Source:
        return MemorySource({"weight": np.zeros((3, 4), np.float32), "bias": model.bias.detach().numpy().copy()})

    async with on_stage(lambda: TrainingSource(model), other=before) as stage:
        assert f"held at step {STEP:,}" in stage.header
        assert f"against memory at step {STEP:,}: 1 changed, 1 same" in stage.header
        await stage.go("weight")
        assert "one side trains" in " ".join(stage.facts.split())
        stage.screen.pulse.hold_to_check()
        await stage.rest()
        assert "bit-identical" in stage.row("bias")


@given(st.lists(st.sampled_from(("j", "k", "U", "D", "d", "escape", "o", "c", "E", "C", "r", "R", "G")), max_size=8))
@settings(max_examples=3, suppress_health_check=list(HealthCheck))
async def test_no_order_of_keys_leaves_a_stale_cell(keys: list[str]) -> None:
    async with on_stage(base, other=tuned) as stage:
        await stage.press(*keys, "escape", "escape", "escape", "escape")
        await stage.until(lambda: stage.app.screen is stage.screen, "the tree")
        if "against" not in stage.header:
            return
        await stage.press("E", "home")
        for name in ("embed.weight", "layers.0.norm.weight"):
            if name in stage.names[:20]:
                assert ("other shape" if name[0] == "e" else "bit-identical") in stage.row(name), keys


async def test_escape_stops_and_what_is_left_is_not_known() -> None:
    gated = GatedSource({"a": ramp(3), "b": ramp(5)}, ("b",))
    source = MemorySource({"a": ramp(3), "b": ramp(5), "c": ramp(2)})
    async with on_stage(lambda: source, other=lambda: gated, is_settled=False) as stage:
        await stage.until(gated.started["b"].is_set, "b is being read")
        await stage.until(lambda: "only in A" in stage.text, "the structure, before any value")
        await stage.send("escape")
        gated.open_gates()
        await stage.rest()
        assert "stopped before the end" in stage.header
        assert "b" not in stage.screen.pages.changes._changes  # type: ignore[union-attr]
        assert "·" in stage.row("b")
        await stage.press("slash")
        await stage.type("changed:no")
        assert "the comparison was stopped" in stage.text
