"""The section of problems: what a check found, and, apart from it, what could not be checked."""

from __future__ import annotations

from itertools import islice

from tui_params.core import text
from tui_params.core.findings import SEVERITY_WORDS, Severity
from tui_params.core.health.alike import group_findings
from tui_params.core.health.finding_text import folded
from tui_params.core.health.registry import SEVERITIES
from tui_params.core.health.report_text import closing, unchecked_entries, unchecked_words
from tui_params.reports.facts import Checked
from tui_params.reports.html import NOTHING, Html, element, named, paragraph, rest, section

MOST = 100
"""Entries of one severity."""

_LONGEST_NAME = 160
_LONGEST_SENTENCE = 500
_MOST_FILES = 20
_ALL = "check --json has all"


def problems(checked: tuple[Checked, ...], names: tuple[str, ...]) -> Html:
    """The findings of each source, the worst first."""
    parts = [_source(one, name if len(checked) > 1 else None) for one, name in zip(checked, names, strict=True)]
    return section("Problems", *parts, id_="problems")


def _source(checked: Checked, name: str | None) -> Html:
    report = checked.report
    heading = None if name is None else element("h3", f"{name}  ", element("code", text.clean(checked.label, 200)))
    lists = [_severity(checked, severity) for severity in SEVERITIES]
    return element(
        "div",
        heading,
        paragraph(_sentence(closing(report)), class_="closing"),
        *lists,
        _unchecked(checked),
        _not_opened(report.not_opened),
        class_="source",
        data_source=name,
        data_status=report.status,
        data_checked=report.checked,
        data_unchecked=len(report.unchecked),
    )


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _severity(checked: Checked, severity: Severity) -> Html:
    findings = [finding for finding in checked.report.findings if finding.severity == severity]
    if not findings:
        return NOTHING
    groups = group_findings(findings)
    said = folded(findings, checked.label, with_rule=False)
    entries = [
        _entry(
            name,
            sentence,
            findings[group.members[0]].rule,
            severity,
            len(group.members),
        )
        for group, (name, sentence) in islice(zip(groups, said, strict=True), MOST)
    ]
    title = element("h4", text.plural(len(findings), SEVERITY_WORDS[severity]), class_=severity)
    listed = element("ul", *entries, class_=f"findings {severity}")
    return Html(title + listed + rest(len(groups) - len(entries), "of these", _ALL))


def _entry(name: str, sentence: str, rule: str, severity: str, count: int) -> Html:
    return element(
        "li",
        named(text.shorten(name, _LONGEST_NAME), "span"),
        element("span", text.shorten(sentence, _LONGEST_SENTENCE)),
        element("span", rule, class_="rule") if rule else None,
        data_rule=rule or None,
        data_severity=severity,
        data_count=count,
    )


def _unchecked(checked: Checked) -> Html:
    report = checked.report
    if not report.unchecked or report.has_nothing:
        return NOTHING
    entries = [
        _entry(name, reason, "", "unchecked", 1)
        for name, reason in islice(unchecked_entries(report, checked.label), MOST)
    ]
    title = element("h4", f"{_sentence(unchecked_words(report))[:-1]} could not be checked", class_="unchecked")
    return Html(title + element("ul", *entries, class_="findings unchecked"))


def _not_opened(files: tuple[str, ...]) -> Html:
    if not files:
        return NOTHING
    names = text.listed([text.clean(name, 120) for name in files[:_MOST_FILES]], _MOST_FILES)
    more = f", and {len(files) - _MOST_FILES:,} more" if len(files) > _MOST_FILES else ""
    return paragraph(f"Beside it, and not checked: {names}{more}.", class_="dim")
