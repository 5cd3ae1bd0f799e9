"""``tui_params.report``: a report of anything that can be opened, as a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from tui_params.core.health.thresholds import DEFAULT, Thresholds, with_threshold
from tui_params.reports.facts import gather

if TYPE_CHECKING:
    from tui_params.api.opening import Target


def report(
    target: Target,
    *others: Target,
    format: Literal["html", "md"] = "html",  # noqa: A002
    thresholds: Thresholds | Mapping[str, float] = DEFAULT,
    should_stop: Callable[[], bool] | None = None,
) -> str:
    """A report of one source, of two and what lies between them, or of a run, as one HTML page or as Markdown.

    Targets are what ``open_source`` takes, in any combination: paths, modules, state dicts, sources. Three or more are
    the steps of a run, and so is the folder of one. The page is a whole document, which loads nothing and has no
    script; write it with ``encoding="utf-8"``. ``thresholds`` may be a mapping of those that differ from the default.
    Every element is read. Raises OpenError, TypeError, ValueError for another format or threshold, StoppedError.
    """
    if format not in ("html", "md"):
        raise ValueError(f"a report is html or md, not {format!r}")
    if not isinstance(thresholds, Thresholds):
        changes, thresholds = thresholds, DEFAULT
        for name, value in changes.items():
            thresholds = with_threshold(thresholds, name, value)
    facts = gather([target, *others], thresholds=thresholds, should_stop=should_stop)
    if format == "md":
        from tui_params.reports.markdown import markdown

        return markdown(facts)
    from tui_params.reports.page import page

    return "".join(page(facts))
