"""Stream: the near end of a relay: one child process for each host, through which everything of that host is asked."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

import msgspec

from tui_params.core.text import clean
from tui_params.errors import OpenError, ReadError, SourceChangedError, StoppedError
from tui_params.live.attached.replies import not_understood
from tui_params.live.relay import messages as m
from tui_params.live.relay.address import Host
from tui_params.live.relay.channel import Channel, ChannelError
from tui_params.live.relay.ssh import command_of, last_words, meaning

GREETING_SECONDS = 60.0
"""How long it may take to log in, and until Python has begun there."""

ANSWER_SECONDS = 60.0
"""How long nothing may come of an answer: longer than a relay waits for a process, or for the end of a step."""

POLL_SECONDS = 0.02
"""Seconds after which it is asked again whether an answer is still wanted."""

_MOST_SAID = 1 << 14

_PART_NBYTES = 256
"""What a part takes beside its bytes, in any case."""

Part = tuple[dict[str, Any], bytes]


class Asked:
    """A question that was sent, and the parts of its answer in the order in which they come, for one thread."""

    def __init__(self, stream: Stream, number: int, most: int | None) -> None:
        self._stream, self._number, self._most = stream, number, most
        self._parts: queue.SimpleQueue[tuple[m.Answer, bytes] | None] = queue.SimpleQueue()
        # Each counted by one thread alone: the one that receives, the one that takes.
        self._come = self._taken = 0
        self._is_cut = False

    def put(self, answer: m.Answer, raw: bytes) -> None:
        """On the thread that receives."""
        if self._is_cut:
            return
        if self._most is not None and self._come - self._taken > self._most:
            self._is_cut = True
            self.lose()
            return
        self._come += len(raw) + _PART_NBYTES
        self._parts.put((answer, raw))

    def lose(self) -> None:
        """No more parts will come."""
        self._parts.put(None)

    def take(self, seconds: float, should_stop: Callable[[], bool] | None) -> tuple[m.Answer, bytes]:
        """The next part, before nothing has come for so long. Raises ReadError, StoppedError."""
        found = self._await(seconds, should_stop)
        if found is None and self._is_cut:
            raise not_understood(f"more than {self._most:,} bytes that nobody has asked for yet")
        if found is None:
            raise ReadError(self._stream.why_lost)
        answer, raw = found
        self._taken += len(raw) + _PART_NBYTES
        if answer.error:
            sentence = clean(answer.error, 400)
            raise SourceChangedError(sentence) if answer.is_changed else ReadError(sentence)
        return answer, raw

    def stop(self) -> None:
        """Say that it is not wanted any more."""
        self._stream.post(lambda mine: m.Stop(mine, self._number))

    def _await(self, seconds: float, should_stop: Callable[[], bool] | None) -> tuple[m.Answer, bytes] | None:
        deadline = monotonic() + seconds
        while True:
            left = deadline - monotonic()
            try:
                return self._parts.get(timeout=max(left if should_stop is None else min(left, POLL_SECONDS), 0.0))
            except queue.Empty:
                if should_stop is not None and should_stop():
                    raise StoppedError("it is not wanted any more") from None
                if left <= 0:
                    host = self._stream.host.name
                    raise ReadError(f"{host} did not answer within {seconds:.0f} s") from None


class Stream:
    """What is asked of the relay on a host, by any number of threads at once. Raises OpenError."""

    def __init__(self, host: Host, command: list[str] | None = None) -> None:
        self.host = host
        self.lost: str | None = None
        """Why nothing is answered any more."""

        self.requests = 0
        self._numbers = count(1)
        self._lock = Lock()
        self._waiting: dict[int, Asked] = {}
        self._hearing: dict[int, Callable[[m.Pulse], None]] = {}
        self._early: dict[int, m.Pulse] = {}
        self._said = bytearray()
        command = command or command_of(host)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # ctrl+c is for the screen; and ssh has no terminal to ask on
            )
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OpenError(f"{clean(command[0], 80)} cannot be run: {reason}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(_taken(self._process.stdout), _taken(self._process.stdin))
        self._has_said_all = Event()
        Thread(target=self._listen_to_errors, name="ssh errors", daemon=True).start()
        greeted: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        Thread(target=self._receive, args=(greeted,), name="relay", daemon=True).start()
        try:
            reason_or_none = greeted.get(timeout=GREETING_SECONDS)
        except queue.Empty:
            self.close()
            raise OpenError(f"{host.name} did not answer within {GREETING_SECONDS:.0f} s") from None
        if reason_or_none is not None:
            self.close()
            raise OpenError(reason_or_none)

    @property
    def why_lost(self) -> str:
        """One sentence, also where nobody has found out yet."""
        return self.lost or f"the connection to {clean(self.host.name, 80)} is lost"

    @property
    def nbytes(self) -> int:
        """Bytes that have come."""
        return self._channel.received

    def ask(
        self,
        make: Callable[[int], m.Question],
        seconds: float = ANSWER_SECONDS,
        should_stop: Callable[[], bool] | None = None,
    ) -> Generator[Part]:
        """The parts of the answer to a question, the last of them included. Raises ReadError, StoppedError.

        ``make`` is given the number of the question; ``seconds`` is how long nothing may come. With ``should_stop``
        the other side is told when it is not wanted any more.
        """
        with self.begin(make) as asked:
            try:
                while True:
                    answer, raw = asked.take(seconds, should_stop)
                    yield answer.body, raw
                    if answer.is_last:
                        return
            except StoppedError:
                asked.stop()
                raise

    @contextmanager
    def begin(self, make: Callable[[int], m.Question], most: int | None = None) -> Iterator[Asked]:
        """Send a question, and inside the ``with`` take the parts of its answer. Raises ReadError.

        ``most`` is how many bytes of it may wait to be taken.
        """
        number = next(self._numbers)
        asked = Asked(self, number, most)
        with self._lock:
            lost = self.lost
            self._waiting[number] = asked
        try:
            if lost is not None:
                raise ReadError(lost)
            self._send(make(number))
            yield asked
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def ask_one(self, make: Callable[[int], m.Question], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The first part of an answer. Raises ReadError."""
        first: dict[str, Any] = {}
        for at, (body, _) in enumerate(self.ask(make, seconds)):
            first = first if at else body
        return first

    def post(self, make: Callable[[int], m.Question]) -> None:
        """Ask what has no answer but that it was done; whoever asks next finds out if the stream is lost."""
        with suppress(ReadError):
            self._send(make(next(self._numbers)))

    def hear(self, source: int, listen: Callable[[m.Pulse], None] | None) -> None:
        """Give the pulses of a source to ``listen``, on the thread that receives; None: to nobody any more."""
        with self._lock:
            if listen is None:
                self._hearing.pop(source, None)
                return
            self._hearing[source] = listen
            early = self._early.pop(source, None)
        if early is not None:
            listen(early)

    def close(self) -> None:
        """End the relay and its ssh. Does not wait for them."""
        self._lose("the connection was closed")
        self._channel.close_sending()
        process = self._process

        def end() -> None:
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()

        Thread(target=end, name="relay end", daemon=True).start()

    def _send(self, question: m.Question) -> None:
        self.requests += 1
        try:
            self._channel.send(msgspec.json.encode(question))
        except ChannelError:
            # Why it was lost is known to the thread that receives, and to ssh.
            self._has_said_all.wait(2.0)
            raise ReadError(self.why_lost) from None

    def _receive(self, greeted: queue.SimpleQueue[str | None]) -> None:
        try:
            self._channel.await_mark()
            reason = self._check(self._next())
        except ChannelError as error:
            reason = self._why(str(error))
        greeted.put(reason)
        if reason is None:
            self._hear_all()
        self._channel.close()

    def _hear_all(self) -> None:
        """Pass on what comes until the stream is lost."""
        try:
            while True:
                said, raw = self._next()
                if isinstance(said, m.Pulse):
                    self._hear(said)
                elif isinstance(said, m.Answer):
                    with self._lock:
                        waiting = self._waiting.get(said.id)
                    if waiting is not None:
                        waiting.put(said, raw)
        except ChannelError as error:
            self._has_said_all.wait(2.0)
            why = str(error) or last_words(self._said.decode("utf-8", "replace"))
            self._lose(f"the connection to {clean(self.host.name, 80)} is lost{f' ({why})' if why else ''}")

    def _next(self) -> tuple[m.Greeting | m.Answer | m.Pulse, bytes]:
        frame = self._channel.receive()
        if frame is None:
            raise ChannelError("")
        try:
            return m.SAID.decode(frame[0]), frame[1]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ChannelError(f"the relay answers in a way that is not understood: {error}") from None

    def _check(self, first: tuple[m.Greeting | m.Answer | m.Pulse, bytes]) -> str | None:
        greeting = first[0]
        if not isinstance(greeting, m.Greeting) or greeting.version != m.VERSION:
            words, release = "another", ""
            if isinstance(greeting, m.Greeting):
                words = "an older" if greeting.version < m.VERSION else "a newer"
                release = f" ({clean(greeting.release, 40)})"
            return f"{clean(self.host.name, 80)} has {words} version of tui-params{release}: use the same in both"
        if greeting.byteorder != sys.byteorder:
            return f"{clean(self.host.name, 80)} has another order of bytes than this machine, which is not understood"
        return None

    def _hear(self, pulse: m.Pulse) -> None:
        with self._lock:
            listen = self._hearing.get(pulse.source)
            if listen is None and len(self._early) < 64:
                self._early[pulse.source] = pulse  # of a source whose opening is not read to its end yet
        if listen is not None:
            listen(pulse)

    def _lose(self, why: str) -> None:
        with self._lock:
            self.lost = self.lost or why
            for waiting in self._waiting.values():
                waiting.lose()

    def _why(self, noise: str) -> str:
        """What ssh has said, or ended with; ``noise`` is what else is known."""
        self._has_said_all.wait(2.0)
        status: int | None = None
        with suppress(subprocess.TimeoutExpired):
            status = self._process.wait(2.0)
        return meaning(self.host, status, self._said.decode("utf-8", "replace"), noise)

    def _listen_to_errors(self) -> None:
        errors = self._process.stderr
        assert errors is not None
        with errors:
            while data := errors.read1(4096):  # type: ignore[attr-defined]
                self._said += data
                del self._said[:-_MOST_SAID]
        self._has_said_all.set()


