"""TensorHelp: the keys of the tensor screen and of the lens that is up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tui_params.tui import keys
from tui_params.tui.keys import Key
from tui_params.tui.screens.help import HelpBox, keys_table
from tui_params.tui.screens.tensor.lenses import lens_keys
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import wrapped

_FIRST_PLANE = (
    "The last two axes lie down at first; of a kernel of a convolution out and in, if they are longer than what"
    " follows. Axes of 1 lie down only where there are not two others."
)


class TensorHelp(HelpBox):
    """The keys of one lens, then those that every lens has."""

    def __init__(self, glyphs: Glyphs, lens: str, own: Sequence[Key], notes: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(glyphs, "Keys inside a tensor")
        self._lens = lens
        self._own = own
        self._notes = notes

    def content(self, width: int, changed: Mapping[str, str]) -> list[Line]:
        lines: list[Line] = [*keys_table(self._lens, self._own, changed, width), []]
        if self._notes:
            lines += [[("What it shows", "title")], *_note_lines(self._notes, width), []]
        lines += keys_table("Every lens", keys.TENSOR, changed, width)
        lines += [*([(" ", "text"), *part] for part in wrapped(_FIRST_PLANE, width - 1, "dim", limit=20)), []]
        return [*lines, *keys_table("Lenses", lens_keys(), changed, width)]


def _note_lines(notes: Sequence[tuple[str, str]], width: int) -> list[Line]:
    """Each name, and below it what it means."""
    lines: list[Line] = []
    for name, meaning in notes:
        lines.append([(f" {name}", "accent")])
        lines += [[("   ", "text"), *part] for part in wrapped(meaning, width - 3, "text", limit=20)]
    return lines
