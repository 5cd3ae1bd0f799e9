"""Impostor: something else at the socket of a model, which answers what a test tells it to."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tui_params.live.inside.frames import FrameError, receive_frame, send_frame
from tui_params.live.inside.requests import VERSION
from tui_params.live.inside.shared_page import SharedPage

HELLO: dict[str, Any] = {"version": VERSION, "pid": os.getpid(), "name": "net", "is_last": True}

Answer = tuple[Any, tuple[int, ...]]
"""A message, or bytes that are sent as they are; and descriptors."""


class Impostor:
    """Answers by ``answers``: by what is asked, a function that is given the question."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{os.getpid()}.sock"
        self.page = SharedPage()
        self.answers: dict[str, Callable[[dict[str, Any]], Iterable[Answer]]] = {}
        self.say("hello", (HELLO, (self.page.fd,)))
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def say(self, ask: str, *answers: Answer) -> None:
        """Answer a question so."""
        self.answers[ask] = lambda _: answers

    def say_list(self, frames: Iterable[dict[str, Any]]) -> None:
        """Answer ``list`` with these frames."""
        self.say("list", *[(frame, ()) for frame in frames], ({"is_last": True}, ()))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                viewer, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(viewer,), daemon=True).start()

    def _serve(self, viewer: socket.socket) -> None:
        with viewer, suppress(FrameError, OSError):
            while True:
                frame = receive_frame(viewer)
                if frame is None:
                    return
                for message, descriptors in self.answers[frame.message["ask"]](frame.message):
                    if isinstance(message, bytes):
                        viewer.sendall(message)
                    else:
                        send_frame(viewer, message, descriptors=descriptors)


@contextmanager
def impostor(runtime: Path) -> Iterator[Impostor]:
    folder = runtime / "tui-params"
    folder.mkdir(mode=0o700)
    found = Impostor(folder)
    yield found
    found.close()
