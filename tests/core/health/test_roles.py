"""What tensors are for, by the names that real checkpoints give them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.dtypes import from_torch
from tui_params.core.health.roles import _kept_role, is_input_scale, is_matrix, is_scale_name, role_of
from tui_params.core.tensor import TensorInfo, describe

SEGMENTS = (
    "norm", "ln", "weight", "bias", "lora_B", "lora_up", "lora1", "down", "up", "embed", "state", "optim", "step",
    "mask", "scale", "pos_embed", "zero_conv", "A_log", "x", "",
)  # fmt: skip


def info(name: str, shape: tuple[int, ...], dtype: str = "float32") -> TensorInfo:
    found = from_torch(dtype)
    assert found is not None
    return describe(name, shape, found)


@pytest.mark.parametrize(
    ("name", "shape", "role"),
    [
        ("model.layers.0.mlp.down_proj.weight", (4, 4), "weight"),
        ("features.1.weight", (4,), "weight"),
        ("vision.proj.weight", (4, 4, 3, 3), "weight"),
        ("q_proj.lora_A.default.weight", (4, 4), "weight"),
        ("logit_scale", (), "weight"),
        ("fc.weight._scale", (4, 1), "scale"),
        ("fc._weight_zero_point", (4, 2), "statistic"),
        ("layers.0.layer_scale", (4,), "weight"),
        ("model.embed_tokens.weight", (4, 4), "embedding"),
        ("lm_head.weight", (4, 4), "embedding"),
        ("token_embd.weight", (4, 4), "embedding"),
        ("transformer.wte.weight", (4, 4), "embedding"),
        ("model.layers.0.input_layernorm.weight", (4,), "norm"),
        ("transformer.h.0.ln_1.weight", (4,), "norm"),
        ("backbone.layer1.0.bn1.weight", (4,), "norm"),
        ("blk.0.attn_norm.weight", (4,), "norm"),
        ("embeddings.LayerNorm.weight", (4,), "norm"),
        ("embeddings.LayerNorm.bias", (4,), "bias"),
        ("q_proj.lora_B.default.weight", (4, 4), "lora_b"),
        ("lora_te_text.lora_up.weight", (4, 4), "lora_b"),
        ("zero_convs.0.0.weight", (4, 4, 1, 1), "zero_init"),
        ("decoder.bbox_embed.2.layers.2.weight", (4, 4), "zero_init"),
        ("embed_tokens.lora_embedding_A.default", (4, 4), "zero_init"),
        ("embed_tokens.lora_embedding_B.default", (4, 4), "embedding"),
        ("q_proj.hada_w2_a", (4, 4), "zero_init"),
        ("q_proj.oft_r", (4, 4), "zero_init"),
        ("soft_router.weight", (4, 4), "weight"),
        ("embeddings.register_tokens", (1, 4, 4), "zero_init"),
        ("vision.embeddings.position_embeddings", (4, 4), "zero_init"),
        ("bert.embeddings.position_embeddings.weight", (4, 4), "embedding"),
        ("params.token_embedding", (4, 4), "embedding"),
        ("layers.0.attn.q_norm.weight", (4, 4), "norm"),
        ("layers.0.norm_proj.weight", (4, 4), "weight"),
        ("layers.0.mixer.A_log", (4, 4), "bias"),
        ("mel_scale.fb", (4, 4), "buffer"),
        ("attn.relative_position_index", (4, 4), "mask"),
        ("fc.weight_scale_inv", (4, 4), "scale"),
        ("fc.weight.absmax", (4,), "scale"),
        ("experts.gate_up_proj_scales", (4, 4), "scale"),
        ("attn.k_scale", (), "scale"),
        ("h.0.attn.causal_mask", (4, 4), "mask"),
        ("attn_bias", (4, 4), "mask"),
        ("bn.running_var", (4,), "statistic"),
        ("callbacks.ModelCheckpoint.best_model_score", (), "statistic"),
        ("scaler.scale", (), "statistic"),
        ("state.12.max_exp_avg_sq", (4, 4), "optimizer"),
        ("optimizer_states.0.state.3.step", (), "optimizer"),
        ("optimizer.state.3.hessian", (4, 4), "optimizer"),
        ("optimizer.fc.weight.momentum_buffer", (4, 4), "optimizer"),
    ],
)
def test_roles_of_floating_tensors(name: str, shape: tuple[int, ...], role: str) -> None:
    assert role_of(info(name, shape)) == role


def test_other_types_are_no_weights() -> None:
    assert role_of(info("fc.qweight", (4, 4), "int32")) == "other"
    assert role_of(info("attn.bias", (4, 4), "bool")) == "other"
    assert role_of(info("fc.weight", (4, 4), "complex64")) == "weight"


def test_scales_of_weights_and_of_activations() -> None:
    assert all(map(is_scale_name, ("weight_scale", "weight_scale_2", "input_scale", "scales", "kv_scale", "scale_inv")))
    assert not any(map(is_scale_name, ("logit_scale", "scale", "layer_scale", "rescale", "weight", "scaled")))
    assert all(map(is_input_scale, ("input_scale", "k_scale", "output_scale")))
    assert not any(map(is_input_scale, ("weight_scale", "weight_scale_inv", "scales", "absmax", "logit_scale")))


def test_a_matrix_has_two_dimensions_that_count() -> None:
    assert is_matrix(info("a", (2, 2)))
    assert is_matrix(info("a", (2, 1, 3)))
    assert not any(is_matrix(info("a", shape)) for shape in ((), (4,), (1, 4), (1, 1, 768), (4, 1, 1)))


@given(st.lists(st.sampled_from([*SEGMENTS, "7", "12", "0"]), min_size=1, max_size=5), st.integers(0, 3))
def test_layers_that_differ_in_numbers_have_one_role(segments: list[str], ndim: int) -> None:
    def role(number: str) -> str:
        name = ".".join(number if segment.isdecimal() else segment for segment in segments)
        return role_of(info(name, (4,) * ndim))

    assert role("3") == role("345") == role("0" * 500)


def test_layers_share_the_work_of_finding_a_role() -> None:
    _kept_role.cache_clear()
    for layer in range(50):
        assert role_of(info(f"model.layers.{layer}.mlp.up_proj.weight", (4, 4))) == "weight"
        assert role_of(info(f"model.layers.{layer}.norm.weight", (4,))) == "norm"
        assert role_of(info(f"model.layers.{layer}.norm.weight", (4, 4))) == "norm"
        assert role_of(info(f"model.layers.{layer}.norm.weight", (4,), "int32")) == "other"
    assert _kept_role.cache_info().misses == 4
    # What is long is not kept.
    role_of(info("x" * 1000, (4,)))
    assert _kept_role.cache_info().misses == 4
