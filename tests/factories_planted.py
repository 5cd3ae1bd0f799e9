"""A NaN that is written over one value in the files of a checkpoint, and what a check says before and after.

The value is found by its bytes alone, not where our readers say that it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tui_params.api.checking import check
from tui_params.core.source import Source
from tui_params.sources.detect import open_path


class Planted(NamedTuple):
    """Where a value is NaN now: in its tensor, and in which files (several if replicas have it)."""

    place: tuple[int, ...]
    files: tuple[str, ...]


def plant_nan(root: Path, source: Source, name: str) -> Planted:
    """Overwrite the last value of a float32 tensor whose bytes are in no other place of the files below ``root``."""
    values = source.read(name)
    assert values.dtype == np.float32
    contents = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    for flat in reversed(range(values.size)):
        raw = values.reshape(-1)[flat].tobytes()
        counts = {path: count for path, data in contents.items() if (count := data.count(raw))}
        if counts and set(counts.values()) == {1} and np.count_nonzero(values == values.reshape(-1)[flat]) == 1:
            break
    else:
        raise AssertionError(f"no value of {name} is in one place only")
    for path in counts:
        path.write_bytes(contents[path].replace(raw, np.float32(np.nan).tobytes()))
    place = tuple(int(index) for index in np.unravel_index(flat, values.shape))
    return Planted(place, tuple(path.relative_to(root).as_posix() for path in counts))


def assert_healthy(path: Path) -> None:
    """A check of everything says nothing above a remark."""
    report = check(path)
    assert [finding for finding in report.findings if finding.severity != "info"] == []
    assert (report.status, report.unchecked) == ("ok", ())


def assert_nan_is_named(path: Path, name: str, root: Path | None = None) -> None:
    """After a NaN was planted, a check names the tensor and the place, and of a tensor in parts the rank and its file.

    ``root`` is the folder with the files, if it is not ``path``.
    """
    with open_path(path) as source:
        planted = plant_nan(root or path, source, name)
        pieces = source.pieces_of(source.find(name))
    with open_path(path) as source:
        report = check(source)
    # A view of the same values has it too.
    found = [finding for finding in report.findings if (finding.rule, finding.tensor) == ("nan", name)]
    assert [(finding.severity, finding.indices) for finding in found] == [("error", (planted.place,))]
    if len(pieces) > 1:
        (piece,) = [
            piece
            for piece in pieces
            if all(a <= at < b for a, at, b in zip(piece.start, planted.place, piece.stop, strict=True))
        ]
        assert any(file.endswith(piece.file) for file in planted.files)
        assert found[0].evidence.endswith(f"; in the part of rank {piece.rank}, {piece.file}")
