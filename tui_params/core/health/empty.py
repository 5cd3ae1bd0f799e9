"""Tensors without elements: weights that were lost, and places that are kept free on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tui_params.core.findings import Finding
from tui_params.core.health.roles import PARAMETERS, Role
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint
from tui_params.core.kinds import kind_of
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import shape

_WEIGHTS = frozenset({"weight", "qweight", "weight_packed", "in_proj_weight", "weight_g", "weight_v"})
"""What torch.nn and quantised layouts call a weight. Buffers, biases and anchors may be empty until they are used."""

_PIECES = {
    "FSDP: ": "FSDP",
    "DTensor: ": "DTensor",
    "the local part of a ": "DTensor",
    "DeepSpeed stage 3: ": "DeepSpeed stage 3",
}
"""How the note of a tensor begins that is one rank's piece of a larger one, and who cut that."""

_ROLES: frozenset[Role] = PARAMETERS | {"other"}
"""Packed weights have an integer type, and with it the role "other"."""


def placeholder(info: TensorInfo, metadata: Mapping[str, str]) -> str | None:
    """Why a tensor without elements stands for one whose values are elsewhere, one sentence; None if it does not.

    DeepSpeed's stage 3 keeps every parameter in pieces and saves an empty one of shape [0] in its place, beside the
    real shapes (``param_shapes``). A rank of a job may hold no piece of a live parameter.
    """
    if info.numel:
        return None
    way = next((way for note in info.notes for start, way in _PIECES.items() if note.startswith(start)), None)
    if way is not None:
        return f"this rank holds no piece of it ({way})"
    if info.shape == (0,) and info.name.startswith("module.") and "ds_version" in metadata:
        return "an empty place: DeepSpeed's stage 3 keeps the values in the optimizer files of all ranks"
    return None


def nothing_checked(tensors: int) -> str:
    """Why a source in which no element was checked is not healthy, one sentence."""
    if not tensors:
        return "it has no tensors, so nothing was checked"
    none = "its one tensor has no element" if tensors == 1 else f"none of its {tensors:,} tensors has an element"
    return f"{none}, so nothing was checked"


def find_empty_weights(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Weights without elements; what ``placeholder`` explains has no sketch."""
    held = _held_elsewhere(checkpoint)
    for sketch in checkpoint.sketches:
        if sketch.info.name.partition(".")[2] in held:
            continue
        if sketch.count or sketch.role not in _ROLES or sketch.info.kind == "buffer":
            continue
        if sketch.info.name.rpartition(".")[2] not in _WEIGHTS:
            continue
        kind = kind_of(sketch.info.name)
        members = checkpoint.sketches_by_kind[kind]
        others = sum(member.count > 0 for member in members)
        evidence = f"its shape is {shape(sketch.info.shape)}: it has no element"
        # Layers that are made for a number of levels have no outputs where a model has no level (LW-DETR).
        if sketch.role == "zero_init" and not others:
            continue
        if others:
            evidence += f", unlike {others:,} of {len(members):,} {kind}"
        else:
            evidence += ", as when a rank saves its empty view of a sharded weight"
        yield sketch.finding("error", "empty-weight", evidence)


def _held_elsewhere(checkpoint: Checkpoint) -> set[str]:
    """Names below that of a file, where each file is what one rank saved: some other rank has elements of it."""
    if not any(finding.rule == "model-slices" for finding in checkpoint.source.listing.findings):
        return set()
    return {sketch.info.name.partition(".")[2] for sketch in checkpoint.sketches if sketch.count}


EMPTY_RULES: tuple[Rule, ...] = (
    Rule(
        "empty-weight",
        "Empty weight",
        ("error",),
        "A weight without elements was not saved. Buffers, biases and optimizer states may be empty on purpose.",
        "transformers: save_pretrained of a ZeRO-3 model without gathering writes weights of shape [0]",
        cross_check=find_empty_weights,
    ),
)
