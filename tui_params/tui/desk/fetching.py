"""Fetching: what of a source elsewhere is read by itself, and what only if the user asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tui_params.core import text
from tui_params.core.source import Line, Source
from tui_params.core.tensor import TensorInfo
from tui_params.tui.state.transfer_words import Amount

MOST_COUNTED = 2_000
"""Tensors of which it is looked up what is here already: 10 ms."""


class Fetching:
    """Answers from any thread how much a read would bring over the line; of a source on this machine it is nothing.

    ``cost`` gives the bytes that have to come for a tensor (``Source.to_fetch``). Up to ``below`` of them are fetched
    for whatever is on screen; more has to be agreed to, tensor by tensor. ``is_worked_out`` tells of which tensors the
    statistics come instead (``Source.works_out``): no more than is fetched by itself.
    """

    def __init__(
        self,
        line: Line | None,
        cost: Callable[[TensorInfo], int],
        below: int,
        is_worked_out: Callable[[TensorInfo], bool] = lambda info: False,
    ) -> None:
        self.line = line
        self.below = below
        self._cost = cost
        self._is_worked_out = is_worked_out
        self._agreed: dict[str, int] = {}

    @property
    def is_far(self) -> bool:
        return self.line is not None

    def toll(self, info: TensorInfo, numel: int | None = None) -> int:
        """The bytes that the user has to agree to before ``numel`` elements (None: all) are read; 0 if to none."""
        if self.line is None:
            return 0
        nbytes = self._cost(info)
        if numel is not None:
            nbytes = min(nbytes, info.dtype.nbytes(numel))
        return nbytes if nbytes > max(self.below, self._agreed.get(info.name, 0)) else 0

    def figures_toll(self, info: TensorInfo) -> int:
        """The bytes that the user has to agree to before its statistics are known; 0 if to none."""
        return 0 if self.line is None or self._is_worked_out(info) else self.toll(info)

    def figures_words(self, info: TensorInfo, key: str) -> str:
        """One sentence about what stands in the place of its statistics; empty if they come by themselves."""
        return self.words(info, key) if self.figures_toll(info) else ""

    def words(self, info: TensorInfo, key: str, numel: int | None = None) -> str:
        """One sentence about what stands in the place of what is not fetched by itself; empty if it is."""
        nbytes = self.toll(info, numel)
        return f"{text.size(nbytes)}: press {key} to fetch it" if nbytes else ""

    def agree(self, info: TensorInfo, nbytes: int) -> None:
        """The user wants so many bytes of a tensor, or what is left of them."""
        self._agreed[info.name] = max(nbytes, self._agreed.get(info.name, 0))

    @property
    def agreed(self) -> tuple[str, ...]:
        """The tensors that the user asked for."""
        return tuple(self._agreed)

    def withdraw(self, name: str) -> bool:
        """Fetch no more of a tensor than is fetched by itself; False if it was not asked for."""
        return self._agreed.pop(name, None) is not None

    def figures_total(self, infos: Iterable[TensorInfo]) -> Amount:
        """The bytes that would come for the statistics of all of these."""
        return self.total(info for info in infos if not self._is_worked_out(info))

    def total(self, infos: Iterable[TensorInfo]) -> Amount:
        """The bytes that would come for all of these, those of tied tensors once.

        Of more than MOST_COUNTED tensors the rest counts as if nothing of it were here: no key waits for the count.
        """
        if self.line is None:
            return Amount(0)
        wanted = [info for info in infos if info.tied_to is None]
        nbytes = sum(self._cost(info) for info in wanted[:MOST_COUNTED])
        rest = sum(info.nbytes for info in wanted[MOST_COUNTED:] if info.unreadable is None)
        return Amount(nbytes + rest, is_most=rest > 0)


def fetching_of(source: Source, below: int) -> Fetching:
    """That of a source, of which up to ``below`` bytes of a tensor are fetched by themselves."""
    return Fetching(source.line, source.to_fetch, below, lambda info: source.works_out(info, has_summary=False))
