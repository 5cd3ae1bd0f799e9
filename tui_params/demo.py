"""A checkpoint to try tui-params on: a small Llama-shaped model in Hugging Face's sharded layout, with planted faults.

Needs numpy and ml_dtypes only. The same tensors are written every time, one after another, so little memory is used.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tui_params.core.dtypes import from_safetensors
from tui_params.errors import OpenError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LAYERS = 28
HIDDEN = 384
INTERMEDIATE = 1024
KEY_VALUE = 96
VOCABULARY = 32_000
DEAD_ROWS = 700
SHARDS = 3
BLOCK = 128
FP8_LAYERS = range(8, 20)
SEED = 20_251_125

NAN_MATRIX = "model.layers.11.self_attn.k_proj.weight"
NAN_NORM = "model.layers.17.post_attention_layernorm.weight"
INF_MATRIX = "model.layers.20.self_attn.o_proj.weight"
ZERO_MATRIX = "model.layers.25.self_attn.v_proj.weight"
OUTLIER_MATRIX = "model.layers.2.mlp.down_proj.weight"
OUTLIER_CHANNEL = 517
EMBEDDING = "model.embed_tokens.weight"

README = f"""\
A made-up model with faults to find. No such network was ever trained.
{NAN_MATRIX}: 3 NaN
{NAN_NORM}: 1 NaN
{INF_MATRIX}: 2 +Inf
{ZERO_MATRIX}: every element is 0
{EMBEDDING}: the last {DEAD_ROWS} rows are 0
{OUTLIER_MATRIX}: input channel {OUTLIER_CHANNEL} is 60 times too large
layers {FP8_LAYERS.start} to {FP8_LAYERS.stop - 1}: mlp in float8_e4m3fn with weight_scale_inv, {BLOCK} x {BLOCK} blocks
lm_head.weight is {EMBEDDING}"""

Recipe = Literal["normal", "heavy", "norm", "fp8", "scale", "frequencies", "positions", "mask"]


class Planned(msgspec.Struct, frozen=True):
    """A tensor to write: its safetensors type, and the recipe and standard deviation of its values."""

    name: str
    code: str
    shape: tuple[int, ...]
    recipe: Recipe
    std: float = 0.0

    @property
    def nbytes(self) -> int:
        dtype = from_safetensors(self.code)
        assert dtype is not None
        return dtype.nbytes(prod(self.shape))


def make_demo(folder: Path | None = None, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write the demo checkpoint, unless it is there already, and return its folder.

    Without ``folder`` it goes to a folder of the user's own below the system's temporary one. About 93 MiB. Several
    processes may do so at once. ``progress`` is called with the bytes written and the bytes to write, before the first
    and after each tensor; not if everything is there. Raises OpenError if it cannot be written.
    """
    try:
        folder = _default_folder() if folder is None else folder
        folder.mkdir(parents=True, exist_ok=True)
        lacking = [(folder / name, content) for name, content in _files() if not _is_written(folder / name, content)]
        done, total = 0, sum(_nbytes(content) for _, content in lacking)
        for path, content in lacking:
            for nbytes in _write(path, content):
                if progress is not None:
                    progress(done, total)
                done += nbytes
        if progress is not None and lacking:
            progress(done, total)
    except OSError as error:
        where = f" to {folder}" if folder else ""
        raise OpenError(f"the demo cannot be written{where}: {error.strerror or error}") from error
    return folder


def _default_folder() -> Path:
    """A folder that only this user can write to. In a shared /tmp, someone else may have made one of the same name."""
    own = Path(tempfile.gettempdir()) / f"tui-params-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    found = own.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise OpenError(f"{own} is not a folder that belongs to you alone, so the demo is not written there")
    return own / "demo"


class _Shard(msgspec.Struct, frozen=True):
    """A safetensors file to write: its header, preceded by the length, and its tensors in the order of their bytes."""

    head: bytes
    tensors: tuple[Planned, ...]

    @property
    def nbytes(self) -> int:
        return len(self.head) + sum(tensor.nbytes for tensor in self.tensors)


