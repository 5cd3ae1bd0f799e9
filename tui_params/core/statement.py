"""Statement: what the JSON files beside one part of a source say, and which of its tensors they speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec


class Statement(msgspec.Struct, frozen=True):
    """What ``Listing.stated`` is, of the tensors that are called ``below``, or whose names begin with it and a dot.

    The files are in ``folder``, a path with a slash at the end, or empty. An empty ``below`` is all that no other has.
    """

    below: str
    folder: str
    stated: Mapping[str, str]

    def own(self, name: str) -> str:
        """The name of a tensor or a module as the files have it, which know nothing of what is before it."""
        return name.removeprefix(f"{self.below}.") if self.below else name


class Statements:
    """Those of one source, and which one is about a tensor. Nothing is stated of the states of a training run."""

    def __init__(self, stated: Mapping[str, str], below: Sequence[Statement], states: Sequence[str]) -> None:
        """``stated``, ``stated_below`` and ``states`` of a listing."""
        self._whole = Statement("", "", stated)
        known = {statement.below for statement in below}
        silent = (Statement(state, "", {}) for state in states if state not in known)
        self._parts = sorted((*below, *silent), key=lambda statement: -len(statement.below))
        self.all = (self._whole, *below)

    @property
    def is_one(self) -> bool:
        """Whether the same is about all tensors."""
        return not self._parts

    def about(self, name: str) -> Statement:
        """The statement about a tensor or a module of that name: that of the innermost part which has it."""
        for part in self._parts:
            below = part.below
            if name.startswith(below) and name[len(below) : len(below) + 1] in ("", "."):
                return part
        return self._whole
