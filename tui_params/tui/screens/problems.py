"""ProblemsScreen: everything that is wrong, the worst first; enter goes to the place in the tensor."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from tui_params.core.health.verification import count_words
from tui_params.tui.desk.worker import begin
from tui_params.tui.pages.pages import Pages
from tui_params.tui.state.finding_groups import (
    Group,
    Known,
    ListedFinding,
    groups_of,
    known_of,
)
from tui_params.tui.terminal.frozen_message import FrozenMessage
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.finding_list import FindingList

AGAIN = 0.5
"""Seconds after which the list is made anew, if more is known."""

AT_ONCE = 2_000
"""Findings that are grouped within 20 ms, so that no key waits; more than these are grouped in a thread."""

_WIDE = 68
"""Cells of the list from which on the keys are described in full."""


class ProblemsScreen(ModalScreen[ListedFinding | None]):
    """Everything wrong in one source, as far as it has been read; dismissed with the finding to go to."""

    BINDINGS = [
        Binding("escape,q,exclamation_mark", "leave", "close", show=False),
        Binding("enter", "go", "go there", show=False),
        Binding("S", "scan", "read everything", show=False),
        Binding("question_mark,f1", "explain", "explain the rule", show=False),
    ]

    @dataclass(eq=False)
    class Grouped(FrozenMessage):
        """The groups of so many problems that a thread made them, or why there are none."""

        groups: list[Group]
        reason: str = ""

    def __init__(self, pages: Pages, glyphs: Glyphs) -> None:
        super().__init__()
        self.pages = pages
        self.glyphs = glyphs
        self._groups: list[Group] = []
        self._made_of: object = None
        self._hinted_of: object = None
        self._is_grouping = False
        self._failure = ""
        self._taken = 0

    def compose(self) -> ComposeResult:
        yield FindingList(self.glyphs, self._about, id="problems")

    def _about(self, finding: ListedFinding, width: int) -> list[Line]:
        """What the rule of a finding means, for the room below the list."""
        from tui_params.core.health.registry import RULES
        from tui_params.tui.screens.rule import meaning_lines

        rule = next((rule for rule in RULES if rule.id == finding.rule), None)
        return meaning_lines(rule, self.pages.desk.thresholds, width) if rule is not None else []

    @property
    def view(self) -> FindingList:
        return self.query_one(FindingList)

    def on_mount(self) -> None:
        self.view.border_title = "Problems"
        self.view.set_class(self.glyphs.is_ascii, "-ascii")
        self.fill()
        self.set_interval(AGAIN, self.fill)
        self.call_after_refresh(self._hint)

    def on_resize(self) -> None:
        self._taken = 0
        self.view.styles.height = self.size.height * 92 // 100
        self.call_after_refresh(self._fit)
        self.call_after_refresh(self._hint)

    def fill(self) -> None:
        """Show what is known by now."""
        marks, report, verification = self.pages.marks, self.pages.report, self.pages.reports.verification
        made_of = (marks, marks.changes, report, verification)
        if made_of != self._made_of and not self._is_grouping:
            self._made_of = made_of
            known = known_of(self.pages.desk.opened.source, report, marks, verification)
            if len(known) <= AT_ONCE:
                self._groups = groups_of(known)
            else:
                self._is_grouping = True
                begin("problems", lambda: self._group(known), self._fail)
        self._show()

    def _group(self, known: Known) -> None:
        self.post_message(self.Grouped(groups_of(known)))

    def _fail(self, reason: str) -> None:
        self.post_message(self.Grouped([], f"The findings were not grouped: {reason}."))

    def on_problems_screen_grouped(self, message: Grouped) -> None:
        self._is_grouping = False
        self._groups, self._failure = message.groups, message.reason
        self._show()

    def _show(self) -> None:
        conclusion = ("", "text") if self._is_grouping else self.pages.coverage.conclusion
        if self._failure:
            conclusion = (self._failure, "error")
        note, verification = self.pages.coverage.sentence, self.pages.reports.verification
        if verification is not None:
            note += f" Against the hub: {count_words(verification.files)}."
        self.view.show(self._groups, note, conclusion)
        self._fit()
        if self._hinted_of != self._hintable:
            self._hint()

    def _fit(self) -> None:
        """Take no more room than is needed; what was taken once is kept, so that nothing jumps."""
        most = self.size.height * 92 // 100
        wanted = min(most, max(self._taken, self.view.needed + 2))  # and the border
        if self.view.needed and wanted != self._taken:
            self._taken = wanted
            self.view.styles.height = wanted

    @property
    def _hintable(self) -> tuple[bool, bool]:
        """Whether there is a group to open, and whether there is something left for ``S``."""
        scans = self.pages.report is None and not (self.pages.desk.is_sweeping or self.pages.desk.is_cross_checking)
        return any(not group.is_single for group in self._groups), scans

    def _hint(self) -> None:
        """The keys, at the lower edge."""
        has_groups, scans = self._hinted_of = self._hintable
        is_wide = self.view.size.width >= _WIDE
        parts = ["enter goes there"]
        if has_groups:
            arrow = "right" if self.glyphs.is_ascii else "→"
            parts.append(f"{arrow} opens a group" if is_wide else f"{arrow} opens")
        if scans:
            parts.append("S reads everything" if is_wide else "S reads all")
        parts.append("esc closes")
        if self._groups:
            explaining = [*parts[:-1], "? explains", parts[-1]]
            if len(", ".join(explaining)) <= self.view.size.width:
                parts = explaining
        self.view.border_subtitle = ", ".join(parts)

    def on_finding_list_moved(self, message: FindingList.Moved) -> None:
        self._fit()
        self._hint()

    def on_finding_list_refused(self, message: FindingList.Refused) -> None:
        self.view.border_subtitle = message.why

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_go(self) -> None:
        current = self.view.current
        if current is None:
            self.view.border_subtitle = "There is nothing to go to."
        elif current.tensor is None:
            self.view.border_subtitle = f"This is about {current.name} as a whole, not a tensor."
        else:
            self.dismiss(current)

    def action_explain(self) -> None:
        """Show the rule at the cursor."""
        current = self.view.current
        if current is None or not current.rule:
            self.view.border_subtitle = "There is no rule here to explain."
            return
        from tui_params.core.health.registry import RULES
        from tui_params.tui.screens.rule import RuleScreen

        rule = next((rule for rule in RULES if rule.id == current.rule), None)
        if rule is None:
            self.view.border_subtitle = f"Nothing more is known of {current.rule}."
        else:
            self.app.push_screen(RuleScreen(rule, self.pages.desk.thresholds, self.glyphs))

    def action_scan(self) -> None:
        desk = self.pages.desk
        if self.pages.report is not None:
            self.view.border_subtitle = "Every tensor has been read and cross-checked."
        elif desk.sweep():
            desk.want([])
        self.fill()
