"""How messages travel in a team: in pieces of bounded size, from each process to the one that leads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

PIECE_NBYTES = 4 << 20
"""The most that is sent at a time."""

START_FACTOR = 5
"""A process may take so many times longer to begin than to give a sign of life later."""

_MORE, _END = b"\0", b"\1"

MOST_NBYTES = 1 << 30
"""A message of more bytes is none of ours: the largest, of a part of a float64 tensor, has some 40 MB."""


class LeaderGoneError(Exception):
    """Nobody takes what this process sends; it has nothing more to do."""


class Post(Protocol):
    """The end of a channel in a process that does not lead."""

    def send(self, piece: bytes) -> None:
        """Send a piece; waits while too many have not been taken. Raises LeaderGoneError."""


class Intake(Protocol):
    """The end of all channels in the process that leads; used by one thread, ``close`` by any."""

    def take(self) -> Iterator[tuple[int, bytes | None]]:
        """The pieces that have come, each with the number of its sender; None: no more will come from that one.

        Waits some milliseconds if there are none. Raises OSError if nothing can come any more from anyone.
        """

    def close(self) -> None:
        """Tell all others that nothing more is taken."""


def cut(data: bytes) -> Iterator[bytes]:
    """The pieces of a message. The first byte of each says whether it is the last."""
    for at in range(0, len(data), PIECE_NBYTES):
        yield (_END if at + PIECE_NBYTES >= len(data) else _MORE) + data[at : at + PIECE_NBYTES]


class Joiner:
    """Joins the pieces of one sender to messages."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._nbytes = 0

    def add(self, piece: bytes) -> bytes | None:
        """The message that a piece completes, else None. Raises ValueError for what is no piece."""
        self._nbytes += len(piece)
        if piece[:1] not in (_MORE, _END) or len(piece) > PIECE_NBYTES + 1 or self._nbytes > MOST_NBYTES:
            raise ValueError("it is no piece of a message")
        self._pieces.append(piece[1:])
        if piece[:1] == _MORE:
            return None
        whole = b"".join(self._pieces)
        self._pieces, self._nbytes = [], 0
        return whole
