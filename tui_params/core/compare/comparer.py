"""Compares two sources: first names, shapes and element types, for which no value is read; then values.

Bytes are compared before anything is computed: tensors with the same bytes are identical, and only blocks that differ
are turned into numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tui_params.core.compare.adapted import Adapted
from tui_params.core.compare.doubt import doubt_of
from tui_params.core.compare.elsewhere import SUGGESTED, Elsewhere, with_untried
from tui_params.core.compare.packed import PackedWeights
from tui_params.core.compare.renames import Collision, Rename, Side, renamed
from tui_params.core.compare.same_files import are_same_files
from tui_params.core.compare.structure import Implied, Pair, Structure, structure
from tui_params.core.compare.suggestions import Suggestion
from tui_params.core.compare.unmatched import why_nothing
from tui_params.core.compare.verdict import EXACT, Change, Progress, Tolerance, Uncompared, Verdict, make_change, unread
from tui_params.core.findings import Finding
from tui_params.core.reading.overlaps import Overlaps
from tui_params.core.reading.sweep import plan
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from tui_params.core.compare.checksums import Checksums
    from tui_params.core.team import Team


class Comparison(msgspec.Struct, frozen=True):
    """Everything that differs between A and B, and everything that does not, in the order of A.

    ``changed`` has every tensor with another shape or element type, or with values beyond the tolerance. ``equal``
    has those whose bytes differ but whose values do not; with ``ignore_dtype`` also if their element types differ.
    ``implied`` are tensors that only one side has, but that are no difference. ``identical_counts`` has the number
    of elements of each identical tensor; complex elements count twice, as in ``Difference.count``. ``unmatched``
    says why no tensor has a partner, if none has. ``collisions`` are the tensors that a rename left without a name,
    ``unused`` the renames that changed none. ``elsewhere`` has the tensors whose values are on the other side under
    another name, in another layout or as a part; they are also in ``only_in_a``, ``only_in_b`` or ``changed``.
    ``findings_a`` and ``findings_b`` are what the readers say about the files of each side, and the checksums that
    do not match equal bytes; ``unverified`` is why one could not be verified. With ``is_same_files`` both sides are the
    same files, perhaps by a link. ``adapted`` are the weights of one side, if the other is an adapter.
    """

    a: str
    b: str
    rtol: float
    atol: float
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    implied: tuple[Implied, ...]
    identical: tuple[str, ...]
    equal: tuple[Change, ...]
    changed: tuple[Change, ...]
    uncompared: tuple[Uncompared, ...]
    applied: tuple[Rename, ...]
    suggested: tuple[Suggestion, ...]
    ignore_dtype: bool = False
    identical_counts: Mapping[str, int] = {}
    unmatched: str | None = None
    elsewhere: Elsewhere = Elsewhere()
    findings_a: tuple[Finding, ...] = ()
    findings_b: tuple[Finding, ...] = ()
    unverified: str | None = None
    collisions: tuple[Collision, ...] = ()
    unused: tuple[Rename, ...] = ()
    is_same_files: bool = False
    adapted: tuple[Adapted, ...] = ()

    @property
    def state(self) -> Literal["same", "different", "uncompared"]:
        """The result in one word.

        "uncompared" if no difference was found but something, or all, was not compared, or if a side is in doubt.
        """
        if self.only_in_a or self.only_in_b or self.changed:
            return "different"
        is_whole = not self.uncompared and self.reason is None and self.doubt is None
        return "same" if is_whole else "uncompared"

    @property
    def doubt(self) -> str | None:
        """One sentence if a side is damaged or not whole, so that equal tensors do not make both the same."""
        return doubt_of(self.findings_a, self.findings_b) or self.unverified

    @property
    def empty(self) -> tuple[str, ...]:
        """The tensors that are equal because they have no element on either side."""
        equal = tuple(change.name for change in self.equal if change.difference and not change.difference.count)
        return tuple(name for name in self.identical if self.identical_counts.get(name) == 0) + equal

    @property
    def reason(self) -> str | None:
        """Why no value was compared, one sentence; None if one was, or if tensors have reasons of their own."""
        if self.unmatched is not None or self.changed or self.uncompared:
            return self.unmatched
        same, empty = len(self.identical) + len(self.equal), len(self.empty)
        if not same:
            return "no tensor was compared"
        which = "the one common tensor has" if same == 1 else f"all {same:,} common tensors have"
        return f"{which} no element" if same == empty else None


class Comparer:
    """The comparison of two sources, one tensor after another.

    ``structure`` is known at once. ``run`` reads the values and may be called again, for all names or for some. Memory
    is bounded whatever the size of the tensors: about 10 MB for each thread.
    """

    def __init__(
        self,
        a: Source,
        b: Source,
        tolerance: Tolerance = EXACT,
        *,
        renames: Iterable[str | Rename] = (),
        auto_rename: bool = False,
    ) -> None:
        """Match the names of both sources. Raises ValueError for a text that is not a rename."""
        self.a, self.b = a, b
        self.tolerance = tolerance
        self.structure: Structure = structure(a, b, renames=renames, auto_rename=auto_rename)
        self._checksums: Checksums | None = None

    def run(
        self,
        deliver: Callable[[Verdict], None],
        *,
        names: Iterable[str] | None = None,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[Progress], None] | None = None,
        threads: int | None = None,
        team: Team | None = None,
    ) -> None:
        """Compare the tensors that both sources have, and deliver a Verdict on each.

        ``names`` (as A has them) selects some of them. All callbacks are called on the caller's thread: ``deliver``
        once for each tensor as soon as it is done, ``progress`` and ``should_stop`` several times a second. The
        values are read together with the ``team``. Raises StoppedError, and what the team does.
        """
        # Imports numpy, which the structure alone does not need.
        from tui_params.core.compare.lockstep import Job, compare_values

        checksums = self._open_checksums()
        wanted = None if names is None else set(names)
        pairs = [pair for pair in self.structure.pairs if wanted is None or pair.name in wanted]
        of_a = Overlaps(self.a, plan(pair.a for pair in pairs), are_ties_read=True)
        of_b = Overlaps(self.b, plan(pair.b for pair in pairs), are_ties_read=True)
        jobs: dict[tuple[Any, ...], Job] = {}
        settled: list[Verdict] = []
        packed = PackedWeights(self.a), PackedWeights(self.b)
        for pair in pairs:
            verdict = _at_once(pair, self.tolerance)
            if verdict is not None:
                settled.append(_unpacked(verdict, pair, *packed))
                continue
            # Elements that are the same on both sides are read once.
            key = (*_identity(pair.a, of_a), *_identity(pair.b, of_b))
            job = jobs.get(key)
            if job is not None:
                job.pairs.append(pair)
                continue
            refusal = _refusal(pair, of_a, of_b)
            if refusal is None:
                jobs[key] = Job(pair.a, pair.b, [pair])
            else:
                settled.append(unread(pair, refusal, self.tolerance))
        for verdict in settled:
            deliver(verdict)
        compare_values(
            checksums.a,
            checksums.b,
            list(jobs.values()),
            self.tolerance,
            deliver,
            settled=len(settled),
            should_stop=should_stop,
            progress=progress,
            threads=threads,
            team=team,
        )
        if team is not None:
            team.collect(checksums.a, checksums.b)

    def find_elsewhere(
        self, verdicts: Iterable[Verdict], *, should_stop: Callable[[], bool] | None = None
    ) -> Elsewhere:
        """The tensors without the same values under the same name whose values the other side has elsewhere.

        ``verdicts`` are those that ``run`` delivered. Reads what it needs on the caller's thread. Raises StoppedError.
        """
        laid = self.structure
        rearranged = {verdict.name for verdict in verdicts if verdict.norms_agree}
        pairs = [
            pair
            for pair in laid.pairs
            if not (pair.a.unreadable or pair.b.unreadable) and (not pair.has_same_shape or pair.name in rearranged)
        ]
        alone = set(laid.only_in_a), set(laid.only_in_b)
        only_a = {info.name: info for info in self.a.listing.tensors if info.name in alone[0]}
        only_b = {info.name: info for info in self.b.listing.tensors if info.name in alone[1]}
        matched = 0
        if laid.suggested:
            # A rename that is suggested says more, and the comparison after it reads all values.
            renames = (*laid.applied, *laid.suggested[0].renames)
            called_a, called_b = renamed(only_a, renames, "a").called, renamed(only_b, renames, "b").called
            for called in called_a.keys() & called_b.keys():
                if only_a[called_a[called]].shape == only_b[called_b[called]].shape:
                    del only_a[called_a[called]], only_b[called_b[called]]
                    matched += 2
        if not pairs and not (only_a and only_b):
            return with_untried(Elsewhere(), SUGGESTED, matched)
        # Imports numpy and hashlib, of which most comparisons need nothing more here.
        from tui_params.core.compare.search import find_elsewhere

        found = find_elsewhere(
            self.a,
            self.b,
            pairs,
            tuple(only_a.values()),
            tuple(only_b.values()),
            should_stop,
        )
        return with_untried(found, SUGGESTED, matched)

    def find_tied_heads(self, *, should_stop: Callable[[], bool] | None = None) -> tuple[Implied, ...]:
        """The output heads that only one side stores, and that are no difference. Raises StoppedError."""
        laid = self.structure
        sides: tuple[tuple[Side, Source, Source, tuple[str, ...]], ...] = (
            ("a", self.a, self.b, laid.only_in_a),
            ("b", self.b, self.a, laid.only_in_b),
        )
        wanted = [side for side in sides if side[3] and "config.tie_word_embeddings" in side[2].listing.stated]
        if not wanted:
            return ()
        # Imports numpy.
        from tui_params.core.compare.tied_heads import find_tied_head

        found = (find_tied_head(*side, should_stop) for side in wanted)
        return tuple(implied for implied in found if implied is not None)

    def verify(self, verdicts: Iterable[Verdict], should_stop: Callable[[], bool] | None = None) -> None:
        """Verify the checksums that the containers keep, as far as they bear on these verdicts. Raises StoppedError."""
        identical = {verdict.name for verdict in verdicts if verdict.state == "identical"}
        self._open_checksums().verify(identical, should_stop)

    def _open_checksums(self) -> Checksums:
        if self._checksums is None:
            from tui_params.core.compare.checksums import Checksums

            self._checksums = Checksums(self.a, self.b, self.structure.pairs)
        return self._checksums

    def comparison(
        self,
        verdicts: Iterable[Verdict],
        elsewhere: Elsewhere | None = None,
        tied: tuple[Implied, ...] = (),
        adapted: tuple[Adapted, ...] = (),
    ) -> Comparison:
        """The structure and the verdicts so far as one value, in the order of A.

        ``elsewhere`` is what ``find_elsewhere`` found, ``tied`` what ``find_tied_heads`` did, ``adapted`` what
        ``across.find_adapted`` did.
        """
        by_name = {verdict.name: verdict for verdict in verdicts}
        ordered = [by_name[pair.name] for pair in self.structure.pairs if pair.name in by_name]
        laid, checksums = self.structure, self._checksums
        spared = {(item.side, item.name) for item in tied}
        return Comparison(
            self.a.label,
            self.b.label,
            self.tolerance.rtol,
            self.tolerance.atol,
            tuple(name for name in laid.only_in_a if ("a", name) not in spared),
            tuple(name for name in laid.only_in_b if ("b", name) not in spared),
            (*laid.implied, *tied),
            tuple(verdict.name for verdict in ordered if verdict.state == "identical"),
            tuple(verdict.change for verdict in ordered if verdict.state == "equal" and verdict.change is not None),
            tuple(verdict.change for verdict in ordered if verdict.state == "changed" and verdict.change is not None),
            tuple(
                Uncompared(verdict.name, verdict.reason or "") for verdict in ordered if verdict.state == "uncompared"
            )
            + tuple(Uncompared(item.name, item.reason, item.side) for item in laid.unread),
            laid.applied,
            laid.suggested,
            self.tolerance.ignore_dtype,
            {
                pair.name: pair.a.numel * (2 if pair.a.dtype.is_complex else 1)
                for pair in laid.pairs
                if pair.name in by_name and by_name[pair.name].state == "identical"
            },
            why_nothing(laid, self.a.listing.tensors, self.b.listing.tensors),
            elsewhere or Elsewhere(),
            (*self.a.listing.findings, *(checksums.findings[0] if checksums else ())),
            (*self.b.listing.findings, *(checksums.findings[1] if checksums else ())),
            checksums.unverified if checksums else None,
            laid.collisions,
            laid.unused,
            are_same_files(self.a, self.b),
            adapted,
        )


def _unpacked(verdict: Verdict, pair: Pair, of_a: PackedWeights, of_b: PackedWeights) -> Verdict:
    """The same verdict; of a changed shape it says what is packed in the tensors."""
    if verdict.change is None or verdict.change.change != "shape":
        return verdict
    packed_a, packed_b = of_a.of(pair.a.name), of_b.of(pair.b.name)
    if packed_a is None and packed_b is None:
        return verdict
    change = msgspec.structs.replace(verdict.change, packed_a=packed_a, packed_b=packed_b)
    return msgspec.structs.replace(verdict, change=change)


def _identity(info: TensorInfo, overlaps: Overlaps) -> tuple[Any, ...]:
    return (overlaps.identity(info), info.shape, info.dtype.name, info.stride)


def _refusal(pair: Pair, of_a: Overlaps, of_b: Overlaps) -> str | None:
    """Why a pair is not read: so much was read of a file whose tensors share bytes."""
    for side, info, overlaps in (("A", pair.a, of_a), ("B", pair.b, of_b)):
        refusal = overlaps.take(info)
        if refusal is not None:
            return f"in {side}: {refusal}"
    return None


def _at_once(pair: Pair, tolerance: Tolerance) -> Verdict | None:
    """The verdict if it can be given without reading values, else None."""
    a, b = pair.a, pair.b
    for side, info in (("A", a), ("B", b)):
        # The shape of a damaged or missing tensor may be unknown: then it proves no difference.
        if info.unreadable is not None and (math.prod(info.shape) != info.numel or not pair.has_same_shape):
            return Verdict(pair.name, "uncompared", None, f"in {side}: {info.unreadable}")
    if not pair.has_same_shape:
        return Verdict(pair.name, "changed", make_change(pair, "shape", None))
    for side, info in (("A", a), ("B", b)):
        if info.unreadable is not None:
            return unread(pair, f"in {side}: {info.unreadable}", tolerance)
    obstacle = _quantisation(a, b)
    return None if obstacle is None else unread(pair, obstacle, tolerance)


_SCALE = re.compile(r"\bscale (\S+), zero point (\S+)$")


def _quantisation(a: TensorInfo, b: TensorInfo) -> str | None:
    """Why the stored integers cannot tell whether two quantised tensors are the same; None if they can."""
    if not a.dtype.name.startswith(("qint", "quint")) or not b.dtype.name.startswith(("qint", "quint")):
        return None
    found = [[match.groups() for note in info.notes if (match := _SCALE.search(note))] for info in (a, b)]
    if not (found[0] and found[1]):
        # In files the scales are separate tensors, which are compared by themselves.
        is_apart = all(info.file is not None for info in (a, b))
        return None if is_apart and a.notes == b.notes else "the scales of its channels cannot be compared"
    try:
        (scale_a, zero_a), (scale_b, zero_b) = [tuple(map(float, match[0])) for match in found]
    except ValueError:
        return "its scale is not a number"
    # The note of a live tensor has six digits of its scale.
    if zero_a == zero_b and math.isclose(scale_a, scale_b, rel_tol=1e-5):
        return None
    return f"it is quantised by a scale of {found[0][0][0]} in A and of {found[1][0][0]} in B"
