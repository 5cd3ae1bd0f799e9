"""Asking: what the pages want to know of a source beside the values of tensors, found on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.core.reading.outcome import attempt
from tui_params.settings import FETCH_BELOW
from tui_params.tui.desk.messages import HistogramReady, PiecesFound
from tui_params.tui.desk.worker import Worker
from tui_params.tui.state.opened import Opened
from tui_params.tui.state.pieces import Stored

if TYPE_CHECKING:
    from tui_params.core.tensor import TensorInfo
    from tui_params.tui.desk.pair_desk import PairDesk
    from tui_params.tui.terminal.line import Line

MOST_PIECES = 64
"""Pieces of a tensor that a page lists; of more, it says how many there are."""


class Asking:
    """Answers come as messages with the generation of the opening. ``worker`` may have other work before them."""

    def __init__(
        self,
        opened: Opened,
        generation: int,
        post: Callable[[Message], object],
        worker: Worker,
        fetch_below: int = FETCH_BELOW,
    ) -> None:
        self._source = opened.source
        self.pairs = _pairs_of(opened, generation, post, fetch_below)
        """What answers about both sides of a tensor, where two sources are compared."""
        self._generation = generation
        self._post = post
        self._worker = worker

    def want_pieces(self, info: TensorInfo) -> None:
        """Ask for the pieces of a tensor, and what other ranks have of it; answered by PiecesFound.

        Without any pieces if they cannot be found.
        """

        def find() -> None:
            found, _ = attempt(lambda: self._source.pieces_of(info))
            pieces = found or ()  # if they cannot be found, neither can values: the page says why
            ranks = len({piece.rank for piece in pieces if piece.rank is not None})
            over, reason = attempt(lambda: self._source.over_ranks(info))
            stored = Stored(pieces[:MOST_PIECES], len(pieces), ranks, over, reason or "")
            self._post(PiecesFound(self._generation, info.name, stored))

        self._worker.do(find)

    def want_drawn(self, key: object, draw: Callable[[], list[Line]]) -> None:
        """Have something drawn; answered by HistogramReady with ``key``."""

        def work() -> None:
            lines, reason = attempt(draw)
            self._post(HistogramReady(key, tuple(lines or ()), reason))

        self._worker.do(work)

    def stop(self) -> None:
        """Find nothing after what is being found now."""
        self._worker.stop()
        if self.pairs is not None:
            self.pairs.close()


def _pairs_of(opened: Opened, generation: int, post: Callable[[Message], object], fetch_below: int) -> PairDesk | None:
    if opened.both is None:
        return None
    from tui_params.tui.desk.pair_desk import PairDesk

    return PairDesk(opened.both, generation, post, fetch_below)
