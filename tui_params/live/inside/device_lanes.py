"""DeviceLanes: copies of tensors from devices to the host, which neither the thread nor the stream that trains waits
for.

At the end of a step the tensors are copied on the device itself, in the queue of the training, so that what comes after
may overwrite them. From there they go to the host beside the training, and are there at one of the next steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .anatomy import own
from .device_queue import QUEUES, DeviceQueue
from .memory import Undisturbed, plain_view
from .tensor_slots import COPIED, NO_ROOM, ON_DEVICE

MAX_ROOM = 64 << 20
"""Bytes that are on their way at most, but for a tensor that is larger."""

MARGIN = 64 << 20
"""Bytes of the device's memory that are left to the training."""

MIN_ROOM = 1 << 20
"""Less is not asked of a device."""


class Arrival(NamedTuple):
    """A tensor that has come: what was said of it, and its bytes."""

    note: Any
    data: Any


class DeviceLane:
    """One load of copies at a time, from one device, of at most ``room`` bytes."""

    def __init__(self, queue: DeviceQueue, room: int) -> None:
        self._queue, self._room = queue, room
        self._buffers: tuple[Any, Any] | None = None
        self._load: list[tuple[Any, int, int]] = []
        self._end = 0
        self.is_under_way = False

    def load(self, tensor: Any, nbytes: int, note: Any) -> int | None:
        """Add a tensor to the load: COPIED, or NO_ROOM; None if it has to wait for a later step.

        Raises what is in ODD, and then it is not added.
        """
        if self.is_under_way or self._queue.is_capturing():
            return None
        if nbytes > self._allocated():
            return NO_ROOM
        if self._end + nbytes > self._room:
            return None
        assert self._buffers is not None
        source = plain_view(tensor)
        staging = self._buffers[0][self._end : self._end + nbytes]
        staging.view(source.dtype).view(source.shape).copy_(source)
        self._load.append((note, self._end, nbytes))
        self._end = -(-(self._end + nbytes) // 64) * 64
        return COPIED

    def _allocated(self) -> int:
        """The room of a load: less than was wanted where the device has little memory to spare, or 0."""
        if self._buffers is None and self._room:
            spare = max(self._queue.spare_nbytes() - MARGIN, 0)
            self._room = min(self._room, spare // MIN_ROOM * MIN_ROOM)
            if not self._room:
                return 0
            try:
                self._buffers = self._queue.buffers(self._room)
            except RuntimeError:  # torch's error of memory that cannot be had is one
                self._room = 0
        return self._room

    def send(self) -> None:
        """Send what was loaded."""
        if self._load and not self.is_under_way:
            assert self._buffers is not None
            staging, host = self._buffers
            with Undisturbed(plain=True):
                self._queue.send(staging[: self._end], host[: self._end])
            self.is_under_way = True

    def arrivals(self) -> Iterator[Arrival]:
        """What has come; nothing while it is under way. The bytes stay until the next load."""
        if not self.is_under_way or self._queue.is_capturing() or not self._queue.is_sent():
            return
        load, self._load, self._end, self.is_under_way = self._load, [], 0, False
        assert self._buffers is not None
        for note, start, nbytes in load:
            yield Arrival(note, self._buffers[1][start : start + nbytes])


class DeviceLanes:
    """The lanes of the copies of one viewer, one a device. ``room`` is that of each."""

    def __init__(self, nbytes: list[int], budget: int) -> None:
        self._room = max(min(sum(nbytes) + 64 * len(nbytes), budget, MAX_ROOM), *nbytes, MIN_ROOM)
        self._lanes: dict[Any, DeviceLane] = {}

    def load(self, tensor: Any, nbytes: int, note: Any) -> int | None:
        """Add a tensor to what is sent from its device: COPIED, or why it is not; None if that has to wait for a later
        step.

        Raises what is in ODD.
        """
        device = own(tensor, "device")
        if device.type not in QUEUES:
            return ON_DEVICE
        if device not in self._lanes:
            self._lanes[device] = DeviceLane(QUEUES[device.type](device), self._room)
        return self._lanes[device].load(tensor, nbytes, note)

    @property
    def is_under_way(self) -> bool:
        """Whether anything is on its way."""
        return any(lane.is_under_way for lane in self._lanes.values())

    def send(self) -> None:
        """Send what was loaded, from each device."""
        for lane in self._lanes.values():
            lane.send()

    def arrivals(self) -> Iterator[Arrival]:
        """What has come, from each device."""
        for lane in self._lanes.values():
            yield from lane.arrivals()
