"""Watchpoints: a Watch on a thread of its own, for a screen that must not wait."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from tui_params.core import text
from tui_params.core.findings import Finding, Severity
from tui_params.core.watching import NOTHING, Wish
from tui_params.errors import OpenError, ReadError, WriteError
from tui_params.live.attached.source import AttachedSource
from tui_params.live.watching.condition import Condition, parse_condition
from tui_params.live.watching.event_text import event_words
from tui_params.live.watching.judge import Event
from tui_params.live.watching.saving import Saving, writable_folder
from tui_params.live.watching.watch import Look, Watch, choose_watched

NUMBER = 0
"""Which of the viewer's watches this is: the one that can hold the training."""

MOST = 1000
"""Events that are kept: the first ones, as they say where it began."""

_TICK = 0.1


class Watchpoints:
    """What one source is watched for, from ``start`` until ``stop``. ``before`` begins the names of files it saves."""

    def __init__(self, source: AttachedSource, before: str = "") -> None:
        self.wish = Wish()
        self._source, self._before = source, before
        self._said = self._standing = ""
        self._is_released = self._is_due = False
        """Whether it was asked to let the training go on; whether there was an event for which it is to stand."""

        self._lock = threading.Lock()
        self._events: tuple[Finding, ...] = ()
        self._number = 0
        """Which start the thread that runs belongs to: one of an earlier start ends."""

    def start(self, names: Sequence[str] | None, wish: Wish) -> None:
        parsed = list(dict.fromkeys(parse_condition(word) for word in wish.conditions.split()))
        self.wish = msgspec.structs.replace(wish, conditions=" ".join(each.text for each in parsed))
        self._number += 1
        self._said = self._standing = ""
        if parsed:
            wanted = None if names is None else frozenset(names)
            work = threading.Thread(target=self._run, args=(self._number, wanted, parsed, self.wish), daemon=True)
            work.start()

    def stop(self) -> None:
        self.wish = Wish()
        self._said = self._standing = ""
        self._number += 1

    def release(self) -> None:
        self._is_released = True

    @property
    def words(self) -> str:
        return self._said

    @property
    def standing(self) -> str:
        return self._standing

    def events(self) -> tuple[Finding, ...]:
        return self._events

    def _run(self, number: int, wanted: frozenset[str] | None, conditions: list[Condition], wish: Wish) -> None:
        listing = self._source.listing
        tensors = [info for info in listing.tensors if wanted is None or info.name in wanted]
        chosen = [info for info in tensors if info.kind in ("parameter", "buffer")]
        gradients = [listing.gradients[info.name] for info in chosen if info.name in listing.gradients]
        choice = choose_watched(listing, chosen, gradients, conditions)
        if not choice.watched:
            reason = next(iter(choice.left_out.values()), "nothing here is what these conditions are about")
            self._say(number, f"{NOTHING}: {reason}")
            return
        try:
            saving = (
                Saving(str(writable_folder(wish.folder)), self._source.label, self._before) if wish.folder else None
            )
            with self._lock:
                if number != self._number:
                    return
                watch = Watch(self._source, choice, wish.hold_seconds, NUMBER)
            turns = "" if watch.is_whole else ", which take turns"
            count = text.plural(len(choice.watched), "tensor and gradient", "tensors and gradients")
            self._say(number, f"watching {count}{turns} for {wish.conditions}")
            while number == self._number:
                look = watch.look(_TICK)
                if look is not None and look.events and number == self._number:
                    self._act(watch, look, saving, wish)
                elif wish.hold_seconds and not watch.has_unread():
                    self._stand(watch, number)
                if look is None and watch.lost is not None:
                    self._say(number, f"{NOTHING} any more: the process has gone")
                    return
            with self._lock, suppress(ReadError):
                if not self.wish.conditions:
                    # A watch of nothing is refused, and ends the one before it.
                    self._source.connection.ask({"ask": "watch", "number": NUMBER})
        except (OpenError, ReadError, WriteError) as error:
            self._say(number, f"{NOTHING}: {error}")

    def _act(self, watch: Watch, look: Look, saving: Saving | None, wish: Wish) -> None:
        if wish.hold_seconds:
            self._is_released, self._is_due = False, True
            with suppress(ReadError):  # it has gone meanwhile: what was seen is told all the same
                watch.hold()
        room = MOST - len(self._events)
        found = [_finding(event) for event in look.events[:room]]
        if saving is not None and found:
            try:
                done = f"saved as {text.clean(saving.save(look), 100)}"
            except WriteError as error:
                done = f"not saved: {error}"
            found[0] = msgspec.structs.replace(found[0], evidence=f"{found[0].evidence}; {done}")
        self._events += tuple(found)

    def _stand(self, watch: Watch, number: int) -> None:
        """Look whether the training stands because of this, and let it go on if that was asked for, or without reason.

        The process itself holds at NaN and infinities also where they are no event: those that went on.
        """
        held = watch.held() if self._is_due or watch.is_anyone_holding() else None
        if held is not None and (self._is_released or not self._is_due):
            watch.release()
            held = None
        self._is_due = held is not None
        words = ""
        if held is not None and held.step:
            words = f"the training stands at the end of step {held.step:,}, for at most {text.duration(held.left)} more"
        self._set_standing(number, words)

    def _set_standing(self, number: int, words: str) -> None:
        if number == self._number:
            self._standing = words

    def _say(self, number: int, words: str) -> None:
        if number == self._number:
            self._said, self._standing = words, ""


def _finding(event: Event) -> Finding:
    is_gradient = event.info.kind == "gradient"
    name = event.info.name.removesuffix(".grad") if is_gradient else event.info.name
    where = "in its gradient" if is_gradient else "in its values"
    severity: Severity = "warning" if event.condition.what == "still" else "error"
    return Finding(severity, "watch", name, f"step {event.step:,}, {where}: {event_words(event)}")
