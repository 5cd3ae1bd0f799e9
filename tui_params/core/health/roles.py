"""Roles: what a tensor is for, as far as its name tells. A fault in a weight may be normal in a mask."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from tui_params.core.channels import is_embedding_name
from tui_params.core.tensor import TensorInfo

Role = Literal[
    "weight",
    "embedding",
    "norm",
    "bias",
    "lora_b",
    "zero_init",
    "scale",
    "mask",
    "statistic",
    "optimizer",
    "gradient",
    "buffer",
    "other",
]
"""``weight``: a floating or complex type and none of the others fits. ``other``: the same with another type."""

PARAMETERS: frozenset[Role] = frozenset({"weight", "embedding", "norm", "bias", "lora_b", "zero_init"})
"""Tensors that training changes and a forward pass multiplies or adds."""

_STATES = frozenset(
    {
        "step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "grad_avg",
        "acc_delta", "sum", "ax", "mu", "eta", "prev", "step_size", "exp_avg_sq_row", "exp_avg_sq_col", "row_var",
        "col_var", "variance", "state1", "state2", "absmax1", "absmax2", "qmap1", "qmap2", "z", "momentum",
    }
)  # fmt: skip
"""Names of the state of torch.optim, transformers.Adafactor and bitsandbytes; most prove nothing by themselves."""

_SURE_STATES = frozenset({"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "exp_avg_sq_row"})

_NO_MODEL = frozenset({"callbacks", "loops", "lr_schedulers", "scaler", "rng_state"})
"""What Lightning and training scripts save beside the model."""

_MASKS = frozenset({"alibi", "attn_bias", "causal"})
_TABLES = ("_index", "_ids")
"""The ends of the names of tables that follow from sizes alone: ``relative_position_index``, ``position_ids``."""

_MADE = frozenset({"fb", "mel_filters", "mel_basis", "melw", "window", "inv_freq", "freqs_cis", "weight_integer"})
"""What is made from other things: torchaudio's filters, rotary frequencies, I-BERT's weights as it quantised them."""

_SCALES = frozenset({"scales", "scale_inv", "absmax", "nested_absmax", "_scale"})
_SCALED = ("weight", "w", "input", "act", "activation", "output", "out", "k", "v", "q", "kv", "block", "global", "prob")

_STATISTICS = frozenset(
    {
        "running_mean", "running_var", "num_batches_tracked", "min_val", "max_val", "min_value", "max_value",
        "kth_value", "best_k_models", "current_score", "best_score", "best_model_score", "wait_count", "eps",
        "fake_quant_enabled", "observer_enabled", "zero_point", "global_step", "n_averaged", "masked_bias",
        "input_min", "input_max", "output_min", "output_max",
    }
)  # fmt: skip
"""Counters and extremes: torch.nn's BatchNorm, torch.ao's observers, lightning's callbacks, GPT-2's masked_bias, the
bounds of Gemma's clipped layers."""

_ZERO_INIT = (
    "zero_conv", "zero_module", "adaln", "controlnet_down_blocks", "controlnet_mid_block", "pos_embed", "rel_pos",
    "sampling_offsets", "attention_weights", "bbox_embed", "gateway.gate", "mm_input_projection_weight",
    "lora_embedding_a", "hada_w", "lokr_w", ".oft_r", ".oft_blocks", ".boft_r", "vera_lambda", "randlora_lambda",
    "randlora_gamma", "miss_block", "bone_block", "shira_weight", "delora_b", "gralora_b", "hira_b", "lily_b",
    "peanut_b", "poly_lora_b", "glora_a.xd", "glora_b.xd",
)  # fmt: skip
"""Layers that training starts at zero on purpose: ControlNet (arXiv 2302.05543), DiT's adaLN-Zero (2212.09748), MAE,
the positions of SAM (2304.02643), the offsets and boxes of Deformable DETR (2010.04159), D-FINE, Gemma 3, adapters of
peft (of an embedding A starts at zero, not B) and LyCORIS."""

_ZERO_PARAMETERS = ("position", "level_embed", "time_embed", "latents", "query")
"""Parts of the names of parameters that often start at one value: not the ``weight`` of a layer."""

_ADAPTER_PART = re.compile(
    r"\.(lora_[ABab]|lora_embedding_[AB]|lora_down|lora_up|hada_w[12]_[ab]|lokr_w[12](?:_[ab])?|oft_R|oft_blocks|boft_R|"
    r"vera_lambda_[bd]|randlora_lambda|randlora_gamma|miss_block|bone_block|shira_weight|"
    r"(?:delora|gralora|hira|lily|peanut|poly_lora)_[AB]|glora_[AB]\.Xd)(?:\.|$)|"
    r"lora(?:\d*|_linear_layer)\.(down|up)(?:\.|$)"
)


