"""The order in which a model defines its parameters, where the names alone do not tell it.

Files of safetensors are sorted by name, and an optimizer counts its parameters as the model defines them. For some
families of transformers the order of the children of each module is known: read off ``named_parameters()`` of models
that transformers 5.24 builds; the files of these families have not changed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_WEIGHTS = (("weight", "bias"),)

_LLAMA = (
    *_WEIGHTS,
    ("model", "lm_head"),
    ("model", "score"),
    ("embed_tokens", "layers", "norm"),
    (
        "self_attn", "mlp", "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
    ),
    ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"),
    ("o_proj", "qkv_proj"),
    ("gate_proj", "up_proj", "down_proj"),
    ("gate_up_proj", "down_proj"),
)  # fmt: skip

_GPT2 = (
    *_WEIGHTS,
    ("transformer", "lm_head"),
    ("transformer", "score"),
    ("wte", "wpe", "h", "ln_f"),
    ("ln_1", "attn", "ln_2", "mlp"),
    ("c_attn", "c_proj"),
    ("c_fc", "c_proj"),
)

_BERT = (
    *_WEIGHTS,
    ("bert", "classifier"),
    ("bert", "qa_outputs"),
    ("embeddings", "encoder", "pooler"),
    ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm"),
    ("attention", "intermediate", "output"),
    ("self", "output"),
    ("query", "key", "value"),
    ("dense", "LayerNorm"),
)

_DISTILBERT = (
    *_WEIGHTS,
    ("distilbert", "pre_classifier", "classifier"),
    ("embeddings", "transformer"),
    ("word_embeddings", "position_embeddings", "LayerNorm"),
    ("attention", "sa_layer_norm", "ffn", "output_layer_norm"),
    ("q_lin", "k_lin", "v_lin", "out_lin"),
    ("lin1", "lin2"),
)

_T5 = (
    *_WEIGHTS,
    ("shared", "encoder", "decoder", "lm_head"),
    ("block", "final_layer_norm"),
    ("SelfAttention", "layer_norm"),
    ("EncDecAttention", "layer_norm"),
    ("DenseReluDense", "layer_norm"),
    ("q", "k", "v", "o", "relative_attention_bias"),
    ("wi", "wo"),
    ("wi_0", "wi_1", "wo"),
)

Chains = Sequence[Sequence[str]]

FAMILIES: dict[str, Chains] = {
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "granite", "phi3", "smollm3"), _LLAMA
    ),
    "gpt2": _GPT2,
    "bert": _BERT,
    "distilbert": _DISTILBERT,
    **dict.fromkeys(("t5", "mt5"), _T5),
}
"""The children of modules in the order of their definition, by the ``model_type`` of config.json."""


def in_order_of_definition(names: Iterable[str], model_type: str) -> list[str] | None:
    """The names as the model defines them; None if that is not known for all of them."""
    chains = FAMILIES.get(model_type)
    if chains is None:
        return None
    return _ordered([name.split(".") for name in names], 0, chains)


def _ordered(names: list[list[str]], depth: int, chains: Chains) -> list[str] | None:
    if len(names) == 1:
        return [".".join(names[0])]
    children: dict[str, list[list[str]]] = {}
    for segments in names:
        if len(segments) <= depth:
            return None
        children.setdefault(segments[depth], []).append(segments)
    order = _order_of(children, chains)
    if order is None:
        return None
    found: list[str] = []
    for child in order:
        below = _ordered(children[child], depth + 1, chains)
        if below is None:
            return None
        found += below
    return found


def _order_of(children: Iterable[str], chains: Chains) -> list[str] | None:
    names = list(children)
    if len(names) == 1:
        return names
    if all(name.isdecimal() and len(name) < 10 for name in names):
        return sorted(names, key=int)
    chain = next((chain for chain in chains if set(names) <= set(chain)), None)
    return None if chain is None else sorted(names, key=list(chain).index)
