"""Ledger: what is known of each tensor of one source, and which of its readers reads it.

A Scanner reads what is on the screen, a sweep on another thread reads everything else. The sweep borrows each tensor
before it reads it, so that nothing is read twice, and waits while the Scanner has something to read.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from threading import Condition

import msgspec

from tui_params.core.figures import Figures
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.readable import Readable
from tui_params.core.tensor import TensorInfo

POLL_SECONDS = 0.05


class Ledger:
    """The final outcomes of one source's tensors, and the tensors that are lent to a sweep. Used from any thread.

    ``condition`` guards everything. It is notified when the Scanner has something to do: when tensors are given back,
    and when an outcome arrives whose name is in ``awaited``. ``running`` is the name of the tensor that the Scanner
    reads, or None.
    """

    def __init__(self, source: Readable, awaited: Container[str]) -> None:
        self._source = source
        self._awaited = awaited
        self.condition = Condition()
        self.running: str | None = None
        self._final: dict[str, Outcome] = {}
        self._lent: set[str] = set()

    def lend(self, name: str, should_stop: Callable[[], bool]) -> Outcome | None:
        """What is known of a tensor that the caller is about to read; None: it is the caller's until ``take``.

        Waits while the Scanner reads. The Scanner may take a sample of a tensor that is lent, but does not read it
        whole.
        """
        with self.condition:
            self._wait_for_rest(should_stop)
            outcome = self._final.get(name) or self.tied(self._source.find(name))
            if outcome is None:
                self._lent.add(name)
            return outcome

    def give_way(self, should_stop: Callable[[], bool]) -> None:
        """Wait while the Scanner reads, or until ``should_stop``."""
        if self.running is not None:
            with self.condition:
                self._wait_for_rest(should_stop)

    def _wait_for_rest(self, should_stop: Callable[[], bool]) -> None:
        while self.running is not None and not should_stop():
            self.condition.wait(POLL_SECONDS)

    def take(self, outcome: Outcome) -> bool:
        """Enter the final outcome of a tensor, whoever has read it; False where one is entered already."""
        with self.condition:
            self._lent.discard(outcome.name)
            is_news = outcome.name not in self._final
            self._final.setdefault(outcome.name, outcome)
            if outcome.name in self._awaited:  # to wake the Scanner for each tensor of a sweep would slow it down
                self.condition.notify_all()
            return is_news

    def take_back(self) -> None:
        """Let the Scanner read whatever is still lent: the sweep is over."""
        with self.condition:
            self._lent.clear()
            self.condition.notify_all()

    def is_lent(self, name: str) -> bool:
        return name in self._lent

    def final(self, name: str) -> Outcome | None:
        """The final outcome of a tensor, or None: it was not read yet."""
        return self._final.get(name)

    def figures(self, name: str) -> Figures | None:
        """The final figures of a tensor, or None: it was not read yet, or cannot be read."""
        outcome = self._final.get(name)
        return outcome.figures if outcome is not None else None

    def has_failed(self, name: str) -> bool:
        outcome = self._final.get(name)
        return outcome is not None and outcome.figures is None

    def tied(self, info: TensorInfo) -> Outcome | None:
        """What was found under the first name of the same elements, as an outcome of ``info``."""
        outcome = None if info.tied_to is None else self._final.get(info.tied_to)
        if outcome is None or outcome.figures is None:
            return None
        return msgspec.structs.replace(outcome, name=info.name)
