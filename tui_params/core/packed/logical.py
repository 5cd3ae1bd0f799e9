"""LogicalSource: a source in which the packed weights stand as what they mean, in place of their stored tensors."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tui_params.core.beat import Beat
from tui_params.core.dtypes import numpy_dtype
from tui_params.core.packed import RESTORED, UNTOLD
from tui_params.core.packed.box import Box, box_of, boxes, lengths
from tui_params.core.packed.recognition import Packings, find_packings
from tui_params.core.packed.sought import OF_SAFETENSORS
from tui_params.core.packed.weight import PackedWeight, Stored
from tui_params.core.piece import Piece
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.reading.readable import FileStamp
from tui_params.core.source import FileRange, Record, Source, StoredFile, Unfinished
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import plural
from tui_params.core.window import Window
from tui_params.errors import SliceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1 << 19
"""Elements that are restored at a time."""

_FEW = 4

MAX_AROUND = 1 << 24
"""Elements of the smallest box around a window with steps, which is restored whole."""


class LogicalSource(Source):
    """A source over another one, which it closes. The weights' companions are listed in their notes alone.

    A weight's ``nbytes`` are the bytes of all its stored tensors, so that totals agree with those of the stored ones.
    """

    def __init__(self, source: Source, packings: Packings | None = None) -> None:
        self.stored = source
        self.label = source.label
        self.engine = source.engine
        self.line = source.line
        self.packings = find_packings(source) if packings is None else packings
        self._weights = {weight.name: weight for weight in self.packings.weights}
        self._reader = Stored(source)
        listing = source.listing
        if self._weights:
            # The rules would look for the stored tensors that the configuration announces.
            listing = msgspec.structs.replace(
                listing,
                stated=_unquantised(listing.stated),
                stated_below=tuple(
                    [msgspec.structs.replace(each, stated=_unquantised(each.stated)) for each in listing.stated_below]
                ),
                metadata=self._metadata(listing.metadata),
            )
        self.listing = msgspec.structs.replace(listing, tensors=self._tensors(), format=self._format)

    @property
    def _format(self) -> str:
        """The format, and how many packed weights stand as what they mean."""
        count, untold = len(self._weights), len(self.packings.untold)
        words = f", {plural(count, 'packed weight')} restored" if count else ""
        return f"{self.stored.listing.format}{words}{f', {untold:,} not told' if untold else ''}"

    def _metadata(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """The metadata without what they say of the objects that the packed weights were, as those of torchao."""
        said = self._weights.keys()
        return {key: text for key, text in metadata.items() if not said & {*_names_in(key)}}

    def _tensors(self) -> tuple[TensorInfo, ...]:
        by_codes = {weight.codes.name: weight for weight in self.packings.weights}
        parts = self.packings.parts
        listed = []
        for info in self.stored.listing.tensors:
            weight = by_codes.get(info.name)
            if weight is not None:
                listed.append(_info_of(weight))
            elif info.name not in parts:
                why = self.packings.untold.get(info.name)
                listed.append(info if why is None else msgspec.structs.replace(info, notes=(*info.notes, _untold(why))))
        return tuple(listed)

    def packed(self, name: str) -> PackedWeight | None:
        """The packed weight of that name."""
        return self._weights.get(name)

    def counterpart(self, name: str) -> str | None:
        """The packed weight of which a stored tensor is a part, or the codes of a packed weight: None of any other."""
        weight = self._weights.get(name)
        if weight is not None:
            return weight.codes.name
        return next((each.name for each in self._weights.values() if any(p.name == name for p in each.parts)), None)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        weight = self._weights.get(info.name)
        if weight is None:
            yield from self.stored.blocks(info, start, stop)
            return
        for box in boxes(weight.shape, start, info.numel if stop is None else min(stop, info.numel), BLOCK):
            yield np.ascontiguousarray(self._restore(weight, box)).reshape(-1).view(np.uint8)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        weight = self._weights.get(info.name)
        if weight is None:
            return self.stored.read_window(info, window)
        box, picks = box_of(window)
        sizes = lengths(box)
        if 0 in sizes:
            return np.empty(window.shape, numpy_dtype(weight.dtype))
        numel = 1
        for size in sizes:
            numel *= size
        if numel > max(MAX_AROUND, 4 * window.numel):
            raise SliceError(f"{plural(numel, 'value')} would be restored for this slice: take a smaller one")
        return self._restore(weight, box)[picks].reshape(window.shape)

    def _restore(self, weight: PackedWeight, box: Box) -> NDArray[Any]:
        # Products beyond the largest value of float16 become infinite, as they do in the library.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return weight.scheme.restore(self._reader, box).astype(numpy_dtype(weight.dtype))

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        return None if info.name in self._weights else self.stored.data_file(info)

    def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> AbstractContextManager[object]:
        # The stored tensors of a weight are read box by box.
        return self.stored.expecting(lambda: [info for info in infos() if info.name not in self._weights])

    def works_out(self, info: TensorInfo, *, has_summary: bool) -> bool:
        return info.name not in self._weights and self.stored.works_out(info, has_summary=has_summary)

    def worked_out(
        self,
        info: TensorInfo,
        *,
        has_summary: bool,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> WorkedOut | None:
        if info.name in self._weights:
            return None
        return self.stored.worked_out(info, has_summary=has_summary, should_stop=should_stop, progress=progress)

    def sought_out(
        self,
        info: TensorInfo,
        wanted: Sequence[tuple[str, float]],
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[list[int]] | None:
        if info.name in self._weights:
            return None
        return self.stored.sought_out(info, wanted, should_stop=should_stop)

    def place(self, info: TensorInfo) -> Hashable | None:
        return None if info.name in self._weights else self.stored.place(info)

    def records(self) -> tuple[Record, ...]:
        return self.stored.records()

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        return self.stored.record_blocks(record)

    def stored_files(self) -> tuple[StoredFile, ...]:
        return self.stored.stored_files()

    def file_blocks(self, name: str, start: int, stop: int) -> Iterator[memoryview]:
        return self.stored.file_blocks(name, start, stop)

    def file_range(self, info: TensorInfo) -> tuple[str, int] | None:
        return None if info.name in self._weights else self.stored.file_range(info)

    def file_ranges(self, info: TensorInfo) -> tuple[FileRange, ...]:
        return () if info.name in self._weights else self.stored.file_ranges(info)

    def to_fetch(self, info: TensorInfo) -> int:
        weight = self._weights.get(info.name)
        return sum(map(self.stored.to_fetch, (info,) if weight is None else weight.parts))

    def pieces_of(self, info: TensorInfo) -> tuple[Piece, ...]:
        return () if info.name in self._weights else self.stored.pieces_of(info)

    def unfinished(self) -> tuple[Unfinished, ...]:
        return self.stored.unfinished()

    def changed(self) -> str | None:
        return self.stored.changed()

    def beat(self) -> Beat | None:
        return self.stored.beat()

    def close(self) -> None:
        self.stored.close()


def _unquantised(stated: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in stated.items() if not key.startswith("config.quant")}


def _names_in(key: str) -> tuple[str, str]:
    """The names of tensors of which the metadata under that key may speak: ``fc.weight``, ``fc.weight.block_size``."""
    # In a pipeline, the name of the part precedes the word.
    before, _, after = key.rpartition(OF_SAFETENSORS)
    name = before + after
    return name, name.rpartition(".")[0]


def _info_of(weight: PackedWeight) -> TensorInfo:
    codes = weight.codes
    kind = "blocks" if isinstance(weight.group, str) else "groups"
    group = "" if weight.group is None else f", {kind} of {weight.group}"
    bits = f"{weight.bits_per_weight:.2f} bits a weight{group}"
    notes = (f"{RESTORED}{weight.method}", bits, _stored_as(weight))
    return TensorInfo(
        weight.name,
        weight.shape,
        weight.dtype,
        weight.numel,
        weight.nbytes,
        kind=codes.kind,
        file=codes.file,
        offset=codes.offset,
        device=codes.device,
        requires_grad=codes.requires_grad,
        notes=notes,
    )


def _stored_as(weight: PackedWeight) -> str:
    """The names of the stored tensors: ``weight, .absmax`` of what lies below the weight's own name."""
    module = "".join(weight.name.rpartition(".")[:2])
    names = [
        part.name.removeprefix(weight.name if part.name.startswith(f"{weight.name}.") else module)
        for part in weight.parts
    ]
    # Not all of many names have room on a page.
    count = f"{len(names)} tensors: " if len(names) > _FEW else ""
    return f"stored as {count}{', '.join(names)}"


def _untold(why: str) -> str:
    return f"{UNTOLD}: {why}"
