"""Canvas: the base of every widget that draws lines itself, and LinesView, a page of such lines.

A *line* is a list of (text, style name) pairs, made by pure functions that know no terminal; the style names are those
of ``themes.INKS``. A line is painted only when it is on screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui_params.core.text import plural
from tui_params.tui import keys
from tui_params.tui.terminal.line import Line
from tui_params.tui.terminal.themes import INKS, tint_of

_MOVE = 5  # bytes of a movement of the cursor to a cell further on in its line
# Of these styles a blank shows nothing. Of others it may: a background, a line below, a reversal.
_UNSEEN_ON_BLANKS = {tint_of(sign * size) for sign in (1, -1) for size in range(4)} | {
    name for name, (_, attributes) in INKS.items() if not {"underline", "reverse"} & {*attributes.split()}
}
_PLAIN = str.maketrans({"…": "~", "–": "-", "×": "x", "·": ".", "±": "~"})


def to_ascii(text: str) -> str:
    """A text for an ASCII terminal, with as many characters; those without a substitute become ``?``."""
    return text if text.isascii() else text.translate(_PLAIN).encode("ascii", "replace").decode("ascii")


class Canvas(Widget):
    """A widget that paints lines of styled text."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._painted_with: object = None
        self._styles_by_name: dict[tuple[str, Style], Style] = {}

    @property
    def is_ascii(self) -> bool:
        """Whether the terminal can show ASCII only."""
        return bool(getattr(getattr(self.app, "glyphs", None), "is_ascii", False))

    @property
    def inks(self) -> Mapping[str, Style]:
        """The styles by name, as the theme has them (``themes.inks_of``)."""
        inks: Mapping[str, Style] = getattr(self.app, "inks", {})
        if inks is not self._painted_with:
            self._painted_with = inks
            self._styles_by_name.clear()
        return inks

    def style_of(self, name: str, over: Style) -> Style:
        """The style of a name on the background of ``over``; at the cursor only errors and warnings keep colour."""
        inks = self.inks
        style = self._styles_by_name.get((name, over))
        if style is None:
            ink = inks.get(name, Style.null())
            if over is inks.get("cursor") or over is inks.get("cursor-blurred"):
                style = over + Style(color=ink.color, bold=True) if name in ("error", "warning") else over
            else:
                style = ink + Style(bgcolor=over.bgcolor)
            self._styles_by_name[(name, over)] = style
        return style

    def paint(self, line: Line, width: int, over: Style | None = None) -> Strip:
        """The strip of a line, exactly ``width`` cells wide."""
        fill = over if over is not None else self.rich_style
        if self.is_ascii:
            line = [(to_ascii(text), name) for text, name in line]
        segments = [Segment(text, self.style_of(name, fill)) for text, name in line if text]
        return Strip(segments).adjust_cell_length(width, fill).simplify()

    def blank(self, width: int) -> Strip:
        return Strip.blank(width, self.rich_style)


