"""Parts: which tensor of an adapter is which factor, however its library spells it, and the weight that it is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import shape as shape_text

Parts = Mapping[str, TensorInfo]

_PARTS = frozenset(
    {
        *("lora_A", "lora_B", "lora_E", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"),
        *("lora_down", "lora_up", "lora_mid", "dora_scale", "lora_a", "lora_b"),
        *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
        *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
        *("vera_lambda_b", "vera_lambda_d", "ia3_l", "oft_R", "ln_tuning_layers", "prompt_embeddings"),
    }
)
_DIFFUSERS = {"down": "lora_down", "up": "lora_up"}
_AROUND = ("lora", "lora_linear_layer")
"""How the module around diffusers' ``down`` and ``up`` ends, beside names such as ``to_q_lora``."""

_TORCHTUNE = {"lora_a": "lora_A", "lora_b": "lora_B"}
"""MLX names its arrays ``lora_a`` and ``lora_b``; with ``.weight`` behind they are modules, as those of peft are."""

_SEVERAL = "/several"


def parts_of(listing: Listing) -> dict[tuple[str, str], dict[str, TensorInfo]]:
    """The parts of each adapter, by its module and its name (``core.health.adapters.Adapter``)."""
    found: dict[tuple[str, str], dict[str, TensorInfo]] = {}
    names = {info.name: info for info in listing.tensors}
    for info in listing.tensors:
        part = _part_of(info.name)
        if part is not None:
            module, which, name = part
            parts = found.setdefault((module, name), {})
            parts[which if which not in parts else _SEVERAL] = info
    for (module, _), parts in found.items():
        magnitude = names.get(f"{module}.m")
        if "lora_a" in parts and magnitude is not None:
            parts["m"] = magnitude  # MLX's DoRALinear
    return found


def _part_of(name: str) -> tuple[str, str, str] | None:
    segments = name.split(".")
    if segments[-1] == "bias":
        return None
    for place, segment in enumerate(segments):
        which, module = segment, ".".join(segments[:place])
        if segment in _DIFFUSERS and place and segments[place - 1].endswith(_AROUND):
            which = _DIFFUSERS[segment]
        elif segment not in _PARTS:
            # HydraLoRA numbers its heads: lora_B0, lora_B1.
            which = segment.rstrip("0123456789")
            if which == segment or which not in _PARTS or not which.startswith("lora_"):
                continue
        rest = ".".join(segments[place + 1 :])
        if which in _TORCHTUNE and rest == "weight":
            which = _TORCHTUNE[which]
        return module.removesuffix(".lora"), which, rest.removesuffix("weight").strip(".")
    return None


def has_several(parts: Parts) -> bool:
    """Whether a part is there more than once: the heads of HydraLoRA."""
    return _SEVERAL in parts


def shapes_of(parts: Parts) -> str:
    """The parts with their shapes: ``lora_A [8, 64], lora_B [48, 8]``."""
    return ", ".join(f"{which} {shape_text(info.shape)}" for which, info in parts.items() if which != _SEVERAL)


def base_of(module: str, paths: Iterable[str], names: Mapping[str, TensorInfo]) -> TensorInfo | None:
    """The weight that the adapter of a module is for, if the same source has it; ``paths`` are other names of it.

    peft keeps it as ``base_layer``, mlx-lm as ``linear`` or ``embedding``; the attention processors of diffusers are
    beside ``to_q``.
    """
    around, _, last = module.rpartition(".")
    beside = around.removesuffix("processor").rstrip(".")
    inside = ("base_layer.", "linear.", "embedding.", "")
    candidates = [f"{module}.{own}weight" for own in inside]
    if last.endswith("_lora"):
        candidates.append(f"{beside}.{last.removesuffix('_lora')}.weight")
    candidates += [f"{path}.weight" for path in paths]
    return next((names[name] for name in candidates if name in names), None)
