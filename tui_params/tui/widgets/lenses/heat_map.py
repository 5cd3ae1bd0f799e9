"""HeatMap: a whole plane as a picture, of blocks that become single values as one zooms in."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import msgspec
from rich.style import Style
from textual import events

from tui_params.core import text
from tui_params.core.numbers.region import Region
from tui_params.core.window import Plane
from tui_params.tui import keys
from tui_params.tui.desk.tensor_desk import Answer, TensorDesk
from tui_params.tui.state.place import Place
from tui_params.tui.terminal.colour_depth import Depth, depth_of
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import wrapped
from tui_params.tui.widgets.lenses import heat_layout
from tui_params.tui.widgets.lenses.heat_colours import heat_style, is_half
from tui_params.tui.widgets.lenses.heat_layout import Layout, Zoom
from tui_params.tui.widgets.lenses.heat_lines import Sketch, all_lines, title_of
from tui_params.tui.widgets.lenses.heat_pictures import BLOCK, NEAR, HeatPictures
from tui_params.tui.widgets.lenses.lens import Lens, Seen
from tui_params.tui.widgets.lenses.seeking import Seeking

if TYPE_CHECKING:
    from tui_params.core.numbers.raster import Raster, Statistic

_STATISTICS: tuple[Statistic, ...] = ("mean", "rms", "max", "share")


_WIDE = 90
"""Cells from which on the header has room for every word."""


class HeatMap(Lens):
    """A plane as a picture: a sample at once, then every element; coarser pictures need no second read."""

    slot = "heat"
    KEYS = keys.HEAT
    HINTS = (
        "heat.nearer", "heat.farther", "heat.statistic", "heat.next", "heat.scale", "heat.open", "heat.search",
        "heat.whole",
    )  # fmt: skip
    BINDINGS = keys.bindings(keys.HEAT)

    def __init__(self, glyphs: Glyphs, desk: TensorDesk) -> None:
        super().__init__(glyphs, desk)
        self.statistic: Statistic = "mean"
        self.is_symlog = False
        self.seeking = Seeking(desk, "heat.search", self._say, self._move, self._restate)
        self._zoom: Zoom | None = None
        self._zoom_of: Hashable = None
        self._pictures = HeatPictures(desk)
        self._raster: Raster | None = None
        self._drawn: Hashable = None
        self._layout: Layout | None = None

    # What is shown

    @property
    def is_settled(self) -> bool:
        return self._pictures.is_settled and not self.seeking.is_running

    @property
    def depth(self) -> Depth:
        """The colours that the terminal has."""
        app = self.app
        no_color = bool(getattr(app, "no_color", False))
        return depth_of(app.console.color_system, no_color=no_color, is_ascii=self.glyphs.is_ascii)

    @property
    def state(self) -> Line:
        raster = self._raster
        if self.seeking.is_running:
            return [(self.seeking.words, "accent")]
        if raster is None or self._pictures.reason is not None:
            return []
        down = raster.row_edges[1] - raster.row_edges[0]
        across = raster.column_edges[1] - raster.column_edges[0]
        times = "x" if self.glyphs.is_ascii else "×"
        is_complex = self.seen is not None and self.seen.info.dtype.is_complex
        what = title_of(raster.statistic, is_complex=is_complex)
        words = f"{what} of {down:,}{times}{across:,}{' blocks' if self.size.width >= _WIDE else ''}"
        if down * across == 1:
            words = "single values" if what == "mean" else what
        line: Line = [(words, "dim")]
        seen = self.seen
        if raster.is_sampled:
            total = 1 if seen is None else seen.place.plane.row_count * seen.place.plane.column_count
            done = self._pictures.done if self._pictures.is_reading_whole else 0
            share = f", {100 * done // max(total, 1)} % read" if done else ""
            line.append((f", sampled{share}", "accent"))
        elif self._pictures.is_old:
            line.append((", before the last change", "accent"))
        elif raster.is_coarse:
            line.append((", coarse", "accent"))
        sought = self.seeking.state
        return [*sought, ("  ", "dim"), *line] if sought else line

    @property
    def reach(self) -> int | None:
        view = self.seen.place.plane if self.seen is not None else None
        return None if view is None else view.row_count * view.column_count

    def show(self, seen: Seen) -> None:
        before, self.seen = self.seen, seen
        if before is not None and (before.info.name, before.version, before.place) != (
            seen.info.name, seen.version, seen.place,
        ):  # fmt: skip
            self.seeking.stop()  # whoever walks on does not wait for it
        self._turn_to(seen)
        self._fill()

    def _turn_to(self, seen: Seen) -> None:
        """Drop the pictures of another plane, and where it is of another size, what was seen of it."""
        view = seen.place.plane
        # What is seen of a plane is seen of the next one, and of that in the next layer.
        zoom_of = seen.info.shape, view.window, view.rows, view.columns
        if zoom_of != self._zoom_of:
            self._zoom_of, self._zoom = zoom_of, None
        self._pictures.turn_to((seen.info.name, seen.info.shape, view), seen.version)

    def hide(self) -> None:
        self.seeking.stop()
        self._pictures.pause(None if self.seen is None else self.seen.place.plane)

    def back(self) -> bool:
        """The first escape stops a search, or leaves a part for the whole plane."""
        if self.seeking.stop():
            return True
        if self._zoom is None or not self._zoom.level:
            return False
        self.action_whole()
        return True

    def on_resize(self) -> None:
        self._fill()

    def _fill(self) -> None:
        """Ask for what is missing, and paint what is here."""
        seen = self.seen
        if seen is None or not self.has_room:
            return
        reason = seen.info.unreadable or self._pictures.reason
        if reason is None and seen.place.index is None:
            reason = f"There is nothing to show: {seen.place.expression} of {text.shape(seen.info.shape)} is empty."
        if reason is not None:
            self.set_lines(wrapped(reason, self.size.width, "warning", limit=4))
            return
        view, place = seen.place.plane, seen.place
        layout = self._layout = heat_layout.lay_out(view, self.size.width, self.size.height)
        zoom = self._zoom if self._zoom is not None else heat_layout.whole(view)
        zoom = heat_layout.zoomed(zoom, 0, view, layout, place.row, place.column)
        self._zoom = zoom
        self._pictures.want_plane(seen.info, view)
        self._draw(seen, layout, zoom)

    def _draw(self, seen: Seen, layout: Layout, zoom: Zoom) -> None:
        from tui_params.core.numbers.raster import make_raster

        pictures = self._pictures.found
        if not any(picture.region.holds(zoom.seen) for picture in pictures):
            self._raster = None
            toll = self._pictures.toll
            reading: list[Line] = [[(f"{self.glyphs.unknown} the first picture is being read", "dim")]]
            self.set_lines(wrapped(toll, self.size.width, "accent", limit=4) if toll else reading)
            self._restate()
            return
        depth = self.depth
        rows = layout.lines * (2 if is_half(depth) else 1)
        drawn = (tuple(pictures), zoom.seen, rows, layout.columns, self.statistic, self.is_symlog)
        if drawn != self._drawn or self._raster is None:
            self._drawn = drawn
            self._raster = make_raster(
                pictures, zoom.seen, rows, layout.columns, self.statistic, is_symlog=self.is_symlog
            )
        raster = self._raster
        view, place = seen.place.plane, seen.place
        sketch = Sketch(raster, layout, view, place.row, place.column, depth, self.glyphs, seen.info.dtype.is_complex)
        row, column = sketch.at
        top, bottom = raster.row_edges[row : row + 2]
        left, right = raster.column_edges[column : column + 2]
        block = Region(top, left, bottom - top, right - left)
        if raster.is_coarse and not raster.is_sampled:
            self._pictures.want_near(seen.info, view, zoom.seen)
        facts = self._pictures.facts_of(seen.info, view, block)
        sketch = msgspec.structs.replace(sketch, facts=facts, note=self._note(seen.place.plane, block))
        self.set_lines(all_lines(sketch, self.size.width))
        self._restate()

    def _note(self, view: Plane, block: Region) -> str:
        """A word on the weakest row or column at the place, if it is zero and others of the block are not."""
        from tui_params.core.numbers.raster import least_column, least_row

        whole = self._pictures.whole
        if whole is None:
            return ""
        for word, found, number in (
            ("row", least_row(whole, block.top, block.top + block.height), view.rows),
            ("column", least_column(whole, block.left, block.left + block.width), view.columns),
        ):
            if found is not None and found[1] == 0:
                return f"{word} {heat_layout.axis_of(view, number).index(found[0])} is zero"
        return ""

    def take(self, answer: Answer) -> None:
        if self.seeking.take(answer) or not self._pictures.take(answer):
            return
        if not answer.is_last:
            self._restate()
            return
        if answer.reason is not None and answer.slot in (NEAR, BLOCK):
            self._say(answer.reason)
        self._fill()

    def _restate(self) -> None:
        self.post_message(self.Restated())

    def _say(self, words: str) -> None:
        self.post_message(self.Told(words))

    # Moving

    def _move(self, place: Place) -> None:
        seen = self.seen
        if seen is None or place == seen.place:
            return
        self.seeking.stop()
        # At once, so that the next key begins where this one ended.
        self.seen = msgspec.structs.replace(seen, place=place)
        self._turn_to(self.seen)
        self._fill()
        self.post_message(self.Moved(place))

    def _to(self, row: int, column: int) -> None:
        if self.seen is not None:
            self._move(self.seen.place.at(row, column))

    def _pace(self) -> tuple[int, int]:
        """Elements from one block to the next, about."""
        raster, zoom = self._raster, self._zoom
        if raster is None or zoom is None:
            return 1, 1
        rows, columns = len(raster.row_edges) - 1, len(raster.column_edges) - 1
        return max(1, zoom.seen.height // rows), max(1, zoom.seen.width // columns)

    def action_move(self, rows: int, columns: int) -> None:
        """To the next block, or beyond the edge of what is seen."""
        seen, raster = self.seen, self._raster
        if seen is None or raster is None:
            return
        place = seen.place
        self._to(
            _next(raster.row_edges, place.row, rows, self._pace()[0]),
            _next(raster.column_edges, place.column, columns, self._pace()[1]),
        )

    def action_page(self, down: int, across: int) -> None:
        """Half of what is seen further, with the place on it."""
        seen, zoom = self.seen, self._zoom
        if seen is None or zoom is None:
            return
        part, place = zoom.seen, seen.place
        rows, columns = down * max(1, part.height // 2), across * max(1, part.width // 2)
        moved = place.moved(rows, columns)
        part = msgspec.structs.replace(part, top=part.top + rows, left=part.left + columns)
        self._zoom = heat_layout.shown(Zoom(zoom.level, part), place.plane, moved.row, moved.column)
        self._move(moved)

    def action_row_edge(self, side: int) -> None:
        if self.seen is not None:
            self._to(self.seen.place.row, 0 if side < 0 else self.seen.place.plane.column_count - 1)

    def action_edge(self, side: int) -> None:
        if self.seen is not None:
            view = self.seen.place.plane
            self._to(*((0, 0) if side < 0 else (view.row_count - 1, view.column_count - 1)))

    def action_zoom(self, by: int) -> None:
        seen, zoom, layout = self.seen, self._zoom, self._layout
        if seen is None or zoom is None or layout is None:
            return
        place = seen.place
        changed = heat_layout.zoomed(zoom, by, place.plane, layout, place.row, place.column)
        if changed.level == zoom.level:
            self._say("These are the values." if by > 0 else "This is the whole plane.")
            return
        self._zoom = changed
        self._fill()

    def action_whole(self) -> None:
        self._zoom = None
        self._fill()

    def action_statistic(self, by: int) -> None:
        self.statistic = _STATISTICS[(_STATISTICS.index(self.statistic) + by) % len(_STATISTICS)]
        self._fill()

    def action_scale(self) -> None:
        self.is_symlog = not self.is_symlog
        self._fill()

    def action_seek(self, step: int) -> None:
        if self.seen is not None:
            self.seeking.seek(self.seen, step)

    def action_search(self) -> None:
        self.post_message(self.seeking.asked(lambda: self.seen))

    def action_open(self) -> None:
        if self.seen is not None:
            self.post_message(self.Moved(self.seen.place, "cells"))

    # The mouse

    def _block_at(self, x: int, y: int) -> tuple[int, int] | None:
        raster, layout = self._raster, self._layout
        if raster is None or layout is None:
            return None
        rows, columns = len(raster.row_edges) - 1, len(raster.column_edges) - 1
        cells = heat_layout.cells_of(rows, columns, layout, is_half=is_half(self.depth))
        row = 2 * y if cells.high == 0 else y // cells.high
        column = (x - layout.label) // cells.wide
        if 0 <= row < rows and 0 <= column < columns and y < layout.lines:
            return raster.row_edges[row], raster.column_edges[column]
        return None

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        block = self._block_at(at.x, at.y) if at is not None else None
        if block is not None:
            self._to(*block)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_zoom(-1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_zoom(1)

    # Painting

    def style_of(self, name: str, over: Style) -> Style:
        """The style of a cell, whose name says which table and levels it is of; else that of a name of the theme."""
        if not name.startswith("heat"):
            return super().style_of(name, over)
        is_dark = bool(self.app.current_theme.dark)
        return heat_style(name, self.depth, is_dark, over)


def _next(edges: tuple[int, ...], position: int, by: int, pace: int) -> int:
    """The first element of the block ``by`` blocks further; beyond the edge, about as far."""
    if not by:
        return position
    here = heat_layout.place_in(edges, position)
    there = here + by
    if 0 <= there < len(edges) - 1:
        return edges[there]
    return edges[0] + there * pace if there < 0 else edges[-1] + (there - len(edges) + 1) * pace
