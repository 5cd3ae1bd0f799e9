"""Solving: the process that computes singular values, as the one that started it sees it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.numbers.spectrum.problem import Problem, Said
from tui_params.errors import ReadError

POLL_SECONDS = 0.05

_START = f"""\
import sys
sys.path[:] = sys.argv[1:]
from {__package__}.solver import main
main()
"""

_ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


class Solving:
    """A process that computes the singular values of one matrix; it is gone at the end of the ``with`` block.

    Raises ReadError where none can be started.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        if not Path(sys.executable or "").name.lower().startswith(("python", "pypy")):
            raise ReadError("Python runs inside another program, which cannot be started to compute a spectrum")
        try:
            self.process = subprocess.Popen(
                # -B: nothing is written.
                [sys.executable, "-I", "-B", "-c", _START, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # A ctrl+c in the terminal must not reach it.
                start_new_session=True,
                env=os.environ | _ONE_THREAD,
            )
        except OSError as error:
            raise ReadError(f"no process could be started to compute a spectrum: {error}") from error
        _widen(self.process.stdin)
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._complaint: list[bytes] = []
        self._readers = [
            _started(self._take, self.process.stdout),
            _started(self._keep, self.process.stderr),
        ]

    def run(self, blocks: Callable[[], Iterable[NDArray[Any]]], check: Callable[[], object]) -> Iterator[Said]:
        """What the process says, line by line; whenever it asks, ``blocks`` are sent.

        ``check`` is called often, and may raise to stop it. Raises ReadError, and what ``check`` and ``blocks`` raise.
        """
        self._send([msgspec.json.encode(self._problem) + b"\n"])
        while True:
            check()
            try:
                line = self._lines.get(timeout=POLL_SECONDS)
            except Empty:
                continue
            if line is None:
                break
            said = msgspec.json.decode(line, type=Said)
            if said.refused:
                raise ReadError(said.refused)
            if said.again:
                self._send(_checked(blocks(), check))
            else:
                yield said
        if code := self.process.wait():
            self._readers[1].join()
            raise ReadError(f"the process that computes the spectrum {_reason(code, b''.join(self._complaint))}")

    def _send(self, parts: Iterable[bytes | memoryview]) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        # A broken pipe: it has ended, and its last line or its exit code says why.
        with suppress(BrokenPipeError):
            for part in parts:
                stdin.write(part)
            stdin.flush()

    def _take(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self._lines.put(line)
        self._lines.put(None)

    def _keep(self, pipe: IO[bytes]) -> None:
        self._complaint.append(pipe.read()[-2000:])

    def __enter__(self) -> Solving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):  # what was not sent yet is lost with the process
                    stream.close()


def _widen(pipe: IO[bytes] | None) -> None:
    """Let the pipe hold a megabyte: with 64 KiB two processes take turns thousands of times for one matrix."""
    if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # the user has no more pages for pipes
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, 1 << 20)


def _started(target: Callable[[IO[bytes]], None], pipe: IO[bytes] | None) -> Thread:
    thread = Thread(target=target, args=(pipe,), name="tui-params solving", daemon=True)
    thread.start()
    return thread


def _checked(blocks: Iterable[NDArray[Any]], check: Callable[[], object]) -> Iterator[memoryview]:
    for block in blocks:
        yield np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
        check()


def _reason(code: int, complaint: bytes) -> str:
    last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
    if "MemoryError" in last:
        return "had too little memory"
    if code < 0:
        return f"was ended by signal {-code}, as a machine short of memory does"
    return f"ended with {code}: {last or 'no reason'}"
