"""Folders of checkpoint files: Hugging Face shards with an index, adapters, or several files side by side.

A damaged or missing file never hides the others: the tensors that the index places in it are listed with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.findings import Finding
from tui_params.core.source import Source
from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.sources.bytes import far
from tui_params.sources.bytes.files import FolderEntry, scan
from tui_params.sources.bytes.system_calls import reason
from tui_params.sources.folder.json_files import config_findings
from tui_params.sources.folder.keras_shards import SUFFIX as KERAS_INDEX
from tui_params.sources.folder.keras_shards import missing_shards, shards_of
from tui_params.sources.folder.open_each import OpenFile
from tui_params.sources.folder.run.members import PICKLES, STATE
from tui_params.sources.folder.shard_index import list_indexed, read_index
from tui_params.sources.folder.unindexed import list_unindexed

_INDEX_NAME = re.compile(r"\.(safetensors|bin)\.index(\.[\w-]+)?\.json$")

_MAX_BESIDE = 100
"""The most subfolders that are searched for states beside a model: each costs a call to the file system."""

_MAX_REFUSALS = 20
"""The most subfolders that are asked why they cannot be opened."""

_MAX_NAMED = 20
"""The most files of a folder that are looked into though their names do not say that they hold tensors."""

_MAX_FOLDERS = 300
"""The most folders that are searched for one to suggest instead."""


class FileReader(Protocol):
    """What a folder has to know of one format: the suffixes of its files, and whether trainers keep states in them."""

    @property
    def suffixes(self) -> tuple[str, ...]: ...
    @property
    def has_states(self) -> bool: ...


class Formats(msgspec.Struct, frozen=True):
    """How the files of a folder are recognised by their names, and opened; handed in by the table of all formats.

    ``readers`` are in the order of preference. A subfolder with a file that ends with one of ``mentioned`` holds
    tensors. ``refusal`` says why a folder cannot be opened as a whole, whatever else lies in it, as the end of a
    sentence, or None; ``named`` says what a file is that is not named so. ``open_subfolder`` opens a folder that is a
    checkpoint of a format of its own (DCP), and returns None for any other; it raises OpenError.
    """

    open_file: OpenFile
    readers: Sequence[FileReader]
    mentioned: tuple[str, ...]
    refusal: Callable[[Path], str | None]
    open_subfolder: Callable[[Path], Source | None] = lambda _: None
    named: Callable[[Path], str | None] = lambda _: None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of every file that may hold tensors."""
        return tuple(suffix for reader in self.readers for suffix in reader.suffixes)

    @property
    def state_suffixes(self) -> tuple[str, ...]:
        """The suffixes of the files in which trainers keep states."""
        return tuple(suffix for reader in self.readers if reader.has_states for suffix in reader.suffixes)


def is_index(path: Path) -> bool:
    """Whether ``path`` is named like the index of a sharded checkpoint."""
    return _INDEX_NAME.search(path.name) is not None or path.name.endswith(KERAS_INDEX)


def open_folder(
    path: Path, formats: Formats, index: str | None = None, elsewhere: Container[str] = frozenset()
) -> Source:
    """All tensors of a folder as one source; ``index`` names the index file if the user chose one.

    ``elsewhere`` are files and subfolders (with a slash) that somebody else opens: they are not mentioned. Raises
    OpenError if there is nothing to open; the message says what was found instead.
    """
    names = [name for name in file_names(path) if name not in elsewhere]
    if index is None:
        check_refusal(path, formats)
    files, beside = _choose_files(names, formats)
    indexes = [name for name in names if name.endswith(KERAS_INDEX)]
    if index is not None and index.endswith(KERAS_INDEX):
        wanted, indexes, index, names = shards_of(path / index), [index], None, []
        files, beside = [name for name in [*files, *beside] if name in wanted], []
        if not files:
            raise OpenError(f"none of the files that {clean(indexes[0], 120)} names is in its folder")
    chosen = index or _choose_index(names)
    folders = [folder for folder in folders_beside(path, formats) if folder not in elsewhere]
    findings: list[Finding] = []
    with collector_paused():
        if chosen is not None:
            try:
                read = read_index(path / chosen)
                return list_indexed(path, chosen, read, [*files, *beside], folders, formats.open_file)
            except OpenError as error:
                if index is not None or not files:
                    raise
                findings.append(
                    Finding("error", "bad-index", None, f"{error}; the files are shown without it", file=chosen)
                )
        if not files:
            raise OpenError(_nothing_here(path, formats))
        missing = missing_shards(path, indexes)
        return list_unindexed(path, files, beside, findings, folders, formats.open_file, missing)


def check_refusal(path: Path, formats: Formats) -> None:
    """Raise OpenError if a folder cannot be opened as a whole: a small file in it must not pass for the whole."""
    refusal = formats.refusal(path)
    if refusal is not None:
        raise OpenError(f"{clean(far.shown(path), 200)} {refusal}")


def has_model(names: Iterable[str], formats: Formats) -> bool:
    """Whether there are weights among the files of a folder, or an index of some."""
    names = list(names)
    files, _ = _choose_files(names, formats)
    return _choose_index(names) is not None or any(not STATE.match(name) for name in files)


def file_names(path: Path) -> list[str]:
    try:
        with scan(path) as entries:
            # A symbolic link counts as what it leads to. One that leads nowhere is listed too, and reported later.
            return sorted(entry.name for entry in entries if not _is_folder(entry))
    except OSError as error:
        raise OpenError(f"the folder {clean(far.shown(path), 200)} cannot be read: {reason(error)}") from None


