"""Rules about the scale of adapters: ranks and alphas that disagree with what is stated, and alphas that are absent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isclose, sqrt

from tui_params.core.findings import Finding
from tui_params.core.health.adapters import (
    ALPHA_TOLERANCE,
    OWN_RANK,
    Adapter,
    AdapterConfigs,
    KohyaMetadata,
    alphas_of,
    describe_adapters,
    has_adapters,
    path_in_base,
)
from tui_params.core.health.pieces import is_piece
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint
from tui_params.core.text import name as shown_name
from tui_params.core.text import number, plural

_SHOWN = 200
_WITH_ALPHAS = frozenset({"lora_down", "lora.down", "hada_w1_b", "lokr_w1", "lora_A"})


def adapters_in(checkpoint: Checkpoint) -> tuple[Adapter, ...]:
    """The adapters of a checkpoint that was read, with the alphas that were read on the way."""
    listing = checkpoint.source.listing
    if is_piece(checkpoint) or not has_adapters(listing):
        return ()
    wanted = {info.name: info.first_name for info in alphas_of(listing.tensors)}
    values = {sketch.info.name: sketch.min for sketch in checkpoint.sketches if sketch.count == 1} if wanted else {}
    alphas = {name: float(value) for name, first in wanted.items() if (value := values.get(first)) is not None}
    return describe_adapters(listing, alphas)


def find_other_ranks(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Adapters whose rank is not the one that their configuration, or the metadata, state."""
    configs, network = AdapterConfigs(checkpoint.source.listing.adapters), KohyaMetadata(checkpoint.metadata)
    adapters = checkpoint.once(adapters_in)
    halves: dict[tuple[int, int], list[Adapter]] = {}
    for adapter in adapters:
        if adapter.rank is not None and adapter.other_rank is not None:
            halves.setdefault((adapter.rank, adapter.other_rank), []).append(adapter)
    for (one, two), unlike in halves.items():
        what = f"halves of rank {one:,} and of rank {two:,}, which do not fit together"
        evidence = f"{_where(unlike)} {'has' if len(unlike) == 1 else 'have'} {what}"
        yield Finding("warning", "adapter-rank", unlike[0].tensor, evidence)
    if not configs and network.dim is None:
        return
    stated: dict[tuple[str, int, int], list[Adapter]] = {}
    for adapter in adapters:
        config = configs.of(adapter.module, adapter.name)
        if adapter.rank is None or adapter.kind not in OWN_RANK:
            continue
        if config is not None and adapter.stated_by and adapter.stated_rank is not None:
            key = "rank_pattern" if config.rank_of(path_in_base(adapter.module, config)) != config.rank else "r"
            stated.setdefault((f"{config.where} says {key}", adapter.stated_rank, adapter.rank), []).append(adapter)
    for (who, rank, real), members in stated.items():
        yield _finding("adapter-rank", members, f"{who} {rank:,}, but", f"rank {real:,}")
    dim = network.dim
    if dim is None or configs:
        return
    plain = [adapter for adapter in adapters if adapter.rank is not None and _is_plain(adapter)]
    other = [adapter for adapter in plain if adapter.rank not in (dim, *_clamped(adapter, dim))]
    if network.is_uniform or len(other) == len(plain):
        for real in dict.fromkeys(adapter.rank or 0 for adapter in other):
            members = [adapter for adapter in other if adapter.rank == real]
            yield _finding("adapter-rank", members, f"the metadata say ss_network_dim {dim:,}, but", f"rank {real:,}")


