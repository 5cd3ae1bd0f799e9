"""PairAsked: what the page of a tensor shows of its partner in another source, and what was asked for to do so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_params.core.packed import is_restored
from tui_params.core.tensor import TensorInfo
from tui_params.tui import keys
from tui_params.tui.state.changes import Changes

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change
    from tui_params.core.compare.sides import Sides
    from tui_params.core.numbers.difference import Difference
    from tui_params.core.numbers.spectrum.spectrum import Spectrum
    from tui_params.tui.desk.messages import PairRead, RankFound
    from tui_params.tui.desk.pair_desk import PairDesk
    from tui_params.tui.widgets.detail.across_lines import AcrossView

MOST_KEPT = 64
"""Tensors whose sides are kept for when they are looked at again."""

SPARSE = 0.05
"""A difference in at most this share of the elements is sparse."""

LOW = 8
"""A difference is of low rank if so many times fewer singular values than there are hold 99 % of it."""


class PairAsked:
    """Finds both sides of the tensor that is shown; of a tensor that is left before, nothing more is read."""

    def __init__(self, pairs: PairDesk | None) -> None:
        self._pairs = pairs
        self.key_of: Callable[[str], str] = lambda name: keys.first(name, {})
        """The key of an id, as the user has it."""
        self._asked: str | None = None
        self._sides: dict[str, tuple[Sides | None, str]] = {}
        self._rank_asked: str | None = None
        self._ranks: dict[str, tuple[Spectrum | None, str]] = {}

    @property
    def is_settled(self) -> bool:
        is_read = self._asked is None or self._asked in self._sides
        return is_read and (self._rank_asked is None or self._rank_asked in self._ranks)

    def of(self, info: TensorInfo, changes: Changes) -> AcrossView | None:
        """What is known of a tensor and its partner; None where nothing is compared with another source."""
        if not changes.is_across or self._pairs is None:
            return None
        from tui_params.tui.widgets.detail.across_lines import AcrossView

        name, change = info.name, changes.of(info.name)
        pair = self._pairs.pair(name)
        partner = pair.b.name if pair is not None and pair.b.name != name else ""
        found = change.difference if change is not None else None
        if pair is None or found is None or not found.count:
            self._leave()
            return AcrossView(changes.since, change, partner)
        sides, reason = self._sides.get(name, (None, ""))
        if name not in self._sides and self._asked != name:
            self._leave()
            reason = self._pairs.fetching.words(info, self.key_of("fetch"))
            if not reason:
                self._asked = name
                self._pairs.want(name)
        from tui_params.core.compare.difference_source import why_not

        can_look = why_not(pair) is None and found.changed > 0
        rank = self._rank_words(name, found) if can_look and info.ndim > 1 else ""
        hint = f"{self.key_of('difference')} looks into B - A: heat map, numbers, singular values" if can_look else ""
        later = "one side trains: what follows was read at a later step" if self._pairs.trains else ""
        is_packed = is_restored(pair.a) or is_restored(pair.b)
        return AcrossView(changes.since, change, partner, sides, reason, rank, hint, later, is_packed)

    def _leave(self) -> None:
        if self._asked is not None and self._asked not in self._sides and self._pairs is not None:
            self._pairs.leave("sides")
        self._asked = None

    def take(self, message: PairRead) -> None:
        while len(self._sides) >= MOST_KEPT:
            self._sides.pop(next(iter(self._sides)))
        self._sides[message.name] = message.sides, message.reason

    def take_rank(self, message: RankFound) -> None:
        self._ranks[message.name] = message.spectrum, message.reason

    def ask_for_rank(self, info: TensorInfo, change: Change | None) -> str:
        """Ask for the singular values of the difference of a tensor; one sentence if there are none to be had."""
        pair = self._pairs.pair(info.name) if self._pairs is not None else None
        if self._pairs is None or pair is None or change is None or change.difference is None:
            return "Only a tensor that both sides have, and that was compared, has a difference."
        if not change.difference.changed:
            return "Nothing differs here: the difference is zero."
        from tui_params.core.compare.difference_source import why_not

        reason = why_not(pair) or ("" if info.ndim > 1 else "Only a matrix has a rank.")
        if not reason and info.name not in self._ranks:
            self._rank_asked = info.name
            self._pairs.want_rank(info.name)
        return reason

    def _rank_words(self, name: str, found: Difference) -> str:
        if name not in self._ranks:
            is_asked = self._rank_asked == name
            return "rank of B - A: being computed" if is_asked else f"{self.key_of('rank')} finds the rank of B - A"
        spectrum, reason = self._ranks[name]
        return f"rank of B - A: {reason}" if spectrum is None else rank_words(spectrum, found.changed_fraction)


def rank_words(spectrum: Spectrum, share: float) -> str:
    """The rank of a difference, how many singular values hold 99 % of its squared norm, and what it looks like."""
    shares = spectrum.shares()
    enough = next((count for count, part in enumerate(shares, 1) if part >= 0.99), None)
    count = spectrum.count
    held = f"the first {enough:,} hold 99 % of it" if enough else f"the first {len(shares):,} hold less than 99 % of it"
    if enough == 1:
        held = "the first holds 99 % of it"
    parts = [f"rank of B - A: {spectrum.rank:,} of {count:,}"] if spectrum.rank is not None else ["rank of B - A"]
    parts[0] += f"; {held}"
    if spectrum.entropy_rank is not None:
        parts.append(f"effective rank {spectrum.entropy_rank:.1f}")
    is_low = enough is not None and enough * LOW <= count
    looks = (
        "sparse" if share <= SPARSE else "low rank, as by a LoRA" if is_low else "full" if enough else "not low rank"
    )
    return f"{', '.join(parts)}: {looks}"
