"""Rule about the zero points of GPTQ, which are packed by two conventions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tui_params.core.findings import Finding
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint, Sketch

_MIDDLE = {0x88888888: (4, 8), 0x80808080: (8, 128)}
"""Words of nothing but the middle of the range, which is the zero point of symmetric quantisation: bits, and code."""

_ONE_LESS = {0x77777777: 0x88888888, 0x7F7F7F7F: 0x80808080}
"""The same zero points as AutoGPTQ packs them (less one), and as GPTQ's format v2 does."""

_CODES = {word: code for word, (_, code) in _MIDDLE.items()} | {
    less: _MIDDLE[word][1] - 1 for less, word in _ONE_LESS.items()
}
"""The zero point in each of these words."""

_FEWEST = 4


def find_odd_zero_points(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Zero points that are packed one higher, or one lower, than those of nearly all other layers."""
    zeros = [sketch for sketch in checkpoint.sketches if sketch.info.name.endswith("qzeros")]
    known = [(sketch, word) for sketch in zeros if (word := _word(sketch)) in _CODES]
    if len(known) < _FEWEST:
        return
    usual, count = Counter(word for _, word in known).most_common(1)[0]
    if count < min(checkpoint.thresholds.pattern_share * len(known), len(known) - 1):
        return
    for sketch, word in known:
        if word == _ONE_LESS.get(usual) or usual == _ONE_LESS.get(word):
            evidence = (
                f"its zero points are packed as {_CODES[word]}, but as {_CODES[usual]} in {count:,} of {len(known):,} "
                "layers: if these are read right, its weights are off by one step"
            )
            yield sketch.finding("warning", "zero-points-of-kind", evidence)


def _word(sketch: Sketch) -> int:
    """The one word of a tensor, without its sign; -1 if it has several."""
    if sketch.min is None or sketch.min != sketch.max or not sketch.is_exact:
        return -1
    if sketch.info.dtype.kind != "int" or sketch.info.dtype.bits != 32:
        return -1
    return int(sketch.min) & 0xFFFFFFFF


ZERO_POINT_RULES: tuple[Rule, ...] = (
    Rule(
        "zero-points-of-kind",
        "Zero points break the pattern",
        ("warning",),
        "The zero points of a layer are packed by another convention (less one, or not) than those of the others.",
        "AutoGPTQ stores zero points less one; GPTQ's format v2 (GPTQModel) stores them as they are",
        ("pattern_share",),
        cross_check=find_odd_zero_points,
    ),
)
