"""Packed weights in the explorer: as what they mean, or as they are stored."""

from __future__ import annotations

from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.state.opened import Opened

_ALWAYS = "Weights in blocks are always shown as what they stand for."


def place_of(opened: Opened, name: str) -> str:
    """Where to go for a name that was, or will be, shown the other way: from codes to their weight and back."""
    from tui_params.core.packed.logical import LogicalSource

    sources = [opened.source] if opened.both is None else [opened.both.a, opened.both.b]
    found = [source.counterpart(name) for source in sources if isinstance(source, LogicalSource)]
    return next((each for each in found if each is not None), name)


def switch(session: Session, notice: Notice) -> bool:
    """Open the source again, packed weights as what they mean if they were as they are stored; False if none are."""
    if session.opened is None:
        return False
    from tui_params.core.stored_codes import may_be_packed

    is_logical = session.pending.is_logical
    listing = session.opened.source.listing
    if not is_logical and not may_be_packed(listing.tensors, listing.dequantized):
        is_restored = any(info.dtype.stored is not None for info in listing.tensors)
        notice.say(_ALWAYS if is_restored else "There are no packed weights here.")
        return False
    session.pending.is_logical = not is_logical
    session.open_again()
    return True
