"""Rule: what a health rule is: what it says, why, and the function that applies it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from tui_params.core.findings import Finding, Severity
from tui_params.core.health.sought import Sought
from tui_params.core.health.subjects import Checkpoint, Subject
from tui_params.core.health.thresholds import Thresholds
from tui_params.core.tensor import TensorInfo

Scope = Literal["tensor", "checkpoint", "container"]

Check = Callable[[Subject], Sequence[Finding]]
CrossCheck = Callable[[Checkpoint], Iterable[Finding]]
ByTensor = Mapping[str | None, tuple[Finding, ...]]
Gather = Callable[[ByTensor, Checkpoint], tuple[ByTensor, tuple[Finding, ...]]]
Seek = Callable[[Finding, TensorInfo, Thresholds], "Sought | None"]


class Rule(msgspec.Struct, frozen=True):
    """One health rule: what it says, why, and the one pure function that applies it.

    ``severities`` are those that it can say, the worst first. ``source`` is the paper, issue or library that it is
    based on. ``thresholds`` are the fields of Thresholds that it compares with. One of these applies it:

    * ``check`` looks at one tensor;
    * ``cross_check`` looks at all tensors of a source, after they were read;
    * ``gather`` comes last: it takes the findings of the others (by tensor) and returns those that remain, and one or
      more of its own that replace the rest;
    * none of them: the reader of the container applies it when the source is opened.

    ``seek`` tells which values a finding of ``check`` is about, if it is about single ones; their first places are
    looked up afterwards.
    """

    id: str
    title: str
    severities: tuple[Severity, ...]
    meaning: str
    source: str
    thresholds: tuple[str, ...] = ()
    check: Check | None = None
    cross_check: CrossCheck | None = None
    gather: Gather | None = None
    seek: Seek | None = None

    @property
    def scope(self) -> Scope:
        """What the rule looks at."""
        if self.check is not None:
            return "tensor"
        return "container" if self.cross_check is None and self.gather is None else "checkpoint"
