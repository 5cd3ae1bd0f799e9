"""Opened: a source that is open, with what the screen needs to show it at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.source import Source
from tui_params.core.stored_codes import some_are_codes
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.leaves import LeafColumns
from tui_params.core.tree.order import Sort
from tui_params.core.tree.totals import tensors_among
from tui_params.core.tree.tree import Tree
from tui_params.tui.state.columns import Content, content_for

if TYPE_CHECKING:
    from tui_params.core.compare.both import BothSources


class LoweredNames:
    """The names of some tensors in lower case, made when a filter first needs them."""

    def __init__(self, tensors: Sequence[TensorInfo]) -> None:
        self._tensors = tensors

    @cached_property
    def all(self) -> tuple[str, ...]:
        return tuple([info.name.lower() for info in self._tensors])


class Opened(msgspec.Struct, frozen=True):
    """A source with its tree built, all made off the thread of the screen.

    ``tensors`` are in the order of the tree; ``positions`` are their places among its leaves, and ``lowered`` their
    names. ``content`` is what the columns need. ``both`` is the source if it is two that are compared.
    """

    source: Source
    tree: Tree
    tensors: Sequence[TensorInfo]
    positions: Sequence[int]
    lowered: LoweredNames
    content: Content
    both: BothSources | None = None
    unreadable: Sequence[TensorInfo] = ()
    """Those of the tensors whose values cannot be read."""
    has_codes: bool = False
    """Whether some of the tensors look like the codes of packed weights."""


def prepare(
    source: Source, sort: Sort | None = None, both: BothSources | None = None, tree: Tree | None = None
) -> Opened:
    """Build the tree of a source, in its natural order or another, unless it is given."""
    with collector_paused():
        tree = tree if tree is not None else Tree(source.listing, sort)
        tensors, positions = tensors_among(tree.leaves, range(len(tree.leaves)))
        is_plain = isinstance(tree.leaves, LeafColumns)
        alike = tree.leaves.tensors.forms if isinstance(tree.leaves, LeafColumns) else tensors
        content = content_for({each.shape for each in alike}, tree.sums, is_trained=source.beat() is not None)
        unreadable = () if is_plain else tuple([info for info in tensors if info.unreadable is not None])
        has_codes = some_are_codes(source.listing.tensors, source.listing.dequantized)
        return Opened(source, tree, tensors, positions, LoweredNames(tensors), content, both, unreadable, has_codes)
