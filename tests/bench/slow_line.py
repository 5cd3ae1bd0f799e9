"""A line with latency in place of ``ssh``: runs the command here, and what goes in and out comes later.

Run as a script: the seconds each way, then the options, the host and the command, as ``ssh`` gets them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from queue import SimpleQueue
from threading import Thread

_READ = 1 << 16


def pump(source: int, target: int, seconds: float) -> None:
    """Pass on all bytes, each so much later, until the end of them; then close ``target``."""
    coming: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def read() -> None:
        while True:
            data = os.read(source, _READ)
            coming.put((time.monotonic() + seconds, data))
            if not data:
                return

    Thread(target=read, daemon=True).start()
    while True:
        due, data = coming.get()
        time.sleep(max(due - time.monotonic(), 0.0))
        if not data:
            os.close(target)
            return
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]


def main() -> int:
    """Run the command; its exit status."""
    seconds, command = float(sys.argv[1]), sys.argv[-1]
    child = subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    going = os.dup(child.stdin.fileno())
    child.stdin.close()
    Thread(target=pump, args=(0, going, seconds), daemon=True).start()
    pump(child.stdout.fileno(), os.dup(1), seconds)
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
