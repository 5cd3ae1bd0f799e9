"""Tensors that one side lists and the other side may have as well: behind an entry or a file that could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tui_params.core.source import Listing

_CUT_SHORT = "walk-limit"
"""The rule of a finding that says that not everything in a file was listed."""


class HiddenNames:
    """Which names a source may have though it does not list them, each with the reason.

    ``below`` maps a name to the reason why it is not known what tensors are below it; the empty name is above all.
    ``entries`` are the entries of a listing of which not even the shape is known. Where anything may be missing, they
    are all that cannot be read: a file that ends in the description of a tensor may have cut its name.
    """

    def __init__(self, listing: Listing) -> None:
        self.entries = {
            info.name: info.unreadable or "" for info in listing.tensors if info.has_unknown_size and not info.tied_to
        }
        below = {name: f"{name}: {reason}" for name, reason in self.entries.items()}
        for item in listing.hidden:
            below.setdefault(item.below, item.reason)
        if listing.unlisted is not None:
            below.setdefault("", listing.unlisted)
        for finding in listing.findings:
            if finding.rule == _CUT_SHORT:
                below.setdefault("", finding.evidence)
        self.below: Mapping[str, str] = below
        if "" in below:
            self.entries |= {info.name: info.unreadable for info in listing.tensors if info.unreadable is not None}

    def why(self, *names: str) -> str | None:
        """Why a tensor of one of these names may be in the source unlisted, one sentence; None if it is not there."""
        if not self.below:
            return None
        return next((self.below[above] for name in names for above in _above(name) if above in self.below), None)


def _above(name: str) -> Iterator[str]:
    """A name and the names of the modules that it is in, the nearest first, and at last the empty name."""
    yield name
    while name:
        name = name.rpartition(".")[0]
        yield name
