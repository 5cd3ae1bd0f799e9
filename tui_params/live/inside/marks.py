"""Marks of leaves, which differ where a tensor was replaced, moved or written to; and what two looks at them say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .anatomy import Body, body_of, mark_of
from .arrays import Unread
from .leaves import Leaf
from .packed import is_packed

Mark = tuple[Any, ...]


def body_of_leaf(leaf: Leaf) -> Body | None:
    """All that is asked of an ordinary tensor, in one go; None of any other leaf."""
    return None if leaf.origin else body_of(leaf.tensor)


def mark_of_leaf(leaf: Leaf, body: Body | None = None) -> Mark:
    """The mark of a leaf, the same with or without its ``body``; the version is last."""
    if body is not None:
        return body.mark
    if is_packed(leaf.tensor) or type(leaf.tensor) is Unread or (leaf.kind == "array" and leaf.origin):
        return leaf.origin or id(leaf.tensor), -1
    return mark_of(leaf.tensor)


def what_changed(old: Mapping[str, Mark], new: Mapping[str, Mark]) -> str | None:
    """One sentence if tensors were added, removed, replaced or written to between the looks, else None."""
    if new.keys() != old.keys():
        first = next(iter(new.keys() ^ old.keys()))
        return (
            f"there are other tensors than when it was opened: {len(new.keys() - old.keys())} are new and "
            f"{len(old.keys() - new.keys())} are gone, {first} among them"
        )
    moved = [name for name, mark in new.items() if mark[:-1] != old[name][:-1]]
    if moved:
        return f"{_tensors(len(moved))} replaced or moved since this was opened, first {moved[0]}"
    written = [name for name, mark in new.items() if mark != old[name]]
    if written:
        return f"{_tensors(len(written))} written to since this was opened, first {written[0]}"
    return None


def _tensors(count: int) -> str:
    return "1 tensor was" if count == 1 else f"{count} tensors were"
