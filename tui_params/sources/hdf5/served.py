"""Bytes of a file elsewhere, for the process that lists HDF5: it asks for ranges through a pipe, and gets them."""

from __future__ import annotations

import os
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
    """Two pipes and a thread that answers; ``handed_on`` are the ends for the other process: questions, answers.

    ``complaint`` is what the server of the file said when an answer could not be given.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self.complaint: str | None = None
        self._read = read
        self._size = size
        self._questions, asking = os.pipe()
        hearing, self._answers = os.pipe()
        self.handed_on = (asking, hearing)
        self._thread = threading.Thread(target=self._answer, name="tui-params HDF5", daemon=True)

    def start(self) -> None:
        """To be called when the other process has its ends: those of this process are closed."""
        for descriptor in self.handed_on:
            os.close(descriptor)
        self._thread.start()

    def _answer(self) -> None:
        try:
            with os.fdopen(self._questions, "rb") as questions, os.fdopen(self._answers, "wb") as answers:
                while len(question := questions.read(_QUESTION.size)) == _QUESTION.size:
                    data = self._find(*_QUESTION.unpack(question))
                    answers.write(_LENGTH.pack(FAILED if data is None else len(data)))
                    answers.write(data or b"")
                    answers.flush()
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
