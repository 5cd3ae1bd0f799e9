"""What an edit makes of values: set, add, scale, zero, fill, for every element type, and what does not fit into it.

``add`` and ``scale`` compute as torch's own ``+`` and ``*`` do, bit for bit, where torch has them for the type. The
8-bit floats go over float32, complex32 over complex64, integers over 64 bits.
"""

from __future__ import annotations

from cmath import isfinite
from typing import Any, NamedTuple

import torch

from .description import ProbeError

_NATIVE = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128)
_POSITIVE = getattr(torch, "float8_e8m0fnu", None)
"""Powers of two alone: no zero, no sign."""

_UINT64 = getattr(torch, "uint64", None)
_HALF = 1 << 63
_PARTS = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}


class Recipe(NamedTuple):
    """What is done to the values of a slice, as plain data.

    ``operation`` is ``set``, ``add``, ``scale`` (with ``number``), ``zero`` or ``fill``. Values to fill with are those
    of another tensor (``handle``, and ``axes`` as in ``Probe.read_window``), or ``data``: row-major elements of torch's
    type ``dtype``. There are as many as in the slice, in its order; ``flipped`` are the axes of the slice along which
    they are taken from the end.
    """

    operation: str
    number: Any = None
    handle: int | None = None
    axes: tuple[tuple[int, int, int], ...] = ()
    data: bytes = b""
    dtype: str = ""
    flipped: tuple[int, ...] = ()


def scalar_of(number: Any, dtype: Any) -> Any:
    """A 0-d tensor of a type that holds a Python number, rounded to the nearest. Raises ProbeError if it cannot."""
    name = name_of(dtype)
    if dtype == torch.bool:
        if number not in (False, True):
            raise ProbeError(f"{name} takes true and false, not {number!r}")
        return torch.tensor(bool(number))
    if isinstance(number, complex) and not dtype.is_complex:
        raise ProbeError(f"{name} takes no complex numbers")
    if not (dtype.is_floating_point or dtype.is_complex):
        if not isinstance(number, int):
            raise ProbeError(f"{name} takes whole numbers, not {number!r}")
        low, high = _bounds(dtype)
        if not low <= number <= high:
            raise ProbeError(f"{number} does not fit {name}, which reaches from {low} to {high}")
        if dtype == _UINT64:
            return torch.tensor(_wrapped(number), dtype=torch.int64).view(dtype)
        return torch.tensor(number, dtype=torch.int64).to(dtype)
    try:
        exact = torch.tensor(complex(number) if dtype.is_complex else float(number), dtype=_widest(dtype))
    except OverflowError:
        raise ProbeError(f"{number} does not fit {name}: it is beyond float64") from None
    stored = exact.to(dtype)
    if _misfits(exact, stored):
        raise ProbeError(_why_not(number, dtype))
    return stored


def changed(before: Any, recipe: Recipe, scalar: Any, other: Any) -> tuple[Any, int]:
    """The values after a recipe, of the same type, and how many of them do not fit into it.

    ``scalar`` is ``scalar_of`` the number where the operation is ``set`` or ``zero``; ``other`` are the values to fill
    with. Raises ProbeError if the operation makes no sense for the type.
    """
    if recipe.operation == "zero":
        if before.dtype == _POSITIVE:
            raise ProbeError(f"{name_of(before.dtype)} has no zero")
        return _from_bytes(before, 0), 0
    if recipe.operation == "set":
        return scalar.to(before.device).expand(before.shape), 0
    if recipe.operation == "fill":
        return _converted(other, before.dtype)
    if before.dtype == torch.bool:
        raise ProbeError("bool takes true and false: set it, or fill it")
    number = recipe.number
    if before.dtype.is_floating_point or before.dtype.is_complex:
        return _computed(before, number, is_sum=recipe.operation == "add")
    if not isinstance(number, int):
        raise ProbeError(f"{name_of(before.dtype)} takes whole numbers, not {number!r}")
    return _counted(before, number, is_sum=recipe.operation == "add")


def _computed(before: Any, number: Any, *, is_sum: bool) -> tuple[Any, int]:
    """Floating and complex types."""
    dtype = before.dtype
    if isinstance(number, complex) and not dtype.is_complex:
        raise ProbeError(f"{name_of(dtype)} takes no complex numbers")
    if isinstance(number, int):
        try:
            number = float(number)
        except OverflowError:
            raise ProbeError(f"{number} is beyond float64") from None
    wide = before if dtype in _NATIVE else before.to(torch.complex64 if dtype.is_complex else torch.float32)
    result = wide + number if is_sum else wide * number
    after = result.to(dtype)
    if not isfinite(number):
        return after, 0  # on purpose
    if dtype in _NATIVE and _is_finite(after):
        return after, 0
    judged = result if dtype in _NATIVE else result.to(_widest(dtype))
    lost = _misfitting(judged, after) if dtype not in _NATIVE else ~torch.isfinite(after)
    return after, int((torch.isfinite(wide) & lost).sum())


def _is_finite(values: Any) -> bool:
    """Whether all values are finite; much quicker than ``isfinite``, as NaN comes through ``amin`` and ``amax``."""
    if values.dtype.is_complex or not values.numel():
        return False
    return isfinite(values.amin().item()) and isfinite(values.amax().item())


