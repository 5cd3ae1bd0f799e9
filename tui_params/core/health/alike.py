"""Groups findings and reasons that repeat: many about one kind of tensor, or many with the same sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from tui_params.core import text
from tui_params.core.findings import Finding
from tui_params.core.health.container import CONTAINER_RULES
from tui_params.core.kinds import kind_of

MOST_ALONE = 3
"""Up to so many findings of one rule about one kind are listed one by one; more become one group."""

_READERS = frozenset(rule.id for rule in CONTAINER_RULES)
_NUMBER = re.compile(r"\d[\d,.]*")


class Alike(msgspec.Struct, frozen=True):
    """Entries that are shown as one.

    ``members`` are their positions in the list that was grouped, in order. ``kind`` is set if all the tensors are of
    one kind. ``is_same``: all of them have the same sentence.
    """

    members: tuple[int, ...]
    kind: str | None
    is_same: bool

    def title(self, first: str, below: str = "") -> str:
        """One text for all the tensors; ``first`` is the name of the first, ``below`` the module around them."""
        count, kind = len(self.members), self.kind
        if kind is not None and count > MOST_ALONE:
            return f"{text.name(kind.removeprefix(f'{kind_of(below)}.') if below else kind)} × {count:,}"
        name = text.name(first.removeprefix(f"{below}.") if below else first)
        return name if count == 1 else f"{name} and {count - 1:,} more"


def group_findings(findings: Sequence[Finding]) -> list[Alike]:
    """Group the findings of one severity: many of one rule about one kind become one.

    So do many of a reader with the same sentence about different kinds, such as all tensors of a missing shard, or
    with one that differs in its numbers only.
    """
    kinds = [kind_of(finding.tensor) if finding.tensor is not None else None for finding in findings]
    counts = Counter((finding.rule, kind) for finding, kind in zip(findings, kinds, strict=True) if kind is not None)
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, (finding, kind) in enumerate(zip(findings, kinds, strict=True)):
        key: tuple[str, ...] = (finding.rule, "", "", str(place))
        if kind is not None and counts[finding.rule, kind] > MOST_ALONE:
            key = finding.rule, kind
        elif kind is not None and finding.rule in _READERS and not finding.indices:
            key = finding.rule, "", _NUMBER.sub("#", finding.evidence)
        groups.setdefault(key, []).append(place)
    grouped = []
    for key, members in groups.items():
        if len(members) > MOST_ALONE:
            is_same = len({findings[place].evidence for place in members}) == 1
            grouped.append(Alike(tuple(members), key[1] or None, is_same))
        else:
            grouped += [Alike((place,), kinds[place], True) for place in members]
    return grouped


def group_reasons(entries: Sequence[tuple[str | None, str]]) -> list[Alike]:
    """Group names (None: the source as a whole) by their reasons, which may differ in numbers and in that name."""
    groups: dict[tuple[bool, str], list[int]] = {}
    patterns: dict[str, str] = {}
    for place, (name, reason) in enumerate(entries):
        words = reason.removeprefix(name).replace(f" {name} ", " # ") if name else reason
        pattern = patterns.get(words)
        if pattern is None:
            pattern = patterns[words] = _NUMBER.sub("#", words)
        groups.setdefault((name is None, pattern), []).append(place)
    return [_of_reasons(members, entries) for members in groups.values()]


def _of_reasons(members: list[int], entries: Sequence[tuple[str | None, str]]) -> Alike:
    first, reason = entries[members[0]]
    kind = kind_of(first) if first is not None else None
    if kind is not None and not all(kind_of(entries[place][0] or "") == kind for place in members):
        kind = None
    return Alike(tuple(members), kind, all(entries[place][1] == reason for place in members))
