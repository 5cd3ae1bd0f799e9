"""Working: what a relay works out: statistics of a tensor, or of many that a sweep wants, and where values are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event
from time import monotonic

from tui_params.core.health.places import first_numbers
from tui_params.core.health.sought import Sought, What
from tui_params.core.reading.outcome import reason_of
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.reading.sweep import measure_alone
from tui_params.core.reading.tensor_reading import measure
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import SourceChangedError, StoppedError, TuiParamsError
from tui_params.live.relay import messages as m
from tui_params.live.relay.turns import Turns

TELL_SECONDS = 0.25
"""Seconds between two words about how far it has come, which also say that it goes on."""


class Unwanted:
    """Whether nobody waits for an answer any more: of this question, or of any."""

    def __init__(self, is_over: Event) -> None:
        self._is_over = is_over
        self._is_stopped = False

    def stop(self) -> None:
        self._is_stopped = True

    def __call__(self) -> bool:
        return self._is_stopped or self._is_over.is_set()


class _Teller:
    """Says how far something has come, not too often."""

    def __init__(self, say: Callable[[int], None], is_unwanted: Unwanted) -> None:
        self._say, self._is_unwanted = say, is_unwanted
        self._told = monotonic()

    def tell(self, done: int) -> None:
        if monotonic() - self._told >= TELL_SECONDS:
            self._told = monotonic()
            self._say(done)

    def wait(self) -> None:
        """Raises StoppedError."""
        self.tell(0)
        if self._is_unwanted():
            raise StoppedError("it is not wanted any more")


def work_out(
    source: Source,
    info: TensorInfo,
    turns: Turns,
    is_unwanted: Unwanted,
    say: Callable[[int], None],
    *,
    has_summary: bool,
) -> bytes:
    """The statistics of a tensor, packed; ``say`` gets the elements read so far. Raises ReadError, StoppedError."""
    from tui_params.core.reading.worked_out import pack

    teller = _Teller(say, is_unwanted)
    with turns.urgent(teller.wait):
        if has_summary:
            found = measure(source, info, should_stop=is_unwanted, progress=teller.tell, threads=1)
            return pack(WorkedOut(found.summary.figures(info.numel), found.channels, found.summary))
        few = measure_alone(source, info, should_stop=is_unwanted, progress=teller.tell, threads=1)
    return pack(WorkedOut(few.figures, few.channels, None))


def seek(
    source: Source,
    info: TensorInfo,
    wanted: list[tuple[What, float]],
    turns: Turns,
    is_unwanted: Unwanted,
    say: Callable[[int], None],
) -> list[list[int]]:
    """The numbers of the first elements of each kind. Raises ReadError, StoppedError."""
    teller = _Teller(say, is_unwanted)

    def should_stop() -> bool:
        teller.tell(0)
        return is_unwanted()

    with turns.urgent(teller.wait):
        return first_numbers(source, info, [Sought(*each) for each in wanted], should_stop)


def work_out_all(
    source: Source,
    find: Callable[[m.Wanted], TensorInfo],
    tensors: list[m.Wanted],
    turns: Turns,
    is_unwanted: Unwanted,
    say: Callable[[m.Worked], None],
) -> Iterator[tuple[m.Worked, bytes]]:
    """The figures of each tensor, packed, or why there are none. ``say`` gets how far one has come.

    Raises StoppedError.
    """
    from tui_params.core.reading.worked_out import pack

    def expected() -> list[TensorInfo]:
        infos = []
        for wanted in tensors:
            with suppress(TuiParamsError):
                infos.append(find(wanted))
        return infos

    with source.expecting(expected):
        for at, wanted in enumerate(tensors):
            teller = _Teller(lambda done, at=at: say(m.Worked(at, done)), is_unwanted)  # type: ignore[misc]
            with turns.patient(teller.wait) as give_way:

                def should_stop(give_way: Callable[[], None] = give_way) -> bool:
                    give_way()
                    return is_unwanted()

                try:
                    found = measure_alone(
                        source, find(wanted), should_stop=should_stop, progress=teller.tell, threads=1
                    )
                except StoppedError:
                    raise
                except (TuiParamsError, OSError, MemoryError) as error:
                    worked = m.Worked(at, error=reason_of(error), is_changed=isinstance(error, SourceChangedError))
                    raw = b""
                else:
                    worked, raw = m.Worked(at, is_found=True), pack(WorkedOut(found.figures, found.channels, None))
            yield worked, raw
