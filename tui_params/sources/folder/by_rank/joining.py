"""From what each rank saved to whole tensors, where the files say which part each has.

A tensor without such a place is the same on all ranks, or each has another of that name: then each is listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import msgspec

from tui_params.core.dtypes import DType
from tui_params.core.findings import Finding
from tui_params.core.kinds import compact_ranges
from tui_params.core.piece import Comparisons, LocalPart, Piece, find_overlap
from tui_params.core.tensor import TensorInfo, beyond_numpy
from tui_params.core.text import clean, plural, shape, size
from tui_params.errors import ReadError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.folder.by_rank.flat import VIEW_NOTE, flat_parts
from tui_params.sources.folder.dcp.flat import FLAT, FLAT_NOTE

_MOST_COMPARED = 64 << 20
"""Bytes that are compared when the files are opened, as those of replicas in a distributed checkpoint."""

_MAX_COMPARISONS = 2_000_000
_SHOWN = 20


class Stored(msgspec.Struct, frozen=True):
    """A box of a tensor: the file of the rank that has it, the tensor there, and where in that the box begins."""

    piece: Piece
    info: TensorInfo
    at: tuple[int, ...]


class Joined(msgspec.Struct):
    """The tensors of all ranks: ``stored`` has the boxes of those that are joined, ``single`` the original of others.

    ``incomplete`` counts the tensors of which elements are missing.
    """

    tensors: list[TensorInfo] = []
    stored: dict[str, tuple[Stored, ...]] = {}
    single: dict[str, TensorInfo] = {}
    findings: list[Finding] = []
    incomplete: int = 0


def join(parts: Mapping[int, ExtentSource], absent: Sequence[int]) -> Joined:
    """The tensors of the files ``parts``, by rank, as whole ones; ``absent`` are the ranks whose files are missing."""
    return _Joining(parts, absent).join()


class _Member(msgspec.Struct, frozen=True):
    """What one rank has under a name."""

    rank: int
    info: TensorInfo
    part: LocalPart | None


class _Joining:
    def __init__(self, parts: Mapping[int, ExtentSource], absent: Sequence[int]) -> None:
        self._parts = parts
        self._absent = absent
        self._left = _MOST_COMPARED
        self._comparisons = Comparisons(_MAX_COMPARISONS)
        self._uncompared: list[int] = []
        self._told: Counter[str] = Counter()
        self._views: set[str] = set()
        self.made = Joined()

    def join(self) -> Joined:
        for name, members in self._by_name().items():
            if any(member.part is not None for member in members):
                self._add_whole(name, members)
            else:
                self._add_alike(name, members)
        for rule, count in self._told.items():
            if count > _SHOWN:
                evidence = f"{count - _SHOWN:,} more tensors have the same fault"
                self.made.findings.append(Finding("error", rule, None, evidence))
        if self._uncompared:
            count, total = len(self._uncompared), sum(self._uncompared)
            evidence = (
                f"{plural(count, 'tensor')} ({size(total)}) that every rank has: what the first rank saved is shown,"
                " and was not compared with the others"
            )
            self.made.findings.append(Finding("info", "replica-differs", None, evidence))
        return self.made

    def _by_name(self) -> dict[str, list[_Member]]:
        """What the ranks have, by the name of the whole, in the order of the first rank that has it."""
        found: dict[str, list[_Member]] = {}
        flat = flat_parts({rank: source.listing for rank, source in self._parts.items()})
        for rank, source in self._parts.items():
            listing = source.listing
            for info in listing.tensors:
                part = listing.local_parts.get(info.name) or flat.get((rank, info.name))
                if part is not None and (rank, info.name) in flat:
                    self._views.add(info.name)
                found.setdefault(info.name if part is None else part.whole, []).append(_Member(rank, info, part))
        return found

    def _tell(self, rule: str, name: str, evidence: str) -> None:
        self._told[rule] += 1
        if self._told[rule] <= _SHOWN:
            self.made.findings.append(Finding("error", rule, name, evidence))

    def _add_whole(self, name: str, members: list[_Member]) -> None:
        placed = [(member, member.part) for member in members if member.part is not None]
        said = Counter((part.shape, member.info.dtype) for member, part in placed)
        whole, dtype = max(said, key=lambda key: said[key])
        odd = [member.rank for member, part in placed if (part.shape, member.info.dtype) != (whole, dtype)]
        odd += [member.rank for member in members if member.part is None]
        stored: dict[tuple[tuple[int, ...], tuple[int, ...]], Stored] = {}
        misfit: str | None = None
        for member, part in placed:
            if member.rank in odd:
                continue
            misfit = misfit or _misfit(member, part)
            for start, lengths, at in part.boxes:
                info = member.info
                piece = Piece(start, lengths, info.file or "", info.offset or 0, info.nbytes, rank=member.rank)
                box = Stored(piece, info, at)
                kept = stored.setdefault((start, lengths), box)
                if kept is not box:
                    # What is there twice was saved by replicas: the first counts.
                    self._compare(name, _Member(kept.piece.rank or 0, kept.info, None), member)
        if odd:
            evidence = f"{_ranks(odd)} {'has' if len(set(odd)) == 1 else 'have'} another shape or type of it"
            self._tell("foreign-rank", name, f"{evidence} than {dtype.short} {shape(whole)}")
        first = placed[0][0].info
        boxes = tuple(stored.values())
        unreadable = misfit or self._fault(name, whole, boxes) or beyond_numpy(len(whole))
        unreadable = unreadable or next((box.info.unreadable for box in boxes if box.info.unreadable), None)
        info = _whole_info(name, first, whole, dtype, boxes, unreadable)
        note = VIEW_NOTE if name in self._views else FLAT_NOTE if name.rpartition(".")[2] == FLAT else None
        if note is not None:
            info = msgspec.structs.replace(info, notes=(note, *info.notes))
        self._add(info, boxes if unreadable is None else ())

    def _compare(self, name: str, first: _Member, other: _Member) -> None:
        if first.info.shape == other.info.shape and not self._are_same([first, other]):
            evidence = f"ranks {first.rank:,} and {other.rank:,} saved other values of it: those of rank {first.rank:,}"
            self._tell("replica-differs", name, f"{evidence} are shown")

    def _fault(self, name: str, whole: tuple[int, ...], boxes: tuple[Stored, ...]) -> str | None:
        """Why the boxes cannot be joined; those that are missing are told, and no obstacle to reading the others."""
        try:
            overlap = find_overlap([box.piece for box in boxes], self._comparisons)
        except OverflowError:
            return "whether its parts overlap was not compared: they are too many"
        if overlap is not None:
            reason = f"parts of it overlap: {overlap[0]} and {overlap[1]} of {shape(whole)}"
            self._tell("piece-overlap", name, reason)
            return reason
        count, total = sum(box.piece.numel for box in boxes), prod(whole)
        self.made.incomplete += count < total
        if count < total and not self._absent:
            self._tell("missing-piece", name, f"no rank has the others: {count:,} of {plural(total, 'element')} saved")
        return None

    def _add_alike(self, name: str, members: list[_Member]) -> None:
        """A tensor that is no part of another: once if all ranks have the same, else each by its rank."""
        first = members[0]
        if len(self._parts) == 1 or (len(members) > 1 and self._are_same(members)):
            self._add(first.info, (), first.info)
            return
        for member in members:
            own = f"{name}.rank_{member.rank}" if name else f"rank_{member.rank}"
            shown = msgspec.structs.replace(member.info, name=own, tied_to=None)
            self._add(shown, (), member.info)

    def _are_same(self, members: list[_Member]) -> bool:
        first = members[0].info
        if any((member.info.shape, member.info.dtype) != (first.shape, first.dtype) for member in members):
            return False
        if not first.numel or any(member.info.unreadable is not None for member in members):
            return True
        total = first.nbytes * len(members)
        if total > self._left:
            self._uncompared.append(first.nbytes)
            return True
        self._left -= total
        try:
            return all(map(_is_same, *(self._bytes(member) for member in members)))
        except ReadError:
            return False

    def _bytes(self, member: _Member) -> Iterator[bytes]:
        for block in self._parts[member.rank].blocks(member.info):
            yield block.tobytes()

    def _add(self, info: TensorInfo, stored: tuple[Stored, ...], original: TensorInfo | None = None) -> None:
        if original is not None:
            self.made.single[info.name] = original
        elif stored:
            self.made.stored[info.name] = stored
        self.made.tensors.append(info)


def _is_same(first: bytes, *others: bytes) -> bool:
    return all(other == first for other in others)


def _misfit(member: _Member, part: LocalPart) -> str | None:
    """Why the part cannot be at its place: it has another shape than the place says."""
    info = member.info
    numel = sum(prod(lengths) for _, lengths, _ in part.boxes)
    lengths = tuple(
        max((at[dim] + length[dim] for _, length, at in part.boxes), default=0) for dim in range(len(part.shape))
    )
    if (not numel and not info.numel) or (numel == info.numel and lengths == info.shape):
        return None
    return f"the part of rank {member.rank:,} has the shape {shape(info.shape)}, and its place {shape(lengths)}"


def _whole_info(
    name: str,
    first: TensorInfo,
    whole: tuple[int, ...],
    dtype: DType,
    boxes: tuple[Stored, ...],
    unreadable: str | None,
) -> TensorInfo:
    numel = prod(whole)
    files = {box.piece.file for box in boxes}
    notes = tuple(note for note in first.notes if not note.startswith(("the local part of ", "from [")))
    count = sum(box.piece.numel for box in boxes)
    if count < numel:
        notes += (f"{count:,} of {plural(numel, 'element')} saved",)
    return TensorInfo(
        name, whole, dtype, numel, dtype.nbytes(numel), first.kind, files.pop() if len(files) == 1 else None,
        requires_grad=first.requires_grad, unreadable=unreadable, notes=notes,
    )  # fmt: skip


def _ranks(ranks: Sequence[int]) -> str:
    found = set(ranks)
    return f"rank {min(found):,}" if len(found) == 1 else f"ranks {clean(compact_ranges(found), 80)}"
