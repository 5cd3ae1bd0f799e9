"""Subjects: what a rule may look at, from one tensor that was read to all of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from tui_params.core.channels import Channels
from tui_params.core.figures import Figures
from tui_params.core.findings import Finding, Index, Severity
from tui_params.core.health.roles import Role
from tui_params.core.health.thresholds import Thresholds
from tui_params.core.kinds import kind_of
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo

_T = TypeVar("_T")


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

    def finding(self, severity: Severity, rule: str, evidence: str, indices: tuple[Index, ...] = ()) -> Finding:
        return Finding(severity, rule, self.info.name, evidence, indices)


class Sketch(msgspec.Struct, frozen=True, gc=False):
    """The few numbers of a tensor that a cross-check needs; small, because there may be 100,000 of them.

    ``fingerprint`` is the hash of all its figures: tensors with the same bytes, type and shape have the same one.
    ``alike`` are the rows of an embedding that may be equal (``core.channels``).
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
    alike: tuple[tuple[int, ...], ...] = ()

    @property
    def is_zero(self) -> bool:
        """Whether it has elements and all are zero."""
        return self.is_exact and self.count > 0 and self.zeros == self.count

    def finding(self, severity: Severity, rule: str, evidence: str) -> Finding:
        return Finding(severity, rule, self.info.name, evidence)


def sketch(subject: Subject) -> Sketch:
    """What is kept of a tensor after its own rules were applied."""
    f = subject.figures
    low, high, largest = f.min, f.max, f.abs_max
    alike = subject.channels.alike if subject.channels is not None and subject.role == "embedding" else ()
    return Sketch(
        subject.info, subject.role, f.count, f.zeros, low, high, f.std, f.rms, largest, f.is_exact, hash(f), alike
    )


class Checkpoint(msgspec.Struct, frozen=True, dict=True):
    """All tensors of one source after they were read, as a rule that cross-checks them sees them.

    ``sketches`` are of the tensors that could be read, one for each group of tied ones, in the order of the tree.
    ``infos`` are the tensors whose type and shape are known, read or not, again one for each group of tied ones. A
    rule that reads from ``source`` asks ``should_stop`` about every MB and raises StoppedError.
    """

    source: Source
    sketches: tuple[Sketch, ...]
    infos: tuple[TensorInfo, ...]
    thresholds: Thresholds
    should_stop: Callable[[], bool] | None = None

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the source says about itself: the step of a run, the settings of an optimizer."""
        return self.source.listing.metadata

    def once(self, make: Callable[[Checkpoint], _T]) -> _T:
        """What ``make`` returns, called once for all rules that need it."""
        made = self._made
        if make not in made:
            made[make] = make(self)
        found: _T = made[make]
        return found

    @cached_property
    def _made(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def sketches_by_kind(self) -> Mapping[str, Sequence[Sketch]]:
        """The sketches of each kind, ``layers.#.mlp.up_proj.weight``."""
        kinds: dict[str, list[Sketch]] = {}
        for sketch in self.sketches:
            kinds.setdefault(kind_of(sketch.info.name), []).append(sketch)
        return kinds

    @cached_property
    def infos_by_kind(self) -> Mapping[str, Sequence[TensorInfo]]:
        """The same of ``infos``."""
        kinds: dict[str, list[TensorInfo]] = {}
        for info in self.infos:
            kinds.setdefault(kind_of(info.name), []).append(info)
        return kinds
