"""Adapters: the rank, the alpha and the scale of every adapter of a source, however its library spells them.

What an adapter adds to a weight is multiplied by its scale. peft takes the alpha from adapter_config.json, diffusers
from ``lora_adapter_metadata``, kohya's sd-scripts and LyCORIS from a tensor ``alpha`` in each module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isclose, sqrt

import msgspec

from tui_params.core import text
from tui_params.core.adapter_config import AdapterConfig
from tui_params.core.health.adapter_names import MAY_BE_ADAPTER
from tui_params.core.health.half_adapters import halves_in
from tui_params.core.source import Listing, Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import parse_window
from tui_params.errors import ReadError

ALPHA_TOLERANCE = 0.01
"""How far two alphas may be apart and be the same: bfloat16 keeps 8 bits of one."""

MOST_ALPHAS = 20_000
"""The most alphas that are read for a list; a large model has some hundreds of adapters."""

_RANK_AT: dict[str, tuple[str, int]] = {
    "lora_A": ("LoRA", 0),
    "lora_B": ("LoRA", 1),
    "lora_embedding_A": ("LoRA", 0),
    "lora_embedding_B": ("LoRA", 1),
    "lora_down": ("LoRA", 0),
    "lora_up": ("LoRA", 1),
    "lora.down": ("LoRA", 0),
    "lora.up": ("LoRA", 1),
    "hada_w1_b": ("LoHa", 0),
    "hada_w2_b": ("LoHa", 0),
    "lokr_w1": ("LoKr", -1),
    "lokr_w2": ("LoKr", -1),
    "lokr_w1_b": ("LoKr", 0),
    "lokr_w2_b": ("LoKr", 0),
    "vera_lambda_d": ("VeRA", 0),
    "vblora_logits_A": ("VB-LoRA", -1),
    "randlora_lambda": ("RandLoRA", 0),
}
"""By the half of an adapter (``half_adapters.halves_in``): its kind, and which dimension is its rank; -1 for none."""

_SINGLE: dict[str, tuple[str, int]] = {
    "ia3_l": ("IA3", -1),
    "oft_R": ("OFT", -1),
    "oft_blocks": ("OFT", -1),
    "boft_R": ("BOFT", -1),
    "miss_block": ("MiSS", 0),
    "bone_block": ("Bone", -1),
    "hra_u": ("HRA", 1),
    "hira_A": ("HiRA", 0),
    "delora_A": ("DeLoRA", 0),
    "shira_weight": ("SHiRA", -1),
    "lora_a": ("LoRA", 1),
    "lora_b": ("LoRA", -1),
    "ln_tuning_layers": ("LN tuning", -1),
    "prompt_embeddings": ("prompt tuning", -1),
}
"""The same for adapters that are no product of two halves, have no alpha, or are of mlx-lm (``lora_a`` [in, r])."""

OWN_RANK = frozenset({"LoRA", "DoRA", "rsLoRA", "LoHa", "LoKr", "VeRA", "RandLoRA", "HRA", "MiSS", "HiRA", "DeLoRA"})
"""Adapters whose tensors have the rank that the configuration states; AdaLoRA's are pruned."""

_SCALED = frozenset({"LoRA", "DoRA", "rsLoRA", "AdaLoRA", "LoHa", "LoKr", "RandLoRA"})
_MAGNITUDES = ("lora_magnitude_vector", "dora_scale")
_MARKS = (*_MAGNITUDES, "lora_E", "lora_mid")
_PROMPTS = {"PROMPT_TUNING": "prompt tuning", "PREFIX_TUNING": "prefix tuning", "P_TUNING": "P-tuning"}
_WITHOUT_CHANGE = {
    "prompt_embeddings": "vectors before the input, which change no weight",
    "ln_tuning_layers": "takes the place of the norm",
}
_STATED = "as stated"
_FROM_RANK = "none is stored: loaders take the rank"
_NOT_STATED = "no adapter_config.json or metadata here state it"


