"""Thresholds: the numbers that the health rules compare with, as one value that a user may change."""

from __future__ import annotations

import math

import msgspec


class Thresholds(msgspec.Struct, frozen=True, gc=False):
    """Every number that a rule compares with. Shares are between 0 and 1; what each means stands in MEANINGS."""

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
    "outlier_ratio": "how many times the median of all rows (or columns) the largest magnitude of an outlier is",
    "abs_max_warning": "the magnitude beyond which a weight is suspicious",
    "abs_max_error": "the magnitude beyond which a matrix is broken",
    "saturated_share": "the share of elements at the largest value of the type, beyond what scaling puts there",
    "subnormal_share": "the share of subnormal elements",
    "norm_rms": "the root mean square below which the gain of a normalisation is near zero",
    "running_var": "the running variance below which a channel of a BatchNorm is constant",
    "storage_ratio": "how many times its own size the storage is that a view keeps alive",
    "storage_nbytes": "the bytes that such a storage has beyond the view, at least",
    "siblings": "the tensors of one kind, type and shape that a comparison between them needs",
    "sibling_z": "the robust z-score of log10 beyond which a tensor is unlike its kind",
    "sibling_ratio": "how many times larger or smaller than the median of its kind it is, at least",
    "pattern_share": "the share of a kind that must agree on a type or a shape for the others to break the pattern",
    "duplicate_nbytes": "the bytes that two tensors have at least for their being identical to be worth a word",
}
"""What each threshold means, by its field."""

DEFAULT = Thresholds()


def with_threshold(thresholds: Thresholds, name: str, value: float) -> Thresholds:
    """``thresholds`` with one changed; ``name`` may have dashes for underscores.

    Raises ValueError, as one sentence, for a name that there is not and for a number that is none.
    """
    field = name.strip().replace("-", "_")
    if field not in MEANINGS:
        names = ", ".join(key.replace("_", "-") for key in MEANINGS)
        raise ValueError(f"there is no threshold {name!r}; there are {names}")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"the threshold {name} is {value:g}, but must be finite and not negative")
    return msgspec.structs.replace(thresholds, **{field: value})
