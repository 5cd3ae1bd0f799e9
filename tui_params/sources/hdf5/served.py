"""Bytes of a file elsewhere, for the process that lists HDF5: it asks for ranges through a socket, and gets them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from struct import Struct

from tui_params.errors import ReadError

_QUESTION = Struct("<QQ")
_LENGTH = Struct("<q")
_BLOCK = 64 << 10
"""HDF5 reads its structures a few hundred bytes at a time: around each of them this much is fetched."""

_MOST = 64 << 20
"""Bytes of one answer."""

FAILED = -1
"""The length of an answer that could not be given."""


class Served:
    """A pair of sockets and a thread that answers; ``handed_on`` is the end for the other process.

    ``complaint`` is what the server of the file said when an answer could not be given.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self.complaint: str | None = None
        self._read = read
        self._size = size
        self._end, self.handed_on = socket.socketpair()
        self._thread = threading.Thread(target=self._answer, name="tui-params HDF5", daemon=True)

    def start(self) -> None:
        """To be called when the other process has its end: that of this process is closed."""
        self.handed_on.close()
        self._thread.start()

    def _answer(self) -> None:
        try:
            with self._end, self._end.makefile("rb") as questions:
                while len(question := questions.read(_QUESTION.size)) == _QUESTION.size:
                    data = self._find(*_QUESTION.unpack(question))
                    self._end.sendall(_LENGTH.pack(FAILED if data is None else len(data)) + (data or b""))
        except OSError:
            return  # the other process has ended

    def _find(self, offset: int, count: int) -> bytes | None:
        if count > _MOST or offset + count > self._size:
            return None
        begin = offset // _BLOCK * _BLOCK
        end = min(-(-(offset + count) // _BLOCK) * _BLOCK, self._size)
        try:
            return self._read(begin, end - begin)[offset - begin : offset - begin + count]
        except (OSError, ReadError) as error:
            self.complaint = str(error)
            return None
