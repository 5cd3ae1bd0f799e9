"""The channel between the processes of ``--jobs N``: a pipe from each to the one that has started them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence

from tui_params.ranks.channel import PIECE_NBYTES, LeaderGoneError

VARIABLE = "TUI_PARAMS_JOB"
"""Says to a process that was started so which it is: ``number/ways/descriptor``."""

_POLL_SECONDS = 0.05
_READ_NBYTES = 1 << 18
_HEAD = 4


class PipePost:
    """The post of a process that was started; a piece goes after its length, of 4 bytes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, piece: bytes) -> None:
        """Write a piece; waits while the pipe is full. Raises LeaderGoneError."""
        data = memoryview(len(piece).to_bytes(_HEAD, "little") + piece)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise LeaderGoneError from error


class PipeIntake:
    """The intake of the process that starts ``ways`` - 1 others, which run the same command line."""

    def __init__(self, arguments: Sequence[str], ways: int) -> None:
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._numbers: dict[int, int] = {}
        self._held: dict[int, bytearray] = {}
        self._is_closed = False
        self._arguments = arguments
        try:
            for number in range(1, ways):
                self._start(number, ways)
        except OSError:
            self.close()
            raise

    def _start(self, number: int, ways: int) -> None:
        ours, theirs = os.pipe()
        try:
            self._children[number] = subprocess.Popen(
                [sys.executable, "-m", "tui_params", *self._arguments],
                env=os.environ | {VARIABLE: f"{number}/{ways}/{theirs}"},
                pass_fds=[theirs],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._numbers[ours] = number
        self._held[ours] = bytearray()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that were started."""
        return tuple(child.pid for child in self._children.values())

    def take(self) -> Iterator[tuple[int, bytes | None]]:
        """The pieces that have come."""
        ready, _, _ = select.select(list(self._numbers), [], [], _POLL_SECONDS)
        for descriptor in ready:
            if self._is_closed:
                return
            number, held = self._numbers[descriptor], self._held[descriptor]
            data = os.read(descriptor, _READ_NBYTES)
            held += data
            while len(held) >= _HEAD and len(held) >= (end := _HEAD + int.from_bytes(held[:_HEAD], "little")):
                yield number, bytes(held[_HEAD:end])
                del held[:end]
            if not data or int.from_bytes(held[:_HEAD], "little") > PIECE_NBYTES + 1:
                del self._numbers[descriptor], self._held[descriptor]
                os.close(descriptor)
                yield number, None

    def close(self) -> None:
        """End the processes that still run."""
        self._is_closed = True
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait()
        for descriptor in self._numbers:
            os.close(descriptor)
        self._numbers = {}
