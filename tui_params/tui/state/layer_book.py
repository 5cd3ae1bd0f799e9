"""LayerBook: the kinds and layers of an opened source, with one figure of each tensor as far as it is known."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.layers.known import ABSENT, INF, LOST, NAN, UNREAD, Cell, Column, Known, positions
from tui_params.core.layers.odd import Usual, usual_of
from tui_params.core.layers.shades import Against, Shades, shades_of
from tui_params.core.layers.statistics import STATISTICS, Origin, Statistic
from tui_params.core.layers.strip import Strip, strip_of
from tui_params.core.layers.table import LayerTable
from tui_params.core.tensor import TensorInfo
from tui_params.tui.state.layer_words import ROOMY, Told, told_change
from tui_params.tui.state.marks import Mark, Marks

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change
    from tui_params.core.figures import Figures
    from tui_params.core.layers.known import Positions
    from tui_params.core.tree.tree import Tree

_RANK: dict[Mark, int] = {"": 0, "unreadable": 1, "warning": 2, "error": 3}


class Asked(msgspec.Struct, frozen=True):
    """Where a book finds what is known: each is asked by name, and answers at once.

    ``gradients`` are by the name of their parameter. ``since`` is empty where nothing is compared; ``is_across``: the
    changes are differences from another source.
    """

    figures: Callable[[str], Figures | None]
    is_lost: Callable[[str], bool]
    change: Callable[[str], Change | None]
    gradients: Mapping[str, TensorInfo]
    since: str
    marks: Marks
    tree: Tree
    is_across: bool = False


class LayerBook:
    """What the screens of kinds and layers show. It is filled once, then told which tensors are known anew.

    What it has worked out stays as it is until ``look`` is called, so that no key waits for thousands of figures.
    """

    def __init__(self, table: LayerTable) -> None:
        self.table = table
        self.statistic: Statistic = STATISTICS[0]
        self.statistics: tuple[Statistic, ...] = STATISTICS[:4]
        self.against: Against = "kind"
        self.looks = 0
        """How often what is shown was worked out anew."""
        self.known = Known(len(table.tensors))
        self.column = self.known.column(self.statistic)
        """The statistic as it is shown."""
        self.kind_of = array("i", bytes(4 * len(table.tensors)))
        for kind, members in enumerate(table.members):
            for index in members.indices:
                self.kind_of[index] = kind
        self.most_of_kind = max((group.count for group in table.kinds), default=0)
        self._parameter_of: dict[str, int] = {}  # by name of the gradient
        self._asked: Asked | None = None
        self._looked_at: object = None
        self._arrays: dict[int, tuple[Positions, Positions]] = {}
        self._columns: dict[int, Column] = {}
        self._usual: dict[int, Usual] = {}
        self._strips: dict[tuple[int, int], Strip] = {}
        self._shades: dict[int, Shades] = {}
        self._marks: dict[int, Mark] = {}
        self._marked: object = None
        self._has_taken = False
        """Whether tensors were taken since the last look: with their marks, so that not all are looked through."""

    def fill(self, asked: Asked) -> None:
        """Take everything that is known: of a source that was just opened, or whose values have changed."""
        known = Known(len(self.table.tensors))
        found: dict[Origin, bool] = {"values": True, "change": bool(asked.since), "gradient": bool(asked.gradients)}
        parameters = {
            info.name: self.table.position[name]
            for name, info in asked.gradients.items()
            if name in self.table.position
        }
        for at, info in enumerate(self.table.tensors):
            _take(known, asked, at, info)
        if self._asked is None and asked.is_across:  # two sources were opened for what differs
            self.statistic = next(item for item in STATISTICS if item.origin == "change")
        self.known, self._asked, self._parameter_of = known, asked, parameters
        self.statistics = tuple(item for item in STATISTICS if found[item.origin])
        if self.statistic not in self.statistics:
            self.statistic = self.statistics[0]
        self._looked_at = None

    def ask(self, asked: Asked) -> None:
        """Find the same in other places: the tree has another order."""
        self._asked, self._marked = asked, None

    def take(self, names: Iterable[str]) -> None:
        """Take what has become known of these tensors and gradients."""
        asked, table = self._asked, self.table
        if asked is None:
            return
        for name in names:
            at = table.position.get(name)
            at = at if at is not None else self._parameter_of.get(name)
            if at is not None:
                _take(self.known, asked, at, table.tensors[at])
                self._mark_kind(at)
                self._has_taken = True

    def look(self) -> bool:
        """Work with what is known by now; False if that is what it was."""
        marks = self._asked.marks if self._asked is not None else None
        state = (self.known, self.known.version, self.statistic.name, self.against)
        marked = (marks, marks.changes if marks is not None else 0)
        if marked != self._marked and (not self._has_taken or self._marked is None):
            self._marked = marked
            self._mark_kinds()
        elif state == self._looked_at and not self._has_taken:
            return False
        self._has_taken = False
        self.looks += 1
        self._looked_at = state
        self.known.copy_to(self.column, self.statistic)
        for found in (self._columns, self._usual, self._strips, self._shades):
            found.clear()
        return True

    def turn(self, by: int) -> None:
        """Show the next statistic, or the one before."""
        at = self.statistics.index(self.statistic)
        self.statistic = self.statistics[(at + by) % len(self.statistics)]

    # What is shown

    def cell(self, at: int) -> Cell:
        """The statistic of the tensor at a position."""
        return self.column.cell(at)

    def usual(self, kind: int) -> Usual:
        """The range of a kind, and what stands out of it."""
        found = self._usual.get(kind)
        if found is None:
            found = self._usual[kind] = usual_of(self._column_of(kind), self.statistic.scale)
        return found

    def strip(self, kind: int, width: int) -> Strip:
        """The values of a kind over the layers of its stack."""
        found = self._strips.get((kind, width))
        if found is None:
            table, stack = self.table, self.table.stacks[kind]
            # Without layers each tensor is one.
            rows = table.rows[stack.stack] if stack is not None else tuple(range(table.kinds[kind].count))
            layers = self._positions(kind)[1]
            found = self._strips[kind, width] = strip_of(self._column_of(kind), self.usual(kind), rows, layers, width)
        return found

    def _column_of(self, kind: int) -> Column:
        """The statistic of the tensors of a kind."""
        found = self._columns.get(kind)
        if found is None:
            found = self._columns[kind] = self.column.some(self._positions(kind)[0])
        return found

    def _positions(self, kind: int) -> tuple[Positions, Positions]:
        """The tensors of a kind and their layers, as arrays that are made once."""
        found = self._arrays.get(kind)
        if found is None:
            stack, indices = self.table.stacks[kind], self.table.members[kind].indices
            layers = stack.layers if stack is not None else range(len(indices))
            found = self._arrays[kind] = positions(indices), positions(layers)
        return found

    def count_read(self, kind: int) -> int:
        """How many tensors of a kind have been read."""
        return self.known.count_read(self._positions(kind)[0])

    def shades(self, plane: int) -> Shades:
        """The levels of a plane."""
        found = self._shades.get(plane)
        if found is None:
            found = self._shades[plane] = shades_of(self.column, self.table.planes[plane], self.statistic, self.against)
        return found

    def told(self, at: int, room: int = ROOMY) -> Told:
        """What is to be said of how a tensor has changed where no number says it, in ``room`` cells (6 or more)."""
        asked = self._asked
        change = asked.change(self.table.tensors[at].name) if asked is not None else None
        return told_change(change, room, is_across=asked is not None and asked.is_across)

    def times_median(self, at: int) -> float | None:
        """How many times the median of its kind a tensor has; None where that says nothing."""
        cell, usual = self.cell(at), self.usual(self.kind_of[at])
        if self.statistic.scale != "ratio" or cell.value is None or not usual.median or usual.known < 2:
            return None
        return cell.value / usual.median

    def mark(self, at: int) -> Mark:
        """The mark of a tensor."""
        asked = self._asked
        node = asked.tree.find(self.table.tensors[at].name) if asked is not None else None
        return asked.marks.mark(asked.tree, node) if asked is not None and node is not None else ""

    def mark_of_kind(self, kind: int) -> Mark:
        """The worst mark of a kind."""
        return self._marks.get(kind, "")

    def evidence(self, at: int, without: str = "") -> str:
        """What the worst finding about a tensor says, but for those of one rule; or why it could not be read."""
        asked, name = self._asked, self.table.tensors[at].name
        if asked is None:
            return ""
        found = [
            finding for finding in asked.marks.findings(name) if finding.severity != "info" and finding.rule != without
        ]
        return min(found, key=lambda finding: finding.severity).evidence if found else asked.marks.unread.get(name, "")

    def _mark_kinds(self) -> None:
        self._marks = {}
        asked = self._asked
        if asked is None:
            return
        for position in asked.marks.leaves():
            at = self.table.position.get(asked.tree.leaves[position].name)
            if at is not None:
                self._mark_kind(at)

    def _mark_kind(self, at: int) -> None:
        """Let the mark of a tensor count for its kind."""
        kind, mark = self.kind_of[at], self.mark(at)
        if _RANK[mark] > _RANK[self._marks.get(kind, "")]:
            self._marks[kind] = mark


def _take(known: Known, asked: Asked, at: int, info: TensorInfo) -> None:
    """Take everything that is known of one tensor."""
    figures = asked.figures(info.name)
    if figures is not None:
        known.take_figures(at, figures)
    elif info.unreadable is not None or asked.is_lost(info.name):
        known.take_state(at, LOST)
    elif known.version:
        known.take_state(at, UNREAD)
    if asked.gradients:
        gradient = asked.gradients.get(info.name)
        found = asked.figures(gradient.name) if gradient is not None else None
        if found is not None:
            known.take_figures(at, found, "gradient")
        elif gradient is None:
            known.take_state(at, ABSENT, "gradient")
        else:
            known.take_state(at, LOST if asked.is_lost(gradient.name) else UNREAD, "gradient")
    if asked.since:
        change = asked.change(info.name)
        if change is None:
            known.take_state(at, UNREAD, "change")
        elif change.has_changed is None:  # it could not be compared, or is not to be
            known.take_state(at, LOST if change.state == "unread" else ABSENT, "change")
        else:
            flags = NAN * bool(change.more_nan) | INF * bool(change.more_inf)
            # What is only known to have changed has a size to sort by, which is no number to show.
            known.take_change(at, None if change.is_only_that else change.size, flags)
