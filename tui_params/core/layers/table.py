"""LayerTable: the tensors of a source by kind and by layer, before any of them is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tui_params.core.kinds import KindGroup, Members, group_of, members_by_kind
from tui_params.core.layers.planes import Plane, Stacked, layer_axis, planes_of, stacked
from tui_params.core.tensor import TensorInfo


class LayerTable(msgspec.Struct, frozen=True):
    """``kinds``, ``members`` and ``stacks`` are side by side, a kind each; ``rows`` are the layers of each stack.

    ``varying`` says which numbers of a kind tell its tensors apart.
    ``left_out`` counts the tensors that are in no plane: they have no layer.
    """

    tensors: tuple[TensorInfo, ...]
    position: Mapping[str, int]
    kinds: tuple[KindGroup, ...]
    members: tuple[Members, ...]
    stacks: tuple[Stacked | None, ...]
    varying: tuple[tuple[int, ...], ...]
    rows: Mapping[str, tuple[int, ...]]
    planes: tuple[Plane, ...]
    left_out: int

    def label(self, kind: int, place: int) -> str:
        """What tells a tensor of a kind from the others: its layer, and its expert (``17``, ``17.203``)."""
        numbers = self.members[kind].numbers
        return ".".join(numbers[at][place][:18] for at in self.varying[kind]) or "it"


def _varying(members: Members) -> tuple[int, ...]:
    axis = layer_axis(members)
    return tuple(at for at, column in enumerate(members.numbers) if at == axis or len(set(column)) > 1)


def table_of(infos: Sequence[TensorInfo]) -> LayerTable:
    """The table of some tensors, in their order."""
    names = [info.name for info in infos]
    members = members_by_kind(names)
    stacks = tuple(map(stacked, members))
    planes = planes_of(members)
    layers: dict[str, set[int]] = {}
    for stack in stacks:
        if stack is not None:
            layers.setdefault(stack.stack, set()).update(stack.layers)
    return LayerTable(
        tuple(infos),
        dict(zip(names, range(len(names)), strict=True)),
        tuple(group_of(some, infos) for some in members),
        members,
        stacks,
        tuple(map(_varying, members)),
        {stack: tuple(sorted(numbers)) for stack, numbers in layers.items()},
        planes,
        len(names) - sum(len(plane.tensors) for plane in planes),
    )
