"""Rules about the rows and columns of one weight."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core.channels import Side, outlier_limit
from tui_params.core.findings import MAX_INDICES, Finding, Index, Severity
from tui_params.core.health.roles import PARAMETERS
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Subject
from tui_params.core.text import number, percent, plural

_NONE: tuple[Finding, ...] = ()
_WEIGHTS = PARAMETERS - {"bias"}


def row_index(shape: Index, row: int) -> Index:
    """The first element of a row, as ``Channels`` counts rows, in the tensor's shape."""
    if len(shape) == 3:
        return (*divmod(row, shape[1]), 0)
    return (row, *(0,) * (len(shape) - 1))


def column_index(shape: Index, column: int) -> Index:
    """The first element of a column in the tensor's shape."""
    if len(shape) > 3:
        return (0, column, *(0,) * (len(shape) - 2))
    return (*(0,) * (len(shape) - 1), column)


def _is_dying(subject: Subject) -> bool:
    """Whether dead rows mean something: in a weight that is not all zero."""
    figures = subject.figures
    return figures.is_exact and subject.role in _WEIGHTS and subject.is_matrix and figures.zeros < figures.count


def check_dead_rows(subject: Subject) -> Sequence[Finding]:
    if subject.channels is None or not subject.channels.rows.dead or not _is_dying(subject):
        return _NONE
    rows = subject.channels.rows
    indices = tuple(row_index(subject.info.shape, row) for row in rows.first_dead[:MAX_INDICES])
    evidence = _dead(rows, "row")
    if rows.first_dead and rows.first_dead[0] == rows.count - rows.dead:
        evidence += ": the last ones"
        if subject.role == "embedding":
            evidence += ", as in a vocabulary that was padded"
    elif rows.dead == 1 and subject.role == "embedding":
        evidence += ", like the row of a padding token"
    severity = "info" if rows.dead == 1 and subject.role == "embedding" else _dead_severity(rows, subject)
    return (subject.finding(severity, "dead-rows", evidence, indices),)


def check_dead_columns(subject: Subject) -> Sequence[Finding]:
    if subject.channels is None or not _is_dying(subject):
        return _NONE
    columns = subject.channels.columns
    if columns is None or not columns.dead:
        return _NONE
    indices = tuple(column_index(subject.info.shape, column) for column in columns.first_dead[:MAX_INDICES])
    severity = _dead_severity(columns, subject)
    return (subject.finding(severity, "dead-columns", _dead(columns, "column"), indices),)


def _dead(side: Side, what: str) -> str:
    verb = "holds" if side.dead == 1 else "hold"
    return f"{side.dead:,} of {plural(side.count, what)} ({percent(side.dead, side.count)}) {verb} zeros only"


def _dead_severity(side: Side, subject: Subject) -> Severity:
    return "warning" if side.dead > subject.thresholds.dead_share * side.count else "info"


def check_outliers(subject: Subject) -> Sequence[Finding]:
    if subject.channels is None or subject.role not in _WEIGHTS or not subject.is_matrix:
        return _NONE
    found = []
    for side, what, index in (
        (subject.channels.rows, "row", row_index),
        (subject.channels.columns, "column", column_index),
    ):
        if side is None:
            continue
        limit = outlier_limit(side.median_abs_max, side.count, subject.thresholds.outlier_ratio)
        if limit is None:
            continue
        largest = [channel for channel in side.largest if channel.abs_max > limit]
        if largest:
            top = largest[0]
            times = number(top.abs_max / side.median_abs_max, 3)
            others = "" if len(largest) == 1 else f", and {plural(len(largest) - 1, 'more', 'more')} beyond the limit"
            if len(largest) == len(side.largest) and len(largest) > 1:
                others = f", and at least {len(largest) - 1} more beyond the limit"
            evidence = (
                f"{what} {top.index:,} reaches {number(top.abs_max)}, {times} times the median of "
                f"{plural(side.count, what)} ({number(side.median_abs_max)}){others}"
            )
            indices = tuple(index(subject.info.shape, channel.index) for channel in largest[:MAX_INDICES])
            found.append(subject.finding("info", "outlier-channels", evidence, indices))
    return found


def check_untrained_rows(subject: Subject) -> Sequence[Finding]:
    if subject.role != "embedding" or subject.channels is None or not _is_dying(subject):
        return _NONE
    rows = subject.channels.rows
    if not rows.faint:
        return _NONE
    indices = tuple(row_index(subject.info.shape, row.index) for row in rows.smallest[: min(rows.faint, MAX_INDICES)])
    evidence = (
        f"{rows.faint:,} of {plural(rows.count, 'row')} stay below 1/100 of the median of the largest magnitudes "
        f"({number(rows.median_abs_max)}): tokens that were hardly ever seen"
    )
    return (subject.finding("info", "untrained-embedding-rows", evidence, indices),)


CHANNEL_RULES: tuple[Rule, ...] = (
    Rule(
        "dead-rows",
        "Dead rows",
        ("warning", "info"),
        "Rows of zeros: outputs that are never produced. The last rows of a padded vocabulary are normal.",
        "aprender F-DATA-QUALITY-007; the share is our choice",
        ("dead_share",),
        check_dead_rows,
    ),
    Rule(
        "dead-columns",
        "Dead columns",
        ("warning", "info"),
        "Columns of zeros: inputs that are never used.",
        "aprender F-DATA-QUALITY-007; the share is our choice",
        ("dead_share",),
        check_dead_columns,
    ),
    Rule(
        "outlier-channels",
        "Outlier channels",
        ("info",),
        "A row or column far larger than the others. Large language models have them; quantisation loses precision.",
        "LLM.int8 (arXiv 2208.07339), massive activations (arXiv 2402.17762); the ratio is our choice",
        ("outlier_ratio",),
        check_outliers,
    ),
    Rule(
        "untrained-embedding-rows",
        "Untrained embedding rows",
        ("info",),
        "Rows of an embedding below 1/100 of the median of all (a fixed share): tokens that training hardly ever saw.",
        "Fishing for Magikarp (EMNLP 2024)",
        (),
        check_untrained_rows,
    ),
)