def _is_folder(entry: FolderEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself, or through a folder that we may not read: opening it reports the reason.
        return False


def _choose_index(names: Iterable[str]) -> str | None:
    """The index to use: safetensors before bin, the plain name before variants such as fp16.

    An unsharded safetensors file is preferred to the index of a bin checkpoint of the same model.
    """
    found = [name for name in names if _INDEX_NAME.search(name)]
    if any(name.endswith(".safetensors") for name in names):
        found = [name for name in found if ".safetensors" in name]
    return min(found, key=lambda name: (".safetensors" not in name, len(name), name), default=None)


def _choose_files(names: Iterable[str], formats: Formats) -> tuple[list[str], list[str]]:
    """The files to open, and the other tensor files that lie beside them."""
    names = [name for name in names if not name.startswith(".")]
    candidates = [name for name in names if name.endswith(formats.suffixes)]
    known = set(candidates)
    states = [name for name in names if name.endswith(PICKLES) and name not in known]
    for reader in formats.readers:
        wanted = [name for name in candidates if name.endswith(reader.suffixes)]
        if reader.has_states:
            wanted = [name for name in wanted if not STATE.match(name)]
        if wanted:
            opened = set(wanted)
            others = [name for name in names if name.endswith(formats.mentioned)]
            return wanted, sorted([*states, *(name for name in others if name not in opened)])
    return candidates, states if candidates else []


def folder_names(path: Path) -> list[str]:
    """The direct subfolders of a folder, by name; links to folders and hidden ones are left out."""
    try:
        with scan(path) as entries:
            return sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return []


def folders_beside(path: Path, formats: Formats) -> list[str]:
    """Direct subfolders that hold tensors, with a slash: DeepSpeed's global_step100/, FSDP's optimizer_0/."""
    return [f"{name}/" for name in folder_names(path)[:_MAX_BESIDE] if holds_tensors(path / name, formats)]


def holds_tensors(folder: Path, formats: Formats) -> bool:
    """Whether a file of a folder is named as if it held tensors."""
    try:
        with scan(folder) as entries:
            return any(entry.name.endswith(formats.mentioned) for entry in entries)
    except OSError:
        return False


def _nothing_here(path: Path, formats: Formats) -> str:
    shown = clean(far.shown(path), 200)
    looked = ", ".join(f"*{suffix}" for suffix in formats.suffixes)
    if far.is_guessed(path):
        usual = "model.safetensors.index.json, model.safetensors, adapter_model.safetensors, pytorch_model.bin"
        return f"{shown} has no file of a usual name ({usual}); web servers list no files: give the address of one"
    named = _named_in(path, formats)
    below = _checkpoints_below(path, formats)
    if named is not None:
        others = f"; {_listed(below)} below it {'hold' if len(below) > 1 else 'holds'} tensors" if below else ""
        return f"{shown} cannot be opened as a folder: {named}{others}"
    if not below:
        return f"{shown} holds no tensor file: looked for {looked} and *.index.json, in its subfolders too"
    wrong = "".join(f"; {finding.file}: {finding.evidence}" for finding in config_findings(path))
    refused = {folder: why for folder in below[:_MAX_REFUSALS] if (why := formats.refusal(path / folder)) is not None}
    if refused:
        folder, why = next(iter(refused.items()))
        rest = [other for other in below if other not in refused] or [other for other in below if other != folder]
        others = f"; {_listed(rest)} {'hold' if len(rest) > 1 else 'holds'} tensors, too" if rest else ""
        return f"{shown} holds no tensor file; its subfolder {clean(folder, 80)} {why}{others}"
    return f"{shown} holds no tensor file ({looked}), but these of its subfolders do: {_listed(below)}{wrong}"


def _named_in(path: Path, formats: Formats) -> str | None:
    """What the first file is that holds tensors, though its name does not say so; None if none does."""
    names = [name for name in file_names(path) if not name.startswith(".")]
    # Those that are usually so come first.
    names.sort(key=lambda name: not name.endswith(formats.mentioned))
    for name in names[:_MAX_NAMED]:
        sentence = formats.named(path / name)
        if sentence is not None:
            return f"{clean(name, 120)} {sentence}"
    return None


def _listed(folders: list[str]) -> str:
    more = f" and {len(folders) - 5:,} more" if len(folders) > 5 else ""
    return f"{', '.join(clean(folder, 80) for folder in folders[:5])}{more}"


def _checkpoints_below(path: Path, formats: Formats) -> list[str]:
    """Subfolders, at most three levels down, that hold tensors or are a checkpoint; their paths from ``path``."""
    found: list[str] = []
    whole: set[Path] = set()
    level = [path]
    looked = 0
    for _ in range(3):
        below: list[Path] = []
        for folder in level:
            looked += 1
            if looked > _MAX_FOLDERS:
                return found
            try:
                with scan(folder) as entries:
                    below += sorted(
                        Path(entry.path)
                        for entry in entries
                        if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                    )
            except OSError:
                continue
        for folder in below:
            try:
                names = file_names(folder)
            except OpenError:
                continue
            if formats.refusal(folder) is not None:
                # What is in it is a part of it.
                whole.add(folder)
            if folder in whole or any(name.endswith(formats.mentioned) for name in names):
                found.append(str(folder.relative_to(path)))
        level = [folder for folder in below if folder not in whole]
    return found
