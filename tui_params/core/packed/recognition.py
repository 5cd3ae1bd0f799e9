"""Which stored tensors are packed weights: one table of name endings, and who tells the weight from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.dequantized import Dequantized
from tui_params.core.packed import eight_bits, four_bits, in_words
from tui_params.core.packed.by_graph import tell_by_graph
from tui_params.core.packed.sought import Sought, Untold
from tui_params.core.packed.weight import PackedWeight
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from tui_params.core.source import Source

Teller = Callable[[Sought, TensorInfo], PackedWeight | None]

TELLERS: tuple[tuple[str, Teller], ...] = (
    (".qweight", in_words.tell_gptq_or_awq),
    (".weight_packed", in_words.tell_pack_quantized),
    (".weight_packed", four_bits.tell_compressed),
    ("_blocks", four_bits.tell_gpt_oss),
    (".weight", four_bits.tell_bitsandbytes),
    (".weight", four_bits.tell_modelopt),
    (".weight", four_bits.tell_modelopt_awq),
    (".weight", in_words.tell_mlx),
    (".weight", eight_bits.tell_bitsandbytes),
    (".weight", eight_bits.tell_scaled),
    ("._weight_qdata", eight_bits.tell_torchao),
    (".qdata", eight_bits.tell_torchao_saved),
    ("._data", eight_bits.tell_quanto),
    ("._data._data", four_bits.tell_quanto),
    (".W_q", four_bits.tell_hqq),
)
"""The ending of the name of the codes, and the function that tells the weight; the first that finds one is right."""


_ALONE = frozenset({"qweight", "weight_packed", "weight", "_weight_qdata", "W_q"})
"""Codes of a layer that was saved by itself, whose names have nothing before them."""


class Packings(msgspec.Struct, frozen=True):
    """The packed weights of a source.

    ``untold`` are the tensors that are packed, by name, of which it cannot be told what they mean, and why.
    """

    weights: tuple[PackedWeight, ...]
    untold: dict[str, str]

    @property
    def parts(self) -> frozenset[str]:
        """The names of all stored tensors that are a part of one."""
        return frozenset(part.name for weight in self.weights for part in weight.parts)


def find_packings(source: Source) -> Packings:
    """The packed weights of a source, in the order of their codes. Reads the few bytes that state a shape."""
    sought = Sought(source)
    weights: list[PackedWeight] = []
    untold: dict[str, str] = {}
    for info in source.listing.tensors:
        if info.unreadable is not None or info.tied_to is not None or info.stride is not None or not info.numel:
            continue
        try:
            weight = _tell(sought.beside(info.name), info, source.listing.dequantized.get(info.name))
        except Untold as error:
            untold[info.name] = str(error)
            continue
        if weight is not None:
            weights.append(weight)
    return Packings(tuple(weights), untold)


def _tell(sought: Sought, info: TensorInfo, ways: tuple[Dequantized, ...] | None) -> PackedWeight | None:
    """The packed weight whose codes a tensor is, if it is one. Raises Untold."""
    if ways is not None:
        return tell_by_graph(sought, info, ways)
    for ending, tell in TELLERS:
        if (info.name.endswith(ending) and len(info.name) > len(ending)) or (
            info.name in _ALONE and f".{info.name}" == ending
        ):
            weight = tell(sought, info)
            if weight is not None:
                return weight
    return None
