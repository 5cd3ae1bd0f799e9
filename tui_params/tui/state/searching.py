"""What a filter finds among what has been read so far, and the words for it: what is not known is never "no match"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tui_params.core import text

if TYPE_CHECKING:
    from tui_params.core.query.query import Query
    from tui_params.tui.desk.desk import Desk
    from tui_params.tui.pages import Pages
    from tui_params.tui.state.opened import Opened


class Found(msgspec.Struct, frozen=True):
    """The tensors that match, by index, of so many; and how many others may match.

    ``coming`` are being read; of those ``untold`` it will not be known. ``late`` says who may find more when all that
    was asked for has been read: the check of everything. ``types`` are the element types that there are, where the
    filter asks for one that is not among them.
    """

    indices: tuple[int, ...]
    total: int
    coming: int = 0
    untold: int = 0
    late: str = ""
    types: str = ""

    @property
    def in_place_of_rows(self) -> str:
        """What stands in an empty tree."""
        if self.coming:
            return f"no match so far: {text.plural(self.coming, 'tensor')} not read yet"
        if self.late:
            return f"no match so far: {self.late}"
        if self.untold:
            return f"no match, but {text.plural(self.untold, 'tensor')} cannot be read"
        return "no tensor matches"

    @property
    def note(self) -> str:
        """What stands beside the text while it is typed."""
        count = len(self.indices)
        words = f"{count:,} of {self.total:,}"
        if self.coming:
            return f"{words}, {self.coming:,} not read yet"
        if self.late:
            return f"{words}, {self.late}"
        if self.untold:
            return f"{words}, {self.untold:,} cannot tell"
        return f"none; types: {self.types}" if not count and self.types else words

    @property
    def summary(self) -> str:
        """What stands in the status line while the filter is on."""
        words = f"{len(self.indices):,} match"
        if self.coming:
            return f"{words} so far, {self.coming:,} not read"
        if self.late:
            return f"{words} so far, {self.late}"
        return f"{words}, {self.untold:,} cannot tell" if self.untold else words


def look(query: Query, opened: Opened, pages: Pages | None, desk: Desk, scan_key: str) -> Found:
    """What a filter leaves of a source, as far as it has been read; ``scan_key`` is the one that checks everything."""

    def said(name: str) -> frozenset[str] | None:
        """The rules and the severities of the findings about a tensor; None where it has not been read."""
        rules = pages.troubles.rules(name) if pages is not None else None
        if not rules or pages is None:
            return rules
        return rules.union(finding.severity for finding in pages.troubles.findings(name))

    matches = query.filter(
        opened.tensors,
        desk.figures,
        lowered=opened.lowered,
        gradients=opened.source.listing.gradients,
        said_of=said,
    )
    reasons = pages.reasons if pages is not None and query.needs_figures else {}
    lost = 0
    for info in map(pages.find, reasons) if pages is not None else ():
        lost += info is not None and query.match(info) is None
    coming = max(0, matches.unknown - lost) if query.needs_figures else 0
    types = ""
    if not matches.indices and "type:" in query.text:
        types = text.dtype_mix(dict(opened.tree.totals().nbytes_by_dtype), 4)
    late = ""
    if query.needs_check and (pages is None or pages.report is None):
        late = "still checking" if desk.is_sweeping else f"{scan_key} may find more"
    return Found(matches.indices, len(opened.tensors), coming, matches.unknown - coming, late, types)


def note_of(query: Query | None, found: Found | None, room: int) -> tuple[str, Sequence[tuple[int, int]]]:
    """What is said beside the filter, in ``room`` cells, and which parts of it are wrong."""
    error = query.errors[0] if query is not None and query.errors else None
    if query is None or error is None:
        return (found.note if found is not None else ""), ()
    if error.is_unfinished:
        return error.message, ()
    # What is longer stands whole in the status line.
    words = error.message if len(error.message) <= room else error.message.partition(";")[0]
    return words, [(error.start, error.stop) for error in query.errors]


def fault_of(query: Query | None, room: int) -> str:
    """The whole sentence of what is wrong with a filter, where it does not fit beside it."""
    error = query.errors[0] if query is not None and query.errors else None
    return error.message if error is not None and not error.is_unfinished and len(error.message) > room else ""