class Adapter(msgspec.Struct, frozen=True):
    """One adapter of one module.

    ``module`` is the path of the module as the tensors name it, ``name`` the name of the adapter, if it has one.
    ``tensor`` is one of its tensors. ``rank`` is that of the tensors, ``stated_rank`` that of the configuration, which
    is called ``stated_by`` if it contradicts the tensors. ``alpha_tensor`` is the value of its tensor ``alpha``.
    ``scale`` is None where it is not known, or not certain because two ranks or alphas are in question; ``origin`` says
    where the alpha comes from, or why there is none. ``spelling`` is the half by which it was found. ``base`` are the
    sizes of the weight that it is for, as far as its halves tell; a convolution has more than two. ``other_rank`` is
    that of a half that cannot be multiplied with the first.
    """

    module: str
    name: str
    kind: str
    spelling: str
    tensor: str
    rank: int | None
    stated_rank: int | None
    alpha: float | None
    alpha_tensor: float | None
    scale: float | None
    formula: str
    origin: str
    base: tuple[int, ...] = ()
    other_rank: int | None = None
    stated_by: str = ""

    @property
    def words(self) -> str:
        """Its rank, alpha and scale in one line."""
        if self.spelling in _WITHOUT_CHANGE:
            return _WITHOUT_CHANGE[self.spelling]
        parts = [self._rank_words()]
        if self.kind not in _SCALED:
            return f"{', '.join(parts)}, no alpha"
        if self.formula != _STATED:
            alpha = "alpha unknown" if self.alpha is None else f"alpha {text.number(self.alpha, 6)}"
            parts.append(f"{alpha} ({self.origin})")
        if self.scale is not None:
            parts.append(f"scale {text.number(self.scale, 6)} ({self.formula})")
        elif self.alpha is not None and self.rank:
            parts.append("scale not certain")
        return ", ".join(parts)

    def _rank_words(self) -> str:
        rank = self.rank if self.rank is not None else self.stated_rank
        if rank is None:
            return "no rank"
        other = f" and {self.other_rank:,}" if self.other_rank is not None else ""
        stated = f" ({self.stated_by} says {self.stated_rank:,})" if self.stated_by else ""
        return f"rank {rank:,}{other}{stated}"


def alphas_of(infos: Iterable[TensorInfo]) -> list[TensorInfo]:
    """The tensors ``alpha`` of modules: one number each."""
    return [info for info in infos if info.name.endswith(".alpha") and info.numel == 1 and info.unreadable is None]


def read_alphas(source: Source) -> dict[str, float]:
    """The value of each tensor ``alpha``, by its name; those that cannot be read are left out."""
    found: dict[str, float] = {}
    for info in alphas_of(source.listing.tensors)[:MOST_ALPHAS]:
        value = _read_number(source, info)
        if value is not None:
            found[info.name] = value
    return found


def _read_number(source: Source, info: TensorInfo) -> float | None:
    try:
        return float(source.read_window(info, parse_window("", info.shape)).reshape(-1)[0])
    except (ReadError, OSError, TypeError, ValueError, OverflowError):
        return None


def adapters_of(source: Source) -> tuple[Adapter, ...]:
    """Every adapter of a source; reads the tensors ``alpha``, a number each."""
    return describe_adapters(source.listing, read_alphas(source)) if has_adapters(source.listing) else ()


def has_adapters(listing: Listing) -> bool:
    """Whether any tensor is named as one of an adapter is."""
    return any(_found_in(info) for info in listing.tensors)


def describe_adapters(listing: Listing, alphas: Mapping[str, float]) -> tuple[Adapter, ...]:
    """Every adapter of a listing, in its order; ``alphas`` are the values of the tensors ``alpha``, by name."""
    groups: dict[tuple[str, str], dict[str, TensorInfo]] = {}
    names: set[str] = set()
    for info in listing.tensors:
        found = _found_in(info)
        if found is not None:
            module, half, name = found
            groups.setdefault((module, name), {}).setdefault(half, info)
        elif any(mark in info.name for mark in _MARKS):
            names.add(info.name)
    configs = AdapterConfigs(listing.adapters)
    marked = {mark: {name.partition(f".{mark}")[0] for name in names if mark in name} for mark in _MARKS}
    return tuple(
        [_describe(module, name, halves, configs, alphas, marked) for (module, name), halves in groups.items()]
    )


def _found_in(info: TensorInfo) -> tuple[str, str, str] | None:
    """The module, the half and the name of the adapter that a tensor is a part of."""
    name = info.name
    # OFT's module has buffers beside its weight: the rows and columns of a triangle.
    if not MAY_BE_ADAPTER.search(name) or name.endswith(".bias") or info.kind == "buffer":
        return None
    segments = name.split(".")
    for module, half, rest in halves_in(segments):
        if half in _RANK_AT:
            return module.removesuffix(".lora"), half, rest.removesuffix("weight").strip(".")
    for place, segment in enumerate(segments):
        if segment in _SINGLE:
            rest = ".".join(segments[place + 1 :])
            # mlx-lm has arrays of these names, torchtune modules like those of peft.
            segment = {"lora_a": "lora_A", "lora_b": "lora_B"}.get(segment, segment) if rest == "weight" else segment
            return ".".join(segments[:place]), segment, rest.removesuffix("weight").strip(".")
    return None


