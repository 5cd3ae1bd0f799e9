"""The channel between the ranks of a torchrun job: the key-value store of torch.distributed, which torchrun serves.

The one module outside of ``live`` that imports torch. No process group is made: its collectives wait for ranks that
are gone, and its gather pads everything to the largest; a key that nobody has set is simply not there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from tui_params.errors import TeamError
from tui_params.ranks.channel import LeaderGoneError

if TYPE_CHECKING:
    from tui_params.ranks.job import Job

MOST_UNTAKEN = 8
"""Pieces of one rank that may lie in the store: 32 MB."""

_PREFIX = "tui-params"
_OVER = b"over"
_POLL_SECONDS = 0.01
_BEAT_SECONDS = 1.0


def connect(job: Job, start_seconds: float) -> Any:
    """The store of the job. Raises TeamError."""
    try:
        import torch.distributed as dist
    except ImportError:
        raise TeamError(
            f"this is one of the {job.ways} ranks of a torchrun job, and torch, by which they find each other,"
            " cannot be imported: pip install torch, or use --jobs N on one machine, or --jobs 1 to read alone"
        ) from None
    if not dist.is_available():
        raise TeamError("this torch was built without torch.distributed, by which the ranks find each other")
    try:
        # What a scheduler announced may be wrong in any way: torch raises ValueError, RuntimeError and its kin.
        return next(dist.rendezvous("env://", job.rank, job.ways, timeout=timedelta(seconds=start_seconds)))[0]
    except (ValueError, RuntimeError, OSError) as error:
        raise TeamError(f"the ranks of the torchrun job did not find each other: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _key(rank: int, number: int) -> str:
    return f"{_PREFIX}/{rank}/{number}"


def _leader_key() -> str:
    return f"{_PREFIX}/0"


class StorePost:
    """The post of a rank above 0. Gives up when rank 0 shows no sign of life for ``most_silent`` seconds."""

    def __init__(self, store: Any, rank: int, most_silent: float) -> None:
        self._store = store
        self._rank = rank
        self._most_silent = most_silent
        self._number = 0
        self._looked = 0.0
        self._beat = b""
        self._heard = time.monotonic()

    def send(self, piece: bytes) -> None:
        """Send a piece; waits while MOST_UNTAKEN have not been taken. Raises LeaderGoneError."""
        try:
            self._look()
            while self._number >= MOST_UNTAKEN and self._store.check([_key(self._rank, self._number - MOST_UNTAKEN)]):
                time.sleep(_POLL_SECONDS)
                self._look()
            self._store.set(_key(self._rank, self._number), piece)
        except RuntimeError as error:
            raise LeaderGoneError from error
        self._number += 1

    def _look(self) -> None:
        """See whether rank 0 is still there, now and then."""
        now = time.monotonic()
        if now - self._looked < _BEAT_SECONDS:
            return
        self._looked = now
        beat = self._store.get(_leader_key()) if self._store.check([_leader_key()]) else b""
        if beat != self._beat:
            self._beat, self._heard = beat, now
        # Before its first sign of life rank 0 may still be opening the source.
        if beat == _OVER or (beat and now - self._heard > self._most_silent):
            raise LeaderGoneError


class StoreIntake:
    """The intake of rank 0."""

    def __init__(self, store: Any, ways: int) -> None:
        self._store = store
        self._next = dict.fromkeys(range(1, ways), 0)
        self._beats = 0
        self._beat_at = 0.0
        self._is_closed = Event()
        self._lock = Lock()

    def take(self) -> Iterator[tuple[int, bytes | None]]:
        """The pieces that have come. Raises OSError if the store is gone."""
        has_any = False
        try:
            self._tell()
            for rank, number in list(self._next.items()):
                key = _key(rank, number)
                if self._store.check([key]):
                    piece = self._store.get(key)
                    self._store.delete_key(key)
                    self._next[rank] = number + 1
                    has_any = True
                    yield rank, piece
        except RuntimeError as error:
            raise OSError(_first_line(error)) from error
        if not has_any:
            self._is_closed.wait(_POLL_SECONDS)

    def _tell(self) -> None:
        """Show the other ranks that this one takes what they send."""
        now = time.monotonic()
        with self._lock:
            if now - self._beat_at >= _BEAT_SECONDS and not self._is_closed.is_set():
                self._beat_at = now
                self._beats += 1
                self._store.set(_leader_key(), str(self._beats))

    def close(self) -> None:
        """Tell the other ranks that nothing more is taken."""
        with self._lock:
            if self._is_closed.is_set():
                return
            self._is_closed.set()
            try:
                self._store.set(_leader_key(), _OVER)
            except RuntimeError:
                return  # the store is gone, and the other ranks see that too
