"""Facts from the JSON files beside a checkpoint: config.json of transformers, adapter_config.json of PEFT."""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path
from typing import Any

import msgspec

from tui_params.core.adapter_config import AdapterConfig, parse_adapter_config
from tui_params.core.source import Listing, Source
from tui_params.core.text import shorten
from tui_params.sources.bytes.files import is_there
from tui_params.sources.folder.json_files import ADAPTER_CONFIG, config_findings, read_json_object

_MAX_TEXT = 500

_CONFIG_KEYS = ("model_type", "architectures", "_class_name", "dtype", "torch_dtype", "tie_word_embeddings")
_SIZES = ("num_hidden_layers", "n_layer", "vocab_size", "num_nextn_predict_layers")
_DEPTHS = ("num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers", "num_encoder_layers")
"""How many layers the encoder and the decoder of one model have."""
_QUANTISATION_KEYS = (
    "quant_method", "bits", "num_bits", "group_size", "checkpoint_format", "weight_block_size", "block_structure",
)  # fmt: skip
_QUANTISED_ELSEWHERE = ("hf_quant_config.json", "quantize_config.json", "quant_config.json", "quanto_qmap.json")
"""Files in which modelopt, AutoGPTQ, AutoAWQ and quanto say how the weights are quantised."""
_QUANTIZE_CONFIGS = ("quantize_config.json", "quant_config.json")
"""Those of AutoGPTQ and AutoAWQ: AutoGPTQ takes the first that there is (``BaseQuantizeConfig.from_pretrained``)."""
_SYNONYMS = {"w_bit": "bits", "q_group_size": "group_size"}
_ADAPTER_KEYS = (
    "peft_type", "base_model_name_or_path", "r", "lora_alpha", "alpha", "use_rslora", "use_dora", "target_modules",
    "rank_pattern", "alpha_pattern",
)  # fmt: skip
_OF_MODEL = re.compile(
    r"(?:model|pytorch_model|diffusion_pytorch_model|adapter_model|gptq_model-\d+bit-(?:-1|\d+)g)(-\d+-of-\d+)?"
    r"\.(?:safetensors|bin|pt|pth)",
    re.ASCII,
)
"""What transformers, diffusers, PEFT and AutoGPTQ call the weights that a config.json is about, and one shard of them.

Anything else beside it may be another model, a variant of another type, or the state of an optimizer.
"""


_MOST_LAYERS = 20_000


def read_configs(folder: Path) -> dict[str, str]:
    """The facts of ``config.json`` as ``config.<key>`` and of ``adapter_config.json`` as ``adapter.<key>``."""
    metadata: dict[str, str] = {}
    config = read_json_object(folder / "config.json")
    for key in (*_CONFIG_KEYS, *_SIZES, *_DEPTHS):
        if config.get(key) is not None:
            metadata[f"config.{key}"] = _text(config[key])
    # Configurations of several models in one: only the sizes of the text model are compared with the weights.
    nested = [key for key, value in config.items() if key.endswith("_config") and _is_of_model(value)]
    if nested:
        metadata["config.nested"] = _text(nested)
        text = config.get("text_config")
        if isinstance(text, dict):
            found = {f"config.text_config.{key}": text.get(key) for key in _SIZES}
            metadata |= {key: _text(value) for key, value in found.items() if value is not None}
    if config.get("quantization") or any(is_there(folder / name) for name in _QUANTISED_ELSEWHERE):
        metadata["config.quantised_elsewhere"] = "true"
    metadata |= _quantization(config) | _quantize_config(folder)
    return metadata | describe_adapter(read_json_object(folder / ADAPTER_CONFIG))


