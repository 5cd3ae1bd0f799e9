"""Watchpoints: a Watch on a thread of its own, for a screen that must not wait."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from tui_params.core import text
from tui_params.core.findings import Finding, Severity
from tui_params.errors import OpenError, ReadError
from tui_params.live.attached.source import AttachedSource
from tui_params.live.watching.condition import Condition, parse_condition
from tui_params.live.watching.event_text import event_words
from tui_params.live.watching.judge import Event
from tui_params.live.watching.watch import Watch, choose_watched

NUMBER = 2
"""Which of the viewer's watches this is."""

MOST = 1000
"""Events that are kept: the first ones, as they say where it began."""


class Watchpoints:
    """What one source is watched for, from ``start`` until ``stop``."""

    def __init__(self, source: AttachedSource) -> None:
        self.conditions = ""
        self._source = source
        self._said = ""
        self._lock = threading.Lock()
        self._events: tuple[Finding, ...] = ()
        self._number = 0
        """Which start the thread that runs belongs to: one of an earlier start ends."""

    def start(self, names: Sequence[str] | None, conditions: str) -> None:
        parsed = list(dict.fromkeys(parse_condition(word) for word in conditions.split()))
        self.conditions = " ".join(each.text for each in parsed)
        self._number += 1
        self._said = ""
        if parsed:
            wanted = None if names is None else frozenset(names)
            work = threading.Thread(target=self._run, args=(self._number, wanted, parsed), daemon=True)
            work.start()

    def stop(self) -> None:
        self.conditions = self._said = ""
        self._number += 1

    @property
    def words(self) -> str:
        return self._said

    def events(self) -> tuple[Finding, ...]:
        return self._events

    def _run(self, number: int, wanted: frozenset[str] | None, conditions: list[Condition]) -> None:
        listing = self._source.listing
        tensors = [info for info in listing.tensors if wanted is None or info.name in wanted]
        chosen = [info for info in tensors if info.kind in ("parameter", "buffer")]
        gradients = [listing.gradients[info.name] for info in chosen if info.name in listing.gradients]
        choice = choose_watched(listing, chosen, gradients, conditions)
        if not choice.watched:
            reason = next(iter(choice.left_out.values()), "nothing here is what these conditions are about")
            self._say(number, f"nothing is watched: {reason}")
            return
        try:
            with self._lock:
                if number != self._number:
                    return
                watch = Watch(self._source, choice, number=NUMBER)
            turns = "" if watch.is_whole else ", which take turns"
            count = text.plural(len(choice.watched), "tensor and gradient", "tensors and gradients")
            self._say(number, f"watching {count}{turns} for {self.conditions}")
            while number == self._number:
                look = watch.look(0.1)
                if look is not None and look.events and number == self._number:
                    room = MOST - len(self._events)
                    self._events += tuple([_finding(event) for event in look.events[:room]])
                if look is None and watch.lost is not None:
                    self._say(number, "nothing is watched any more: the process has gone")
                    return
            with self._lock, suppress(ReadError):
                if not self.conditions:
                    # A watch of nothing is refused, and ends the one before it.
                    self._source.connection.ask({"ask": "watch", "number": NUMBER})
        except (OpenError, ReadError) as error:
            self._say(number, f"nothing is watched: {error}")

    def _say(self, number: int, words: str) -> None:
        if number == self._number:
            self._said = words


def _finding(event: Event) -> Finding:
    is_gradient = event.info.kind == "gradient"
    name = event.info.name.removesuffix(".grad") if is_gradient else event.info.name
    where = "in its gradient" if is_gradient else "in its values"
    severity: Severity = "warning" if event.condition.what == "still" else "error"
    return Finding(severity, "watch", name, f"step {event.step:,}, {where}: {event_words(event)}")
