"""Connection: the socket to the process of a model, and one question at a time."""

from __future__ import annotations

import select
import socket
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

from tui_params.core.text import clean
from tui_params.errors import OpenError, ReadError
from tui_params.live.inside.frames import FrameError, close_all, receive_frame, send_frame

ANSWER_SECONDS = 20.0
"""How long an answer may take: a process that computes in one long call answers after it."""

MAX_ANSWER = 1 << 30
"""The most bytes of all the frames of an answer: those of a list of 4 million tensors are fewer."""

_GONE = "the process has ended, or no longer serves its model"


class Connection:
    """A connection to one socket; questions from several threads wait for each other."""

    def __init__(self, path: Path, seconds: float = ANSWER_SECONDS) -> None:
        """Raises OpenError, one sentence."""
        self._lock = Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        self._seconds = seconds
        self.lost: str | None = None
        """Why nothing is answered any more."""
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise OpenError(
                f"{clean(path.name, 60)} does not answer: {(error.strerror or str(error)).lower()}"
            ) from None

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The one answer to a question. Raises ReadError."""
        message, descriptors = self.ask_shared(question)
        close_all(descriptors)
        return message

    def ask_shared(self, question: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """The one answer to a question, and its descriptors, which the caller closes. Raises ReadError."""
        with closing(self.ask_many(question)) as answers:
            message, descriptors = next(answers)
            if message.get("is_last") is not True:
                close_all(descriptors)
                raise ReadError("the process answers more than it was asked")
            return message, descriptors

    def ask_many(
        self, question: dict[str, Any], seconds: float | None = None
    ) -> Generator[tuple[dict[str, Any], list[int]]]:
        """The answers to a question, the last of them included, and their descriptors. Raises ReadError.

        ``seconds`` is how long each of them may take, if that is longer than usual.
        """
        with self._lock:
            if self.lost is not None:
                raise ReadError(self.lost)
            is_whole, left = False, MAX_ANSWER
            try:
                self._socket.settimeout(max(self._seconds, seconds or 0.0))
                send_frame(self._socket, question)
                while not is_whole:
                    frame = receive_frame(self._socket)
                    if frame is None:
                        raise FrameError(_GONE)
                    message, left = frame.message, left - frame.nbytes
                    if left < 0 or "error" in message:
                        close_all(frame.descriptors)
                    if left < 0:
                        raise FrameError(f"an answer of more than {MAX_ANSWER:,} bytes, which is refused")
                    if "error" in message:
                        is_whole = True
                        raise ReadError(clean(str(message["error"]), 400))
                    is_whole = message.get("is_last") is True
                    yield message, frame.descriptors
            except FrameError as error:
                has_gone = isinstance(error.__cause__, ConnectionError)
                self.lost = _GONE if has_gone else clean(str(error), 400)
                raise ReadError(self.lost) from error
            finally:
                if not is_whole and self.lost is None:
                    self.lost = "an answer was not read to its end"

    def look(self) -> str | None:
        """Why nothing is answered any more, found out without a question; None if that is not known."""
        if self.lost is None and self._lock.acquire(blocking=False):
            try:
                poll = select.poll()
                poll.register(self._socket, select.POLLIN)
                if poll.poll(0) and not self._socket.recv(1, socket.MSG_PEEK):
                    self.lost = _GONE
            except OSError:
                self.lost = _GONE
            finally:
                self._lock.release()
        return self.lost

    def close(self) -> None:
        self.lost = self.lost or "the connection was closed"
        self._socket.close()
