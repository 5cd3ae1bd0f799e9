"""The report of a check in words: the closing line, and what could not be checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.core import text
from tui_params.core.health.alike import MOST_ALONE, group_reasons
from tui_params.core.health.checker import Report
from tui_params.core.health.finding_text import LONGEST_NAME, LONGEST_SENTENCE
from tui_params.core.health.verification import count_words

_MOST_UNCHECKED = 20


def closing(report: Report) -> str:
    """The closing line: how much was checked."""
    if report.has_nothing:
        what = f"{text.plural(report.empty, 'tensor')} without elements" if report.empty else "no tensors"
        parts = [f"{what}: nothing was checked"]
    else:
        checked = f"{text.plural(report.checked, 'tensor')} checked"
        notes = [f"{report.empty:,} without elements"] if report.empty else []
        if report.gradients:
            what = "a gradient" if report.gradients == 1 else "gradients"
            notes.append(f"{report.gradients:,} of them {what}")
        if report.as_codes:
            notes.append(f"{report.as_codes:,} of them as stored codes, which could not be restored")
        checked += f" ({', '.join(notes)})" if notes else ""
        parts = [checked, f"{unchecked_words(report, '')} could not be checked"]
    if report.files:
        parts.append(count_words(report.files))
    if report.not_opened:
        parts.append(f"{_counted(report.not_opened)} not read")
    if not report.findings and not report.has_nothing:
        is_whole = not (report.not_opened or report.unchecked or report.unverified)
        parts.append("no findings" if is_whole else "no findings in what was read")
    return ", ".join(parts)


def _counted(files: Sequence[str]) -> str:
    folders = sum(name.endswith("/") for name in files)
    counts = ((len(files) - folders, "file"), (folders, "folder"))
    return " and ".join(text.plural(count, what) for count, what in counts if count)


def unchecked_words(report: Report, noun: str = "tensor") -> str:
    """How many tensors and files could not be checked; the source as a whole is named apart."""
    tensors = sum(entry.tensor is not None for entry in report.unchecked)
    files = [entry.file for entry in report.unchecked if entry.file is not None]
    parts = [text.plural(tensors, noun) if noun else f"{tensors:,}"] if tensors or not report.unchecked else []
    parts += [_counted(files)] if files else []
    parts += ["the source itself"] if tensors + len(files) < len(report.unchecked) else []
    return text.listed(parts, len(parts))


def unchecked_entries(report: Report, label: str) -> Iterator[tuple[str, str]]:
    """Names and reasons; reasons that differ only in numbers and in the tensor's own name are grouped."""
    groups = group_reasons([(entry.tensor, entry.reason) for entry in report.unchecked])
    for number, group in enumerate(groups):
        if number == _MOST_UNCHECKED:
            yield f"and {text.plural(len(groups) - number, 'more reason')}", "--json has all"
            return
        first, count = report.unchecked[group.members[0]], len(group.members)
        name = text.clean(first.file or label) if first.tensor is None else text.name(first.tensor, LONGEST_NAME)
        if group.kind is not None and count > MOST_ALONE:
            name = f"{text.name(group.kind, LONGEST_NAME)} x {count:,}"
        elif count > 1:
            name += f" and {count - 1:,} more"
        yield name, ("" if group.is_same else "the first: ") + text.clean(first.reason, LONGEST_SENTENCE)
