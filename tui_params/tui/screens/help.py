"""HelpScreen: every key, the marks, and the filter language, from the tables that define them."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from tui_params.core.query import HELP
from tui_params.tui.glyphs import Glyphs
from tui_params.tui.keys import SECTIONS
from tui_params.tui.widgets.canvas import Line, LinesView


class HelpPage(LinesView, can_focus=True):
    """The page; it scrolls with the arrow keys."""


class HelpScreen(ModalScreen[None]):
    """The keys and the filter language."""

    BINDINGS = [
        Binding("escape,q,question_mark", "dismiss", "close", show=False),
    ]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs

    def compose(self) -> ComposeResult:
        yield HelpPage(id="help")

    def on_mount(self) -> None:
        self.set_class(self.glyphs.is_ascii, "-ascii")
        self.query_one(HelpPage).border_title = "Keys"
        self.query_one(HelpPage).border_subtitle = "esc closes"

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        page = self.query_one(HelpPage)
        page.set_lines(help_lines(page.size.width, self.glyphs))


def help_lines(width: int, glyphs: Glyphs) -> list[Line]:
    """All of it in lines ``width`` cells wide; the tables of keys stand side by side where there is room."""
    sections = [_keys(title, [(key.shown, key.tooltip) for key in table], 14) for title, table in SECTIONS]
    marks = [
        (glyphs.trouble, "certainly wrong: NaN, infinities, a matrix of zeros"),
        (glyphs.caution, "worth a look: one value everywhere"),
        (glyphs.unreadable, "could not be read; the detail says why"),
        (glyphs.tied, "tied: shares its elements with an earlier name"),
        (glyphs.trainable, "trainable (requires_grad)"),
        (glyphs.unknown, "not read yet"),
    ]
    sections.append(_keys("Marks", marks, 4))
    if width >= 110:
        half = width // 2
        left, right = sections[0] + [[]] + sections[3], sections[1] + [[]] + sections[2]
        height = max(len(left), len(right))
        left += [[]] * (height - len(left))
        right += [[]] * (height - len(right))
        lines = [_fit(a, half) + b for a, b in zip(left, right, strict=True)]
    else:
        lines = [line for section in sections for line in [*section, []]][:-1]
    return [*lines, [], *_keys("Filter (after /)", list(HELP), 32 if width >= 90 else 26)]


def _keys(title: str, rows: list[tuple[str, str]], column: int) -> list[Line]:
    lines: list[Line] = [[(title, "title")]]
    for key, meaning in rows:
        lines.append([(f" {key:<{column - 1}} ", "accent"), (meaning, "text")])
    return lines


def _fit(line: Line, width: int) -> Line:
    used = sum(len(part) for part, _ in line)
    if used >= width:
        part, style = line[-1]
        return [*line[:-1], (part[: len(part) - (used - width) - 1] + " ", style)]
    return [*line, (" " * (width - used), "text")]
