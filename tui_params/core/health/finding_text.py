"""Findings in words: those that repeat are folded into one entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.core import text
from tui_params.core.findings import Finding, subject

LONGEST_NAME = 300
LONGEST_SENTENCE = 2_000


def folded(findings: Sequence[Finding], label: str, *, with_rule: bool = True) -> Iterator[tuple[str, str]]:
    """The subject and the sentence of each group of findings of one severity that repeat (``core.health.alike``)."""
    from tui_params.core.health.alike import group_findings

    for group in group_findings(findings):
        first, count = findings[group.members[0]], len(group.members)
        name = subject(first, label, LONGEST_NAME)
        rule = f"{first.rule}: " if with_rule else ""
        sentence = text.clean(first.evidence, LONGEST_SENTENCE)
        if count == 1:
            yield name, f"{rule}{sentence}{places(first)}"
        elif group.kind is not None:
            yield text.name(group.kind, LONGEST_NAME), f"{rule}in {count:,} tensors; the first: {sentence}"
        else:
            yield f"{name} and {count - 1:,} more", f"{rule}{'' if group.is_same else 'the first: '}{sentence}"


def places(finding: Finding) -> str:
    """The end of a finding's sentence: its first indices."""
    # The only place in a tensor of 0 dimensions says nothing.
    if not finding.indices or () in finding.indices:
        return ""
    return f"; at {', '.join(text.shape(index) for index in finding.indices)}"
