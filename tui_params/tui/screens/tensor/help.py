"""TensorHelp: the keys of the tensor screen and of the lens that is up."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from tui_params.tui import keys
from tui_params.tui.keys import Key
from tui_params.tui.screens.help import HelpPage, keys_table
from tui_params.tui.screens.tensor.lenses import lens_keys
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import wrapped


class TensorHelp(ModalScreen[None]):
    """The keys of one lens, then those that every lens has."""

    BINDINGS = [Binding("escape,q,question_mark,f1", "dismiss", "close", show=False)]

    def __init__(self, glyphs: Glyphs, title: str, own: Sequence[Key], notes: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._title = title
        self._own = own
        self._notes = notes

    def compose(self) -> ComposeResult:
        yield HelpPage(id="help")

    def on_mount(self) -> None:
        self.set_class(self.glyphs.is_ascii, "-ascii")
        self.query_one(HelpPage).border_title = "Keys inside a tensor"
        self.query_one(HelpPage).border_subtitle = "arrows scroll, esc closes"

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        page = self.query_one(HelpPage)
        changed = getattr(getattr(self.app, "settings", None), "keys", {})
        width = page.size.width
        lines: list[Line] = [*keys_table(self._title, self._own, changed, width), []]
        if self._notes:
            lines += [[("What it shows", "title")], *_note_lines(self._notes, width), []]
        lines += [*keys_table("Every lens", keys.TENSOR, changed, width), []]
        page.set_lines([*lines, *keys_table("Lenses", lens_keys(), changed, width)])


def _note_lines(notes: Sequence[tuple[str, str]], width: int) -> list[Line]:
    """Each name, and below it what it means."""
    lines: list[Line] = []
    for name, meaning in notes:
        lines.append([(f" {name}", "accent")])
        lines += [[("   ", "text"), *part] for part in wrapped(meaning, width - 3, "text", limit=20)]
    return lines
