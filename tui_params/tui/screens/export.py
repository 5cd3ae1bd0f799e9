"""ExportScreen: what to take along, in which format, and under which name of a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui_params.core import text
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import PlainInput
from tui_params.tui.widgets.canvas import LinesView

_TITLES = {"csv": "CSV", "md": "Markdown", "json": "JSON", "npy": ".npy (numpy)", "svg": "SVG"}
_KNOWN = {f".{form}" for form in _TITLES}


class Choice(msgspec.Struct, frozen=True):
    """One thing that can be written: its name, what it is now, its formats (as suffixes), a name for the file."""

    name: str
    about: str
    forms: tuple[str, ...]
    stem: str


class Wish(msgspec.Struct, frozen=True):
    """What is to be written, as the user has it; ``may_replace``: over the file that is there."""

    choice: Choice
    form: str
    path: str
    may_replace: bool


class FileField(PlainInput):
    """The name of the file; the keys that choose come before those that move between fields."""

    BINDINGS = [
        Binding("up", "screen.choose(-1)", "what", show=False),
        Binding("down", "screen.choose(1)", "what", show=False),
        Binding("tab", "screen.change_form(1)", "format", show=False),
        Binding("shift+tab", "screen.change_form(-1)", "format", show=False),
    ]


class ExportScreen(ModalScreen[None]):
    """The choices, a field for the file, and what stands in the way; ``begin`` starts the writing, ``stop`` ends it.

    It stays until the writing has begun, so that another name can be given.
    """

    BINDINGS = [Binding("escape", "leave", "close", show=False)]
    AUTO_FOCUS = "FileField"

    def __init__(
        self,
        glyphs: Glyphs,
        choices: Sequence[Choice],
        first: int,
        begin: Callable[[Wish], object],
        stop: Callable[[], object],
    ) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._choices = choices
        self._at = first
        self._form = choices[first].forms[0]
        self._begin = begin
        self._stop = stop
        self._said: tuple[str, str] = ("", "text")
        self._occupied = ""
        """The name that was refused because there is such a file: a second enter replaces it."""
        self._is_waiting = False
        self._is_left = False

    def compose(self) -> ComposeResult:
        with Vertical(id="export", classes="-ascii" if self.glyphs.is_ascii else ""):
            yield LinesView(id="export-choices")
            with Horizontal(id="export-bar"):
                yield Static("file", id="export-mark")
                yield FileField("", id="export-file")
            yield LinesView(id="export-said")

    def on_mount(self) -> None:
        self.query_one("#export").border_title = "Write to a file"
        self._suggest()
        self._fill()

    @property
    def choice(self) -> Choice:
        return self._choices[self._at]

    @property
    def field(self) -> FileField:
        return self.query_one(FileField)

    def _suggest(self, stem: str | None = None) -> None:
        """Put a name into the field, with the suffix of the format."""
        with self.field.prevent(Input.Changed):
            self.field.value = f"{self.choice.stem if stem is None else stem}.{self._form}"
        self.field.cursor_position = len(self.field.value) - len(self._form) - 1
        self._occupied = ""
        self._said = ("", "text")

    def _stem(self) -> str:
        """The name in the field without the suffix, if that is one of ours."""
        stem, suffix = os.path.splitext(self.field.value)
        return stem if suffix.lower() in _KNOWN else self.field.value

    def _fill(self) -> None:
        lines = choice_lines(self._choices, self._at, self._form, self.glyphs, self._width)
        self._set(LinesView, "#export-choices", lines)
        self._set(LinesView, "#export-said", self._said_lines())

    def _set(self, kind: type[LinesView], where: str, lines: list[Line]) -> None:
        view = self.query_one(where, kind)
        view.styles.height = len(lines)
        view.set_lines(lines)

    @property
    def _width(self) -> int:
        """Cells within the border, as screens.tcss has it."""
        return max(20, min(76, self.size.width * 96 // 100) - 4)

    def _said_lines(self) -> list[Line]:
        words, style = self._said
        lines: list[Line] = [[(line, style)] for line in _wrapped(words, self._width)[:3]]
        lines += [[] for _ in range(2 - len(lines))]
        arrows = "up down" if self.glyphs.is_ascii else "↑↓"
        keys: Line = [(arrows, "accent"), (" what   ", "dim"), ("tab", "accent"), (" format   ", "dim")]
        enter = "writes over it" if self._occupied else "writes"
        return [*lines, [*keys, ("enter", "accent"), (f" {enter}   ", "dim"), ("esc", "accent"), (" closes", "dim")]]

    def say(self, words: str, *, is_occupied: bool = False) -> None:
        """Say why nothing has been written; ``is_occupied``: unless the file that is there may be replaced."""
        self._is_waiting = False
        self._occupied = self.field.value if is_occupied else ""
        self._said = (
            f"{words}: enter again writes over it, or type another name." if is_occupied else words,
            "warning",
        )
        self._fill()

    def finish(self) -> None:
        """Go, because the writing has begun; a second call does nothing."""
        if not self._is_left:
            self._is_left = True
            self.dismiss(None)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        suffix = os.path.splitext(event.value)[1][1:].lower()
        if suffix in self.choice.forms:
            self._form = suffix
        self._occupied = ""
        self._said = ("", "text")
        self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._is_waiting or self._is_left:
            return
        path, choice = self.field.value, self.choice
        stem, suffix = os.path.splitext(path)
        if suffix and stem.lower().endswith(suffix.lower()):
            path = self.field.value = stem  # typed with its suffix, before the one that stood there
        suffix = suffix.lower()
        if os.path.basename(path).lower() in _KNOWN:
            self.say("The file needs a name.")
            return
        if suffix in _KNOWN and suffix[1:] not in choice.forms:
            forms = " or ".join(f".{form}" for form in choice.forms)
            self.say(f"The {choice.name} is written as {forms}, not as {suffix}.")
            return
        self._is_waiting = True
        may_replace = bool(self._occupied) and self._occupied == path
        self._begin(Wish(choice, self._form, path, may_replace))

    def action_choose(self, step: int) -> None:
        stem = self._stem()
        is_suggested = stem == self.choice.stem
        self._at = (self._at + step) % len(self._choices)
        self._form = self.choice.forms[0]
        self._suggest(None if is_suggested else stem)
        self._fill()

    def action_change_form(self, step: int) -> None:
        forms = self.choice.forms
        stem = self._stem()
        self._form = forms[(forms.index(self._form) + step) % len(forms)]
        self._suggest(stem)
        self._fill()

    def action_leave(self) -> None:
        if self._is_waiting:
            self._stop()
        self.finish()


def choice_lines(choices: Sequence[Choice], at: int, form: str, glyphs: Glyphs, width: int) -> list[Line]:
    """What can be written, with a mark before what is chosen, and its formats."""
    lines: list[Line] = []
    for number, choice in enumerate(choices):
        is_here = number == at
        mark = glyphs.closed if is_here else " "
        lines.append(
            [
                (f"{mark} {choice.name:<8}", "label" if is_here else "text"),
                (text.shorten(choice.about, width - 10), "dim"),
            ]
        )
    formats: Line = [("as    ", "dim")]
    for each in choices[at].forms:
        formats += [(_TITLES[each], "accent" if each == form else "dim"), ("   ", "dim")]
    return [*lines, [], formats]


def _wrapped(words: str, width: int) -> list[str]:
    lines = []
    words = text.clean(words)
    while words:
        cut = words.rfind(" ", 0, width + 1) if len(words) > width else len(words)
        cut = cut if cut > 0 else width
        lines.append(words[:cut])
        words = words[cut:].lstrip()
    return lines
