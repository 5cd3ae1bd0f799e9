"""Rules about the companions of quantised weights: a scale that is absent, or that has no weight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tui_params.core.findings import Finding, Severity
from tui_params.core.health.packings import Part, is_telling, part_of
from tui_params.core.health.pieces import is_piece
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint
from tui_params.core.kinds import kind_of, name_of_kind
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import are
from tui_params.core.text import name as shown_name

_WHOLE_FLOATS = frozenset({"float64", "float32", "float16", "bfloat16"})
_PACKED_INTS = frozenset({"int8", "uint8", "int32", "uint32"})
_NEEDED: frozenset[Part] = frozenset({"scale", "map", "state"})
"""Without one of these nobody can tell the values. The others may differ: a layer may be quantised otherwise."""

_OF_NESTED = ("nested_absmax", "nested_quant_map")
_OF_ABSMAX: dict[Part, str] = {"map": "quant_map", "state": "quant_state"}
"""What bitsandbytes stores beside absmax: ``QuantState.as_dict(packed=True)``."""

_FEWEST = 3
"""Of fewer weights none can be the odd one."""

_SHOWN = 200


class Packed:
    """The weights of a source and their companions, by the name that each weight would have unpacked."""

    def __init__(self, infos: Iterable[TensorInfo]) -> None:
        self.weights: dict[str, TensorInfo] = {}
        self.parts: dict[str, dict[Part, TensorInfo]] = {}
        self.is_packed: set[str] = set()
        for info in infos:
            owner, part = part_of(info.name)
            # LyCORIS calls the blocks of an orthogonal adapter oft_blocks.
            if part == "packed" and info.dtype.name not in _WHOLE_FLOATS:
                self.is_packed.add(owner)
            if part in ("weight", "packed"):
                self.weights.setdefault(owner, info)
            else:
                self.parts.setdefault(owner, {})[part] = info
        self._kinds: dict[str, list[str]] | None = None

    def kinds(self) -> Mapping[str, Sequence[str]]:
        """The owners of each kind in which at least one has a companion."""
        if self._kinds is None:
            found: dict[str, list[str]] = {kind_of(owner): [] for owner in self.parts}
            for owner in {**self.weights, **self.parts}:
                members = found.get(kind_of(owner))
                if members is not None:
                    members.append(owner)
            self._kinds = found
        return self._kinds

    def has(self, owner: str, part: Part) -> bool:
        return part in self.parts.get(owner, {})

    def stored_names(self, owners: Sequence[str]) -> tuple[str, str]:
        """The kind of the weights of some owners, and their names as one, both as they are stored: ``qweight``."""
        names = [self.weights[owner].name for owner in owners]
        # An owner of the same kind may be spelled otherwise, with more segments.
        alike = [name for name in names if kind_of(name) == kind_of(names[0])]
        return kind_of(names[0]), name_of_kind(alike)

    def is_like(self, owner: str, others: Sequence[str]) -> bool:
        """Whether a weight is stored as one of the others is, so that it needs what they have."""
        weight = self.weights[owner]
        if weight.unreadable is not None or weight.tied_to is not None:
            return False
        if not any(weight.dtype == self.weights[other].dtype for other in others):
            return False
        # bitsandbytes may store its bytes as any type, in one column.
        return weight.dtype.name not in _WHOLE_FLOATS or (weight.ndim == 2 and weight.shape[1] == 1)


def packed_in(checkpoint: Checkpoint) -> Packed:
    """The weights and companions of the whole source."""
    return Packed(checkpoint.source.listing.tensors)


def find_missing(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Weights without a companion that the others of their kind, or of their type, have."""
    packed = checkpoint.once(packed_in)
    if not (packed.parts or packed.is_packed) or is_piece(checkpoint):
        return
    told: set[str] = set()
    for owner, absent in _without_nested(packed, checkpoint.source.listing.tensors):
        told.add(owner)
        evidence = f"its absmax are codes of 8 bits, but {' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} "
        evidence += "absent: its values cannot be told"
        yield Finding("error", "companion-missing", packed.weights[owner].name, evidence)
    for owners in packed.kinds().values():
        stored = [owner for owner in owners if owner in packed.weights]
        parts: dict[Part, None] = {part: None for owner in stored for part in packed.parts.get(owner, {})}
        if len(stored) < 2:
            continue
        for part in parts:
            having = [owner for owner in stored if packed.has(owner, part)]
            lacking = [o for o in stored if not packed.has(o, part) and packed.is_like(o, having)]
            if not lacking:
                continue
            share = len(having) / len(stored)
            is_usual = len(stored) >= _FEWEST and share >= checkpoint.thresholds.pattern_share
            label = _label(packed.parts[having[0]][part].name, having[0])
            kind, where = packed.stored_names(having)
            for owner in lacking:
                severity = _severity(packed, owner, part, having, is_usual)
                if severity is not None and (part == "scale" or owner not in told):
                    told.add(owner)
                    evidence = (
                        f"it has no tensor {label}, but {len(having):,} of {len(stored):,} {shown_name(kind, _SHOWN)} "
                    )
                    evidence += f"{are(len(having), 'has', 'have')} one: {shown_name(where, _SHOWN)}"
                    yield Finding(severity, "companion-missing", packed.weights[owner].name, evidence)
    yield from _without_scale(packed, told)
    yield from _without_map(packed, told)


