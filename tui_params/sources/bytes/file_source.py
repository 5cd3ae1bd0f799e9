"""FileSource: what every source does with its files, whatever lies in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tui_params.core.source import Listing, Source, StoredFile, Unfinished
from tui_params.core.text import clean
from tui_params.errors import ReadError
from tui_params.sources.bytes.local import POOL, DataFile, read_blocks


class FileSource(Source):
    """A source over local files, by the names that ``TensorInfo.file`` and pieces use."""

    def __init__(self, label: str, listing: Listing, files: Mapping[str, DataFile]) -> None:
        self.label = label
        self.listing = listing
        self.files = files
        self._is_closed = False

    def stored_files(self) -> tuple[StoredFile, ...]:
        from tui_params.sources.bytes.hub import describe_file

        return tuple([describe_file(file) for file in self.files.values()])

    def file_blocks(self, name: str, start: int, stop: int) -> Iterator[memoryview]:
        file = self.files.get(name)
        if file is None or self._is_closed:
            raise ReadError(f"{clean(name, 120)} is closed")
        yield from read_blocks(file, start, stop)

    def unfinished(self) -> tuple[Unfinished, ...]:
        from tui_params.sources.bytes.hub import find_unfinished

        return find_unfinished([file.path for file in self.files.values()])

    def changed(self) -> str | None:
        for file in self.files.values():
            sentence = file.changed()
            if sentence is not None:
                return sentence
        return None

    def close(self) -> None:
        self._is_closed = True
        for file in self.files.values():
            POOL.drop(file)
