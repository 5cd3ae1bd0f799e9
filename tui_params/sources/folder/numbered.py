"""One file of a numbered set that is opened by itself: that there are others."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tui_params.core.source import Source
from tui_params.sources.bytes import far
from tui_params.sources.bytes.files import is_there
from tui_params.sources.folder.side_models import NUMBERED

KEY = "folder.part"

_MOST = 1000


def tell_others(source: Source, path: Path) -> None:
    """Say of a source that is one file of several, such as ``m-00001-of-00003.gguf``, that the others are not open.

    Those that lie beside it are named; far away they are not looked for, which would take a question for each.
    """
    match = NUMBERED.match(path.name)
    if match is None or int(match[3]) < 2:
        return
    stem, number, total, suffix = match.groups()
    names = [f"{stem}-{each:0{len(number)}}-of-{total}{suffix}" for each in range(min(int(total), _MOST) + 1)]
    there = () if far.is_far(path) else tuple(n for n in names if n != path.name and is_there(path.with_name(n)))
    part = f"file {int(number):,} of {int(total):,}"
    said = f"{part}, as its name says: the others were not opened (open the folder)"
    listing = source.listing
    source.listing = msgspec.structs.replace(
        listing,
        format=f"{listing.format}, {part}",
        metadata={**listing.metadata, KEY: said},
        not_opened=(*listing.not_opened, *there),
    )
