"""The index of weights that Keras cut into several HDF5 files: ``NAME.weights.json`` beside ``NAME_00000.weights.h5``.

keras/src/saving/saving_lib.py, ShardedH5IOStore: ``{"metadata": {"total_size": ...}, "weight_map": {path of a group:
file name, or a list of them}}``. A group may lie in several files.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tui_params.core.source import Hidden
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes.files import is_plain_name, is_there
from tui_params.sources.folder.json_files import read_json_object

SUFFIX = ".weights.json"


def shards_of(path: Path) -> dict[str, int]:
    """The files that an index names, and how many groups it places in each. Raises OpenError if it is no index."""
    named = _named(path)
    if not named:
        raise OpenError(f"{clean(path.name, 120)} is not the index of a sharded checkpoint: it names no files")
    return named


def missing_shards(folder: Path, names: Iterable[str]) -> list[Hidden]:
    """What is missing of the files that the indexes among ``names`` name."""
    hidden = []
    for index in names:
        if not index.endswith(SUFFIX):
            continue
        for file, count in _named(folder / index).items():
            shown = f"{clean(index, 80)} places {plural(count, 'group')} of weights in {clean(file, 80)}"
            if not is_plain_name(file):
                hidden.append(Hidden("", index, f"{shown}, which is no file of this folder"))
            elif not is_there(folder / file):
                hidden.append(Hidden("", file, f"{shown}, which is missing"))
    return hidden


def _named(path: Path) -> dict[str, int]:
    groups = read_json_object(path).get("weight_map")
    found: dict[str, int] = {}
    for place in groups.values() if isinstance(groups, dict) else ():
        for file in place if isinstance(place, list) else [place]:
            if isinstance(file, str):
                found[file] = found.get(file, 0) + 1
    return found
