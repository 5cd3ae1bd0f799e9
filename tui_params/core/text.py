"""Numbers, sizes, shapes and names as text. All formatting is done here.

Everything returned is one line of plain text without control characters, ready for a terminal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

_SIZE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_COUNT_UNITS = ("", "K", "M", "B", "T", "Q")

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = ".:-=+*#@"

# C0, DEL, C1; line and paragraph separators; bidi marks, embeddings, overrides and isolates (Trojan Source,
# CVE-2021-42574); zero-width characters; lone surrogates; interlinear annotations; tags; private use is left alone.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|])")
_MENTION = re.compile("@(?=[A-Za-z0-9])")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def first_words(words: str, room: int) -> str:
    """As many words as there is room for, and a sign that more follow."""
    return words if len(words) <= room else f"{words[: max(0, room - 2)].rpartition(' ')[0]} …"


def clean(text: str, limit: int | None = None) -> str:
    """``text`` without control characters that a terminal would obey: they are written out as escapes.

    With ``limit``, at most that many characters: the middle of a longer one is replaced by ``…``.
    """
    if limit is not None and len(text) > 4 * limit:
        # Escapes make a text longer, never shorter: what is cut here could not have been shown.
        text = text[: 2 * limit] + text[-2 * limit :]
    if not text.isprintable() or _UNPRINTABLE.search(text):
        text = _UNPRINTABLE.sub(_escape, text)
    return text if limit is None else shorten(text, limit)


def markdown(text: str) -> str:
    """``text`` as it is in Markdown, also in a table: cleaned, and without a mark that would mean something there.

    An at sign that would call somebody of that name stands as code.
    """
    return _MENTION.sub("`@`", _MARKDOWN.sub(r"\\\1", clean(text)))


def name(text: str, limit: int | None = None) -> str:
    """The name of a tensor or a module, cleaned; an empty name, which formats allow, becomes words."""
    return clean(text, limit) or "(empty name)"


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters: the middle is replaced by ``…``, so that both ends stay readable."""
    if len(text) <= limit:
        return text
    if limit <= 1:
        return "…"[:limit]
    tail = (limit - 1) // 2
    head = limit - 1 - tail
    return f"{text[:head]}…{text[len(text) - tail :]}"


def shorten_name(name: str, limit: int) -> str:
    """A dotted name of at most ``limit`` characters that keeps its end, because names differ there."""
    if len(name) <= limit:
        return name
    return "…" if limit <= 1 else f"…{name[len(name) - limit + 1 :]}"


def abbreviate(name: str, limit: int) -> str:
    """A dotted name of at most ``limit`` characters that keeps its first number and its end, which matter most.

    From the left, parts give way to ``…``, up to the first number or the last two parts; then a final ``weight`` or
    ``bias`` becomes its first letter, or the words between do, or both:
    ``…11.self_attn.q_proj.w``, ``…11.s.q_proj.weight``. A name that is still too long loses its middle.
    """
    if len(name) <= limit:
        return name
    parts = name.split(".")
    head = ""
    while len(parts) > 2 and not parts[0].isdigit() and len(name) > limit:
        head = "…"
        parts = parts[1:]
        name = head + ".".join(parts)
    is_long_end = len(parts) > 1 and parts[-1] in ("weight", "bias")
    initials = [part if part.isdigit() else part[:1] for part in parts[:-2]]
    for start in (parts[:-2], initials):
        for end in (parts[-1], parts[-1][:1]) if is_long_end else (parts[-1],):
            name = head + ".".join([*start, *parts[-2:-1], end])
            if len(name) <= limit:
                return name
    return shorten(name, max(limit, 0))


