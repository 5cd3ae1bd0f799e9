"""The problems of one source as data: what is wrong, what could not be read, what says the same as one group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from tui_params.core import text
from tui_params.core.findings import Finding
from tui_params.core.health.alike import Alike, group_findings, group_reasons
from tui_params.tui.pages import Pages
from tui_params.tui.widgets.detail.detail_lines import places_of

Severity = Literal["error", "warning", "unreadable", "info"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "unreadable", "info")
WHOLE = "the file as a whole"


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a tensor, or with the source as a whole (``tensor`` is None)."""

    severity: Severity
    rule: str
    tensor: str | None
    sentence: str


class Group(msgspec.Struct, frozen=True):
    """Problems that say the same, or a single one. ``name`` is what they are about, ``is_same`` is of ``Alike``."""

    name: str
    members: tuple[Problem, ...]
    is_same: bool = True

    @property
    def first(self) -> Problem:
        return self.members[0]

    @property
    def is_single(self) -> bool:
        return len(self.members) == 1

    @property
    def sentence(self) -> str:
        return self.first.sentence if self.is_same else f"the first: {self.first.sentence}"


class Known(msgspec.Struct, frozen=True):
    """What is known by now: findings, and names (None: the source as a whole) and reasons of what could not be read."""

    findings: tuple[Finding, ...]
    unread: tuple[tuple[str | None, str], ...]

    def __len__(self) -> int:
        return len(self.findings) + len(self.unread)


def known_of(pages: Pages) -> Known:
    """The findings of the container and of every tensor that was read, and what could not be read."""
    listing, report, lost = pages.desk.opened.source.listing, pages.report, pages.troubles.unread.items()
    if report is None:
        return Known((*listing.findings, *pages.troubles.all_findings()), tuple(lost))
    whole = [(None, entry.reason) for entry in report.unchecked if entry.tensor is None]
    return Known(report.findings, (*whole, *lost))


def groups_of(known: Known) -> list[Group]:
    """The groups of what is known, the worst first; half a second of work where there are 100,000 findings."""
    findings, unread = known.findings, known.unread
    groups: list[Group] = []
    for severity in SEVERITIES:
        if severity == "unreadable":
            lost = [Problem(severity, "", name, reason) for name, reason in unread]
            groups += (_group(alike, lost) for alike in group_reasons(unread))
        else:
            found = [finding for finding in findings if finding.severity == severity]
            said = [_problem(finding, severity) for finding in found]
            groups += (_group(alike, said) for alike in group_findings(found))
    return groups


def _problem(finding: Finding, severity: Severity) -> Problem:
    return Problem(severity, finding.rule, finding.tensor, f"{finding.evidence}{places_of(finding)}")


def _group(alike: Alike, problems: Sequence[Problem]) -> Group:
    members = tuple(problems[place] for place in alike.members)
    first = members[0].tensor
    return Group(WHOLE if first is None else alike.title(first), members, alike.is_same)


def extent(groups: Iterable[Group]) -> str:
    """How many tensors some groups are about, in words; of how many problems, where a tensor has several."""
    problems = [problem for group in groups for problem in group.members]
    about = [problem.tensor for problem in problems if problem.tensor is not None]
    tensors = len(set(about))
    words = text.plural(tensors, "tensor")
    if tensors != len(about):
        words = f"{len(about):,} in {words}"
    if len(about) == len(problems):
        return words
    return f"{words} and {WHOLE}" if about else WHOLE


def coverage_of(pages: Pages) -> str:
    """How much of the source this rests on, in one sentence."""
    total, lost = len(pages.desk.opened.tensors), len(pages.troubles.unread)
    known = pages.troubles.read_below(None)
    could_not = f"; {lost:,} could not be read" if lost else ""
    read = f"{known:,} of {text.plural(total, 'tensor')}"
    if known == total:
        read = f"All {total:,} tensors" if total > 1 else "The one tensor"
    if not total:
        return "There are no tensors here."
    if pages.desk.is_comparing:
        return f"{read} read whole{could_not}. Comparing the tensors with each other."
    if pages.report is not None:
        return f"{read} read whole and compared{could_not}."
    if pages.desk.is_sweeping:
        return f"{read} read whole so far{could_not}."
    if not known and not lost:
        return "Nothing has been read yet; S reads everything."
    how = "S compares them" if known + lost >= total else "S reads the rest"
    return f"{read} read whole{could_not}; {how}."


def conclusion_of(pages: Pages) -> tuple[str, str]:
    """What stands where no problem is known, and its style: green only where everything was read and compared."""
    total, known = len(pages.desk.opened.tensors), pages.troubles.read_below(None)
    if pages.report is not None:
        return "Nothing wrong was found.", "success"
    if not known:
        return "", "text"
    what = "the tensors" if known == total else "the one" if known == 1 else f"the {known:,}"
    return f"Nothing wrong was found in {what} that {'was' if known == 1 else 'were'} read.", "text"
