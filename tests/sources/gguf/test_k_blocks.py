"""The K blocks of GGUF against the loops of ggml-quants.c, one element at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.factories_gguf import gguf_bytes
from tui_params.sources.detect import open_path

f32 = np.float32


def half(block: bytes, at: int) -> np.float32:
    return f32(np.frombuffer(block[at : at + 2], "<f2")[0])


def q2(block: bytes) -> list[np.float32]:
    scales, codes, d, low = block[:16], block[16:80], half(block, 80), half(block, 82)
    found = []
    for group in range(16):
        half_of, shift = group // 8, group % 8 // 2 * 2
        first = 32 * half_of + 16 * (group % 2)
        scale, minimum = d * f32(scales[group] & 15), low * f32(scales[group] >> 4)
        found += [scale * f32(code >> shift & 3) - minimum for code in codes[first : first + 16]]
    return found


def q3(block: bytes) -> list[np.float32]:
    high, codes, packed, d = block[:32], block[32:96], block[96:108], half(block, 108)
    found = []
    for group in range(16):
        scale = packed[group % 8] >> 4 * (group // 8) & 15 | (packed[8 + group % 4] >> 2 * (group // 4) & 3) << 4
        factor = d * f32(scale - 32)
        shift, mask, first = group % 8 // 2 * 2, 1 << group // 2, 16 * (group % 2)
        for number in range(first, first + 16):
            code = (codes[32 * (group // 8) + number] >> shift & 3) - (0 if high[number] & mask else 4)
            found.append(factor * f32(code))
    return found


def scale_and_minimum(packed: bytes, j: int) -> tuple[int, int]:
    """``get_scale_min_k4``."""
    if j < 4:
        return packed[j] & 63, packed[j + 4] & 63
    return packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4


def q4_or_q5(block: bytes) -> list[np.float32]:
    d, low, packed = half(block, 0), half(block, 2), block[4:16]
    high = block[16:48] if len(block) == 176 else bytes(32)
    codes = block[-128:]
    found = []
    for group in range(8):
        scale, minimum = scale_and_minimum(packed, group)
        for number in range(32):
            code = codes[32 * (group // 2) + number] >> 4 * (group % 2) & 15 | (high[number] >> group & 1) << 4
            found.append(d * f32(scale) * f32(code) - low * f32(minimum))
    return found


def q6(block: bytes) -> list[np.float32]:
    low, high, d = block[:128], block[128:192], half(block, 208)
    scales = np.frombuffer(block[192:208], np.int8)
    found = []
    for number in range(256):
        part, quarter, at = number // 128, number % 128 // 32, number % 32
        code = low[64 * part + 32 * (quarter % 2) + at] >> 4 * (quarter // 2) & 15
        code |= (high[32 * part + at] >> 2 * quarter & 3) << 4
        found.append(d * f32(scales[number // 16]) * f32(code - 32))
    return found


def q8(block: bytes) -> list[np.float32]:
    d = np.frombuffer(block[:4], "<f4")[0]
    return [f32(code) * d for code in np.frombuffer(block[4:260], np.int8)]


@pytest.mark.parametrize(
    ("kind", "nbytes", "halves", "slow"),
    [(10, 84, (80, 82), q2), (11, 110, (108,), q3), (12, 144, (0, 2), q4_or_q5), (13, 176, (0, 2), q4_or_q5),
     (14, 210, (208,), q6), (15, 292, (2,), q8)],
)  # fmt: skip
def test_k_blocks_are_restored_bit_by_bit(
    tmp_path: Path, kind: int, nbytes: int, halves: tuple[int, ...], slow: Callable[[bytes], list[np.float32]]
) -> None:
    raw = np.random.default_rng(kind).integers(0, 256, (6, nbytes), np.uint8)
    for at in halves:
        # Small scales of both signs.
        raw[:, at + 1] &= 0xBB
    (tmp_path / "x").write_bytes(gguf_bytes([("w", (3, 512), kind, raw.tobytes())]))
    source = open_path(tmp_path / "x")
    due = np.array([slow(block.tobytes()) for block in raw], "f4").reshape(3, 512)
    assert source.read("w").tobytes() == due.tobytes()
    np.testing.assert_array_equal(source.read("w", "[::-1, 250:300:3]"), due[::-1, 250:300:3])
    assert source.summarize("w").figures(due.size).max == due.max()