def _taken(pipe: Any) -> int:
    """The descriptor of a pipe of a process, which is no longer closed with it."""
    with pipe:
        return os.dup(pipe.fileno())


_STREAMS: dict[Host, tuple[Stream, int]] = {}
_POOL = Lock()
_OPENING: dict[Host, Lock] = {}


def join(host: Host) -> Stream:
    """The stream to a host: one for all that is asked of it at a time. ``leave`` it. Raises OpenError."""
    with _POOL:
        opening = _OPENING.setdefault(host, Lock())
    with opening:
        with _POOL:
            stream, users = _STREAMS.get(host, (None, 0))
            if stream is not None and stream.lost is None:
                _STREAMS[host] = stream, users + 1
                return stream
        stream = Stream(host)
        with _POOL:
            _STREAMS[host] = stream, 1
        return stream


@contextmanager
def joined(host: Host) -> Iterator[Stream]:
    """The stream to a host inside a ``with``: what is asked of it meanwhile logs in once. Raises OpenError."""
    stream = join(host)
    try:
        yield stream
    finally:
        leave(stream)


def leave(stream: Stream) -> None:
    """Close it if nobody else uses it."""
    with _POOL:
        kept, users = _STREAMS.get(stream.host, (None, 0))
        if kept is stream and users > 1:
            _STREAMS[stream.host] = stream, users - 1
            return
        if kept is stream:
            del _STREAMS[stream.host]
        elif kept is not None and stream.lost is None:
            return
    stream.close()
