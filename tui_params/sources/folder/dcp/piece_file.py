"""One .distcp file by itself: what one rank wrote, with local shapes.

Names are in the metadata beside it. Without them its archives are told apart from the end of the file, each by its own
directory, and numbered.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.findings import Finding
from tui_params.core.source import Hidden, Listing, Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes import far
from tui_params.sources.bytes.local import DataFile, Descriptor, opened, read_bytes
from tui_params.sources.bytes.zip_directory import archive_start
from tui_params.sources.folder.dcp.listing import describe_all
from tui_params.sources.folder.dcp.metadata import Metadata, StoredTensor, Window, rank_of
from tui_params.sources.folder.dcp.objects import Objects, read_objects
from tui_params.sources.folder.dcp.recognition import PIECE, Found
from tui_params.sources.folder.dcp.source import DcpSource
from tui_params.sources.folder.dcp.windows import Windows
from tui_params.sources.folder.merged import MergedSource
from tui_params.sources.folder.shard_index import folder_label

MAX_ARCHIVES = 100_000
"""The most archives of one file that are told apart."""


def open_named(path: Path, metadata: Metadata) -> Source | None:
    """The pieces in the file at ``path`` under the names that the metadata give; None if they do not name the file."""
    if path.name not in metadata.files and all(
        window is None or window.file != path.name for window in metadata.objects.values()
    ):
        return None
    with opened(path) as (_, file):
        pass
    files = {path.name: file}
    part, notes = _part_of(metadata, path.name)
    windows = Windows(files, {})
    contents = read_objects(part, windows)
    tensors, faults = describe_all(part, files, {}, notes, is_one_rank=True)
    rank = rank_of(path.name)
    findings = (*faults.findings, _local_shapes(rank), *contents.findings)
    listing = Listing("DCP piece", (*tensors, *contents.tensors), contents.texts, contents.modules, {}, findings)
    ranks = {} if rank is None else {path.name: rank}
    return DcpSource(path.name, listing, files, part, windows, contents.places, {}, ranks)


def open_unnamed(path: Path) -> DcpSource:
    """The archives in the file at ``path``, by their numbers. Raises OpenError if there are none."""
    with collector_paused(), opened(path) as (descriptor, file):
        found, rest = _archives(descriptor, file)
        if not found:
            raise OpenError(_nothing_in(read_bytes(descriptor, 0, 16), file))
    files = {path.name: file}
    windows = Windows(files, {})
    objects = Objects(windows)
    for number, window in enumerate(found):
        objects.read(f"piece_{number}", window)
    contents = objects.contents()
    findings = [_local_shapes(rank_of(path.name)), *contents.findings]
    hidden: list[Hidden] = []
    if rest:
        evidence = (
            f"the first {plural(rest, 'byte')} are no archives of torch.save: the file was overwritten in part, or its"
            " pieces are compressed"
        )
        findings.append(Finding("error", "bad-shard", None, evidence, file=path.name))
        hidden.append(Hidden("", path.name, evidence))
    listing = Listing(
        "DCP piece",
        contents.tensors,
        contents.texts,
        contents.modules,
        findings=tuple(findings),
        hidden=tuple(hidden),
    )
    return DcpSource(path.name, listing, files, Metadata(), windows, contents.places, {}, {})


def open_pieces(path: Path, found: Found, findings: list[Finding]) -> Source:
    """All .distcp files of a folder without metadata, each by itself. Raises OpenError if none can be opened."""
    parts: dict[str, Source] = {}
    originals: dict[str, TensorInfo] = {}
    tensors: list[TensorInfo] = []
    texts: dict[str, str] = {}
    hidden: list[Hidden] = []
    for name in found.pieces:
        try:
            part = open_unnamed(path / name)
        except OpenError as error:
            hidden.append(Hidden(name.removesuffix(PIECE), name, str(error)))
            findings.append(Finding("error", "bad-shard", None, str(error), file=name))
            continue
        parts[name] = part
        stem = name.removesuffix(PIECE)
        for info in part.listing.tensors:
            shown = msgspec.structs.replace(info, name=f"{stem}.{info.name}")
            originals[shown.name] = info
            tensors.append(shown)
        texts |= {f"{stem}.{key}": text for key, text in part.listing.metadata.items()}
        findings += part.listing.findings
        hidden += [Hidden(f"{stem}.{item.below}".rstrip("."), item.file, item.reason) for item in part.listing.hidden]
    if not parts:
        given = clean(far.shown(path), 200)
        raise OpenError(f"{given} is a distributed checkpoint without metadata: {hidden[0].reason}")
    form = f"DCP pieces ({plural(len(found.pieces), 'file')}, no metadata)"
    listing = Listing(form, tuple(tensors), texts, findings=tuple(findings), hidden=tuple(hidden))
    return MergedSource(folder_label(path), listing, parts, originals, path)


def _local_shapes(rank: int | None) -> Finding:
    whose = "one rank" if rank is None else f"rank {rank}"
    evidence = f"this is what {whose} wrote of a distributed checkpoint: the shapes are those of its pieces"
    return Finding("info", "local-shapes", None, evidence)


def _part_of(metadata: Metadata, file: str) -> tuple[Metadata, dict[str, str]]:
    """The chunks in one file as tensors of their own, and by their names which part of what each is."""
    part = Metadata(files=[file], paths=metadata.paths)
    part.objects = {
        name: window for name, window in metadata.objects.items() if window is not None and window.file == file
    }
    notes: dict[str, str] = {}
    chunks = metadata.chunks
    names: set[str] = set()
    for tensor in metadata.tensors:
        for number in range(tensor.first, tensor.first + tensor.count):
            window = metadata.window(number)
            if window is None or window.file != file:
                continue
            start, shape = chunks.starts[number], chunks.shapes[number]
            name = tensor.name if tensor.name not in names else f"{tensor.name}~{number - tensor.first + 1}"
            names.add(name)
            at = len(part.chunks)
            part.tensors.append(StoredTensor(name, shape, tensor.dtype, at, 1, tensor.is_pairs, tensor.name))
            part.chunks.add((0,) * len(shape), shape)
            part.chunks.place(at, 0, window.offset, window.nbytes, window.transforms)
            if shape != tensor.shape:
                box = ", ".join(f"{first}:{first + length}" for first, length in zip(start, shape, strict=True))
                notes[name] = f"the local part of a tensor of shape {list(tensor.shape)}: [{box}]"
    return part, notes


def _archives(descriptor: Descriptor, file: DataFile) -> tuple[list[Window], int]:
    """The archives in a file, in order, and how many bytes before the first of them are none."""
    found: list[Window] = []
    stop = file.size
    while stop > 0 and len(found) < MAX_ARCHIVES:
        start = archive_start(descriptor, stop)
        if start is None:
            break
        found.append(Window(file.name, start, stop - start))
        stop = start
    return found[::-1], stop


def _nothing_in(head: bytes, file: DataFile) -> str:
    name = clean(file.name, 120)
    if not head:
        return f"{name} is empty: this rank had nothing to write, or its saving did not finish"
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return f"{name} is one part of a distributed checkpoint, compressed with zstd: only .metadata tell its pieces"
    return (
        f"{name} is one part of a distributed checkpoint of torch (DCP), and no archive of torch.save ends where it"
        " does: it is truncated, or cannot be read without .metadata"
    )
