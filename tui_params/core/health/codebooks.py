"""Codebooks that no vector has been assigned to yet: their buffers are zero until the first batch.

A codebook is learned without gradients (van den Oord et al. 2017, arXiv 1711.00937, appendix A.1): it counts how many
vectors fell to each code, and averages them. Libraries call these buffers alike.
"""

from __future__ import annotations

from collections.abc import Iterable

from tui_params.core.health.subjects import Sketch
from tui_params.core.kinds import kind_of

_VECTORS = frozenset({"embed", "embed_avg", "embed_sum"})
_COUNTS = frozenset({"cluster_size", "cluster_usage"})
_FLAGS = frozenset({"inited", "initted", "initialized"})
"""Whether k-means has made the codes; transformers sets it from the start, whatever the codes are."""

_STARTS = (0, 1)
"""What each count starts at, in encodec and Mimi."""


def unused_codebooks(sketches: Iterable[Sketch]) -> set[str]:
    """The vectors of codebooks in which nothing was counted, if all of their kind are so.

    A count differs from code to code once a codebook was in use: then zeros are a loss.
    """
    modules: dict[str, dict[str, Sketch]] = {}
    for sketch in sketches:
        module, _, last = sketch.info.name.rpartition(".")
        if last in _VECTORS or last in _COUNTS or last in _FLAGS:
            modules.setdefault(module, {})[last] = sketch
    unused: dict[str, list[str]] = {}
    used: set[str] = set()
    for module, parts in modules.items():
        vectors = [sketch for last, sketch in parts.items() if last in _VECTORS]
        if not vectors or not _COUNTS & parts.keys():
            continue
        kind = kind_of(module)
        if all(sketch.is_zero for sketch in vectors) and _is_at_start(parts):
            unused.setdefault(kind, []).extend(sketch.info.name for sketch in vectors)
        else:
            used.add(kind)
    return {name for kind, names in unused.items() if kind not in used for name in names}


def _is_at_start(parts: dict[str, Sketch]) -> bool:
    """Whether a codebook says that it was not made yet, or has counted nothing."""
    if any(sketch.is_zero for last, sketch in parts.items() if last in _FLAGS):
        return True
    counts = [sketch for last, sketch in parts.items() if last in _COUNTS]
    return all(sketch.is_exact and sketch.min == sketch.max and sketch.max in _STARTS for sketch in counts)