def _counted(before: Any, number: int, *, is_sum: bool) -> tuple[Any, int]:
    """Integers: what fits is found by comparing, so that nothing wraps unseen."""
    low, high = _bounds(before.dtype)
    if is_sum:
        least, most = low - number, high - number
    elif number > 0:
        least, most = -(-low // number), high // number
    elif number < 0:
        least, most = -(high // -number), -low // -number
    else:
        least, most = low, high
    misfits = _outside(before, least, most)
    wide = before.view(torch.int64) if before.dtype == _UINT64 else before.to(torch.int64)
    result = wide + _wrapped(number) if is_sum else wide * _wrapped(number)
    return (result.view(_UINT64) if before.dtype == _UINT64 else result.to(before.dtype)), misfits


def _converted(other: Any, dtype: Any) -> tuple[Any, int]:
    """The values of another type, rounded to the nearest."""
    if other.dtype == dtype:
        return other, 0
    if dtype == torch.bool:
        raise ProbeError(f"bool is filled from bool only, not from {name_of(other.dtype)}")
    is_real = not other.dtype.is_complex
    if dtype.is_floating_point or dtype.is_complex:
        if not (is_real or dtype.is_complex):
            raise ProbeError(f"{name_of(dtype)} cannot hold complex values ({name_of(other.dtype)})")
        after = other.to(dtype)
        return after, int(_misfitting(other.to(_widest(dtype)), after).sum())
    if other.dtype.is_floating_point or not is_real:
        raise ProbeError(f"{name_of(dtype)} is filled from integers only, not from {name_of(other.dtype)}")
    misfits = _outside(other, *_bounds(dtype))
    wide = other.view(torch.int64) if other.dtype == _UINT64 else other.to(torch.int64)
    return (wide.view(_UINT64) if dtype == _UINT64 else wide.to(dtype)), misfits


def _misfitting(exact: Any, stored: Any) -> Any:
    """Where a finite value became none or was cut off at the largest, or an infinity became finite."""
    if stored.dtype.is_complex:
        part = _PARTS[stored.dtype]
        pairs = torch.view_as_real(exact)
        return _misfitting(pairs, pairs.to(part)).any(-1)
    kept = stored.to(torch.float64)
    lost = (exact.abs() > torch.finfo(stored.dtype).max) | ~torch.isfinite(kept)
    if stored.dtype == _POSITIVE:
        lost |= exact <= 0
    return torch.where(torch.isfinite(exact), lost, torch.isinf(exact) & ~torch.isinf(kept))


def _misfits(exact: Any, stored: Any) -> bool:
    return bool(_misfitting(exact, stored).any())


def _why_not(number: Any, dtype: Any) -> str:
    name = name_of(dtype)
    if dtype == _POSITIVE and complex(number).real <= 0:
        return f"{number} does not fit {name}, which has powers of two alone, no zero and no sign"
    if dtype.is_floating_point and abs(float(number)) == float("inf"):
        return f"{name} has no infinity"
    largest = torch.finfo(_PARTS.get(dtype, dtype)).max
    return f"{number} does not fit {name}, whose largest value is {largest:g}"


def misfit_sentence(count: int, numel: int, dtype: Any) -> str:
    """Why a change is refused of which some results do not fit."""
    name = name_of(dtype)
    values = f"{count:,} of {numel:,} values" if numel != 1 else "the value"
    if dtype == _POSITIVE:
        return f"{values} would not fit {name}, which has powers of two alone, no zero and no sign"
    if dtype.is_floating_point or dtype.is_complex:
        part = _PARTS.get(dtype, dtype)
        return f"{values} would overflow {name}: beyond {torch.finfo(part).max:g} there is only infinity or NaN"
    low, high = _bounds(dtype)
    return f"{values} would not fit {name}, which reaches from {low} to {high}"


def name_of(dtype: Any) -> str:
    """torch's name of a type, without the module."""
    return str(dtype).partition(".")[2]


def _widest(dtype: Any) -> Any:
    return torch.complex128 if dtype.is_complex else torch.float64


def _bounds(dtype: Any) -> tuple[int, int]:
    limits = torch.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _outside(values: Any, least: int, most: int) -> int:
    """How many integers lie outside a range, whose ends may be of any size."""
    if values.dtype == _UINT64:
        # In the order of signed numbers once the first bit is turned over.
        values, least, most = values.view(torch.int64) ^ -_HALF, least - _HALF, most - _HALF
    else:
        values = values.to(torch.int64)
    if most < -_HALF or least >= _HALF:
        return int(values.numel())
    return int((values < max(least, -_HALF)).sum() + (values > min(most, _HALF - 1)).sum())


def _wrapped(number: int) -> int:
    """The signed number of 64 bits that adds and multiplies like it."""
    return (number + _HALF) % (2 * _HALF) - _HALF


def _from_bytes(like: Any, byte: int) -> Any:
    size = like.element_size()
    raw = torch.full((like.numel() * size,), byte, dtype=torch.uint8, device=like.device)
    return raw.view(like.dtype).reshape(like.shape)
