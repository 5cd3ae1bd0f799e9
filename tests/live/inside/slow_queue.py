"""A device that is none: its tensors lie on the host, and what is sent from there comes when a test says so."""

from __future__ import annotations

from typing import Any

import torch

from tui_params.live.inside.device_queue import DeviceQueue


class SlowQueue:
    """A DeviceQueue. Sets ``last`` to the one that was made last."""

    last: SlowQueue

    def __init__(self, device: Any) -> None:
        self.device = device
        self.sent: list[tuple[Any, Any]] = []
        self.is_recording = False
        self.spare = 1 << 40
        self.made: list[int] = []
        SlowQueue.last = self

    def come(self) -> None:
        """Let all come that was sent."""
        for staging, host in self.sent:
            host.copy_(staging)
        self.sent = []

    def is_capturing(self) -> bool:
        return self.is_recording

    def spare_nbytes(self) -> int:
        return self.spare

    def buffers(self, nbytes: int) -> tuple[Any, Any]:
        self.made.append(nbytes)
        return torch.empty(nbytes, dtype=torch.uint8), torch.empty(nbytes, dtype=torch.uint8)

    def send(self, staging: Any, host: Any) -> None:
        self.sent.append((staging, host))

    def is_sent(self) -> bool:
        return not self.sent


class PatientQueue(SlowQueue):
    """What is sent comes when it was asked for a third time."""

    def __init__(self, device: Any) -> None:
        super().__init__(device)
        self.asked = 0

    def is_sent(self) -> bool:
        self.asked += 1
        if self.asked % 3 == 0:
            self.come()
        return super().is_sent()


def is_a_queue(queue: SlowQueue) -> DeviceQueue:
    """The same, as what the copies know it."""
    return queue