def _without_nested(packed: Packed, infos: Iterable[TensorInfo]) -> Iterator[tuple[str, list[str]]]:
    """Weights of bitsandbytes whose absmax are quantised themselves, without one of the two that restore these."""
    nested = {info.name for info in infos if info.name.endswith(_OF_NESTED)}
    for owner in packed.weights:
        scale = packed.parts.get(owner, {}).get("scale")
        if scale is None or not scale.name.endswith(".absmax") or scale.dtype.kind != "int":
            continue
        absent = [last for last in _OF_NESTED if f"{owner}.{last}" not in nested]
        if absent:
            yield owner, absent


def _without_map(packed: Packed, told: set[str]) -> Iterator[Finding]:
    """Weights of bitsandbytes without the table of their codes or without their state, as all others."""
    for owner, weight in packed.weights.items():
        parts = packed.parts.get(owner, {})
        scale = parts.get("scale")
        if owner in told or scale is None or not scale.name.endswith(".absmax"):
            continue
        absent = [label for part, label in _OF_ABSMAX.items() if part not in parts]
        if absent:
            evidence = f"it has an absmax, but no {' and no '.join(absent)}: its values cannot be told"
            yield Finding("error", "companion-missing", weight.name, evidence)


def _label(companion: str, owner: str) -> str:
    """The end of a companion's name after its module: ``weight_scale``, ``weight.absmax``, ``scales``."""
    module = owner.rpartition(".")[0]
    return shown_name(companion[len(module) + 1 :] if module else companion, 80)


def _severity(packed: Packed, owner: str, part: Part, having: Sequence[str], is_usual: bool) -> Severity | None:
    if part in _NEEDED:
        return "error"
    if part == "zero" and owner in packed.is_packed and packed.weights[owner].name.endswith(("qweight", "W_q")):
        return "error"
    if part == "global":
        # NVFP4 has two scales and MXFP4 one, whose type is another.
        scale = packed.parts.get(owner, {}).get("scale")
        others = [packed.parts[other].get("scale") for other in having]
        return "error" if scale and any(other and other.dtype == scale.dtype for other in others) else None
    return "warning" if is_usual else None


def _without_scale(packed: Packed, told: set[str]) -> Iterator[Finding]:
    """Weights without any scale, of a kind in which none has one."""
    groups: dict[tuple[str, str], list[str]] = {}
    for owner, weight in packed.weights.items():
        group = _group(owner, weight, owner in packed.is_packed)
        if group is not None:
            groups.setdefault(group, []).append(owner)
    for (dtype, leaf), owners in groups.items():
        having = [owner for owner in owners if packed.has(owner, "scale")]
        lacking = [owner for owner in owners if owner not in told and not packed.has(owner, "scale")]
        if not lacking or (leaf != "packed" and (not having or len(owners) < _FEWEST)):
            continue
        for owner in lacking:
            weight = packed.weights[owner]
            if not having:
                evidence = "it has no scale, and none of the packed weights here has one: its values cannot be told"
                yield Finding("warning", "companion-missing", weight.name, evidence)
                continue
            label = _label(packed.parts[having[0]]["scale"].name, having[0])
            is_sure = len(having) >= len(lacking) and "embed" not in owner and "lm_head" not in owner
            evidence = (
                f"it has no tensor {label}, but {len(having):,} of {len(owners):,} weights of type {dtype} "
                f"{are(len(having), 'has', 'have')} one, "
            )
            evidence += f"the first is {shown_name(packed.parts[having[0]]['scale'].name, _SHOWN)}"
            yield Finding("error" if is_sure else "warning", "companion-missing", weight.name, evidence)


