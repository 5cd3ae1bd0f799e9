"""The proof of compiled kernels: before they are used or kept, they must find in some bytes what numpy finds."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core.figures import QUANTILES
from tui_params.core.kernels.block_tables import BlockTables
from tui_params.core.kernels.by_numpy import NumpyKernels
from tui_params.core.kernels.limbs import LIMB_SUMS, limb_totals
from tui_params.core.kernels.protocol import DIGITS, LANES, WORDS, Kernels, Lines
from tui_params.core.kernels.words import Words


def prove(kernels: Kernels) -> None:
    """Raise RuntimeError unless ``kernels`` find in some bytes what numpy finds."""
    raw = np.frombuffer(bytes((i * i * 7 + i // 3) & 0xFF for i in range(8 * 515)), np.uint8)
    if _results(kernels, raw) != _results(NumpyKernels(), raw):
        raise RuntimeError("a compiled loop counts wrongly")
    _prove_difference(kernels)
    _prove_moved(kernels)
    _prove_blocks(kernels)
    _prove_few(kernels)


def _prove_difference(kernels: Kernels) -> None:
    """Compare differences with their definition, as numpy has no loop for them; some are exactly at the tolerance."""
    a = np.arange(2600, dtype=np.float32) / 64
    b = a + np.where(np.arange(2600) % 7 == 3, a * np.float32(0.25) + np.float32(0.125), 0).astype(np.float32)
    a[2000], b[2000] = 3, 4
    b[100:110] = 0
    x, y = a.astype(np.float64), b.astype(np.float64)
    for atol, rtol in ((0.0, 0.0), (0.125, 0.25), (0.1, 0.3)):
        found = kernels.difference(a.view(np.uint8), b.view(np.uint8), ("float32", "float32"), a.size, atol, rtol)
        changed = abs(y - x) > atol + rtol * abs(x)
        if found is None:
            continue
        sums = (found.aa, found.bb, found.ab, found.dd, found.total)
        expected = (x @ x, y @ y, x @ y, (y - x) @ (y - x), abs(y - x).sum())
        is_right = all(abs(one - other) <= 1e-12 * other for one, other in zip(sums, expected, strict=True))
        first = int(changed.argmax()) if changed.any() else found.first
        is_right = is_right and found.became_zero == ((x != 0) & (y == 0)).sum()
        if not is_right or (found.peak, found.changed, found.first) != (abs(y - x).max(), changed.sum(), first):
            raise RuntimeError("a compiled loop compares wrongly")


def _prove_moved(kernels: Kernels) -> None:
    """Compare what moved with its definition, as numpy has no loop for it; all sums of squares here are exact."""
    a = np.arange(2600, dtype=np.float32) / 64
    b = a + np.where(np.arange(2600) % 7 == 3, a * np.float32(0.25), 0).astype(np.float32)
    a[1100], b[1101], b[1102], b[2000] = np.nan, np.nan, -np.inf, 2.0**-20
    digits = np.zeros(DIGITS, np.uint64)
    found = kernels.moved(None, a.view(np.uint8), b.view(np.uint8), ("float32", "float32"), b.size, digits)
    if found is None:
        return
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite, pairs = np.isfinite(y), np.isfinite(x) & np.isfinite(y)
    squares = Fraction(sum(digit << 32 * place for place, digit in enumerate(digits.tolist())), 1 << 301)
    exact = sum((Fraction(value) ** 2 for value in y[finite].tolist()), Fraction(0))
    counts = int(finite.sum()), 1, 1, float(abs(y[finite]).max()), int(pairs.sum()), int((x != y).sum()), True
    seen = found.finite, found.nan, found.infinite, found.peak, found.pairs, found.changed, found.differs
    delta = y[pairs] - x[pairs]
    sums = (found.aa, x[pairs] @ x[pairs]), (found.dd, delta @ delta)
    is_right = seen == counts and squares + Fraction(found.rest) == exact
    if not is_right or not all(abs(one - other) <= 1e-12 * other for one, other in sums):
        raise RuntimeError("a compiled loop finds wrong changes")


def _prove_blocks(kernels: Kernels) -> None:
    """Compare sums over blocks with their definition, as numpy has no loop for them."""
    values = (np.arange(11 * 37) * 7 % 61 - 30).astype(np.float32).reshape(11, 37) / np.float32(8)
    words = values.view(np.uint32)
    values[5, 3], values[10, 36] = 1e30, -1e-30
    for kind, grid in (("float32", words), ("bfloat16", (words >> np.uint32(16)).astype(np.uint16))):
        exact = values.astype(np.float64)
        if kind == "bfloat16":
            exact = (grid.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
        tables = BlockTables.empty(14, 40, 5, 4, has_rows=True, has_columns=True)
        if not kernels.blocks(grid, kind, 3, 2, tables):
            continue
        whole = np.zeros((15, 40))
        whole[3:14, 2:39] = exact
        cut = whole.reshape(3, 5, 10, 4)
        pairs = (
            (tables.sums, cut.sum((1, 3))),
            (tables.squares, (cut * cut).sum((1, 3))),
            (tables.peaks, abs(cut).max((1, 3))),
            (tables.row_squares, (whole * whole).sum(1)[:14]),
            (tables.column_squares, (whole * whole).sum(0)),
        )
        if tables.nans.any() or tables.infs.any() or not all(np.allclose(*pair, rtol=1e-5) for pair in pairs):
            raise RuntimeError("a compiled loop sums up blocks wrongly")


def _prove_few(kernels: Kernels) -> None:
    """Compare the figures of few elements with their definition, as numpy has no loop for them."""
    whole = (np.arange(40 * 50) * 7919 % 4001 - 2000).reshape(40, 50)
    values = whole.astype(np.float32) / np.float32(64)
    values[5], values[:, 9], values[3, 4], values[7, 8] = 0, 0, np.nan, -np.inf
    found = kernels.few(values.reshape(-1).view(np.uint8), "float32", 2000, (1 << 23, 0x41F60000, -1), _LINES)
    if found is None:
        return
    finite = np.isfinite(values)
    exact = np.sort(values[finite].astype(np.float64))
    scaled = np.rint(exact * 64).astype(np.int64)
    places = [Fraction(repr(q)) * (exact.size - 1) for q in QUANTILES]
    pairs = [(Fraction(exact[int(place)]), Fraction(exact[min(int(place) + 1, exact.size - 1)])) for place in places]
    quantiles = [float(low + (high - low) * (place % 1)) for (low, high), place in zip(pairs, places, strict=True)]
    edges = quantiles[0] + (quantiles[-1] - quantiles[0]) * (np.arange(17) / 16)
    edges[-1] = quantiles[-1]
    marks = np.append(exact.searchsorted(edges[:-1], "left"), exact.searchsorted(edges[-1], "right"))
    expected: list[Any] = [1998, 1, 0, 1, (exact == 0).sum(), 0, (abs(exact) == 30.75).sum()]
    expected += [int(scaled.sum()) << 143, int((scaled * scaled).sum()) << 286, exact[0], exact[-1]]
    expected += [quantiles, np.diff(marks).tolist(), quantiles[0], quantiles[-1]]
    seen: list[Any] = [found.finite, found.nan, found.pos_inf, found.neg_inf, found.zeros, found.subnormals]
    seen += [found.at_max, found.total, found.squares, found.low, found.high]
    seen += [list(found.quantiles), list(found.spark), found.spark_low, found.spark_high]
    for side, axis in ((found.rows, 1), (found.columns, 0)):
        size = np.where(finite, abs(values), 0).max(axis)
        order = np.argsort(size, kind="stable").tolist()
        expected.append([size.size, 1, float(np.median(size)), np.argsort(-size, kind="stable")[:8].tolist()])
        expected.append([place for place in order if size[place]][:8])
        if side is not None:
            seen.append([side.count, side.dead, side.median_abs_max, [channel.index for channel in side.largest]])
            seen.append([channel.index for channel in side.smallest])
    if seen != expected:
        raise RuntimeError("a compiled loop finds wrong figures of few elements")


_LINES = Lines(40, 50, 1, True)


def _results(kernels: Kernels, raw: NDArray[np.uint8]) -> list[Any]:
    lanes = np.zeros((LANES, WORDS), np.uint32)
    kernels.count16(raw.view("<u2"), lanes)
    packed, squares = np.zeros(WORDS, np.uint64), np.zeros(512, np.uint64)
    results: list[Any] = [kernels.float32(raw.view("<u4"), packed, squares), packed.tobytes(), squares.tobytes()]
    results.append(lanes.sum(0).tobytes())
    finite = np.where(raw.view("<u8") >> 52 & 0x7FF == 0x7FF, 0, raw.view("<u8"))
    counts, sums = np.zeros(1 << 19, np.int64), np.zeros((4096, LIMB_SUMS), np.int64)
    results += [kernels.float64(finite, counts, sums), _filled(counts), list(map(limb_totals, sums.tolist()))]
    for kind in ("<i4", "<u4", "<i8", "<u8"):
        counts.fill(0)
        results += [kernels.integers(raw.view(kind), counts), _filled(counts)]
    for size in (1, 2, 4, 8):
        grid = raw.view(f"<u{size}").reshape(-1, 103)
        rows, columns = np.zeros(grid.shape[0], grid.dtype), np.zeros(103, grid.dtype)
        kernels.maxima(grid, rows, columns, int(np.iinfo(grid.dtype).max) - 9, is_doubled=True)
        results += [rows.tolist(), columns.tolist()]
        results += _sought(kernels, raw.view(f"<u{size}"), 8 * size)
    results += _sought(kernels, raw, 4)
    return results


def _sought(kernels: Kernels, words: NDArray[Any], bits: int) -> list[int | None]:
    """Where some words are that there are, and one that there is not."""
    top = (1 << bits - 1) - 1
    count, word = words.size * (2 if bits == 4 else 1), int(words[words.size // 2]) & top
    found = []
    for ranges in ((), ((word, 0),), ((top, 1), (word, 0)), ((word, 0), (0, 0), (1, 0)), ((top - 3, 2),)):
        for mask in (top, 2 * top + 1):
            found += [kernels.seek(words, Words(bits, mask, ranges), 3, count - 1, step) for step in (1, -1)]
    return found


def _filled(counts: NDArray[np.int64]) -> list[list[int]]:
    places = np.flatnonzero(counts)
    return [places.tolist(), counts[places].tolist()]
