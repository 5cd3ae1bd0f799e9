"""Sought: the tensors of a source by name, and what its configuration states, as those who look for packings see it."""

from __future__ import annotations

from collections import Counter
from copy import copy
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.dtypes import DType, from_torch
from tui_params.core.packed.weight import Stored
from tui_params.core.statement import Statement, Statements
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

if TYPE_CHECKING:
    from tui_params.core.source import Source

OF_SAFETENSORS = "__metadata__."
"""What the listing of a safetensors file puts before the keys of its metadata."""

_MOST_JSON = 1 << 14


class Untold(Exception):  # noqa: N818 - it is an answer, not a fault
    """A tensor is packed, and it cannot be told what it means; the text says why. Never leaves this package."""


class Sought:
    """What there is beside a tensor."""

    def __init__(self, source: Source) -> None:
        listing = source.listing
        self.stored = Stored(source)
        self._infos = {info.name: info for info in listing.tensors}
        self._metadata = listing.metadata
        self._statements = Statements(listing.stated, listing.stated_below, listing.states)
        self._statement = self._statements.all[0]
        self._others: dict[str, Sought] = {}
        self._uses: Counter[str] | None = None
        self._dequantized = listing.dequantized
        self._layers: dict[str, tuple[int, int]] | None = None

    def beside(self, name: str) -> Sought:
        """The same, with what is stated of the part that has the tensor of that name."""
        if self._statements.is_one:
            return self
        statement = self._statements.about(name)
        found = self._others.get(statement.below)
        if found is None:
            found = self._others[statement.below] = copy(self)
            found._adopt(statement)
        return found

    def _adopt(self, statement: Statement) -> None:
        self._statement = statement
        self._layers = None

    def find(self, name: str) -> TensorInfo | None:
        """The tensor of that name, if there is one."""
        return self._infos.get(name)

    def need(self, name: str) -> TensorInfo:
        """The tensor of that name. Raises Untold if there is none, or if it cannot be read."""
        info = self._infos.get(name)
        if info is None:
            raise Untold(f"{name} is missing")
        if info.unreadable is not None:
            raise Untold(f"{name} cannot be read: {info.unreadable}")
        return info

    def is_shared(self, name: str) -> bool:
        """Whether several tensors have that one for a companion, as the graph beside them says."""
        if self._uses is None:
            ways = (way for each in self._dequantized.values() for way in each)
            self._uses = Counter(used for way in ways for used in way.companions)
        return self._uses[name] > 1

    def stated(self, key: str) -> str | None:
        """A value of the quantisation config in the files beside the weights, as text; config.json comes first."""
        stated = self._statement.stated
        places = ("quantization_config", "quantization", "quantize_config")
        return next((stated[name] for place in places if (name := f"config.{place}.{key}") in stated), None)

    def stated_number(self, key: str) -> int | None:
        text = self.stated(key)
        return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None

    def group(self, size: int, groups: int) -> int | None:
        """How many of ``size`` inputs share one of so many scales; the last may be fewer. None if nothing tells."""
        stated = self.stated_number("group_size")
        if stated and -(-size // stated) == groups:
            return min(stated, size)
        # Without it, groups whose last one is cut could be of several sizes.
        return size // groups if groups and size % groups == 0 else None

    def of_layer(self, name: str) -> tuple[int | None, int | None]:
        """The bits of a code and the size of a group of one layer: its own, where the configuration has them."""
        if self._layers is None:
            try:
                self._layers = msgspec.json.decode(self.stated("layers") or "{}", type=dict[str, tuple[int, int]])
            except (msgspec.MsgspecError, RecursionError):
                self._layers = {}
        own = self._layers.get(self._statement.own(name))
        return own or (self.stated_number("bits"), self.stated_number("group_size"))

    def stated_sizes(self, key: str) -> tuple[int, ...] | None:
        """A list of numbers, such as ``weight_block_size``."""
        try:
            sizes = msgspec.json.decode(self.stated(key) or "null", type=list[int] | None)
        except (msgspec.MsgspecError, RecursionError):
            return None
        return tuple(sizes) if sizes and all(size > 0 for size in sizes) else None

    @property
    def dtype(self) -> DType | None:
        """The type that the configuration gives the whole model."""
        for key in ("config.dtype", "config.torch_dtype"):
            found = from_torch(self._statement.stated.get(key, "").removeprefix("torch."))
            if found is not None and found.kind == "float":
                return found
        return None

    def metadata(self, key: str) -> str | None:
        """What the metadata of the files say under a key; safetensors have theirs under ``__metadata__``."""
        below = self._statement.below and f"{self._statement.below}."
        for name in (f"{OF_SAFETENSORS}{key}", f"{below}{OF_SAFETENSORS}{self._statement.own(key)}", key):
            if name in self._metadata:
                return self._metadata[name]
        return None

    def numbers(self, info: TensorInfo) -> list[int]:
        """The values of a small tensor of integers. Raises Untold."""
        if info.dtype.kind != "int" or info.numel > 64:
            raise Untold(f"{info.name} has {info.numel:,} elements of {info.dtype.name}, where a few integers belong")
        try:
            found: list[int] = self.stored.whole(info).reshape(-1).tolist()
        except ReadError as error:
            raise Untold(str(error)) from error
        return found

    def text(self, info: TensorInfo) -> bytes:
        """The bytes of a small tensor that holds text. Raises Untold."""
        if info.dtype.bits != 8 or info.numel > _MOST_JSON:
            raise Untold(f"{info.name} has {info.numel:,} elements of {info.dtype.name}, where a short text belongs")
        try:
            return self.stored.whole(info).tobytes()
        except ReadError as error:
            raise Untold(str(error)) from error


def is_float(info: TensorInfo) -> bool:
    """Whether its values are numbers of 16 bits or more, such as most libraries store scales in."""
    return info.dtype.kind == "float" and info.dtype.bits >= 16


def is_power(info: TensorInfo) -> bool:
    """Whether its bytes are powers of two, as the scales of MX formats."""
    return info.dtype.name in ("uint8", "float8_e8m0fnu")


def want_floats(*infos: TensorInfo) -> None:
    """Raises Untold unless all have the type of numbers such as most libraries store scales in."""
    for info in infos:
        want(is_float(info), f"{info.name} is {info.dtype.name}, where a type with a point of 16 bits or more belongs")


def want_numbers(scales: TensorInfo, zero: TensorInfo | None) -> None:
    """Raises Untold unless scales are floats or powers of two, and zero points numbers."""
    if not is_power(scales):
        want_floats(scales)
    if zero is not None:
        want(zero.dtype.kind in ("int", "float"), f"{zero.name} is {zero.dtype.name}, where numbers belong")


def want_integers(info: TensorInfo) -> None:
    """Raises Untold unless a tensor has a type of integers."""
    want(info.dtype.kind == "int", f"{info.name} is {info.dtype.name}, where integers belong")


def want(condition: bool, why: str) -> None:
    """Raises Untold with ``why`` unless the condition holds."""
    if not condition:
        raise Untold(why)
