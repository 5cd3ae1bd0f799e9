"""RangedFile: a file elsewhere, of which each byte is fetched once, when somebody reads it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from time import monotonic
from typing import Protocol

import msgspec

from tui_params.core.text import clean, plural
from tui_params.errors import ReadError, SourceChangedError
from tui_params.sources.bytes.far import REGULAR, FarStatus
from tui_params.sources.remote.segments import Segments, Spans
from tui_params.sources.remote.transport import Piece

PIECE = 4 << 20
"""Bytes of one request: long enough that its latency counts little, short enough to be cancelled."""

AHEAD = 4 * PIECE
"""How far is fetched before a reader that goes through a tensor."""

_NEAR = 8 << 10
"""Bytes between two spans that are fetched with them: they take less time than a request."""

_MOST_GATHERED = 32 << 20

_LONGEST_REFUSAL = 10.0
"""Seconds for which a file that could not be fetched is not asked for again, at most; less where it failed sooner."""


class Version(msgspec.Struct, frozen=True):
    """What is known of a file when it is opened: its size in bytes, and what changes with its content."""

    size: int
    version: str | None = None
    modified_ns: int = 0
    digest: str | None = None


class Host(Protocol):
    """What a file needs of its server: pieces of it, threads that fetch them, and room for what has arrived."""

    address: str

    def fetch(self, path: str, begin: int, end: int, version: str | None) -> Piece:
        """One request. Raises FileNotFoundError, ReadError."""

    def call(self, work: partial[None]) -> None:
        """Have ``work`` called soon, in another thread."""

    def holds(self, file: RangedFile, begin: int, nbytes: int) -> None:
        """A file holds one more segment in memory: older ones may have to go."""

    def kept(self, key: str) -> Sequence[tuple[int, int]]:
        """The parts of a file, by its key, that are kept from earlier sessions."""

    def keep(self, key: str, begin: int, data: bytes) -> bool:
        """Keep a part of a file for later sessions; False where nothing is kept."""

    def load(self, key: str, begin: int, end: int) -> bytes | None:
        """A part that ``kept`` named; None if it is gone."""


class _Flight:
    """A piece that is on its way."""

    __slots__ = ("begin", "data", "done", "end", "error")

    def __init__(self, begin: int, end: int) -> None:
        self.begin = begin
        self.end = end
        self.data = b""
        self.error: Exception | None = OSError("it did not arrive")
        self.done = threading.Event()


class _Stream:
    """Somebody who reads the bytes up to ``end`` in order; up to ``asked`` they have been asked for."""

    __slots__ = ("asked", "end")

    def __init__(self, begin: int, end: int) -> None:
        self.asked = begin
        self.end = end


class _Run:
    """Neighbours that will all be read, whoever reads them and in pieces of whatever size: up to ``asked`` they are."""

    __slots__ = ("asked", "begin", "end")

    def __init__(self, begin: int, end: int) -> None:
        self.begin = self.asked = begin
        self.end = end


class RangedFile:
    """The FarFile of a mount. ``path`` is relative to the mount."""

    def __init__(self, host: Host, path: str, found: Version) -> None:
        self._host = host
        self._path = path
        self._found = found
        self._name = clean(path.rpartition("/")[2] or host.address, 120)
        self._lock = threading.Lock()
        self._segments = Segments()
        self._flights: list[_Flight] = []
        self._streams: list[_Stream] = []
        self._runs: list[_Run] = []
        self._change: str | None = None
        self._refusal = ("", 0.0)
        identity = f"{host.address}\0{path}"
        # The device is the server: what lies on one is read in one order.
        # Without a version nobody can tell whether it is still the same: nothing of it is kept.
        state = 0 if found.version is None else _number(f"{identity}\0{found.version}\0{found.size}")
        self._status = FarStatus(REGULAR, found.size, found.modified_ns, state, _number(host.address))
        self._key = "" if found.version is None else _key(f"{identity}\0{found.version}\0{found.size}")
        self._kept = Spans(host.kept(self._key) if self._key else ())

    def status(self) -> FarStatus:
        return self._status

    def digest(self) -> str | None:
        return self._found.digest

    def changed(self) -> str | None:
        return self._change

    def lacking(self, begin: int, end: int) -> int:
        """How many of the bytes ``begin:end`` are neither here nor kept."""
        with self._lock:
            gaps = self._segments.gaps(begin, end)
            kept = self._kept.touching(begin, end)
        for first, last in kept:
            gaps = [part for gap in gaps for part in _outside(gap, first, last)]
        return sum(last - first for first, last in gaps)

    def add(self, begin: int, data: bytes) -> None:
        """Take bytes that came with the answer that told of the file."""
        if data:
            self._arrived(begin, data)

    def ask(self, begin: int, end: int) -> None:
        """Have bytes fetched in the background that are soon read; whoever reads them learns what goes wrong."""
        end = min(end, self._found.size)
        self._load(begin, end)
        self._start(begin, end)

    def read(self, offset: int, count: int) -> bytes:
        end = min(offset + count, self._found.size)
        if offset >= end:
            return b""
        self._load(offset, end)
        with self._lock:
            known = self._segments.read(offset, end)
        if known is None:
            known = self._put_together(offset, end)
        self._run_ahead(end)
        for stream in tuple(self._streams):
            if stream.asked >= offset and stream.end >= end:
                self._look_ahead(stream, end)
        return known

    @contextmanager
    def expecting(self, spans: Sequence[tuple[int, int]]) -> Iterator[None]:
        runs = [_Run(begin, end) for begin, end in self._joined(spans)]
        self._runs += runs
        try:
            yield
        finally:
            self._runs = [run for run in self._runs if run not in runs]

    @contextmanager
    def coming(self, spans: Sequence[tuple[int, int]]) -> Iterator[None]:
        wanted = self._joined(spans)
        if not wanted:
            yield
            return
        self._run_ahead(wanted[0][0])
        self._gather(wanted[:-1])
        # What is left of the last one, or all of the only one, is fetched while it is read.
        stream = _Stream(*wanted[-1])
        self._streams.append(stream)
        try:
            self._look_ahead(stream, stream.asked)
            yield
        finally:
            self._streams.remove(stream)

    def _joined(self, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """The spans in order of the file, those joined between which there is little."""
        joined: list[tuple[int, int]] = []
        for first, last in sorted(spans):
            begin, end = max(first, 0), min(last, self._found.size)
            if joined and begin <= joined[-1][1] + _NEAR:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            elif begin < end:
                joined.append((begin, end))
        return joined

    def _gather(self, spans: Sequence[tuple[int, int]]) -> None:
        """Fetch the first of many spans, all at once."""
        flights = []
        total = 0
        for begin, end in spans:
            total += end - begin
            if total > _MOST_GATHERED:
                break
            self._load(begin, end)
            flights += self._start(begin, end)
        for flight in flights:
            flight.done.wait()  # whoever reads the bytes learns what was wrong

    def _put_together(self, begin: int, end: int) -> bytes:
        """The bytes ``begin:end`` from what has arrived, what is on its way, and what is fetched now."""
        out = bytearray(end - begin)
        with self._lock:
            for first, last in _between(begin, end, self._segments.gaps(begin, end)):
                part = self._segments.read(first, last)
                assert part is not None
                out[first - begin : last - begin] = part
            flights = [flight for flight in self._flights if flight.begin < end and flight.end > begin]
            mine = self._missing(begin, end)
            self._flights += mine
        for flight in mine[1:]:
            self._host.call(partial(self._fly, flight))
        for flight in mine[:1]:
            self._fly(flight)
        for flight in (*mine, *flights):
            _landed(flight)
            first, last = max(begin, flight.begin), min(end, flight.end)
            out[first - begin : last - begin] = flight.data[first - flight.begin : last - flight.begin]
        return bytes(out)

    def _missing(self, begin: int, end: int) -> list[_Flight]:
        """Flights for what of ``begin:end`` has not arrived and is not on its way. The lock is held."""
        gaps = self._segments.gaps(begin, end)
        for flight in self._flights:
            gaps = [part for gap in gaps for part in _outside(gap, flight.begin, flight.end)]
        return [_Flight(first, min(first + PIECE, last)) for start, last in gaps for first in range(start, last, PIECE)]

    def _start(self, begin: int, end: int) -> list[_Flight]:
        """Have what is missing of ``begin:end`` fetched in the background; all flights that touch it."""
        with self._lock:
            mine = self._missing(begin, end)
            under_way = [flight for flight in self._flights if flight.begin < end and flight.end > begin]
            self._flights += mine
        for flight in mine:
            self._host.call(partial(self._fly, flight))
        return under_way + mine

    def _look_ahead(self, stream: _Stream, at: int) -> None:
        while stream.asked < min(at + AHEAD, stream.end):
            begin = stream.asked
            stream.asked = min(begin + PIECE, stream.end)
            self.ask(begin, stream.asked)

    def _run_ahead(self, at: int) -> None:
        for run in tuple(self._runs):
            if run.begin <= at < run.end:
                run.asked = max(run.asked, at)
                while run.asked < min(at + AHEAD, run.end):
                    begin = run.asked
                    run.asked = min(begin + PIECE, run.end)
                    self.ask(begin, run.asked)

    def _fly(self, flight: _Flight) -> None:
        try:
            flight.data = self._fetch(flight.begin, flight.end)
            flight.error = None
            self._arrived(flight.begin, flight.data)
            if self._key and self._host.keep(self._key, flight.begin, flight.data):
                with self._lock:
                    self._kept.add(flight.begin, flight.end)
        except (SourceChangedError, OSError) as error:
            flight.error = error
        finally:
            with self._lock:
                self._flights.remove(flight)
            flight.done.set()

    def _fetch(self, begin: int, end: int) -> bytes:
        if self._change is not None:
            raise SourceChangedError(self._change)
        began = monotonic()
        sentence, until = self._refusal
        if began < until:
            raise OSError(sentence)
        try:
            piece = self._host.fetch(self._path, begin, end, self._found.version)
        except FileNotFoundError:
            self._change = f"{self._name} was removed from the server after it was opened"
        except SourceChangedError:
            self._change = f"{self._name} was replaced on the server after it was opened; open it again"
        except ReadError as error:
            # A server that is gone costs the patience for it once, not for each of 92,000 tensors.
            now = monotonic()
            self._refusal = (str(error), now + min(now - began, _LONGEST_REFUSAL))
            raise OSError(str(error)) from None
        else:
            self._refusal = ("", 0.0)
            if piece.size == self._found.size:
                if len(piece.data) == end - begin:
                    return piece.data
                got = f"{len(piece.data):,} of {plural(end - begin, 'byte')}"
                raise OSError(f"the server sent {got} at {begin:,}")
            sizes = f"from {self._found.size:,} to {plural(piece.size, 'byte')}"
            self._change = f"{self._name} changed {sizes} on the server after it was opened; open it again"
        raise SourceChangedError(self._change)

    def _arrived(self, begin: int, data: bytes) -> None:
        with self._lock:
            added = self._segments.add(begin, data)
        for first, nbytes in added:
            self._host.holds(self, first, nbytes)

    def _load(self, begin: int, end: int) -> None:
        """Take what is kept of ``begin:end``: from earlier sessions, or because memory had no room for it."""
        with self._lock:
            gaps = self._segments.gaps(begin, end)
            kept = self._kept.touching(begin, end) if gaps else ()
        for first, last in kept:
            if any(first < stop and last > start for start, stop in gaps):
                data = self._host.load(self._key, first, last)
                if data is None:
                    with self._lock:
                        self._kept.drop(first, last)
                else:
                    self._arrived(first, data)

    def forget(self, begin: int) -> int:
        """Drop the segment that begins there, to save memory; its length in bytes."""
        with self._lock:
            before = self._segments.nbytes
            self._segments.drop(begin)
            return before - self._segments.nbytes


def _landed(flight: _Flight) -> None:
    """Wait for a flight; how long its request may take is bounded by the transport. Raises what went wrong."""
    flight.done.wait()
    if flight.error is not None:
        raise flight.error


def _outside(gap: tuple[int, int], begin: int, end: int) -> Iterator[tuple[int, int]]:
    """What of a gap lies outside ``begin:end``."""
    for part in ((gap[0], min(gap[1], begin)), (max(gap[0], end), gap[1])):
        if part[0] < part[1]:
            yield part


def _between(begin: int, end: int, gaps: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What lies between the gaps."""
    for first, last in (*gaps, (end, end)):
        if begin < first:
            yield begin, first
        begin = last


def _number(text: str) -> int:
    """A number of 63 bits that is the same for the same text."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") >> 1


def _key(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
