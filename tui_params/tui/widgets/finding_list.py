"""FindingList: the findings of a source. Those that repeat are one line, which can be opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from textual import events
from textual.binding import Binding
from textual.message import Message

from tui_params.core import text
from tui_params.tui import keys
from tui_params.tui.state.finding_groups import Group, ListedFinding, Severity, extent
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import LinesView
from tui_params.tui.widgets.detail.text_lines import mark_of, wrapped

MOST = 300
"""The most groups of a severity, and members of a group, that are listed; a broken shard may have 90,000 tensors."""

_TITLES: dict[Severity, str] = {
    "error": "Errors: certainly wrong",
    "warning": "Warnings: worth a look",
    "unreadable": "Could not be checked",
    "info": "Remarks",
}
_Key = tuple[str, str, str, str]


class FindingList(LinesView, can_focus=True, inherit_bindings=False):
    """The list. Its cursor is on a group, or on a member of an open group; both may take several lines.

    Where there is room below, ``explain`` says there what the finding at the cursor means, in so many cells.
    """

    BINDINGS = [
        *keys.cursor_bindings(
            ("step(-1)", "step(1)"),
            ("step(-8)", "step(8)"),
            ("step(-1000000)", "step(1000000)"),
        ),
        Binding(keys.RIGHT, "into", show=False),
        Binding(keys.LEFT, "out", show=False),
        Binding("space", "open_close", show=False),
    ]

    class Moved(Message):
        """The cursor has moved, or a group was opened or closed."""

    class Refused(Message):
        """A key did nothing here; ``why`` is a short sentence."""

        def __init__(self, why: str) -> None:
            super().__init__()
            self.why = why

    def __init__(
        self,
        glyphs: Glyphs,
        explain: Callable[[ListedFinding, int], list[Line]] = lambda finding, width: [],
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.glyphs = glyphs
        self._explain = explain
        self.needed = 0
        """Lines for the whole list, and for what any of the findings means."""
        self._end = 0
        self.groups: Sequence[Group] = ()
        self.cursor = 0
        self._note = ""
        self._conclusion = ("", "text")
        self._titles: dict[Severity, str] = {}
        self._opened: set[_Key] = set()
        self._rows: list[tuple[Group, ListedFinding | None]] = []
        self._first_lines: list[int] = []

    def show(self, groups: Sequence[Group], note: str, conclusion: tuple[str, str]) -> None:
        """Show these groups below a sentence, or the conclusion where there are none; the cursor stays where it is."""
        is_new = groups is not self.groups  # comparing 100,000 of them would take too long
        if not is_new and (note, conclusion) == (self._note, self._conclusion):
            return
        self._note, self._conclusion = note, conclusion
        if is_new:
            self.groups = groups
            self._titles = {
                severity: self._title(severity, list(members))
                for severity, members in groupby(groups, key=lambda group: group.first.severity)
            }
        self._renew()

    @property
    def current(self) -> ListedFinding | None:
        """The finding at the cursor: the first one of a group."""
        if self.cursor >= len(self._rows):
            return None
        group, member = self._rows[self.cursor]
        return member or group.first

    def _renew(self) -> None:
        """Make the rows again; the cursor stays on the same row if it is still there, else on its group."""
        before = self._rows[self.cursor] if self.cursor < len(self._rows) else None
        shown = [
            group
            for _, members in groupby(self.groups, key=lambda group: group.first.severity)
            for group in list(members)[:MOST]
        ]
        self._rows = []
        for group in shown:
            self._rows.append((group, None))
            if _key(group) in self._opened:
                self._rows += [(group, member) for member in group.members[:MOST]]
        if before is not None:
            around = _key(before[0])
            places = [at for at, (group, member) in enumerate(self._rows) if _key(group) == around]
            same = [at for at in places if self._rows[at][1] == before[1]]
            self.cursor = next(iter(same + places[:1]), self.cursor)
        self.cursor = max(0, min(self.cursor, len(self._rows) - 1))
        self._draw()

    def _draw(self) -> None:
        width = self.size.width
        self._first_lines = []
        if width <= 0:
            return  # not laid out yet, or a terminal with no cell to spare: nothing is to be seen
        lines: list[Line] = list(wrapped(self._note, width, "dim"))
        before: Severity | None = None
        for at, (group, member) in enumerate(self._rows):
            severity = group.first.severity
            if severity != before:
                before = severity
                lines += [[], *wrapped(self._titles[severity], width, "label")]
            self._first_lines.append(len(lines))
            lines += self._row_lines(group, member, at == self.cursor, width)
            hidden = len(group.members) - MOST
            if hidden > 0 and member is group.members[MOST - 1]:
                lines.append([(f"      and {hidden:,} more", "dim")])
        words, style = self._conclusion
        if not self._rows and words:
            lines += [[], *wrapped(words, width, style)]
        self._end = len(lines)
        current = self.current
        about = self._explain(current, width) if current is not None else []
        rules = {group.first.rule: group.first for group, _ in self._rows}
        most = max((len(self._explain(finding, width)) for finding in rules.values()), default=0)
        self.needed = len(lines) + (most + 1 if most else 0)
        room = self.size.height - len(lines) - len(about)
        if about and room >= 1:
            lines += [*([] for _ in range(room)), *about]
        self.set_lines(lines)

    def _title(self, severity: Severity, groups: list[Group]) -> str:
        first = f", the first {MOST} groups of {len(groups):,}" if len(groups) > MOST else ""
        return f"{_TITLES[severity]} ({extent(groups)}{first})"

    def _row_lines(self, group: Group, member: ListedFinding | None, is_current: bool, width: int) -> list[Line]:
        finding = member or group.first
        mark, style = mark_of(finding.severity, self.glyphs)
        head: Line = [("> " if is_current else "  ", "accent")]
        if member is not None:
            head.append(("    ", "text"))
        else:
            head.append((f"{mark} ", style))
            if not group.is_single:
                opened = _key(group) in self._opened
                head.append((f"{self.glyphs.opened if opened else self.glyphs.closed} ", "dim"))
        indent = sum(len(part) for part, _ in head)
        name = group.name if member is None else member.name
        rule = f" {group.first.rule}" if member is None and group.first.rule else ""
        room = max(8, width - len(rule) - indent)
        shown = text.shorten_name(name, room) if group.is_single or member is not None else _shorten_group(name, room)
        gap = " " * max(0, room - len(shown))
        lines: list[Line] = [[*head, (shown, "title" if is_current else "text"), (gap, "text"), (rule, "dim")]]
        sentence = group.sentence if member is None else "" if group.is_same else member.sentence
        margin = (" " * indent, "text")
        return lines + [[margin, *line] for line in wrapped(sentence, width - indent, "dim") if sentence]

    def action_step(self, step: int) -> None:
        self._go(self.cursor + step)

    def _go(self, row: int) -> None:
        if self._rows:
            self.cursor = max(0, min(row, len(self._rows) - 1))
            self._draw()
            self._scroll_to_cursor()
            self.post_message(self.Moved())

    def _scroll_to_cursor(self) -> None:
        if not self._first_lines:
            return
        first = self._first_lines[self.cursor]
        after = self._first_lines[self.cursor + 1] if self.cursor + 1 < len(self._first_lines) else len(self.lines)
        if self.cursor == 0:
            self.scroll_lines(0)
        elif first < self.top:
            self.scroll_lines(first)
        elif after >= self.top + self.size.height and self._end == len(self.lines):
            self.scroll_lines(after - self.size.height + 1)

    def action_into(self) -> None:
        """Open the group, or go to its first member."""
        if not self._rows:
            return
        group, member = self._rows[self.cursor]
        if member is not None or group.is_single:
            self.post_message(self.Refused("There is nothing to open here."))
        elif _key(group) in self._opened:
            self._go(self.cursor + 1)
        else:
            self.action_open_close()

    def action_out(self) -> None:
        """Close the group around the cursor, and put the cursor on the group."""
        if not self._rows:
            return
        key = _key(self._rows[self.cursor][0])
        if key in self._opened:
            self.action_open_close()
        else:
            self.post_message(self.Refused("There is nothing to close here."))

    def action_open_close(self) -> None:
        if not self._rows:
            return
        group = self._rows[self.cursor][0]
        if group.is_single:
            self.post_message(self.Refused("There is nothing to open here."))
            return
        self.cursor = next(at for at, (other, _) in enumerate(self._rows) if other is group)
        self._opened ^= {_key(group)}
        self._renew()
        self._go(self.cursor)

    def on_resize(self) -> None:
        self._draw()
        self._scroll_to_cursor()

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.top
        rows = self._first_lines if line < self._end else []
        place = max((at for at, first in enumerate(rows) if first <= line), default=None)
        if place is not None:
            is_again = place == self.cursor
            self._go(place)
            if is_again and self._rows[place][1] is None and not self._rows[place][0].is_single:
                self.action_open_close()


def _key(group: Group) -> _Key:
    """What identifies a group, also after it has grown."""
    first = group.first
    about = f"{first.name} {first.sentence}" if first.tensor is None else first.tensor
    return first.severity, first.rule, about, "" if group.is_single else "many"


def _shorten_group(name: str, room: int) -> str:
    """The name of a group, shortened in front of the count at its end."""
    if len(name) <= room:
        return name
    for sign in (" × ", " and "):
        head, found, count = name.rpartition(sign)
        if found:
            return text.shorten_name(head, max(4, room - len(sign) - len(count))) + sign + count
    return text.shorten_name(name, room)
