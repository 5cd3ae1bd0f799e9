"""What is wrong with one source, for a list: findings and tensors that could not be read, grouped where they repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from tui_params.core import text
from tui_params.core.findings import Finding, subject
from tui_params.core.health.alike import Alike, group_findings, group_reasons
from tui_params.core.source import Source
from tui_params.tui.state.marks import Marks
from tui_params.tui.state.places import places_of

if TYPE_CHECKING:
    from tui_params.core.health.checker import Report
    from tui_params.core.health.verification import Verification

Severity = Literal["error", "warning", "unreadable", "info"]
About = Literal["tensor", "module", "file", "source"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "unreadable", "info")


class ListedFinding(msgspec.Struct, frozen=True):
    """One line of the list: a finding, or what could not be read.

    ``name`` is what it is about, cleaned, and ``about`` says what that is. ``tensor`` is the row of the tree: the
    tensor or the module; None for a file, and for the whole source.
    """

    severity: Severity
    rule: str
    tensor: str | None
    name: str
    sentence: str
    about: About


class Group(msgspec.Struct, frozen=True):
    """Findings that repeat over several tensors, or a single one.

    ``name`` stands for all the tensors; ``is_same`` says whether all have the same sentence.
    """

    name: str
    members: tuple[ListedFinding, ...]
    is_same: bool = True

    @property
    def first(self) -> ListedFinding:
        return self.members[0]

    @property
    def is_single(self) -> bool:
        return len(self.members) == 1

    @property
    def sentence(self) -> str:
        return self.first.sentence if self.is_same else f"the first: {self.first.sentence}"


class Known(msgspec.Struct, frozen=True):
    """What is known by now: findings, and what could not be read, as (name, reason); the name None is the source.

    ``label`` is that of the source.
    """

    label: str
    findings: tuple[Finding, ...]
    unread: tuple[tuple[str | None, str], ...]

    def __len__(self) -> int:
        return len(self.findings) + len(self.unread)


def known_of(source: Source, report: Report | None, marks: Marks, verification: Verification | None = None) -> Known:
    """The findings about the files and about every tensor that was read, and what could not be read or verified."""
    lost: list[tuple[str | None, str]] = [*marks.unread.items()]
    if verification is not None:
        lost[:0] = [(None, f"{file.file} was {file.words}") for file in verification.unverified]
    if report is None:
        said = verification.findings if verification is not None else ()
        return Known(source.label, (*source.listing.findings, *said, *marks.all_findings()), tuple(lost))
    # An empty place of a tensor that is stored elsewhere can be read, and yet was not checked.
    # A file that could not be opened has a finding.
    more = [
        (entry.tensor, entry.reason)
        for entry in report.unchecked
        if entry.tensor not in marks.unread and entry.file is None
    ]
    return Known(source.label, report.findings, (*more, *lost))


def groups_of(known: Known) -> list[Group]:
    """The groups of what is known, the worst first; half a second of work where there are 100,000 findings."""
    findings, unread = known.findings, known.unread
    groups: list[Group] = []
    for severity in SEVERITIES:
        if severity == "unreadable":
            label = text.clean(known.label)
            lost = [
                ListedFinding(severity, "", name, label, reason, "source")
                if name is None
                else ListedFinding(severity, "", name, text.name(name), reason, "tensor")
                for name, reason in unread
            ]
            groups += (_group(alike, lost) for alike in group_reasons(unread))
        else:
            found = [finding for finding in findings if finding.severity == severity]
            said = [_listed(finding, severity, known.label) for finding in found]
            groups += (_group(alike, said) for alike in group_findings(found))
    return groups


def _listed(finding: Finding, severity: Severity, label: str) -> ListedFinding:
    sentence = f"{finding.evidence}{places_of(finding)}"
    row = finding.module if finding.tensor is None else finding.tensor
    about: About = "source" if finding.file is None else "file"
    if row is not None:
        about = "module" if finding.tensor is None else "tensor"
    return ListedFinding(severity, finding.rule, row, subject(finding, label), sentence, about)


def _group(alike: Alike, listed: Sequence[ListedFinding]) -> Group:
    members = tuple(listed[place] for place in alike.members)
    first = members[0]
    return Group(first.name if first.tensor is None else alike.title(first.tensor), members, alike.is_same)


def extent(groups: Iterable[Group]) -> str:
    """How many tensors, modules and files some groups are about; and how many findings, where a tensor has several."""
    members = [member for group in groups for member in group.members]
    about = [member.tensor for member in members if member.about == "tensor"]
    tensors = len(set(about))
    words = text.plural(tensors, "tensor")
    if tensors != len(about):
        words = f"{len(about):,} in {words}"
    parts = [words] if about else []
    for kind in ("module", "file"):
        count = len({member.name for member in members if member.about == kind})
        parts += [text.plural(count, kind)] if count else []
    parts += ["the source itself"] if any(member.about == "source" for member in members) else []
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last
