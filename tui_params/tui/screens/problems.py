"""ProblemsScreen: everything that is wrong, the worst first; enter goes to the tensor."""

from __future__ import annotations

from collections import Counter

import msgspec
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from tui_params.core import text
from tui_params.core.findings import Finding
from tui_params.tui.glyphs import Glyphs
from tui_params.tui.pages import Pages
from tui_params.tui.widgets.canvas import Line, LinesView
from tui_params.tui.widgets.detail_lines import mark_of, wrapped

_ORDER = ("error", "warning", "unreadable", "info")
_TITLES = {
    "error": "Errors: certainly wrong",
    "warning": "Warnings: worth a look",
    "unreadable": "Could not be checked",
    "info": "For information",
}


MOST = 300
"""Of each severity; a broken shard may have 90,000 tensors with the same reason."""


class Problem(msgspec.Struct, frozen=True):
    """One entry of the list."""

    severity: str
    rule: str
    tensor: str | None
    evidence: str
    places: str = ""


class ProblemList(LinesView, can_focus=True, inherit_bindings=False):
    """The list. Its cursor stands on a problem, which may take several lines."""

    BINDINGS = [
        Binding("up,k", "step(-1)", show=False),
        Binding("down,j", "step(1)", show=False),
        Binding("pageup,ctrl+b", "step(-8)", show=False),
        Binding("pagedown,ctrl+f", "step(8)", show=False),
        Binding("home", "step(-1000000)", show=False),
        Binding("end,G", "step(1000000)", show=False),
    ]

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.glyphs = glyphs
        self.problems: list[Problem] = []
        self.note = ""
        self.cursor = 0
        self._counts: Counter[str] = Counter()
        self._first_lines: list[int] = []

    def show(self, problems: list[Problem], note: str) -> None:
        """Show these problems, in order, the first MOST of each severity; the cursor stays on the one that it is on."""
        current = self.current
        self._counts = Counter(problem.severity for problem in problems)
        shown: Counter[str] = Counter()
        kept = []
        for problem in problems:
            shown[problem.severity] += 1
            if shown[problem.severity] <= MOST:
                kept.append(problem)
        if kept == self.problems and note == self.note:
            return
        problems = self.problems = kept
        self.cursor = next((place for place, other in enumerate(problems) if other == current), self.cursor)
        self.cursor = max(0, min(self.cursor, len(problems) - 1))
        self.note = note
        self.draw()

    @property
    def current(self) -> Problem | None:
        return self.problems[self.cursor] if self.cursor < len(self.problems) else None

    def draw(self) -> None:
        width = self.size.width
        if width <= 0:
            return
        lines: list[Line] = list(wrapped(self.note, width, "dim"))
        self._first_lines = []
        before = ""
        for place, problem in enumerate(self.problems):
            if problem.severity != before:
                before = problem.severity
                count = self._counts[before]
                first = f", the first {MOST}" if count > MOST else ""
                lines += [[], [(f"{_TITLES[before]} ({count:,}{first})", "label")]]
            self._first_lines.append(len(lines))
            mark, style = mark_of(problem.severity, self.glyphs)
            pointer = ">" if place == self.cursor else " "
            name = text.clean(problem.tensor, 4 * width) if problem.tensor is not None else "the file as a whole"
            rule = f" {problem.rule}"
            room = max(8, width - len(rule) - 4)
            shown = text.shorten_name(name, room)
            head: Line = [
                (f"{pointer} ", "accent"),
                (f"{mark} ", style),
                (shown, "title" if pointer == ">" else "text"),
            ]
            lines.append([*head, (" " * max(0, room - len(shown)), "text"), (rule, "dim")])
            lines += [[("    ", "text"), *line] for line in wrapped(problem.evidence, width - 4, "dim")]
            if problem.places:
                lines += [[("    ", "text"), *line] for line in wrapped(problem.places, width - 4, "dim", limit=2)]
        if not self.problems:
            lines += [[], [("Nothing wrong was found in what was read.", "success")]]
        self.set_lines(lines)

    def action_step(self, step: int) -> None:
        if not self.problems:
            return
        self.cursor = max(0, min(self.cursor + step, len(self.problems) - 1))
        self.draw()
        first = self._first_lines[self.cursor]
        after = self._first_lines[self.cursor + 1] if self.cursor + 1 < len(self._first_lines) else len(self.lines)
        if self.cursor == 0:
            self.scroll_lines(0)
        elif first < self.top:
            self.scroll_lines(first)
        elif after >= self.top + self.size.height:
            self.scroll_lines(after - self.size.height + 1)

    def on_resize(self) -> None:
        self.draw()

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.top
        place = max((at for at, first in enumerate(self._first_lines) if first <= line), default=None)
        if place is not None:
            self.cursor = place
            self.draw()


class ProblemsScreen(ModalScreen["str | None"]):
    """The problems of one source as far as it has been read; dismissed with the name of the tensor to go to."""

    BINDINGS = [
        Binding("escape,q,exclamation_mark", "leave", "close", show=False),
        Binding("enter", "go", "go there", show=False),
        Binding("S", "scan", "read everything", show=False),
    ]

    def __init__(self, pages: Pages, glyphs: Glyphs) -> None:
        super().__init__()
        self.pages = pages
        self.glyphs = glyphs

    def compose(self) -> ComposeResult:
        yield ProblemList(self.glyphs, id="problems")

    def on_mount(self) -> None:
        view = self.query_one(ProblemList)
        view.border_title = "Problems"
        view.border_subtitle = "enter goes there, S reads everything, esc closes"
        view.set_class(self.glyphs.is_ascii, "-ascii")
        self.fill()
        self.set_interval(0.5, self.fill)

    def fill(self) -> None:
        """Show what is known by now."""
        self.query_one(ProblemList).show(problems_of(self.pages), coverage_of(self.pages))

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_go(self) -> None:
        current = self.query_one(ProblemList).current
        if current is not None and current.tensor is not None:
            self.dismiss(current.tensor)

    def action_scan(self) -> None:
        self.pages.desk.sweep()
        self.pages.desk.want([])


def problems_of(pages: Pages) -> list[Problem]:
    """The findings of the container and of every tensor that was read, and what could not be read; the worst first."""
    listing = pages.desk.opened.source.listing
    findings = list(pages.report.findings) if pages.report is not None else []
    if not findings:
        findings = [*listing.findings, *pages.troubles.all_findings()]
    problems = [
        Problem(finding.severity, finding.rule, finding.tensor, finding.evidence, _places(finding))
        for finding in findings
    ]
    problems += [Problem("unreadable", "", name, reason) for name, reason in pages.troubles.unread.items()]
    problems.sort(key=lambda problem: _ORDER.index(problem.severity))
    return problems


def coverage_of(pages: Pages) -> str:
    """How much of the source this rests on."""
    total = len(pages.desk.opened.tensors)
    unread = len(pages.troubles.unread)
    known = pages.troubles.read_below(None)
    words = f"{known:,} of {text.plural(total, 'tensor')} read whole"
    if unread:
        words += f", {unread:,} could not be read"
    if known + unread < total:
        words += "; what was not read is not known to be healthy. S reads the rest."
    elif pages.report is None:
        words += "."
    else:
        words += " and compared with each other."
    return words


def _places(finding: Finding) -> str:
    if not finding.indices:
        return ""
    return f"first at {', '.join(str(list(index)) for index in finding.indices[:5])}"
