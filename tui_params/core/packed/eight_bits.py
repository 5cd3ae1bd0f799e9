"""Tells weights of 8 bits: bitsandbytes int8; fp8 and int8 with scales; torchao; quanto."""

from __future__ import annotations

import re

import msgspec

from tui_params.core.dtypes import DType, from_torch
from tui_params.core.packed.grid import ScaleGrid, grid_over
from tui_params.core.packed.scaled import Scaled
from tui_params.core.packed.sought import Sought, Untold, is_float, want, want_floats, want_numbers
from tui_params.core.packed.weight import PackedWeight
from tui_params.core.tensor import TensorInfo

_FP8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
_SCALES = ("_scale_inv", "_scale")


def tell_bitsandbytes(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``weight`` of int8 beside ``SCB``, a scale for each row."""
    head = info.name.removesuffix("weight")
    scales = sought.find(f"{head}SCB")
    if scales is None or info.dtype.name != "int8" or info.ndim != 2:
        return None
    want_floats(scales)
    want(scales.shape == info.shape[:1], f"{scales.name} has shape {list(scales.shape)}, the weight {list(info.shape)}")
    form = sought.find(f"{head}weight_format")
    if form is not None:
        # 0 is row-major; the others are layouts of a GPU: bitsandbytes/nn/modules.py, INVERSE_LINEAR_8BIT_WEIGHTS_...
        want(sought.numbers(form) == [0], f"{form.name} says that it is in the layout of a GPU")
    scheme = Scaled(info, ScaleGrid(sought.need(scales.name), (1, info.shape[1])), factor=1 / 127)
    parts = (info, scales) if form is None else (info, scales, form)
    return PackedWeight(info.name, info.shape, _float16(sought), "bitsandbytes int8", parts, None, scheme)


def _float16(sought: Sought) -> DType:
    """The type of the model, else the one to which bitsandbytes restores int8."""
    found = sought.dtype or from_torch("float16")
    assert found is not None
    return found


def tell_scaled(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``weight`` of fp8 or int8 beside ``weight_scale`` or ``weight_scale_inv``; both are multiplied."""
    if info.dtype.name not in (*_FP8, "int8"):
        return None
    suffix, scales = next(
        ((s, found) for s in _SCALES if (found := sought.find(info.name + s)) is not None), ("", None)
    )
    if scales is None:
        return None
    want_numbers(sought.need(scales.name), sought.find(f"{info.name}_zero_point"))
    block = _stated_block(sought, info, scales)
    is_grid = scales.ndim == info.ndim and scales.numel > 1 and scales.shape[-1] > 1
    if suffix == "_scale_inv" and block is None:
        # Rows divided by rows of the grid would be another block wherever the last one is cut.
        block = _block_of(info.shape, scales.shape, is_needed=is_grid)
    if block is None:
        # 2 scales for 192 rows may be blocks of 128 rows of which the last is cut, or of 96.
        cut = any(1 < count < size for count, size in zip(scales.shape, info.shape[:-1], strict=False))
        want(not cut, _unstated(info.shape, scales.shape))
    grid = grid_over(scales, info.shape, block)
    if grid is None:
        raise Untold(f"{scales.name} of shape {list(scales.shape)} does not fit a weight of {list(info.shape)}")
    zero = sought.find(f"{info.name}_zero_point")
    zeros = None if zero is None else grid_over(zero, info.shape, None if block is None else grid.block)
    restored = scales.dtype if is_float(scales) and scales.dtype.bits == 16 else sought.dtype or _float32()
    names = {"_scale_inv": "DeepSeek"}.get(suffix) or (sought.stated("quant_method") or "scaled")
    parts = (info, scales) if zero is None else (info, scales, zero)
    scheme = Scaled(info, grid, None if zeros is None else _as_numbers(zeros))
    method = f"{names} {info.dtype.short}"
    return PackedWeight(info.name, info.shape, restored, method, parts, _group(grid, info), scheme)


def _stated_block(sought: Sought, info: TensorInfo, scales: TensorInfo) -> tuple[int, ...] | None:
    """The block that the configuration states, of one matrix of several; None if it is not for these scales."""
    block = sought.stated_sizes("weight_block_size") or sought.stated_sizes("block_structure")
    if block is None or scales.ndim != info.ndim or scales.numel == 1 or len(block) > info.ndim:
        return None
    block = (1,) * (info.ndim - len(block)) + block
    # A scale for each row, or for each of several matrices, has one column too.
    return block if scales.shape[-1] > 1 or _fits(info.shape, block, scales.shape) else None


def _block_of(shape: tuple[int, ...], grid: tuple[int, ...], *, is_needed: bool) -> tuple[int, ...] | None:
    """The block of 128 by 128, if the grid has as many as that makes. Raises Untold if it has not and ``is_needed``."""
    block = (1,) * (len(shape) - 2) + (128, 128)
    fits = _fits(shape, block, grid)
    want(fits or not is_needed, _unstated(shape, grid))
    return block if fits else None


def _unstated(shape: tuple[int, ...], grid: tuple[int, ...]) -> str:
    return f"the size of a block is stated nowhere, and {list(grid)} scales for {list(shape)} do not give it"


def _fits(shape: tuple[int, ...], block: tuple[int, ...], grid: tuple[int, ...]) -> bool:
    """Whether a tensor has as many blocks as ``grid`` says; the last of a dimension may be cut."""
    return len(shape) == len(block) and grid == tuple(-(-size // step) for size, step in zip(shape, block, strict=True))


def _group(grid: ScaleGrid, info: TensorInfo) -> int | str | None:
    if grid.info.numel == 1 or grid.info.ndim < info.ndim or grid.block[-1] == info.shape[-1]:
        return None
    if all(size == 1 for size in grid.block[:-1]):
        return grid.block[-1]
    return "x".join(map(str, grid.block))


def _as_numbers(grid: ScaleGrid) -> ScaleGrid:
    return msgspec.structs.replace(grid, is_e8m0=False)


def _float32() -> DType:
    found = from_torch("float32")
    assert found is not None
    return found


class _Wrapped(msgspec.Struct):
    type: str = msgspec.field(name="_type", default="")
    data: dict[str, object] = msgspec.field(name="_data", default_factory=dict)


def tell_torchao(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``_weight_qdata`` beside ``_weight_scale``, with what torchao says of the weight in the metadata of the file."""
    head = info.name.removesuffix("_weight_qdata")
    said = sought.metadata(f"{head}weight")
    try:
        wrapped = msgspec.json.decode(said or "{}", type=_Wrapped)
    except (msgspec.MsgspecError, RecursionError):
        wrapped = _Wrapped()
    kind = wrapped.type.removesuffix("Tensor")
    zero = sought.find(f"{head}_weight_zero_point")
    scales = sought.need(f"{head}_weight_scale")
    restored = scales.dtype if is_float(scales) and scales.dtype.bits == 16 else sought.dtype or _float32()
    return _torchao(sought, info, f"{head}weight", (scales, zero), wrapped.data.get("block_size"), kind, restored)


_SAVED = re.compile(r"a torchao\.(?:\w+\.)*(\w+?)(?:Tensor)? of shape \[[\d, ]*\], torch\.(\w+)", re.ASCII)
_UNPACKED = ("Int8", "Float8", "IntxUnpackedToInt8")
"""The tensors of torchao that have one element for each code."""


def tell_torchao_saved(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``weight.qdata`` beside ``weight.scale``, the parts of an object of torchao that torch.save wrote."""
    name = info.name.removesuffix(".qdata")
    said = _SAVED.fullmatch(sought.metadata(name) or "")
    if said is None:
        return None
    want(said[1] in _UNPACKED, f"how the codes of torchao's {said[1]}Tensor lie is not known here")
    restored = from_torch(said[2])
    if restored is None or restored.kind != "float":
        raise Untold(f"it stands for {said[2]}, which is no floating type")
    block = (sought.metadata(f"{name}.block_size") or "").replace("(", "[").replace(",)", ")").replace(")", "]")
    try:
        stated = msgspec.json.decode(block or "null")
    except (msgspec.MsgspecError, RecursionError):
        stated = None
    scales, zero = sought.need(f"{name}.scale"), sought.find(f"{name}.zero_point")
    return _torchao(sought, info, name, (scales, zero), stated, said[1], restored)


def _torchao(
    sought: Sought,
    info: TensorInfo,
    name: str,
    beside: tuple[TensorInfo, TensorInfo | None],
    stated: object,
    kind: str,
    restored: DType,
) -> PackedWeight:
    """``stated`` is the block of a scale as the file has it."""
    scales, zero = beside
    want(info.dtype.bits == 8, f"its codes are {info.dtype.name}, in a layout of a GPU that is stated nowhere")
    block = tuple(stated) if isinstance(stated, list) and all(isinstance(n, int) and n > 0 for n in stated) else None
    if block is not None:
        block = tuple(min(step, size) for step, size in zip(block, info.shape, strict=False))
    want(scales.dtype.name != "uint8", f"{scales.name} is uint8, which torchao does not write")
    want_numbers(scales, zero)
    grid = grid_over(scales, info.shape, block) or grid_over(scales, info.shape)
    if grid is None:
        raise Untold(f"{scales.name} of shape {list(scales.shape)} does not fit a weight of {list(info.shape)}")
    zeros = (
        None if zero is None else grid_over(sought.need(zero.name), info.shape, grid.block if zero.numel > 1 else None)
    )
    scheme = Scaled(info, _as_numbers(grid), None if zeros is None else _as_numbers(zeros))
    parts = (info, scales) if zero is None else (info, scales, zero)
    method = f"torchao {kind or info.dtype.short}"
    return PackedWeight(name, info.shape, restored, method, parts, _group(grid, info), scheme)


def tell_quanto(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``weight._data`` of 8 bits beside ``weight._scale``, a scale for each row."""
    name = info.name.removesuffix("._data")
    scales = sought.find(f"{name}._scale")
    if scales is None or name.endswith("._data") or sought.find(f"{name}._shift") is not None:
        return None
    want(info.dtype.name in (*_FP8, "int8"), f"its codes are {info.dtype.name}, which quanto does not write")
    want_floats(scales)
    grid = grid_over(sought.need(scales.name), info.shape)
    if grid is None:
        raise Untold(f"{scales.name} of shape {list(scales.shape)} does not fit a weight of {list(info.shape)}")
    method = f"quanto {info.dtype.short}"
    return PackedWeight(name, info.shape, scales.dtype, method, (info, scales), None, Scaled(info, grid))
