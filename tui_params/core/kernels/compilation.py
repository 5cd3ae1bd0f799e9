"""Compilation: one attempt to get compiled kernels. An earlier run has left them, or another process compiles them.

That process runs ``compiler``, which compares the kernels with numpy's before they are used or kept.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

from tui_params.core.kernels import machine_code
from tui_params.core.kernels.compiled import CompiledKernels
from tui_params.core.kernels.machine_code import FindStore, Store
from tui_params.core.kernels.protocol import Kernels

SECONDS = 180.0
"""A compiler that takes longer is stopped; 4 s are usual."""

_START = f"""\
import sys
keeper, *sys.path[:] = sys.argv[1:]
from {__package__}.compiler import main
main(keeper)
"""

_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    SystemError,
    TypeError,
    ValueError,
)
"""What llvmlite raises where it does not fit this Python or processor."""


class Compilation:
    """One attempt to get compiled kernels. ``done`` is set at its end; ``reason`` says why ``kernels`` is None."""

    def __init__(self, find_store: FindStore | None = None, build: Callable[[], bytes] | None = None) -> None:
        self._find_store = find_store
        self._build = build or self._compile
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False
        self.kernels: Kernels | None = None
        self.reason: str | None = None
        self.done = Event()

    def load(self) -> bool:
        """Load machine code that an earlier run has left, in 0.05 s; False where there is none that works here."""
        store = self._store()
        if store is None or sys.byteorder != "little":
            return False
        try:
            kept = store.read(machine_code.file_name())
        except OSError as error:
            self.reason = str(error)
            return False
        if kept is not None and self._attempt(lambda: kept[0]):
            self.done.set()
        return self.done.is_set()

    def run(self) -> None:
        """Have the loops compiled by another process, which takes seconds, and wait for it."""
        self._attempt(self._build)
        self.done.set()

    def stop(self) -> None:
        """Stop the compiler, because this process ends, unless it will keep its result for later runs."""
        self._is_stopped = self._store() is None
        if self._is_stopped and self._process is not None:
            self._process.kill()

    def _store(self) -> Store | None:
        return None if self._find_store is None else self._find_store()

    def _attempt(self, find: Callable[[], bytes]) -> bool:
        try:
            code = machine_code.decode(find())
            if code.origin != machine_code.origin_here():
                raise RuntimeError("the machine code is for another processor")
            self.kernels = CompiledKernels(code)
        except _FAILURES as error:
            self.reason = str(error) or type(error).__name__
            return False
        self.reason = None
        return True

    def _compile(self) -> bytes:
        if sys.byteorder != "little":
            raise RuntimeError("the compiled loops are for little-endian processors")
        with start(self._find_store) as process:
            self._process = process
            if self._is_stopped:
                process.kill()
            try:
                data, complaint = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise RuntimeError(f"compiling took longer than {SECONDS:.0f} s") from None
        if process.returncode:
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(last or f"the compiler ended with {process.returncode}")
        return data


def start(find_store: FindStore | None) -> subprocess.Popen[bytes]:
    """Start a process of this Python that compiles, keeps the machine code in the store, and writes it to stdout.

    Raises OSError, and RuntimeError where this is no usual Python.
    """
    if not Path(sys.executable or "").name.lower().startswith(("python", "pypy")):
        raise RuntimeError("Python runs inside another program, which cannot be started to compile")
    keeper = "" if find_store is None else f"{find_store.__module__}:{find_store.__qualname__}"
    return subprocess.Popen(
        # -B: nothing is written but what the store keeps.
        [sys.executable, "-I", "-B", "-c", _START, keeper, *sys.path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A ctrl+c in the terminal must not reach it.
        start_new_session=True,
    )
