"""One queue for each device, so that tensors on two disks are read at the speed of both."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from time import monotonic
from typing import Generic, TypeVar

from tui_params.core.reading.readable import Readable
from tui_params.core.tensor import TensorInfo

T = TypeVar("T")

POLL_SECONDS = 0.02

MOST_WAITING = 256
"""Results that may wait to be taken; at more than these the readers wait."""

LEAVE_SECONDS = 2.0
"""How long to wait for a reader after it should stop: its disk may hang."""


def device_of(source: Readable, info: TensorInfo) -> int | None:
    """The ``st_dev`` of the file that holds a tensor as it was opened, links followed; None where it lies in none."""
    found = source.data_file(info)
    return None if found is None else found[0].device


def split_by_device(
    order: Sequence[TensorInfo], device_of: Callable[[TensorInfo], int | None]
) -> list[tuple[TensorInfo, ...]]:
    """The tensors of each device, in the same order; ``device_of`` is called once for each file.

    Tensors without a file go to the first queue. The names of tied tensors stay together, because they are read once.
    """
    devices: dict[str | None, int | None] = {None: None}
    for info in order:
        if info.file not in devices:
            devices[info.file] = device_of(info)
    known = list(dict.fromkeys(device for device in devices.values() if device is not None))
    if len(known) < 2:
        return [tuple(order)] if order else []
    queues: dict[int, list[TensorInfo]] = {device: [] for device in known}
    chosen: dict[str, int] = {}
    for info in order:
        device = devices[info.file]
        device = chosen.setdefault(info.first_name, known[0] if device is None else device)
        queues[device].append(info)
    return [tuple(queue) for queue in queues.values() if queue]


class ReadTogether(Generic[T]):
    """Runs several iterators, each on a daemon thread of its own, and yields their results on the caller's thread.

    To be iterated over once. ``wait`` is called every 20 ms while no result comes; an exception in it or in an iterator
    ends all of them. The iterators should stop when ``is_over`` is true. At most MOST_WAITING results wait to be taken.
    """

    def __init__(self, wait: Callable[[], object]) -> None:
        self._wait = wait
        self._results: Queue[tuple[T] | Exception | None] = Queue(MOST_WAITING)
        self._over = Event()
        self.running = 1  # the parts that have not ended yet

    def is_over(self) -> bool:
        return self._over.is_set()

    def read(self, parts: Sequence[Iterable[T]]) -> Generator[T, None, None]:
        """The results of all parts as they come, those of each part in order."""
        threads = [Thread(target=self._draw, args=(part,), name="tui-params device", daemon=True) for part in parts]
        self.running = len(parts)
        try:
            alone = [part for thread, part in zip(threads, parts, strict=True) if not _start(thread)]
            self.running -= len(alone)
            while self.running:
                try:
                    result = self._results.get(timeout=POLL_SECONDS)
                except Empty:
                    self._wait()
                    continue
                if isinstance(result, Exception):
                    raise result
                if result is None:
                    self.running -= 1
                else:
                    yield result[0]
            self.running = 1
            for part in alone:
                yield from part
        finally:
            self._over.set()
            end = monotonic() + LEAVE_SECONDS
            for thread in threads:
                if thread.is_alive():
                    thread.join(max(0.0, end - monotonic()))

    def _draw(self, part: Iterable[T]) -> None:
        try:
            for each in part:
                self._put((each,))
                if self._over.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - raised again where the results are taken
            self._put(error)
        else:
            self._put(None)

    def _put(self, result: tuple[T] | Exception | None) -> None:
        while not self._over.is_set():
            with suppress(Full):
                self._results.put(result, timeout=POLL_SECONDS)
                return


def _start(thread: Thread) -> bool:
    """Start a thread; False if no more are allowed: then its part is read after the rest."""
    try:
        thread.start()
    except RuntimeError:
        return False
    return True