def find_other_alphas(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Adapters whose tensor ``alpha`` is not the alpha that the metadata, or a configuration, state."""
    configs, network = AdapterConfigs(checkpoint.source.listing.adapters), KohyaMetadata(checkpoint.metadata)
    if not configs and network.alpha is None:
        return
    adapters = [adapter for adapter in checkpoint.once(adapters_in) if adapter.alpha_tensor is not None]
    other: dict[tuple[str, float], list[Adapter]] = {}
    plain = [adapter for adapter in adapters if _is_plain(adapter)]
    unlike = [adapter for adapter in plain if network.alpha is not None and not _is_stated_alpha(adapter, network)]
    if network.alpha is not None and (network.is_uniform or len(unlike) == len(plain)):
        who = f"the metadata say ss_network_alpha {number(network.alpha, 6)}, but"
        for adapter in unlike:
            other.setdefault((who, adapter.alpha_tensor or 0.0), []).append(adapter)
    for adapter in adapters:
        config = configs.of(adapter.module, adapter.name)
        stated = config.alpha_of(path_in_base(adapter.module, config)) if config is not None else None
        if config is not None and stated is not None and not _is_close(adapter.alpha_tensor, stated):
            who = f"{config.where} says alpha {number(stated, 6)}, but"
            other.setdefault((who, adapter.alpha_tensor or 0.0), []).append(adapter)
    for (who, value), members in other.items():
        yield _finding("adapter-alpha", members, who, f"the alpha tensor {number(value, 6)}")


def find_absent_alphas(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Adapters without a tensor ``alpha``, although others of the same spelling have one."""
    listing = checkpoint.source.listing
    stored = {info.name.removesuffix(".alpha") for info in listing.tensors if info.name.endswith(".alpha")}
    if not stored:
        return
    spelled: dict[str, list[Adapter]] = {}
    for adapter in checkpoint.once(adapters_in):
        if adapter.spelling in _WITH_ALPHAS:
            spelled.setdefault(adapter.spelling, []).append(adapter)
    for members in spelled.values():
        lacking = [adapter for adapter in members if adapter.module not in stored]
        having = len(members) - len(lacking)
        if having and lacking:
            evidence = f"{_where(lacking)} {'has' if len(lacking) == 1 else 'have'} no alpha, but {having:,} of"
            evidence += f" {plural(len(members), 'adapter')} have one: loaders take the rank for it, a scale of 1"
            yield Finding("warning", "alpha-missing", lacking[0].tensor, evidence)


def find_without_effect(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Adapters whose scale is 0, because their alpha is."""
    without: dict[str, list[Adapter]] = {}
    adapters = [adapter for adapter in checkpoint.once(adapters_in) if adapter.scale is not None]
    for adapter in adapters:
        if adapter.scale == 0:
            without.setdefault(adapter.origin, []).append(adapter)
    for origin, members in without.items():
        verb = "has" if len(members) == 1 else "have"
        evidence = f"{_where(members)} of {plural(len(adapters), 'adapter')} {verb} alpha 0 ({origin}): "
        evidence += f"the scale is 0, so that {'it changes' if len(members) == 1 else 'they change'} nothing"
        yield Finding("warning", "alpha-zero", members[0].tensor, evidence)


def _finding(rule: str, members: Sequence[Adapter], before: str, what: str) -> Finding:
    verb = "has" if len(members) == 1 else "have"
    return Finding("warning", rule, members[0].tensor, f"{before} {_where(members)} {verb} {what}")


def _where(members: Sequence[Adapter]) -> str:
    """The first of some modules, and how many more they are."""
    first = shown_name(members[0].module, _SHOWN)
    return first if len(members) == 1 else f"{plural(len(members), 'module')} (the first is {first})"


def _is_plain(adapter: Adapter) -> bool:
    """Whether an adapter has the rank and alpha that are stated for all: no convolution, no whole factor of LoKr."""
    is_convolution = len(adapter.base) > 2
    return adapter.kind in OWN_RANK and adapter.rank is not None and not is_convolution


def _clamped(adapter: Adapter, dim: int) -> Iterable[int]:
    """The rank of an adapter of a weight that has fewer inputs or outputs: extraction by SVD gives no more."""
    return (min(adapter.base[:2]),) if len(adapter.base) >= 2 and min(adapter.base[:2]) < dim else ()


def _is_stated_alpha(adapter: Adapter, network: KohyaMetadata) -> bool:
    rank, alpha, stored = adapter.rank or 0, network.alpha or 0.0, adapter.alpha_tensor
    # 0 stands for the rank; extraction stores the rank of each module.
    if _is_close(stored, alpha or rank) or (rank != network.dim and _is_close(stored, rank)):
        return True
    # LyCORIS multiplies by the root of the rank, so that loaders need not know.
    return network.is_rank_stabilized and _is_close(stored, alpha * sqrt(rank))


def _is_close(one: float | None, other: float) -> bool:
    return one is not None and isclose(one, other, rel_tol=ALPHA_TOLERANCE)


SCALE_RULES: tuple[Rule, ...] = (
    Rule(
        "adapter-rank",
        "Another rank",
        ("warning",),
        "The rank of an adapter's tensors is not the one that adapter_config.json or the metadata state, so that the"
        " scale (alpha divided by the rank) is another than in training, or loading fails; or its two halves have not"
        " the same rank.",
        "peft 0.21: rank_pattern, r; kohya's sd-scripts: ss_network_dim, unless other arguments set some ranks",
        cross_check=find_other_ranks,
    ),
    Rule(
        "adapter-alpha",
        "Another alpha",
        ("warning",),
        "The alpha tensor of an adapter differs by more than 1 % from the alpha that the metadata or a configuration"
        " state: it is applied more or less strongly than in training.",
        "kohya's sd-scripts: ss_network_alpha; LyCORIS 4.1; diffusers 0.42: lora_adapter_metadata",
        cross_check=find_other_alphas,
    ),
    Rule(
        "alpha-missing",
        "No alpha",
        ("warning",),
        "An adapter without an alpha tensor among others that have one: loaders take its rank, which is a scale of 1.",
        "kohya's sd-scripts, create_network_from_weights: the rank for modules without alpha",
        cross_check=find_absent_alphas,
    ),
    Rule(
        "alpha-zero",
        "Adapter without effect",
        ("warning",),
        "An alpha of 0 makes the scale (alpha divided by the rank) 0: what was trained is multiplied by nothing.",
        "peft 0.21: scaling; diffusers and ComfyUI multiply by the alpha tensor; kohya's sd-scripts never store 0",
        cross_check=find_without_effect,
    ),
)
