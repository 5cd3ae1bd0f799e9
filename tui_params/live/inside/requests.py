"""What a viewer may ask of a model's process: a closed list of questions, each answered with plain data.

None of them reads a value of a tensor on the thread that answers: a viewer reads the memory itself, by the addresses
that it is told, or asks for copies, which are made at the end of a step.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import torch

from .anatomy import ODD
from .description import ProbeError
from .finite_check import FiniteCheck
from .hold import MAX_SECONDS, Hold
from .leaves import gradient_find
from .pass_clock import PassClock
from .roll import Asked, Roll, ServedProbe, address_now
from .round_layout import MAX_RING
from .shared_page import GENERATION, SharedPage
from .step_clock import StepClock
from .step_rounds import StepRounds
from .step_watch import StepWatch
from .tensor_copies import DEFAULT_BUDGET, TensorCopies, Wanted

VERSION = 2
"""Of the questions and answers. A viewer that knows another one says so and leaves."""

MAX_COPIED = 4_096
"""Tensors that one viewer may have copied."""

MAX_WATCHED = 200_000
"""Tensors that one viewer may watch: they take turns."""

MAX_WATCHES = 4
"""Watches of one viewer, each of other tensors; the first of them alone can hold the training."""

Reply = tuple[dict[str, Any], tuple[int, ...]]
"""A message, and the descriptors that go with it."""


class RequestError(Exception):
    """Why a question cannot be answered, one sentence."""


class Served:
    """What one process serves: a model, the clock of its steps, what stands in for it, and who it is."""

    def __init__(
        self, probe: ServedProbe, name: str, kind: str, page: SharedPage, clock: StepClock, passes: PassClock
    ) -> None:
        self.probe, self.name, self.kind = probe, name, kind
        self.page, self.clock, self.passes = page, clock, passes
        self.since = time.time()
        self.walking = threading.Lock()
        """A probe is walked for one viewer at a time."""

        self._roll: weakref.ref[Roll] | None = None
        """The last one that was made, as long as a viewer keeps it: it may keep tensors of the model alive."""

    def roll(self) -> Roll:
        """All tensors as they are now: the roll that other viewers have, if it says the same. Raises RequestError."""
        with self.walking:
            made = self._enrolled()
            kept = self._roll() if self._roll is not None else None
            if kept is not None and made.is_as(kept):
                return kept
            self._roll = weakref.ref(made)
            self.page.words[GENERATION] += 1
            return made

    def _enrolled(self) -> Roll:
        try:
            return self.probe.enroll()
        except ProbeError:
            time.sleep(0.01)  # a dict grew while it was walked: the training thread added a state, or a module
        try:
            return self.probe.enroll()
        except ProbeError as error:
            raise RequestError(str(error)) from error

    def describe(self) -> dict[str, Any]:
        """The process, as a list of what can be attached to shows it."""
        rank, size = _rank()
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "name": self.name,
            "model": self.kind,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "since": self.since,
            "command": [str(argument)[:200] for argument in sys.argv[:20]],
            "rank": rank,
            "world_size": size,
        }


class Visit:
    """One viewer's questions. The handles of its last list stay valid until it asks for another."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._roll = Roll()
        self._copies: TensorCopies | None = None
        self._watches: dict[int, StepWatch] = {}

    def answer(self, question: dict[str, Any]) -> Iterator[Reply]:
        """The replies to a question, the last of them with ``"is_last": true``. Raises RequestError."""
        ask = question.get("ask")
        if ask == "hello":
            yield {**self._served.describe(), "is_last": True}, (self._served.page.fd,)
        elif ask == "list":
            yield from self._list()
        elif ask == "where":
            yield {"addresses": self._where(question), "is_last": True}, ()
        elif ask == "copy":
            yield self._copy(question)
        elif ask == "watch":
            yield self._start_watch(question)
        elif ask == "passes":
            yield {"is_possible": self._served.passes.want(id(self)), "is_last": True}, ()
        elif ask in ("hold", "release", "held"):
            yield self._held(ask), ()
        else:
            raise RequestError(f"there is no question {str(ask)[:40]!r}")

    def close(self) -> None:
        """End the copies and the watches of this viewer."""
        self._served.passes.leave(id(self))
        for watch in self._watches.values():
            watch.close()
        self._watches = {}
        self._drop_copies()

    def _drop_copies(self) -> None:
        if self._copies is not None:
            self._served.clock.at_step.remove(self._copies.take)
            self._served.clock.settles.remove(self._copies.settle)
            self._copies.close()
            self._copies = None

    def _list(self) -> Iterator[Reply]:
        self._roll = self._served.roll()
        for frame in self._roll.frames():
            yield frame, ()
        yield {"generation": self._served.page.words[GENERATION], "is_last": True}, ()

    def _where(self, question: dict[str, Any]) -> list[int | None]:
        """The addresses of these tensors now; None of one that is no longer as it was listed."""
        handles = question.get("handles")
        if type(handles) is not list or len(handles) > MAX_COPIED:
            raise RequestError(f"where wants a list of at most {MAX_COPIED} handles")
        return [address_now(self._asked(handle)) for handle in handles]

    def _asked(self, handle: Any) -> Asked:
        asked = self._roll.ask(handle)
        if asked is None:
            raise RequestError(f"there is no readable tensor with the handle {str(handle)[:40]}")
        return asked

    def _copy(self, question: dict[str, Any]) -> Reply:
        """Copy these tensors at every step, instead of those that were copied before."""
        self._drop_copies()
        wanted, budget = self._wanted(question, MAX_COPIED), _budget(question)
        try:
            copies = TensorCopies(wanted, budget)
        except (ValueError, OSError) as error:
            raise RequestError(str(error)) from error
        self._copies = copies
        self._served.clock.at_step.append(copies.take)
        self._served.clock.settles.append(copies.settle)
        slots = [[slot.header, *slot.halves] for slot in copies.slots]
        return {"slots": slots, "nbytes": copies.memory.nbytes, "is_last": True}, (copies.memory.fd,)

    def _wanted(self, question: dict[str, Any], most: int) -> list[Wanted]:
        """The tensors that are asked for.

        ``values`` are the handles of tensors, ``gradients`` those of parameters whose gradients are meant.
        """
        asked = (question.get("values", []), False), (question.get("gradients", []), True)
        if any(type(handles) is not list for handles, _ in asked):
            raise RequestError(f"{question['ask']} wants lists of handles, and a budget in bytes")
        if sum(len(handles) for handles, _ in asked) > most:
            raise RequestError(f"at most {most} tensors are copied")
        wanted = []
        for handles, is_gradient in asked:
            for handle in handles:
                asked_for = self._asked(handle)
                find, owner = (gradient_find(asked_for.find), asked_for.find) if is_gradient else (asked_for.find, None)
                wanted.append(Wanted(find, asked_for.shape, asked_for.dtype, asked_for.nbytes, owner))
        return wanted

    def _start_watch(self, question: dict[str, Any]) -> Reply:
        """Copy these tensors at every step in rounds, instead of those that were watched before.

        ``number`` is which of the viewer's watches is meant, the first, 0, if it is not said. ``places`` is how many
        steps a viewer may be late. ``limit`` is how many seconds a hold may last. ``holds_on`` are the things that hold
        the training in the very step in which a tensor becomes one of them: ``nan``, ``inf``.
        """
        number, places = question.get("number", 0), question.get("places", MAX_RING)
        if type(number) is not int or not 0 <= number < MAX_WATCHES or type(places) is not int:
            raise RequestError(f"watch wants a number from 0 to {MAX_WATCHES - 1}, and how many places there are")
        if number in self._watches:
            self._watches.pop(number).close()
        wanted, budget = self._wanted(question, MAX_WATCHED), _budget(question)
        limit, holds_on = question.get("limit", 0), question.get("holds_on", [])
        if type(limit) not in (int, float) or not 0 <= limit <= MAX_SECONDS:
            raise RequestError(f"watch wants a limit in seconds, from 0 to {MAX_SECONDS:.0f}")
        if type(holds_on) is not list or not all(each in ("nan", "inf") for each in holds_on):
            raise RequestError("watch holds on nan and on inf, and on nothing else")
        if not wanted:
            raise RequestError("there is nothing to watch")
        try:
            owners = [
                self._identity(handle) for handle in (*question.get("values", []), *question.get("gradients", []))
            ]
            rounds = StepRounds(wanted, owners, budget, places)
        except (ValueError, OSError) as error:
            raise RequestError(str(error)) from error
        check = FiniteCheck(minds_inf="inf" in holds_on) if holds_on else None
        self._watches[number] = watch = StepWatch(self._served.clock, rounds, Hold(float(limit)), check)
        watch.start()
        layout = rounds.layout
        return {"ring": layout.ring, "room": layout.room, "is_last": True}, (rounds.memory.fd,)

    def _identity(self, handle: int) -> int:
        """The id of a tensor as an object, as it is in the groups of an optimizer; 0 if it is not there any more."""
        try:
            return id(self._asked(handle).find())
        except ODD:
            return 0

    def _held(self, ask: str) -> dict[str, Any]:
        """Hold the training at the end of the step that it is in, or let it go on; where it is held by this viewer."""
        if 0 not in self._watches:
            raise RequestError("only a viewer that watches can hold the training")
        hold = self._watches[0].hold
        if ask == "hold":
            hold.want()
        elif ask == "release":
            hold.release()
        return {"step": hold.step, "left": hold.left, "is_wanted": hold.is_wanted, "is_last": True}


def _budget(question: dict[str, Any]) -> int:
    budget = question.get("budget")
    if budget is not None and type(budget) is not int:
        raise RequestError(f"{question['ask']} wants lists of handles, and a budget in bytes")
    return DEFAULT_BUDGET if budget is None else max(budget, 0)


def _rank() -> tuple[int | None, int | None]:
    """The rank of this process in its job and the size of the job, as torchrun says it; None each if it is alone."""
    try:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return None, None
