"""The HTML page: one file that loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tui_params.core import text
from tui_params.core.compare.verdict_text import verdict_words
from tui_params.core.findings import SEVERITY_WORDS
from tui_params.core.health.registry import SEVERITIES
from tui_params.core.health.report_text import unchecked_words
from tui_params.reports.facts import Checked, Facts
from tui_params.reports.html import Html, element, paragraph
from tui_params.reports.layers import layers_of
from tui_params.reports.sections.comparison import comparison
from tui_params.reports.sections.kinds import kinds
from tui_params.reports.sections.matrix import matrix
from tui_params.reports.sections.problems import problems
from tui_params.reports.sections.tensors import tensors
from tui_params.reports.sections.timeline import timeline
from tui_params.reports.sections.totals import totals

_LONGEST = 200

# Nothing is loaded and no script runs, whatever a name in the page looks like.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(facts: Facts, made: str = "") -> Iterator[str]:
    """The pieces of the page; ``made`` is what is said of its making behind the name: the version, the time."""
    title = f"{_title(facts)} - tui-params"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content="tui-params"),
        element("title", title),
        Html(f"<style>{Path(__file__).with_name('style.css').read_text(encoding='utf-8')}</style>"),
    )
    yield f'<!DOCTYPE html>\n<html lang="en">{head}<body>'
    yield from (f"{part}\n" for part in _body(facts, made))
    yield "</body></html>\n"


def _body(facts: Facts, made: str) -> Iterator[Html]:
    names = ("A", "B") if facts.comparison is not None else ("",)
    yield _header(facts, names)
    yield totals(facts.checked, names)
    if facts.comparison is not None:
        yield comparison(facts.comparison)
    if facts.timeline is not None:
        yield timeline(facts.timeline)
    yield problems(facts.checked, names)
    layers = layers_of(facts.newest)
    for part in (kinds(layers) if facts.newest.tensors else None, matrix(layers), tensors(facts.newest)):
        if part is not None:
            yield part
    yield element(
        "footer",
        paragraph(
            "Statistics are exact and over the finite elements; NaN and infinities are counted apart."
            " std is the population standard deviation. Sizes are in powers of 1,024.",
        ),
        paragraph(f"Made by tui-params{text.clean(f' {made}' if made else '', 80)}."),
    )


def _title(facts: Facts) -> str:
    """What the page is about, in a line."""
    labels = [text.clean(checked.label, _LONGEST) for checked in facts.checked]
    run = facts.timeline
    if run is None:
        return " and ".join(labels)
    first, last = (text.shorten_name(step.name, 60) for step in (run.steps[0], run.steps[-1]))
    return f"A run of {text.plural(len(run.steps), 'step')}, {first} to {last}"


def _header(facts: Facts, names: tuple[str, ...]) -> Html:
    titles = [element("h1", _title(facts))]
    if len(names) > 1:
        titles = [
            element("h1", element("span", name, class_="side"), element("span", text.clean(checked.label, _LONGEST)))
            for checked, name in zip(facts.checked, names, strict=True)
        ]
    return element("header", *titles, _about(facts), element("div", *_pills(facts, names), class_="pills"))


def _pills(facts: Facts, names: tuple[str, ...]) -> Iterator[Html]:
    """The answers in a few words each."""
    if facts.comparison is not None:
        yield element(
            "a", verdict_words(facts.comparison)[0], class_=f"pill {facts.comparison.state}", href="#comparison"
        )
    run = facts.timeline
    if run is not None:
        first = run.first_broken
        if first is not None:
            words = f"NaN or Inf first at step {text.shorten_name(run.steps[first[0]].name, 40)}"
            yield element("a", words, class_="pill error", href="#timeline")
        if run.unread:
            words = f"not all of the run was read ({len(run.unread):,})"
            yield element("a", words, class_="pill unchecked", href="#timeline")
        elif first is None:
            yield element("a", "no NaN and no Inf at any step", class_="pill ok", href="#timeline")
    for checked, name in zip(facts.checked, names, strict=True):
        for class_, words in _verdicts(checked):
            of = name or ("newest step" if run is not None else "")
            yield element("a", f"{of}: {words}" if of else words, class_=f"pill {class_}", href="#problems")


def _verdicts(checked: Checked) -> Iterator[tuple[str, str]]:
    report = checked.report
    if report.has_nothing:
        yield "unchecked", "nothing was checked"
        return
    for severity in SEVERITIES:
        count = sum(finding.severity == severity for finding in report.findings)
        if count:
            yield severity, text.plural(count, SEVERITY_WORDS[severity])
    if report.unchecked:
        yield "unchecked", f"{unchecked_words(report)} not checked"
    elif report.not_opened and not report.findings:
        yield "info", "no findings in what was read"
    elif not report.findings:
        yield "ok", "no findings"


def _about(facts: Facts) -> Html | None:
    """Which source most of the page is about, where there are several."""
    label = element("code", text.clean(facts.newest.label, _LONGEST))
    if facts.timeline is not None:
        words = "Totals, problems, kinds, layers and tensors are those of its newest step that can be opened, "
        return paragraph(words, label, ".", class_="about")
    if facts.comparison is not None:
        return paragraph("Kinds, layers and tensors are those of B.", class_="about")
    return None
