"""Rules about packed weights that hold one pattern throughout, and about the scales and groups of their blocks."""

from __future__ import annotations

from collections.abc import Iterator

from tui_params.core.findings import Finding
from tui_params.core.health.companions import Packed, packed_in
from tui_params.core.health.packings import part_of
from tui_params.core.health.roles import is_matrix
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint, Sketch
from tui_params.core.text import number

_MIDDLE = {4: 8, 8: 128}
"""The zero point of symmetric quantisation, which is not stored, by the bits of a code."""

_CODES_OF_E2M1 = 0x77
"""Without their signs, both codes of a byte of MXFP4 and of bitsandbytes' FP4 are zero if these bits are."""

_ZEROS_OF_NF4 = 0x77
"""Code 7 of NF4 is 0.0: QLoRA (arXiv 2305.14314), appendix E."""

_NAN_OF_E8M0 = 255


def find_packed_zeros(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Packed weights whose codes all stand for zero."""
    for sketch, value, zero in _of_one_value(checkpoint):
        if zero:
            unit = "word" if sketch.info.dtype.bits == 32 else "byte"
            shown = f"{value:#0{2 + sketch.info.dtype.bits // 4}x}"
            evidence = f"every {unit} is {shown}: {zero}"
            yield sketch.finding("error", "packed-zero", evidence)


def find_packed_constants(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Packed weights of one word or byte that stands for another number."""
    for sketch, value, zero in _of_one_value(checkpoint):
        # What is said of a matrix of integers that are zero is not said again.
        if not zero and not (not value and is_matrix(sketch.info) and "weight" in sketch.info.name):
            bits = sketch.info.dtype.bits
            evidence = (
                f"each of its {sketch.count:,} {'words' if bits == 32 else 'bytes'} is {value:#0{2 + bits // 4}x}, "
            )
            evidence += "so that all values of a block are the same, or repeat"
            yield sketch.finding("warning", "packed-constant", evidence)


def _of_one_value(checkpoint: Checkpoint) -> Iterator[tuple[Sketch, int, str]]:
    """The packed weights of one word or byte, without its sign, and why that is zero, if it is."""
    packed = checkpoint.once(packed_in)
    if not (packed.parts or packed.is_packed):
        return
    sketches: dict[str, Sketch] | None = None
    for sketch in checkpoint.sketches:
        value = _value(sketch)
        if value is None:
            continue
        owner, part = part_of(sketch.info.name)
        if part == "packed" or (part == "weight" and packed.has(owner, "scale")):
            if sketches is None:
                sketches = {other.info.name: other for other in checkpoint.sketches}
            yield sketch, value, _zero(packed, owner, sketch, value, sketches)


def _value(sketch: Sketch) -> int | None:
    """The one word or byte of a tensor of integers, without its sign; None if it has several."""
    dtype = sketch.info.dtype
    if dtype.kind != "int" or dtype.bits not in (8, 32) or sketch.count < 2 or not sketch.is_exact:
        return None
    if sketch.min is None or sketch.min != sketch.max:
        return None
    return int(sketch.min) & ((1 << dtype.bits) - 1)


def _zero(packed: Packed, owner: str, sketch: Sketch, value: int, sketches: dict[str, Sketch]) -> str:
    """Why a word or byte stands for nothing but zeros, the end of a sentence; nothing if it does not."""
    info, parts = sketch.info, packed.parts.get(owner, {})
    if info.dtype.bits == 8:
        state = parts.get("state")
        of_state = "" if state is None else state.name.rpartition("__")[2]
        if info.name.endswith("_blocks") or of_state == "fp4":
            return _is_zero(2 * sketch.count, "0 or -0 in E2M1") if not value & _CODES_OF_E2M1 else ""
        if of_state == "nf4":
            return _is_zero(2 * sketch.count, "7 in NF4") if value == _ZEROS_OF_NF4 else ""
        return ""
    zeros = parts.get("zero")
    if zeros is None:
        code = next((code for bits, code in _MIDDLE.items() if _code(value, bits) == code), None)
        if code is None or not info.name.endswith(("qweight", "weight_packed")):
            return ""
        return _is_zero(sketch.count * (4 if code == _MIDDLE[8] else 8), f"zero point {code}")
    known = sketches.get(zeros.first_name)
    points = None if known is None else _value(known)
    if points is None or zeros.dtype.bits != 32:
        return ""
    scales = parts.get("scale")
    stated = 32 * zeros.shape[-1] // scales.shape[-1] if scales and zeros.shape and scales.shape else 0
    for bits in (stated,) if stated in (2, 4, 8) else (4, 8, 2):
        code, point = _code(value, bits), _code(points, bits)
        # AutoGPTQ packs zero points less one; AWQ and GPTQ's format v2 as they are.
        is_less = info.shape[-1:] != zeros.shape[-1:] and info.name.endswith("qweight")
        if (
            code is not None
            and point is not None
            and (code == point or (is_less and code == (point + 1) % (1 << bits)))
        ):
            return _is_zero(sketch.count * 32 // bits, f"zero point {code}")
        if value == points and info.shape[-1:] == zeros.shape[-1:]:
            return _is_zero(sketch.count * 32 // bits, "the zero points are packed alike")
    return ""


def _code(word: int, bits: int) -> int | None:
    """The one code that is repeated in a word of 32 bits; None if there are several."""
    code = word & ((1 << bits) - 1)
    return code if all(word >> at & ((1 << bits) - 1) == code for at in range(0, 32, bits)) else None


def _is_zero(values: int, why: str) -> str:
    return f"all {values:,} values are zero once unpacked ({why})"


def find_bad_block_scales(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Scales of MX formats that are NaN, or were never written; stored as bytes, they look like integers."""
    packed = checkpoint.once(packed_in)
    if not packed.parts:
        return
    for sketch in checkpoint.sketches:
        info = sketch.info
        if info.dtype.name != "uint8" or not sketch.is_exact or sketch.max is None:
            continue
        owner, part = part_of(info.name)
        weight = packed.weights.get(owner) if part == "scale" else None
        if weight is None or not _is_of_mx(info.name, weight.name, weight.dtype.name):
            continue
        if sketch.min == _NAN_OF_E8M0:
            evidence = f"all {sketch.count:,} scales are 255, which is NaN in E8M0: every block is lost"
        elif sketch.max == _NAN_OF_E8M0:
            evidence = f"at least one of {sketch.count:,} scales is 255, which is NaN in E8M0: its block is lost"
        elif sketch.is_zero and sketch.count > 1:
            evidence = f"all {sketch.count:,} scales are 0, which is 2^-127 in E8M0: as if they were never written"
        else:
            continue
        yield sketch.finding("error", "block-scale", evidence)


def _is_of_mx(name: str, weight: str, dtype: str) -> bool:
    """Whether a scale is a power of two: gpt-oss' ``_blocks``; compressed-tensors and modelopt beside 4 or 8 bits."""
    if name.endswith("_scales"):
        return weight.endswith("_blocks")
    return name.endswith("weight_scale") and (dtype.startswith("float8") or weight.endswith(("_packed", ".weight")))


def find_groups_beyond(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Groups of GPTQ's ``g_idx`` that have no row of scales."""
    packed = checkpoint.once(packed_in)
    for sketch in checkpoint.sketches:
        if sketch.info.dtype.kind != "int" or sketch.min is None or sketch.max is None:
            continue
        owner, part = part_of(sketch.info.name)
        scales = packed.parts.get(owner, {}).get("scale") if part == "order" else None
        if scales is None or scales.ndim != 2:
            continue
        # compressed-tensors has a column for each group, and -1 everywhere before it knows an order.
        is_gptq = sketch.info.name.rpartition(".")[2] == "g_idx"
        groups = scales.shape[0 if is_gptq else 1]
        if sketch.max >= groups:
            evidence = f"the largest group is {number(sketch.max)}, but {scales.name} has {groups:,} of them"
        elif sketch.min < 0 and (is_gptq or sketch.max >= 0):
            evidence = f"the smallest group is {number(sketch.min)}: no group is negative"
        else:
            continue
        yield sketch.finding("error", "group-index", evidence)


PACKED_VALUE_RULES: tuple[Rule, ...] = (
    Rule(
        "packed-zero",
        "Packed zeros",
        ("error",),
        "Every packed code of a quantised weight is its zero point, so the weight is zero once it is unpacked.",
        "AutoGPTQ, AutoAWQ, compressed-tensors (pack-quantized); OCP MX 1.0 and bitsandbytes for codes of 4 bits",
        cross_check=find_packed_zeros,
    ),
    Rule(
        "packed-constant",
        "Packed weight of one pattern",
        ("warning",),
        "Every word or byte of a quantised weight is the same: it was filled, not quantised.",
        "the layouts of packed weights; a constant matrix is a warning too",
        cross_check=find_packed_constants,
    ),
    Rule(
        "block-scale",
        "Broken block scale",
        ("error",),
        "The scale of a block in an MX format is 255, which is NaN, or all of them are 0: blocks cannot be restored.",
        "OCP Microscaling Formats (MX) 1.0, section 5.4.1: E8M0; gpt-oss, compressed-tensors and modelopt store bytes",
        cross_check=find_bad_block_scales,
    ),
    Rule(
        "group-index",
        "Group without scales",
        ("error",),
        "An entry of g_idx that is no group of the layer: there are fewer rows of scales.",
        "GPTQ with act-order: AutoGPTQ and vllm take the scales of each input by g_idx",
        cross_check=find_groups_beyond,
    ),
)
