"""Pages: what the detail pane shows for the row at the cursor, and what it has asked for.

A page is painted once, when its figures, its histogram and its values are here, or after HOLD seconds with what there
is; until then the old page stays whole. So a page never mixes two tensors, and little is sent over a slow line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from tui_params.core import text
from tui_params.core.stored_codes import looks_packed, looks_scaled
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.totals import Entry
from tui_params.tui.desk.desk import Desk
from tui_params.tui.desk.messages import GridReady, HistogramReady, Located, PiecesFound
from tui_params.tui.pages.curve_asked import CurveAsked
from tui_params.tui.pages.gradient_beside import GradientBeside
from tui_params.tui.pages.histogram_asked import HistogramAsked
from tui_params.tui.pages.module_views import ModuleViews
from tui_params.tui.pages.pair_asked import PairAsked
from tui_params.tui.state.changes import Changes
from tui_params.tui.state.coverage import Coverage
from tui_params.tui.state.marks import Marks, row_of
from tui_params.tui.state.pieces import Pieces
from tui_params.tui.state.reports import Reports
from tui_params.tui.state.ties import Ties
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.detail_lines import (
    LEAST_HEIGHT,
    TensorView,
    entry_lines,
    has_unknown_size,
    tensor_lines,
)
from tui_params.tui.widgets.detail.module_page import module_parts
from tui_params.tui.widgets.detail.tensor_detail import TensorDetail

if TYPE_CHECKING:
    from tui_params.core.course import Course
    from tui_params.core.figures import Figures
    from tui_params.core.findings import Finding
    from tui_params.core.health.checker import Report
    from tui_params.core.reading.grid import Grid
    from tui_params.core.reading.outcome import Outcome

HOLD = 0.15


class Pages:
    """The detail pane of one opened source. ``show_soon`` asks the screen to call ``show`` again after some seconds.

    ``packed_words`` is what the page of codes says of them.
    """

    def __init__(
        self,
        desk: Desk,
        pane: TensorDetail,
        glyphs: Glyphs,
        show_soon: Callable[[float], None],
        fetch_key: str = "f",
        packed_words: str = "",
    ) -> None:
        self.desk = desk
        self.pane = pane
        self.glyphs = glyphs
        self.marks = Marks()
        self.changes = Changes()
        self.reports = Reports()
        self.is_gradient = False
        self.is_held = False
        """Whether the page on screen is still that of the row before."""
        self.reading: tuple[str, str] = ("", "")
        """The name of the tensor that is being fetched, and how far that is."""
        self.histogram = HistogramAsked(desk, glyphs)
        self.histogram.fetch_key = fetch_key
        self.curve = CurveAsked(desk.asking.want_drawn, desk.generation, glyphs)
        self.modules = ModuleViews(desk, self.find)
        self.reasons: dict[str, str] = {}
        self.pair = PairAsked(desk.asking.pairs)
        self._fetch_key, self._packed_words = fetch_key, packed_words
        self._beside = GradientBeside(desk, self.reasons)
        self._sampled: dict[str, Figures] = {}
        self._show_soon = show_soon
        self._shown: str | None = None
        self._hold_until = 0.0
        self._grid: tuple[object, Grid | None, str | None] = (None, None, None)
        self._grid_asked: object = None
        self._goal: tuple[str, str] | None = None  # a tensor, and the rule whose first place is to be shown
        self._places: dict[str, tuple[Finding, ...]] = {}
        self._places_asked: str | None = None
        self._ties = Ties(desk.opened.tensors)
        self._pieces = Pieces(desk.asking.want_pieces)
        for finding in desk.opened.source.listing.findings if desk.opened.content.is_trained else ():
            self.marks.note(desk.opened.tree, finding)
        for info in desk.opened.unreadable:
            self.modules.has_unknown_sizes |= has_unknown_size(info)
            self.marks.record(desk.opened.tree, info.name, (), info.unreadable)

    def keep_choices_of(self, before: Pages) -> None:
        """Show histograms and gradients as the pages of an earlier opening did."""
        self.histogram.keep_choices_of(before.histogram)
        self.is_gradient = before.is_gradient
        self._pieces.keep(before._pieces)

    def hold(self, seconds: float) -> None:
        """Another node will be shown in ``seconds``: from then on the old page may stay for HOLD."""
        self._hold_until = monotonic() + seconds + HOLD

    @property
    def report(self) -> Report | None:
        """What the check of everything has found, once it is done."""
        return self.reports.whole

    @property
    def is_settled(self) -> bool:
        is_drawn = self.histogram.is_settled and self._grid_asked == self._grid[0]
        parts = (self._beside, self.modules.adapters, self._pieces, self.pair, self.curve)
        return is_drawn and self._places_asked is None and all(part.is_settled for part in parts)

    @property
    def coverage(self) -> Coverage:
        """How much of the source has been read and cross-checked."""
        return Coverage(
            len(self.desk.opened.tensors),
            self.marks.read_below(None),
            len(self.marks.unread),
            self.desk.is_sweeping,
            self.desk.is_cross_checking,
            self.reports.whole is not None,
        )

    def lost_tensors(self) -> Iterator[TensorInfo]:
        """The tensors whose reading failed."""
        for name in self.reasons:
            info = self.find(name)
            if info is not None:
                yield info

    def take_outcome(self, outcome: Outcome, findings: tuple[Finding, ...]) -> None:
        """Take what came of reading a tensor (figures, a sample, a reason), and what the rules say about it."""
        if outcome.reason is not None:
            self.reasons[outcome.name] = outcome.reason
        if outcome.figures is not None and not outcome.is_final:
            self._sampled[outcome.name] = outcome.figures
            return
        self._sampled.pop(outcome.name, None)
        # A tensor that is read once more, for a histogram, is not judged again: its findings stay.
        found = findings or self.marks.measured(outcome.name)
        self.marks.record(self.desk.opened.tree, outcome.name, found, outcome.reason)

    def take_report(self, report: Report) -> None:
        """Take the report on the whole source: everything has been checked."""
        self.reports.take_report(report)
        self.marks.replace(self.desk.opened.tree, report.findings)

    def take_places(self, message: Located) -> None:
        """The places of the values that a tensor's findings are about."""
        self._places[message.name] = message.findings
        if message.name == self._places_asked:
            self._places_asked = None
            self._show_soon(0.0)

    def take_pieces(self, message: PiecesFound) -> None:
        self._pieces.take(message.name, message.stored)
        self._show_soon(0.0)

    def take_histogram(self, message: HistogramReady) -> None:
        if self.histogram.take(message) or self.curve.take(message):
            self._show_soon(0.0)

    def take_grid(self, message: GridReady) -> None:
        if self._beside.take(message):
            self._show_soon(0.0)
        elif message.key == self._grid_asked:
            self._grid = (message.key, message.grid, message.reason)
            self._show_soon(0.0)

    def ask_for_values(self, expression: str) -> None:
        """The pane wants the values of its tensor at a slice."""
        info, grid = self.pane.info, self.pane.grid
        if info is None:
            return
        self._grid_asked = (self.desk.generation, info.name, expression, grid.size)
        if info.unreadable is not None:
            self._grid = (self._grid_asked, None, info.unreadable)
            self._show_soon(0.0)
        else:
            self.desk.want_grid(self._grid_asked, info, expression, grid.rows_that_fit, grid.size.width)

    def find(self, name: str) -> TensorInfo | None:
        """The tensor or the gradient of that name."""
        tree = self.desk.opened.tree
        node = tree.find(name)
        info = tree.tensor(node) if node is not None else None
        return info or self.desk.opened.source.listing.gradients.get(name.removesuffix(".grad"))

    def tensor_at(self, node: int | None) -> TensorInfo | None:
        """The tensor of a node, or its gradient while gradients are shown."""
        info = self.desk.opened.tree.tensor(node) if node is not None else None
        if info is not None and self.is_gradient:
            return self.desk.opened.source.listing.gradients.get(info.name, info)
        return info

    def _located(self, info: TensorInfo) -> tuple[Finding, ...]:
        """The findings of a tensor with their first places, which are asked for if they are not known yet."""
        found = self._findings(info)
        if not found or any(finding.indices for finding in found):
            return found
        if info.name in self._places:
            known = {(finding.rule, finding.evidence): finding for finding in self._places[info.name]}
            return tuple(known.get((finding.rule, finding.evidence), finding) for finding in found)
        if self._places_asked != info.name and not self.desk.fetching.toll(info):
            self._places_asked = info.name
            self.desk.want_places(info, found)
        return found

    def _findings(self, info: TensorInfo) -> tuple[Finding, ...]:
        """The findings of a tensor under any of its names."""
        found: dict[tuple[str, str], Finding] = {}
        for name in (info.name, *self.tied_to(info)):
            for finding in self.marks.findings(name):
                found.setdefault((finding.rule, finding.evidence), finding)
        return tuple(found.values())

    def tied_to(self, info: TensorInfo) -> tuple[str, ...]:
        """The other names of the same elements."""
        return self._ties.of(info)

    def why_no_histogram(self, node: int | None) -> str | None:
        """One sentence if the page of a node has no histogram and will have none, else None."""
        info = self.tensor_at(node)
        if info is None:
            return "Only a tensor has a histogram: move to one first."
        figures = self.desk.figures(info.name)
        if figures is None:
            is_lost = info.unreadable is not None or info.name in self.reasons
            return "No histogram: the values could not be read." if is_lost else None
        if figures.count == 0:
            return "No histogram: the tensor has no elements."
        if figures.finite == 0:
            return "No histogram: no value is finite."
        if figures.min == figures.max:
            return "No histogram: all finite values are equal."
        if self.pane.facts.size.height < LEAST_HEIGHT:
            return "No room for a histogram here: make the terminal higher."
        return None

    def show(self, node: int | None) -> None:
        """Paint the page of a node; ask for what it lacks."""
        width = self.pane.facts.size.width
        if width <= 0:
            return
        tree = self.desk.opened.tree
        leaf = tree.leaf_of(node) if node is not None else None
        if isinstance(leaf, TensorInfo):
            self._show_tensor(self.tensor_at(node) or leaf, leaf, width)
            return
        self.pane.show_values_of(None)
        if isinstance(leaf, Entry):
            self._paint(entry_lines(leaf, width, self.glyphs), leaf.name)
        elif node is not None:
            view = self.modules.of(node, self.marks, self.changes)
            room = self.pane.facts.size.height, self.pane.grid.size.height
            upper, lower = module_parts(view, width, *room, self.glyphs)
            self._paint(upper, f"{node}")
            self.pane.grid.set_lines(lower)
        else:
            self._paint([], None)

    def _show_tensor(self, info: TensorInfo, parameter: TensorInfo, width: int) -> None:
        view = self._tensor_view(info, parameter)
        is_new = info is not self.pane.info
        if is_new:
            # Where the values have no room, nobody asks for others: those of the tensor before must not stay.
            self._grid_asked, self._grid = None, (None, None, None)
            self.pane.show_values_of(info)
        self._go_on(info, view.findings)
        curve = self.curve.of(view, width, self.pane.facts.size.height)
        view = msgspec.structs.replace(view, curve=curve)
        is_plotted = view.across is None or not view.across.is_of_values
        if (
            is_plotted
            and view.figures is not None
            and not view.figures.is_sampled
            and view.figures.min != view.figures.max
        ):
            view = msgspec.structs.replace(view, plot=self.histogram.of(view, width, self.pane.facts.size.height))
        wait = self._hold_until - monotonic()
        is_known = view.figures is not None or view.reason is not None or info.unreadable is not None
        if wait > 0 and (is_new or not self.is_settled or not is_known):
            self.is_held = True
            self._show_soon(wait)
            return
        self._paint(tensor_lines(view, width, self.glyphs), info.name)
        key, grid, reason = self._grid
        if not self.pane.grid.is_right:
            return  # it says what is wrong with the slice
        if grid is not None and key == self._grid_asked:
            self.pane.grid.show_grid(grid)
            self.pane.caption(grid.caption)
        else:
            self.pane.grid.show_reason((reason or "") if key == self._grid_asked else "")
            self.pane.caption("")

    def go_to(self, name: str, rule: str) -> int | None:
        """The node of a tensor or module, or of the parameter whose gradient has that name; None if there is none.

        When its page is shown, the first place of what that rule has found is shown, too.
        """
        opened = self.desk.opened
        node = row_of(opened.tree, name)
        parameter = None
        if node is None:
            gradients = opened.source.listing.gradients
            parameter = next((parameter for parameter, info in gradients.items() if info.name == name), None)
            node = opened.tree.find(parameter) if parameter is not None else None
        if node is not None:
            self.is_gradient = parameter is not None
            self._goal = (name, rule)
        return node

    def _go_on(self, info: TensorInfo, findings: tuple[Finding, ...]) -> None:
        if self._goal is None:
            return
        name, rule = self._goal
        place = next((finding.indices[0] for finding in findings if finding.rule == rule and finding.indices), None)
        if name != info.name or place is not None:
            self._goal = None
        if name == info.name and place is not None:
            self.pane.show_place(place)

    def _course_of(self, name: str) -> Course | None:
        courses = self.desk.opened.source.courses()
        return courses.of(name) if courses is not None else None

    def _paint(self, lines: list[Line], name: str | None) -> None:
        self.is_held = False
        self.pane.facts.set_lines(lines, from_top=name != self._shown)
        self._shown = name

    def _tensor_view(self, info: TensorInfo, parameter: TensorInfo) -> TensorView:
        listing = self.desk.opened.source.listing
        has = self.desk.opened.source.__contains__
        is_packed = looks_packed(info, listing.dequantized, has) or looks_scaled(info, has)
        about = self._packed_words if is_packed else ""
        if info.kind == "gradient":
            about = f"{self.glyphs.gradient} the gradient of {text.clean(parameter.name)}; g goes back"
        elif info.name in listing.absences:
            about = f"no gradient: {text.clean(listing.absences[info.name], 200)}"
        elif self.is_gradient:
            about = "it has no gradient"
        elif info.name in listing.gradients:
            about = f"{self.glyphs.gradient} g shows its gradient alone"
        return TensorView(
            info,
            self.tied_to(info),
            listing.modules.get(parameter.name.rpartition(".")[0]),
            self.desk.figures(info.name) or self._sampled.get(info.name),
            self.reasons.get(info.name),
            self._located(info),
            (),
            about,
            self.pane.facts.size.height < 26,
            None if info.kind == "gradient" else self._beside.of(info, self.pane.facts.size.width),
            self._pieces.of(info),
            self.changes.since,
            self.changes.of(info.name),
            self.changes.of(f"{info.name}.grad"),
            self._course_of(parameter.name),
            self.pair.of(info, self.changes),
            self.desk.fetching.figures_words(info, self._fetch_key),
            self.reading[1] if self.reading[0] == info.name else "",
            self._pieces.over(info),
        )
