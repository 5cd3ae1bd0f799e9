"""The check of a whole source: reads everything, applies every rule, and calls nothing healthy that was not read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Literal

import msgspec

from tui_params.core.findings import Finding, Severity
from tui_params.core.health.empty import nothing_checked, placeholder
from tui_params.core.health.places import Searches, locate
from tui_params.core.health.registry import SEVERITIES, check_tensor, cross_check, gather, subject_of
from tui_params.core.health.subjects import Checkpoint, Sketch, sketch
from tui_params.core.health.thresholds import DEFAULT, Thresholds
from tui_params.core.health.verification import Verification, VerifiedFile
from tui_params.core.packed import is_untold
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.tree import tensors_in_order
from tui_params.errors import UnknownTensorError

if TYPE_CHECKING:
    from tui_params.core.reading.outcome import Outcome
    from tui_params.core.reading.sweep import ScanProgress
    from tui_params.core.team import Team

Status = Literal["ok", "findings", "unchecked"]


_WORTH_TELLING = 64 << 20
"""A second reading of more bytes than this shows its progress."""


class Unchecked(msgspec.Struct, frozen=True, gc=False):
    """What could not be checked, and why (one sentence).

    ``file`` is set for a file of which not even the tensors are known (``Listing.hidden``); if that and ``tensor``
    are None, it is the source as a whole.
    """

    tensor: str | None
    reason: str
    file: str | None = None


class Report(msgspec.Struct, frozen=True):
    """What a check found.

    ``status``: ``findings`` if there is an error or a warning; else ``unchecked`` if anything could not be read, or if
    there was no element to check; else ``ok``. ``checked`` counts the tensors that were read completely, and ``empty``
    those among them that have no element. ``findings`` are sorted: the worst first, then
    those about files, then in the order of the tree; a finding about tied tensors names the first of them.
    ``states`` has the tensors that are not ok, by name; ``names`` has all names. ``not_opened`` are files beside the
    source that were not opened (``Listing.not_opened``): nothing is known about them, and ``status`` ignores them.
    ``gradients`` counts the gradients among the ``checked``, which no listing counts as tensors.
    ``as_codes`` counts the packed weights among the ``checked`` that could not be restored: their codes were checked.
    ``files`` are those that were compared with the hub's digests, if that was asked for; then ``status`` is ``ok`` only
    if each of them is verified.
    """

    status: Status
    checked: int
    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]
    states: Mapping[str, Status] = {}
    names: frozenset[str] = frozenset()
    not_opened: tuple[str, ...] = ()
    empty: int = 0
    files: tuple[VerifiedFile, ...] = ()
    gradients: int = 0
    as_codes: int = 0

    @property
    def has_nothing(self) -> bool:
        """Whether there was no element to check, and nothing that could have one was passed over."""
        return self.checked == self.empty == len(self.names) and not any(
            entry.tensor is not None or entry.file is not None for entry in self.unchecked
        )

    def count(self, severity: Severity) -> int:
        """How many findings have a severity; they are not looked through, being sorted by it."""
        ranks = [SEVERITIES.index(severity) + more for more in (0, 1)]
        first, stop = (bisect_left(self.findings, rank, key=_rank) for rank in ranks)
        return stop - first

    @property
    def unverified(self) -> int:
        """How many files are neither those of the hub nor others, as far as is known."""
        return sum(file.state == "unverified" for file in self.files)

    def with_verification(self, verification: Verification) -> Report:
        """The same report with what came of comparing the files with those of the hub."""
        findings = (*self.findings, *verification.findings)
        # The sort is stable, and what is about the source as a whole stands before what is about a tensor.
        ordered = sorted(findings, key=lambda found: (SEVERITIES.index(found.severity), found.tensor is not None))
        status: Status = "unchecked" if self.unchecked or verification.unverified else "ok"
        if any(finding.severity != "info" for finding in findings):
            status = "findings"
        return msgspec.structs.replace(self, status=status, findings=tuple(ordered), files=verification.files)

    def state(self, name: str) -> Status:
        """Whether a tensor is ok, has findings (any severity), or could not be checked. Raises UnknownTensorError."""
        if name not in self.names:
            raise UnknownTensorError(f"there was no tensor named {name!r} to check")
        return self.states.get(name, "ok")


class Checker:
    """A check under way: it takes the outcomes of a scan, in any order, and returns the findings about each at once.

    It may be used by one thread at a time. ``take`` reads nothing; ``finish`` does.
    """

    def __init__(self, source: Source, thresholds: Thresholds = DEFAULT) -> None:
        self._source = source
        self._thresholds = thresholds
        self._infos = {info.name: info for info in tensors_in_order(source.listing)}
        self._infos |= {info.name: info for info in source.listing.gradients.values()}
        self._places = {name: place for place, name in enumerate(self._infos)}
        self._names = frozenset(self._infos)
        self._findings: dict[str | None, tuple[Finding, ...]] = {}
        for finding in source.listing.findings:
            self._add((finding,))
        self._sketches: dict[str, Sketch] = {}
        self._unchecked: dict[str | None, str] = {}
        if source.listing.unlisted is not None:
            self._unchecked[None] = source.listing.unlisted
        self._checked: set[str] = set()
        self._empty = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor that must be read, in the order of the tree, then the gradients."""
        return tuple(self._infos)

    def take(self, outcome: Outcome) -> tuple[Finding, ...]:
        """The findings about one tensor; none if the outcome is of a sample, because the final one will follow."""
        info = self._infos.get(outcome.name)
        if not outcome.is_final or info is None or outcome.name in self._checked:
            return ()
        if outcome.figures is None or not outcome.figures.is_exact:
            self._unchecked[outcome.name] = outcome.reason or "it was not read whole"
            return ()
        if not info.numel:
            reason = placeholder(info, self._source.listing.metadata)
            if reason is not None:
                self._unchecked[outcome.name] = reason
                return ()
            self._empty += 1
        self._unchecked.pop(outcome.name, None)
        self._checked.add(outcome.name)
        first = self._infos[self._first_of(info)]
        if first.name in self._sketches:
            return ()
        subject = subject_of(first, outcome.figures, outcome.channels, self._thresholds)
        self._sketches[first.name] = sketch(subject)
        found = check_tensor(subject)
        self._add(found)
        return found

    def drop(self, outcome: Outcome) -> None:
        """Count a tensor as unchecked that was taken, for the reason of the outcome: a rule could not judge it."""
        self._checked.discard(outcome.name)
        self._unchecked[outcome.name] = outcome.reason or "it was not checked"

    def finish(self, should_stop: Callable[[], bool] | None = None) -> tuple[Finding, ...]:
        """Cross-check all tensors and return the findings; also look up the first places of single values, by reading.

        Tensors without an outcome are unchecked. Raises StoppedError.
        """
        for name in self._infos:
            if name not in self._checked:
                self._unchecked.setdefault(name, "it was not read")
        searches = Searches(self._source, self._infos.values())
        for tensor, findings in self._findings.items():
            if tensor in self._sketches:
                self._findings[tensor] = locate(
                    self._source, self._infos[tensor], findings, should_stop, self._thresholds, searches
                )
        checkpoint = Checkpoint(
            self._source,
            tuple([self._sketches[name] for name in self._infos if name in self._sketches]),
            # The type and the shape of a damaged or missing tensor may be unknown.
            tuple([info for info in self._infos.values() if info.tied_to is None and info.unreadable is None]),
            self._thresholds,
            should_stop,
        )
        found = tuple(cross_check(checkpoint))
        self._add(found)
        remaining, gathered = gather(self._findings, checkpoint)
        self._findings = dict(remaining)
        self._add(gathered)
        changed = self._source.changed()
        if changed is not None:
            self._unchecked[None] = changed
        elif not self._unchecked and self._empty == len(self._infos):
            self._unchecked[None] = nothing_checked(len(self._infos))
        return (*found, *gathered)

    def add(self, findings: Iterable[Finding], unchecked: str | None = None) -> None:
        """Add findings from elsewhere and, if the source as a whole could not be checked, the reason."""
        self._add(findings)
        if unchecked is not None:
            self._unchecked.setdefault(None, unchecked)

    def report(self) -> Report:
        """Everything that is known so far, as one frozen value."""
        findings = sorted(chain.from_iterable(self._findings.values()), key=self._order)
        states: dict[str, Status] = {}
        for name, info in self._infos.items():
            if name in self._unchecked:
                states[name] = "unchecked"
            elif self._first_of(info) in self._findings:
                states[name] = "findings"
        unchecked = [Unchecked(name, reason) for name, reason in self._unchecked.items()]
        unchecked += [Unchecked(None, item.reason, item.file) for item in self._source.listing.hidden]
        unchecked.sort(key=lambda entry: -1 if entry.tensor is None else self._places.get(entry.tensor, -1))
        status: Status = "unchecked" if unchecked else "ok"
        if any(finding.severity != "info" for finding in findings):
            status = "findings"
        return Report(
            status,
            len(self._checked),
            tuple(findings),
            tuple(unchecked),
            states,
            self._names,
            self._source.listing.not_opened,
            self._empty,
            gradients=sum(info.name in self._checked for info in self._source.listing.gradients.values()),
            as_codes=sum(is_untold(self._infos[name]) for name in self._checked),
        )

    @cached_property
    def _module_places(self) -> dict[str, int]:
        """The place of the first tensor below each module."""
        places: dict[str, int] = {}
        for name, place in self._places.items():
            path = name.rpartition(".")[0]
            while path and path not in places:
                places[path] = place
                path = path.rpartition(".")[0]
        return places

    def _first_of(self, info: TensorInfo) -> str:
        """The name that findings about the elements of a tensor go to: the first of tied ones that can be read."""
        first = self._infos.get(info.first_name)
        if first is None or first.dtype != info.dtype or first.unreadable is not None:
            return info.name
        return first.name

    def _add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._findings[finding.tensor] = (*self._findings.get(finding.tensor, ()), finding)

    def _order(self, finding: Finding) -> tuple[int, int]:
        place = -1
        if finding.tensor is not None:
            place = self._places.get(finding.tensor, len(self._places))
        elif finding.module is not None:
            place = self._module_places.get(finding.module, -1)
        return SEVERITIES.index(finding.severity), place


