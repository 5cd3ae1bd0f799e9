"""AdapterConfig: what the configuration of an adapter states of its ranks and of the alphas that scale it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import msgspec

MOST_PATTERNS = 5_000
"""The most entries of a rank_pattern or an alpha_pattern that are tried for a module."""

MOST_EXPRESSIONS = 20
"""The most of them that are more than names, such as ``layers\\.[0-3]\\..*``: each may take some milliseconds."""

_LONGEST = 200
"""Characters of a pattern, and of the name of a module, that is tried."""

_ALPHAS = ("lora_alpha", "alpha", "randlora_alpha")
_OPTIONS = (
    "fan_in_fan_out",
    "init_lora_weights",
    "use_cayley_neumann",
    "num_cayley_neumann_terms",
    "coft",
    "base_model_name_or_path",
)
"""What else tells how an adapter changes a weight, and which model it is for."""

_QUANTIFIED_GROUP = re.compile(r"(?<!\\)\)[*+{?]")
_UNBOUNDED = re.compile(r"(?<!\\)[*+]|\{\d*,\}")
_REFERENCE = re.compile(r"\\[1-9]|\(\?[P=!<(]")
_MOST_REPEATS = 3
_MOST_STEPS = 2_000_000


class AdapterConfig(msgspec.Struct, frozen=True):
    """The configuration of an adapter, as peft writes it.

    ``where`` is the file or the metadata that it stands in. It is about the tensors whose names begin with ``prefix``.
    ``ranks`` and ``alphas`` are by a regular expression for the end of a module's path, the first that matches counts
    (peft.utils.other.get_pattern_key); they replace ``rank`` and ``alpha``. ``has_experts``: some adapters are of
    parameters that hold all experts, so that their rank is that of one expert times the number of experts. One of a
    model in memory is of the adapter ``name`` of a single module, and has the ``scale`` that is in use; that of mlx-lm
    states a scale. ``options`` are other plain values of it: how a change is computed, and the base model.
    """

    where: str
    prefix: str
    peft_type: str
    rank: int | None
    alpha: float | None
    ranks: Mapping[str, int] = {}
    alphas: Mapping[str, float] = {}
    is_rank_stabilized: bool = False
    has_experts: bool = False
    name: str = ""
    scale: float | None = None
    options: Mapping[str, str | int | bool] = {}

    @property
    def base_model(self) -> str | None:
        """The name or the path of the model that the adapter is for."""
        found = self.options.get("base_model_name_or_path")
        return found if isinstance(found, str) and found else None

    def rank_of(self, path: str) -> int | None:
        """The rank of the module at ``path``; None if none is stated, or if a pattern cannot be tried."""
        rank: int | None = _chosen(self.ranks, path, self.rank)
        return rank

    def alpha_of(self, path: str) -> float | None:
        """The alpha of the module at ``path``; None if none is stated, or if a pattern cannot be tried."""
        alpha: float | None = _chosen(self.alphas, path, self.alpha)
        return alpha


def _chosen(patterns: Mapping[str, Any], path: str, default: Any) -> Any:
    if not patterns:
        return default
    if len(patterns) > MOST_PATTERNS or len(path) > _LONGEST:
        return None
    left = MOST_EXPRESSIONS
    for pattern, value in patterns.items():
        if pattern.replace("_", "").replace(".", "").isalnum():
            # A plain name: there may be one for each module.
            if path.endswith(pattern) and path[: -len(pattern)][-1:] in ("", "."):
                return value
            if pattern.rpartition(".")[2] not in path:
                continue
        else:
            left -= 1
        if left < 0 or not _is_quick(pattern, len(path)):
            return None
        try:
            if re.match(rf"(.*\.)?({pattern})$", path):
                return value
        except (re.error, RecursionError, OverflowError):
            return None
    return default


def _is_quick(pattern: str, length: int) -> bool:
    """Whether a pattern out of a file can be tried on a path of so many characters: Python's matcher backtracks."""
    if len(pattern) > _LONGEST or _QUANTIFIED_GROUP.search(pattern) or _REFERENCE.search(pattern):
        return False
    # With the repeat that peft puts before it, one more; each goes over the whole path for each place of the others.
    repeats = len(_UNBOUNDED.findall(pattern)) + 1
    return repeats <= _MOST_REPEATS and length**repeats <= _MOST_STEPS


def parse_adapter_config(raw: Mapping[str, Any], where: str, prefix: str = "") -> AdapterConfig | None:
    """The configuration in a JSON object; None if it has neither a rank nor an alpha nor the kind of an adapter."""
    if isinstance(raw.get("lora_parameters"), dict):
        raw = _as_of_peft(raw, raw["lora_parameters"])
    peft_type = raw.get("peft_type")
    kind = peft_type.upper() if isinstance(peft_type, str) else ""
    rank = _whole(raw.get("r"))
    alpha = next((found for key in _ALPHAS if (found := _number(raw.get(key))) is not None), None)
    if not kind and rank is None and alpha is None:
        return None
    ranks, alphas = raw.get("rank_pattern"), raw.get("alpha_pattern")
    return AdapterConfig(
        where,
        prefix,
        kind,
        rank,
        alpha,
        {key: rank for key, value in _items(ranks) if (rank := _whole(value)) is not None},
        {key: alpha for key, value in _items(alphas) if (alpha := _number(value)) is not None},
        raw.get("use_rslora") is True,
        bool(raw.get("target_parameters")),
        scale=_number(raw.get("scale")) if "lora_parameters" in raw else None,
        options={key: value for key in _OPTIONS if isinstance(value := raw.get(key), (str, int))},
    )


def _as_of_peft(raw: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of mlx-lm (mlx_lm/tuner/utils.py) with the keys of peft; it has a scale, and no alpha."""
    stated = {"r": parameters.get("rank"), "scale": parameters.get("scale"), "peft_type": raw.get("fine_tune_type")}
    return {**raw, **stated, "base_model_name_or_path": raw.get("model")}


def parse_adapter_metadata(text: str, where: str) -> tuple[AdapterConfig, ...]:
    """The configurations in the ``lora_adapter_metadata`` of diffusers, whose keys begin with the name of a model.

    diffusers/loaders/lora_base.py, ``_pack_dict_with_prefix``: ``unet.r``, ``text_encoder.lora_alpha``.
    """
    try:
        raw = msgspec.json.decode(text.encode(), type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return ()
    models = dict.fromkeys(
        key.rpartition(".")[0] for key in raw if key.rpartition(".")[2] in ("r", "peft_type", *_ALPHAS)
    )
    found = []
    for model in models:
        start = f"{model}." if model else ""
        own = {key[len(start) :]: value for key, value in raw.items() if key.startswith(start)}
        config = parse_adapter_config(own, where, start)
        if config is not None:
            found.append(config)
    return tuple(found)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    return iter(value.items() if isinstance(value, dict) else ())


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31 else None


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30 and isfinite(value):
        return value
    return None
