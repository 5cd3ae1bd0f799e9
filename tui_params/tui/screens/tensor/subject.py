"""Subject: what the tensor screen looks into, and what is known of it outside."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from tui_params.core.figures import Figures
    from tui_params.core.numbers.summary import Summary
    from tui_params.tui.desk.fetching import Fetching


class Subject(msgspec.Struct, frozen=True, eq=False):
    """One opening of a source.

    ``version`` is another one whenever values may have changed. ``figures`` gives the exact figures of a tensor, if
    they are known by now; ``want`` asks that the figures of one be worked out before all others. ``about`` says what is
    to be known of the source: that its file has changed, how far its training has come. ``summary_of`` gives the counts
    of a tensor that was read for its figures, as long as they are kept; it may be called from any thread. ``fetching``
    knows what is not read by itself, because it is elsewhere.
    """

    source: Source
    version: Hashable
    figures: Callable[[str], Figures | None]
    want: Callable[[TensorInfo], object]
    about: str = ""
    summary_of: Callable[[str], Summary | None] | None = None
    fetching: Fetching | None = None

    def names(self) -> tuple[str, ...]:
        """The names of all tensors and gradients."""
        listing = self.source.listing
        return (*(info.name for info in listing.tensors), *(info.name for info in listing.gradients.values()))
