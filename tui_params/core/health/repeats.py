"""Rows of an embedding that are there several times, found in the one read and proved by reading these few again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tui_params.core.channels import MOST_ALIKE
from tui_params.core.findings import MAX_INDICES, Finding
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import plural
from tui_params.errors import ReadError, StoppedError

MOST_NBYTES = 16 << 20
"""Bytes of rows that one check reads again at most, whatever the tensors."""

_NARROWEST = 8
"""Rows of fewer values may be equal by chance."""


def find_repeated_rows(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Embeddings in which the same row stands several times. Raises StoppedError.

    One whose second reading fails has none. Tables of one value are what another rule says.
    """
    left = MOST_NBYTES
    for sketch in checkpoint.sketches:
        info = sketch.info
        if not sketch.alike or sketch.min == sketch.max or info.shape[1] < _NARROWEST:
            continue
        row_nbytes = info.dtype.nbytes(info.shape[1])
        groups: list[tuple[int, ...]] = []
        is_all = sum(map(len, sketch.alike)) < MOST_ALIKE - 1
        for candidates in sketch.alike:
            some = candidates[: left // row_nbytes]
            left -= len(some) * row_nbytes
            is_all = is_all and len(some) == len(candidates)
            groups += _equal(checkpoint.source, info, some, checkpoint.should_stop)
        if groups:
            groups.sort(key=lambda rows: (-len(rows), rows))
            first, count = groups[0], sum(map(len, groups))
            evidence = f"{count:,} of {plural(info.shape[0], 'row')} are equal to another row"
            evidence += f": row {first[0]:,} is there {plural(len(first), 'time')}"
            if len(groups) > 1:
                evidence += f", and {plural(len(groups) - 1, 'other row')} several times"
            indices = tuple((row, 0) for row in first[:MAX_INDICES])
            text = evidence if is_all else f"at least {evidence}"
            yield Finding("info", "repeated-rows", info.name, text, indices)


def _equal(
    source: Source, info: TensorInfo, rows: Sequence[int], should_stop: Callable[[], bool] | None
) -> list[tuple[int, ...]]:
    """The groups of rows whose bytes are the same; none if reading fails."""
    same: dict[bytes, list[int]] = {}
    width, nbytes = info.shape[1], info.dtype.nbytes(info.shape[1])
    try:
        for first, last in _runs(rows):
            if should_stop is not None and should_stop():
                raise StoppedError(f"the reading of {info.name} was stopped")
            raw = b"".join(block.tobytes() for block in source.blocks(info, first * width, last * width))
            if len(raw) != nbytes * (last - first):
                return []
            for row in range(first, last):
                same.setdefault(raw[(row - first) * nbytes : (row - first + 1) * nbytes], []).append(row)
    except (ReadError, OSError, MemoryError):
        return []
    return [tuple(found) for found in same.values() if len(found) > 1]


def _runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and last (exclusive) rows of each run without gaps, of rows that ascend."""
    start = 0
    for place in range(1, len(rows) + 1):
        if place == len(rows) or rows[place] != rows[place - 1] + 1:
            yield rows[start], rows[place - 1] + 1
            start = place


REPEAT_RULES: tuple[Rule, ...] = (
    Rule(
        "repeated-rows",
        "Repeated rows",
        ("info",),
        "Several rows of an embedding are equal: tokens that were added with one start (their mean, say) and not "
        "trained. Rows of zeros are another rule.",
        "transformers resize_token_embeddings (new rows from the mean of the old ones)",
        cross_check=find_repeated_rows,
    ),
)
