"""What llama.cpp calls the tensors of a model, and what transformers calls them: the names in GGUF files.

gguf-py, ``tensor_mapping.py``: of llama and the models that are built as it is (Mistral, Qwen2, Qwen3).
"""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core.compare.renames import Rename, Side

_BLOCK = "blk."

_STARTS = (
    (_BLOCK, "model.layers."),
    ("token_embd.", "model.embed_tokens."),
    ("output_norm.", "model.norm."),
    ("output.", "lm_head."),
)

_SEGMENTS = (
    ("attn_norm.", "input_layernorm."),
    ("attn_q.", "self_attn.q_proj."),
    ("attn_k.", "self_attn.k_proj."),
    ("attn_v.", "self_attn.v_proj."),
    ("attn_output.", "self_attn.o_proj."),
    ("attn_q_norm.", "self_attn.q_norm."),
    ("attn_k_norm.", "self_attn.k_norm."),
    ("ffn_norm.", "post_attention_layernorm."),
    ("ffn_gate.", "mlp.gate_proj."),
    ("ffn_up.", "mlp.up_proj."),
    ("ffn_down.", "mlp.down_proj."),
)


def from_llama_cpp(names: Sequence[str], side: Side) -> tuple[Rename, ...]:
    """The renames that give names of llama.cpp those of transformers, each of which changes a name; none if none do."""
    if not any(name.startswith(_BLOCK) for name in names):
        return ()
    renames = [Rename(old, new, side) for old, new in _STARTS]
    renames += [Rename(old, new, side, is_anywhere=True) for old, new in _SEGMENTS]
    return tuple(rename for rename in renames if any(rename.apply(name) != name for name in names))
