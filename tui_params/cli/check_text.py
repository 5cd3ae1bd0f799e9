"""The report of ``tui-params check`` as lines for a person, and as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.cli.adapters import adapter_lines
from tui_params.cli.output import STYLE_OF_SEVERITY, Output, hanging
from tui_params.core import text
from tui_params.core.findings import SEVERITY_WORDS, subject
from tui_params.core.health.checker import Report
from tui_params.core.health.finding_text import LONGEST_SENTENCE, folded, places
from tui_params.core.health.registry import SEVERITIES
from tui_params.core.health.report_text import closing, unchecked_entries, unchecked_words
from tui_params.core.health.verification import count_words
from tui_params.core.source import Source

_MOST_FILES = 10


def lines(source: Source, report: Report, output: Output) -> Iterator[str]:
    """The lines for a person: the source, findings by severity, what could not be checked, and a closing line."""
    yield f"{output.style(text.clean(source.label), 'bold')}  {text.clean(source.listing.format)}"
    yield from adapter_lines(source, output)
    for severity in SEVERITIES:
        findings = [finding for finding in report.findings if finding.severity == severity]
        if findings:
            title = text.plural(len(findings), SEVERITY_WORDS[severity])
            yield ""
            yield output.style(title, STYLE_OF_SEVERITY[severity])
            for name, evidence in folded(findings, source.label):
                yield from _entry(name, evidence, output)
    if report.unchecked and not report.has_nothing:
        yield ""
        yield output.style(f"{unchecked_words(report)} could not be checked", "bold red")
        for name, evidence in unchecked_entries(report, source.label):
            yield from _entry(name, evidence, output)
    if report.files:
        yield ""
        yield output.style(count_words(report.files), "bold red" if report.unverified else "bold")
        for file in report.files:
            yield from _entry(text.clean(file.file, 120), text.clean(file.words, LONGEST_SENTENCE), output)
    if report.not_opened:
        yield ""
        yield from wrapped(not_read(report.not_opened), output, "bold yellow")
    yield ""
    yield from wrapped(closing(report), output)


def not_read(files: Sequence[str]) -> str:
    """One sentence that names the files beside the model that were not read."""
    names = [text.clean(name, 120) for name in files[:_MOST_FILES]]
    if len(files) > _MOST_FILES:
        names.append(f"and {len(files) - _MOST_FILES:,} more (--json has all)")
    how = "open it by its path" if len(files) == 1 else "open them by their paths"
    return f"not read: {', '.join(names)} ({how})"


def wrapped(sentence: str, output: Output, style: str = "", indent: int = 0) -> list[str]:
    """A sentence as the lines that a terminal needs for it, or as one line."""
    lines = [" " * indent + sentence] if output.width is None else hanging(sentence, output.width, indent)
    return [output.style(line, style) for line in lines]


def _entry(name: str, evidence: str, output: Output) -> Iterator[str]:
    """A name and its evidence, which a narrow terminal shows below; it is never shortened, because it has numbers."""
    if output.width is not None:
        name = text.shorten(name, output.width - 2)
    yield f"  {name}" + output.note(evidence, "", len(name) + 2)


def markdown(source: Source, report: Report) -> Iterator[str]:
    """The report as Markdown: a sentence, then a table of the findings and of what could not be checked."""
    yield f"**{text.markdown(source.label)}**: {closing(report)}"
    if not (report.findings or report.unchecked or report.not_opened or report.files):
        return
    yield ""
    yield "| severity | rule | tensor, module or file | evidence |"
    yield "| --- | --- | --- | --- |"
    for finding in report.findings:
        evidence = text.markdown(finding.evidence + places(finding))
        about = text.markdown(subject(finding, source.label))
        yield f"| {SEVERITY_WORDS[finding.severity]} | {finding.rule} | {about} | {evidence} |"
    for entry in report.unchecked:
        about = text.markdown(entry.tensor if entry.tensor is not None else entry.file or source.label)
        yield f"| unchecked |  | {about} | {text.markdown(entry.reason)} |"
    for verified in report.files:
        state, _, words = verified.words.partition(": ")
        if verified.state != "mismatch":  # that is among the findings
            yield f"| {state} |  | {text.markdown(verified.file)} | {text.markdown(words)} |"
    for file in report.not_opened:
        yield f"| not read |  | {text.markdown(file)} | open it by its path |"
