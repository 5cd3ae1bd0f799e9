"""The K blocks of ggml to float32: 256 elements, whose scales for 16 or 32 elements are quantised themselves.

ggml/src/ggml-common.h (``block_q2_K`` to ``block_q6_K``) and ggml-quants.c (``dequantize_row_q2_K`` and so on).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Blocks = NDArray[np.uint8]
    Values = NDArray[np.float32]


def restore_k(blocks: Blocks, name: str) -> Values | None:
    """The values of the blocks of type ``name``, flat; None if it is no type of K blocks."""
    restorer = {"Q2_K": _q2, "Q3_K": _q3, "Q4_K": _q4, "Q5_K": _q5, "Q6_K": _q6}.get(name)
    return None if restorer is None else restorer(blocks).reshape(-1)


def _half(blocks: Blocks, at: int) -> Values:
    """The float16 at that byte of every block, as a column."""
    import numpy as np

    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _planes(raw: Blocks, width: int, bits: int, count: int) -> Blocks:
    """Codes of ``bits`` bits, of which each byte has ``count``: first the lowest of ``width`` bytes, then the next.

    The shape is (blocks, groups of ``width`` bytes, ``count``, ``width``).
    """
    import numpy as np

    shifts = (np.arange(count) * bits).astype(np.uint8).reshape(1, 1, count, 1)
    codes: Blocks = (raw.reshape(len(raw), -1, 1, width) >> shifts) & np.uint8((1 << bits) - 1)
    return codes


def _scaled(codes: NDArray[Any], scales: Values, minima: Values | None = None) -> Values:
    """Each group of the codes times its scale, less its minimum."""
    import numpy as np

    values = codes.reshape(len(codes), scales.shape[1], -1).astype(np.float32)
    values *= scales[:, :, None]
    if minima is not None:
        values -= minima[:, :, None]
    return values


def _q2(blocks: Blocks) -> Values:
    """16 bytes of a scale and a minimum of 4 bits each, 64 bytes of codes of 2 bits, two factors."""
    import numpy as np

    scales, minima = blocks[:, :16] & 0x0F, blocks[:, :16] >> 4
    return _scaled(
        _planes(blocks[:, 16:80], 32, 2, 4),
        _half(blocks, 80) * scales.astype(np.float32),
        _half(blocks, 82) * minima.astype(np.float32),
    )


def _q3(blocks: Blocks) -> Values:
    """32 bytes of high bits (set where nothing is taken off), 64 of 2 bits, 12 of scales of 6 bits, a factor."""
    import numpy as np

    high = _planes(blocks[:, :32], 32, 1, 8).reshape(len(blocks), 256)
    codes = _planes(blocks[:, 32:96], 32, 2, 4).reshape(len(blocks), 256).astype(np.int8)
    codes -= ((high ^ 1) << np.uint8(2)).astype(np.int8)
    # The low 4 bits of 16 scales are in 8 bytes, their high 2 bits in 4.
    low = _planes(blocks[:, 96:104], 8, 4, 2).reshape(len(blocks), 16)
    scales = low | _planes(blocks[:, 104:108], 4, 2, 4).reshape(len(blocks), 16) << np.uint8(4)
    return _scaled(codes, _half(blocks, 108) * (scales.astype(np.float32) - np.float32(32)))


def _six_bits(packed: Blocks) -> tuple[Blocks, Blocks]:
    """The 8 scales and the 8 minima of 6 bits in 12 bytes: ``get_scale_min_k4`` of ggml-quants.c."""
    import numpy as np

    first, second, both = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate((first & 0x3F, (both & 0x0F) | (first >> 2 & 0x30)), axis=1)
    minima = np.concatenate((second & 0x3F, (both >> 4) | (second >> 2 & 0x30)), axis=1)
    return scales, minima


def _with_minima(blocks: Blocks, codes: Blocks) -> Values:
    """Two factors, 12 bytes of scales and minima, and the codes, 32 for each scale."""
    import numpy as np

    scales, minima = _six_bits(blocks[:, 4:16])
    return _scaled(codes, _half(blocks, 0) * scales.astype(np.float32), _half(blocks, 2) * minima.astype(np.float32))


def _q4(blocks: Blocks) -> Values:
    """Two factors, 12 bytes of scales and minima, 128 bytes of codes of 4 bits."""
    return _with_minima(blocks, _planes(blocks[:, 16:], 32, 4, 2))


def _q5(blocks: Blocks) -> Values:
    """As Q4_K, with 32 bytes of high bits before the 128 of low ones."""
    import numpy as np

    low = _planes(blocks[:, 48:], 32, 4, 2).reshape(len(blocks), 256)
    high = _planes(blocks[:, 16:48], 32, 1, 8).reshape(len(blocks), 256)
    return _with_minima(blocks, low | high << np.uint8(4))


def _q6(blocks: Blocks) -> Values:
    """128 bytes of low 4 bits, 64 of high 2 bits, 16 signed scales, a factor; 32 is taken off each code."""
    import numpy as np

    low = _planes(blocks[:, :128], 64, 4, 2).reshape(len(blocks), 256)
    high = _planes(blocks[:, 128:192], 32, 2, 4).reshape(len(blocks), 256)
    codes = (low | high << np.uint8(4)).astype(np.int8) - np.int8(32)
    scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.float32)
    return _scaled(codes, _half(blocks, 208) * scales)
