"""WorkedOut: the statistics of a whole tensor where another machine worked them out, and how they travel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from tui_params.core.channels import MOST_ALIKE, Channels, Side
from tui_params.core.figure_records import decode_record, encode_record
from tui_params.core.figures import QUANTILES, SPARK_BINS, Figures
from tui_params.core.numbers.maxima import LISTED, has_marks, lines_of
from tui_params.core.numbers.sent_summary import SentSummary, checked_summary, pack_summary
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

MOST_NBYTES = 1 << 24
"""The most bytes that a WorkedOut takes: of float64, whose tables are the largest, it has some 8 MB."""


class _Sent(msgspec.Struct, frozen=True, array_like=True):
    record: bytes
    summary: SentSummary | None


_COUNTS = ("numel", "count", "finite", "nan", "pos_inf", "neg_inf", "zeros", "subnormals")
_NUMBERS = ("min", "max", "mean", "std", "abs_max", "l2_norm", "rms", "spark_low", "spark_high")


def pack(found: WorkedOut) -> bytes:
    """What travels: msgpack."""
    summary = None if found.summary is None else pack_summary(found.summary)
    return msgspec.msgpack.encode(_Sent(encode_record(found.figures, found.channels), summary))


def unpack(data: bytes, info: TensorInfo, *, has_summary: bool) -> WorkedOut:
    """The reverse, from anybody. Raises ReadError unless it can be what was found of all elements of ``info``.

    Figures are made of the summary here, if there is one.
    """
    try:
        sent = msgspec.msgpack.decode(data, type=_Sent)
        record = decode_record(sent.record)
        if record is None or (sent.summary is not None) != has_summary:
            raise ValueError("it is not what was asked for")
        summary = None if sent.summary is None else checked_summary(sent.summary, info.dtype, info.numel)
        figures = record.figures if summary is None else summary.figures(info.numel)
        _check_figures(figures, info)
        _check_channels(record.channels, info)
    except (msgspec.MsgspecError, ValueError, ArithmeticError, UnicodeDecodeError, RecursionError) as error:
        raise ReadError(f"what was worked out of {info.name} cannot be right: {error}") from None
    return WorkedOut(figures, record.channels, summary)


def _check_figures(figures: Figures, info: TensorInfo) -> None:
    """Raise ValueError unless these can be the figures of all elements of a tensor."""
    parts = 2 if info.dtype.is_complex else 1
    counts = [getattr(figures, name) for name in _COUNTS]
    numbers = [each for name in _NUMBERS if (each := getattr(figures, name)) is not None]
    is_sane = (
        (figures.numel, figures.parts, figures.count) == (info.numel, parts, info.numel * parts)
        and min(counts) >= 0
        and figures.finite + figures.non_finite == figures.count
        and max(figures.zeros, figures.subnormals, figures.at_max or 0, figures.below_max or 0) <= figures.finite
        and min(figures.at_max or 0, figures.below_max or 0) >= 0
        and all(isinstance(each, int) or math.isfinite(each) for each in (*numbers, *figures.quantiles))
        and all(-(2**63) <= each < 2**64 for each in numbers if isinstance(each, int))
        and len(figures.quantiles) == (len(QUANTILES) if figures.finite else 0)
        and len(figures.spark) in ((SPARK_BINS,) if figures.finite else (0,))
        and (not figures.spark or min(figures.spark) >= 0)
        and sum(figures.spark) <= figures.finite
        and figures.is_exact
        and 0 <= figures.quantile_error < math.inf
        and all((getattr(figures, name) is None) == (not figures.finite) for name in ("min", "max", "mean"))
    )
    if not is_sane:
        raise ValueError("its figures are not of all elements")


def _check_channels(channels: Channels | None, info: TensorInfo) -> None:
    """Raise ValueError unless these can be the channels of a tensor."""
    lines = lines_of(info)
    if channels is None or lines is None:
        if channels is not None:
            raise ValueError("it has no channels")
        return
    columns = lines.width // lines.group if lines.has_columns else 0
    if (channels.columns is None) != (not lines.has_columns):
        raise ValueError("its columns are not those of the tensor")
    _check_side(channels.rows, lines.rows)
    if channels.columns is not None:
        _check_side(channels.columns, columns)
    alike = [row for group in channels.alike for row in group]
    if (alike and not has_marks(info)) or len(alike) > MOST_ALIKE or not _are_within(alike, lines.rows):
        raise ValueError("its equal rows are none")


def _check_side(side: Side, count: int) -> None:
    listed = (*side.largest, *side.smallest)
    is_sane = (
        side.count == count
        and 0 <= side.dead <= count
        and 0 <= side.faint <= count
        and max(len(side.first_dead), len(side.largest), len(side.smallest)) <= LISTED
        and _are_within([*side.first_dead, *(each.index for each in listed)], count)
        and all(0 <= each < math.inf for each in (side.median_abs_max, *(each.abs_max for each in listed)))
    )
    if not is_sane:
        raise ValueError("its channels are not those of the tensor")


def _are_within(indices: Sequence[int], count: int) -> bool:
    return all(0 <= index < count for index in indices)
