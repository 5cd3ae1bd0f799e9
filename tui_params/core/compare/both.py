"""BothSources: one source that is compared with another: A, and the tensors that only B has, in one listing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.beat import Beat
from tui_params.core.compare.comparer import Comparer
from tui_params.core.compare.joint_line import joint_line
from tui_params.core.compare.renames import Rename
from tui_params.core.compare.same_files import are_same_files
from tui_params.core.course import Courses
from tui_params.core.health.adapters import has_adapters
from tui_params.core.piece import Piece
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.reading.readable import FileStamp, Readable
from tui_params.core.source import FileRange, Listing, Record, Source, StoredFile, Unfinished
from tui_params.core.tensor import TensorInfo
from tui_params.core.watching import Watching
from tui_params.core.window import Window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_IN_B = " (in B)"
"""Behind the name of a tensor that only B has, where A has another one of that name."""


class BothSources(Source):
    """A and B, which it closes. What A has is read from A; ``in_b`` are the tensors of B by the names listed here.

    ``comparer`` has their structure. With ``auto_rename`` the suggested renames are applied first.
    """

    def __init__(self, a: Source, b: Source, renames: Sequence[Rename] = (), *, auto_rename: bool = False) -> None:
        self.a, self.b = a, b
        self.label = a.label
        self.engine = a.engine
        self.line = joint_line(a.line, b.line)
        self.comparer = Comparer(a, b, renames=renames, auto_rename=auto_rename)
        self.in_b: Mapping[str, TensorInfo] = _named(a.listing, b.listing, self.comparer)
        self.is_auto_renamed = auto_rename
        self.listing = _both(a.listing, b.listing, self.in_b)

    @cached_property
    def are_same_files(self) -> bool:
        """Whether all tensors of both lie in the same files, perhaps by links."""
        return are_same_files(self.a, self.b)

    def names_in_b(self) -> dict[str, str]:
        """The names of the tensors that only B has as they are listed here, by their names in B."""
        return {info.name: name for name, info in self.in_b.items()}

    def _found(self, info: TensorInfo) -> tuple[Source, TensorInfo]:
        of_b = self.in_b.get(info.name)
        return (self.a, info) if of_b is None else (self.b, of_b)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        source, found = self._found(info)
        return source.blocks(found, start, stop)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        source, found = self._found(info)
        return source.read_window(found, window)

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        source, found = self._found(info)
        return source.data_file(found)

    def place(self, info: TensorInfo) -> Hashable | None:
        source, found = self._found(info)
        place = source.place(found)
        return None if place is None else (source is self.b, place)

    @contextmanager
    def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> Iterator[None]:
        def of(source: Source) -> list[TensorInfo]:
            return [found for owner, found in map(self._found, infos()) if owner is source]

        with self.a.expecting(lambda: of(self.a)), self.b.expecting(lambda: of(self.b)):
            yield

    def works_out(self, info: TensorInfo, *, has_summary: bool) -> bool:
        source, found = self._found(info)
        return source.works_out(found, has_summary=has_summary)

    def worked_out(
        self,
        info: TensorInfo,
        *,
        has_summary: bool,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> WorkedOut | None:
        source, found = self._found(info)
        return source.worked_out(found, has_summary=has_summary, should_stop=should_stop, progress=progress)

    def sought_out(
        self,
        info: TensorInfo,
        wanted: Sequence[tuple[str, float]],
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[list[int]] | None:
        source, found = self._found(info)
        return source.sought_out(found, wanted, should_stop=should_stop)

    def still(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Readable:
        source, found = self._found(info)
        kept = source.still(found, start, stop)
        return self if kept is source else kept

    def still_part(self, info: TensorInfo, window: Window) -> Readable:
        source, found = self._found(info)
        kept = source.still_part(found, window)
        return self if kept is source else kept

    def to_fetch(self, info: TensorInfo) -> int:
        source, found = self._found(info)
        return source.to_fetch(found)

    def pieces_of(self, info: TensorInfo) -> tuple[Piece, ...]:
        source, found = self._found(info)
        return source.pieces_of(found)

    def file_range(self, info: TensorInfo) -> tuple[str, int] | None:
        # Files are those of A: B may have some of the same names.
        return None if info.name in self.in_b else self.a.file_range(info)

    def file_ranges(self, info: TensorInfo) -> tuple[FileRange, ...]:
        return () if info.name in self.in_b else self.a.file_ranges(info)

    def records(self) -> tuple[Record, ...]:
        return self.a.records()

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        return self.a.record_blocks(record)

    def stored_files(self) -> tuple[StoredFile, ...]:
        return self.a.stored_files()

    def file_blocks(self, name: str, start: int, stop: int) -> Iterator[memoryview]:
        return self.a.file_blocks(name, start, stop)

    def unfinished(self) -> tuple[Unfinished, ...]:
        return self.a.unfinished()

    def changed(self) -> str | None:
        of_a, of_b = self.a.changed(), self.b.changed()
        return of_a if of_a is not None or of_b is None else f"B: {of_b}"

    def beat(self) -> Beat | None:
        return self.a.beat()

    def courses(self) -> Courses | None:
        return self.a.courses()

    def watching(self) -> Watching | None:
        return self.a.watching()

    def close(self) -> None:
        self.a.close()
        self.b.close()


def _named(a: Listing, b: Listing, comparer: Comparer) -> dict[str, TensorInfo]:
    """The tensors of B that have no partner, by the names that they have in the listing of both."""
    laid = comparer.structure
    partners = {pair.b.name for pair in laid.pairs}
    taken = {info.name for info in a.tensors}
    named: dict[str, TensorInfo] = {}
    for info in b.tensors:
        if info.name in partners:
            continue
        name = info.name
        while name in taken:
            name += _IN_B
        taken.add(name)
        named[name] = info
    return named


def _both(a: Listing, b: Listing, in_b: Mapping[str, TensorInfo]) -> Listing:
    """The listing of A with what only B has; of an adapter in B also what says how it is scaled."""
    twins = {info.name: name for name, info in in_b.items()}
    of_b = (
        msgspec.structs.replace(
            info,
            name=name,
            tied_to=twins.get(info.tied_to) if info.tied_to is not None else None,
            notes=(*info.notes, "only in B"),
        )
        for name, info in in_b.items()
    )
    is_adapter = has_adapters(b) and not has_adapters(a)
    return msgspec.structs.replace(
        a,
        tensors=(*a.tensors, *of_b),
        metadata={**b.metadata, **a.metadata} if is_adapter else a.metadata,
        adapters=(*a.adapters, *b.adapters),
        modules={**b.modules, **a.modules},
        states=tuple(dict.fromkeys((*a.states, *b.states))),
    )
