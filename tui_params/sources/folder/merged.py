"""Several sources shown as one: the shards of a checkpoint, the files of a folder."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.reading.readable import FileStamp
from tui_params.core.source import Listing, Record, Source, StoredFile, Unfinished
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.core.window import Window
from tui_params.errors import OpenError, ReadError
from tui_params.sources.bytes.local import DataFile, opened, read_blocks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


JSON_FILES = (
    "config.json",
    "adapter_config.json",
    "quantize_config.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
)
"""Small files beside the weights that say how these are to be read."""


class MergedSource(Source):
    """The tensors of several sources under one listing.

    ``parts`` are keyed by the name of their file, which is ``TensorInfo.file``. ``originals`` are keyed by the name
    that is listed here; each is the TensorInfo of the part, where the tensor has another name. ``unopened`` are files
    of ``folder`` that should have tensors and could not be opened.
    """

    def __init__(
        self,
        label: str,
        listing: Listing,
        parts: Mapping[str, Source],
        originals: Mapping[str, TensorInfo],
        folder: Path,
        unopened: Sequence[str] = (),
    ) -> None:
        self.label = label
        self.listing = listing
        self.parts = parts
        self._originals = originals
        self._folder = folder
        self._unopened = unopened
        self._others: dict[str, DataFile] = {}

    @property
    def is_plain(self) -> bool:
        """Whether every file could be opened, and its tensors are listed under their own names."""
        return not (self._originals or self._unopened)

    def _locate(self, info: TensorInfo) -> tuple[Source, TensorInfo]:
        if info.unreadable is not None:
            raise ReadError(info.unreadable)
        part = self.parts.get(info.file or "")
        if part is None:
            raise ReadError(f"{clean(info.name, 120)} is in no file of {clean(self.label, 120)} that could be opened")
        return part, self._originals.get(info.name, info)

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        part = self.parts.get(info.file or "")
        return None if part is None else part.data_file(self._originals.get(info.name, info))

    def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> AbstractContextManager[object]:
        stack = ExitStack()
        if self.line is None:
            for part in self.parts.values():
                stack.enter_context(part.expecting(infos))
            return stack
        wanted: dict[str, list[TensorInfo]] = {}
        for info in infos():
            wanted.setdefault(info.file or "", []).append(self._originals.get(info.name, info))
        for file, part in self.parts.items():
            if file in wanted:
                stack.enter_context(part.expecting(partial(wanted.__getitem__, file)))
        return stack

    def place(self, info: TensorInfo) -> Hashable | None:
        part = self.parts.get(info.file or "")
        found = None if part is None else part.place(self._originals.get(info.name, info))
        return None if found is None else (info.file, found)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        part, original = self._locate(info)
        return part.read_window(original, window)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        part, original = self._locate(info)
        yield from part.blocks(original, start, stop)

    def records(self) -> tuple[Record, ...]:
        found: list[Record] = []
        for file, part in self.parts.items():
            records = part.records()
            if not records:
                continue
            called = {
                self._originals.get(info.name, info).name: info.name
                for info in self.listing.tensors
                if info.file == file and info.unreadable is None
            }
            for record in records:
                covering = tuple(called[name] for name in record.covering if name in called)
                label = f"{record.label} in {file}" if len(self.parts) > 1 else record.label
                tensor = called.get(record.tensor or "")
                found.append(msgspec.structs.replace(record, label=label, tensor=tensor, covering=covering))
        return tuple(found)

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        part = self.parts.get(record.file)
        if part is None:
            raise ReadError(f"{clean(record.file, 120)} is no file of {clean(self.label, 120)} that could be opened")
        yield from part.record_blocks(record)

    def stored_files(self) -> tuple[StoredFile, ...]:
        """The files of all parts, those that could not be opened, and the JSON files whose digest is known."""
        from tui_params.sources.bytes.hub import describe_file

        found = [stored for part in self.parts.values() for stored in part.stored_files()]
        for name in (*self._unopened, *JSON_FILES):
            try:
                with opened(self._folder / name) as (_, file):
                    stored = describe_file(file)
            except OpenError as error:
                if name in self._unopened:
                    found.append(StoredFile(name, 0, None, str(error)))
                continue
            if name in self._unopened or stored.digest is not None:
                self._others[name] = file
                found.append(stored)
        return tuple(found)

    def file_blocks(self, name: str, start: int, stop: int) -> Iterator[memoryview]:
        if name in self._others:
            yield from read_blocks(self._others[name], start, stop)
            return
        part = self.parts.get(name)
        if part is None:
            raise ReadError(f"{clean(name, 120)} is no file of {clean(self.label, 120)} that could be opened")
        yield from part.file_blocks(name, start, stop)

    def file_range(self, info: TensorInfo) -> tuple[str, int] | None:
        part = self.parts.get(info.file or "")
        found = None if part is None else part.file_range(self._originals.get(info.name, info))
        return None if found is None else (info.file or "", found[1])

    def unfinished(self) -> tuple[Unfinished, ...]:
        from tui_params.sources.bytes.hub import find_unfinished

        return find_unfinished([self._folder])

    def changed(self) -> str | None:
        for part in self.parts.values():
            sentence = part.changed()
            if sentence is not None:
                return sentence
        return None

    def close(self) -> None:
        for part in self.parts.values():
            part.close()
