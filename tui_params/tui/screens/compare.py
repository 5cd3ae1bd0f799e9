"""CompareScreen: what to compare with, and what is known of the comparison that is on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui_params.core import text
from tui_params.sources.given import is_address, shown
from tui_params.tui.state.paths import complete
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import PlainInput
from tui_params.tui.widgets.canvas import LinesView
from tui_params.tui.widgets.detail.text_lines import wrapped

_AROUND = 7
"""Lines of the frame, the field, the keys, and what is said."""

_MOST_OFFERED = 40
_ATTACH = "attach:"


class OtherField(PlainInput):
    """The path of the other source; tab completes it."""

    BINDINGS = [
        Binding("tab", "screen.complete", "complete", show=False),
        Binding("up", "screen.scroll(-1)", "up", show=False),
        Binding("down", "screen.scroll(1)", "down", show=False),
    ]


class CompareScreen(ModalScreen[None]):
    """A field for the other source above the report; ``choose`` opens it, ``leave`` ends the comparison that is on.

    It stays until the other source is open, so that the reason can be read where it cannot be, and mended.
    """

    BINDINGS = [Binding("escape", "close", "close", show=False)]
    AUTO_FOCUS = "OtherField"

    def __init__(
        self,
        glyphs: Glyphs,
        report: Sequence[str],
        choose: Callable[[str], object],
        leave: Callable[[], object] | None,
    ) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._report = report
        self._choose = choose
        self._leave = leave
        self._said: tuple[str, str] = ("", "text")
        self._is_left = False

    def compose(self) -> ComposeResult:
        with Vertical(id="compare", classes="-ascii" if self.glyphs.is_ascii else ""):
            with Horizontal(id="compare-bar"):
                yield Static("with", id="compare-mark")
                yield OtherField("a file, a folder, an address, attach:PID", id="compare-field")
            yield LinesView(id="compare-said")
            yield LinesView(id="compare-report")
            yield LinesView(id="compare-keys")

    def on_mount(self) -> None:
        self.query_one("#compare").border_title = "Compare"
        self._fill()

    def on_resize(self) -> None:
        self._fill()

    @property
    def field(self) -> OtherField:
        return self.query_one(OtherField)

    @property
    def _width(self) -> int:
        """Cells within the border, as screens.tcss has it."""
        return max(20, min(100, self.size.width * 96 // 100) - 4)

    def _fill(self) -> None:
        words, style = self._said
        self._set("#compare-said", wrapped(words, self._width, style, limit=6) if words else [])
        lines: list[Line] = []
        for place, sentence in enumerate(self._report):
            lines += [[]] if place == 0 else []
            hang = 3 if place < 2 else 2
            lines += wrapped(sentence, self._width, "text" if place > 1 else "label", hang=hang)
        room = max(3, self.size.height * 96 // 100 - _AROUND)
        self._set("#compare-report", lines, room)
        nothing = "  (nothing: no comparison)" if self._leave is not None else ""
        if self._width < len(f"enter compares{nothing}   tab completes   esc closes"):
            nothing = ""
        keys: Line = [
            ("enter", "accent"),
            (f" compares{nothing}   ", "dim"),
            ("tab", "accent"),
            (" completes   ", "dim"),
        ]
        self._set("#compare-keys", [[], [*keys, ("esc", "accent"), (" closes", "dim")]])

    def _set(self, where: str, lines: list[Line], most: int = 99) -> None:
        view = self.query_one(where, LinesView)
        view.styles.height = min(len(lines), most)
        view.set_lines(lines)

    def say(self, words: str) -> None:
        """Say why the other source could not be opened."""
        self._said = text.clean(words, 500), "warning"
        self._fill()

    def finish(self) -> None:
        """Go, because the other source is open; a second call does nothing."""
        if not self._is_left:
            self._is_left = True
            self.dismiss(None)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._said[0]:
            self._said = ("", "text")
            self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        path = self.field.value.strip()
        if self._is_left:
            return
        if not path:
            if self._leave is not None:
                self._leave()
            self.finish()
            return
        self._said = f"{self.glyphs.working} opening {text.clean(shown(path), 200)}", "dim"
        self._fill()
        is_path = not path.startswith(_ATTACH) and not is_address(path)
        self._choose(os.path.expanduser(path) if is_path else path)

    def action_complete(self) -> None:
        path, found = complete(self.field.value)
        with self.field.prevent(Input.Changed):
            self.field.value = path
        self.field.cursor_position = len(path)
        if len(found) == 1:
            self._said = ("", "text")
        else:
            shown = "  ".join(text.clean(name, 60) for name in found[:_MOST_OFFERED])
            more = f"  and {len(found) - _MOST_OFFERED:,} more" if len(found) > _MOST_OFFERED else ""
            self._said = (f"{shown}{more}" if found else "Nothing begins so."), "dim"
        self._fill()

    def action_scroll(self, step: int) -> None:
        view = self.query_one("#compare-report", LinesView)
        view.scroll_lines(view.top + step)

    def action_close(self) -> None:
        self.finish()
