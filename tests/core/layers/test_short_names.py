"""Short names of columns: readable, never too long, never alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.layers.short_names import fitting_names, short_names


def test_a_transformer_at_80_columns() -> None:
    names = ("self_attn.q_proj.weight", "self_attn.q_proj.bias", "mlp.down_proj.weight", "input_layernorm.weight")
    assert short_names((*names, "post_attention_layernorm.weight"), 7) == (
        "q_proj", "q_prj.b", "dwn_prj", "in_norm", "pa_norm",
    )  # fmt: skip
    assert short_names(("attn.c_proj.weight", "mlp.c_proj.weight"), 11) == ("attn.c_proj", "mlp.c_proj")


def test_names_are_cut_only_as_far_as_they_stay_different() -> None:
    names = [f"model.layers.#.self_attn.{part}_proj.weight" for part in "qk"]
    assert fitting_names(names, 40) == names
    assert fitting_names(names, 18) == ["…q_proj.weight", "…k_proj.weight"]
    alike = ["a.long_block.mlp.weight", "a.other_block.mlp.weight"]
    assert fitting_names(alike, 13) == (
        "lng_blck.mlp",
        "othr_blck.mlp",
    )


@given(st.lists(st.text("ab_.e…~1", max_size=14), unique=True, max_size=40), st.integers(6, 13))
def test_short_names_stay_unique(names: list[str], room: int) -> None:
    found = short_names(names, room)
    assert len(set(found)) == len(names)
    assert all(0 < len(name) <= room for name in found)
