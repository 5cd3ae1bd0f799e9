"""Whether ranks that wrote the same elements wrote the same values (``use_collectives=False``).

torch takes those of the rank that loads, so that a difference is never noticed.
"""

from __future__ import annotations

from collections.abc import Iterator

from tui_params.core.findings import Finding
from tui_params.core.text import plural, size
from tui_params.errors import ReadError
from tui_params.sources.folder.dcp.metadata import Metadata, StoredTensor, Window, rank_of
from tui_params.sources.folder.dcp.windows import Windows

MAX_NBYTES = 64 << 20
"""Bytes that are compared when a checkpoint is opened: they take a tenth of a second."""

_SHOWN = 20


def compare_replicas(metadata: Metadata, windows: Windows) -> Iterator[Finding]:
    """One finding for each tensor whose replicas differ, and one about those that were not compared.

    Those that cannot be read are told when their tensor is read, or by the file that is missing.
    """
    left, skipped, differing = MAX_NBYTES, 0, 0
    skipped_nbytes = 0
    for tensor in metadata.tensors if metadata.copies else ():
        for number in range(tensor.first, tensor.first + tensor.count):
            copies = metadata.copies.get(number)
            first = metadata.window(number)
            if copies is None or first is None or not all(metadata.chunks.shapes[number]):
                continue
            nbytes = first.nbytes + sum(copy.nbytes for copy in copies)
            left -= nbytes
            if left < 0:
                skipped += 1
                skipped_nbytes += nbytes
                continue
            other = _differing(metadata, windows, tensor, number, copies)
            if other is None:
                continue
            differing += 1
            if differing <= _SHOWN:
                evidence = f"{_who(first)} and {_who(other)} wrote other values of it: those of {_who(first)} are shown"
                yield Finding("error", "replica-differs", tensor.name, evidence)
    if differing > _SHOWN:
        yield Finding("error", "replica-differs", None, f"replicas of {differing - _SHOWN:,} more pieces differ")
    if skipped:
        evidence = f"the replicas of {plural(skipped, 'piece')} ({size(skipped_nbytes)}) were not compared"
        yield Finding("info", "replica-differs", None, evidence)


def _differing(
    metadata: Metadata, windows: Windows, tensor: StoredTensor, number: int, copies: list[Window]
) -> Window | None:
    """The first copy whose elements are others than those of the piece; None if there is none that can be read."""
    window = metadata.window(number)
    if window is None:
        return None
    try:
        first = _elements(metadata, windows, tensor, number, window)
        return next(
            (copy for copy in copies if _elements(metadata, windows, tensor, number, copy) != first),
            None,
        )
    except ReadError:
        return None


def _elements(
    metadata: Metadata, windows: Windows, tensor: StoredTensor, number: int, window: Window
) -> tuple[bytes, tuple[int, ...] | None]:
    place, extent = windows.locate(window, tensor.name, tensor.sizes(metadata.chunks.shapes[number]), tensor.dtype)
    buffer = bytearray(extent.end - extent.begin)
    with place.reading() as fill:
        fill(extent.begin, memoryview(buffer))
    return bytes(buffer), extent.stride


def _who(window: Window) -> str:
    rank = rank_of(window.file)
    return window.file if rank is None else f"rank {rank}"
