"""How a report of ``tui-params check`` reads: calm lines for a person, and a Markdown table."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tui_params.cli.output import Output
from tui_params.core import text
from tui_params.core.check import Report
from tui_params.core.findings import Finding
from tui_params.core.kinds import kind_of
from tui_params.core.rules import SEVERITIES
from tui_params.core.source import Source

_LONGEST_NAME = 300
_MOST_ALIKE = 3
"""Findings of one rule about tensors of one kind that are told one by one; more of them become one line."""

_MOST_UNCHECKED = 20
_STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}
_PLURALS = {"error": "errors", "warning": "warnings", "info": "remarks"}
_SINGULARS = {"error": "error", "warning": "warning", "info": "remark"}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|])")


def lines(source: Source, report: Report, output: Output) -> Iterator[str]:
    """What a person reads: the source, the findings by severity, what could not be checked, and one closing line."""
    yield f"{output.style(text.clean(source.label), 'bold')}  {text.clean(source.listing.format)}"
    for severity in SEVERITIES:
        findings = [finding for finding in report.findings if finding.severity == severity]
        if findings:
            title = text.plural(len(findings), _SINGULARS[severity], _PLURALS[severity])
            yield ""
            yield output.style(title, _STYLES[severity])
            for name, evidence in _told(findings):
                yield from _entry(name, evidence, output)
    if report.unchecked:
        yield ""
        yield output.style(f"{unchecked_words(report)} could not be checked", "bold red")
        for name, evidence in _unchecked(report):
            yield from _entry(name, evidence, output)
    yield ""
    yield closing(report)


def closing(report: Report) -> str:
    """How much was checked, in one line."""
    checked = f"{text.plural(report.checked, 'tensor')} checked, {unchecked_words(report, '')} could not be checked"
    return f"{checked}, no findings" if not report.findings else checked


def unchecked_words(report: Report, noun: str = "tensor") -> str:
    """What could not be checked, counted: the tensors, and apart from them the source as a whole."""
    tensors = sum(entry.tensor is not None for entry in report.unchecked)
    counted = text.plural(tensors, noun) if noun else f"{tensors:,}"
    if tensors == len(report.unchecked):
        return counted
    return f"{counted} and the source itself" if tensors else "the source itself"


def _entry(name: str, evidence: str, output: Output) -> Iterator[str]:
    """A name, and what is said of it beside it or, where a terminal is too narrow, below."""
    yield f"  {name}" + output.note(evidence, "", len(name) + 2)


def _told(findings: list[Finding]) -> Iterator[tuple[str, str]]:
    """Subject and sentence of each finding; many of one rule about one kind are one."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        # What is said of the container is never alike.
        kind = kind_of(finding.tensor) if finding.tensor is not None else f"\n{len(groups)}"
        groups.setdefault((finding.rule, kind), []).append(finding)
    for (rule, kind), members in groups.items():
        if len(members) > _MOST_ALIKE:
            sentence = f"{rule}: in {len(members):,} tensors; the first: {text.clean(members[0].evidence, 500)}"
            yield text.name(kind, _LONGEST_NAME), sentence
            continue
        for finding in members:
            name = text.name(finding.tensor, _LONGEST_NAME) if finding.tensor is not None else "the container"
            yield name, f"{rule}: {text.clean(finding.evidence, 500)}{places(finding)}"


def places(finding: Finding) -> str:
    """The first indices of a finding, for the end of its sentence."""
    if not finding.indices:
        return ""
    return f"; at {', '.join(text.shape(index) for index in finding.indices)}"


def _unchecked(report: Report) -> Iterator[tuple[str, str]]:
    """Names and reasons; those of one reason after the first are counted."""
    groups: dict[str, list[str]] = {}
    for entry in report.unchecked:
        groups.setdefault(entry.reason, []).append("the source" if entry.tensor is None else entry.tensor)
    for number, (reason, names) in enumerate(groups.items()):
        if number == _MOST_UNCHECKED:
            yield f"and {text.plural(len(groups) - number, 'more reason')}", "--json has all"
            return
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        yield f"{text.name(names[0], _LONGEST_NAME)}{more}", text.clean(reason, 300)


def markdown(source: Source, report: Report) -> Iterator[str]:
    """The report as Markdown: a sentence, and a table of the findings and of what could not be checked."""
    yield f"**{_escape(source.label)}**: {closing(report)}"
    if not report.findings and not report.unchecked:
        return
    yield ""
    yield "| severity | rule | tensor | evidence |"
    yield "| --- | --- | --- | --- |"
    for finding in report.findings:
        evidence = _escape(finding.evidence + places(finding))
        yield f"| {finding.severity} | {finding.rule} | {_escape(finding.tensor or '')} | {evidence} |"
    for entry in report.unchecked:
        yield f"| unchecked |  | {_escape(entry.tensor or '')} | {_escape(entry.reason)} |"


def _escape(value: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text.clean(value))
