"""Canvas: the base of every widget that draws lines itself, and LinesView, a scrollable page of such lines.

A *line* is a list of (text, style name) pairs, made by pure functions that know no terminal; the style names are those
of ``themes.INKS``. A line is painted only when it is on screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

Line = list[tuple[str, str]]

_PLAIN = str.maketrans({"…": "~", "–": "-", "×": "x", "·": ".", "±": "~"})


def to_ascii(text: str) -> str:
    """What an ASCII terminal can show of a text, in as many characters; what it cannot is ``?``."""
    return text if text.isascii() else text.translate(_PLAIN).encode("ascii", "replace").decode("ascii")


class Canvas(ScrollView):
    """A widget that paints lines of styled text."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._painted_with: object = None
        self._styles_by_name: dict[tuple[str, Style], Style] = {}
        self.is_ascii = False

    def on_mount(self) -> None:
        super().on_mount()  # type: ignore[no-untyped-call]
        self.is_ascii = bool(getattr(getattr(self.app, "glyphs", None), "is_ascii", False))

    @property
    def inks(self) -> Mapping[str, Style]:
        """The styles by name, as the theme has them (``themes.inks_of``)."""
        inks: Mapping[str, Style] = getattr(self.app, "inks", {})
        if inks is not self._painted_with:
            self._painted_with = inks
            self._styles_by_name.clear()
        return inks

    def style_of(self, name: str, over: Style) -> Style:
        """The style of a name on the background of ``over``; on the cursor's bar only warnings keep their colour."""
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

    Over a slow line this matters: most of the page of one tensor is the page of the next.
    """

    DEFAULT_CSS = """
    LinesView { overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = []

    @property
    def lines(self) -> Sequence[Line]:
        return self._lines

    def set_lines(self, lines: Sequence[Line]) -> None:
        """Show another page, from its top if it is a page of another size."""
        old, self._lines = self._lines, list(lines)
        size = Size(self.scrollable_content_region.width, len(self._lines))
        if len(old) != len(self._lines):
            self.virtual_size = size
        top = self.scroll_offset.y
        changed = []
        for y in range(self.size.height):
            at = y + top
            span = _difference(old[at] if at < len(old) else [], self._lines[at] if at < len(self._lines) else [])
            if span is not None:
                start, stop = span
                changed.append(Region(start, y, min(stop, self.size.width) - start, 1))
        changed = [region for region in changed if region.width > 0]
        if changed:
            self.refresh(*changed)

    def plain(self) -> str:
        """The page as text, for tests and for copying."""
        return "\n".join("".join(text for text, _ in line).rstrip() for line in self._lines)

    def render_line(self, y: int) -> Strip:
        at = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        return self.paint(self._lines[at], width) if at < len(self._lines) else self.blank(width)


def _difference(old: Line, new: Line) -> tuple[int, int] | None:
    """The first and one beyond the last cell in which two lines differ; None where they are the same."""
    if old == new:
        return None
    before = [(character, name) for text, name in old for character in text]
    after = [(character, name) for text, name in new for character in text]
    if any(ord(character) >= 0x1100 for character, _ in before + after if not 0x2000 <= ord(character) < 0x2E80):
        return 0, 1 << 16  # cells and characters may not agree: wide or combining characters
    length = max(len(before), len(after))
    blank = (" ", "text")
    before += [blank] * (length - len(before))
    after += [blank] * (length - len(after))
    start = next((index for index in range(length) if before[index] != after[index]), length)
    stop = next((index for index in range(length, start, -1) if before[index - 1] != after[index - 1]), start)
    return (start, stop) if stop > start else None
