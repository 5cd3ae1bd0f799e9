"""Which parameter the numbered states of an optimizer belong to, where the model lies beside it.

``Optimizer.state_dict()`` numbers parameters through all groups, each in the order in which they were given. Trainer
gives two groups, with and without weight decay, each in the order of the model (transformers/trainer.py,
``get_decay_parameter_names``). A name is given only if it is the only one possible; else the possible ones are listed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, listed
from tui_params.sources.folder.composite import Part
from tui_params.sources.folder.run.definition_order import in_order_of_definition

_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_LAYER = re.compile(r"(^|\.)(\d{1,6})\.")
_MOST = 100_000
"""Parameters of models that are matched."""

_SHOWN = 4
_BY_LAYERS = " (by shapes and the order of layers)"

Shape = tuple[int, ...]


class Named(msgspec.Struct, frozen=True):
    """The names that a state may belong to, and how they were found, for the notes; empty if that proves nothing."""

    names: tuple[str, ...]
    how: str = ""

    @property
    def note(self) -> str:
        if len(self.names) == 1:
            return f"state of {self.names[0]}{self.how}" if self.how else f"perhaps the state of {self.names[0]}"
        return f"state of one of {listed([clean(name, 120) for name in self.names], _SHOWN)}"


class Model(msgspec.Struct, frozen=True):
    """The parameters of one model by name, in the order of the file; ``is_ordered``: which is that of the model."""

    shapes: Mapping[str, Shape]
    norms: frozenset[str]
    is_ordered: bool
    model_type: str = ""


def name_states(models: Iterable[Part], states: Iterable[Part]) -> None:
    """Add a note to each state of an optimizer that says which parameter of one of the models it belongs to."""
    known = [model for part in models for model in _models_in(part.source.listing)]
    for part in states:
        listing = part.source.listing
        if not listing.groups or not known:
            continue
        tensors = list(listing.tensors)
        for prefix, groups in listing.groups.items():
            _name_group_states(tensors, prefix, groups, known)
        part.source.listing = msgspec.structs.replace(listing, tensors=tuple(tensors))


def _models_in(listing: Listing) -> list[Model]:
    if len(listing.tensors) > _MOST:
        return []
    sets = [listing.tensors]
    if listing.models:
        sets = [tuple(info for info in listing.tensors if info.file in files) for files in listing.models.values()]
    return [_model(infos, listing) for infos in sets]


def _model(tensors: Sequence[TensorInfo], listing: Listing) -> Model:
    names = {info.name for info in tensors}
    shapes = {
        info.name: info.shape
        for info in tensors
        if info.kind not in ("buffer", "array")
        and info.tied_to is None
        and info.dtype.kind in ("float", "complex")
        and not info.name.endswith(_BUFFERS)
    }
    # A gain with a bias of its shape, and no running statistics, is that of a torch.nn.LayerNorm.
    norms = [
        name
        for name, shape in shapes.items()
        if name.endswith(".weight")
        and len(shape) == 1
        and shapes.get(f"{name[:-6]}bias") == shape
        and f"{name[:-6]}running_mean" not in names
    ]
    return Model(shapes, frozenset(norms), listing.is_ordered, listing.metadata.get("config.model_type", ""))


def _name_group_states(
    tensors: list[TensorInfo], prefix: str, groups: Sequence[Sequence[int]], models: Sequence[Model]
) -> None:
    below = f"{prefix}.state." if prefix else "state."
    members: dict[int, list[int]] = {}
    for position, info in enumerate(tensors):
        digits = info.name[len(below) :].partition(".")[0] if info.name.startswith(below) else ""
        if digits.isdecimal() and len(digits) < 9:
            if any(note.startswith("state of ") for note in info.notes):
                return
            members.setdefault(int(digits), []).append(position)
    shapes = {index: _shape([tensors[position] for position in positions]) for index, positions in members.items()}
    found = [named for model in models if (named := match(groups, shapes, model)) is not None]
    if not found:
        found = [named for model in models if (named := match_shapes(shapes, model)) is not None]
    if len(found) != 1:
        return
    for index, positions in members.items():
        if index in found[0]:
            for position in positions:
                info = tensors[position]
                tensors[position] = msgspec.structs.replace(info, notes=(*info.notes, found[0][index].note))


def _shape(states: Iterable[TensorInfo]) -> Shape | None:
    shapes = {info.shape for info in states if info.shape not in ((), (1,))}
    return shapes.pop() if len(shapes) == 1 else None


def match(groups: Sequence[Sequence[int]], shapes: Mapping[int, Shape | None], model: Model) -> dict[int, Named] | None:
    """The possible names by number; None if this is not the model, or if its parameters were grouped in another way.

    ``shapes`` are those of the states by number, None where there is none of that shape.
    """
    groups = [group for group in groups if group]
    indices = [index for group in groups for index in group]
    if not indices or len(set(indices)) != len(indices) or len(indices) != len(model.shapes):
        return None
    parts = _split(groups, model)
    if parts is None:
        return None
    order = list(model.shapes) if model.is_ordered else in_order_of_definition(model.shapes, model.model_type)
    found: dict[int, Named] = {}
    for group, names in zip(groups, parts, strict=True):
        if order is not None:
            ranked = [name for name in order if name in names]
            if not _agree(ranked, group, shapes, model):
                return None
            how = " (by order and shapes)" if model.is_ordered else " (by the order of the model and shapes)"
            found |= {index: Named((name,), how) for index, name in zip(group, ranked, strict=True)}
            continue
        by_shape = _by_shape(group, names, shapes, model)
        if by_shape is None:
            return None
        found |= by_shape
    return found


def match_shapes(shapes: Mapping[int, Shape | None], model: Model) -> dict[int, Named] | None:
    """The parameters of the shape of each state, where some were not trained or the groups are others.

    None if they cannot all be of this model.
    """
    by_shape: dict[Shape, list[str]] = {}
    for name, shape in model.shapes.items():
        by_shape.setdefault(shape, []).append(name)
    counts = Counter(shape for shape in shapes.values() if shape is not None)
    if not counts or any(count > len(by_shape.get(shape, ())) for shape, count in counts.items()):
        return None
    named = {shape: Named(tuple(by_shape[shape])) for shape in counts}
    return {index: named[shape] for index, shape in shapes.items() if shape is not None}


def _agree(names: Sequence[str], group: Sequence[int], shapes: Mapping[int, Shape | None], model: Model) -> bool:
    """Whether every state has the shape of its parameter; at least one says its shape."""
    seen = [
        (shapes.get(index), model.shapes[name])
        for name, index in zip(names, group, strict=True)
        if shapes.get(index) is not None
    ]
    return bool(seen) and all(state == due for state, due in seen)


def _split(groups: Sequence[Sequence[int]], model: Model) -> list[set[str]] | None:
    """The names that each group must have, as Trainer forms them; one group has all."""
    if len(groups) == 1:
        return [set(model.shapes)]
    without = {name for name in model.shapes if name in model.norms or _NO_DECAY.search(name.lower())}
    parts = [set(model.shapes) - without, without]
    return parts if [len(part) for part in parts] == [len(group) for group in groups] else None


def _by_shape(
    group: Sequence[int], names: set[str], shapes: Mapping[int, Shape | None], model: Model
) -> dict[int, Named] | None:
    """The names of a group whose order is not known, but for layers: these follow each other by their numbers."""
    of_shape: dict[Shape, list[int]] = {}
    for index in group:
        shape = shapes.get(index)
        if shape is None:
            return None
        of_shape.setdefault(shape, []).append(index)
    if Counter(model.shapes[name] for name in names) != {shape: len(found) for shape, found in of_shape.items()}:
        return None
    found: dict[int, Named] = {}
    for shape, indices in of_shape.items():
        alike = [name for name in names if model.shapes[name] == shape]
        layers = _layers(alike)
        size = len(alike) // len(layers)
        for number, index in enumerate(indices):
            found[index] = Named(tuple(sorted(layers[number // size])), _BY_LAYERS)
    _settle_adapters(found, group)
    return found


def _settle_adapters(found: dict[int, Named], group: Sequence[int]) -> None:
    """Name the half of an adapter that stands beside the other one: peft defines ``lora_A``, then ``lora_B``."""
    for one, other, step in (("lora_B", "lora_A", -1), ("lora_A", "lora_B", 1)):
        for place, index in enumerate(group):
            names = found[index].names
            if len(names) != 1 or f".{one}." not in names[0] or not 0 <= place + step < len(group):
                continue
            half = names[0].replace(f".{one}.", f".{other}.")
            beside = group[place + step]
            if half in found[beside].names:
                found[beside] = Named((half,), _BY_LAYERS)


def _layers(names: Sequence[str]) -> list[list[str]]:
    """The names layer by layer, if each layer has as many of them; else all together."""
    stacks: dict[str, dict[int, list[str]]] = {}
    for name in names:
        match = _LAYER.search(name)
        if match is None:
            return [list(names)]
        stacks.setdefault(name[: match.start(2)], {}).setdefault(int(match[2]), []).append(name)
    if len(stacks) != 1:
        return [list(names)]
    (layers,) = stacks.values()
    if len({len(layer) for layer in layers.values()}) != 1:
        return [list(names)]
    return [layers[number] for number in sorted(layers)]
