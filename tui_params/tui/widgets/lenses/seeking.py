"""Seeking: the search of a lens for values: what is sought, how far it is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tui_params.core import text
from tui_params.core.numbers.condition import NOT_FINITE, Condition, parse_condition, words_of
from tui_params.core.reading.value_search import Found, find, find_extreme
from tui_params.errors import SliceError, TuiParamsError
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk
from tui_params.tui.state.place import Place
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.lenses.lens import Lens, Seen

_HINT = ">3.5  <-1  =0  abs>2  nan  inf   nothing: NaN or Inf"


class Passed(msgspec.Struct, frozen=True, gc=False):
    """How many elements were passed over, of how many."""

    done: int
    numel: int


class Seeking:
    """One search at a time; ``say`` tells the user, ``go`` moves to what was found, ``changed`` is called meanwhile.

    What is sought is the same in every lens.
    """

    def __init__(
        self,
        desk: TensorDesk,
        slot: str,
        say: Callable[[str], object],
        go: Callable[[Place], object],
        changed: Callable[[], object],
    ) -> None:
        self._desk = desk
        self._slot = slot
        self._say = say
        self._go = go
        self._changed = changed
        self._number = 0
        self._running: tuple[object, Place, str, str] | None = None
        self._passed = Passed(0, 1)

    @property
    def is_running(self) -> bool:
        return self._running is not None

    @property
    def condition(self) -> Condition:
        return self._desk.sought or NOT_FINITE

    @property
    def words(self) -> str:
        """What is sought, and how far that is; empty where nothing is."""
        if self._running is None:
            return ""
        return f"searching {self._running[2]}, {100 * self._passed.done // max(1, self._passed.numel)} %, esc stops"

    @property
    def state(self) -> Line:
        """What is sought, if it is not NaN and Inf, for the header."""
        return [] if self.condition == NOT_FINITE else [(f"n finds {self.condition.text}", "accent")]

    def asked(self, seen: Callable[[], Seen | None]) -> Lens.Asked:
        """The question for a condition; ``seen`` gives what is shown when it is answered."""

        def judge(words: str) -> str | None:
            now = seen()
            try:
                if now is not None:
                    words_of(parse_condition(words), now.info.dtype)
            except TuiParamsError as error:
                return str(error)
            return None

        def take(words: str) -> None:
            now = seen()
            if now is not None:
                self.search(words, now)

        return Lens.Asked("/", "", judge, take, _HINT)

    def search(self, words: str, seen: Seen) -> None:
        """Search what was typed from the place on; nothing is NaN or Inf again."""
        try:
            self._desk.sought = parse_condition(words) if words.strip() else None
        except SliceError as error:
            self._say(str(error))
            return
        self.seek(seen, 1)

    def seek(self, seen: Seen, step: int) -> None:
        """Go to the next element that meets the condition, or to the one before."""
        condition, place = self.condition, seen.place
        index, window, info = place.index, place.plane.window, seen.info

        def work(task: Task, progress: Callable[[int, int], None]) -> Found | None:
            return find(self._desk.source, info, window, condition, index, step, progress)

        where = "here" if place.expression == "[...]" else f"in {place.expression}"
        self._ask(seen, condition.text, f"There is no {condition.text} {where}.", work)

    def to_extreme(self, seen: Seen, side: int) -> None:
        """Go to the largest (1) or the smallest (-1) element."""
        info, window = seen.info, seen.place.plane.window

        def work(task: Task, progress: Callable[[int, int], None]) -> Found | None:
            return find_extreme(self._desk.source, info, window, side, progress)

        self._ask(seen, "the largest" if side > 0 else "the smallest", "There is no finite value here.", work)

    def _ask(
        self, seen: Seen, words: str, none: str, work: Callable[[Task, Callable[[int, int], None]], Found | None]
    ) -> None:
        if seen.info.unreadable is not None or seen.place.index is None:
            self._say("There are no values to search here.")
            return
        self._number += 1
        key = (seen.info.name, seen.version, self._number)
        self._running = key, seen.place, words, none
        self._passed = Passed(0, seen.place.plane.window.numel)

        def answer(task: Task) -> Found | None:
            def progress(done: int, numel: int) -> None:
                task.check()
                task.tell(Passed(done, numel))

            return work(task, progress)

        self._desk.ask(self._slot, key, answer)
        self._changed()

    def stop(self) -> bool:
        """Whether a search was running, which is given up."""
        if self._running is None:
            return False
        self._running = None
        self._desk.stop(self._slot)
        self._changed()
        return True

    def take(self, answer: Answer) -> bool:
        """Take an answer; False if it is of another slot."""
        if answer.slot != self._slot:
            return False
        if self._running is None or answer.key != self._running[0]:
            return True
        if not answer.is_last:
            if isinstance(answer.result, Passed):
                self._passed = answer.result
                self._changed()
            return True
        _, place, words, none = self._running
        self._running = None
        if answer.reason is not None:
            self._say(answer.reason)
        elif isinstance(answer.result, Found):
            self._go_to(answer.result, place, words)
        else:
            self._say(none)
        self._changed()
        return True

    def _go_to(self, found: Found, place: Place, words: str) -> None:
        self._go(place.to(found.index))
        if found.index == place.index:
            self._say(f"This is the only {words}." if found.has_wrapped else f"{text.shape(found.index)} is {words}.")
        elif found.has_wrapped:
            self._say(f"{words}: gone on from the other end.")
