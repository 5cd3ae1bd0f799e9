"""A checkpoint of a real size, whose large tensors repeat a few values, or keep waiting who reads them."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.dtypes import DType, from_torch
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo, describe
from tui_params.errors import ReadError

BLOCKS, HIDDEN, FEED, TEXT, TIME, PATCH = 40, 5120, 13824, 4096, 256, 64


class HeldSource(MemorySource):
    """Fourteen billion parameters in three shards, in the shapes of a transformer that makes videos.

    After ``hold`` a reader of anything but a vector waits until the source is closed, and ``is_held`` is set.
    """

    def __init__(self) -> None:
        bf16 = from_torch("bfloat16")
        assert bf16 is not None
        infos = tuple(_infos(bf16))
        rng = np.random.default_rng(7)
        vectors: dict[str, NDArray[Any]] = {}
        for info in infos:
            if info.ndim == 1:
                is_bias = info.name.endswith("bias")
                values = rng.normal(0, 0.02, info.numel) if is_bias else rng.gamma(30.0, 0.04, info.numel)
                vectors[info.name] = values.astype(np.float32).astype(ml_dtypes.bfloat16)
        vectors["blocks.1.cross_attn.norm_k.weight"][[1203, 1204, 3071]] = np.nan
        super().__init__(vectors, label="video-14b/")
        self.listing = Listing("safetensors, 3 shards", infos)
        self.is_held = Event()
        self._gate: Event | None = None
        self._tile = rng.normal(0, 0.02, HIDDEN).astype(np.float32).astype(ml_dtypes.bfloat16)

    def hold(self) -> None:
        self._gate = Event()

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        if info.name in self.arrays:
            yield from super().blocks(info, start, stop)
            return
        if self._gate is not None:
            self.is_held.set()
            self._gate.wait()
            raise ReadError(f"{self.label} is closed")
        stop = info.numel if stop is None else stop
        raw = np.tile(self._tile, 128).view(np.uint8)
        for first in range(start, stop, raw.size // 2):
            yield raw[: 2 * (stop - first)]

    def _array(self, info: TensorInfo) -> NDArray[Any]:
        if info.name in self.arrays:
            return super()._array(info)
        return np.broadcast_to(self._tile[: info.shape[-1]], info.shape)

    def close(self) -> None:
        super().close()
        if self._gate is not None:
            self._gate.set()


def _infos(dtype: DType) -> Iterator[TensorInfo]:
    offset, shard = 0, 1
    for name, shape in _shapes():
        info = describe(name, shape, dtype)
        if offset + info.nbytes > 10_000_000_000:
            offset, shard = 0, shard + 1
        yield msgspec.structs.replace(info, file=f"model-{shard:05}-of-00003.safetensors", offset=offset)
        offset += info.nbytes


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _linear("patch_embedding", HIDDEN, PATCH)
    yield from _linear("text_embedding.0", HIDDEN, TEXT)
    yield from _linear("text_embedding.2", HIDDEN, HIDDEN)
    yield from _linear("time_embedding.0", HIDDEN, TIME)
    yield from _linear("time_embedding.2", HIDDEN, HIDDEN)
    yield from _linear("time_projection.1", 6 * HIDDEN, HIDDEN)
    for block in range(BLOCKS):
        path = f"blocks.{block}"
        for attention in ("self_attn", "cross_attn"):
            for part in "qkvo":
                yield from _linear(f"{path}.{attention}.{part}", HIDDEN, HIDDEN)
            for part in "qk":
                yield f"{path}.{attention}.norm_{part}.weight", (HIDDEN,)
        yield f"{path}.norm3.weight", (HIDDEN,)
        yield f"{path}.norm3.bias", (HIDDEN,)
        yield from _linear(f"{path}.ffn.0", FEED, HIDDEN)
        yield from _linear(f"{path}.ffn.2", HIDDEN, FEED)
        yield f"{path}.modulation", (1, 6, HIDDEN)
    yield from _linear("head.head", PATCH, HIDDEN)


def _linear(path: str, rows: int, columns: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{path}.weight", (rows, columns)
    yield f"{path}.bias", (rows,)