def _describe(
    module: str,
    name: str,
    halves: Mapping[str, TensorInfo],
    configs: AdapterConfigs,
    alphas: Mapping[str, float],
    marked: Mapping[str, set[str]],
) -> Adapter:
    first = next(iter(halves))
    kind, rank, other = (_RANK_AT.get(first) or _SINGLE[first])[0], None, None
    for half, info in halves.items():
        at = (_RANK_AT.get(half) or _SINGLE[half])[1]
        if at >= 0 and info.ndim > at and info.unreadable is None:
            rank = info.shape[at] if rank is None else rank
            # A middle factor, as of LyCORIS, joins two ranks.
            if kind == "LoRA" and info.shape[at] != rank and module not in marked["lora_mid"]:
                other = info.shape[at]
    config = configs.of(module, name)
    path = path_in_base(module, config)
    stated = config.rank_of(path) if config is not None else None
    is_root = kind == "LoRA" and config is not None and _is_rank_stabilized(config)
    if kind == "LoRA" and (module in marked["lora_E"] or (config is not None and config.peft_type == "ADALORA")):
        kind, stated = "AdaLoRA", None
    elif kind == "LoRA" and (any(module in marked[mark] for mark in _MAGNITUDES) or _is_stated_dora(config)):
        kind = "DoRA"
    elif first == "prompt_embeddings" and config is not None:
        kind = _PROMPTS.get(config.peft_type, kind)
    elif is_root:
        kind = "rsLoRA"
    stated_by = ""
    if config is not None and rank and stated and kind in OWN_RANK and rank != stated:
        stated_by = "" if is_of_experts(config, rank, stated) else config.where
    own = alphas.get(f"{module}.alpha")
    alpha, origin = own, "its tensor"
    divisor: float | None = rank
    is_certain = not stated_by and other is None
    if own is not None and config is not None:
        other_alpha = config.alpha_of(path)
        if other_alpha is not None and not isclose(own, other_alpha, rel_tol=ALPHA_TOLERANCE):
            is_certain, origin = False, f"its tensor; {config.where} says {text.number(other_alpha, 6)}"
    if own is None and config is not None:
        alpha, origin, divisor = config.alpha_of(path), config.where, stated or rank
        if alpha is None:
            origin = f"{config.where} does not say it in a way that can be told"
    elif own is None and kind in _SCALED:
        # Only the libraries that keep alphas as tensors have a rule for those that are absent.
        origin = _NOT_STATED if _SPELLINGS.get(first, first) == "lora_A" or rank is None else _FROM_RANK
        alpha = float(rank or 0) if origin == _FROM_RANK else None
    scale, formula = None, ""
    if kind == "LoKr" and rank is None and config is None and own is not None:
        scale, formula = 1.0, "both factors are whole"
    elif alpha is not None and divisor and kind in _SCALED and is_certain:
        if kind == "AdaLoRA":
            divisor = divisor + 1e-5  # peft/tuners/adalora/layer.py, get_delta_weight
        scale = alpha / (sqrt(divisor) if is_root else divisor)
        formula = "alpha/√rank" if is_root else "alpha/rank"
    in_use = None if config is None or kind == "AdaLoRA" else config.scale
    if in_use is not None and (scale is None or not isclose(scale, in_use, rel_tol=1e-6)):
        scale, formula = in_use, "as it is in use" if config is not None and config.name else _STATED
    if kind not in _SCALED:
        alpha, origin = None, ""
    tensor = next(iter(halves.values())).name
    spelling, base = _SPELLINGS.get(first, first), _base_sizes(halves)
    return Adapter(
        module, name, kind, spelling, tensor, rank, stated, alpha, own, scale, formula, origin, base, other, stated_by
    )


def is_of_experts(config: AdapterConfig, real: int, rank: int) -> bool:
    """Whether a rank may be that of all experts together: peft's adapters of ``target_parameters``."""
    return config.has_experts and real % rank == 0


def _is_stated_dora(config: AdapterConfig | None) -> bool:
    """Whether a configuration of mlx-lm says so: its magnitudes are named ``m``."""
    return config is not None and config.peft_type == "DORA"


def _is_rank_stabilized(config: AdapterConfig) -> bool:
    """Whether the alpha is divided by the root of the rank; of a model in memory, as the scale in use tells."""
    if config.scale is None or not config.alpha or not config.rank:
        return config.is_rank_stabilized
    return config.rank > 1 and isclose(config.scale, config.alpha / sqrt(config.rank), rel_tol=1e-6)


