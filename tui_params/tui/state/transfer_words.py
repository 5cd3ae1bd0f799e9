"""What is asked before much is fetched from elsewhere, in one sentence."""

from __future__ import annotations

import msgspec

from tui_params.core import text


class Amount(msgspec.Struct, frozen=True, gc=False):
    """Bytes that would come over the line; with ``is_most`` perhaps fewer."""

    nbytes: int
    is_most: bool = False


def question(key: str, does: str, amount: Amount, address: str, leave: str, room: int) -> str:
    """What a key would fetch, and how to start or to leave it; the address is left out where there is no room."""
    ends = f": {key} again to start, {leave} to leave it"
    begins = f"{key} {does} {'up to ' if amount.is_most else ''}{text.size(amount.nbytes)}"
    whole = f"{begins} from {text.clean(address, 200)}{ends}"
    return whole if len(whole) <= room else f"{begins} over the line{ends}"
