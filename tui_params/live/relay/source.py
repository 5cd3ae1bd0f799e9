"""RelayedSource: a model that trains on another machine, looked at through the relay there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.beat import Beat
from tui_params.core.dtypes import fit
from tui_params.core.health.sought import What
from tui_params.core.numbers.decode import decode, part_dtype
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.source import Traffic
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.core.window import Window
from tui_params.errors import OpenError, ReadError
from tui_params.live.attached.replies import not_understood, understood
from tui_params.live.attached.roll_reader import read_roll
from tui_params.live.attached.trained import StepFigures, TrainedSource
from tui_params.live.relay import messages as m
from tui_params.live.relay.address import Host
from tui_params.live.relay.ahead import Ahead
from tui_params.live.relay.followed import RelayedCourses, RelayedWatching
from tui_params.live.relay.stream import Stream, join, leave

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIST_SECONDS = 150.0
"""How long the list of a model may take: longer than the relay waits for it."""


RECORD_NBYTES = 1 << 12
"""Figures and channels have some 1,500 bytes: tensors of more are worked out on the other machine."""

TABLE_NBYTES, WIDE_NBYTES = 1 << 20, 1 << 23
"""The tables of a summary have at most 0.8 MB, of types of 64 bits 6 MB."""


class _Expected(threading.local):
    """What the present thread will read whole, if it has said so."""

    ahead: Ahead | None = None


class RelayedSource(TrainedSource):
    """The model with this number (``Serving.number``) on a host. Raises OpenError."""

    def __init__(self, host: Host, number: str) -> None:
        self._stream = join(host)
        self._is_closed = False
        parts: list[Mapping[str, Any]] = []

        def hear() -> Iterator[Mapping[str, Any]]:
            for body, _ in self._stream.ask(lambda mine: m.Open(mine, number), LIST_SECONDS):
                parts[:] = [body] if body else parts
                if body:
                    yield body

        try:
            roll = read_roll(hear())
            opened = understood(parts[-1], m.Opened)
        except ReadError as error:
            leave(self._stream)
            raise OpenError(str(error)) from error
        self._number = opened.source
        self.listing = roll.listing
        self.label = clean(f"{opened.label} on {host.name}", 120)
        self.line = RelayLine(self._stream)
        self._beat, self._beat_at = opened.beat, time.monotonic()
        self._courses: RelayedCourses | None = None
        self._watching: RelayedWatching | None = None
        self._expected = _Expected()
        self._stream.hear(self._number, self._hear)

    def _hear(self, pulse: m.Pulse) -> None:
        lost = None if pulse.beat.lost is None else clean(pulse.beat.lost, 400)
        self._beat, self._beat_at = msgspec.structs.replace(pulse.beat, lost=lost), time.monotonic()
        if self._courses is not None and pulse.courses:
            self._courses.take(pulse.courses)
        if self._watching is not None and pulse.watched is not None:
            self._watching.take(pulse.watched)

    def beat(self) -> Beat:
        beat, since = self._beat, time.monotonic() - self._beat_at
        age = None if beat.age is None else beat.age + since
        return msgspec.structs.replace(beat, age=age, lost=beat.lost or self._stream.lost)

    def courses(self) -> RelayedCourses:
        if self._courses is None:
            self._courses = RelayedCourses(self._stream, self._number, self.listing)
        return self._courses

    def watching(self) -> RelayedWatching:
        if self._watching is None:
            self._watching = RelayedWatching(self._stream, self._number, self.files_begin)
        return self._watching

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        import numpy as np

        name, is_gradient = self._named(info)
        axes = [m.Axis(axis.start, axis.step, axis.length, axis.is_index) for axis in window.axes]
        kind = decode(np.empty(0, np.uint8), info.dtype, 0).dtype
        raw, _ = self._bytes(
            lambda mine: m.ReadWindow(mine, self._number, name, is_gradient, axes), window.numel * kind.itemsize
        )
        return raw.view(kind).reshape(window.shape)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        from tui_params.core.reading.gather import BLOCK_NBYTES

        taken, _ = self.bytes_at_step(info, start, stop)
        step = info.dtype.nbytes(fit(BLOCK_NBYTES, info.dtype))
        for begin in range(0, taken.nbytes, step):
            yield taken[begin : begin + step]

    def bytes_at_step(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.uint8], int]:
        name, is_gradient = self._named(info)
        end = info.numel if stop is None else min(stop, info.numel)
        raw, body = self._bytes(
            lambda mine: m.ReadBytes(mine, self._number, name, is_gradient, start, end),
            info.dtype.nbytes(end) - info.dtype.nbytes(start),
        )
        return raw, understood(body, m.AtStep).step

    @contextmanager
    def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> Iterator[None]:
        # A scanner on another thread asks for what is on screen, and does not wait behind what a sweep has asked for.
        before, ahead = self._expected.ahead, Ahead(self._stream, self._number, infos, self._named)
        self._expected.ahead = ahead
        try:
            yield
        finally:
            self._expected.ahead = before
            ahead.close()

    def works_out(self, info: TensorInfo, *, has_summary: bool) -> bool:
        return info.unreadable is None and info.nbytes > _worth(info, has_summary=has_summary)

    def worked_out(
        self,
        info: TensorInfo,
        *,
        has_summary: bool,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> WorkedOut | None:
        ahead = self._expected.ahead
        if ahead is not None and not has_summary and not self._is_closed:
            found = ahead.worked_out(info, should_stop, progress)
            if found is not None:
                return found
        if not self.works_out(info, has_summary=has_summary):
            return None
        from tui_params.core.reading.worked_out import MOST_NBYTES, unpack

        name, is_gradient = self._named(info)
        data = bytearray()
        for body, raw in self._stream.ask(
            lambda mine: m.WorkOut(mine, self._number, name, is_gradient, has_summary), should_stop=should_stop
        ):
            data += raw
            if len(data) > MOST_NBYTES:
                raise not_understood(f"more than {MOST_NBYTES:,} bytes of statistics")
            if body and progress is not None:
                progress(min(understood(body, m.Done).done, info.numel))
        return unpack(bytes(data), info, has_summary=has_summary)

    def sought_out(
        self,
        info: TensorInfo,
        wanted: Sequence[tuple[str, float]],
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[list[int]] | None:
        if not self.works_out(info, has_summary=False):
            return None
        name, is_gradient = self._named(info)
        kinds = msgspec.convert(wanted, list[tuple[What, float]])
        found: list[list[int]] = []
        for body, _ in self._stream.ask(
            lambda mine: m.Seek(mine, self._number, name, is_gradient, kinds), should_stop=should_stop
        ):
            if "places" in body:
                found = understood(body, m.Places).places
        if len(found) != len(kinds) or any(each and max(each) >= info.numel for each in found):
            raise not_understood("places that the tensor does not have")
        return found

    def looks(self, info: TensorInfo, seconds: float, *, is_only_bits: bool = False) -> dict[int, StepFigures]:
        name, is_gradient = self._named(info)
        answer = self._stream.ask_one(
            lambda mine: m.Look(mine, self._number, name, is_gradient, min(seconds, m.MOST_SECONDS), is_only_bits)
        )
        return dict(understood(answer, m.Looks).looks)

    def _named(self, info: TensorInfo) -> tuple[str, bool]:
        """How a relay knows a tensor, or a gradient: by the name of its parameter. Raises ReadError."""
        if self._is_closed:
            raise ReadError(f"{self.label} is closed")
        if info.unreadable is not None:
            raise ReadError(info.unreadable)
        is_gradient = info.kind == "gradient"
        return info.name.removesuffix(".grad") if is_gradient else info.name, is_gradient

    def _bytes(self, make: Callable[[int], m.Question], nbytes: int) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """The bytes of an answer, as many as were asked for, and its first part. Raises ReadError."""
        import numpy as np

        taken, done = np.empty(nbytes, np.uint8), 0
        first: dict[str, Any] = {}
        for body, raw in self._stream.ask(make):
            if done + len(raw) > nbytes:
                raise not_understood(f"more than the {nbytes:,} bytes that were asked for")
            taken[done : done + len(raw)] = np.frombuffer(raw, np.uint8)
            done += len(raw)
            first = first or body
        if done != nbytes:
            raise not_understood(f"{done:,} of {nbytes:,} bytes")
        return taken, first

    def changed(self) -> str | None:
        if self._is_closed:
            return None
        lost = self.beat().lost
        return None if lost is None else f"{lost}; what is shown is the last that was read"

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._stream.hear(self._number, None)
        self._stream.post(lambda mine: m.Close(mine, self._number))
        leave(self._stream)


def _worth(info: TensorInfo, *, has_summary: bool) -> int:
    """The bytes up to which a tensor is not larger than its statistics may be."""
    if not has_summary:
        return RECORD_NBYTES
    return WIDE_NBYTES if part_dtype(info.dtype).bits > 32 else TABLE_NBYTES


class RelayLine:
    """What a relayed source is read over: every byte of it crosses the network."""

    def __init__(self, stream: Stream) -> None:
        self.address = clean(stream.host.text, 120)
        self._stream = stream

    @property
    def traffic(self) -> Traffic:
        return Traffic(self._stream.nbytes, self._stream.requests)

    def lacking(self, path: Path, begin: int, end: int) -> int:
        """Nothing is kept of a model that trains: all have to come."""
        return max(end - begin, 0)
