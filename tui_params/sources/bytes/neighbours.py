"""Neighbours: small tensors that are read one after the other, many of them by one read of their file."""

from __future__ import annotations

from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING

from tui_params.sources.bytes.local import DataFile, borrow, read_into

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALL = 1 << 16
"""Bytes up to which a tensor is read with its neighbours: opening, comparing and reading take longer than its bytes."""

_FIRST, _MOST = 1 << 16, 1 << 20
"""Bytes that are read ahead at first, and at most: twice as many each time, as long as they are asked for in order."""

_GAP = 1 << 12


class _Window:
    """Bytes of a file from ``begin`` on, as they were while it was the one that was opened."""

    __slots__ = ("begin", "data", "end", "file")

    def __init__(self, file: DataFile, begin: int, data: NDArray[np.uint8]) -> None:
        self.file = file
        self.begin = begin
        self.end = begin + data.size
        self.data = data


class Neighbours:
    """The bytes behind what was read last, for each thread, inside a ``with``, which forgets them at its end.

    A lone small tensor is read alone. Whoever asks for the next bytes of the same file gets more of them than that.
    """

    def __init__(self) -> None:
        self._users = 0
        self._windows: dict[int, _Window] = {}

    def __enter__(self) -> None:
        self._users += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._users -= 1
        if not self._users:
            self._windows.clear()

    def serve(self, file: DataFile, begin: int, end: int) -> bool:
        """Whether bytes are to be asked for here: only few, of a file on this machine, and inside a ``with``."""
        return self._users > 0 and end - begin <= SMALL and not file.is_far

    def bytes_of(self, file: DataFile, begin: int, end: int) -> NDArray[np.uint8]:
        """The bytes ``begin:end``, not to be written to. Raises SourceChangedError, ReadError."""
        window = self._windows.get(get_ident())
        if window is None or window.file is not file or begin < window.begin or end > window.end:
            window = self._windows[get_ident()] = _read(file, begin, end, window)
        return window.data[begin - window.begin : end - window.begin]


def _read(file: DataFile, begin: int, end: int, last: _Window | None) -> _Window:
    import numpy as np

    stop = end
    if last is not None and last.file is file and last.begin <= begin <= last.end + _GAP:
        ahead = min(max(2 * last.data.size, _FIRST), _MOST)
        stop = max(end, min(begin + ahead, file.size))
    data = np.empty(stop - begin, np.uint8)
    with borrow(file) as descriptor:
        read_into(descriptor, file, begin, data.data)
    return _Window(file, begin, data)
