"""SheetEdges: the least, greatest and mean of the rows and columns in sight, once they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import msgspec

from tui_params.core import text
from tui_params.core.reading.edges import Edge, column_edges, row_edges
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk
from tui_params.tui.widgets.lenses.lens import Seen
from tui_params.tui.widgets.lenses.value_lines import Layout

SLOT = "cells.edges"


class Read(msgspec.Struct, frozen=True, gc=False):
    """Edges of some rows or columns, from position ``first`` on; of none while ``words`` say how far the reading is."""

    which: str
    first: int = 0
    edges: tuple[Edge, ...] = ()
    words: str = ""


class SheetEdges:
    """Keeps what was read of one plane; what is in sight and not known is asked for."""

    def __init__(self, desk: TensorDesk, changed: Callable[[], object]) -> None:
        self.is_on = False
        self.rows: dict[int, Edge] = {}
        self.columns: dict[int, Edge] = {}
        self.words = ""
        self.reason: str | None = None
        self._desk = desk
        self._changed = changed
        self._of: Hashable = None
        self._asked: Hashable = None

    @property
    def is_running(self) -> bool:
        return self._asked is not None

    def want(self, seen: Seen, layout: Layout) -> None:
        """Ask for the edges of what is in sight."""
        of = (seen.info.name, seen.version, seen.place.plane)
        if of != self._of:
            self.stop()
            self._of = of
            self.rows, self.columns, self.reason = {}, {}, None
        view, info = seen.place.plane, seen.info
        missing_rows = _missing(self.rows, layout.top, min(layout.lines, view.row_count - layout.top))
        missing_columns = _missing(self.columns, layout.left, min(layout.columns, view.column_count - layout.left))
        key = (of, missing_rows, missing_columns)
        if self.reason is not None or not (missing_rows[1] or missing_columns[1]):
            return
        if key == self._asked:
            return
        self._asked = key

        def read(task: Task) -> Read | None:
            def progress(which: str, count: int) -> Callable[[int, int], None]:
                def tell(done: int, total: int) -> None:
                    task.check()
                    if done < total:
                        what = text.plural(count, which)
                        whole = text.size(info.dtype.nbytes(total))
                        task.tell(Read(which, words=f"reading {what}, {100 * done // total} % of {whole}, esc stops"))

                return tell

            task.check()
            first, count = missing_rows
            if count:
                edges = row_edges(self._desk.source, info, view, first, count, progress("row", count))
                task.tell(Read("row", first, edges), always=True)
            first, count = missing_columns
            if not count:
                return None
            edges = column_edges(self._desk.source, info, view, first, count, progress("column", count))
            return Read("column", first, edges)

        self._desk.ask(SLOT, key, read)

    def take(self, answer: Answer) -> None:
        if answer.key != self._asked:
            return
        found = answer.result
        if isinstance(found, Read):
            self.words = found.words
            into = self.rows if found.which == "row" else self.columns
            into.update({found.first + place: edge for place, edge in enumerate(found.edges)})
        if answer.is_last:
            self._asked, self.words, self.reason = None, "", answer.reason
        self._changed()

    def stop(self) -> bool:
        """Whether something was being read, which is given up."""
        was_running = self._asked is not None
        self._desk.stop(SLOT)
        self._asked, self.words = None, ""
        return was_running


def _missing(known: dict[int, Edge], first: int, count: int) -> tuple[int, int]:
    """The first position, and how many follow, of the shortest run that has all that are not known."""
    places = [place for place in range(first, first + count) if place not in known]
    return (places[0], places[-1] - places[0] + 1) if places else (0, 0)
