"""What is wrong with a tensor or a container, as data, and the rules that need a tensor's figures alone."""

from __future__ import annotations

from typing import Literal

import msgspec

from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorInfo

Severity = Literal["error", "warning", "info"]


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One thing that a rule says.

    ``error`` is kept for what is certainly wrong. ``tensor`` is the full name, or None for the container as a
    whole. ``evidence`` is one sentence with numbers. ``indices`` are the first places, in the tensor's shape.
    """

    severity: Severity
    rule: str
    tensor: str | None
    evidence: str
    indices: tuple[tuple[int, ...], ...] = ()


def findings_of(info: TensorInfo, figures: Figures) -> tuple[Finding, ...]:
    """What the statistics alone say: non-finite values, a matrix of zeros, a single value everywhere.

    A matrix of zeros is an error, but for a fresh ``lora_B``, which is zero by construction; so are gradients of
    unused parameters. Vectors of zeros or of one value (biases, norms) are how training starts.
    """
    found = []
    name = info.name
    total = f"{figures.numel * figures.parts:,}"
    for rule, count, what in (
        ("nan", figures.nan, "NaN"),
        ("inf", figures.pos_inf, "+Inf"),
        ("inf", figures.neg_inf, "-Inf"),
    ):
        if count:
            found.append(Finding("error", rule, name, f"{count:,} of {total} values are {what}"))
    if not figures.is_exact or figures.count == 0:
        return tuple(found)
    if figures.zeros == figures.count:
        severity: Severity = "info"
        if info.dtype.is_floating and info.ndim >= 2 and "lora_B" not in name and info.kind != "gradient":
            severity = "error"
        found.append(Finding(severity, "all-zero", name, f"all {total} values are zero"))
    elif figures.min == figures.max and figures.non_finite == 0 and info.ndim >= 2 and figures.count > 1:
        found.append(Finding("warning", "constant", name, f"all {total} values are {figures.min:g}"))
    return tuple(found)
