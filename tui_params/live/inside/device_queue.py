"""DeviceQueue: what copies need of the queue of a device, in a few calls of torch.

All of it is called on the thread that trains. A call of CUDA on another thread could end the capture of a graph that is
under way (CUDA Runtime API, cudaStreamBeginCapture: cudaStreamCaptureModeGlobal).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch


class DeviceQueue(Protocol):
    """The queue of one device."""

    def is_capturing(self) -> bool:
        """Whether what the thread asks of the device now is recorded for later."""
        ...

    def spare_nbytes(self) -> int:
        """How much memory of the device nobody has."""
        ...

    def buffers(self, nbytes: int) -> tuple[Any, Any]:
        """Memory of the device and of the host, each as a tensor of bytes, between which the device copies alone."""
        ...

    def send(self, staging: Any, host: Any) -> None:
        """Copy ``staging`` to ``host`` after all that the device has been given; what it is given next does not wait.

        Returns at once.
        """
        ...

    def is_sent(self) -> bool:
        """Whether the last copy is done."""
        ...


class CudaQueue:
    """The queue of a device of CUDA, or of ROCm, which torch calls so too.

    The copy has a stream of its own, which waits for the stream of the training; that one waits for nothing.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._stream: Any = None
        self._sent: Any = None

    def is_capturing(self) -> bool:
        with torch.cuda.device(self._device):
            return bool(torch.cuda.is_current_stream_capturing())

    def spare_nbytes(self) -> int:
        return int(torch.cuda.mem_get_info(self._device)[0])

    def buffers(self, nbytes: int) -> tuple[Any, Any]:
        staging = torch.empty(nbytes, dtype=torch.uint8, device=self._device)
        # Of memory that is not pinned, the thread would wait until the device has come to the copy.
        return staging, torch.empty(nbytes, dtype=torch.uint8, device="cpu", pin_memory=True)

    def send(self, staging: Any, host: Any) -> None:
        with torch.cuda.device(self._device):
            if self._stream is None:
                self._stream, self._sent = torch.cuda.Stream(), torch.cuda.Event()
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                host.copy_(staging, non_blocking=True)
                self._sent.record()
            # torch gives the memory to nobody else before this stream is done with it.
            staging.record_stream(self._stream)

    def is_sent(self) -> bool:
        return bool(self._sent.query())


QUEUES: dict[str, Callable[[Any], DeviceQueue]] = {"cuda": CudaQueue}
"""By the type of a device, what makes its queue: from these devices tensors are copied."""
