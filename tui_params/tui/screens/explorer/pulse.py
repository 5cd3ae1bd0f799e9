"""Pulse: keeps what is shown of a model that trains in another process up to date, and says how far it has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from tui_params.core import text
from tui_params.core.beat import Beat
from tui_params.core.course import Courses
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.questions import Questions
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.screens.explorer.watchpoints import WatchedFor
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.detail.tensor_detail import TensorDetail
from tui_params.tui.widgets.tree.module_tree import ModuleTree

EVERY = 0.5
"""Seconds between two looks at the steps of the process."""

AGAIN = 1.0
"""Seconds after which what is on screen is read anew, if the process has made a step and all was answered."""

REST = 3.0
"""How much longer than the last reading took over a line the next one is waited for: the line is for others too."""

HOLD = 1.5
"""How long a page may stay as it is until the next one is whole."""

_RATE_SECONDS = 10.0


class Training(Protocol):
    """What a pulse needs of the screen."""

    tree_view: ModuleTree
    detail: TensorDetail

    glyphs: Glyphs
    notice: Notice

    @property
    def is_settled(self) -> bool: ...

    @property
    def app(self) -> Any: ...

    def set_interval(self, interval: float, callback: Callable[[], None]) -> object: ...


class Pulse:
    """Looks at the steps of a source that trains; of any other it does nothing.

    After a step nothing that was read counts any more, and what is on screen is read anew. ``is_held`` keeps the
    picture as it is; the training goes on.
    """

    def __init__(
        self,
        session: Session,
        screen: Training,
        questions: Questions,
        changed: Callable[[], None],
    ) -> None:
        self.is_held = False
        self._session = session
        self._screen = screen
        self._questions = questions
        self._changed = changed
        self._is_watching = False
        self._courses: Courses | None = None
        self.watched = WatchedFor(session, screen, self._repaint)
        self._beat: Beat | None = None
        self._steps: deque[tuple[float, int]] = deque()
        self._shown = -1
        """The number of steps when what is on screen was asked for."""
        self._at = 0.0
        self._took: float | None = 0.0
        """How long it took until that was answered; None while it is not."""

    def begin(self) -> None:
        """Another source was opened, or the same one again."""
        self._steps.clear()
        self._shown, self._at, self._took = -1, monotonic(), None
        opened = self._session.opened
        self._courses = opened.source.courses() if opened is not None else None
        self._screen.tree_view.course_of = self._courses.of if self._courses is not None else lambda name: None
        self.watched.begin()
        if opened is not None and opened.both is not None and opened.source.beat() is not None:
            self.is_held = True  # what is compared is of one step
        self.look()
        if self._beat is not None and not self._is_watching:
            self._is_watching = True
            self._screen.set_interval(EVERY, self.look)

    def look(self) -> None:
        """Look at the steps; read anew what is on screen if there were some."""
        opened, now = self._session.opened, monotonic()
        beat = opened.source.beat() if opened is not None else None
        if beat is None:
            return
        self._steps.append((now, beat.steps))
        while now - self._steps[0][0] > _RATE_SECONDS:
            self._steps.popleft()
        if beat != self._beat:
            self._beat = beat
            self._changed()
        if self._shown < 0:
            self._shown = beat.steps
        if self._took is None and self._screen.is_settled:
            self._took = now - self._at
        if beat.steps != self._shown and beat.lost is None and not self.is_held and self._is_due(now):
            self._shown, self._at, self._took = beat.steps, now, None
            self._renew()
        self.watched.look()
        if not self.is_held:
            self._follow()

    def _is_due(self, now: float) -> bool:
        """Whether what is on screen is to be read anew, if there is something new."""
        opened = self._session.opened
        if self._took is None or opened is None or not self._screen.is_settled:
            return False
        is_far = opened.source.line is not None
        return now - self._at >= max(AGAIN, (1.0 + REST) * self._took if is_far else 0.0)

    def _repaint(self) -> None:
        self._screen.tree_view.refresh()
        self._questions.show_soon(0.0)
        self._changed()

    def _follow(self) -> None:
        """Show what was seen step by step since the last look, and have what is on screen now looked at."""
        courses, tree = self._courses, self._screen.tree_view
        if courses is not None and tree.rows is not None:
            courses.want([info.name for info in tree.tensors_on_screen()])
            if courses.publish():
                tree.refresh()
                self._questions.show_soon(0.0)

    def toggle(self) -> str | None:
        """Hold the picture, or let it go on; the words to say, or None where nothing trains."""
        if self._beat is None:
            return None
        self.is_held = not self.is_held
        self._changed()
        return "The picture is held; the training goes on." if self.is_held else "The picture follows the training."

    def hold_to_check(self) -> None:
        """Everything is about to be read and checked: hold the picture, and begin with nothing that was read before."""
        if self._beat is not None:
            self.is_held = True
            self._shown, self._at = self._beat.steps, monotonic()
            self._renew()

    @property
    def words(self) -> str:
        """How far it has come; empty where nothing trains."""
        beat = self._beat
        if beat is None:
            return ""
        step = "pass" if beat.by == "passes" else "step"
        if beat.lost is not None:
            return f"last seen at {step} {beat.steps:,}"
        if beat.held:
            return f"training held at {step} {beat.held:,}"
        if self.is_held:
            return f"picture held at {step} {self._shown:,}"
        if beat.by == "nothing":
            return "no step seen, values may be of two moments"
        if beat.age is None:
            return f"{step} {beat.steps:,}" if beat.steps else "no step yet"
        rate = self._rate
        if beat.age > max(3.0, 3.0 / rate if rate else 0.0):
            return f"{step} {beat.steps:,}, {text.duration(beat.age)} ago"
        words = f"{step} {beat.steps:,}, {text.number(rate, 3)}/s" if rate else f"{step} {beat.steps:,}"
        more = ["gradients still scaled"] if beat.is_scaled else []
        return ", ".join([words, *more, *([self.watched.words] if self.watched.words else [])])

    @property
    def _rate(self) -> float:
        """Steps a second over the last seconds; 0 if that is not known."""
        if len(self._steps) < 2:
            return 0.0
        (began, first), (now, last) = self._steps[0], self._steps[-1]
        return (last - first) / (now - began) if now > began else 0.0

    def _renew(self) -> None:
        """Forget all that was read, and read anew what is on screen; until then it shows what it did."""
        session = self._session
        before, opened = session.pages, session.opened
        if before is None or opened is None:
            return
        infos = (*opened.tensors, *opened.source.listing.gradients.values())
        session.renew([info.name for info in infos], keeps_figures=True)
        pages = session.pages
        if pages is None:
            return
        for name in self._questions.wanted:
            found = before.marks.measured(name)
            if found:
                pages.marks.record(opened.tree, name, found, None)
        if before.changes.is_across:  # they are of the step that they name
            pages.changes, pages.pair.key_of = before.changes, before.pair.key_of
        self.watched.note()
        self._screen.tree_view.marks = pages.marks
        pages.hold(HOLD)
        self._questions.changed = ()
        self._questions.show_soon(0.0)
        self._screen.detail.grid.reload()
        self._questions.ask_soon()
