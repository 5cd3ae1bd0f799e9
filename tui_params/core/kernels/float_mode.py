"""The processor's mode for subnormal numbers: if they were flushed to zero, no statistic would be exact.

``torch.set_flush_denormal(True)`` sets that mode for the calling thread, and new threads inherit it. numpy then treats
subnormals as zeros, and loses small float16 values too, which are subnormal on their way through float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from tui_params.errors import ReadError

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LEAST = [5e-324]


def is_flushing() -> bool:
    """Whether this thread flushes subnormal numbers to zero."""
    # Not a constant, which Python would fold at compile time.
    return _LEAST[0] * 1.0 == 0.0


@contextmanager
def gradual_underflow() -> Iterator[None]:
    """Keep subnormal numbers, in this thread and in those that it starts, inside the ``with`` block.

    Costs nothing where they are kept anyway. Raises ReadError if the mode cannot be changed.
    """
    if not is_flushing():
        yield
        return
    import ctypes

    # fenv.h of C11 (section 7.6); 512 bytes are more than any fenv_t has. FE_DFL_ENV, the mode with which a program
    # begins, is the pointer -1 in glibc and musl, and one to this variable on macOS.
    kept = ctypes.create_string_buffer(512)
    library = ctypes.CDLL(None)
    if hasattr(library, "_FE_DFL_ENV"):
        default = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(library, "_FE_DFL_ENV")))
    else:
        default = ctypes.c_void_p(-1)
    library.fegetenv(kept)
    library.fesetenv(default)
    try:
        if is_flushing():
            raise ReadError("this process flushes subnormal numbers to zero, so no statistic would be exact")
        yield
    finally:
        library.fesetenv(kept)


def with_subnormals(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Wrap a function so that it runs under ``gradual_underflow``."""

    @wraps(function)
    def called(*arguments: _P.args, **options: _P.kwargs) -> _T:
        if not is_flushing():
            return function(*arguments, **options)
        with gradual_underflow():
            return function(*arguments, **options)

    return called
