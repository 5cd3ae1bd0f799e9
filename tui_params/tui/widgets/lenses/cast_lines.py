"""The cast preview as a table: what each smaller type would do to the values. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tui_params.core import text
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import within

if TYPE_CHECKING:
    from tui_params.core.numbers.casts import Cast

_TITLES = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8 e4m3fn",
    "float8_e5m2": "fp8 e5m2",
    "int8": "int8 absmax",
}

HEIGHT = 10
"""Lines of the table with its heading and its notes."""


def cast_lines(
    targets: Sequence[str], casts: Mapping[str, Cast], waiting: str, width: int, glyphs: Glyphs
) -> list[Line]:
    """A line for each target; ``waiting`` is said of those that are being worked out."""
    has_shares = width >= 72
    column = 18 if has_shares else 11
    # What has no room is left out, the rarest first.
    fitting = max(0, (width - 23) // column)
    kept = ("to zero", "overflow", "saturated")[:fitting]
    shown = [name for name in ("overflow", "saturated", "to zero") if name in kept]
    heading = f"{'cast to':<12}{'SNR':>11}" + "".join(f"{name:>{column}}" for name in shown)
    lines: list[Line] = [[], [(heading[:width], "label")]]
    for target in targets:
        cast = casts.get(target)
        title = f"{_TITLES.get(target, target):<12}"
        if cast is None:
            lines.append([(title, "text"), (f"{glyphs.unknown:>11}  {waiting}", "dim")])
            continue
        line: Line = [(title, "text"), (f"{_snr(cast):>11}", _style(cast))]
        has_limit = target.startswith(("float", "bf"))
        for name, count, is_told in (
            ("overflow", cast.overflowed, has_limit and target != "float8_e4m3fn"),
            ("saturated", cast.saturated, target == "float8_e4m3fn"),
            ("to zero", cast.flushed, True),
        ):
            if name not in shown:
                continue
            words = _count(count, cast.finite, has_shares=has_shares) if is_told or count else "–"
            lost = "warning" if count and count != cast.flushed else "text" if count else "dim"
            line.append((f"{words:>{column}}", lost))
        lines.append(line)
    return within([*lines, *_notes(casts, width)], width)


def _snr(cast: Cast) -> str:
    snr = cast.snr
    if snr is None:
        return "–"
    if snr == math.inf:
        return "exact"
    return "-Inf dB" if snr == -math.inf else f"{snr:.2f} dB"


def _style(cast: Cast) -> str:
    snr = cast.snr
    return "dim" if snr is None else "success" if snr == math.inf else "error" if snr == -math.inf else "number"


def _count(count: int, finite: int, *, has_shares: bool) -> str:
    if not count:
        return "0"
    share = f" {text.percent(count, finite):>8}"
    return (
        f"{count:,}{share}" if has_shares and count < 10**8 else text.numel(count) if count >= 10**6 else f"{count:,}"
    )


def _notes(casts: Mapping[str, Cast], width: int) -> list[Line]:
    notes = []
    e4m3, half, int8 = casts.get("float8_e4m3fn"), casts.get("float16"), casts.get("int8")
    if e4m3 is not None and e4m3.differing:
        notes.append(f"e4m3fn by torch's rule; ml_dtypes gives NaN for {e4m3.differing:,}")
    if half is not None and half.differing:
        notes.append(f"fp16 by torch's rule, over float32; numpy rounds {half.differing:,} otherwise")
    if int8 is not None and int8.scale:
        notes.append(f"int8: s = {text.number(int8.scale, 6)}")
    words = "  ".join(notes)
    return [[(text.shorten(words, width), "dim")]] if notes else []
