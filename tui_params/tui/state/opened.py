"""Opened: a source that is open, with what the screen needs to show it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.order import Sort
from tui_params.core.tree.tree import Tree
from tui_params.tui.state.columns import Content, content_of

if TYPE_CHECKING:
    from tui_params.core.compare.both import BothSources


class Opened(msgspec.Struct, frozen=True):
    """A source with its tree built, all made off the thread of the screen.

    ``tensors`` are in the order of the tree; ``positions`` are their places among its leaves, and ``lowered`` their
    names in lower case. ``content`` is what the columns need. ``both`` is the source if it is two that are compared.
    """

    source: Source
    tree: Tree
    tensors: tuple[TensorInfo, ...]
    positions: tuple[int, ...]
    lowered: tuple[str, ...]
    content: Content
    both: BothSources | None = None


def prepare(source: Source, sort: Sort | None = None, both: BothSources | None = None) -> Opened:
    """Build the tree of a source, in its natural order or another."""
    with collector_paused():
        tree = Tree(source.listing, sort)
        positions = [place for place, leaf in enumerate(tree.leaves) if isinstance(leaf, TensorInfo)]
        is_trained = source.beat() is not None
        tensors = tuple(leaf for leaf in tree.leaves if isinstance(leaf, TensorInfo))
        lowered = tuple(info.name.lower() for info in tensors)
        content = content_of(tensors, is_trained=is_trained)
        return Opened(source, tree, tensors, tuple(positions), lowered, content, both)
