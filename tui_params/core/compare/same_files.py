"""Whether two sources are the same files, so that nothing in them can differ."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo

SAME_FILES = "A and B are the same file, perhaps by a link: nothing can differ."


def are_same_files(a: Source, b: Source) -> bool:
    """Whether all tensors of both lie in the same files, perhaps by links."""
    if _files(a, a.listing.tensors[:1]) != _files(b, b.listing.tensors[:1]):
        return False
    files = _files(a, a.listing.tensors)
    return bool(files) and files == _files(b, b.listing.tensors)


def _files(source: Source, infos: Sequence[TensorInfo]) -> set[tuple[int, int]]:
    """The files that some tensors of a source lie in; empty if one lies in none."""
    found: set[tuple[int, int]] = set()
    for info in infos:
        place = source.data_file(info)
        if place is None:
            return set()
        found.add((place[0].device, place[0].inode))
    return found
