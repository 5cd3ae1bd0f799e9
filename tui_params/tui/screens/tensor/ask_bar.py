"""AskBar: the one field of the tensor screen: for a slice, an index, or what a lens wants to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from tui_params.tui.widgets.bars import PlainInput


class AskField(PlainInput):
    """The field; escape leaves it."""

    BINDINGS = [Binding("escape", "leave", "leave", show=False)]

    class Left(Message):
        """Escape was pressed."""

    def action_leave(self) -> None:
        self.post_message(self.Left())


class AskBar(Horizontal):
    """A label and a field. A text that cannot be is underlined, and its reason told, while it is typed."""

    @dataclass(eq=False)
    class Judged(Message):
        """Why the text cannot be; empty if it can, or if nothing is asked any more."""

        reason: str

    @dataclass(eq=False)
    class Closed(Message):
        """It was left, with a text that was taken or without."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._check: Callable[[str], str | None] = lambda text: None
        self._take: Callable[[str], object] = lambda text: None

    def compose(self) -> ComposeResult:
        yield Static("", id="ask-mark", markup=False)
        yield AskField("", id="ask-text")

    @property
    def field(self) -> AskField:
        return self.query_one(AskField)

    def ask(
        self, label: str, text: str, check: Callable[[str], str | None], take: Callable[[str], object], hint: str = ""
    ) -> None:
        """Show the field with a text in it; ``take`` gets what is entered, if ``check`` has nothing against it."""
        self._check, self._take = check, take
        mark = self.query_one("#ask-mark", Static)
        mark.update(label)
        mark.styles.width = cell_len(label) + 2
        with self.field.prevent(Input.Changed):
            self.field.value = text
        self.field.placeholder = hint
        self.field.cursor_position = len(text)
        self.display = True
        self.field.focus()
        self._judge(text)

    def _judge(self, text: str) -> str | None:
        reason = self._check(text) if text.strip() else None
        self.field.set_class(reason is not None, "wrong")
        self.post_message(self.Judged(reason or ""))
        return reason

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._judge(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._judge(event.value) is None:
            self.close()
            self._take(event.value)

    def on_ask_field_left(self, message: AskField.Left) -> None:
        message.stop()
        self.close()

    def close(self) -> None:
        """Hide the field."""
        if self.display:
            self.display = False
            self.post_message(self.Judged(""))
            self.post_message(self.Closed())
