"""Opens a distributed checkpoint: its metadata, its objects, and the small files of trainers beside it.

The values of tensors are read later, from the pieces that hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from tui_params.core.collector import collector_paused
from tui_params.core.findings import Finding
from tui_params.core.source import Listing, Source
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes import far
from tui_params.sources.bytes.local import DataFile, opened, read_bytes
from tui_params.sources.folder.dcp.beside import NAMES, read_beside
from tui_params.sources.folder.dcp.builder import Builder
from tui_params.sources.folder.dcp.contents import Contents
from tui_params.sources.folder.dcp.listing import describe_all
from tui_params.sources.folder.dcp.metadata import Metadata, is_outside, rank_of
from tui_params.sources.folder.dcp.names import name_numbered
from tui_params.sources.folder.dcp.recognition import Found, find_files, shard_folder, shard_names, unfinished
from tui_params.sources.folder.dcp.replicas import compare_replicas
from tui_params.sources.folder.dcp.scanner import scan_metadata
from tui_params.sources.folder.dcp.source import DcpSource
from tui_params.sources.folder.dcp.union import unite
from tui_params.sources.folder.dcp.windows import Direct, Windows
from tui_params.sources.folder.shard_index import folder_label

MAX_NBYTES = 256 << 20
"""Bytes of metadata that are read; 640,000 chunks take 90 MB."""

OpenFile = Callable[[Path], Source]


def open_distributed(path: Path, open_file: OpenFile, suffixes: tuple[str, ...]) -> Source:
    """The distributed checkpoint in the folder at ``path``. Raises OpenError; the message says what is there instead.

    ``open_file`` opens a file of any format, for those beside it; others that end with one of ``suffixes`` are named.
    """
    found = find_files(path)
    with collector_paused():
        if not found.is_any:
            return _open_shards(shard_folder(path) or path)
        return _open(path, found, open_file, suffixes)


def open_piece(path: Path) -> Source:
    """What the .distcp file at ``path`` holds, by the names that the metadata beside it give. Raises OpenError."""
    from tui_params.sources.folder.dcp.piece_file import open_named, open_unnamed

    found = find_files(path.parent)
    with collector_paused():
        try:
            metadata = _read_all(path.parent, found.metadata, {}, [])
            source = open_named(path, metadata) if found.metadata else None
        except OpenError:
            # It is not what is asked for, and the archives can be read without it.
            source = None
        return open_unnamed(path) if source is None else source


def open_metadata(path: Path, open_file: OpenFile, suffixes: tuple[str, ...]) -> Source:
    """The checkpoint whose metadata are the file at ``path``. Raises OpenError."""
    found = find_files(path.parent)
    if path.name not in (*found.metadata, *found.unfinished):
        raise OpenError(
            f"{clean(path.name, 120)} is the list of tensors of a distributed checkpoint of torch (DCP), and not under"
            " the name that it has in the folder of one (.metadata)"
        )
    return open_distributed(path.parent, open_file, suffixes)


def _open(path: Path, found: Found, open_file: OpenFile, suffixes: tuple[str, ...]) -> Source:
    findings: list[Finding] = []
    stamps: dict[str, DataFile] = {}
    state = unfinished(found)
    if state is not None:
        findings.append(state)
    try:
        metadata = _read_all(path, found.metadata or found.unfinished, stamps, findings)
    except OpenError as error:
        if not found.pieces:
            shown = clean(far.shown(path), 200)
            raise OpenError(f"the distributed checkpoint {shown} cannot be opened: {error}") from None
        if found.metadata:
            findings.append(Finding("error", "piece-list", None, f"{error}; the pieces are shown without it"))
        return _open_pieces(path, found, findings)
    if not found.metadata and not found.unfinished:
        return _open_pieces(path, found, findings)
    files, reasons = _open_files(path, metadata)
    windows = Windows(files, reasons)
    contents = _read_objects(metadata, windows)
    names = {*files, *reasons, *found.pieces}
    ranks = {name: rank for name in sorted(names) if (rank := rank_of(name)) is not None}
    count = len({*ranks.values()})
    tensors, faults = describe_all(metadata, files, reasons, {}, is_one_rank=count < 2)
    tensors += contents.tensors
    name_numbered(tensors, metadata.paths, contents.lists)
    beside = read_beside(path, found.others, {info.name for info in tensors}, open_file)
    findings += [*faults.findings, *compare_replicas(metadata, windows), *contents.findings, *beside.findings]
    listing = Listing(
        f"DCP ({plural(count, 'rank')}, {plural(len(names), 'file')})",
        (*tensors, *beside.tensors),
        {**beside.texts, **contents.texts},
        {**beside.modules, **contents.modules},
        findings=tuple(findings),
        not_opened=tuple(name for name in found.others if name.endswith(suffixes) and name not in NAMES),
        hidden=tuple(beside.hidden),
    )
    stamps |= files
    return DcpSource(folder_label(path), listing, stamps, metadata, windows, contents.places, beside.sources, ranks)


def _open_pieces(path: Path, found: Found, findings: list[Finding]) -> Source:
    from tui_params.sources.folder.dcp.piece_file import open_pieces

    return open_pieces(path, found, findings)


def _read_objects(metadata: Metadata, windows: Windows) -> Contents:
    if not metadata.objects:
        return Contents()
    # Only now: what reads pickles takes as long to import as thousands of tensors to list.
    from tui_params.sources.folder.dcp.objects import read_objects

    return read_objects(metadata, windows)


def _open_shards(path: Path) -> Source:
    from tui_params.sources.folder.dcp.hugging_face import rank_of_shard, read_shards

    shards = read_shards(path, shard_names(path))
    metadata = shards.metadata
    ranks = {name: rank for name in (*shards.files, *shards.reasons) if (rank := rank_of_shard(name)) is not None}
    count = len({*ranks.values()})
    tensors, faults = describe_all(metadata, shards.files, shards.reasons, {}, is_one_rank=count < 2)
    form = f"DCP as safetensors ({plural(count, 'rank')}, {plural(len(ranks), 'file')})"
    listing = Listing(form, tuple(tensors), shards.texts, findings=(*shards.findings, *faults.findings))
    windows = Direct(shards.files, shards.reasons)
    return DcpSource(folder_label(path), listing, shards.files, metadata, windows, {}, {}, ranks)


def _read_all(path: Path, names: Sequence[str], stamps: dict[str, DataFile], findings: list[Finding]) -> Metadata:
    return unite([read_metadata(path / name, stamps, findings) for name in names]) if names else Metadata()


def read_metadata(path: Path, stamps: dict[str, DataFile], findings: list[Finding]) -> Metadata:
    """What one file of metadata says; its DataFile is added to ``stamps``. Raises OpenError."""
    name = clean(path.name, 60)
    with opened(path) as (descriptor, file):
        if file.size > MAX_NBYTES:
            raise OpenError(f"{name} is {file.size:,} bytes long: more than {MAX_NBYTES:,} are refused")
        data = read_bytes(descriptor, 0, file.size)
    stamps[file.name] = file
    found = scan_metadata(data, name)
    if found is not None:
        return found
    from tui_params.sources.inert_pickle.calls import code_finding
    from tui_params.sources.inert_pickle.machine import PickleMachine
    from tui_params.sources.torch_save.listing import fault_findings

    machine = PickleMachine(data, 0, name, pid_length=0)
    machine.load()
    code = code_finding([(machine.calls, machine.globals.values())])
    findings += [finding for finding in (code, *fault_findings(machine)) if finding is not None]
    return Builder(name).finish(machine.root)


def _open_files(path: Path, metadata: Metadata) -> tuple[dict[str, DataFile], dict[str, str]]:
    """The files that the metadata name, by these names; or the reasons why they cannot be opened."""
    files: dict[str, DataFile] = {}
    reasons: dict[str, str] = {}
    windows = [*metadata.objects.values(), *chain(*metadata.copies.values(), *metadata.object_copies.values())]
    names = {*metadata.files, *(window.file for window in windows if window is not None)}
    for name in sorted(names):
        if is_outside(name):
            # torch joins it to the folder; a metadata file of somebody else must not lead to other files.
            reasons[name] = f"the metadata name the file {clean(name, 120)!r}: none outside the folder is opened"
            continue
        try:
            with opened(path / name) as (_, file):
                files[name] = file
        except OpenError as error:
            reasons[name] = str(error)
    return files, reasons
