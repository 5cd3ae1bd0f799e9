"""Rules about tables of indices and counters: whole numbers, in range, and in order where the name says so.

The order is known from the figures of the one read: the sum and the sum of squares of numbers that rise by one, and
of a matrix the places of its largest and smallest columns. A few exchanged in the middle are not seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tui_params.core.channels import Channels
from tui_params.core.figures import Figures
from tui_params.core.findings import Finding
from tui_params.core.health.roles import Role
from tui_params.core.health.rule import Rule
from tui_params.core.health.sought import NEGATIVE, NOT_WHOLE, Sought
from tui_params.core.health.subjects import Checkpoint, Subject
from tui_params.core.health.thresholds import Thresholds
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import all_are, number

_NONE: tuple[Finding, ...] = ()
_ROLES: frozenset[Role] = frozenset({"mask", "statistic", "optimizer"})
_COUNTERS = frozenset({"num_batches_tracked", "step", "global_step", "n_averaged"})
_FLOAT_COUNTERS = frozenset({"step"})
"""Counters that torch.optim itself keeps as float32."""

_RELATIVE = "relative_position_index"
_TABLES = {
    "position_ids": ("position_embedding.weight", "position_embeddings.weight", "wpe.weight"),
    "token_type_ids": ("token_type_embedding.weight", "token_type_embeddings.weight"),
    _RELATIVE: ("relative_position_bias_table",),
}
"""What a table of indices points into, in the same module."""

_CLOSE = 1e-9


def check_index_values(subject: Subject) -> Sequence[Finding]:
    figures = subject.figures
    if subject.role not in _ROLES or not figures.is_exact or not figures.count or figures.non_finite:
        return _NONE
    if subject.info.dtype.kind not in ("float", "int") or subject.info.dtype.is_packed:
        return _NONE
    last = subject.info.name.rpartition(".")[2].lower()
    is_counter = last in _COUNTERS
    if not (is_counter or last == _RELATIVE or last.endswith("_ids")):
        return _NONE
    low, high = figures.min, figures.max
    # Several rows of positions may be coordinates in an image, which may be anything (SAM 3 has them in float32).
    if low is None or high is None or (last == "position_ids" and not _is_one_row(subject.info)):
        return _NONE
    if low < 0 and (is_counter or last in _TABLES):
        evidence = f"the smallest value is {number(low)}: no {'count' if is_counter else 'index'} is negative"
        return (subject.finding("error", "index-values", evidence),)
    dtype = subject.info.dtype.short
    if _has_fraction(figures):
        evidence = f"{_range(figures)} in {dtype}: {'counts' if is_counter else 'indices'} are whole numbers"
        if not is_counter:
            evidence += ", and merging or a cast has changed them"
        return (subject.finding("error" if last in _TABLES else "warning", "index-values", evidence),)
    if last == "position_ids":
        found = _positions(subject)
        if found:
            return found
    if subject.info.dtype.kind == "float" and last not in _FLOAT_COUNTERS:
        evidence = f"{_range(figures)} in {dtype}, though whole: merging or a cast made floats of integers"
        return (subject.finding("info", "index-values", evidence),)
    return _NONE


def _is_one_row(info: TensorInfo) -> bool:
    return sum(size > 1 for size in info.shape) <= 1


def _range(figures: Figures) -> str:
    if figures.min == figures.max:
        return f"{all_are(figures.count, 'value')} {number(figures.max)}"
    return f"{figures.count:,} values from {number(figures.min)} to {number(figures.max)}"


def _has_fraction(figures: Figures) -> bool:
    """Whether at least one value is certainly no whole number: an extreme, or else one that makes the sum none."""
    if any(value is not None and value != math.floor(value) for value in (figures.min, figures.max)):
        return True
    total = (figures.mean or 0.0) * figures.count
    return abs(total - round(total)) > _CLOSE * max(1.0, abs(total)) if abs(total) < 1e8 else False


def _positions(subject: Subject) -> Sequence[Finding]:
    """Position ids that do not rise by one."""
    figures, shape = subject.figures, subject.info.shape
    length = figures.count
    low, high = figures.min, figures.max
    if length < 2 or low is None or high is None or figures.mean is None:
        return _NONE
    spread = math.sqrt((length * length - 1) / 12)
    rises = high - low == length - 1 and math.isclose(figures.mean, low + (length - 1) / 2, rel_tol=_CLOSE)
    rises = rises and math.isclose(figures.std or 0.0, spread, rel_tol=_CLOSE)
    last = low + length - 1
    if not rises:
        evidence = f"{_range(figures)} with the mean {number(figures.mean)}: they do not rise by one to {number(last)}"
    elif not _is_in_order(subject.channels, shape, int(low)):
        evidence = f"{_range(figures)} are not in order"
    else:
        return _NONE
    is_float = subject.info.dtype.kind == "float"
    if is_float:
        evidence += f", and {subject.info.dtype.short} is no type of an index"
    return (subject.finding("error" if is_float else "warning", "index-values", evidence),)


def _is_in_order(channels: Channels | None, shape: tuple[int, ...], low: int) -> bool:
    """Whether the largest and the smallest columns of one row stand where numbers that rise from ``low`` have them."""
    if channels is None or channels.columns is None or len(shape) != 2 or shape[0] != 1:
        return True
    columns = channels.columns
    first = 0 if low else 1  # a zero is a dead column
    largest = [channel.index for channel in columns.largest]
    smallest = [channel.index for channel in columns.smallest]
    return (
        largest == [shape[1] - 1 - place for place in range(len(largest))]
        and smallest == [first + place for place in range(len(smallest))]
        and (low > 0 or columns.first_dead == (0,))
    )


def seek_index(finding: Finding, info: TensorInfo, thresholds: Thresholds) -> Sought | None:
    if "negative" in finding.evidence:
        return NEGATIVE
    return NOT_WHOLE if "whole numbers" in finding.evidence else None


def find_index_beyond_table(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Indices that are no row of the table beside them."""
    tables = {end for ends in _TABLES.values() for end in ends}
    lasts = {end.rpartition(".")[2] for end in tables}
    rows = {
        info.name: info.shape[0]
        for info in checkpoint.infos
        if info.shape and info.numel and info.name.rpartition(".")[2] in lasts and info.name.endswith(tuple(tables))
    }
    if not rows:
        return
    for sketch in checkpoint.sketches:
        prefix, dot, last = sketch.info.name.rpartition(".")
        if last not in _TABLES or sketch.max is None or sketch.role not in _ROLES:
            continue
        for end in _TABLES[last]:
            table = f"{prefix}{dot}{end}"
            if sketch.max >= rows.get(table, math.inf):
                evidence = f"the largest index is {number(sketch.max)}, but {table} has {rows[table]:,} rows"
                yield sketch.finding("error", "index-range", evidence)


INDEX_RULES: tuple[Rule, ...] = (
    Rule(
        "index-values",
        "Index that cannot be",
        ("error", "warning", "info"),
        "Indices and counts are whole and not negative, and position ids rise by one. Merging turns them into floats.",
        "AUTOMATIC1111 stable-diffusion-webui PR 6728 (position_ids of CLIP after a merge)",
        check=check_index_values,
        seek=seek_index,
    ),
    Rule(
        "index-range",
        "Index beyond its table",
        ("error",),
        "An index that is no row of the embedding or bias table beside it.",
        "Swin (arXiv 2103.14030, relative_position_index), BERT (position_ids)",
        cross_check=find_index_beyond_table,
    ),
)
