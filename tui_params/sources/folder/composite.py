"""CompositeSource: several sources in one tree, each below a name of its own: the members of a training run, of a
pipeline of models.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.adapter_config import AdapterConfig
from tui_params.core.dequantized import renamed
from tui_params.core.findings import Finding
from tui_params.core.piece import Piece
from tui_params.core.reading.readable import FileStamp
from tui_params.core.source import Hidden, Listing, Record, Source, StoredFile, Unfinished
from tui_params.core.statement import Statement
from tui_params.core.tensor import TensorInfo
from tui_params.core.tensor_table import ordered
from tui_params.core.text import clean
from tui_params.core.window import Window
from tui_params.errors import ReadError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Part(msgspec.Struct, frozen=True):
    """A member of a composite.

    ``prefix`` precedes the names of its tensors, with a dot between; empty: they keep their names. ``folder`` precedes
    the names of its files: empty, or the path of a subfolder with a slash at the end. ``about`` is the file or folder
    that a finding about the whole of it names. ``is_state`` says that it is no model, but a state of the run.
    """

    source: Source
    prefix: str = ""
    folder: str = ""
    about: str | None = None
    is_state: bool = False

    def name(self, own: str) -> str:
        """The name of one of its tensors or modules in the composite; its own may be empty."""
        return f"{self.prefix}.{own}" if self.prefix and own else self.prefix or own

    def place(self, file: str) -> str:
        """The name of one of its files in the composite."""
        return f"{self.folder}{file}"


class CompositeSource(Source):
    """The tensors of several sources under one listing.

    A tensor is found by its name: two parts may have files of the same name. Those of a part whose names and files
    stay as they are cost nothing here.
    """

    def __init__(self, label: str, listing: Listing, parts: Sequence[Part]) -> None:
        """``listing`` as ``combine`` makes it of the parts, perhaps with more said about the whole.

        At most one part has neither a prefix nor a folder and is listed as it is.
        """
        self.label = label
        self.listing = listing
        self.parts = parts
        self._whole: Part | None = None
        self._owners: dict[str, tuple[Part, TensorInfo]] = {}
        self._files: dict[str, Part] = {}
        for part in parts:
            if _is_as_it_is(part):
                self._whole = part
            else:
                for info in (*part.source.listing.tensors, *part.source.listing.gradients.values()):
                    self._owners[part.name(info.name)] = (part, info)

    def _owner(self, info: TensorInfo) -> tuple[Part, TensorInfo] | None:
        found = self._owners.get(info.name)
        return found if found is not None or self._whole is None else (self._whole, info)

    def _locate(self, info: TensorInfo) -> tuple[Source, TensorInfo]:
        found = self._owner(info)
        if found is None:
            raise ReadError(f"{clean(info.name, 120)} is in no part of {clean(self.label, 120)} that could be opened")
        return found[0].source, found[1]

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        source, own = self._locate(info)
        return source.read_window(own, window)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        source, own = self._locate(info)
        yield from source.blocks(own, start, stop)

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        found = self._owner(info)
        return None if found is None else found[0].source.data_file(found[1])

    def place(self, info: TensorInfo) -> Hashable | None:
        found = self._owner(info)
        place = None if found is None else found[0].source.place(found[1])
        return None if found is None or place is None else (found[0].prefix, found[0].folder, place)

    def file_range(self, info: TensorInfo) -> tuple[str, int] | None:
        found = self._owner(info)
        where = None if found is None else found[0].source.file_range(found[1])
        return None if found is None or where is None else (found[0].place(where[0]), where[1])

    def pieces_of(self, info: TensorInfo) -> tuple[Piece, ...]:
        found = self._owner(info)
        if found is None:
            return ()
        part, own = found
        pieces = part.source.pieces_of(own)
        if not part.folder:
            return pieces
        return tuple([msgspec.structs.replace(piece, file=part.place(piece.file)) for piece in pieces])

    def records(self) -> tuple[Record, ...]:
        found: list[Record] = []
        for part in self.parts:
            for record in part.source.records():
                file = part.place(record.file)
                self._files[file] = part
                found.append(
                    msgspec.structs.replace(
                        record,
                        file=file,
                        # A folder of several files says itself which of them it is.
                        label=record.label if " in " in record.label else f"{record.label} in {file}",
                        tensor=None if record.tensor is None else part.name(record.tensor),
                        covering=tuple([part.name(name) for name in record.covering]),
                    )
                )
        return tuple(found)

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        part = self._part_of_file(record.file)
        yield from part.source.record_blocks(
            msgspec.structs.replace(record, file=record.file.removeprefix(part.folder))
        )

    def stored_files(self) -> tuple[StoredFile, ...]:
        found: dict[str, StoredFile] = {}
        for part in self.parts:
            for stored in part.source.stored_files():
                name = part.place(stored.name)
                if name not in found:
                    self._files[name] = part
                    found[name] = msgspec.structs.replace(stored, name=name)
        return tuple(found.values())

    def file_blocks(self, name: str, start: int, stop: int) -> Iterator[memoryview]:
        part = self._part_of_file(name)
        yield from part.source.file_blocks(name.removeprefix(part.folder), start, stop)

    def _part_of_file(self, name: str) -> Part:
        """The part that has a file of ``records`` or ``stored_files``. Raises ReadError."""
        part = self._files.get(name)
        if part is None:
            raise ReadError(f"{clean(name, 120)} is no file of {clean(self.label, 120)} that could be opened")
        return part

    def unfinished(self) -> tuple[Unfinished, ...]:
        found = {
            (part.place(entry.name), entry.nbytes): msgspec.structs.replace(entry, name=part.place(entry.name))
            for part in self.parts
            for entry in part.source.unfinished()
        }
        return tuple(found.values())

    def changed(self) -> str | None:
        return next(filter(None, (part.source.changed() for part in self.parts)), None)

    def close(self) -> None:
        for part in self.parts:
            part.source.close()


def combine(form: str, parts: Sequence[Part], findings: Iterable[Finding] = ()) -> Listing:
    """The listing of the parts, in their order; ``findings`` are about the whole, and come first."""
    tensors: list[TensorInfo] = []
    metadata: dict[str, str] = {}
    modules: dict[str, str] = {}
    gradients: dict[str, TensorInfo] = {}
    found = list(findings)
    not_opened: list[str] = []
    adapters: list[AdapterConfig] = []
    models: dict[str, tuple[str, ...]] = {}
    stated: dict[str, str] = {}
    stated_below: list[Statement] = []
    several = sum(not part.is_state for part in parts) > 1
    # Where only one part has tensors, its own order serves, and sorting would only take time.
    holding = [part for part in parts if part.source.listing.tensors]
    is_ordered = len(holding) > 1 or any(part.source.listing.is_ordered for part in holding)
    for part in parts:
        listing = part.source.listing
        # The tree of the whole is in this order, so that the model comes first and not after its optimizer.
        infos: Sequence[TensorInfo] = listing.tensors
        if len(holding) > 1:
            infos = ordered(infos, is_ordered=listing.is_ordered)
        tensors += infos if _is_as_it_is(part) else [_renamed(info, part) for info in infos]
        metadata |= {part.name(key): text for key, text in listing.metadata.items()}
        modules |= {part.name(path): cls for path, cls in listing.modules.items()}
        gradients |= {part.name(key): _renamed(info, part) for key, info in listing.gradients.items()}
        found += [_about(finding, part) for finding in listing.findings]
        not_opened += [part.place(name) for name in listing.not_opened]
        adapters += [_below(config, part) for config in listing.adapters]
        if part.is_state:
            continue
        if part.prefix:
            stated_below.append(Statement(part.prefix, part.folder, listing.stated))
        else:
            stated |= listing.stated
        stated_below += [
            Statement(part.name(each.below), part.place(each.folder), each.stated) for each in listing.stated_below
        ]
        if listing.models:
            models |= {part.name(name): tuple(map(part.place, files)) for name, files in listing.models.items()}
        elif several:
            files = dict.fromkeys(info.file for info in listing.tensors if info.file is not None)
            models[part.prefix or "model"] = tuple(map(part.place, files))
    unlisted = [part.source.listing.unlisted for part in parts]
    return Listing(
        form,
        tuple(tensors),
        metadata,
        modules,
        gradients,
        tuple(found),
        is_ordered=is_ordered,
        not_opened=tuple(not_opened),
        unlisted=next(filter(None, unlisted), None),
        adapters=tuple(adapters),
        absences={part.name(key): why for part in parts for key, why in part.source.listing.absences.items()},
        models=models,
        stated=stated,
        stated_below=tuple(stated_below),
        states=tuple(dict.fromkeys(part.prefix or "optimizer" for part in parts if part.is_state)),
        hidden=tuple(
            Hidden(part.name(item.below), part.place(item.file), item.reason)
            for part in parts
            for item in part.source.listing.hidden
        ),
        dequantized={
            name: ways
            for part in parts
            for name, ways in renamed(part.source.listing.dequantized, f"{part.prefix}." if part.prefix else "").items()
        },
    )


def _is_as_it_is(part: Part) -> bool:
    return not part.prefix and not part.folder


def _renamed(info: TensorInfo, part: Part) -> TensorInfo:
    tied_to = None if info.tied_to is None else part.name(info.tied_to)
    file = None if info.file is None else part.place(info.file)
    return msgspec.structs.replace(info, name=part.name(info.name), tied_to=tied_to, file=file)


def _about(finding: Finding, part: Part) -> Finding:
    tensor = None if finding.tensor is None else part.name(finding.tensor)
    module = None if finding.module is None else part.name(finding.module)
    file = None if finding.file is None else part.place(finding.file)
    if tensor is None and module is None and file is None:
        file = part.about
    return msgspec.structs.replace(finding, tensor=tensor, module=module, file=file)


def _below(config: AdapterConfig, part: Part) -> AdapterConfig:
    return msgspec.structs.replace(config, prefix=f"{part.prefix}.{config.prefix}") if part.prefix else config
