"""DrawnOnce: what a lens has drawn in the background: of what it is, and what else is on its way."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk


class DrawnOnce:
    """One question at a time, in a slot of its own; only the answer to the last one is taken.

    A question that goes back to what is here already takes back the one that is on its way.
    """

    def __init__(self, desk: TensorDesk, slot: str) -> None:
        self._desk = desk
        self._slot = slot
        self._asked: Hashable = None
        self._here: Hashable = None

    @property
    def is_asked(self) -> bool:
        return self._asked is not None

    def want(self, key: Hashable, work: Callable[[Task], object]) -> None:
        """Ask, unless that is here or on its way."""
        if key == self._asked:
            return
        self._take_back()
        if key != self._here:
            self._asked = key
            self._desk.ask(self._slot, key, work)

    def take(self, answer: Answer) -> bool:
        """Whether an answer is the one that is wanted, which then is here."""
        if answer.slot != self._slot or self._asked is None or answer.key != self._asked:
            return False
        self._here, self._asked = self._asked, None
        return True

    def drop(self) -> None:
        """Nothing is here or on its way, until it is asked for again."""
        self._take_back()
        self._here = None

    def _take_back(self) -> None:
        if self._asked is not None:
            self._asked = None
            self._desk.stop(self._slot)
