"""What the process of a model shares with its viewers, seen from the viewer: the page of its steps, and copies."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import msgspec

from tui_params.core.reading.place import HERE, Fill, Spans
from tui_params.errors import OpenError, ReadError
from tui_params.live.inside.shared_page import (
    HELD,
    LAST_STEP,
    MAGIC,
    PAGE_NBYTES,
    PASSES,
    SCALED,
    SEQUENCE,
    SKIPPED,
    STEPS,
)
from tui_params.live.inside.tensor_slots import (
    ABSENT,
    BEGUN,
    COPIED,
    DONE,
    HEADER_WORDS,
    NO_ROOM,
    ON_DEVICE,
    STATE,
    STEP,
)

_T = TypeVar("_T")

POLL_SECONDS = 0.0005
EVEN_SECONDS = 5.0
"""How long to wait for an optimizer that is writing; a step with a closure writes as long as it computes."""

PASS_SECONDS = 15.0
"""How long after the last pass of a model the next one is waited for."""

TRIES = 8

_STATES = {
    ABSENT: "it had no gradient at step {step:,}",
    ON_DEVICE: "it lies on a device, and is not copied from there",
    NO_ROOM: "its device has no memory to spare for a copy of it",
}


class StepPage:
    """The page of the steps of a process, which only that process writes."""

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor. Raises OpenError if it is not such a page."""
        try:
            if os.fstat(descriptor).st_size < PAGE_NBYTES:
                raise OpenError("the process shares something else than the page of its steps")
            self._map = mmap.mmap(descriptor, PAGE_NBYTES, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise OpenError(f"the page of its steps cannot be read: {error}") from None
        finally:
            os.close(descriptor)
        self._words = memoryview(self._map).cast("Q")
        if self._words[0] != MAGIC:
            self.close()
            raise OpenError("the process shares its steps in a way that this version does not know")

    @property
    def sequence(self) -> int:
        return int(self._words[SEQUENCE])

    @property
    def steps(self) -> int:
        return int(self._words[STEPS])

    @property
    def skipped(self) -> int:
        return int(self._words[SKIPPED])

    @property
    def held(self) -> int:
        """The step at whose end a viewer holds the training; 0 if none does."""
        return int(self._words[HELD])

    @property
    def are_passes(self) -> bool:
        """Whether what is counted are passes of the model, because no optimizer makes a step."""
        return self._words[PASSES] != 0

    @property
    def is_scaled(self) -> bool:
        return self._words[SCALED] != 0

    @property
    def age(self) -> float | None:
        """Seconds since the last step ended; None before the first."""
        last = self._words[LAST_STEP]
        return max(time.monotonic_ns() - last, 0) / 1e9 if last else None

    def steadily(self, read: Callable[[], _T]) -> tuple[_T, int] | None:
        """What ``read`` returns, read between two steps, and the number of steps so far; None if steps come too fast.

        What was read counts only if the sequence number was even before, and is the same after: the reader's side of
        a seqlock (Linux kernel, Documentation/locking/seqlock.rst).
        """
        deadline = time.monotonic() + EVEN_SECONDS
        for _ in range(TRIES):
            before = self.sequence
            while before % 2 and not self._is_over():
                if time.monotonic() > deadline:
                    return None
                time.sleep(POLL_SECONDS)
                before = self.sequence
            steps = self.steps
            found = read()
            if self.sequence == before:
                return found, steps
        return None

    def _is_over(self) -> bool:
        """Whether there has been no pass for so long that none is waited for: what comes after one may be over."""
        return self.are_passes and (self.age or 0.0) > PASS_SECONDS

    def close(self) -> None:
        self._words.release()
        self._map.close()


class Slot(msgspec.Struct, frozen=True, gc=False):
    """Where the copies of one tensor are, in bytes of the shared memory: a header, and two halves of ``nbytes``."""

    header: int
    halves: tuple[int, int]
    nbytes: int


class Copies:
    """The shared memory with the copies that a process makes for this viewer."""

    def __init__(self, descriptor: int, nbytes: int) -> None:
        """Takes the descriptor. Raises ReadError if it has not so many bytes."""
        try:
            if os.fstat(descriptor).st_size < nbytes:
                raise ReadError("the process shares less memory than it says")
            self._map = mmap.mmap(descriptor, nbytes, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise ReadError(f"the shared memory cannot be read: {error}") from None
        finally:
            os.close(descriptor)
        self._view = memoryview(self._map)
        self._words = self._view[: nbytes - nbytes % 8].cast("Q")
        self.nbytes = nbytes

    def step_of(self, slot: Slot) -> int:
        """The step of the last whole copy; 0 if there is none yet."""
        done = self._word(slot, DONE)
        return self._word(slot, STEP + done % 2) if done else 0

    def steadily(self, slot: Slot, read: Callable[[Any], _T]) -> tuple[_T, int]:
        """What ``read`` makes of the last whole copy, and the step that it is of.

        It is given a Place whose offsets count from the start of the copy. Raises ReadError if there was no tensor to
        copy, or copies are made faster than they are read.
        """
        for _ in range(TRIES):
            number = self._word(slot, DONE)
            half = number % 2
            state, step = self._word(slot, STATE + half), self._word(slot, STEP + half)
            if state != COPIED:
                sentence = _STATES.get(state, "it is not the tensor that was listed any more")
                raise ReadError(sentence.format(step=step))
            found = read(Bytes(self._view, slot.halves[half], slot.nbytes))
            # The other half may be written meanwhile, but not this one.
            if self._word(slot, BEGUN) < number + 2:
                return found, step
        raise ReadError("it is copied anew faster than it can be read")

    def _word(self, slot: Slot, word: int) -> int:
        if not 0 <= slot.header <= self.nbytes - 8 * HEADER_WORDS or slot.header % 8:
            raise ReadError("the process describes its shared memory wrongly")
        return int(self._words[slot.header // 8 + word])

    def close(self) -> None:
        self._words.release()
        self._view.release()
        self._map.close()


class Bytes:
    """``nbytes`` bytes of memory from ``start`` on, as a Place."""

    def __init__(self, view: memoryview, start: int, nbytes: int) -> None:
        self._view, self._start, self._nbytes = view, start, nbytes

    def coming(self, spans: Spans) -> AbstractContextManager[None]:
        return HERE

    @contextmanager
    def reading(self) -> Iterator[Fill]:
        yield self._fill

    def _fill(self, offset: int, buffer: memoryview) -> None:
        begin = self._start + offset
        if not 0 <= offset <= self._nbytes - len(buffer) or begin + len(buffer) > len(self._view):
            raise ReadError("the process describes its shared memory wrongly")
        buffer[:] = self._view[begin : begin + len(buffer)]


NOTHING = Bytes(memoryview(b""), 0, 0)
"""Where the elements of a tensor without elements are."""