def _files() -> Iterator[tuple[str, _Shard | bytes]]:
    """The files of the checkpoint by name; the index comes last, when all files that it names exist."""
    weight_map: dict[str, str] = {}
    planned = sorted(plan(), key=lambda tensor: tensor.name != EMBEDDING)
    per_shard = sum(tensor.nbytes for tensor in planned) / SHARDS
    groups: list[list[Planned]] = [[] for _ in range(SHARDS)]
    total = 0
    for tensor in planned:
        groups[min(int(total / per_shard), SHARDS - 1)].append(tensor)
        total += tensor.nbytes
    for number, group in enumerate(groups, start=1):
        name = f"model-{number:05d}-of-{SHARDS:05d}.safetensors"
        weight_map |= {tensor.name: name for tensor in group}
        yield name, _shard(group, {"lm_head.weight": EMBEDDING, "readme": README} if number == 1 else {})
    yield "config.json", _json(_CONFIG)
    yield "model.safetensors.index.json", _json({"metadata": {"total_size": total}, "weight_map": weight_map})


def _shard(tensors: list[Planned], metadata: dict[str, str]) -> _Shard:
    """The format: https://github.com/huggingface/safetensors#format; wide types first, so that all are aligned."""
    ordered = sorted(tensors, key=lambda tensor: (-tensor.nbytes // max(prod(tensor.shape), 1), tensor.name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    begin = 0
    for tensor in ordered:
        end = begin + tensor.nbytes
        header[tensor.name] = {"dtype": tensor.code, "shape": tensor.shape, "data_offsets": [begin, end]}
        begin = end
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 8)
    return _Shard(len(text).to_bytes(8, "little") + text, tuple(ordered))


def _json(content: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _nbytes(content: _Shard | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.nbytes


def _write(path: Path, content: _Shard | bytes) -> Iterator[int]:
    """Put a file in place whole; before each of its parts, how many bytes that has."""
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            head, tensors = (content, ()) if isinstance(content, bytes) else (content.head, content.tensors)
            yield len(head)
            file.write(head)
            for tensor in tensors:
                yield tensor.nbytes
                file.write(values_of(tensor).reshape(-1).view("uint8").data)
        os.replace(temporary, path)
    finally:
        # Nothing is left of it once it is in place.
        Path(temporary).unlink(missing_ok=True)


def _is_written(path: Path, content: _Shard | bytes) -> bool:
    head = content if isinstance(content, bytes) else content.head
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size == _nbytes(content) and file.read(len(head)) == head
    except FileNotFoundError:
        return False


def plan() -> Iterator[Planned]:
    """Every tensor of the checkpoint, in the model's order."""
    yield Planned(EMBEDDING, "BF16", (VOCABULARY, HIDDEN), "heavy", 0.02)
    for layer in range(LAYERS):
        yield from _plan_layer(layer)
    yield Planned("model.norm.weight", "F32", (HIDDEN,), "norm", 0.3)
    yield Planned("model.rotary_emb.inv_freq", "F32", (16,), "frequencies")
    yield Planned("model.position_ids", "I64", (1, 2048), "positions")
    yield Planned("model.causal_mask", "BOOL", (256, 256), "mask")


def _plan_layer(layer: int) -> Iterator[Planned]:
    prefix = f"model.layers.{layer}"
    # GPT-2's rule: what is added to the residual stream starts smaller, the deeper the network.
    residual = 0.02 / (2 * LAYERS) ** 0.5 * (1 + 4 * layer / LAYERS)
    yield Planned(f"{prefix}.input_layernorm.weight", "F32", (HIDDEN,), "norm", 0.05 + 0.01 * layer)
    for part, rows in (("q", HIDDEN), ("k", KEY_VALUE), ("v", KEY_VALUE)):
        yield Planned(f"{prefix}.self_attn.{part}_proj.weight", "BF16", (rows, HIDDEN), "normal", 0.025)
    yield Planned(f"{prefix}.self_attn.o_proj.weight", "BF16", (HIDDEN, HIDDEN), "normal", residual)
    yield Planned(f"{prefix}.post_attention_layernorm.weight", "F32", (HIDDEN,), "norm", 0.05 + 0.005 * layer)
    for part, rows, columns, std in (
        ("gate", INTERMEDIATE, HIDDEN, 0.02),
        ("up", INTERMEDIATE, HIDDEN, 0.02),
        ("down", HIDDEN, INTERMEDIATE, residual),
    ):
        name = f"{prefix}.mlp.{part}_proj.weight"
        if layer in FP8_LAYERS:
            yield Planned(name, "F8_E4M3", (rows, columns), "fp8", std)
            yield Planned(f"{name}_scale_inv", "F32", (rows // BLOCK, columns // BLOCK), "scale", std)
        else:
            yield Planned(name, "BF16", (rows, columns), "heavy" if part == "down" else "normal", std)


def values_of(tensor: Planned) -> NDArray[Any]:
    """The values of one tensor, the same every time."""
    import ml_dtypes
    import numpy as np

    rng = np.random.default_rng([SEED, *tensor.name.removesuffix("_scale_inv").encode()])
    array: NDArray[Any]
    if tensor.recipe in {"normal", "heavy"}:
        # Picking from a table of 65,536 draws is several times faster than that many draws.
        draws = rng.standard_normal(1 << 16) if tensor.recipe == "normal" else rng.standard_t(5, 1 << 16) * 0.6**0.5
        table = (draws * tensor.std).astype(ml_dtypes.bfloat16)
        array = table.view(np.uint16)[rng.integers(0, 1 << 16, tensor.shape, np.uint16)].view(ml_dtypes.bfloat16)
    elif tensor.recipe == "norm":
        array = (1 + tensor.std * rng.standard_normal(tensor.shape)).astype(np.float32)
    elif tensor.recipe in {"fp8", "scale"}:
        array = _quantised(tensor, rng)
    elif tensor.recipe == "frequencies":
        array = (10_000.0 ** (-np.arange(tensor.shape[0]) / tensor.shape[0])).astype(np.float32)
    elif tensor.recipe == "positions":
        array = np.arange(prod(tensor.shape), dtype=np.int64).reshape(tensor.shape)
    else:
        array = np.tri(*tensor.shape, dtype=np.bool_)
    _plant(tensor.name, array)
    return array


def _quantised(tensor: Planned, rng: np.random.Generator) -> NDArray[Any]:
    """Normal values in blocks of 128 x 128, the largest magnitude of each at 448, or the scales that undo that.

    DeepSeek-V3's layout. Both have the same draws of the largest magnitudes, so the scales fit the weights.
    """
    import ml_dtypes
    import numpy as np

    by = BLOCK if tensor.recipe == "fp8" else 1
    blocks = (tensor.shape[0] // by, tensor.shape[1] // by)
    largest = rng.uniform(3.8, 4.8, blocks)
    if tensor.recipe == "scale":
        return (largest * tensor.std / 448).astype(np.float32)
    codes = np.empty(tensor.shape, np.uint8)
    for row, column in np.ndindex(*blocks):
        draws = np.clip(rng.standard_normal(1 << 12) / largest[row, column], -1, 1) * 448
        table = draws.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
        block = table[rng.integers(0, 1 << 12, (BLOCK, BLOCK), np.uint16)]
        block[rng.integers(BLOCK), rng.integers(BLOCK)] = 0x7E  # 448, the largest value of the type
        codes[row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK] = block
    return codes.view(ml_dtypes.float8_e4m3fn)


def _plant(name: str, array: NDArray[Any]) -> None:
    """The faults that the README names."""
    if name == NAN_MATRIX:
        array[[7, 40, 41], [300, 12, 12]] = float("nan")
    elif name == NAN_NORM:
        array[101] = float("nan")
    elif name == INF_MATRIX:
        array[[0, 255], [3, 77]] = float("inf")
    elif name == ZERO_MATRIX:
        array[:] = 0
    elif name == EMBEDDING:
        array[-DEAD_ROWS:] = 0
    elif name == OUTLIER_MATRIX:
        array[:, OUTLIER_CHANNEL] *= 60


_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HIDDEN // 32,
    "num_key_value_heads": KEY_VALUE // 32,
    "head_dim": 32,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]},
}
