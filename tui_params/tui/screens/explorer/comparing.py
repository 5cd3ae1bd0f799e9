"""Comparing: how the tensors have moved since an earlier look at the same model, and what is kept for the next one."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from textual.message import Message

from tui_params.core import text
from tui_params.tui.desk.messages import Compared, ComparedFailed
from tui_params.tui.desk.recording import Recording
from tui_params.tui.screens.explorer import delays
from tui_params.tui.screens.explorer.against import Against
from tui_params.tui.screens.explorer.answers import Answers
from tui_params.tui.screens.explorer.delays import Delays
from tui_params.tui.screens.explorer.filter import Filter
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.order import Order
from tui_params.tui.screens.explorer.questions import Questions
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.state.changes import Changes
from tui_params.tui.state.looks import Looks
from tui_params.tui.widgets.tree.module_tree import ModuleTree


class Comparing:
    """Reads in the background what the next look needs, and shows the changes; ``looks`` is None where none is kept."""

    def __init__(
        self,
        session: Session,
        looks: Looks | None,
        tree: ModuleTree,
        answers: Answers,
        questions: Questions,
        order: Order,
        filter: Filter,
        waiting: Delays,
        notice: Notice,
        post: Callable[[Message], object],
        changed: Callable[[], None],
        key_of: Callable[[str], str],
    ) -> None:
        self.against = Against(session, tree, filter, questions, waiting, notice, post, changed, key_of)
        """The comparison with another source, which takes the place of that with an earlier look."""
        self._session = session
        self._looks = looks
        self._tree = tree
        self._answers = answers
        self._questions = questions
        self._order = order
        self._filter = filter
        self._waiting = waiting
        self._notice = notice
        self._post = post
        self._changed = changed
        self._key_of = key_of
        self._recording: Recording | None = None
        self._quiet_from = 0.0

    @property
    def is_settled(self) -> bool:
        return self._recording is None and self.against.is_settled

    def begin(self) -> None:
        """The model was opened, perhaps again: say with what it is compared, and read it in a moment."""
        self.stop()
        if self.against.begin():
            return
        if self._looks is not None:
            self._looks.begin()
            self._compare()
        elif self._session.pages is not None:  # the comparison that was on is left
            self._show(self._session.pages.changes)

    def _compare(self) -> None:
        pages, looks = self._session.pages, self._looks
        if pages is None or looks is None:
            return
        pages.changes.begin(looks.since)
        self._show(pages.changes)
        self._waiting.call("record", delays.RECORD_DELAY, self._record)

    def _show(self, changes: Changes) -> None:
        self._tree.set_changes(changes)
        self._filter.take_changes()

    def _record(self) -> None:
        desk, looks = self._session.desk, self._looks
        if desk is None or looks is None or looks.present is None:
            return
        others = [look for look in (looks.pin,) if look is not None]
        self._recording = Recording(
            desk.opened.source,
            desk.generation,
            looks.present,
            looks.before,
            others,
            keeps_values=looks.keeps_values,
            figures=desk.figures,
            first=tuple(self._questions.wanted),
            rests=self._rests,
            post=self._post,
        )
        self._recording.start()

    def _rests(self) -> bool:
        """Whether something more urgent goes on; asked by the thread that records."""
        return self._answers.is_reading or monotonic() < self._quiet_from

    def stir(self) -> None:
        """The user moves: what can wait, waits."""
        self._quiet_from = monotonic() + delays.RECORD_QUIET

    def stop(self) -> None:
        """Read nothing more."""
        self.against.stop()
        if self._recording is not None:
            self._recording.stop()
            self._recording = None

    def take(self, message: Compared) -> None:
        """Show what became known of some tensors."""
        pages, desk = self._session.pages, self._session.desk
        if pages is None or desk is None:
            return
        if message.generation != (self.against.number if pages.changes.is_across else self._session.generation):
            return
        if message.is_last:
            self._recording = None
            self.against.take_last()
            self._say_how_much_is_kept()
        if not pages.changes.since:
            return
        pages.changes.take(desk.opened.tree, message.changes, message.gone, is_whole=message.is_last)
        if pages.changes.is_across:
            self._tree.refresh()  # the modules above carry the worst
        else:
            self._tree.figures_changed(message.changes, message.changes)
        self._filter.take_changes()
        shown = pages.tensor_at(self._tree.cursor)
        if shown is None or shown.name in message.changes or f"{shown.name}.grad" in message.changes:
            self._questions.show_soon(delays.WANT_DELAY if shown is not None else delays.MODULE_DELAY)
        if message.is_last:
            self._order.take_changes()
        self._changed()

    def take_failure(self, message: ComparedFailed) -> None:
        """Say why not everything is compared; what was stays."""
        pages = self._session.pages
        if pages is None:
            return
        if message.generation != (self.against.number if pages.changes.is_across else self._session.generation):
            return
        self.stop()
        pages.changes.is_stopped = not pages.changes.is_whole
        self._filter.take_changes()
        self._notice.say(f"The comparison ended early: {message.reason}.", stays=True)
        self._changed()

    def _say_how_much_is_kept(self) -> None:
        looks = self._looks
        if looks is None or looks.present is None or not looks.keeps_values:
            return
        from tui_params.core.compare.looks import most_kept

        held, left = looks.present.nbytes, looks.present.left_out
        words = f"{text.size(held)} of values are kept in memory for the next look"
        if left:
            words += f"; {text.plural(left, 'tensor')} did not fit into {text.size(most_kept())}"
        self._notice.say(f"{words}.")

    def toggle_pin(self) -> None:
        """Compare from now on with the present, or if that is pinned, with the look before again."""
        looks, pages = self._looks, self._session.pages
        if pages is not None and pages.changes.is_across:
            self._notice.say("Another source is compared: a pin is for later looks at a model.")
            return
        if looks is None or looks.present is None:
            opened = self._session.opened
            if opened is not None and opened.source.beat() is not None:
                key = self._key_of("compare")
                self._notice.say(f"Of a model that trains no earlier look is kept: {key} compares it with a file.")
            else:
                self._notice.say("Only explore(model) compares: what is opened here is not looked at again.")
            return
        self.stop()
        is_set = looks.toggle_pin()
        self._compare()
        if is_set and looks.pin is not None:
            self._notice.say(
                f"Pinned at {looks.pin.at}: later looks are compared with the present. {self._key_of('pin')} unpins."
            )
        else:
            self._notice.say(f"The pin is gone: compared {looks.since}." if looks.since else "The pin is gone.")
        self._changed()
