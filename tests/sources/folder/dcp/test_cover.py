"""Whether chunks cover a tensor: by rows, by columns, in a grid; and bounded however they are laid."""

from __future__ import annotations

import pytest

from tui_params.core.dtypes import unknown
from tui_params.sources.folder.dcp import cover
from tui_params.sources.folder.dcp.cover import Cover, Covers
from tui_params.sources.folder.dcp.metadata import Chunks, StoredTensor

Box = tuple[tuple[int, ...], tuple[int, ...]]


def cover_of(shape: tuple[int, ...], boxes: list[Box]) -> Cover:
    chunks = Chunks()
    chunks.extend([start for start, _ in boxes], [sizes for _, sizes in boxes])
    return Covers(chunks).of(StoredTensor("w", shape, unknown("x"), 0, len(boxes)))


def grid(rows: int, columns: int) -> list[Box]:
    return [((row, column), (1, 1)) for row in range(rows) for column in range(columns)]


@pytest.mark.parametrize(
    ("shape", "boxes", "numel", "overlap"),
    [
        ((), [((), ())], 1, None),
        ((), [((), ()), ((), ())], 2, "[] and []"),
        ((4,), [((0,), (2,)), ((2,), (2,))], 4, None),
        ((4,), [((2,), (2,)), ((4,), (0,)), ((0,), (2,))], 4, None),
        ((4,), [((0,), (3,)), ((2,), (2,))], 5, "[0:3] and [2:4]"),
        ((4, 2), [((0, 0), (4, 1)), ((0, 1), (4, 1))], 8, None),
        ((2, 2), [((0, 0), (2, 1)), ((0, 1), (1, 1))], 3, None),
        ((2, 2), [((0, 0), (2, 1)), ((1, 0), (1, 2))], 4, "[0:2, 0:1] and [1:2, 0:2]"),
        ((0, 3), [((0, 0), (0, 3))], 0, None),
        ((60, 60), grid(60, 60), 3600, None),
    ],
)
def test_covers(shape: tuple[int, ...], boxes: list[Box], numel: int, overlap: str | None) -> None:
    assert cover_of(shape, boxes) == Cover(numel, overlap)


def test_columns_are_as_quick_as_rows() -> None:
    # Each compared with every other would take many minutes.
    boxes: list[Box] = [((0, column), (5, 1)) for column in range(20_000)]
    assert cover_of((5, 20_000), boxes) == Cover(100_000)


def test_what_would_take_too_long_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cover, "_MAX_COMPARISONS", 3_000)
    assert cover_of((60, 60), grid(60, 60)) == Cover(3600, None, is_known=False)
