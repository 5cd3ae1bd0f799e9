"""MatrixScreen: layers down, kinds across, each tensor a cell in the colour of one figure."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult

from tui_params.core import text
from tui_params.core.layers.shades import against_of
from tui_params.tui import keys
from tui_params.tui.screens.kinds import ODD_NOTE
from tui_params.tui.screens.layer_screen import LayerScreen
from tui_params.tui.state.layer_book import LayerBook
from tui_params.tui.widgets.bars import Part
from tui_params.tui.widgets.matrix.matrix_map import MatrixMap


class MatrixScreen(LayerScreen):
    """One plane of the matrix."""

    KEYS = keys.MATRIX
    BINDINGS = keys.bindings(keys.MATRIX)
    TITLE_OF = "Matrix"
    AUTO_FOCUS = "MatrixMap"

    def compose(self) -> ComposeResult:
        yield self.title_bar
        yield MatrixMap(self.glyphs, id="matrix")
        yield self.key_bar

    @property
    def map(self) -> MatrixMap:
        return self.query_one(MatrixMap)

    @property
    def shown(self) -> LayerBook | None:
        return self.map.book

    @property
    def current_tensor(self) -> int | None:
        return self.map.current_tensor

    def show(self, book: LayerBook | None) -> None:
        if book is None:
            self.map.words = "The tensors are being grouped by their names."
            self.map.fill()
            return
        self.map.words = "No name has the number of a layer in it, so that there is no matrix."
        self.map.show(book)

    @property
    def hints(self) -> Sequence[str]:
        book = self.map.book
        if book is not None and not book.table.planes:
            return ("matrix.back", "matrix.kinds", "matrix.help")
        planes = ("matrix.next_plane",) if book is not None and len(book.table.planes) > 1 else ()
        read = ("matrix.read",) if self.can_read else ("matrix.next",)
        usual = ("matrix.enter", "matrix.statistic", *planes, *read, "matrix.back", "matrix.help")
        return (*usual, "matrix.against", "matrix.kinds")

    def go_to(self, tensor: int) -> None:
        self.map.go_to(tensor)

    def title_parts(self, book: LayerBook) -> list[Part]:
        planes = book.table.planes
        if not planes:
            return []
        plane = planes[self.map.plane]
        parts: list[Part] = []
        if len(planes) > 1:
            parts.append((f" {self.map.plane + 1} of {len(planes):,}", "text"))
        parts.append((f"  {text.shorten_name(text.name(plane.title or 'layers', 200), 44)}", "text"))
        across = text.plural(len(plane.columns), "column" if plane.is_split else "kind")
        size = f"{text.plural(len(plane.rows), 'layer')}, {across}"
        return [*parts, (f"  {size}", "dim")]

    def on_matrix_map_moved(self, message: MatrixMap.Moved) -> None:
        self.notice.clear()
        self.update_bars()

    # Keys

    def action_move(self, down: int, across: int) -> None:
        self.map.move(down, across)

    def action_page(self, down: int, across: int) -> None:
        self.map.page(down, across)

    def action_edge(self, by: int) -> None:
        self.map.edge(by)

    def action_plane(self, by: int) -> None:
        if not self.map.turn_plane(by):
            self.notice.say("There is one plane only: no other layers, and no experts.")

    def action_seek(self, by: int) -> None:
        if not self.map.seek(by):
            self.notice.say("Nothing in this plane stands out, as far as it is known.")

    def action_against(self) -> None:
        """Colours against the median of each kind, or the same for all."""
        book = self.map.book
        if book is None:
            return
        if against_of(book.statistic, "kind") != "kind":
            self.notice.say(f"The colours of {book.statistic.title} are the same for all kinds.")
            return
        book.against = "plane" if book.against == "kind" else "kind"
        self.fill()

    def action_enter(self) -> None:
        if self.current_tensor is None:
            self.notice.say("There is no tensor in this cell.")
        else:
            self.go_there()

    @property
    def notes(self) -> Sequence[str]:
        return (
            "Colours against the median of the kind: blue is less, orange more, and the ends of the scale are as many "
            "times less and more as its numbers say. Against all (a): from zero to the number at the end of the scale. "
            "The limits are robust: 1.5 times the 90 % quantile, so that a few tensors cannot hide the rest.",
            f"A blank: no such tensor. {self.glyphs.unknown} not read yet, - no such value, {self.glyphs.unreadable} "
            "cannot be read, NaN or N has a NaN or an infinity.",
            ODD_NOTE,
        )
