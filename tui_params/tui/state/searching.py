"""What a filter finds among the tensors read so far, in words that never call "not known yet" a "no match"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from tui_params.core import text
from tui_params.tui.state.changes import Changes
from tui_params.tui.state.coverage import Coverage
from tui_params.tui.state.marks import Marks
from tui_params.tui.state.opened import Opened
from tui_params.tui.state.sorting import FiguresOf

if TYPE_CHECKING:
    from tui_params.core.query.query import Query
    from tui_params.core.tensor import TensorInfo


class Found(msgspec.Struct, frozen=True):
    """The tensors that match, by index, of ``total``; and how many others may match.

    ``coming`` more are being read, and ``untold`` cannot be read. ``late`` says why more may match later: a check of
    everything may find more, and how to start it, or a comparison goes on or has nothing to compare with. ``types``
    lists the element types of the source, where the filter asks for another one.
    """

    indices: tuple[int, ...]
    total: int
    coming: int = 0
    untold: int = 0
    late: str = ""
    types: str = ""

    @property
    def in_place_of_rows(self) -> str:
        """The words in a tree without rows."""
        if self.coming:
            return f"no match so far: {text.plural(self.coming, 'tensor')} not read yet"
        if self.late:
            return f"no match so far: {self.late}"
        if self.untold:
            return f"no match, but {text.plural(self.untold, 'tensor')} cannot be read"
        return "no tensor matches"

    @property
    def note(self) -> str:
        """The words beside the filter while it is typed."""
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
        """The words in the status line while the filter is on."""
        words = f"{len(self.indices):,} match"
        if self.coming:
            return f"{words} so far, {self.coming:,} not read"
        if self.late:
            return f"{words} so far, {self.late}"
        return f"{words}, {self.untold:,} cannot tell" if self.untold else words


def look(
    query: Query,
    opened: Opened,
    figures_of: FiguresOf,
    marks: Marks,
    lost: Iterable[TensorInfo],
    coverage: Coverage,
    scan_key: str,
    changes: Changes | None = None,
) -> Found:
    """What a filter leaves of a source, as far as it has been read.

    ``lost`` are the tensors that could not be read; ``scan_key`` is the key that checks everything.
    """

    def said(name: str) -> frozenset[str] | None:
        """The rules and the severities of the findings about a tensor, and about the modules that begin with it.

        None where it has not been read.
        """
        rules = marks.rules(name)
        if rules is None:
            return None
        about = (*marks.findings(name), *marks.leading(opened.tree, name))
        return rules.union(*((finding.rule, finding.severity) for finding in about)) if about else rules

    matches = query.filter(
        opened.tensors,
        figures_of,
        lowered=opened.lowered.all,
        gradients=opened.source.listing.gradients,
        said_of=said,
        change_of=changes.of if changes is not None else None,
    )
    coming = 0
    if query.needs_figures:
        coming = max(0, matches.unknown - _undecided(query, opened, lost))
    types = ""
    if not matches.indices and "type:" in query.text:
        types = text.dtype_mix(dict(opened.tree.totals().nbytes_by_dtype), 4)
    late = ""
    if query.needs_check and not coverage.is_checked:
        late = "still checking" if coverage.is_sweeping else f"{scan_key} may find more"
    if query.needs_changes:
        since = changes.since if changes is not None else ""
        late = "no earlier look" if not since else late if changes is None or changes.is_whole else "still comparing"
        late = "the comparison was stopped" if changes is not None and changes.is_stopped else late
    return Found(matches.indices, len(opened.tensors), coming, matches.unknown - coming, late, types)


def _undecided(query: Query, opened: Opened, lost: Iterable[TensorInfo]) -> int:
    """How many tensors a filter cannot decide about because they, or the gradients that it asks for, cannot be read."""
    names = set()
    for info in lost:
        node = opened.tree.find(info.name.removesuffix(".grad")) if info.kind == "gradient" else None
        of = opened.tree.tensor(node) if node is not None else info
        if of is None or (info.kind == "gradient" and not query.needs_gradients):
            continue
        has_gradient = of.name in opened.source.listing.gradients
        if query.match(of, has_gradient=has_gradient) is None:
            names.add(of.name)
    return len(names)


def note_of(query: Query | None, found: Found | None, room: int) -> tuple[str, Sequence[tuple[int, int]]]:
    """The words beside the filter, in ``room`` cells, and which parts of the filter are wrong."""
    error = query.errors[0] if query is not None and query.errors else None
    if query is None or error is None:
        return (found.note if found is not None else ""), ()
    if error.is_unfinished:
        return error.message, ()
    # A longer sentence is shown whole in the status line.
    words = error.message if len(error.message) <= room else error.message.partition(";")[0]
    return words, [(error.start, error.stop) for error in query.errors]


def fault_of(query: Query | None, room: int) -> str:
    """What is wrong with a filter, in a whole sentence, if that does not fit beside it; else nothing."""
    error = query.errors[0] if query is not None and query.errors else None
    return error.message if error is not None and not error.is_unfinished and len(error.message) > room else ""
