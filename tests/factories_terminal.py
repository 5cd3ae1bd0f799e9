"""Terminals for tests: one that is only a stream, and one that a program of its own draws on."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

SILENCE = 60.0
"""Seconds without a byte after which a test gives up; a program that works is never silent for so long."""


class Terminal(StringIO):
    """A stdout that says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    def plain(self) -> str:
        """What was written, without styles."""
        return re.sub("\x1b\\[[0-9;]*m", "", self.getvalue())


class PseudoTerminal:
    """The other end of the terminal of a running program: what it writes, and the keys that it gets."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self.written = b""
        self._end = end

    def wait_for(self, words: bytes, start: int = 0) -> None:
        """Read until the program has written ``words`` behind the first ``start`` bytes; an error if it ends first."""
        while words not in self.written[start:]:
            assert self._read(), f"{words!r} never came; the last of what came: {self.written[-2000:]!r}"

    def type(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def hang_up(self) -> None:
        """Close the terminal, as when a connection breaks."""
        os.close(self._end)
        self._end = -1

    def wait_for_end(self) -> int:
        """Read what is left, and return the exit code: the number of a signal, negative, if it died by one."""
        while self._end >= 0 and self._read():
            pass
        return self.process.wait(SILENCE)

    def _read(self) -> bytes:
        """What the program has written since; nothing once it has ended."""
        ready, _, _ = select.select([self._end], [], [], SILENCE)
        assert ready, f"the program is silent; the last of what came: {self.written[-2000:]!r}"
        try:
            read = os.read(self._end, 65536)
        except OSError:  # Linux answers EIO once nobody has the terminal open
            read = b""
        self.written += read
        return read


_OBEDIENT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
"""


@contextmanager
def running_in_terminal(script: str, folder: Path, environ: Mapping[str, str]) -> Iterator[PseudoTerminal]:
    """A Python script in a session of its own with a terminal of 80x24, its settings and its cache below ``folder``."""
    end, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    # The new session takes the terminal as its own, so that signals and job control work as they do in a shell.
    # It ignores no signal, even if this process does: nohup and "&" in a script leave some ignored.
    script = f"{_OBEDIENT}\nimport fcntl, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\n{script}"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
        env={
            **environ,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "XDG_CONFIG_HOME": str(folder),
            "XDG_CACHE_HOME": str(folder),
        },
    )
    os.close(its_end)
    terminal = PseudoTerminal(process, end)
    try:
        yield terminal
    finally:
        process.kill()
        process.wait()
        if terminal._end >= 0:
            terminal.hang_up()
