"""Spectrum: the singular values of the plane that lies down, or of a kernel as out x rest."""

from __future__ import annotations

from collections.abc import Hashable

from tui_params.core.numbers.spectrum.spectrum import Spectrum as Values
from tui_params.core.reading.matrix import Matrix, folded_matrix, plane_matrix
from tui_params.core.reading.spectrum_reading import Progress, can_be_exact, cost, read_spectrum, refusal
from tui_params.core.window import is_kernel
from tui_params.tui import keys
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk
from tui_params.tui.keys import DOWN, END, HOME, LEFT, PAGE_DOWN, PAGE_UP, RIGHT, UP, Key
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import wrapped
from tui_params.tui.widgets.lenses.lens import Lens, Seen
from tui_params.tui.widgets.lenses.spectrum_curve import Curve, draw
from tui_params.tui.widgets.lenses.spectrum_lines import Room, View, figure_cells, room_of, spectrum_lines
from tui_params.tui.widgets.lenses.spectrum_notes import NOTES

_VALUES = "spectrum.values"
_CURVE = "spectrum.curve"

_KEPT = 8
"""Spectra that are kept, so that a step back to another layer shows its own at once."""


class Spectrum(Lens):
    """A picture of the largest values at once, then all of them, and the figures that follow.

    What was found is kept by tensor, version and matrix. All values of a large matrix are computed if they are asked
    for; they are taken back when another lens comes up.
    """

    slot = "spectrum"
    KEYS = (
        Key("spectrum.previous", f"{UP},{LEFT}", "move(-1)", "larger", "The next larger value", "↑ k ← h"),
        Key("spectrum.next", f"{DOWN},{RIGHT}", "move(1)", "smaller", "The next smaller value", "↓ j → l"),
        Key("spectrum.page_up", PAGE_UP, "move(-10)", "ten up", "Ten values up", "pgup"),
        Key("spectrum.page_down", PAGE_DOWN, "move(10)", "ten down", "Ten values down", "pgdn"),
        Key("spectrum.first", HOME, "edge(-1)", "largest", "The largest value", "home"),
        Key("spectrum.last", END, "edge(1)", "smallest", "The smallest value", "end G"),
        Key("spectrum.scale", "s", "scale", "scale", "Logarithmic or linear axes", "s"),
        Key("spectrum.all", "e", "all", "all values", "Compute all values, or stop it", "e"),
        Key("spectrum.fold", "o", "fold", "out x rest", "The whole as out x rest, or the plane that lies down", "o"),
    )
    HINTS = ("spectrum.scale", "spectrum.all")
    NOTES = NOTES
    BINDINGS = keys.bindings(KEYS)

    def __init__(self, glyphs: Glyphs, desk: TensorDesk) -> None:
        super().__init__(glyphs, desk)
        self.is_log = True
        self.at = 0
        self._folded: dict[str, bool] = {}
        self._found: dict[Hashable, Values] = {}
        self._reasons: dict[Hashable, str] = {}
        self._shares: tuple[Hashable, tuple[float, ...]] = (None, ())
        self._asked: Hashable = None
        self._is_running = False
        self._words = ""
        self._toll = ""
        self._stopped: Hashable = None
        self._wanted: Hashable = None
        self._curve: tuple[Hashable, Curve | None] = (None, None)
        self._curve_asked: Hashable = None

    # What is asked

    @property
    def is_folded(self) -> bool:
        """Whether the matrix is the whole slice as out x rest."""
        seen = self.seen
        if seen is None or not seen.place.plane.leading:
            return False
        return self._folded.get(seen.info.name, is_kernel(seen.info.shape))

    @property
    def matrix(self) -> Matrix | None:
        if self.seen is None:
            return None
        return (folded_matrix if self.is_folded else plane_matrix)(self.seen.place.plane)

    @property
    def reach(self) -> int | None:
        matrix = self.matrix
        return None if matrix is None else matrix.rows * matrix.columns

    @property
    def is_settled(self) -> bool:
        return not self._is_running and self._curve[0] == self._curve_asked

    def show(self, seen: Seen) -> None:
        self.seen = seen
        self._fill()

    def on_resize(self) -> None:
        self._fill()

    def hide(self) -> None:
        self._take_back()

    def back(self) -> bool:
        if not self._is_running:
            return False
        self._stopped = self._asked
        self._take_back()
        self._fill()
        return True

    def _take_back(self) -> None:
        self.desk.stop(_VALUES)
        self._is_running, self._asked = False, None

    def _key(self) -> Hashable:
        seen, matrix = self.seen, self.matrix
        return None if seen is None or matrix is None else (seen.info.name, seen.version, matrix)

    def _ask(self, key: Hashable) -> None:
        """Ask for what is not known of the matrix, unless it was stopped by hand."""
        seen, matrix = self.seen, self.matrix
        if (
            seen is None
            or matrix is None
            or (key == self._asked and not self.desk.refuse(seen.info, matrix.rows * matrix.columns))
        ):
            return
        found = self._found.get(key)
        wants_all = can_be_exact(matrix) and (cost(matrix) is None or key == self._wanted) and key != self._stopped
        if key in self._reasons or (found is not None and (found.is_exact or not wants_all)):
            self._take_back()
            return
        self._toll = self.desk.refuse(seen.info, matrix.rows * matrix.columns) if found is None else ""
        if self._toll:
            self._take_back()
            return
        if key == self._stopped:
            return
        info, is_folded = seen.info, self.is_folded and is_kernel(seen.info.shape)

        def work(task: Task) -> Values:
            return read_spectrum(
                self.desk.source,
                info,
                matrix,
                wants_all=wants_all,
                is_kernel=is_folded,
                check=task.check,
                tell=lambda progress: task.tell(progress, always=True),
            )

        self._asked, self._is_running, self._words = key, True, "reading"
        self.desk.ask(_VALUES, key, work)

    def take(self, answer: Answer) -> None:
        if answer.slot == _CURVE and answer.key == self._curve_asked and isinstance(answer.result, Curve):
            self._curve = (answer.key, answer.result)
            self._paint()
        elif answer.slot == _VALUES and answer.key == self._asked:
            found = answer.result
            if isinstance(found, Progress):
                self._words = found.words
                found = found.picture
            if isinstance(found, Values):
                self._keep(answer.key, found)
            if answer.reason is not None:
                self._reasons[answer.key] = answer.reason
            if answer.is_last:
                self._is_running = False
            self._fill()
            self.post_message(self.Restated())

    def _keep(self, key: Hashable, found: Values) -> None:
        self._found[key] = found
        while len(self._found) > _KEPT:
            del self._found[next(iter(self._found))]

    # What is shown

    @property
    def state(self) -> Line:
        matrix, found = self.matrix, self._found.get(self._key())
        if matrix is None:
            return []
        times = "x" if self.glyphs.is_ascii else "×"
        words = f"{matrix.rows:,} {times} {matrix.columns:,}{', out x rest' if self.is_folded else ''}"
        if found is None:
            return [(words, "dim")]
        return [(f"{words}  ", "dim"), ("all values", "dim") if found.is_exact else ("picture", "accent")]

    def _fill(self) -> None:
        """Ask for what is missing, and paint what is here."""
        seen, matrix, key = self.seen, self.matrix, self._key()
        if seen is None or matrix is None or not self.has_room:
            return
        reason = refusal(matrix, seen.info)
        if reason is not None:
            self._reasons[key] = reason
        self._ask(key)
        self._paint()

    def _paint(self) -> None:
        key, matrix = self._key(), self.matrix
        if matrix is None or not self.has_room:
            return
        width, height = self.size.width, self.size.height
        found, reason = self._found.get(key), self._reasons.get(key)
        if reason is not None:
            self._say(reason, "warning")
            return
        if found is None and self._toll:
            self._say(self._toll, "accent")
            return
        if found is None:
            self._say(f"{self.glyphs.working} {self._words}" if self._is_running else "Stopped; e reads it.", "dim")
            return
        if not found.norm:
            self._say(f"All {found.count:,} singular values are 0: it is a matrix of zeros.", "text")
            return
        if self._shares[0] is not found:
            self._shares = (found, found.shares())
        self.at = max(0, min(self.at, len(found.values) - 1))
        self._draw(key, found, room_of(width, height, len(figure_cells(found, self.glyphs))))
        said, ink = self._said(found, matrix)
        curve = self._curve[1] if self._curve[0] == self._curve_asked else None
        view = View(found, self._shares[1], curve, self.at, said, ink, self.glyphs)
        self.set_lines(spectrum_lines(view, width, height))

    def _say(self, words: str, ink: str) -> None:
        sentence = words[:1].upper() + words[1:]
        self.set_lines([[], *([(" ", "text"), *line] for line in wrapped(sentence, self.size.width - 2, ink))])

    def _draw(self, key: Hashable, found: Values, room: Room) -> None:
        """Have the curve drawn, by a thread: plotext takes a few frames for it."""
        wanted = (key, found.method, room, self.is_log)
        if wanted == self._curve_asked:
            return
        self._curve_asked = wanted
        is_log, glyphs = self.is_log, self.glyphs
        self.desk.ask(_CURVE, wanted, lambda task: draw(found, room.columns, room.rows, is_log, glyphs))

    def _said(self, found: Values, matrix: Matrix) -> tuple[tuple[str, ...], str]:
        """What the values are, and what is being done, the longest wording first; and its ink."""
        count = f"{found.count:,}"
        working = f"{self._words}{self.glyphs.working}"
        if found.is_exact:
            if found.count == 1:
                return ("One row or column has one singular value: its norm.",), "dim"
            way = "svd in float64" if found.method == "svd" else "eigenvalues of A'A in float64"
            words = f"All {count} values by {way}"
            if self._is_running:
                return (f"{words}; {working}", f"All {count} values; {working}"), "dim"
            return (f"{words}, down to {found.floor / found.norm:.1e} of the largest", words), "dim"
        words = f"Picture: the largest {len(found.values)} of {count}"
        if self._is_running:
            stops = f"{working} esc stops"
            return (f"{words}, each within its residual; {stops}", f"{words}; {stops}", f"{words}; {working}"), "accent"
        reason = cost(matrix)
        starts = "; e starts it" if can_be_exact(matrix) else ""
        long = () if reason is None else (f"{words}; {reason}{starts}",)
        return (*long, f"{words}, each within its residual; e computes all", f"{words}; e: all"), "accent"

    # Keys

    def action_move(self, step: int) -> None:
        self.at = max(0, self.at + step)
        self._paint()

    def action_edge(self, side: int) -> None:
        found = self._found.get(self._key())
        self.at = 0 if side < 0 or found is None else len(found.values) - 1
        self._paint()

    def action_scale(self) -> None:
        self.is_log = not self.is_log
        self._paint()

    def action_all(self) -> None:
        key, matrix, found = self._key(), self.matrix, self._found.get(self._key())
        if matrix is None or key in self._reasons:
            return
        if self._is_running:
            self.back()
        elif found is not None and found.is_exact:
            self.post_message(self.Told("All values are there."))
        elif not can_be_exact(matrix):
            self.post_message(self.Told(f"{cost(matrix)}."))
        else:
            self._stopped, self._wanted, self._asked = None, key, None
            self._fill()

    def action_fold(self) -> None:
        seen = self.seen
        if seen is None or not seen.place.plane.leading:
            self.post_message(self.Told("There is only one plane: at most two dimensions."))
            return
        self._folded[seen.info.name] = not self.is_folded
        self._fill()
        self.post_message(self.Restated())
