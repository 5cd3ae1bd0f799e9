"""Changes: how each tensor has moved since an earlier look, as far as that is known, and how many of each module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tui_params.core import text
from tui_params.core.tree.tree import Tree

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change


class Changes:
    """The changes by name of a tensor or gradient. ``since`` says in words since when; empty without an earlier look.

    Counted when they arrive, so that a module of 90,000 tensors is summed up without a look at them.
    """

    def __init__(self, since: str = "") -> None:
        self.since = since
        self.gone: tuple[str, ...] = ()
        self.is_whole = False
        self._changes: dict[str, Change] = {}
        self._known: dict[int, int] = {}  # by node of the module, -1 for the whole: tensors of which it is known
        self._moved: dict[int, int] = {}  # of these, those that are not the same

    def begin(self, since: str) -> None:
        """Compare with another look, or with none: what was known is forgotten."""
        self.since = since
        self.gone, self.is_whole = (), False
        self._changes, self._known, self._moved = {}, {}, {}

    def of(self, name: str) -> Change | None:
        return self._changes.get(name)

    def size_of(self, name: str) -> float | None:
        """What to sort a tensor by."""
        change = self._changes.get(name)
        return change.size if change is not None else None

    def take(self, tree: Tree, changes: Mapping[str, Change], gone: tuple[str, ...], *, is_whole: bool) -> None:
        """Take what became known of some tensors."""
        self.gone, self.is_whole = gone, is_whole
        for name, change in changes.items():
            is_new = name not in self._changes
            self._changes[name] = change
            if is_new:
                self._count(tree, name, change)

    def _count(self, tree: Tree, name: str, change: Change) -> None:
        node = tree.find(name)
        if node is None or tree.is_module(node) or change.state == "unread":
            return
        while node >= 0:
            node = tree.parent[node]
            self._known[node] = self._known.get(node, 0) + 1
            if change.state != "same":
                self._moved[node] = self._moved.get(node, 0) + 1

    def moved_to(self, tree: Tree) -> None:
        """Count anew for a tree of the same tensors in another order."""
        self._known, self._moved = {}, {}
        for name, change in self._changes.items():
            self._count(tree, name, change)

    def below(self, node: int | None) -> tuple[int, int]:
        """How many tensors of a module have moved, and of how many it is known; of the whole tree for None."""
        at = -1 if node is None else node
        return self._moved.get(at, 0), self._known.get(at, 0)

    def summary(self, node: int | None = None) -> str:
        """How many moved and how many are the same, in words; below a module, or of the whole tree for None."""
        moved, known = self.below(node)
        if not known:
            return "nothing compared yet" if not self.is_whole else "nothing to compare"
        words = [f"{moved:,} changed"] if moved else []
        words += [f"{known - moved:,} same"] if known > moved else []
        if node is None and self.gone:
            words.append(f"{len(self.gone):,} gone")
        return ", ".join(words)

    @property
    def sentence_of_gone(self) -> str:
        """Which tensors are gone, in a sentence; empty if none are."""
        if not self.gone:
            return ""
        shown = ", ".join(text.clean(name, 60) for name in self.gone[:3])
        more = f" and {len(self.gone) - 3:,} more" if len(self.gone) > 3 else ""
        are = "is" if len(self.gone) == 1 else "are"
        return f"{text.plural(len(self.gone), 'tensor')} of then {are} gone: {shown}{more}"
