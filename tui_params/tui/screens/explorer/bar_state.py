"""BarState: everything that the header and the status line of the explorer are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from tui_params.tui.state.sorting import SortChoice

if TYPE_CHECKING:
    from tui_params.core.health.checker import Report
    from tui_params.core.query.query import Query
    from tui_params.core.reading.scanner import Activity
    from tui_params.tui.desk.messages import SweepProgress
    from tui_params.tui.state.opened import Opened
    from tui_params.tui.state.searching import Found
    from tui_params.tui.terminal.glyphs import Glyphs

Focus = Literal["tree", "search", "slice", "values", "facts"]


class BarState(msgspec.Struct, frozen=True):
    """Everything that the header and the status line show, as it is at one moment."""

    glyphs: Glyphs
    label: str
    """What is being opened, for as long as ``opened`` is None."""
    opened: Opened | None = None
    stale: str | None = None
    """Why what is on screen is no longer what is there."""
    has_codes: bool = False
    """Whether some tensors are codes of packed weights, so that not every element is a parameter."""
    is_logical: bool = False
    """Whether packed weights are shown as what they mean, as far as that can be told."""
    has_unknown_sizes: bool = False
    """Whether the totals leave out tensors of unknown size (of a shard that is missing)."""

    sort: SortChoice = SortChoice("name")
    sort_read: tuple[int, int] | None = None
    """How many tensors were read when they were sorted, and how many there are; None if all were, or need not be."""

    compared: tuple[str, str, str] = ("", "", "")
    """Since when changes are shown, and how many there are, also in short; empty where nothing is compared."""

    activity: Activity | None = None
    sweep: SweepProgress | None = None
    verifying: SweepProgress | None = None
    """How far the comparison of the files with those of the hub is."""
    comparing: SweepProgress | None = None
    """How far the comparison with another source is."""
    is_cross_checking: bool = False
    report: Report | None = None
    errors: int = 0
    """Findings of severity error so far; counted only until there is a report."""

    query: Query | None = None
    found: Found | None = None
    is_searching: bool = False
    """Whether the search bar is open."""
    note_width: int = 0
    """Cells for the note in the search bar."""

    said: str = ""
    """Why the last key did nothing, or what it has done."""
    running: str = ""
    """What is being written, and how far it is."""
    focus: Focus = "tree"
    is_tensor: bool = False
    """Whether the cursor of the tree is on a tensor."""
    has_difference: bool = False
    """Whether that has a partner in the other source, so that there is a difference of their values."""
    has_tables: bool = False
    """Whether the values have more than one table to step through."""
    pulse: str = ""
    """How far a model has come that trains meanwhile."""
    fetched: tuple[str, str] = ("", "")
    """How much has come over the line of a source elsewhere, and how much comes in a second, while something does."""
    editing: str = ""
    """Whether values can be set, and how many edits are staged and made."""
    keys: Mapping[str, str] = {}
    """The keys that the user has changed, by id."""

    @property
    def is_editable(self) -> bool:
        return self.editing.startswith("editable")
