"""Engine: decides which kernels compute. numpy's serve at first, the compiled ones as soon as they are there.

Both give the same results, so a read may change from one to the other in the middle. Compiled loops that an earlier run
has left are loaded in 0.05 s, as soon as enough is to be read to be worth that time. Compiling takes another process
several seconds, and begins when still more is to be read. The compiled loops run without the GIL.
"""

from __future__ import annotations

import atexit
from threading import Lock, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_params.core.kernels.compilation import Compilation
    from tui_params.core.kernels.machine_code import FindStore
    from tui_params.core.kernels.protocol import Kernels

WORTH_LOADING = 1 << 26
"""Bytes to be read from which compiled loops are loaded: numpy needs about as long for them as the loading takes."""

WORTH_COMPILING = 1 << 28
"""Bytes to be read from which the loops are compiled, where there are none to load."""


class Engine:
    """Decides which kernels compute; to be shared by all sources of a process, and used from any thread.

    ``find_store`` finds the place where compiled loops are kept, and is called when there are some to load or to keep;
    without it every process compiles anew. The process that compiles looks the function up by its name, so it must be
    one of a module. The other two are the bytes from which loading and compiling are worth it.
    """

    def __init__(
        self,
        find_store: FindStore | None = None,
        *,
        worth_loading: int = WORTH_LOADING,
        worth_compiling: int = WORTH_COMPILING,
    ) -> None:
        self._find_store = find_store
        self._worth_loading = worth_loading
        self._worth_compiling = worth_compiling
        self._by_numpy: Kernels | None = None
        self._lock = Lock()
        # Guarded by the lock.
        self._compilation: Compilation | None = None
        self._has_looked = False
        self._wanted = 0

    def current(self) -> Kernels:
        """The fastest kernels that are ready now. Imports numpy."""
        compilation = self._compilation
        if compilation is not None and compilation.kernels is not None:
            return compilation.kernels
        if self._by_numpy is None:
            from tui_params.core.kernels.by_numpy import NumpyKernels

            self._by_numpy = NumpyKernels()
        return self._by_numpy

    def ready(self) -> bool:
        """Whether the compiled kernels serve."""
        compilation = self._compilation
        return compilation is not None and compilation.kernels is not None

    def expect(self, nbytes: int) -> None:
        """Announce that ``nbytes`` more will be read: when the sum is large enough, loops are loaded or compiled.

        Loading takes 0.05 s, in the calling thread; compiling is left to another process.
        """
        with self._lock:
            self._wanted += nbytes
            wanted = self._wanted
        self.prepare(wanted)

    def prepare(self, nbytes: int) -> None:
        """Do what ``expect`` does when ``nbytes`` will be read in all, without adding them to the sum.

        For callers whose single reads call ``expect`` themselves.
        """
        if nbytes < self._worth_loading or self._compilation is not None:
            return
        if not self._load() and nbytes >= self._worth_compiling:
            self.start_compiling()

    def start_compiling(self) -> Compilation:
        """Load the loops, or have them compiled, watched by a daemon thread; may be called again."""
        from tui_params.core.kernels.compilation import Compilation

        self._load()
        with self._lock:
            if self._compilation is None:
                self._compilation = Compilation(self._find_store)
                atexit.register(self._compilation.stop)
                Thread(target=self._compilation.run, name="tui-params compiler", daemon=True).start()
            return self._compilation

    def _load(self) -> bool:
        """Whether there are compiled loops, or will be. The store is asked once."""
        from tui_params.core.kernels.compilation import Compilation

        with self._lock:
            if self._compilation is None and not self._has_looked:
                self._has_looked = True
                found = Compilation(self._find_store)
                if found.load():
                    self._compilation = found
            return self._compilation is not None
