"""Packings: how the names of quantised weights and of the tensors that belong to them are built.

The names are those that bitsandbytes, compressed-tensors, torchao, quanto, HQQ, modelopt, GPTQ, AWQ, MLX, SVDQuant,
ComfyUI, Mistral's own files and DeepSeek's write.
"""

from __future__ import annotations

from typing import Literal

Part = Literal["weight", "packed", "scale", "global", "zero", "nested", "map", "state", "shape", "order"]
"""``weight``: a name that says nothing of a packing. ``packed``: a weight that cannot be read without a scale."""

_LEAVES: dict[str, Part] = {
    "qweight": "packed",
    "W_q": "packed",
    "_weight_qdata": "packed",
    "scale_weight": "scale",
    "qscale_weight": "scale",
    "scale": "scale",
    "scales": "scale",
    "wscales": "scale",
    "SCB": "scale",
    "_weight_scale": "scale",
    "wtscale": "global",
    "qzeros": "zero",
    "wzeros": "zero",
    "zero": "zero",
    "biases": "zero",
    "_weight_zero_point": "zero",
    "g_idx": "order",
}
"""The last parts of names that stand beside a module's ``weight``, or in its place."""

_BELOW: dict[str, Part] = {
    "absmax": "scale",
    "quant_map": "map",
    "nested_absmax": "nested",
    "nested_quant_map": "nested",
    "_data": "packed",
    "_scale": "scale",
    "_shift": "zero",
}
"""Those that stand below the weight's own name: ``fc.weight.absmax``."""

_SUFFIXES: tuple[tuple[str, Part], ...] = (
    ("_scale_inv", "scale"),
    ("_scale_2", "global"),
    ("_global_scale", "global"),
    ("_scales", "scale"),
    ("_scale", "scale"),
    ("_zero_point", "zero"),
    ("_shape", "shape"),
    ("_g_idx", "order"),
    ("_packed", "packed"),
    ("_blocks", "packed"),
)
"""What is appended to the weight's own name: ``fc.weight_scale_inv``, ``experts.gate_up_proj_blocks``."""

_ENDINGS = tuple(suffix for suffix, _ in _SUFFIXES)
_GENERIC = frozenset({"scale", "scales", "zero", "biases"})


def part_of(name: str) -> tuple[str, Part]:
    """The full name that the weight has or would have unpacked, and which part of it the tensor is."""
    head, dot, last = name.rpartition(".")
    part = _LEAVES.get(last)
    if part is not None:
        return f"{head}{dot}weight", part
    if head:
        part = _BELOW.get(last)
        if part is not None:
            return head.removesuffix("._data"), part
        if last.startswith("bitsandbytes__") and head.endswith(".quant_state"):
            return head.removesuffix(".quant_state"), "state"
    if last.endswith(_ENDINGS):
        for suffix, part in _SUFFIXES:
            if last.endswith(suffix) and len(last) > len(suffix):
                return name[: -len(suffix)], part
    return name, "weight"


def is_telling(name: str) -> bool:
    """Whether nothing but a packing gives a tensor this name; a norm has a ``scale`` too."""
    last = name.rpartition(".")[2]
    return last not in _GENERIC and (last in _LEAVES or last in _BELOW or last.startswith("weight_"))