class LinesView(Canvas):
    """A page of lines that scrolls down; a new page repaints only the cells that differ from the old one.

    This matters over a slow connection: the pages of two tensors are mostly alike. For the same reason there is no
    scroll bar: where more lines follow, the last one on screen says so at its end.
    """

    BINDINGS = [
        *keys.cursor_bindings(
            ("scroll_lines(-1)", "scroll_lines(1)"),
            ("scroll_pages(-1)", "scroll_pages(1)"),
            ("scroll_edge(-1)", "scroll_edge(1)"),
        ),
        Binding("space", "scroll_pages(1)", show=False),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = []
        self._top = 0

    @property
    def top(self) -> int:
        """The number of the line at the top."""
        return self._top

    @property
    def lines(self) -> Sequence[Line]:
        return self._lines

    def set_lines(self, lines: Sequence[Line], *, from_top: bool = False) -> None:
        """Show another page. The line number at the top stays the same, if the new page is long enough."""
        before = [self._visible(y) for y in range(self.size.height)]
        self._lines = list(lines)
        self._top = 0 if from_top else min(self._top, self._last_top)
        self._repaint(before)

    @property
    def _last_top(self) -> int:
        return max(0, len(self._lines) - max(1, self.size.height))

    def scroll_lines(self, top: int) -> None:
        """Put line number ``top`` at the top, or the last one that leaves no empty lines below the page."""
        before = [self._visible(y) for y in range(self.size.height)]
        self._top = max(0, min(top, self._last_top))
        self._repaint(before)

    def _repaint(self, before: Sequence[Line]) -> None:
        changed = []
        width = self.size.width
        for y, old in enumerate(before):
            for start, stop in differences(old, self._visible(y)):
                if min(stop, width) > start:
                    changed.append(Region(start, y, min(stop, width) - start, 1))
        if changed:
            self.refresh(*changed)

    def _visible(self, y: int) -> Line:
        """The line at ``y`` on screen; the last one says how many more follow."""
        at = y + self._top
        if at >= len(self._lines):
            return []
        follow = self._first_that_follows
        line = self._lines[at] if at < follow else []
        if y == self.size.height - 1 and y > 0 and at < len(self._lines) - 1:
            mark = f" +{plural(len(self._lines) - follow, 'line')}"
            line = [*cut_line(line, self.size.width - len(mark)), (mark, "accent")]
        return line

    @property
    def _first_that_follows(self) -> int:
        """The number of the first line that is not shown; more may follow, or the page ends before."""
        last = self._top + self.size.height - 1
        if self.size.height < 2 or last >= len(self._lines) - 1:
            return len(self._lines)
        follow, line = last + 1, self._lines[last]
        room = self.size.width - len(f" +{plural(len(self._lines) - follow, 'line')}")
        # Of a long line, the mark would cover a part of a number; a heading would stand above nothing.
        if is_heading(line) or line_width(line) - _blanks_at_end(line) > room:
            follow -= 1
            while follow > self._top + 1 and is_heading(self._lines[follow - 1]):
                follow -= 1
        return follow

    def action_scroll_lines(self, step: int) -> None:
        self.scroll_lines(self._top + step)

    def action_scroll_pages(self, step: int) -> None:
        page = max(1, self.size.height - 1)
        if step > 0:
            page = max(1, min(page, self._first_that_follows - self._top))
        self.scroll_lines(self._top + step * page)

    def action_scroll_edge(self, step: int) -> None:
        self.scroll_lines(0 if step < 0 else len(self._lines))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_lines(self._top + 3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_lines(self._top - 3)

    def plain(self) -> str:
        """The page as text, for tests and for copying."""
        return "\n".join("".join(text for text, _ in line).rstrip() for line in self._lines)

    def render_line(self, y: int) -> Strip:
        return self.paint(self._visible(y), self.size.width)


def cut_line(line: Line, width: int) -> Line:
    """The line, cut or padded to exactly ``width`` cells."""
    cut: Line = []
    for text, name in line:
        part = text if cell_len(text) <= width else set_cell_size(text, max(width, 0))
        cut.append((part, name))
        width -= cell_len(part)
    return [*cut, (" " * max(width, 0), "text")]


def is_heading(line: Line) -> bool:
    """Whether a line is the heading of those below it."""
    return len(line) == 1 and line[0][1] == "label"


def _blanks_at_end(line: Line) -> int:
    whole = "".join(text for text, _ in line)
    return len(whole) - len(whole.rstrip())


def line_width(line: Line) -> int:
    """The cells of a line; wide characters take two."""
    return sum(cell_len(text) for text, _ in line)


def _cells(line: Line) -> list[tuple[str, str]]:
    """The characters of a line, each with its style."""
    return [
        (character, "text" if character == " " and name in _UNSEEN_ON_BLANKS else name)
        for text, name in line
        for character in text
    ]


def differences(old: Line, new: Line) -> list[tuple[int, int]]:
    """The runs of cells in which two lines differ, as (first, one beyond the last).

    Two runs are joined where moving the cursor from one to the other takes more bytes than writing the cells between,
    all of one colour. Blanks look alike in all colours, but for those that are underlined.
    """
    if old == new:
        return []
    before, after = _cells(old), _cells(new)
    if any(ord(character) >= 0x300 and not 0x2000 <= ord(character) < 0x2E80 for character, _ in before + after):
        return [(0, 1 << 16)]  # cells and characters may not agree: wide or combining characters
    length = max(len(before), len(after))
    blank = (" ", "text")
    before += [blank] * (length - len(before))
    after += [blank] * (length - len(after))
    runs: list[tuple[int, int]] = []
    gap = 0  # bytes for writing the equal cells since the last run
    pen = ""  # of the last cell that is not blank
    is_blank = False  # whether all cells since the last that differed are blank, and that one too
    for place, (character, name) in enumerate(after):
        if before[place] == after[place]:
            gap += len(character.encode()) if character == " " or name == pen else _MOVE
            is_blank = is_blank and character == " "
            continue
        # A long blank is erased, however long it is.
        fits = gap < _MOVE and (name == pen or character == " ")
        if runs and (gap == 0 or fits or (is_blank and character == " ")):
            runs[-1] = runs[-1][0], place + 1
        else:
            runs.append((place, place + 1))
        gap, is_blank = 0, character == " "
        if character != " ":
            pen = name
    return runs
