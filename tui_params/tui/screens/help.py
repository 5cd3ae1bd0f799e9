"""HelpScreen: what to try first, every key, the marks, and the filter language, from the tables that define them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from tui_params.core.query.query import HELP
from tui_params.tui import keys
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import LinesView, cut_line
from tui_params.tui.widgets.detail.text_lines import wrapped

_TOUR = (
    (("tree.down", "tree.right"), "walk the tree; the page follows the cursor"),
    (("search",), "filter: q_proj, dtype:bf16, nan>0"),
    (("values",), "look at values: a slice such as [0, :3]"),
    (("scan", "problems"), "check every tensor, then list what is wrong"),
    (("sort", "columns"), "sort by a statistic; choose the columns"),
    (("watch", "hold"), "of a training: watch it; hold the picture"),
)
"""What to try first: ids of keys, and what they are for."""

_TWO_COLUMNS = 96
"""Cells of the page from which on two tables fit side by side: a terminal of about 110 columns."""


class HelpPage(LinesView, can_focus=True):
    """The page; it scrolls with the arrow keys."""


class HelpBox(ModalScreen[None]):
    """A box of lines above a screen: its keys, and what it shows."""

    BINDINGS = [
        Binding("escape,q,question_mark,f1", "dismiss", "close", show=False),
    ]

    def __init__(self, glyphs: Glyphs, title: str) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._title = title

    def content(self, width: int, changed: Mapping[str, str]) -> list[Line]:
        """The lines, ``width`` cells wide; ``changed`` are the keys that the user has changed, by id."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield HelpPage(id="help")

    def on_mount(self) -> None:
        self.set_class(self.glyphs.is_ascii, "-ascii")
        self.query_one(HelpPage).border_title = self._title
        self.query_one(HelpPage).border_subtitle = "arrows scroll, esc closes"

    def on_resize(self) -> None:
        self.call_after_refresh(self.fill)

    def fill(self) -> None:
        """Show the lines as wide as the box is now."""
        page = self.query_one(HelpPage)
        page.set_lines(self.content(page.size.width, getattr(getattr(self.app, "settings", None), "keys", {})))


class HelpScreen(HelpBox):
    """The keys and the filter language."""

    def __init__(self, glyphs: Glyphs, *, at_filter: bool = False) -> None:
        super().__init__(glyphs, "Keys")
        self.at_filter = at_filter

    def content(self, width: int, changed: Mapping[str, str]) -> list[Line]:
        return help_lines(width, self.glyphs, changed)

    def fill(self) -> None:
        super().fill()
        if self.at_filter:
            page = self.query_one(HelpPage)
            page.scroll_lines(
                next(at for at, line in enumerate(page.lines) if line and line[0][0].startswith("Filter"))
            )


def help_lines(width: int, glyphs: Glyphs, changed: Mapping[str, str] | None = None) -> list[Line]:
    """The whole page in lines ``width`` cells wide; ``changed`` are the keys that the user has changed, by id.

    The tables of keys stand side by side where there is room.
    """
    given = changed or {}
    is_wide = width >= _TWO_COLUMNS
    half = width // 2 - 1 if is_wide else width
    rows = [[(keys.shown(key.id, given), key.tooltip) for key in table] for _, table in keys.SECTIONS]
    column = _key_column([row for table in rows for row in table])
    # The tree has the longest keys; beside it, the column of keys can be narrower.
    columns = [
        column,
        *(_key_column([row for table in rows[1:] for row in table]) if is_wide else column for _ in rows[1:]),
    ]
    sections = [
        _table(title, table, wide, half) for (title, _), table, wide in zip(keys.SECTIONS, rows, columns, strict=True)
    ]
    marks = [
        (glyphs.error, "certainly wrong: NaN, infinities, a matrix of zeros"),
        (glyphs.warning, "worth a look"),
        (glyphs.unreadable, "could not be read; the detail says why"),
        (glyphs.tied, "tied: shares its elements with an earlier name"),
        (glyphs.trainable, "trainable (requires_grad)"),
        (glyphs.unknown, "not read yet; in the list of problems, a remark"),
    ]
    tree, everywhere, compared, values, edits = sections
    about = _table("Marks", marks, 4, half)
    if is_wide:
        left, right = [*tree, [], *compared, [], *about, [], *edits], [*everywhere, [], *values]
        height = max(len(left), len(right))
        left += [[]] * (height - len(left))
        right += [[]] * (height - len(right))
        lines: list[Line] = [[*cut_line(a, half + 2), *b] for a, b in zip(left, right, strict=True)]
    else:
        lines = [*tree, [], *everywhere, [], *compared, [], *values, [], *edits, [], *about]
    tour = [(" ".join(keys.first(name, given) for name in names), words) for names, words in _TOUR]
    lines = [*_table("First steps", tour, _key_column(tour), width), [], *lines]
    return [*lines, [], *_table("Filter (after /)", list(HELP), 32 if width >= 90 else min(26, width // 2), width)]


def keys_table(title: str, table: Sequence[keys.Key], changed: Mapping[str, str], width: int) -> list[Line]:
    """One table of keys under its title."""
    rows = [(keys.shown_of(key, changed), key.tooltip) for key in table]
    return _table(title, rows, _key_column(rows), width) if rows else []


def _key_column(rows: list[tuple[str, str]]) -> int:
    """Cells for the keys of a table; a longer key, which a user may have chosen, gets a line of its own."""
    return min(max(len(key) for key, _ in rows) + 3, 14)


def _table(title: str, rows: list[tuple[str, str]], column: int, width: int) -> list[Line]:
    """A title, and a line for each row; an explanation that is too long goes on below its beginning."""
    lines: list[Line] = [[(title, "title")]]
    for key, meaning in rows:
        parts = wrapped(meaning, width - column, "text")
        if len(key) > column - 2:
            lines.append([(f" {key}", "accent")])
        else:
            lines.append([(f" {key:<{column - 1}}", "accent"), *parts.pop(0)])
        lines += [[(" " * column, "text"), *part] for part in parts]
    return lines


def note_lines(notes: Sequence[str], width: int) -> list[Line]:
    """What a screen shows, in sentences below a title."""
    lines: list[Line] = [[("What it shows", "title")]]
    for note in notes:
        lines += [[(" ", "text"), *part] for part in wrapped(note, width - 1, "text", limit=20)]
    return lines
