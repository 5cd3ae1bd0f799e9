"""A BatchNorm that has the statistics of a fresh one in a model whose others have been trained."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint, Sketch
from tui_params.core.text import plural

_DIGITS = re.compile(r"\d+")
_PARTS = frozenset({"running_mean", "running_var", "num_batches_tracked", "weight", "bias"})


class _BatchNorm(msgspec.Struct):
    """The tensors of one normalisation with running statistics."""

    mean: Sketch
    var: Sketch
    batches: float | int
    weight: Sketch | None
    bias: Sketch | None

    @property
    def is_fresh(self) -> bool:
        """Whether the statistics are those before the first batch."""
        return self.mean.is_zero and self.var.is_exact and self.var.min == self.var.max == 1

    @property
    def is_trained(self) -> bool:
        """Whether the gain or the bias is no longer what a model starts with."""
        has_gains = self.weight is not None and self.weight.min != self.weight.max
        return has_gains or (self.bias is not None and self.bias.count > 0 and not self.bias.is_zero)


def find_reset_statistics(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Statistics of a fresh BatchNorm among trained ones.

    Beside a trained model, a fresh head is normal: then nothing else in it has been trained, no batch was counted, and
    no other BatchNorm of its kind (its name without numbers) has been trained.
    """
    norms = _norms(checkpoint)
    fresh = {prefix for prefix, norm in norms.items() if norm.is_fresh}
    if not fresh or len(fresh) == len(norms):
        return
    kinds: dict[str, list[str]] = {}
    for prefix in norms:
        kinds.setdefault(_DIGITS.sub("#", prefix), []).append(prefix)
    for prefix in norms:
        if prefix not in fresh:
            continue
        norm, kind = norms[prefix], _DIGITS.sub("#", prefix)
        others = sum(other not in fresh for other in kinds[kind])
        if norm.batches > 0:
            why = f"although it counted {_batches(norm.batches)}"
        elif norm.is_trained:
            why = "although its gain or bias has been trained"
        elif others:
            why = f"unlike those of {others:,} of {len(kinds[kind]):,} {kind or 'norms'}"
        else:
            continue
        start = "the mean is 0 and the variance 1" + (f" in all {norm.mean.count:,} channels" * (norm.mean.count > 1))
        yield norm.mean.finding("warning", "batchnorm-at-start", f"{start}, as before the first batch, {why}")


def _batches(count: float | int) -> str:
    return plural(int(count), "batch").replace("batchs", "batches")


def _norms(checkpoint: Checkpoint) -> dict[str, _BatchNorm]:
    """The normalisations with running statistics, by module path."""
    parts: dict[str, dict[str, Sketch]] = {}
    for sketch in checkpoint.sketches:
        prefix, _, last = sketch.info.name.rpartition(".")
        if last in _PARTS:
            parts.setdefault(prefix, {})[last] = sketch
    norms: dict[str, _BatchNorm] = {}
    for prefix, found in parts.items():
        if "running_mean" in found and "running_var" in found:
            counter = found.get("num_batches_tracked")
            batches = 0 if counter is None or counter.max is None else counter.max
            mean, var = found["running_mean"], found["running_var"]
            norms[prefix] = _BatchNorm(mean, var, batches, found.get("weight"), found.get("bias"))
    return norms


BATCHNORM_RULES: tuple[Rule, ...] = (
    Rule(
        "batchnorm-at-start",
        "Statistics reset",
        ("warning",),
        "The statistics of a BatchNorm are those before training, unlike the others: they were reset or not loaded.",
        "torch.nn.BatchNorm2d.reset_running_stats",
        cross_check=find_reset_statistics,
    ),
)
