"""Has gdb call one function in a process, at a place where that is safe, and lets it go at once.

gdb is given addresses instead of symbols, so that it reads nothing of libtorch while the process stands still. It stops
where memory is about to be allocated: there no thread of Python holds the lock of the pending calls. The call only
enters the text in the list of pending calls; Python runs it in its main thread, between two instructions.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic

from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.live.injection.elf_symbols import SymbolsError, find_symbols
from tui_params.live.injection.target import HINT, Target

STOP_SECONDS = 5.0
"""How long to wait until the process allocates memory: one that sleeps does not."""

_ADD, _RUN, _ALLOCATE, _MAP = "Py_AddPendingCall", "PyRun_SimpleString", "malloc", "mmap"
_SETTINGS = (
    "set auto-solib-add off",
    "set auto-load off",
    "set pagination off",
    "set confirm off",
    "set print thread-events off",
    "set debuginfod enabled off",
    "set libthread-db-search-path /",
)
_CANNOT_CALL = "write extended state"
"""What gdb 13 says of a call where the processor has registers that it cannot put back."""
_READABLE_WRITABLE, _PRIVATE_ANONYMOUS = 3, 0x22


def find_gdb() -> str:
    """The path of gdb. Raises OpenError if there is none."""
    found = shutil.which("gdb")
    if found is None:
        raise OpenError(f"gdb is needed to enter a process of this Python, and is not installed; install it, or {HINT}")
    return found


def commands_for(target: Target, text: Path) -> tuple[list[str], list[str]]:
    """What gdb is told until the process stops, and then, to run the Python text in the file ``text``.

    Raises OpenError.
    """
    python = _addresses(target.python, target.bases[0], (_ADD, _RUN))
    libc = _addresses(target.libc, target.bases[1], (_ALLOCATE, _MAP))
    nbytes = -(-(text.stat().st_size + 1) // 4096) * 4096
    before = [f"tbreak *{libc[_ALLOCATE]:#x}", "continue"]
    kind = "(unsigned long (*)(unsigned long, unsigned long, int, int, int, long))"
    after = [
        f"set $text = ({kind} {libc[_MAP]:#x})(0, {nbytes}, {_READABLE_WRITABLE}, {_PRIVATE_ANONYMOUS}, -1, 0)",
        f'eval "restore {text} binary %lu", $text',
        f"set $failed = ((int (*)(unsigned long, unsigned long)) {python[_ADD]:#x})({python[_RUN]:#x}, $text)",
        'printf "entered %d\\n", $failed',
    ]
    return before, after


def _addresses(path: Path, base: int, names: tuple[str, ...]) -> dict[str, int]:
    try:
        found, is_shared = find_symbols(path, names)
    except SymbolsError as error:
        raise OpenError(f"{clean(path.name, 60)} {error}; {HINT}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise OpenError(f"{clean(path.name, 60)} does not export {missing[0]}; {HINT}")
    return {name: address + base * is_shared for name, address in found.items()}


def run_text(target: Target, script: str) -> None:
    """Run Python text in the main thread of a process, soon. Raises OpenError; then the process goes on as it was."""
    with tempfile.TemporaryDirectory(prefix="tui-params-") as folder:
        text = Path(folder) / "text"
        text.write_bytes(script.encode() + b"\0")
        before, after = commands_for(target, text)
        with _Gdb(target.pid) as gdb:
            gdb.tell(*before)
            gdb.expect(r"hit Temporary breakpoint|Temporary breakpoint \d+, ", STOP_SECONDS)
            gdb.tell(*after)
            if gdb.expect(r"entered (-?\d+)", STOP_SECONDS)[1] != "0":
                raise OpenError(f"process {target.pid} has too many pending calls: try again")


class _Gdb:
    """gdb, attached to a process inside a ``with``; it is always told to let go, and never killed while it holds on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        settings = [word for setting in _SETTINGS for word in ("-iex", setting)]
        self._gdb = subprocess.Popen(
            [find_gdb(), "-nx", "-q", *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A ctrl+c of the user must not reach it: it would die with its breakpoint in the process.
            start_new_session=True,
        )
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._said: list[str] = []
        Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> _Gdb:
        self.tell(f"attach {self._pid}", 'printf "attached %d\\n", $_inferior_thread_count')
        try:
            self.expect(r"attached [1-9]", 20.0)
        except OpenError:
            self._leave()
            raise OpenError(f"gdb cannot stop process {self._pid}: {self._reason()}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def tell(self, *commands: str) -> None:
        assert self._gdb.stdin is not None
        self._gdb.stdin.write("".join(f"{command}\n" for command in commands))
        self._gdb.stdin.flush()

    def expect(self, pattern: str, seconds: float) -> re.Match[str]:
        """Wait for a line. Raises OpenError if none of them comes in time."""
        deadline = monotonic() + seconds
        for line in self._lines_until(deadline):
            if _CANNOT_CALL in line:
                words = clean(line.removeprefix("(gdb) ").strip(), 100)
                raise OpenError(
                    f"the gdb of this machine cannot call a function on its processor ({words}): "
                    f"a newer gdb may, or {HINT}"
                )
            match = re.search(pattern, line)
            if match is not None:
                return match
        raise OpenError(
            f"process {self._pid} did not come to a place where it can be entered within {seconds:.0f} s (does it"
            " sleep, or wait for a device?): try again"
        )

    def _lines_until(self, deadline: float) -> Iterator[str]:
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - monotonic(), 0.01))
            except Empty:
                return
            if not line:
                return
            self._said.append(line)
            yield line

    def _leave(self) -> None:
        """Stop the process if it runs on, remove what was set in it, and let it go."""
        self._gdb.send_signal(signal.SIGINT)
        try:
            self.tell("delete", "detach", "quit")
            self._gdb.wait(30.0)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            # It ends by itself when it reads that there is nobody; killed, it would leave its breakpoint behind.
            pass
        if self._gdb.stdin is not None:
            self._gdb.stdin.close()

    def _listen(self) -> None:
        assert self._gdb.stdout is not None
        for line in self._gdb.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _reason(self) -> str:
        words = " ".join(self._said).lower()
        if "operation not permitted" in words or "permission" in words:
            return "the kernel does not allow it (kernel.yama.ptrace_scope, or a container without SYS_PTRACE)"
        if "no such process" in words:
            return "it has ended"
        if "already traced" in words or "is already" in words:
            return "another debugger holds it"
        return clean(self._said[-1].strip(), 200) if self._said else "it does not answer"
