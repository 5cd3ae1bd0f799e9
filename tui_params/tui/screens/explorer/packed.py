"""Packed weights in the explorer: as what they mean, or as they are stored."""

from __future__ import annotations

from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.session import Session

_ALWAYS = "Weights in blocks are always shown as what they stand for."


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
