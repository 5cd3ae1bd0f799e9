"""Rule: what a health rule is, and what it is given to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from tui_params.core.channels import Channels
from tui_params.core.figures import Figures
from tui_params.core.findings import Finding, Severity
from tui_params.core.health.roles import Role
from tui_params.core.health.thresholds import Thresholds
from tui_params.core.tensor import TensorInfo

Scope = Literal["tensor", "checkpoint"]


class Subject(msgspec.Struct, frozen=True, gc=False):
    """One tensor that was read, as a rule sees it. ``channels`` is None where rows and columns mean nothing."""

    info: TensorInfo
    figures: Figures
    channels: Channels | None
    thresholds: Thresholds
    role: Role
    is_matrix: bool

    @property
    def total(self) -> int:
        """The elements of the whole tensor; the parts of complex numbers are two."""
        return self.figures.numel * self.figures.parts

    def finding(
        self, severity: Severity, rule: str, evidence: str, indices: tuple[tuple[int, ...], ...] = ()
    ) -> Finding:
        return Finding(severity, rule, self.info.name, evidence, indices)


class Sketch(msgspec.Struct, frozen=True, gc=False):
    """The few numbers of a tensor that comparing it with others needs; small, for there may be 100,000 of them.

    ``fingerprint`` is the hash of all its figures: equal bytes of one type and shape have equal ones.
    """

    info: TensorInfo
    role: Role
    count: int
    zeros: int
    min: float | int | None
    max: float | int | None
    std: float | None
    rms: float | None
    abs_max: float | int | None
    is_exact: bool
    fingerprint: int

    @property
    def is_zero(self) -> bool:
        """Whether it has elements and all are zero."""
        return self.is_exact and self.count > 0 and self.zeros == self.count

    def finding(self, severity: Severity, rule: str, evidence: str) -> Finding:
        return Finding(severity, rule, self.info.name, evidence)


def sketch(subject: Subject) -> Sketch:
    """What is kept of a tensor when its own rules have spoken."""
    f = subject.figures
    low, high, largest = f.min, f.max, f.abs_max
    return Sketch(subject.info, subject.role, f.count, f.zeros, low, high, f.std, f.rms, largest, f.is_exact, hash(f))


Check = Callable[[Subject], Sequence[Finding]]


class Rule(msgspec.Struct, frozen=True):
    """One health rule.

    ``severities`` are those that it can say, the worst first. ``source`` is the paper, issue or library that it
    stands on. ``thresholds`` are fields of Thresholds. ``check`` looks at one tensor; it is None for the rules that
    compare tensors with each other (scope ``checkpoint``), which run when all have been read.
    """

    id: str
    title: str
    severities: tuple[Severity, ...]
    meaning: str
    source: str
    thresholds: tuple[str, ...] = ()
    check: Check | None = None

    @property
    def scope(self) -> Scope:
        return "checkpoint" if self.check is None else "tensor"
