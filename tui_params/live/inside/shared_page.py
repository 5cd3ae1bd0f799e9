"""Memory that viewers of a model see too: a page of numbers about the steps, and blocks for copies of tensors.

The memory is an anonymous file, whose descriptor is handed to a viewer through the socket: there is no file to leave
behind, and writing to it is no system call.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import suppress
from typing import Any

PAGE_NBYTES = 4096

MAGIC = 0x3150_5354_4950_5554  # the bytes "TUPITSP1"
SEQUENCE, STEPS, LAST_STEP, GENERATION, SCALED, SKIPPED, HELD, PASSES = 1, 2, 3, 4, 5, 6, 7, 8
"""The words of the page, each of 8 bytes in the machine's order; word 0 is MAGIC.

SEQUENCE is odd while an optimizer may be writing to parameters or to its states, and is never the same again: what was
read between two looks at it that saw the same even number was read at one step. STEPS counts the outermost calls of
``step``; LAST_STEP is ``time.monotonic_ns`` after the last of them, 0 before the first. GENERATION changes when tensors
may have been added or moved. SCALED is 1 if the gradients of the last step were still multiplied by a GradScaler, and
SKIPPED counts the steps whose optimizer was told that they are not finite. HELD is the step at whose end a viewer holds
the training, 0 if none does. PASSES is 1 while passes of the model are counted, because no optimizer makes a step:
SEQUENCE is then even while it computes forward, and STEPS counts the passes that were trained with and are over.
"""


def shared_file(nbytes: int) -> int:
    """A descriptor of ``nbytes`` zeros of anonymous memory. Raises OSError."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tui-params", os.MFD_CLOEXEC)
    else:
        # macOS: a file that has no name any more.
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, nbytes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class SharedMemory:
    """``nbytes`` of memory that can be handed to another process by its descriptor, ``fd``."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.fd = shared_file(nbytes)
        self.map = mmap.mmap(self.fd, nbytes)
        self.words: Any = memoryview(self.map).cast("Q")

    def close(self) -> None:
        """Release the descriptor and, unless a tensor still lies in it, the memory."""
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        self.words.release()
        # If a copy is being written, the memory goes with the last view of it.
        with suppress(BufferError):
            self.map.close()

    def __del__(self) -> None:
        # Not closed by whoever stops a server: a hook on the training thread may still write to it.
        if self.fd >= 0:
            os.close(self.fd)


class SharedPage(SharedMemory):
    """The page of numbers about the steps of the optimizers in this process."""

    def __init__(self) -> None:
        super().__init__(PAGE_NBYTES)
        self.words[0] = MAGIC
