"""Rules about what training leaves behind: norms, BatchNorm, scales, adapters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tui_params.core.findings import Finding, Severity
from tui_params.core.health.roles import PARAMETERS, adapter_part, is_input_scale
from tui_params.core.health.rule import Rule
from tui_params.core.health.sought import NOT_FINITE, ZERO, Sought
from tui_params.core.health.subjects import Checkpoint, Sketch, Subject
from tui_params.core.health.thresholds import Thresholds
from tui_params.core.kinds import kind_of
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import are, number, plural

_NONE: tuple[Finding, ...] = ()
_FEW_NORMS = 4
"""With fewer norms a module says nothing about how its gains are used."""

_STEP_NAMES = ("global_step", "step", "iteration", "iter", "num_steps")
_DRAWN = frozenset(
    {
        "lora_A", "lora_a", "lora_down", "down", "lora_embedding_B", "delora_A", "gralora_A", "hira_A", "lily_A",
        "peanut_A", "poly_lora_A",
    }
)  # fmt: skip
"""Halves of adapters that start from random numbers."""

_TRAINED = PARAMETERS - {"norm", "bias"}

_NUMBER = re.compile(r"\d{1,15}(?:\.0*)?", re.ASCII)


def find_faint_norms(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Gains near zero in a model whose other gains are not.

    If most gains are near zero, the model multiplies by 1 + gain (Gemma). If all gains of a kind are zero and no step
    was counted, the residual branch starts that way (torchvision's ``zero_init_residual``, arXiv 1706.02677).
    """
    sketches, thresholds = checkpoint.sketches, checkpoint.thresholds
    norms = [sketch for sketch in sketches if sketch.role == "norm" and sketch.is_exact and sketch.info.ndim == 1]
    measured = [(sketch, sketch.rms) for sketch in norms if sketch.rms is not None]
    faint = [(sketch, rms) for sketch, rms in measured if rms < thresholds.norm_rms]
    if not faint:
        return
    kinds = Counter(kind_of(sketch.info.name) for sketch, _ in measured)
    zeros = Counter(kind_of(sketch.info.name) for sketch, _ in faint if sketch.is_zero)
    below = Counter(module for sketch, _ in measured for module in _modules(sketch.info.name))
    faint_below = Counter(module for sketch, _ in faint for module in _modules(sketch.info.name))
    has_stepped = step_of(checkpoint.metadata) > 0
    for sketch, rms in faint:
        kind = kind_of(sketch.info.name)
        if 1 < zeros[kind] == kinds[kind] and not has_stepped:
            continue
        # A part of a model may be made differently: the text model inside a vision-language model.
        module = next((module for module in _modules(sketch.info.name) if below[module] >= _FEW_NORMS), "")
        total, others = below[module], below[module] - faint_below[module]
        if total > 1 and 2 * others < total:
            continue
        evidence = f"the root mean square of the {plural(sketch.count, 'gain')} is {number(rms)}: little passes"
        if others:
            evidence += f"; {others:,} of {total:,} norms {f'of {module} ' if module else ''}{are(others)} above "
            evidence += f"{thresholds.norm_rms:g}"
        yield sketch.finding("warning", "norm-near-zero", evidence)


def _modules(name: str) -> list[str]:
    """The modules around a norm, the innermost first, without the layers of a list; "" is the whole model."""
    segments = name.split(".")
    numbers = [place for place, segment in enumerate(segments) if segment.isdecimal()]
    end = numbers[0] if numbers else len(segments) - 2
    return [".".join(segments[:stop]) for stop in range(max(end, 0), -1, -1)]


def check_scale(subject: Subject) -> Sequence[Finding]:
    figures = subject.figures
    if subject.role != "scale" or subject.info.dtype.kind != "float" or not figures.count:
        return _NONE
    found = []
    last = subject.info.name.rpartition(".")[2].lower()
    if figures.non_finite:
        evidence = f"{figures.non_finite:,} of {subject.total:,} scales {are(figures.non_finite)} not finite: "
        evidence += f"{are(figures.non_finite, 'its block is', 'their blocks are')} lost"
        found.append(subject.finding("error", "broken-scale", evidence))
    if figures.zeros and figures.is_exact:
        is_all = figures.zeros == figures.count
        # In bitsandbytes a block of zeros has the scale 0, which is correct.
        severity: Severity = "info" if last.endswith("absmax") else "warning"
        if is_all and not is_input_scale(last):
            severity = "error"
        evidence = f"{figures.zeros:,} of {subject.total:,} scales {are(figures.zeros)} zero: "
        if last == "nested_absmax":
            # The scales of a block are nested_offset then: all scales of a weight of one block are.
            severity = "warning" if is_all and subject.total > 1 else "info"
            evidence += f"the scales of {are(figures.zeros, 'its block', 'their blocks')} are all the same"
        else:
            evidence += f"{are(figures.zeros, 'its block is', 'their blocks are')} restored as zeros"
        found.append(subject.finding(severity, "broken-scale", evidence))
    return found


