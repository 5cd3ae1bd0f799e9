"""Which kernels serve: numpy's at first, and the compiled ones as soon as they are there.

Both give the same results, so a read may change over in the middle. What an earlier run has left of compiled loops is
loaded in a twentieth of a second, when enough is to be read that it is worth it. To compile takes seconds of another
process, and begins when still more is wanted. The compiled loops run without the GIL.
"""

from __future__ import annotations

import atexit
from threading import Lock, Thread
from typing import TYPE_CHECKING

from tui_params.core.kernels.by_numpy import NumpyKernels
from tui_params.core.kernels.protocol import Kernels

if TYPE_CHECKING:
    from tui_params.core.kernels.compilation import Compilation

WORTH_LOADING = 1 << 26
"""Bytes that somebody wants to read before compiled loops are loaded: for so many numpy needs as long as that takes."""

WORTH_COMPILING = 1 << 28
"""Bytes that somebody wants to read before the loops are compiled, where there are none to load."""


_numpy = NumpyKernels()
_lock = Lock()
_compilation: Compilation | None = None
_has_looked = False
_wanted = 0


def current() -> Kernels:
    """The fastest kernels that are ready now."""
    compilation = _compilation
    return (compilation.kernels if compilation is not None else None) or _numpy


def ready() -> bool:
    """Whether the compiled kernels serve."""
    return current() is not _numpy


def expect(nbytes: int) -> None:
    """Say that ``nbytes`` more will be read: with enough of them compiled loops are loaded, or compiling starts.

    Loading takes a twentieth of a second, in the calling thread.
    """
    global _wanted
    _wanted += nbytes
    prepare(_wanted)


def prepare(nbytes: int) -> None:
    """``expect`` where ``nbytes`` in all will be read, and each of the reads says so again."""
    if nbytes < WORTH_LOADING or _compilation is not None:
        return
    if not _load() and nbytes >= WORTH_COMPILING:
        start_compiling()


def _load() -> bool:
    """Whether there are compiled loops now; looked for once in a process."""
    global _compilation, _has_looked
    from tui_params.core.kernels.compilation import Compilation

    with _lock:
        if _compilation is None and not _has_looked:
            _has_looked = True
            found = Compilation()
            if found.load():
                _compilation = found
        return _compilation is not None


def start_compiling() -> Compilation:
    """Load the loops, or have them compiled, watched by a daemon thread; may be called again."""
    global _compilation
    from tui_params.core.kernels.compilation import Compilation

    if _load():
        assert _compilation is not None
        return _compilation
    with _lock:
        if _compilation is None:
            _compilation = Compilation()
            atexit.register(_compilation.stop)
            Thread(target=_compilation.run, name="tui-params compiler", daemon=True).start()
        return _compilation


def forget() -> None:
    """Go back to numpy, as if nothing had been compiled; for measuring and tests."""
    global _compilation, _has_looked, _wanted
    with _lock:
        _compilation, _has_looked, _wanted = None, False, 0
