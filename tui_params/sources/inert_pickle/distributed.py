"""Tensors of which a file has one rank's part: DTensor (FSDP2, tensor parallelism) and ShardedTensor (FSDP1).

Which part it is follows from what torch pickles with it. DTensor: the mesh of ranks, the coordinate of this one, and a
placement for each dimension of the mesh (torch/distributed/tensor/_utils.py, compute_local_shape_and_global_offset).
ShardedTensor: offsets and sizes of each shard (torch/distributed/_shard/sharded_tensor/api.py, ``__getstate__``).
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from tui_params.core.piece import LocalPart
from tui_params.core.tensor import MAX_NDIM
from tui_params.sources.inert_pickle.values import UNFIT, Composite, Obj, Storage, Stub, TensorValue, render

_MAX_SHARDS = 64
"""Local shards of one ShardedTensor, and boxes of one DTensor: a rank has one, or a few with strided placements."""

_MAX_NUMBER = (1 << 62) - 1

Run = tuple[int, int]
"""The first of some indices that follow each other, and how many they are."""


def distributed_tensor(kind: str, whole: Composite, attributes: dict[Any, Any]) -> Composite:
    """The local part of a DTensor, whose attributes these are."""
    spec = attributes.get("_spec")
    notes = _placement_notes(spec)
    parts = {"": attributes["_local_tensor"]}
    # A tuple would pass for the state of a ShardedTensor.
    layout = spec if type(spec) is Obj else None
    return Composite(kind, whole.shape, parts, whole.dtype, is_local=True, notes=notes, layout=layout)


def sharded_tensor(kind: str, whole: Composite, state: Any) -> Any:
    """The local shards of a ShardedTensor, as FSDP1 saves its SHARDED_STATE_DICT; ``UNFIT`` if it is none.

    The state is (local shards, metadata, process group, ...).
    """
    shards = state[0] if type(state) is tuple and state else None
    if type(shards) is not list or len(shards) > _MAX_SHARDS:
        return UNFIT
    parts: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    for number, shard in enumerate(shards):
        parts["" if len(shards) == 1 else f"shard_{number}"] = attributes_of(shard).get("tensor")
        offsets = attributes_of(attributes_of(shard).get("metadata")).get("shard_offsets")
        notes += (f"from {render(offsets, 1)} on",) * (type(offsets) is list)
    return Composite(kind, whole.shape, parts, whole.dtype, is_local=True, notes=notes[:8], layout=state)


def local_parts(value: Composite, name: str) -> dict[str, LocalPart]:
    """Which elements of the whole each part of ``value`` is, by the keys of the parts; those that are not known lack.

    ``name`` is that of the whole.
    """
    shape = _numbers(value.shape)
    if shape is None:
        return {}
    if type(value.layout) is tuple:
        return _of_shards(value.layout, name, shape)
    found = _of_spec(value.layout, name, shape)
    return {} if found is None else {"": found}


def _of_shards(state: tuple[Any, ...], name: str, shape: tuple[int, ...]) -> dict[str, LocalPart]:
    group = attributes_of(state[2]) if len(state) > 2 else {}
    rank, ranks = _count(group.get("local_rank")), _count(group.get("local_world_size"))
    found: dict[str, LocalPart] = {}
    zeros = (0,) * len(shape)
    for number, shard in enumerate(state[0]):
        box = attributes_of(attributes_of(shard).get("metadata"))
        start, lengths = _numbers(box.get("shard_offsets")), _numbers(box.get("shard_sizes"))
        if start is None or lengths is None or not _is_within(start, lengths, shape):
            continue
        boxes = ((start, lengths, zeros),) if prod(lengths) else ()
        key = "" if len(state[0]) == 1 else f"shard_{number}"
        found[key] = LocalPart(name, shape, boxes, rank, ranks)
    return found


def _of_spec(spec: Any, name: str, shape: tuple[int, ...]) -> LocalPart | None:
    fields = attributes_of(spec)
    mesh = attributes_of(fields.get("mesh"))
    if "tensor_meta" not in fields or not all(map(_is_of_torch, (spec, fields.get("mesh"), fields.get("tensor_meta")))):
        return None
    meta = fields.get("tensor_meta")
    if meta is not None and (type(meta.args) is not tuple or not meta.args or _numbers(meta.args[0]) != shape):
        return None
    if not _fits(mesh.get("_rank_map", mesh.get("mesh"))) or not _are_texts(mesh.get("_dim_group_names")):
        return None
    sizes, coordinate = _mesh_shape(mesh), _numbers(mesh.get("_coordinate_on_dim"))
    placements = fields.get("placements")
    if sizes is None or coordinate is None or type(placements) is not tuple:
        return None
    if not len(sizes) == len(coordinate) == len(placements) or not _is_usual_order(fields.get("shard_order")):
        return None
    runs: list[list[Run]] = [[(0, length)] for length in shape]
    for size, at, placement in zip(sizes, coordinate, placements, strict=True):
        kind, dim, factor = _placement(placement)
        if kind == "Replicate":
            continue
        if kind not in ("Shard", "_StridedShard") or not 0 <= at < size or not 0 <= dim < len(shape):
            return None
        cut = _every(runs[dim], size, at, factor) if kind == "_StridedShard" else _share(runs[dim], size, at)
        if cut is None:
            return None
        runs[dim] = cut
    if prod(map(len, runs)) > _MAX_SHARDS:
        return None
    return LocalPart(name, shape, tuple(_boxes(runs)), _count(mesh.get("_rank")), prod(sizes))


def _boxes(runs: list[list[Run]]) -> list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """The boxes that the runs of each dimension are together: start in the whole, lengths, start in the part."""
    local: list[list[tuple[int, int, int]]] = []
    for each in runs:
        at = 0
        local.append([])
        for start, length in each:
            if length:
                local[-1].append((start, length, at))
            at += length
    return [
        (tuple(run[0] for run in box), tuple(run[1] for run in box), tuple(run[2] for run in box))
        for box in product(*local)
    ]


def _share(runs: list[Run], count: int, at: int) -> list[Run]:
    """The share number ``at`` of ``count``, as torch.chunk cuts."""
    total = sum(length for _, length in runs)
    step = -(-total // count)
    return _between(runs, min(at * step, total), min(at * step + step, total))


def _every(runs: list[Run], count: int, at: int, factor: int) -> list[Run] | None:
    """_StridedShard: the share of each of ``factor`` pieces; None if they are too many."""
    total = sum(length for _, length in runs)
    if not 1 <= factor <= _MAX_SHARDS:
        return None
    wide = -(-total // factor)
    found: list[Run] = []
    for number in range(factor):
        low, high = min(number * wide, total), min(number * wide + wide, total)
        step = -(-(high - low) // count)
        for start, length in _between(runs, min(low + at * step, high), min(low + at * step + step, high)):
            if found and sum(found[-1]) == start:
                found[-1] = (found[-1][0], found[-1][1] + length)
            else:
                found.append((start, length))
    return found if len(found) <= _MAX_SHARDS else None


def _between(runs: list[Run], low: int, high: int) -> list[Run]:
    """The runs that the indices number ``low`` to ``high`` are."""
    found: list[Run] = []
    at = 0
    for start, length in runs:
        first, last = max(low, at), min(high, at + length)
        if first < last:
            found.append((start + first - at, last - first))
        at += length
    return found


def _is_of_torch(value: Any) -> bool:
    """Whether it is nothing, or an object of a class of torch.distributed."""
    if value is None:
        return True
    return type(value) is Obj and type(value.cls) is Stub and value.cls.module.startswith("torch.distributed.")


def _fits(ranks: Any) -> bool:
    """Whether the tensor of the numbers of ranks lies in its storage, as torch needs it to know the mesh."""
    if type(ranks) is not TensorValue:
        return True
    shape, stride = _numbers(ranks.shape), _numbers(ranks.stride)
    numel = ranks.storage.numel if type(ranks.storage) is Storage else None
    if shape is None or stride is None or len(shape) != len(stride) or type(ranks.offset) is not int:
        return False
    last = ranks.offset + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
    return not prod(shape) or (type(numel) is int and 0 <= ranks.offset <= last < numel)


def _are_texts(names: Any) -> bool:
    return names is None or (type(names) in (list, tuple) and all(type(name) is str for name in names[:MAX_NDIM]))


def _mesh_shape(mesh: dict[Any, Any]) -> tuple[int, ...] | None:
    """The sizes of the mesh of ranks: of its tensor, before torch 2.9, or of its layout."""
    ranks = mesh.get("mesh")
    if type(ranks) is TensorValue:
        return _numbers(ranks.shape)
    layout = attributes_of(mesh.get("_layout"))
    axes = layout.get("axes")
    if not _is_of_torch(mesh.get("_layout")):
        return None
    if type(axes) is tuple:
        if not all(map(_is_of_torch, axes[:MAX_NDIM])):
            return None
        shapes = [_flat(attributes_of(axis).get("shape")) for axis in axes[:MAX_NDIM]]
    else:
        shape = layout.get("shape")
        shapes = [_flat(each) for each in (shape[:MAX_NDIM] if type(shape) is tuple else (shape,))]
    return None if None in shapes else tuple([prod(each) for each in shapes if each is not None])


def _flat(shape: Any) -> tuple[int, ...] | None:
    return (shape,) if type(shape) is int and 0 < shape <= _MAX_NUMBER else _numbers(shape)


def _placement(value: Any) -> tuple[str, int, int]:
    """The class of a placement, its dimension of the tensor, and its split factor; -1 where it has none."""
    if type(value) is not Obj or type(value.cls) is not Stub:
        return "", -1, -1
    fields = attributes_of(value)
    dim = fields.get("dim", value.args[0] if type(value.args) is tuple and value.args else -1)
    factor = fields.get("split_factor", -1)
    return value.cls.name, dim if type(dim) is int else -1, factor if type(factor) is int else -1


def _is_usual_order(order: Any) -> bool:
    """Whether dimensions of the mesh cut a dimension of the tensor from left to right, as they do unless it says so."""
    if type(order) is not tuple:
        return order is None
    for entry in order:
        is_entry = type(entry) is Obj and _is_of_torch(entry) and type(entry.args) is tuple and len(entry.args) > 1
        dims = entry.args[1] if is_entry else None
        dims = _numbers(dims)
        if dims is None or list(dims) != sorted(dims):
            return False
    return True


def _placement_notes(spec: Any) -> tuple[str, ...]:
    placements = attributes_of(spec).get("placements")
    if type(placements) is not tuple:
        return ()
    words = []
    for placement in placements[:8]:
        kind, dim, _ = _placement(placement)
        words.append(f"{kind or '?'}({dim})" if dim >= 0 else f"{kind or '?'}()")
    return (f"placements {', '.join(words)}",)


def attributes_of(value: Any) -> dict[Any, Any]:
    """The attribute dict of an object or of its state: itself, or one of a (``__dict__``, slots) pair."""
    state = value.state if type(value) is Obj else value
    if type(state) is dict:
        return state
    if type(state) is tuple and len(state) == 2:
        for part in reversed(state):
            if type(part) is dict and part:
                return part
    return {}


def _numbers(value: Any) -> tuple[int, ...] | None:
    """Sizes or offsets; None if they are none."""
    if type(value) not in (tuple, list) or len(value) > MAX_NDIM:
        return None
    return tuple(value) if all(type(each) is int and 0 <= each <= _MAX_NUMBER for each in value) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _MAX_NUMBER else None


def _is_within(start: tuple[int, ...], lengths: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    if not len(start) == len(lengths) == len(shape):
        return False
    return all(begin + length <= dim for begin, length, dim in zip(start, lengths, shape, strict=True))