def seek_scale(finding: Finding, info: TensorInfo, thresholds: Thresholds) -> Sought:
    return NOT_FINITE if "not finite" in finding.evidence else ZERO


def check_batchnorm(subject: Subject) -> Sequence[Finding]:
    figures = subject.figures
    last = subject.info.name.rpartition(".")[2]
    if last == "num_batches_tracked" and figures.count and figures.zeros == figures.count:
        return (subject.finding("info", "batchnorm", "no batch was ever tracked: the statistics are the initial ones"),)
    if last != "running_var" or figures.min is None or not figures.is_exact:
        return _NONE
    if figures.min < 0:
        evidence = f"the smallest running variance is {number(figures.min)}: no variance is negative"
        return (subject.finding("error", "batchnorm", evidence),)
    if figures.min < subject.thresholds.running_var:
        zeros = f", {figures.zeros:,} of {figures.count:,} {are(figures.zeros)} zero" if figures.zeros else ""
        evidence = f"the smallest running variance is {number(figures.min)}{zeros}: constant channels"
        return (subject.finding("warning", "batchnorm", evidence),)
    return _NONE


def seek_variance(finding: Finding, info: TensorInfo, thresholds: Thresholds) -> Sought | None:
    if finding.severity == "info":
        return None
    return Sought("below", 0.0 if finding.severity == "error" else thresholds.running_var)


def find_untrained_adapters(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Parts of adapters that are zero although others of the same name are not, or after a step of training."""
    parts: dict[str, list[Sketch]] = {}
    for sketch in checkpoint.sketches:
        # OFT keeps the rows and columns of its triangle as buffers beside the weight.
        part = adapter_part(sketch.info.name) if sketch.role in _TRAINED else ""
        if part and sketch.count and sketch.is_exact:
            parts.setdefault(part, []).append(sketch)
    step = step_of(checkpoint.metadata)
    for part, members in parts.items():
        others = sum(not sketch.is_zero for sketch in members)
        is_drawn = part in _DRAWN
        if not others and not step and not is_drawn:
            continue
        reason = f"the run is at step {step:,}"
        if others:
            reason = f"{others:,} of {len(members):,} in this file {are(others)} not"
        elif is_drawn:
            reason = "it starts from random numbers"
        for sketch in members:
            if sketch.is_zero:
                start = "zero" if is_drawn else "still zero, as at the start"
                yield sketch.finding("warning", "untrained-lora", f"{part} is {start}, but {reason}")


def step_of(metadata: Mapping[str, str]) -> int:
    """The step that a run has reached, according to its metadata; 0 if they do not say."""
    best = 0
    for name, value in metadata.items():
        if name.rpartition(".")[2] in _STEP_NAMES:
            best = max(best, whole_number(value) or 0)
    return best


def whole_number(text: str) -> int | None:
    """The whole number that a text is, perhaps in quotes or with zeros after a point; None if it is none."""
    text = text.strip().strip("\"'")
    return int(float(text)) if _NUMBER.fullmatch(text) else None


TRAINING_RULES: tuple[Rule, ...] = (
    Rule(
        "norm-near-zero",
        "Norm gain near zero",
        ("warning",),
        "The gains of a normalisation let almost nothing pass; normal where the model multiplies by 1 + gain (Gemma).",
        "BERT Busters (arXiv 2105.06990) on how much depends on these gains; the threshold is our choice",
        ("norm_rms",),
        cross_check=find_faint_norms,
    ),
    Rule(
        "broken-scale",
        "Broken scale",
        ("error", "warning", "info"),
        "A quantisation scale that is not finite or is zero: its block of weights cannot be restored.",
        "aprender PR 2039, llama.cpp check_tensors",
        (),
        check_scale,
        seek=seek_scale,
    ),
    Rule(
        "batchnorm",
        "BatchNorm statistics",
        ("error", "warning", "info"),
        "A running variance that is negative or zero, or statistics that no batch has ever changed.",
        "torch.nn.BatchNorm2d",
        ("running_var",),
        check_batchnorm,
        seek=seek_variance,
    ),
    Rule(
        "untrained-lora",
        "Untrained adapter",
        ("warning",),
        "Half of an adapter starts at zero, lora_B for example. In a trained one, a half that is zero changes nothing.",
        "LoRA (arXiv 2106.09685), peft, LyCORIS, kohya's sd-scripts, diffusers",
        cross_check=find_untrained_adapters,
    ),
)
