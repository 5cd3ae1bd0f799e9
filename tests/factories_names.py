"""Names, shapes and types of the tensors of real models, worked out from their configurations."""

from __future__ import annotations

from collections.abc import Iterator

Named = tuple[str, tuple[int, ...], str]


def deepseek_v3_names() -> list[Named]:
    """Name, shape and safetensors type of each of the 91,991 tensors of DeepSeek-V3 as it was published.

    From its config.json: 61 layers of which the first 3 are dense, 256 routed experts and 1 shared, multi-head latent
    attention, one layer for multi-token prediction, fp8 with one float32 scale for each 128x128 block.
    """
    names: list[Named] = [("model.embed_tokens.weight", (129280, 7168), "BF16")]
    for layer in range(62):
        names += _layer(f"model.layers.{layer}", is_dense=layer < 3)
    prediction = "model.layers.61"
    names += [
        (f"{prediction}.embed_tokens.weight", (129280, 7168), "BF16"),
        (f"{prediction}.enorm.weight", (7168,), "BF16"),
        (f"{prediction}.hnorm.weight", (7168,), "BF16"),
        (f"{prediction}.eh_proj.weight", (7168, 14336), "BF16"),
        (f"{prediction}.shared_head.norm.weight", (7168,), "BF16"),
        (f"{prediction}.shared_head.head.weight", (129280, 7168), "BF16"),
        ("model.norm.weight", (7168,), "BF16"),
        ("lm_head.weight", (129280, 7168), "BF16"),
    ]
    return names


def _layer(path: str, *, is_dense: bool) -> Iterator[Named]:
    yield f"{path}.input_layernorm.weight", (7168,), "BF16"
    yield f"{path}.post_attention_layernorm.weight", (7168,), "BF16"
    yield f"{path}.self_attn.q_a_layernorm.weight", (1536,), "BF16"
    yield f"{path}.self_attn.kv_a_layernorm.weight", (512,), "BF16"
    for name, rows, columns in (
        ("q_a_proj", 1536, 7168),
        ("q_b_proj", 24576, 1536),
        ("kv_a_proj_with_mqa", 576, 7168),
        ("kv_b_proj", 32768, 512),
        ("o_proj", 7168, 16384),
    ):
        yield from _scaled(f"{path}.self_attn.{name}", rows, columns)
    if is_dense:
        yield from _feed_forward(f"{path}.mlp", 18432)
        return
    yield f"{path}.mlp.gate.weight", (256, 7168), "BF16"
    yield f"{path}.mlp.gate.e_score_correction_bias", (256,), "F32"
    for expert in range(256):
        yield from _feed_forward(f"{path}.mlp.experts.{expert}", 2048)
    yield from _feed_forward(f"{path}.mlp.shared_experts", 2048)


def _feed_forward(path: str, width: int) -> Iterator[Named]:
    yield from _scaled(f"{path}.gate_proj", width, 7168)
    yield from _scaled(f"{path}.up_proj", width, 7168)
    yield from _scaled(f"{path}.down_proj", 7168, width)


def _scaled(path: str, rows: int, columns: int) -> Iterator[Named]:
    yield f"{path}.weight", (rows, columns), "F8_E4M3"
    yield f"{path}.weight_scale_inv", (-(-rows // 128), -(-columns // 128)), "F32"
