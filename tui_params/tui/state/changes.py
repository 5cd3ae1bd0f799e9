"""Changes: how each tensor has moved since an earlier look or differs on the other side, and how many of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from tui_params.core import text
from tui_params.core.tree.tree import Tree

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change

ALONE = ("only_a", "only_b")


class Below:
    """What is known of the tensors of a module: of how many, how many of these differ, and the worst of them.

    ``alone`` of those that differ are on one side only; ``unread`` more could not be compared. ``worst`` is the largest
    size of a change, by ``worst_name``. ``has_nan`` and ``has_inf``: one has NaN or infinities that were not there,
    or are not on the other side.
    """

    __slots__ = ("alone", "cosine", "has_inf", "has_nan", "known", "moved", "unread", "worst", "worst_name")

    def __init__(self) -> None:
        self.known = self.moved = self.alone = self.unread = 0
        self.worst: float | None = None
        self.worst_name = ""
        self.has_nan = self.has_inf = False
        self.cosine: float | None = None

    @property
    def broken(self) -> str:
        """What there is of NaN and infinities, in words; empty where there is nothing."""
        return ", ".join(word for word, has in (("NaN", self.has_nan), ("Inf", self.has_inf)) if has)

    def take(self, name: str, change: Change) -> None:
        has_changed = change.has_changed
        if has_changed is None:
            self.unread += change.state == "unread"
            return
        self.known += 1
        self.moved += has_changed
        self.alone += change.state in ALONE
        self.has_nan |= bool(change.more_nan)
        self.has_inf |= bool(change.more_inf)
        size, cosine = change.size, change.cosine
        is_measured = has_changed and change.state not in ALONE and size is not None and not change.is_only_that
        if is_measured and size is not None and (self.worst is None or size > self.worst):
            self.worst, self.worst_name = size, name
        if cosine is not None and (self.cosine is None or cosine < self.cosine):
            self.cosine = cosine


NOTHING = Below()


class Changes:
    """The changes by name of a tensor or gradient. ``since`` says in words since when; empty without an earlier look.

    ``is_across``: they are differences from the other source that ``since`` names, and no ``about`` is of a look.
    ``is_stopped``: the user has stopped the comparison before it was whole.

    Counted when they arrive, so that a module of 90,000 tensors is summed up without a look at them.
    """

    def __init__(self, since: str = "") -> None:
        self.since = since
        self.gone: tuple[str, ...] = ()
        self.is_whole = self.is_across = self.is_stopped = False
        self._changes: dict[str, Change] = {}
        self._below: dict[int, Below] = {}  # by node of the module, -1 for the whole

    def begin(self, since: str, *, is_across: bool = False) -> None:
        """Compare with another look, with another source or with nothing: what was known is forgotten."""
        self.since, self.is_across = since, is_across
        self.gone, self.is_whole, self.is_stopped = (), False, False
        self._changes, self._below = {}, {}

    def of(self, name: str) -> Change | None:
        return self._changes.get(name)

    def size_of(self, name: str) -> float | None:
        """What to sort a tensor by."""
        change = self._changes.get(name)
        return change.size if change is not None else None

    def value_of(self, column: str) -> Callable[[str], float | None]:
        """What to sort a tensor by in a column: its change, its cosine, or the share of its elements that changed."""
        if column not in ("cosine", "share"):
            return self.size_of

        def value(name: str) -> float | None:
            change = self._changes.get(name)
            if change is None:
                return None
            return change.cosine if column == "cosine" else change.share

        return value

    def take(self, tree: Tree, changes: Mapping[str, Change], gone: tuple[str, ...], *, is_whole: bool) -> None:
        """Take what became known of some tensors."""
        self.gone, self.is_whole = gone, is_whole
        is_new = self._changes.keys().isdisjoint(changes)
        self._changes.update(changes)
        if is_new:
            for name, change in changes.items():
                self._count(tree, name, change)
        else:  # more is known now of what was counted before
            self.moved_to(tree)

    def _count(self, tree: Tree, name: str, change: Change) -> None:
        node = tree.find(name)
        if node is None or tree.is_module(node):
            return
        while node >= 0:
            node = tree.parent[node]
            below = self._below.get(node)
            if below is None:
                below = self._below[node] = Below()
            below.take(name, change)

    def moved_to(self, tree: Tree) -> None:
        """Count anew for a tree of the same tensors in another order."""
        self._below = {}
        for name, change in self._changes.items():
            self._count(tree, name, change)

    def facts_below(self, node: int | None) -> Below:
        """What is known of the tensors of a module; of the whole tree for None."""
        return self._below.get(-1 if node is None else node, NOTHING)

    def facts_of(self, names: Iterable[str]) -> Below:
        """What is known of some tensors."""
        found = Below()
        for name in names:
            change = self._changes.get(name)
            if change is not None:
                found.take(name, change)
        return found

    def below(self, node: int | None) -> tuple[int, int]:
        """How many tensors of a module have moved, and of how many it is known; of the whole tree for None."""
        found = self.facts_below(node)
        return found.moved, found.known

    def summary(self, node: int | None = None) -> str:
        """How many moved and how many are the same, in words; below a module, or of the whole tree for None."""
        moved, known = self.below(node)
        alone, unread = self.facts_below(node).alone, self.facts_below(node).unread if self.is_across else 0
        if not known and not unread:
            return "nothing compared yet" if not self.is_whole else "nothing to compare"
        words = [f"{moved - alone:,} changed"] if moved > alone else []
        words += [f"{alone:,} on one side alone"] if alone else []
        words += [f"{known - moved:,} same"] if known > moved else []
        if node is None and self.gone:
            words.append(f"{len(self.gone):,} gone")
        words += [f"{unread:,} not compared"] if unread else []
        if self.is_stopped and node is None:
            words.append("stopped before the end")
        return ", ".join(words)

    @property
    def words(self) -> tuple[str, str, str]:
        """With what is compared, how many differ, and that in short where two sources are compared."""
        moved, known = self.below(None)
        unread = self.facts_below(None).unread
        brief = f"{moved:,} of {known:,} differ" if self.is_across and known else ""
        brief += f", {unread:,} not compared" if brief and unread else ""
        return self.since, self.summary(), brief

    @property
    def sentence_of_gone(self) -> str:
        """Which tensors are gone, in a sentence; empty if none are."""
        if not self.gone:
            return ""
        shown = ", ".join(text.clean(name, 60) for name in self.gone[:3])
        more = f" and {len(self.gone) - 3:,} more" if len(self.gone) > 3 else ""
        are = "is" if len(self.gone) == 1 else "are"
        return f"{text.plural(len(self.gone), 'tensor')} of then {are} gone: {shown}{more}"
