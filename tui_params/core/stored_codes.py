"""Which stored tensors look packed, by their names, types and what stands beside them; reads nothing.

Weights of fp8 and int8 have as many elements as parameters, with scales beside them or not: they are told apart.
``dequantized`` are the names of those that a graph beside the tensors restores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from tui_params.core.tensor import TensorInfo
from tui_params.core.tensor_columns import Form, TensorColumns

_SIGNS = (
    "qweight", "weight_packed", "_blocks", "absmax", "SCB", "weight_scale", "weight_scale_inv", "weight_scale_2",
    "scales", "_weight_qdata", ".qdata", "._data", "W_q",
)  # fmt: skip
"""Endings of the codes, or of what stands beside codes that have the weight's own name."""

_BESIDE = (
    (".qweight", ".scales"),
    (".weight_packed", ".weight_scale"),
    ("_blocks", "_scales"),
    ("._data._data", "._scale"),
    (".W_q", ".scale"),
    (".weight", ".weight.absmax"),
    (".weight", ".scales"),
    (".weight", ".weight_scale"),
)
"""The ending of the name of codes, and what stands in its place in the name of a tensor beside them."""

_SCALED = (
    (".weight", ".weight_scale"),
    (".weight", ".weight_scale_inv"),
    (".weight", ".SCB"),
    ("._weight_qdata", "._weight_scale"),
    (".qdata", ".scale"),
    ("._data", "._scale"),
)
"""The same of codes that have an element each."""


def may_be_packed(tensors: Sequence[TensorInfo], dequantized: Collection[str]) -> bool:
    """Whether the names of the tensors look as if some were packed, or a graph says so."""
    return bool(dequantized) or _have_signs(_names(tensors))


def some_are_codes(tensors: Sequence[TensorInfo], dequantized: Collection[str]) -> bool:
    """Whether some tensors look like the codes of packed weights, or a graph says so."""
    if dequantized and any(info.name in dequantized and _is_integer(info) for info in tensors):
        return True
    if not any(map(_holds_words, tensors.forms if isinstance(tensors, TensorColumns) else tensors)):
        return False
    names = _names(tensors)
    if not _have_signs(names):
        return False
    has = frozenset(names).__contains__
    return any(_beside(name, has) is not None and _are_codes(tensors[at], has) for at, name in enumerate(names))


def looks_packed(info: TensorInfo, dequantized: Collection[str], has: Callable[[str], bool]) -> bool:
    """Whether a tensor looks like the codes of a packed weight; ``has``: whether there is a tensor of a name."""
    return (info.name in dequantized and _is_integer(info)) or _are_codes(info, has)


def some_are_scaled(tensors: Sequence[TensorInfo]) -> bool:
    """Whether some tensors look like weights of fp8 or int8 without the scales that are beside them."""
    if not any(map(_holds_bytes, tensors.forms if isinstance(tensors, TensorColumns) else tensors)):
        return False
    names = _names(tensors)
    has = frozenset(names).__contains__
    return any(_beside(name, has, _SCALED) is not None and _holds_bytes(tensors[at]) for at, name in enumerate(names))


def looks_scaled(info: TensorInfo, has: Callable[[str], bool]) -> bool:
    """Whether a tensor looks like a weight of fp8 or int8 without its scales; ``has`` as for ``looks_packed``."""
    return _holds_bytes(info) and _beside(info.name, has, _SCALED) is not None


def _are_codes(info: TensorInfo, has: Callable[[str], bool]) -> bool:
    beside = _beside(info.name, has)
    # Those of bitsandbytes may be stored as if they were floats.
    return beside is not None and (_holds_words(info) or beside.endswith("absmax"))


def _holds_words(info: TensorInfo | Form) -> bool:
    """Whether its type is one of those in which several codes lie in an element."""
    return info.dtype.name in ("uint8", "int32", "uint32")


def _holds_bytes(info: TensorInfo | Form) -> bool:
    """Whether its type is one of those that have a scale beside them: of 8 bits, and with a sign."""
    return info.dtype.name == "int8" or (info.dtype.kind == "float" and info.dtype.bits == 8)


def _is_integer(info: TensorInfo) -> bool:
    return info.dtype.kind == "int" or 0 < info.dtype.bits <= 8


def _beside(name: str, has: Callable[[str], bool], endings: Sequence[tuple[str, str]] = _BESIDE) -> str | None:
    """The ending of what tells the codes of that name; None if there is no such tensor."""
    # A layer that was saved by itself has names with nothing before them.
    dotted = f".{name}"
    for ending, beside in endings:
        if dotted.endswith(ending) and has(f"{dotted.removesuffix(ending)}{beside}"[1:]):
            return beside
    return None


def _names(tensors: Sequence[TensorInfo]) -> Iterable[str]:
    return tensors.names if isinstance(tensors, TensorColumns) else [info.name for info in tensors]


def _have_signs(names: Iterable[str]) -> bool:
    return any(name.endswith(_SIGNS) for name in names)
