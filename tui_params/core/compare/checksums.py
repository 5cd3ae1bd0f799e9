"""Checksums of two sources that are compared: which of them must be verified, and what came of it.

Where both sides keep checksums, those of equal bytes must agree; only those that do not are verified, so that nothing
else is read again. Where one side keeps them, it is verified in the read that the comparison makes anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from tui_params.core.compare.structure import Pair
from tui_params.core.findings import Finding
from tui_params.core.health.checksums import WatchedSource
from tui_params.core.source import Record, Source


class Checksums:
    """The checksums of both sides. ``a`` and ``b`` are the sources to read from."""

    def __init__(self, a: Source, b: Source, pairs: Sequence[Pair]) -> None:
        self.a, self.b = a, b
        self.findings: tuple[tuple[Finding, ...], tuple[Finding, ...]] = ((), ())
        self.unverified: str | None = None
        self._pairs = pairs
        self._sources = a, b
        self._records = a.records(), b.records()
        if self._records[0] and not self._records[1]:
            self.a = WatchedSource(a, _compared(self._records[0], {pair.a.name for pair in pairs}))
        elif self._records[1] and not self._records[0]:
            self.b = WatchedSource(b, _compared(self._records[1], {pair.b.name for pair in pairs}))

    def verify(self, identical: Collection[str], should_stop: Callable[[], bool] | None = None) -> None:
        """Verify what must be; ``identical`` are the tensors of A with the same bytes in B. Raises StoppedError."""
        watching: Sequence[Source] = (self.a, self.b)
        if all(self._records):
            names = {pair.b.name: pair.a.name for pair in self._pairs if pair.a.name in identical}
            mine = {name: name for name in names.values()}
            by_key = _by_key(self._records[0], mine), _by_key(self._records[1], names)
            watching = [
                WatchedSource(source, _unlike(these, others))
                for source, these, others in zip(self._sources, by_key, reversed(by_key), strict=True)
            ]
        found: list[tuple[Finding, ...]] = []
        for side, source in zip("AB", watching, strict=True):
            if not isinstance(source, WatchedSource):
                found.append(())
                continue
            verified = source.verify(should_stop)
            found.append(verified.findings)
            if verified.unread is not None:
                self.unverified = f"in {side}: {verified.unread}"
        self.findings = found[0], found[1]


_Key = tuple[bool, str]


def _compared(records: Iterable[Record], names: Collection[str]) -> list[Record]:
    """The records of the tensors that are compared, and those that belong to no tensor."""
    return [record for record in records if record.tensor is None or record.tensor in names]


def _by_key(records: Iterable[Record], names: Mapping[str, str]) -> dict[_Key, Record]:
    """The records by the name that their tensor has in A, or by their own label."""
    found: dict[_Key, Record] = {}
    counts: Counter[str] = Counter()
    for record in records:
        if record.tensor is None:
            found[False, record.label] = record
        elif record.tensor in names:
            name = names[record.tensor]
            # A tensor in pieces has a record of each.
            found[True, f"{name}\0{counts[name]}" if counts[name] else name] = record
            counts[name] += 1
    return found


def _unlike(records: Mapping[_Key, Record], others: Mapping[_Key, Record]) -> list[Record]:
    """The records to which the other side does not give the same checksum."""
    return [
        record
        for key, record in records.items()
        if key not in others or (others[key].crc, others[key].nbytes) != (record.crc, record.nbytes)
    ]
