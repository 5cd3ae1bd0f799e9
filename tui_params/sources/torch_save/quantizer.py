"""The quantizer of a quantised tensor: scale and zero point, of the whole tensor or of each channel."""

from __future__ import annotations

from typing import Any

from tui_params.core.text import clean
from tui_params.sources.inert_pickle.values import Stub, render


def quantizer_notes(quantizer: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Scale and zero point in words, and the tensors of per-channel ones: torch/_utils.py, ``_rebuild_qtensor``."""
    if type(quantizer) is not tuple or not quantizer:
        return (), {}
    scheme = quantizer[0].name if type(quantizer[0]) is Stub else render(quantizer[0])
    if len(quantizer) == 3:
        return (f"scale {render(quantizer[1])}, zero point {render(quantizer[2])}",), {}
    if len(quantizer) == 4:
        parts = {"scales": quantizer[1], "zero_points": quantizer[2]}
        return (f"{clean(scheme, 60)} along axis {render(quantizer[3])}",), parts
    return (clean(scheme, 60),), {}
