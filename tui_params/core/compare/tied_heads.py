"""Tied heads: an output head that one side stores as a copy, and that the other side makes of its input embeddings."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tui_params.core.compare.renames import Side
from tui_params.core.compare.side_by_side import ByteComparison, pieces
from tui_params.core.compare.structure import Implied
from tui_params.core.health.stated import EMBEDDINGS
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, StoppedError

HEAD = "lm_head.weight"
MOST_NBYTES = 4 << 30
"""Bytes of the head and of the embeddings that are compared; a larger head stays a difference."""


def find_tied_head(
    side: Side, source: Source, other: Source, only: Collection[str], should_stop: Callable[[], bool] | None
) -> Implied | None:
    """The head of ``source`` if it has the bytes of its embeddings, and the config.json of ``other`` ties both.

    ``only`` are the names that only ``source`` has. A checkpoint that was cast tensor by tensor has such a copy. Raises
    StoppedError.
    """
    if HEAD not in only or not other.listing.stated.get("config.tie_word_embeddings", "").startswith("true ("):
        return None
    head = source.find(HEAD)
    found = [
        info
        for info in source.listing.tensors
        if info.name.endswith(EMBEDDINGS) and info.name not in only and _is_alike(info, head)
    ]
    if len(found) != 1 or 2 * head.nbytes > MOST_NBYTES or not _is_same(source, head, found[0], should_stop):
        return None
    where = "B" if side == "a" else "A"
    reason = f"equal to {found[0].name}, which takes its place in {where}: config.json says tie_word_embeddings true"
    return Implied(HEAD, side, reason)


def _is_alike(info: TensorInfo, head: TensorInfo) -> bool:
    is_readable = info.unreadable is None and head.unreadable is None
    return is_readable and (info.shape, info.dtype) == (head.shape, head.dtype)


def _is_same(source: Source, head: TensorInfo, other: TensorInfo, should_stop: Callable[[], bool] | None) -> bool:
    compared = ByteComparison()
    try:
        for piece in pieces(source, head, source, other, 0, head.numel):
            if should_stop is not None and should_stop():
                raise StoppedError("the comparison was stopped")
            if not compared.is_same(piece.a, piece.b):
                return False
    except StoppedError:
        raise
    except (ReadError, OSError, MemoryError):
        return False
    return True
