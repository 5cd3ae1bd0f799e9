"""How a checkpoint of DeepSpeed is recognised: the folder of one tag, or the folder above it with ``latest``.

deepspeed/runtime/engine.py, ``save_checkpoint``: ``latest`` has the name of the newest tag and nothing else.
deepspeed/checkpoint/ds_to_universal.py: ``zero/NAME/fp32.pt`` for each parameter, and ``latest_universal`` beside the
folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.sources.bytes import far
from tui_params.sources.bytes.files import FolderEntry, is_file, scan
from tui_params.sources.bytes.local import opened, read_bytes
from tui_params.sources.bytes.system_calls import reason
from tui_params.sources.folder.deepspeed.file_names import RankFiles, sort_files

LATEST = ("latest", "latest_universal")
"""The files with the name of a tag; the first that is there counts."""

UNIVERSAL = "zero"
"""The folder in a universal checkpoint that has a folder for each parameter."""

_MAX_LATEST = 4_096
_MAX_TAGS = 1_000
"""The most subfolders that are looked into for tags."""

_SHOWN = 5

_MODEL_FILE = re.compile(
    r"(?:model|pytorch_model|adapter_model|diffusion_pytorch_model|consolidated)[\w.-]*\.(?:safetensors|bin|pt|pth)",
    re.IGNORECASE,
)
"""Weights beside the folder of a tag, as the Trainer of transformers writes them: they are the model of the folder."""


class Tag(msgspec.Struct, frozen=True):
    """The folder with the files of one checkpoint.

    ``prefix`` precedes the names of its files: the name of the tag and a slash where the folder above was opened.
    ``others`` are the other tags beside it. ``beside`` are the files of the folder above.
    """

    path: Path
    prefix: str
    files: RankFiles
    is_universal: bool
    others: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def is_deepspeed(path: Path) -> bool:
    """Whether the folder at ``path`` is a checkpoint of DeepSpeed, or has some and says which is the latest."""
    files, folders = _entries(path)
    if _has_tag(path, files, folders):
        return True
    if not any(name in LATEST for name in files) or any(map(_MODEL_FILE.fullmatch, files)):
        return False
    return any(_is_tag(path / name) for name in folders[:_MAX_TAGS])


def find_tag(path: Path) -> Tag:
    """The checkpoint to open. Raises OpenError if ``latest`` names none that is here."""
    files, folders = _entries(path)
    if _has_tag(path, files, folders):
        return Tag(path, "", sort_files(files), _is_universal(path, folders))
    shown = clean(far.shown(path), 200)
    tags = [name for name in folders[-_MAX_TAGS:] if _is_tag(path / name)]
    pointer = next((name for name in LATEST if name in files), None)
    if pointer is None:
        raise OpenError(f"{shown} has no file {LATEST[0]}, which names the checkpoint to open{_listed(tags)}")
    chosen = _read_latest(path / pointer)
    if chosen != os.path.basename(chosen) or chosen in ("", ".", "..") or "\0" in chosen or "\\" in chosen:
        raise OpenError(
            f"{pointer} in {shown} names {clean(repr(chosen), 120)}, which is no folder in it{_listed(tags)}"
        )
    if chosen not in tags:
        what = "has no files of a checkpoint" if chosen in folders else "is not there"
        raise OpenError(f"{pointer} in {shown} names {clean(chosen, 120)}, which {what}{_listed(tags)}")
    inner, below = _entries(path / chosen)
    others = tuple(name for name in tags if name != chosen)
    beside = tuple(name for name in files if name not in LATEST)
    is_universal = _is_universal(path / chosen, below)
    return Tag(path / chosen, f"{chosen}/", sort_files(inner), is_universal, others, beside)


def _listed(tags: list[str]) -> str:
    """The tags that can be opened by their paths, as the end of a sentence."""
    if not tags:
        return ""
    more = f" and {len(tags) - _SHOWN:,} more" if len(tags) > _SHOWN else ""
    shown = ", ".join(clean(tag, 80) for tag in tags[:_SHOWN])
    return f"; {shown}{more} {'is' if len(tags) == 1 else 'are'} there, to be opened by path"


def _read_latest(path: Path) -> str:
    with opened(path) as (descriptor, _):
        text = read_bytes(descriptor, 0, _MAX_LATEST + 1)
    if len(text) > _MAX_LATEST:
        raise OpenError(f"{path.name} has more than {_MAX_LATEST:,} bytes, which no name of a tag needs")
    return text.decode("utf-8", "replace").strip()


def _is_tag(path: Path) -> bool:
    return _has_tag(path, *_entries(path))


def _has_tag(path: Path, files: list[str], folders: list[str]) -> bool:
    found = sort_files(files)
    if found.models or found.optimizers or found.slices:
        return True
    return _is_universal(path, folders)


def _is_universal(path: Path, folders: list[str]) -> bool:
    """Whether a folder ``zero`` in it has a folder with an ``fp32.pt``."""
    if UNIVERSAL not in folders:
        return False
    below = entries(path / UNIVERSAL)[1]
    return any(is_file(path / UNIVERSAL / name / "fp32.pt") for name in below[:_SHOWN])


def _entries(path: Path) -> tuple[list[str], list[str]]:
    try:
        return entries(path)
    except OpenError:
        return [], []


def entries(path: Path) -> tuple[list[str], list[str]]:
    """The names of the files and of the folders in a folder, sorted. Raises OpenError."""
    files: list[str] = []
    folders: list[str] = []
    try:
        with scan(path) as found:
            for entry in found:
                (folders if _is_folder(entry) else files).append(entry.name)
    except OSError as error:
        raise OpenError(f"the folder {clean(far.shown(path), 200)} cannot be read: {reason(error)}") from None
    return sorted(files), sorted(folders)


def _is_folder(entry: FolderEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
