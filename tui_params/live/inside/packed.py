"""Weights that torch keeps in objects of its own: the packed weights of quantised layers, which are no tensors.

A quantised ``nn.Linear`` has no parameter and no buffer, but an attribute ``_packed_params``: a C++ object that holds
the weight in the order in which the kernel wants it. torch unpacks it into a new tensor, each time that it is asked.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from .anatomy import ODD
from .leaves import attributes_of

_PREFIX = "__torch__.torch.classes."
_HIDDEN = re.compile(r"^ +(\w+) = ops\.prim\.ConstantMKLDNNTensor\(\)$", re.MULTILINE)
_KEPT = 2
"""Objects whose tensors a thread keeps: a large weight is read in many pieces, and one object may be inside another."""

Tensors = list[tuple[str, Any]]
"""Tensors, or other packed objects, by the name that torch gives them in a state dict."""


def _linear(packed: Any) -> Tensors:
    return _named(("0", "1"), torch.ops.quantized.linear_unpack(packed))


def _sparse_linear(packed: Any) -> Tensors:
    return _named(("0", "1"), torch.ops.sparse.qlinear_unpack(packed))


def _convolution(packed: Any) -> Tensors:
    # Stored as a version, tensors of which the first holds the settings, and the bias (cpp: conv_serialization.h).
    _, tensors, rest = _state_of(packed)
    return _named(("weight", "bias"), (tensors[1], rest[0]))


def _embedding(packed: Any) -> Tensors:
    return _named(("",), (torch.ops.quantized.embedding_bag_unpack(packed),))


def _recurrent(packed: Any) -> Tensors:
    return list(_walk("", _state_of(packed)))


_UNPACKERS: dict[str, Callable[[Any], Tensors]] = {
    "quantized.LinearPackedParamsBase": _linear,
    "sparse.LinearPackedParamsBase": _sparse_linear,
    "quantized.Conv2dPackedParamsBase": _convolution,
    "quantized.Conv3dPackedParamsBase": _convolution,
    "quantized.EmbeddingPackedParamsBase": _embedding,
    "rnn.CellParamsBase": _recurrent,
}
"""How torch unpacks each of its classes. Of a class that is not here nothing is called: its C++ may be a user's."""


def is_packed(value: Any) -> bool:
    """Whether it is an object of a C++ class that is registered with torch; a scripted module is another thing."""
    return type(value) is torch.ScriptObject


def class_of(packed: Any) -> str:
    """The name of its C++ class, such as ``quantized.LinearPackedParamsBase``."""
    name = str(packed._type().qualified_name())
    return name[len(_PREFIX) :] if name.startswith(_PREFIX) else name


def obstacle_to(packed: Any) -> str | None:
    """Why the tensors in it cannot be had, or None."""
    kind = class_of(packed)
    if kind in _UNPACKERS:
        return None
    return f"its values are inside an object of the C++ class {kind}, which is not unpacked here"


def is_part_of_module(packed: Any) -> bool:
    """Whether the state dict names its tensors as the module's own, and not below the attribute that holds it."""
    return _UNPACKERS.get(class_of(packed)) is _convolution


def packed_in(module: Any, others: Sequence[Any]) -> list[tuple[str, Any]]:
    """The packed objects among the attributes of a module (those of ``leaves.others_in``), scripted or not."""
    if not others:
        return []
    attributes = attributes_of(module)
    found = [(key, value) for key in others if is_packed(value := attributes.get(key))]
    kinds: Any = attributes.get("_concrete_type")
    if type(kinds) is torch._C.ConcreteModuleType:
        for key, (kind, _) in sorted(kinds.get_attributes().items()):
            if str(kind).startswith(_PREFIX):
                found.append((key, find_packed(module, key)))
    return found


def find_packed(module: Any, key: str) -> Any:
    """The object under that name as it is now. Raises LookupError if there is none."""
    attributes = attributes_of(module)
    if key in attributes:
        return attributes[key]
    if "_concrete_type" not in attributes:
        raise LookupError(key)
    return attributes["_c"].getattr(key)


def constants_in(module: Any) -> tuple[list[Any], list[str]]:
    """The tensors in the code of a scripted module's forward, as torch.jit.freeze makes them of its weights.

    Second, the names of those that are in a layout of oneDNN, where nobody can reach them.
    """
    compiled: Any = attributes_of(module).get("_c")
    if type(compiled) is not torch._C.ScriptModule:
        return [], []
    try:
        # C++ of torch's own: the code as text, and its constants in the order in which it names them.
        code, constants = compiled._get_method("forward").code_with_constants
    except ODD:
        return [], []
    return [tensor for tensor in constants.values() if isinstance(tensor, torch.Tensor)], _HIDDEN.findall(str(code))


class Unpacker:
    """Unpacks objects; keeps the last tensors of each thread, as unpacking takes much longer than reading."""

    def __init__(self) -> None:
        self._local = threading.local()

    def fields_of(self, packed: Any) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
        """Pairs of a name and a getter, as ``anatomy.fields_of`` gives them."""
        return tuple([(name, partial(self._field, name)) for name, _ in self._unpack(packed)])

    def clear(self) -> None:
        """Let go of what was unpacked."""
        self._local = threading.local()

    def _field(self, name: str, packed: Any) -> Any:
        return dict(self._unpack(packed))[name]

    def _unpack(self, packed: Any) -> Tensors:
        kept: list[tuple[Any, Tensors]] = self._local.__dict__.setdefault("kept", [])
        for place, (known, tensors) in enumerate(kept):
            if known is packed:
                kept.append(kept.pop(place))
                return tensors
        tensors = _UNPACKERS[class_of(packed)](packed)
        kept.append((packed, tensors))
        del kept[:-_KEPT]
        return tensors


def _state_of(packed: Any) -> Any:
    """What torch would pickle: the method is C++ of torch's own, as the class is one of _UNPACKERS."""
    state, _ = packed.__getstate__()
    return state


def _named(names: tuple[str, ...], values: Any) -> Tensors:
    return [(name, values[index]) for index, name in enumerate(names) if isinstance(values[index], torch.Tensor)]


def _walk(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, torch.Tensor) or is_packed(value):
        yield prefix, value
    elif isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            yield from _walk(f"{prefix}.{index}" if prefix else str(index), entry)
