"""AttachedSource: the model of another process, which may be training while it is looked at.

Parameters, buffers and the states of optimizers are read from that process's memory, between two steps: what an
optimizer may have written to meanwhile is thrown away and read again. Where its memory may not be read, where a tensor
does not lie in it as it is or lies on a device, and for gradients, which are gone before the next step, the process is
asked for copies at the end of each step. Every value that is returned is of one step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tui_params.core.beat import Beat
from tui_params.core.dtypes import fit
from tui_params.core.reading.extent import Extent
from tui_params.core.reading.place import Place
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, size
from tui_params.core.window import Window
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.live.attached.asked_copies import COPIES_NBYTES, AskedCopies, Key
from tui_params.live.attached.connection import Connection
from tui_params.live.attached.figures import step_figures
from tui_params.live.attached.guard import Guard
from tui_params.live.attached.process_memory import ProcessMemory
from tui_params.live.attached.replies import Hello, not_understood, shared
from tui_params.live.attached.roll_reader import Roll, read_roll
from tui_params.live.attached.row import MOST_COPIED, Row
from tui_params.live.attached.shared import NOTHING, POLL_SECONDS, StepPage
from tui_params.live.attached.trained import MOST_LOOKS, StepFigures, TrainedSource
from tui_params.live.inside.frames import close_all

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_T = TypeVar("_T")

VERSION = 2
"""Of the questions and answers, as ``live.inside.requests`` has it."""

MAX_AT_ONCE = 256 << 20
"""The most bytes of a tensor that are read between two steps: a block at a time would mix several."""

MAX_COPIES = 64

LIST_SECONDS = 120.0
"""How long a process may take to describe its model: it does so beside its training, which comes first."""


class AttachedSource(TrainedSource):
    """The model that is served at a socket of this machine. Raises OpenError.

    ``hear`` is given each part of the list of its tensors, as it comes.
    """

    def __init__(self, path: Path, hear: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        self._connection = Connection(path)
        self._row: Row | None = None
        self._is_closed = False
        with ExitStack() as undo:
            undo.callback(self._connection.close)
            try:
                self._page, hello = self._greet()
                undo.callback(self._page.close)
                roll = self._list(hear)
            except ReadError as error:
                raise OpenError(str(error)) from error
            undo.pop_all()
        self.label = clean(f"{hello.name} ({hello.pid})", 120)
        self._memory = ProcessMemory(hello.pid)
        self.listing, self._handles, self._addresses = roll.listing, roll.handles, roll.addresses
        self._guard = Guard(self._page, self._connection)
        self._copies = AskedCopies(self._connection, self._page, self._guard)

    def _greet(self) -> tuple[StepPage, Hello]:
        answer, descriptors = self._connection.ask_shared({"ask": "hello"})
        if answer.get("version") != VERSION:
            close_all(descriptors)
            raise OpenError("the process serves its model to another version of tui-params: use the same in both")
        hello, descriptor = shared((answer, descriptors), Hello, "the page of its steps")
        return StepPage(descriptor), hello

    def _list(self, hear: Callable[[Mapping[str, Any]], None] | None) -> Roll:
        with closing(self._connection.ask_many({"ask": "list"}, LIST_SECONDS)) as answers:
            return read_roll(_plain(answers, hear))

    @property
    def page(self) -> StepPage:
        """The page of the steps of the process."""
        return self._page

    @property
    def connection(self) -> Connection:
        """What else the process is asked through."""
        return self._connection

    def handle_of(self, info: TensorInfo) -> int:
        """The handle of a tensor, of a gradient that of its parameter. Raises ReadError."""
        handle = self._handles.get(info.name.removesuffix(".grad") if info.kind == "gradient" else info.name)
        if handle is None:
            raise ReadError(f"{self.label} has no tensor {info.name}")
        return handle

    def beat(self) -> Beat:
        page, lost = self._page, self._connection.look()
        return Beat(page.steps, page.age, page.is_scaled, page.skipped, lost, page.held, self._guard.by)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        from tui_params.core.reading.gather import gather_window

        _check_size(info.dtype.nbytes(window.numel))
        return self._read(info, lambda place, extent: gather_window(place, extent, info, window))[0]

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        from tui_params.core.reading.gather import BLOCK_NBYTES

        stop = info.numel if stop is None else min(stop, info.numel)
        taken, _ = self.bytes_at_step(info, start, stop)
        step = info.dtype.nbytes(fit(BLOCK_NBYTES, info.dtype))
        for begin in range(0, taken.nbytes, step):
            yield taken[begin : begin + step]

    def bytes_at_step(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.uint8], int]:
        return self._bytes(info, start, stop)

    def looks(self, info: TensorInfo, seconds: float, *, is_only_bits: bool = False) -> dict[int, StepFigures]:
        deadline = time.monotonic() + seconds
        found: dict[int, StepFigures] = {}
        while True:
            # To ask where it lies takes longer than many a step: that is done once, at the end.
            raw, step = self._bytes(info, is_checked=False)
            if step not in found:
                found[step] = step_figures(info, raw, is_only_bits=is_only_bits)
            while self._page.steps == step and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            if time.monotonic() >= deadline or len(found) >= MOST_LOOKS:
                break
        if info.numel:
            self._check_place(info, self.handle_of(info))
        return found

    def _bytes(
        self, info: TensorInfo, start: int = 0, stop: int | None = None, *, is_checked: bool = True
    ) -> tuple[NDArray[np.uint8], int]:
        import numpy as np

        from tui_params.core.reading.gather import gather_blocks

        stop = info.numel if stop is None else stop
        _check_size(info.nbytes)
        row = self._row
        if row is not None and is_checked and (start, stop) == (0, info.numel):
            ready = row.take(info)
            if ready is None and self._is_outside(info) and len(group := row.together(info, self._is_outside)) > 1:
                self._read_together(row, group)
                ready = row.take(info)
            if ready is not None:
                return ready
        taken = np.empty(info.dtype.nbytes(stop) - info.dtype.nbytes(start), np.uint8)

        def take(place: Place, extent: Extent) -> None:
            done = 0
            for block in gather_blocks(place, extent, info, start, stop):
                taken[done : done + block.nbytes] = block
                done += block.nbytes

        return taken, self._read(info, take, is_checked=is_checked)[1]

    @contextmanager
    def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> Iterator[None]:
        self._row = Row(infos())
        try:
            yield
        finally:
            self._row = None
            self._copies.forget()

    def _read_together(self, row: Row, group: list[TensorInfo]) -> None:
        """Read tensors at one step, and ask for the places of all of them once; those of a failure are read alone."""

        def read() -> list[NDArray[np.uint8]]:
            return [self._gathered(info) for info in group]

        with suppress(ReadError):
            found = self._page.steadily(read)
            if found is None:
                return
            arrays, step = found
            handles = [self._handles[info.name] for info in group]
            now = self._connection.ask({"ask": "where", "handles": handles}).get("addresses")
            if type(now) is not list or len(now) != len(group):
                raise not_understood("addresses of other tensors than those asked for")
            for info, handle, array, address in zip(group, handles, arrays, now, strict=True):
                row.keep(info, (array, step) if address == self._addresses[handle] else _moved(info))

    def _gathered(self, info: TensorInfo) -> NDArray[np.uint8]:
        import numpy as np

        from tui_params.core.reading.gather import gather_blocks

        extent = _extent(info, self._addresses[self._handles[info.name]])
        return np.concatenate([block.copy() for block in gather_blocks(self._memory, extent, info, 0, info.numel)])

    def _is_outside(self, info: TensorInfo) -> bool:
        """Whether the elements of a tensor are read from the memory of the process."""
        if info.unreadable is not None or not info.numel or info.kind == "gradient":
            return False
        return self._memory.reason is None and self._addresses[self.handle_of(info)] is not None

    def _read(
        self, info: TensorInfo, read: Callable[[Place, Extent], _T], *, is_checked: bool = True
    ) -> tuple[_T, int]:
        """What ``read`` makes of the elements as they were at one step, and its number. Raises ReadError.

        Unless ``is_checked``, it is for the caller to ask afterwards whether the tensor lies where it was read.
        """
        if self._is_closed:
            raise ReadError(f"{self.label} is closed")
        if info.unreadable is not None:
            raise ReadError(info.unreadable)
        if not info.numel:
            return read(NOTHING, Extent("", 0, 0, 0)), self._page.steps
        is_gradient = info.kind == "gradient"
        handle = self.handle_of(info)
        address = None if is_gradient else self._addresses[handle]
        if address is not None and self._memory.reason is None:
            extent = _extent(info, address)
            try:
                found = self._page.steadily(lambda: read(self._memory, extent))
            except ReadError:
                # What was replaced may have been given back to the system.
                self._check_place(info, handle)
                raise
            if found is not None:
                if is_checked:
                    self._check_place(info, handle)
                return found
        # A copy is row-major, whatever the tensor itself is.
        return self._copies.read(
            Key(handle, is_gradient),
            lambda: self._near(info, is_gradient=is_gradient),
            MAX_COPIES if self._row is None else MOST_COPIED,
            lambda place, nbytes: read(place, Extent("", 0, 0, nbytes)),
        )

    def _check_place(self, info: TensorInfo, handle: int) -> None:
        """Raise SourceChangedError unless the tensor lies where it was read, if it is read out of the memory."""
        address = None if info.kind == "gradient" else self._addresses[handle]
        if address is None or self._memory.reason is not None:
            return
        answer = self._connection.ask({"ask": "where", "handles": [handle]})
        if answer.get("addresses") != [address]:
            raise _moved(info)

    def _near(self, info: TensorInfo, *, is_gradient: bool) -> list[tuple[Key, int]]:
        """What of its kind is likely to be read after this tensor, in the reverse order; the tensor itself is last."""
        following: Iterable[TensorInfo]
        if self._row is not None:
            is_one = _is_gradient if is_gradient else self._is_copied
            following = self._row.following(info, is_one, MOST_COPIED)
        elif is_gradient:
            listed = list(self.listing.gradients.values())
            place = next(number for number, other in enumerate(listed) if other.name == info.name)
            following = listed[place : place + MAX_COPIES // 2]
        else:
            following = (info,)
        chosen: list[tuple[Key, int]] = []
        room = COPIES_NBYTES // 2
        for other in following:
            room -= other.nbytes
            if room < 0 and chosen:
                break
            chosen.append((Key(self.handle_of(other), is_gradient), other.nbytes))
        return chosen[::-1]

    def _is_copied(self, info: TensorInfo) -> bool:
        """Whether the values of a tensor are there only as copies."""
        if info.unreadable is not None or not info.numel:
            return False
        return self._memory.reason is not None or self._addresses[self.handle_of(info)] is None

    def changed(self) -> str | None:
        if self._is_closed:
            return None
        lost = self._connection.look()
        if lost is not None:
            return f"{lost}; what is shown is the last that was read"
        return None

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._guard.close()
        self._connection.close()
        self._copies.close()
        self._memory.close()


def _plain(
    answers: Iterable[tuple[dict[str, Any], list[int]]], hear: Callable[[Mapping[str, Any]], None] | None
) -> Iterator[dict[str, Any]]:
    """Answers that share nothing."""
    for message, descriptors in answers:
        close_all(descriptors)
        if hear is not None:
            hear(message)
        yield message


def _check_size(nbytes: int) -> None:
    """Raise ReadError if so many bytes are not read between two steps."""
    if nbytes > MAX_AT_ONCE:
        raise ReadError(
            f"it has {size(nbytes)}, and at most {size(MAX_AT_ONCE)} are read between two steps: look at a slice of it"
        )


def _moved(info: TensorInfo) -> SourceChangedError:
    return SourceChangedError(f"{info.name} was replaced, resized or moved since it was listed")


def _is_gradient(info: TensorInfo) -> bool:
    return info.kind == "gradient"


def _extent(info: TensorInfo, address: int | None) -> Extent:
    """Where a tensor lies in the memory of the process."""
    assert address is not None
    return Extent("", address, address, address + _span(info), info.stride)


def _span(info: TensorInfo) -> int:
    """The bytes from the first element to the end of the last one."""
    if info.stride is None or not info.numel:
        return info.nbytes
    last = sum((length - 1) * step for length, step in zip(info.shape, info.stride, strict=True))
    return info.dtype.nbytes(last + 1)
