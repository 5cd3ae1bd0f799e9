"""FiniteCheck: whether tensors have become NaN or infinite, found on the thread that trains, to hold it in that step.

The greatest magnitude of a tensor is NaN if any element is, and infinite if any element is and none is NaN; one call of
torch works it out for many tensors, exactly, in one pass that writes nothing.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from .anatomy import own
from .memory import Undisturbed

CHECKED = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""The types that are looked at here; complex ones by their parts."""


class FiniteCheck:
    """Remembers which tensors were not finite: only one that becomes so is a reason to stand still.

    NaN always counts, infinities if they are minded.
    """

    def __init__(self, *, minds_inf: bool) -> None:
        self._minds_inf = minds_inf
        self._bad: set[int] = set()

    def look(self, taken: list[tuple[int, Any]]) -> bool:
        """Whether any of these tensors, with their numbers, has become what is minded since it was looked at last."""
        by_type: dict[Any, list[tuple[int, Any]]] = {}
        with Undisturbed(plain=True):
            for index, tensor in taken:
                plain = own(tensor, "detach")()
                if plain.is_complex():
                    plain = torch.view_as_real(plain.resolve_conj())
                if plain.dtype in CHECKED and plain.numel():
                    by_type.setdefault(plain.dtype, []).append((index, plain))
            peaks: list[tuple[int, float]] = []
            for each in by_type.values():
                found: Any = torch._foreach_norm([plain for _, plain in each], math.inf)
                values = torch.stack(found).to(torch.float64).tolist()
                peaks += [(index, values[place]) for place, (index, _) in enumerate(each)]
        has_turned = False
        for index, peak in peaks:
            if self._is_bad(peak):
                has_turned = has_turned or index not in self._bad
                self._bad.add(index)
            else:
                self._bad.discard(index)
        return has_turned

    def _is_bad(self, peak: float) -> bool:
        # A NaN may hide an infinity: the viewer, who counts both, lets the thread go again if it minds neither.
        return math.isnan(peak) or (self._minds_inf and math.isinf(peak))