def check(
    source: Source,
    *,
    thresholds: Thresholds = DEFAULT,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[ScanProgress], None] | None = None,
    threads: int | None = None,
    verify: bool = False,
    listen: Callable[[Outcome], None] | None = None,
    team: Team | None = None,
) -> Report:
    """Read every tensor of ``source``, gradients too, and apply every rule. Raises StoppedError.

    Checksums that the container has are verified on the way. With ``verify``, the files are compared with the digests
    that the hub gives them, by the same read: then one thread reads each file, so that the bytes come in order.
    ``should_stop`` is called about every MB; ``progress`` gets how far the scan is, ``listen`` what came of a tensor.
    The tensors are read together with the ``team``, to the same report; raises what that does.
    """
    from tui_params.core.health.checksums import watched
    from tui_params.core.health.digests import HashedSource
    from tui_params.core.reading.sweep import ScanProgress, scan_all, to_read

    checker = Checker(source, thresholds)
    watching = watched(source)
    shared = watching or source
    measuring = team.measure(shared, to_read(shared, checker.names), has_channels=True) if team is not None else None

    def deliver(outcome: Outcome) -> None:
        checker.take(outcome)
        if listen is not None:
            listen(outcome)

    def show(found: ScanProgress) -> None:
        assert progress is not None
        done = found.done_bytes if team is None else max(found.done_bytes, team.done_nbytes)
        progress(ScanProgress(min(done, found.total_bytes), found.total_bytes))

    def tell(done: int, total: int) -> None:
        if progress is not None and total > _WORTH_TELLING:
            progress(ScanProgress(done, total))

    hashing = HashedSource(watching or source, should_stop) if verify else None
    try:
        scan_all(
            hashing or watching or source,
            checker.names,
            deliver,
            should_stop=should_stop,
            progress=None if progress is None else show,
            threads=1 if verify else threads,
            measuring=measuring,
        )
        if team is not None:
            team.collect(shared)
        checker.finish(should_stop)
        if watching is not None:
            verified = watching.verify(should_stop, tell)
            checker.add(verified.findings, verified.unread)
        report = checker.report()
        return report if hashing is None else report.with_verification(hashing.verify(tell))
    finally:
        if hashing is not None:
            hashing.release()


def _rank(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity)