def _quantization(config: dict[str, Any]) -> dict[str, str]:
    """How the weights are quantised, as far as a ``config.json`` says so and the stored tensors do not.

    MLX calls it ``quantization``. compressed-tensors states bits and blocks in each of its groups: where there are
    several that differ, none is taken for all.
    """
    found: dict[str, str] = {}
    for place in ("quantization_config", "quantization"):
        stated = config.get(place)
        if not isinstance(stated, dict):
            continue
        groups = stated.get("config_groups")
        of_groups: list[dict[str, Any]] = [
            group["weights"]
            for group in (groups.values() if isinstance(groups, dict) else ())
            if isinstance(group, dict) and isinstance(group.get("weights"), dict)
        ]
        for key in _QUANTISATION_KEYS:
            values = [stated.get(key), *(weights.get(key) for weights in of_groups)]
            texts = {_text(value) for value in values if value is not None}
            if len(texts) == 1:
                found[f"config.{place}.{key}"] = texts.pop()
        layers = _of_layers(stated)
        if layers:
            found[f"config.{place}.layers"] = msgspec.json.encode(layers).decode()
    return found


def _quantize_config(folder: Path) -> dict[str, str]:
    """What AutoGPTQ and AutoAWQ say in a file of their own, as ``config.quantize_config.<key>``."""
    file = next((folder / name for name in _QUANTIZE_CONFIGS if is_there(folder / name)), None)
    stated = read_json_object(file) if file is not None else {}
    plain = {_SYNONYMS.get(key, key): value for key, value in stated.items()}
    found = {key: plain.get(key) for key in ("quant_method", "bits", "group_size", "checkpoint_format")}
    return {f"config.quantize_config.{key}": _text(value) for key, value in found.items() if type(value) in (str, int)}


def _of_layers(stated: dict[str, Any]) -> dict[str, list[int]]:
    """The bits and the size of a group of each layer that MLX quantises otherwise than the model, by its name."""
    found: dict[str, list[int]] = {}
    for name, layer in stated.items():
        if isinstance(layer, dict) and len(found) < _MOST_LAYERS:
            bits, group = layer.get("bits"), layer.get("group_size")
            if type(bits) is int and type(group) is int and 0 < bits < 1 << 20 and 0 < group < 1 << 20:
                found[name] = [bits, group]
    return found


def describe_adapter(adapter: dict[str, Any]) -> dict[str, str]:
    """The facts of an ``adapter_config.json`` as metadata; an empty pattern says nothing."""
    return {f"adapter.{key}": _text(adapter[key]) for key in _ADAPTER_KEYS if adapter.get(key) not in (None, {})}


def read_adapter(folder: Path) -> tuple[AdapterConfig, ...]:
    """The ``adapter_config.json`` of PEFT in a folder, if there is one."""
    config = parse_adapter_config(read_json_object(folder / ADAPTER_CONFIG), ADAPTER_CONFIG)
    return () if config is None else (config,)


def configs_beside(folder: Path, listing: Listing, *, is_whole: bool) -> dict[str, str]:
    """What ``read_configs`` finds beside one file of a model, which is the whole model or one shard of it."""
    stated = read_configs(folder)
    if is_whole:
        # What a shard does not have may be in another.
        explain_tie(stated, {info.name for info in listing.tensors})
    return stated


def add_beside(source: Source, path: Path) -> None:
    """Let the source of one file, if it is a model or a shard of one, know what the config.json beside it says."""
    match = _OF_MODEL.fullmatch(path.name)
    if match is None:
        return
    listing = source.listing
    found, wrong = configs_beside(path.parent, listing, is_whole=match[1] is None), config_findings(path.parent)
    if found or wrong:
        adapters = (*listing.adapters, *read_adapter(path.parent))
        metadata = {**listing.metadata, **found}
        source.listing = msgspec.structs.replace(
            listing, metadata=metadata, adapters=adapters, stated=found, findings=(*listing.findings, *wrong)
        )


def explain_tie(stated: dict[str, str], names: Container[str]) -> None:
    """Say what it means that the output head is tied, if it is not stored."""
    if stated.get("config.tie_word_embeddings") == "true" and "lm_head.weight" not in names:
        stated["config.tie_word_embeddings"] = (
            "true (lm_head.weight is not stored: the model takes the input embeddings in its place)"
        )


def _is_of_model(value: Any) -> bool:
    return isinstance(value, dict) and ("model_type" in value or any(key in value for key in _SIZES))


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(element, str) for element in value):
        return shorten(", ".join(value), _MAX_TEXT)
    return shorten(value if isinstance(value, str) else msgspec.json.encode(value).decode(), _MAX_TEXT)
