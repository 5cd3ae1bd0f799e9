"""Groups the changes of a comparison by kind: what happened to ``layers.#.mlp.up_proj.weight`` as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from tui_params.core.compare.comparer import Comparison
from tui_params.core.compare.verdict import Change
from tui_params.core.kinds import kind_of


class KindChange(msgspec.Struct, frozen=True):
    """The tensors of one kind that both sources have.

    ``count`` is how many there are; ``changed``, ``equal``, ``identical`` and ``uncompared`` add up to it.
    ``max_abs`` and ``relative_l2`` are the largest, ``cosine`` the smallest of the tensors that changed. Each is None
    if no tensor has it; ``relative_l2`` also if a tensor was zero before, which makes it infinite.
    ``changed_elements`` of all ``elements`` that were compared changed, identical tensors included.
    ``other_shape``, ``other_dtype``, ``new_nan``, ``new_inf`` and ``unread`` count the changed tensors with another
    shape, another element type, new NaN, new infinities, and values that could not be compared; ``became_nan``,
    ``became_inf`` and ``became_zero`` the elements of all of them. ``worst`` is the tensor that changed most, see
    ``change_rank``.
    """

    kind: str
    count: int
    changed: int
    equal: int
    identical: int
    uncompared: int
    max_abs: float | None
    relative_l2: float | None
    cosine: float | None
    elements: int
    changed_elements: int
    other_shape: int
    other_dtype: int
    new_nan: int
    new_inf: int
    unread: int
    worst: Change | None
    became_nan: int
    became_inf: int
    became_zero: int


class _Group:
    """What is known of a kind so far."""

    def __init__(self) -> None:
        self.changed: list[Change] = []
        self.equal: list[Change] = []
        self.identical = self.identical_elements = self.uncompared = 0


def group_changes(comparison: Comparison) -> tuple[KindChange, ...]:
    """The kinds of all tensors that both sources have: the largest changes first, then in the order of the sources."""
    groups: dict[str, _Group] = {}

    def group(name: str) -> _Group:
        return groups.setdefault(kind_of(name), _Group())

    for change in comparison.changed:
        group(change.name).changed.append(change)
    for change in comparison.equal:
        group(change.name).equal.append(change)
    for name in comparison.identical:
        found = group(name)
        found.identical += 1
        found.identical_elements += comparison.identical_counts.get(name, 0)
    for uncompared in comparison.uncompared:
        if uncompared.side is not None:
            continue
        group(uncompared.name).uncompared += 1
    kinds = [_kind_change(kind, found) for kind, found in groups.items()]
    # Sorting is stable: kinds without a change keep the order of the sources.
    return tuple(sorted(kinds, key=lambda kind: change_rank(kind.worst) if kind.worst else (), reverse=True))


def _kind_change(kind: str, group: _Group) -> KindChange:
    changed, equal = group.changed, group.equal
    compared = [change.difference for change in (*changed, *equal) if change.difference is not None]
    figures = [change.difference for change in changed if change.difference is not None]
    was_zero = any(figure.relative_l2 is None and figure.max_abs for figure in figures)
    return KindChange(
        kind,
        len(changed) + len(equal) + group.identical + group.uncompared,
        len(changed),
        len(equal),
        group.identical,
        group.uncompared,
        _most(figure.max_abs for figure in figures),
        None if was_zero else _most(figure.relative_l2 for figure in figures),
        _least(figure.cosine for figure in figures),
        group.identical_elements + sum(difference.count for difference in compared),
        sum(figure.changed for figure in figures),
        sum(change.shape_a != change.shape_b for change in changed),
        sum(change.dtype_a != change.dtype_b for change in changed),
        sum(figure.became_nan > 0 for figure in figures),
        sum(figure.became_inf > 0 for figure in figures),
        sum(change.reason is not None for change in changed),
        max(changed, key=change_rank, default=None),
        sum(figure.became_nan for figure in figures),
        sum(figure.became_inf for figure in figures),
        sum(figure.became_zero for figure in figures),
    )


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def change_rank(change: Change) -> tuple[float, ...]:
    """A sort key: larger for another shape, then for new NaN and infinities, then by the relative L2 norm."""
    difference = change.difference
    if difference is None:
        return (3.0 if change.change == "shape" else 2.0, 0.0, 0.0)
    broken = difference.became_nan + difference.became_inf
    relative = difference.relative_l2
    return (1.0 if broken else 0.0, math.inf if relative is None else relative, difference.max_abs or 0.0)
