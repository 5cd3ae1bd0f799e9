"""The real libraries in a child process that lives on: what they say of one file after another.

The child has a limit on its memory, and each answer one on its time. A child that ends or hangs is replaced: that input
has no answer, which counts as a refusal.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

SECONDS = 20
"""The longest that one file may take; the first one includes the import of torch."""

START_SECONDS = 240


class Tensor(NamedTuple):
    """A tensor as the library has read it; ``digest`` is that of its bytes, empty for a large one."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: str


class Answer(NamedTuple):
    """What the library says of one file: its tensors and leaves, or why it refuses the file."""

    refusal: str | None
    tensors: tuple[Tensor, ...] = ()
    leaves: tuple[tuple[str, str], ...] = ()
    is_odd: bool = False


class Library:
    """One child at a time. ``ask`` and ``receive`` are apart, so that we read the same file meanwhile."""

    def __init__(self, script: Path | None = None) -> None:
        self._script = script or Path(__file__).with_name("library_child.py")
        self._child: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self._is_fresh = True

    def ask(self, path: Path, how: str) -> None:
        """Send one file to the child."""
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, str(self._script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._is_fresh = True
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"path": str(path), "how": how}).encode() + b"\n")
        self._child.stdin.flush()

    def receive(self) -> Answer:
        """The answer about the file that was sent last."""
        assert self._child is not None
        assert self._child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            is_there = selector.select(START_SECONDS if self._is_fresh else SECONDS)
        line = self._child.stdout.readline() if is_there else b""
        if not line.endswith(b"\n"):
            how = "ended" if is_there else "hung"
            self.close()
            self.restarts += 1
            return Answer(f"no answer: this input {how} its process")
        self._is_fresh = False
        said: dict[str, Any] = json.loads(line)
        if said["refusal"] is not None:
            return Answer(said["refusal"])
        tensors = tuple(Tensor(name, dtype, tuple(shape), raw) for name, dtype, shape, raw in said["tensors"])
        return Answer(None, tensors, tuple((name, text) for name, text in said["leaves"]), said["is_odd"])

    def close(self) -> None:
        """End the child."""
        if self._child is None:
            return
        self._child.kill()
        self._child.communicate()
        self._child = None

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
