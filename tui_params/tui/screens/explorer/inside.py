"""Inside: the way from the tree and the page into the tensor screen, and what that screen is told while it is open."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from textual.app import App

from tui_params.core.tensor import TensorInfo
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.pulse import Pulse
from tui_params.tui.screens.explorer.questions import Questions
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.detail.value_grid import ValueGrid
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from tui_params.tui.desk.messages import DifferenceMeasured
    from tui_params.tui.screens.tensor.screen import TensorScreen
    from tui_params.tui.screens.tensor.subject import Subject
    from tui_params.tui.state.place import Place

_NAME = "tensor"
"""The name under which the app keeps the screen: opened again, its lenses still know what they have read."""


class Inside:
    """Opens the tensor screen, and keeps it up to date."""

    def __init__(
        self,
        session: Session,
        tree: ModuleTree,
        questions: Questions,
        notice: Notice,
        glyphs: Glyphs,
        pulse: Pulse,
        app: Callable[[], App[object]],
    ) -> None:
        self._session = session
        self._tree = tree
        self._questions = questions
        self._notice = notice
        self._glyphs = glyphs
        self._pulse = pulse
        self._app = app
        self._screen: TensorScreen | None = None
        self._across: Subject | None = None
        """The differences from another source, if one of them is looked into."""
        self._known: object = None
        """What the screen was told of the source last."""

    @property
    def is_open(self) -> bool:
        return self._screen is not None and self._screen in self._app().screen_stack

    def open(self, grid: ValueGrid | None = None) -> None:
        """Look into the tensor at the cursor: where one was in it last, or where the values of ``grid`` are."""
        pages = self._session.pages
        info = pages.tensor_at(self._tree.cursor) if pages is not None else None
        subject = self._subject()
        if info is None or subject is None:
            self._notice.say("Only a tensor can be looked into: move to one first.")
            return
        if self.is_open:
            return
        from tui_params.tui.state.place import first_place

        place: Place | None = None
        self._across = None
        if grid is not None and grid.view is not None and grid.corner is not None:
            place = first_place(info.shape, grid.expression).within(grid.corner)
        self._open(subject, info, place)

    def open_difference(self) -> None:
        """Look into what the tensor at the cursor differs in from its partner in another source."""
        pages, desk = self._session.pages, self._session.desk
        info = pages.tensor_at(self._tree.cursor) if pages is not None else None
        pairs = desk.asking.pairs if desk is not None else None
        pair = pairs.pair(info.name) if pairs is not None and info is not None else None
        if pairs is None or pair is None:
            self._notice.say("Only a tensor that two compared sources have has a difference: move to one first.")
            return
        from tui_params.core.compare.difference_source import why_not

        reason = why_not(pair)
        if reason is not None or self.is_open:
            self._notice.say(reason or "")
            return
        from tui_params.tui.screens.tensor.subject import Subject

        source = pairs.difference
        version = ("B - A", self._session.generation)
        self._across = subject = Subject(
            source, version, pairs.figures_of, pairs.want_figures, "the difference B - A", fetching=pairs.fetching
        )
        self._open(subject, source.find(pair.name))

    def _open(self, subject: Subject, info: TensorInfo, place: Place | None = None) -> None:
        from tui_params.tui.screens.tensor.lenses import LENSES
        from tui_params.tui.screens.tensor.screen import TensorScreen
        from tui_params.tui.state.stays import Stays

        app = self._app()
        if self._screen is None:
            self._screen = TensorScreen(self._glyphs, subject, info, place, Stays(LENSES[0].slot))
            app.install_screen(self._screen, _NAME)
        else:
            self._screen.look_into(subject, info, place)
        self._known = self._state
        app.push_screen(self._screen, lambda _: self._leave())

    def _subject(self) -> Subject | None:
        desk = self._session.desk
        if desk is None:
            return None
        from tui_params.tui.screens.tensor.subject import Subject

        about = "the file has changed" if self._session.stale is not None else self._pulse.words
        session = self._session
        known = session.figures, self._want, about, session.summary_of
        return Subject(desk.opened.source, session.generation, *known, desk.fetching)

    def _want(self, info: TensorInfo) -> None:
        self._questions.inside = info.name
        self._questions.ask_soon()

    def _leave(self) -> None:
        self._questions.inside = None

    @property
    def _state(self) -> object:
        return self._session.generation, self._session.stale, self._pulse.words

    def look(self) -> None:
        """Tell the screen if the source was opened again, or if it is known by now that it has changed."""
        if self.is_open and self._state != self._known and self._screen is not None:
            self._known = self._state
            subject = self._subject() if self._across is None else None
            if subject is not None:
                self._screen.renew(subject)

    def take_figures(self, names: Collection[str]) -> None:
        """Figures of these tensors have come."""
        if self.is_open and self._screen is not None and self._across is None and self._screen.info.name in names:
            self._screen.renew(self._screen.subject)

    def take_difference(self, message: DifferenceMeasured) -> None:
        """The figures of the difference that is looked into have come."""
        if self._across is None or self._screen is None or message.generation != self._session.generation:
            return
        if self.is_open and self._screen.info.name == message.name:
            self._screen.renew(self._across)