_SPELLINGS = {
    "lora_up": "lora_down",
    "lora.up": "lora.down",
    "lora_B": "lora_A",
    "lora_embedding_A": "lora_A",
    "lora_embedding_B": "lora_A",
    "hada_w2_b": "hada_w1_b",
    "lokr_w1_b": "lokr_w1",
    "lokr_w2": "lokr_w1",
    "lokr_w2_b": "lokr_w1",
}


def _base_sizes(halves: Mapping[str, TensorInfo]) -> tuple[int, ...]:
    """The inputs, the outputs and the size of the kernel of the weight that a LoRA is for."""
    sizes: list[int] = []
    for half, at in (("lora_down", 1), ("lora_up", 0), ("lora.down", 1), ("lora.up", 0), ("lora_A", 1), ("lora_B", 0)):
        info = halves.get(half)
        if info is not None and info.ndim > at:
            sizes[1:1] = [info.shape[at]]
            sizes += [size for size in info.shape[2:] if size > 1]
    return tuple(sizes)


class AdapterConfigs:
    """The configurations of a listing."""

    def __init__(self, configs: Iterable[AdapterConfig]) -> None:
        configs = tuple(configs)
        self._of_modules = {(config.prefix, config.name): config for config in configs if config.name}
        self._others = [config for config in configs if not config.name]

    def __bool__(self) -> bool:
        return bool(self._of_modules or self._others)

    def of(self, module: str, name: str) -> AdapterConfig | None:
        """The one that an adapter of a module has: its own, else that with the longest prefix of its name."""
        own = self._of_modules.get((f"{module}.", name))
        fitting = [config for config in self._others if f"{module}.".startswith(config.prefix)]
        return own or max(fitting, key=lambda config: len(config.prefix), default=None)


def path_in_base(module: str, config: AdapterConfig | None) -> str:
    """The path of a module in the model that the adapter is for, as the patterns of the configuration know it."""
    path = module.removeprefix(config.prefix if config is not None else "")
    return path.rpartition("base_model.model.")[2]


class KohyaMetadata:
    """What kohya's sd-scripts state of an adapter in the metadata: ``ss_network_dim``, ``_alpha`` and ``_args``."""

    _VARY = ("conv_dim", "conv_alpha", "block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas", "preset")

    def __init__(self, metadata: Mapping[str, str]) -> None:
        def of(key: str) -> str:
            return metadata.get(f"__metadata__.{key}", metadata.get(key, ""))

        dim, alpha, arguments = of("ss_network_dim"), of("ss_network_alpha"), of("ss_network_args")
        self.dim = int(dim) if dim.isdecimal() and len(dim) < 10 else None
        try:
            self.alpha = float(alpha) if len(alpha) < 40 and alpha else None
        except ValueError:
            self.alpha = None  # "Dynamic", after a resize to ranks that differ
        self.base_model = of("ss_sd_model_name") or of("ss_base_model_version") or None
        self.arguments: dict[str, object] = {}
        self.is_uniform = True
        """Whether every module has the stated rank and alpha: no argument gives some of them others."""
        if arguments not in ("", "null", "None"):
            try:
                self.arguments = msgspec.json.decode(arguments.encode(), type=dict[str, object])
            except (msgspec.MsgspecError, RecursionError, ValueError):
                self.is_uniform = False
            varying = any(key in self._VARY or key.startswith("network_reg") for key in self.arguments)
            self.is_uniform = self.is_uniform and not varying

    @property
    def is_rank_stabilized(self) -> bool:
        return str(self.arguments.get("rs_lora", "")).lower() == "true"


def summarize_adapters(adapters: Iterable[Adapter], most: int = 6) -> list[str]:
    """The adapters in a few lines, one for all with the same kind, rank, alpha and scale; the most frequent first."""
    groups: dict[tuple[str, str], list[Adapter]] = {}
    for adapter in adapters:
        kind = adapter.kind if adapter.name in ("", "default") else f"{adapter.kind} {text.shorten(adapter.name, 40)}"
        groups.setdefault((kind, adapter.words), []).append(adapter)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    lines = [
        f"{kind}: {words}" if len(members) == 1 else f"{kind} in {len(members):,} modules: {words}"
        for (kind, words), members in ordered[:most]
    ]
    if len(ordered) > most:
        rest = sum(len(members) for _, members in ordered[most:])
        lines.append(f"and other ranks, alphas or scales in {text.plural(rest, 'module')}")
    return lines
