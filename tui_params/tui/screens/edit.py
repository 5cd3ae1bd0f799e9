"""EditScreen: what to do with values of a live model, and what would come of it, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui_params.core import text
from tui_params.core.edits import OPERATIONS, Edit, Operation, Proposal
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.tui import keys
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import PlainInput
from tui_params.tui.widgets.canvas import LinesView, line_width
from tui_params.tui.widgets.detail.text_lines import wrapped
from tui_params.tui.widgets.edit_lines import STAYS, brief_lines, changed_words, touched_lines

_SHORT = 26
"""Lines of the terminal from which on there is room for blank lines."""

_WIDE = 68
"""Cells from which on there is room for one more hint."""

_SAID = {True: 4, False: 3}
"""Lines for what there is to say, with blank lines and without."""

_TITLES: dict[Operation, str] = {
    "set": "set to",
    "add": "add",
    "scale": "scale by",
    "zero": "zero",
    "fill": "fill from",
}

_KINDS: dict[Operation, str] = {"set": "number", "add": "number", "scale": "number", "zero": "", "fill": "name"}
"""What is typed into the field."""


_WORDS: dict[str, Operation] = {_TITLES[operation]: operation for operation in OPERATIONS}
_WORDS |= {operation: operation for operation in OPERATIONS}
_TYPED = re.compile(r"\s*(set to|scale by|fill from|set|add|scale|fill|zero)(?:\s+|$)", re.IGNORECASE)
_JOINT = re.compile(r"\s*(?:to|by|from)\s+", re.IGNORECASE)

TYPE_IT = "tab, or typed"
"""How another operation is chosen."""


def typed_operation(words: str) -> tuple[Operation | None, str]:
    """The operation that a text begins with, and the rest of it: ``add 0.1`` is (add, 0.1). None if with no operation.

    A word is one only with a blank behind it: the name of a tensor may begin so. ``zero`` needs no more.
    """
    match = _TYPED.match(words)
    if match is None or (match.end() == len(words) and not words[-1].isspace() and match[1].lower() != "zero"):
        return None, words
    return _WORDS[match[1].lower()], words[match.end() :]


class Target(msgspec.Struct, frozen=True):
    """Values that can be edited: ``name`` says what they are (cell, slice, table, tensor)."""

    name: str
    window: Window


class OperandField(PlainInput):
    """The number, or what to fill from; the keys that choose come before those that move between fields."""

    BINDINGS = [
        Binding("up", "screen.choose(-1)", "where", show=False),
        Binding("down", "screen.choose(1)", "where", show=False),
        Binding("tab", "screen.change_operation(1)", "operation", show=False),
        Binding("shift+tab", "screen.change_operation(-1)", "operation", show=False),
    ]


class EditScreen(ModalScreen[None]):
    """The places, the operations, a field for the number, and the statistics before and after.

    ``ask`` asks for a proposal under a key, which is given to ``take``; ``stage`` takes the proposal that is right, and
    returns why it is not staged, or nothing.
    """

    BINDINGS = [Binding("escape", "leave", "close", show=False), *keys.bindings(keys.EDITS[2:3])]
    AUTO_FOCUS = "OperandField"

    def __init__(
        self,
        glyphs: Glyphs,
        info: TensorInfo,
        targets: Sequence[Target],
        ask: Callable[[object, Edit], object],
        stage: Callable[[Proposal], str],
        apply: Callable[[], object],
    ) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._info = info
        self._targets = targets
        self._at = 0
        self._operation: Operation = "set"
        self._typed: dict[str, str] = {}
        self._ask = ask
        self._stage = stage
        self._apply = apply
        self._proposal: Proposal | None = None
        self._reason = ""
        self._is_staging = False
        """Whether it is staged as soon as it is known what comes of it."""
        self._is_applying = False
        """Whether everything that is staged is then applied."""
        self._is_left = False

    def compose(self) -> ComposeResult:
        with Vertical(id="edit", classes="-ascii" if self.glyphs.is_ascii else ""):
            yield LinesView(id="edit-choices")
            with Horizontal(id="edit-bar"):
                yield Static("", id="edit-mark", markup=False)
                yield OperandField("", id="edit-operand")
            yield LinesView(id="edit-said")

    def on_mount(self) -> None:
        self.query_one("#edit").border_title = "Set values"
        self._ask_now()

    def on_resize(self) -> None:
        self._fill()

    @property
    def field(self) -> OperandField:
        return self.query_one(OperandField)

    @property
    def edit(self) -> Edit:
        """What is asked for now."""
        operand = "" if self._operation == "zero" else self.field.value
        return Edit(self._info.name, self._targets[self._at].window.expression, self._operation, operand)

    def take(self, key: object, proposal: Proposal | None, reason: str) -> None:
        """Take what would come of an edit, if it still is the one that is asked for."""
        if key != self.edit or self._is_left:
            return
        self._proposal, self._reason = proposal, reason
        if self._is_staging:
            self._is_staging = False
            self._finish()
        self._fill()

    def _ask_now(self) -> None:
        self._proposal, self._reason = None, ""
        self._is_staging = self._is_applying = False
        edit = self.edit
        # Without a number there is nothing to work out, and nothing wrong yet.
        if edit.operation == "zero" or edit.operand.strip():
            self._ask(edit, edit)
        self._fill()

    def _finish(self) -> None:
        if self._proposal is None:
            return
        self._reason = self._stage(self._proposal)
        if not self._reason:
            self._leave()
            if self._is_applying:
                self._apply()

    def _leave(self) -> None:
        if not self._is_left:
            self._is_left = True
            self.dismiss(None)

    # Painting

    @property
    def _width(self) -> int:
        """Cells within the border, as screens.tcss has it."""
        return max(20, min(76, self.size.width * 96 // 100) - 4)

    def _fill(self) -> None:
        if not self.is_mounted:
            return
        self.query_one("#edit-mark", Static).update(f"{_TITLES[self._operation]} ", layout=False)
        self.field.placeholder = _hint(self._operation, self._info)
        self._set("#edit-choices", self._choice_lines())
        self._set("#edit-said", self._said_lines())

    def _set(self, where: str, lines: list[Line]) -> None:
        view = self.query_one(where, LinesView)
        view.styles.height = len(lines)
        view.set_lines(lines)

    def _choice_lines(self) -> list[Line]:
        info, width = self._info, self._width
        about = f"  {text.shape(info.shape)} {text.clean(info.dtype.short, 12)}"
        lines: list[Line] = [[(text.shorten(text.clean(info.name), width - len(about)), "title"), (about, "dim")]]
        for number, target in enumerate(self._targets):
            is_here = number == self._at
            mark = self.glyphs.closed if is_here else " "
            values = text.plural(target.window.numel, "value")
            shown = text.shorten(target.window.expression, width - 13 - len(values))
            lines.append([(f"{mark} {target.name:<7}", "label" if is_here else "text"), (f"{shown}  {values}", "dim")])
        operations: Line = []
        for operation in OPERATIONS:
            words = operation if operation != "fill" else "fill from"
            operations += [(words, "accent" if operation == self._operation else "dim"), ("   ", "dim")]
        if line_width(operations) + len(TYPE_IT) <= width:
            operations.append((TYPE_IT, "label"))
        gap: list[Line] = [[]] if self._is_roomy else []
        return [*lines, *gap, operations]

    @property
    def _is_roomy(self) -> bool:
        return self.size.height >= _SHORT

    def _said_lines(self) -> list[Line]:
        width, proposal = self._width, self._proposal
        gap: list[Line] = [[]] if self._is_roomy else []
        before, after = (proposal.before, proposal.after) if proposal is not None else (None, None)
        lines: list[Line] = [*gap, *brief_lines(before, after, width)]
        most = _SAID[self._is_roomy]
        if proposal is not None and not self._reason:
            changes = changed_words(proposal.changed, proposal.numel)
            said = [[(changes, "text")], *touched_lines(proposal.also, (*proposal.remarks, STAYS), width, most)]
            said = said[:most]
        elif self._reason:
            said = wrapped(f"{self._reason[:1].upper()}{self._reason[1:]}.".replace("..", "."), width, "warning")[:most]
        else:
            said = [[("working it out" if self._is_asked else "", "dim")]]
        lines += [*gap, *said, *([[]] * (most - len(said)))]
        arrows = "up down" if self.glyphs.is_ascii else "↑↓"
        hints: Line = [(arrows, "accent"), (" where   ", "dim"), ("tab", "accent"), (" what   ", "dim")]
        hints += [("enter", "accent"), (" stages   ", "dim")]
        if width >= _WIDE:
            apply = keys.first("apply", getattr(getattr(self.app, "settings", None), "keys", {}))
            hints += [(apply, "accent"), (" applies   ", "dim")]
        return [*lines, [*hints, ("esc", "accent"), (" closes", "dim")]]

    @property
    def _is_asked(self) -> bool:
        return self._operation == "zero" or bool(self.field.value.strip())

    # Keys

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        operation, rest = typed_operation(event.value)
        joint = _JOINT.match(event.value)
        if operation is not None and self._operation != "fill":
            self._typed[_KINDS[self._operation]] = ""
            self._operation = operation
            self._write(rest)
        elif joint is not None:  # "set" was typed before it, and taken
            self._write(event.value[joint.end() :])
        self._ask_now()

    def _write(self, words: str) -> None:
        """Put a text into the field, with the cursor behind it."""
        with self.field.prevent(Input.Changed):
            self.field.value = words
        self.field.cursor_position = len(words)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._submit()

    def _submit(self) -> None:
        if self._is_left or self._reason:
            return
        if not self._is_asked:
            self._reason = "a tensor or a .npy file is missing" if self._operation == "fill" else "a number is missing"
            self._fill()
        elif self._proposal is not None:
            self._finish()
            self._fill()
        else:
            self._is_staging = True

    def action_apply_edits(self) -> None:
        self._is_applying = True
        self._submit()

    def action_choose(self, step: int) -> None:
        self._at = (self._at + step) % len(self._targets)
        self._ask_now()

    def action_change_operation(self, step: int) -> None:
        at = (OPERATIONS.index(self._operation) + step) % len(OPERATIONS)
        before, after = _KINDS[self._operation], _KINDS[OPERATIONS[at]]
        if before != after:
            # A number is no name of a tensor: each has a text of its own.
            self._typed[before] = self.field.value
            self._write(self._typed.get(after, ""))
        self._operation = OPERATIONS[at]
        self._ask_now()

    def action_leave(self) -> None:
        self._leave()


def _hint(operation: Operation, info: TensorInfo) -> str:
    if operation == "zero":
        return "nothing to type"
    if operation == "fill":
        return "the name of a tensor, or a .npy file"
    return {"bool": "true or false", "int": "a whole number", "complex": "a number such as 1-2j"}.get(
        info.dtype.kind, "a number, nan or inf" if operation == "set" else "a number"
    )