def adapter_part(name: str) -> str:
    """Which part of an adapter a tensor is, as its library spells it (``lora_B``, ``up``, ``hada_w2_a``), or nothing.

    A bias is none, and neither is what may be zero in a trained adapter: AdaLoRA prunes ranks through ``lora_E``.
    """
    match = None if name.endswith(".bias") else _ADAPTER_PART.search(f".{name}")
    return "" if match is None else match[1] or match[2]


def names_a_state(name: str) -> bool:
    """Whether it is a name that an optimizer gives to what it keeps of a parameter: ``optimizer.state.0.exp_avg``."""
    *before, last = name.split(".")
    if last in _SURE_STATES:
        return True
    return last in _STATES and any(segment == "state" or segment.startswith("optim") for segment in before)


def role_of(info: TensorInfo) -> Role:
    """What the tensor is for, by its kind, its name and its type."""
    if info.kind == "gradient":
        return "gradient"
    if is_measure(info):
        return "statistic"
    # No role depends on a number between dots, so that the layers of a model share one answer.
    segments = ["0" if segment.isdecimal() else segment for segment in info.name.split(".")]
    is_real = info.dtype.kind in ("float", "complex")
    if len(info.name) > _LONGEST_KEPT:
        return _role(".".join(segments), info.kind == "buffer", is_real, len(info.shape))
    return _kept_role(".".join(segments), info.kind == "buffer", is_real, len(info.shape))


def _role(name: str, is_buffer: bool, is_real: bool, ndim: int) -> Role:
    lowered = name.lower()
    segments = lowered.split(".")
    last = segments[-1]
    if last in _STATISTICS or last.endswith("_zero_point") or segments[0] in _NO_MODEL:
        return "statistic"
    if last in _STATES and (last in _SURE_STATES or _is_below_state(segments)):
        return "optimizer"
    if len(segments) > 1 and segments[0].startswith("optim") and _is_below_state(segments):
        return "optimizer"
    if "mask" in last or last in _MASKS or last.endswith(_TABLES):
        return "mask"
    if is_scale_name(last):
        return "scale"
    if not is_real:
        return "other"
    if is_buffer or last in _MADE:
        return "buffer"
    if "lora_b" in segments or "lora_up" in lowered or adapter_part(name) == "up":
        return "lora_b"
    # The decay rates of Mamba are logarithms, and log 1 = 0 fills whole columns (arXiv 2312.00752, A_log).
    if "bias" in last or last == "a_log":
        return "bias"
    if _is_norm(segments, ndim):
        return "norm"
    if any(part in lowered for part in _ZERO_INIT):
        return "zero_init"
    if last.endswith(("token", "tokens")) or (last != "weight" and any(part in last for part in _ZERO_PARAMETERS)):
        return "zero_init"
    if is_embedding_name(name):
        return "embedding"
    return "weight"


_LONGEST_KEPT = 400
_kept_role = lru_cache(maxsize=4096)(_role)


def is_measure(info: TensorInfo) -> bool:
    """Whether a value is a single number of numpy: a loss, a counter, the best score so far."""
    return info.kind == "array" and not info.shape


def is_scale_name(last: str) -> bool:
    """Whether the last part of a name is what quantised layouts call a scale: ``weight_scale_inv``, ``absmax``."""
    if last in _SCALES:
        return True
    if last.endswith("_scales"):
        return True
    head, found, tail = last.partition("_scale")
    return bool(found) and tail in ("", "_inv", "_2", "s") and head.rpartition("_")[2] in _SCALED


def is_input_scale(last: str) -> bool:
    """Whether a scale is for activations: it keeps its initial value until somebody calibrates it."""
    own = last.lstrip("_")
    return is_scale_name(last) and not own.startswith(("weight", "w_", "scale", "absmax", "nested", "block"))


def is_matrix(info: TensorInfo) -> bool:
    """Whether at least two dimensions have more than one index: ``[1, 1, 768]`` is a vector."""
    return sum(size > 1 for size in info.shape) >= 2


def _is_below_state(segments: list[str]) -> bool:
    """Whether a name is that of an optimizer's state: ``state.0.hessian``, ``optimizer.fc.weight.exp_avg``."""
    return any(segment == "state" or segment.startswith("optim") for segment in segments[:-1])


def _is_norm(segments: list[str], ndim: int) -> bool:
    """Whether a gain belongs to a normalisation: ``input_layernorm.weight``, ``ln_1.weight``, ``bn2.gamma``.

    One of several dimensions (a gain for each head) does where the layer's name ends so: ``norm_proj`` is a matrix.
    """
    if segments[-1] not in ("weight", "gamma", "scale", "g"):
        return False
    owner = segments[-2] if len(segments) > 1 else ""
    # Norms that depend on a condition have a table of gains: ``norm.scale.weight`` in WavTokenizer.
    if (owner.isdecimal() or owner == "scale") and len(segments) > 2:
        owner = segments[-3]
    if ndim > 1:
        return owner.endswith("norm")
    return "norm" in owner or owner.startswith("ln") or (owner.startswith("bn") and owner[2:].isdecimal())