def _group(owner: str, weight: TensorInfo, is_packed: bool) -> tuple[str, str] | None:
    """Which weights need the same companions; None for those that may be read as they are."""
    if weight.unreadable is not None or weight.tied_to is not None:
        return None
    name = weight.dtype.name
    if is_packed:
        return name, "packed"
    leaf = owner.rpartition(".")[2]
    is_low = name.startswith(("float8_e4", "float8_e5", "float4", "float6"))
    is_matrix = sum(size > 1 for size in weight.shape) >= 2
    if is_matrix and ((is_low and leaf.endswith(("weight", "proj"))) or (name in _PACKED_INTS and leaf == "weight")):
        return name, "weight"
    return None


def find_alone(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Companions whose weight is absent, although the companions of the others have theirs."""
    packed = checkpoint.once(packed_in)
    alone = [owner for owner in packed.parts if owner not in packed.weights]
    if not alone or len(alone) == len(packed.parts) or is_piece(checkpoint):
        return
    unknown = {
        owner
        for name in packed.weights
        for owner in (_before(name, "weight_"), name.rpartition(".")[0])
        if owner is not None
    }
    telling = [owner for owner, parts in packed.parts.items() if any(is_telling(info.name) for info in parts.values())]
    have = sum(owner in packed.weights for owner in telling)
    is_usual = bool(telling) and have >= checkpoint.thresholds.pattern_share * len(telling)
    of_telling = set(telling)
    kinds = packed.kinds()
    for owner in alone:
        first = next(iter(packed.parts[owner].values()))
        siblings = kinds[kind_of(owner)]
        having = [other for other in siblings if other in packed.weights]
        if owner in unknown:
            continue
        if having:
            kind, where = packed.stored_names(having)
            evidence = f"its weight is absent, but {len(having):,} of {len(siblings):,} {shown_name(kind, _SHOWN)} "
            evidence += f"{are(len(having))} here: {shown_name(where, _SHOWN)}"
        elif is_usual and owner in of_telling and "embed" not in owner and "lm_head" not in owner:
            other = next(other for other in telling if other in packed.weights)
            evidence = f"its weight is absent, but {have:,} of {len(telling):,} weights with companions are here, "
            evidence += f"the first is {shown_name(packed.weights[other].name, _SHOWN)}"
        else:
            continue
        yield Finding("error", "companion-alone", first.name, evidence)


def _before(name: str, mark: str) -> str | None:
    """``fc.weight`` of ``fc.weight_trellis``, a packing that is not known here."""
    head, dot, last = name.rpartition(".")
    return f"{head}{dot}{mark.rstrip('_')}" if last.startswith(mark) else None


_LIBRARIES = (
    "the layouts of bitsandbytes, compressed-tensors, torchao, quanto, HQQ, modelopt, GPTQ, AWQ, MLX, gpt-oss and of "
    "fp8 checkpoints (DeepSeek, ComfyUI); vllm and transformers read the scale beside each weight"
)

COMPANION_RULES: tuple[Rule, ...] = (
    Rule(
        "companion-missing",
        "No scale for a quantised weight",
        ("error", "warning"),
        "A quantised weight without the scale, zero points or state that others have: its values cannot be told.",
        _LIBRARIES,
        ("pattern_share",),
        cross_check=find_missing,
    ),
    Rule(
        "companion-alone",
        "Scale without its weight",
        ("error",),
        "A scale or another companion of a quantised weight that is absent, although the others are there.",
        _LIBRARIES,
        ("pattern_share",),
        cross_check=find_alone,
    ),
)
