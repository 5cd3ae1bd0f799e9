"""Folders that hold the same model at several steps: ``checkpoint-500/`` and ``checkpoint-1000/``, ``epoch=3.ckpt``.

The newest is opened, because that is what one looks for in the folder of a run; all together would be as many copies of
the model in one tree. The others are named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tui_params.core.findings import Finding, Severity
from tui_params.core.source import Source
from tui_params.core.text import clean, listed, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes import far
from tui_params.sources.folder.folder import Formats, check_refusal, file_names, folder_names, has_model, holds_tensors
from tui_params.sources.folder.run.members import STATE, state_folders
from tui_params.sources.folder.shard_index import folder_label
from tui_params.sources.folder.side_models import NUMBERED

_WORD = r"(?:global_?step|checkpoint|ckpt|step|iter|iteration|epoch)"
_FOLDER = re.compile(rf"{_WORD}[-_=]?(\d{{1,12}})", re.IGNORECASE | re.ASCII)
"""Trainer and accelerate (``checkpoint-500``), DeepSpeed (``global_step500``), Megatron (``iter_0000500``)."""

_STEP = re.compile(rf"(?:^|[-_.]){_WORD}[-_=]?(\d{{1,12}})", re.IGNORECASE | re.ASCII)
"""In the name of a file: Lightning (``epoch=3-step=500``, also with a metric), OpenMMLab (``epoch_12``)."""

_VERSION = re.compile(r"-v(\d{1,6})$", re.ASCII)
"""What Lightning adds if the name is taken."""

_VALUE = re.compile(r"(?<==)-?[\d.]+|\d+", re.ASCII)
_LAST = ("last", "latest")
"""A copy of the newest, as Lightning and OpenMMLab write one."""

_SHOWN = 4
_MOST_TRIED = 3
_MOST_EMPTY = 4
_MOST_FOLDERS = 10_000


def find_steps(path: Path, formats: Formats) -> list[str]:
    """The steps in a folder that holds no other tensors, the newest first; those of folders end with a slash."""
    try:
        names = file_names(path)
    except OpenError:
        return []
    files = [name for name in names if name.endswith(formats.suffixes) and not name.startswith(".")]
    files = [name for name in files if not STATE.match(name)]
    if files:
        return _steps_among(files)
    if has_model(names, formats):
        return []
    numbered = {
        name: int(match[1])
        for name in folder_names(path)[:_MOST_FOLDERS]
        if (match := _FOLDER.fullmatch(name)) and _is_checkpoint(path / name, formats)
    }
    return [f"{name}/" for name in sorted(numbered, key=lambda name: (numbered[name], name), reverse=True)]


def steps_in_order(path: Path, formats: Formats) -> list[tuple[str, int]]:
    """The steps of a run in a folder, the oldest first, each with its number; also beside a model of its own.

    Copies of the newest (``last.ckpt``) are left out; steps without tensors beside others are not: a save that has not
    finished, or files that are lost.
    """
    names = folder_names(path)[:_MOST_FOLDERS]
    folders = [(int(match[1]), name) for name in names if (match := _FOLDER.fullmatch(name))]
    if any(_is_checkpoint(path / name, formats) for _, name in folders):
        return [(name, number) for number, name in sorted(folders)]
    steps = [name for name in find_steps(path, formats) if name.rpartition(".")[0].lower() not in _LAST]
    return [(name, int(_STEP.findall(name.rpartition(".")[0])[-1])) for name in reversed(steps)]


def number_of(name: str) -> int | None:
    """The number of a step by the name of its folder or file, such as 500 for ``checkpoint-500``."""
    found = _STEP.findall(name.rstrip("/").removesuffix(".ckpt").removesuffix(".pt"))
    return int(found[-1]) if found else None


def _is_checkpoint(folder: Path, formats: Formats) -> bool:
    return holds_tensors(folder, formats) or bool(state_folders(folder_names(folder)))


def _steps_among(names: Sequence[str]) -> list[str]:
    """The files, the newest first, if they are steps of one model: only numbers differ in their names."""
    ranks: dict[tuple[int, ...], str] = {}
    kinds: set[str] = set()
    last: list[str] = []
    for name in names:
        stem = name.rpartition(".")[0]
        if stem.lower() in _LAST:
            last.append(name)
            continue
        version = _VERSION.search(stem)
        stem = _VERSION.sub("", stem)
        steps = _STEP.findall(stem)
        # The step counts before the epoch, which comes first in the name.
        rank = (*map(int, reversed(steps)), int(version[1]) if version is not None else 0)
        if not steps or rank in ranks or NUMBERED.match(name):
            return []
        ranks[rank] = name
        kinds.add(_VALUE.sub("#", stem))
    if len(kinds) != 1 or len(names) < 2:
        return []
    return [*last, *(ranks[rank] for rank in sorted(ranks, reverse=True))]


def open_newest(path: Path, formats: Formats, open_folder: Callable[[Path], Source]) -> Source:
    """The newest step that can be opened; the others are named. Raises OpenError."""
    check_refusal(path, formats)
    steps = find_steps(path, formats)
    if not steps:
        shown = clean(far.shown(path), 200)
        raise OpenError(f"{shown} is no folder of steps, such as checkpoint-500/ and checkpoint-1000/")
    findings: list[Finding] = []
    for name in steps[:_MOST_TRIED]:
        try:
            source = open_folder(path / name[:-1]) if name.endswith("/") else formats.open_file(path / name)
        except OpenError as error:
            findings.append(Finding("error", "bad-part", None, str(error), file=name))
            continue
        findings += _without_tensors(path, steps, formats)
        _tell(source, f"{folder_label(path)}{name}", name, steps, findings)
        return source
    raise OpenError(findings[0].evidence)


def _without_tensors(path: Path, steps: Sequence[str], formats: Formats) -> list[Finding]:
    """What is said of the folders that are called like the steps and hold no tensors, the newest first."""
    numbers = {match[1]: match for step in steps if (match := _FOLDER.fullmatch(step.rstrip("/")))}
    words = {match.string[: match.start(1)] for match in numbers.values()}
    newest = max(map(int, numbers), default=0)
    empty = [
        (int(match[1]), name)
        for name in folder_names(path)[:_MOST_FOLDERS]
        if (match := _FOLDER.fullmatch(name))
        and f"{name}/" not in steps
        and name[: match.start(1)] in words
        and not _is_checkpoint(path / name, formats)
    ]
    findings = []
    for number, name in sorted(empty, reverse=True)[:_MOST_EMPTY]:
        is_newer = number > newest
        why = ": it is newer than all that have, as when a save has not finished" if is_newer else ""
        severity: Severity = "warning" if is_newer else "info"
        findings.append(Finding(severity, "bad-part", None, f"this step holds no tensor file{why}", file=f"{name}/"))
    if len(empty) > _MOST_EMPTY:
        more = f"{len(empty) - _MOST_EMPTY:,} more steps hold no tensor file"
        findings.append(Finding("info", "bad-part", None, more))
    return findings


def _tell(source: Source, label: str, name: str, steps: Sequence[str], findings: list[Finding]) -> None:
    """Let the source of a step say which it is, and where the others are."""
    source.label = label
    others = [other for other in steps if other != name]
    listing = source.listing
    if not others:
        source.listing = msgspec.structs.replace(listing, findings=(*findings, *listing.findings))
        return
    which = "the newest that can be opened" if any(found.severity == "error" for found in findings) else "the newest"
    shown = listed([clean(other, 80) for other in others], _SHOWN)
    are = "the other is" if len(others) == 1 else "the others are"
    evidence = f"{clean(name, 80)} is shown, {which} of {plural(len(steps), 'step')}; {are} {shown}"
    remark = Finding("info", "newest-step", None, evidence)
    source.listing = msgspec.structs.replace(
        listing,
        format=f"newest of {plural(len(steps), 'step')}: {listing.format}",
        findings=(*findings, remark, *listing.findings),
        not_opened=(*listing.not_opened, *others),
    )
