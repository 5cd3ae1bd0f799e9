"""RelayHost: the far end of a stream, on the machine on which models train: an ordinary viewer of them.

It reads their memory, copies and rings as every viewer does, and sends over the stream what it was asked for: elements
of tensors, figures of them, and with the pulse what has become of a source since the last one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from threading import BoundedSemaphore, Event, Lock, Thread
from time import monotonic
from typing import Any

import msgspec

from tui_params.core.beat import Beat
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, make_window
from tui_params.errors import ReadError, SourceChangedError, TuiParamsError
from tui_params.live.attached.finding import Serving, find_serving
from tui_params.live.injection.entering import enter
from tui_params.live.relay import messages as m
from tui_params.live.relay.channel import MAX_RAW, Channel, ChannelError
from tui_params.live.relay.progress import Progress
from tui_params.live.relay.turns import Turns
from tui_params.live.relay.working import Unwanted, seek, work_out, work_out_all
from tui_params.live.watching.source import WatchedSource

PULSE_SECONDS = 0.25
"""Seconds between two looks at what is to be told of each source."""

MOST_AT_ONCE = 16
"""Questions that are answered at once: some wait for the end of a step."""

MOST_SWEEPS = 64
"""Sweeps that are answered at once: two questions of each source that is swept, which take turns."""

_SILENT_SECONDS = 2.0

_LARGE = 16 << 20
"""Tensors of more bytes are read one after the other."""


class RelayHost:
    """Answers what comes over a channel until the other side closes it. ``release`` is the version of tui-params."""

    def __init__(self, channel: Channel, release: str) -> None:
        self._channel, self._release = channel, release
        self._sources: dict[int, tuple[WatchedSource, Progress]] = {}
        self._entered: dict[str, Serving] = {}
        self._number = 0
        self._lock = Lock()
        self._large = Lock()
        self._room = BoundedSemaphore(MOST_AT_ONCE)
        self._is_over = Event()
        self._sweeps = BoundedSemaphore(MOST_SWEEPS)
        self._turns = Turns()
        self._unwanted: dict[int, Unwanted] = {}
        """By the numbers of the questions whose work may be stopped."""

    def run(self) -> None:
        """Raises ChannelError if what comes makes no sense."""
        try:
            self._channel.mark()
            self._say(m.Greeting(m.VERSION, self._release, sys.byteorder))
            Thread(target=self._pulse, name="pulse", daemon=True).start()
            while True:
                frame = self._channel.receive()
                if frame is None:
                    return
                try:
                    question = m.QUESTIONS.decode(frame[0])
                except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                    raise ChannelError(f"a question is not understood: {error}") from None
                self._take(question)
        finally:
            self._is_over.set()
            for source, _ in [*self._sources.values()]:
                # A training that is held goes on.
                source.connection.close()

    def _take(self, question: m.Question) -> None:
        if isinstance(question, (m.Follow, m.Watch, m.Unwatch, m.Release, m.Stop)):
            # None of them waits, and their order counts.
            self._answer(question)
            return
        if isinstance(question, (m.WorkOut, m.WorkOutAll, m.Seek)):
            self._unwanted[question.id] = Unwanted(self._is_over)
        # A sweep takes no room from what somebody looks at.
        room = self._sweeps if isinstance(question, m.WorkOutAll) else self._room
        room.acquire()

        def answer() -> None:
            try:
                self._answer(question)
            finally:
                self._unwanted.pop(question.id, None)
                room.release()

        Thread(target=answer, name="answer", daemon=True).start()

    def _answer(self, question: m.Question) -> None:
        error, is_changed = "the relay has failed", False
        try:
            try:
                for body, raw in self._parts(question):
                    self._send(question.id, body, raw)
                error = ""
            except (TuiParamsError, MemoryError) as fault:
                error, is_changed = str(fault) or "there is no memory for it", isinstance(fault, SourceChangedError)
            finally:
                self._say(m.Answer(question.id, {}, is_last=True, error=error, is_changed=is_changed))
        except ChannelError:
            self._is_over.set()  # the viewer has gone, and the thread that receives sees it, too

    def _send(self, number: int, body: Mapping[str, Any], raw: memoryview) -> None:
        self._say(m.Answer(number, dict(body)), raw[:MAX_RAW])
        for begin in range(MAX_RAW, len(raw), MAX_RAW):
            self._say(m.Answer(number), raw[begin : begin + MAX_RAW])

    def _say(self, said: m.Said, raw: memoryview | bytes = b"") -> None:
        self._channel.send(msgspec.json.encode(said), raw)

    def _parts(self, question: m.Question) -> Iterator[tuple[Mapping[str, Any], memoryview]]:
        """The parts of an answer: plain data, and bytes."""
        none = memoryview(b"")
        if isinstance(question, m.Find):
            yield _entries(find_serving()), none
        elif isinstance(question, m.Enter):
            found = enter(question.pid)
            self._entered |= {each.number: each for each in found}
            yield _entries(found), none
        elif isinstance(question, m.Open):
            yield from ((part, none) for part in self._open(question.number))
        elif isinstance(question, m.Stop):
            unwanted = self._unwanted.get(question.question)
            if unwanted is not None:
                unwanted.stop()
        elif isinstance(question, m.Close):
            with self._lock:
                source, _ = self._sources.pop(question.source, (None, None))
            if source is not None:
                source.close()
        else:
            source, progress = self._open_source(question.source)
            if isinstance(question, m.Follow):
                progress.follow(question.names)
            elif isinstance(question, m.Watch):
                source.files_begin = question.begin
                source.watching().start(question.names, question.wish)
            elif isinstance(question, m.Unwatch):
                source.watching().stop()
            elif isinstance(question, m.Release):
                source.watching().release()
            elif isinstance(question, m.WorkOutAll):
                yield from self._work_out_all(source, question)
            else:
                yield from self._read(source, question)

    def _work_out_all(
        self, source: WatchedSource, question: m.WorkOutAll
    ) -> Iterator[tuple[Mapping[str, Any], memoryview]]:
        def say(worked: m.Worked) -> None:
            self._say(m.Answer(question.id, msgspec.to_builtins(worked)))

        is_unwanted = self._unwanted[question.id]
        found = work_out_all(
            source, lambda wanted: _info(source, wanted), question.tensors, self._turns, is_unwanted, say
        )
        for worked, raw in found:
            yield msgspec.to_builtins(worked), memoryview(raw)

    def _read(
        self, source: WatchedSource, question: m.ReadWindow | m.ReadBytes | m.Look | m.WorkOut | m.Seek
    ) -> Iterator[tuple[Mapping[str, Any], memoryview]]:
        info = _info(source, question)
        if isinstance(question, m.Look):
            with self._one_by_one(info.nbytes):
                found = source.looks(info, question.seconds, is_only_bits=question.is_only_bits)
            yield {"looks": [*found.items()]}, memoryview(b"")
        elif isinstance(question, (m.WorkOut, m.Seek)):

            def say(done: int) -> None:
                self._say(m.Answer(question.id, msgspec.to_builtins(m.Done(done))))

            is_unwanted = self._unwanted[question.id]
            if isinstance(question, m.Seek):
                places = seek(source, info, question.wanted, self._turns, is_unwanted, say)
                yield {"places": places}, memoryview(b"")
            else:
                packed = work_out(source, info, self._turns, is_unwanted, say, has_summary=question.has_summary)
                yield {}, memoryview(packed)
        elif isinstance(question, m.ReadBytes):
            if not question.start <= question.stop <= info.numel:
                raise ReadError(f"{info.name} has no elements {question.start:,} to {question.stop:,}")
            with self._one_by_one(info.nbytes):
                raw, step = source.bytes_at_step(info, question.start, question.stop)
            yield {"step": step}, raw.data
        else:
            import numpy as np

            axes = tuple(Axis(axis.start, axis.step, axis.length, axis.is_index) for axis in question.axes)
            _check_axes(info, axes)
            values = np.ascontiguousarray(source.read_window(info, make_window(axes)))
            yield {}, values.reshape(-1).view(np.uint8).data

    def _one_by_one(self, nbytes: int) -> AbstractContextManager[object]:
        return self._large if nbytes > _LARGE else nullcontext()

    def _open(self, number: str) -> Iterator[Mapping[str, Any]]:
        serving = next((each for each in find_serving() if each.number == number), self._entered.get(number))
        if serving is None:
            raise ReadError(f"no process with the number {number} serves a model any more")
        parts: list[Mapping[str, Any]] = []
        source = WatchedSource(serving.path, parts.append)
        yield from parts
        beat = source.beat()
        with self._lock:
            self._number += 1
            mine = self._number
            self._sources[mine] = source, Progress(source)
        yield msgspec.to_builtins(m.Opened(mine, source.label, beat))

    def _open_source(self, number: int) -> tuple[WatchedSource, Progress]:
        found = self._sources.get(number)
        if found is None:
            raise ReadError("that source is closed")
        return found

    def _pulse(self) -> None:
        told: dict[int, tuple[Beat, float]] = {}
        try:
            while not self._is_over.wait(PULSE_SECONDS):
                with self._lock:
                    sources = dict(self._sources)
                for number, (source, progress) in sources.items():
                    beat = source.beat()
                    courses, watched = progress.news()
                    bare, now = msgspec.structs.replace(beat, age=None), monotonic()
                    before, at = told.get(number, (None, 0.0))
                    # The age of a step is counted at both ends.
                    if courses or watched is not None or bare != before or now - at > _SILENT_SECONDS:
                        told[number] = bare, now
                        self._say(m.Pulse(number, beat, courses, watched))
        except ChannelError:
            self._is_over.set()


def _info(source: WatchedSource, question: m.OfTensor | m.Wanted) -> TensorInfo:
    """The tensor or the gradient that is meant. Raises ReadError, UnknownTensorError."""
    if not question.is_gradient:
        return source.find(question.name)
    info = source.listing.gradients.get(question.name)
    if info is None:
        raise ReadError(f"{question.name} has no gradient")
    return info


def _check_axes(info: TensorInfo, axes: tuple[Axis, ...]) -> None:
    """Raise ReadError unless a window lies within a tensor."""
    is_within = len(axes) == len(info.shape) and all(
        not axis.length or (0 <= axis.start < length and 0 <= axis.index(axis.length - 1) < length)
        for axis, length in zip(axes, info.shape, strict=False)
    )
    if not is_within:
        raise ReadError(f"the window is not one of {info.name}")


def _entries(found: list[Serving]) -> dict[str, Any]:
    fields = [field for field in m.Entry.__struct_fields__ if field != "number"]
    entries = [m.Entry(each.number, **{field: getattr(each, field) for field in fields}) for each in found]
    built: dict[str, Any] = msgspec.to_builtins(m.Entries(entries))
    return built