def size(nbytes: int) -> str:
    """Bytes in binary units with three significant digits: ``1.33 GiB``, ``16.0 KiB``, ``12 B``."""
    if nbytes < 1024:
        return f"{nbytes} B"
    value = float(nbytes)
    unit = 0
    while value >= 999.5 and unit < len(_SIZE_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{_three_digits(value)} {_SIZE_UNITS[unit]}"


def numel(count: int) -> str:
    """A number of parameters, short: ``201M``, ``1.24B``, ``768``."""
    if count < 1000:
        return str(count)
    value = float(count)
    unit = 0
    while value >= 999.5 and unit < len(_COUNT_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{_three_digits(value)}{_COUNT_UNITS[unit]}"


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def integer(count: int) -> str:
    """An exact count with separators: ``201,326,592``."""
    return f"{count:,}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 tensor``, ``2 tensors``, ``91,991 tensors``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def short_plural(count: int, one: str) -> str:
    """``1 parameter``, ``768 parameters``, ``1.24B parameters``."""
    return f"{numel(count)} {one if count == 1 else one + 's'}"


def are(count: int, one: str = "is", many: str = "are") -> str:
    """The verb that goes with a count: "1 of 384 values is", "2 of 384 values are"."""
    return one if count == 1 else many


def all_are(count: int, one: str, many: str | None = None) -> str:
    """``all 12 values are``, ``the one value is``."""
    return f"the one {one} is" if count == 1 else f"all {count:,} {many or one + 's'} are"


def article(noun: str) -> str:
    """A noun with its article, told from its first letter: ``a DTensor``, ``an AffineQuantizedTensor``."""
    return f"{'an' if noun[:1].lower() in set('aeio') else 'a'} {noun}"


def exact_size(nbytes: int) -> str:
    """Bytes in a handy unit, and their number: ``1.00 KiB (1,025 bytes)``, ``8 bytes``."""
    exact = plural(nbytes, "byte")
    return exact if nbytes < 1024 else f"{size(nbytes)} ({exact})"


def listed(names: Sequence[str], most: int) -> str:
    """``a, b and c``, or ``a, b and 3 more``. The names are clean already."""
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most:,} more")
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def shape(dims: Sequence[int]) -> str:
    """``[4096, 1024]``; a 0-d tensor is ``[]``, as torch writes ``torch.Size([])``."""
    return f"[{', '.join(map(str, dims))}]"


def short_shape(dims: Sequence[int]) -> str:
    """``4096×1024`` for a column; a 0-d tensor is ``scalar``."""
    return "×".join(map(str, dims)) if dims else "scalar"


def number(value: float | int | None, digits: int = 4) -> str:
    """A statistic with ``digits`` significant digits, whole from a thousand to a million; None is ``–``."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**12 else f"{value:.{digits - 1}e}"
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0"
    magnitude = abs(value)
    if 1e-3 <= magnitude < 999_999.5:
        text = f"{value:.{digits}g}"
        return text if magnitude < 1000 and "e" not in text else f"{value:,.{max(0, digits - 4)}f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def number_within(value: float | int | None, room: int) -> str:
    """A statistic with at most three digits in ``room`` characters, fewer digits where there is less room.

    Seven are enough for any float64; with fewer than that, the empty text says that it does not fit.
    """
    if isinstance(value, int) and len(number(value)) > room:
        value = float(value)
    for digits in (3, 2, 1):
        shown = number(value, digits)
        if len(shown) <= room:
            return shown
    if value is None or not -math.inf < value < math.inf:
        return ""
    for digits in (2, 1, 0):
        mantissa, exponent = f"{value:.{digits}e}".split("e")
        if len(shown := f"{mantissa}e{int(exponent)}") <= room:
            return shown
    return ""


def percent(part: int, whole: int) -> str:
    """A share in percent that is never rounded to ``0 %`` or ``100 %``: these are exact, a trace is ``<0.01 %``."""
    if whole == 0 or part == 0:
        return "0 %"
    if part == whole:
        return "100 %"
    share = 100 * part / whole
    if share < 0.01:
        return "<0.01 %"
    if share > 99.99:
        return ">99.99 %"
    if share >= 99.95:
        return f"{share:.2f} %"
    return f"{share:.2f} %" if share < 10 else f"{share:.1f} %"


def duration(seconds: float) -> str:
    """``0.42 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def dtype_mix(nbytes_by_dtype: dict[str, int], limit: int = 3) -> str:
    """Short dtype names, the one with most bytes first: ``bf16``, ``bf16 f32``, ``bf16 f32 +2``; ``bf16+3`` for one."""
    names = sorted(nbytes_by_dtype, key=lambda name: (-nbytes_by_dtype[name], name))
    if len(names) <= limit:
        return " ".join(names)
    if limit == 1:
        return f"{names[0]}+{len(names) - 1}"
    return f"{' '.join(names[: limit - 1])} +{len(names) - limit + 1}"


def spark(counts: Sequence[int], width: int, *, ascii_only: bool = False) -> str:
    """A histogram in one line of at most ``width`` cells; an empty bin is a blank, a trace is visible."""
    if not counts or width <= 0:
        return ""
    levels = ASCII_BLOCKS if ascii_only else BLOCKS
    merged = _rebin(counts, width)
    top = max(merged)
    if top == 0:
        return " " * len(merged)
    return "".join(" " if not count else levels[(count * len(levels) - 1) // top] for count in merged)


def _rebin(counts: Sequence[int], width: int) -> list[int]:
    """``counts`` summed into at most ``width`` bins of equal numbers of the old ones, as near as can be."""
    if len(counts) <= width:
        return list(counts)
    edges = [index * len(counts) // width for index in range(width + 1)]
    return [sum(counts[start:stop]) for start, stop in pairwise(edges)]
