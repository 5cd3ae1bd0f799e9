"""What the commands say at the end where a source is elsewhere: how much they fetched."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tui_params.cli.streams import losing_complaints
from tui_params.core.text import clean, size

if TYPE_CHECKING:
    from tui_params.core.source import Source


def say_fetched(*sources: Source) -> None:
    """One line on stderr for each server, if that is a terminal; nothing for sources on this machine."""
    if sys.stderr is None or not sys.stderr.isatty():
        return
    lines = {id(source.line): source.line for source in sources if source.line is not None}
    with losing_complaints():
        for line in lines.values():
            print(f"{size(line.traffic.nbytes)} fetched from {clean(line.address, 200)}", file=sys.stderr)
