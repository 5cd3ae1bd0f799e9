"""Thresholds: the numbers that the health rules compare with, which a user may change."""

from __future__ import annotations

import math

import msgspec


class Thresholds(msgspec.Struct, frozen=True, gc=False):
    """Every number that a rule compares with. Shares are between 0 and 1; MEANINGS explains each."""

    mostly_zero: float = 0.8
    mostly_zero_embedding: float = 0.5
    dead_share: float = 0.05
    outlier_ratio: float = 20.0
    abs_max_warning: float = 1e4
    abs_max_error: float = 1e6
    saturated_share: float = 0.001
    subnormal_share: float = 0.1
    norm_rms: float = 1e-3
    running_var: float = 1e-12
    storage_ratio: float = 4.0
    storage_nbytes: float = 1 << 20
    siblings: float = 6
    sibling_z: float = 6.0
    sibling_ratio: float = 3.0
    pattern_share: float = 0.8
    duplicate_nbytes: float = 4096


MEANINGS: dict[str, str] = {
    "mostly_zero": "the share of zeros in a matrix beyond which it is mostly zero",
    "mostly_zero_embedding": "the same for embeddings and output layers",
    "dead_share": "the share of dead rows (or columns) beyond which they are a warning",
    "outlier_ratio": "how many times the median of all rows (or columns) an outlier reaches, at least",
    "abs_max_warning": "the magnitude beyond which a weight is suspicious",
    "abs_max_error": "the magnitude beyond which a matrix is broken",
    "saturated_share": "the share of elements at the largest value of the type, not counting what scaling puts there",
    "subnormal_share": "the share of subnormal elements",
    "norm_rms": "the root mean square below which the gain of a normalisation is near zero",
    "running_var": "the running variance below which a channel of a BatchNorm is constant",
    "storage_ratio": "how many times larger than a view the storage is that it keeps alive, at least",
    "storage_nbytes": "how many bytes such a storage has besides those of the view, at least",
    "siblings": "how many tensors of one kind a cross-check of them needs, at least",
    "sibling_z": "the robust z-score of log10 beyond which a tensor differs from its kind",
    "sibling_ratio": "how many times larger or smaller than the median of its kind such a tensor is, at least",
    "pattern_share": "the share of a kind that must have one type or shape, so that the others break the pattern",
    "duplicate_nbytes": "how many bytes identical tensors have, at least, to be mentioned",
}
"""What each threshold means, by its field."""

DEFAULT = Thresholds()


def with_threshold(thresholds: Thresholds, name: str, value: float) -> Thresholds:
    """``thresholds`` with one changed; ``name`` may have dashes for underscores.

    Raises ValueError, one sentence, for an unknown name and for a value that is negative or not finite.
    """
    field = name.strip().replace("-", "_")
    if field not in MEANINGS:
        names = ", ".join(key.replace("_", "-") for key in MEANINGS)
        raise ValueError(f"there is no threshold {name!r}; the thresholds are {names}")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"the threshold {name} is {value:g}, but must be finite and not negative")
    return msgspec.structs.replace(thresholds, **{field: value})
