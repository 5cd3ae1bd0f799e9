"""Models in memory that are hard to look at: tied, parametrized, lazy, wrapped, and of every element type."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

DTYPE_NAMES = (
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    "float8_e8m0fnu", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool",
    "complex128", "complex64", "complex32",
)  # fmt: skip


class TiedModel(nn.Module):  # type: ignore[misc]
    """The bones of GPT-2: embeddings, blocks, and an output layer that shares the first embedding's weight."""

    def __init__(self, vocabulary: int = 20, width: int = 8, layers: int = 2) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.h = nn.ModuleList(Block(width) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight
        self.act = nn.GELU()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.wte(tokens)
        for block in self.h:
            hidden = hidden + block(hidden)
        return self.lm_head(self.act(self.ln_f(hidden)))


class Block(nn.Module):  # type: ignore[misc]
    """One layer, with a causal mask that is not saved."""

    mask: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.register_buffer("mask", torch.ones(4, 4, dtype=torch.bool).tril(), persistent=False)
        self.register_buffer("nothing", None)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.mlp(self.attn(hidden))


class Pair(torch.Tensor):  # type: ignore[misc]
    """A wrapper subclass of two tensors, as the quantised tensors of torchao are: no memory of its own."""

    qdata: torch.Tensor
    scale: torch.Tensor

    @staticmethod
    def __new__(cls, qdata: torch.Tensor, scale: torch.Tensor) -> Pair:
        made: Pair = torch.Tensor._make_wrapper_subclass(cls, qdata.shape, dtype=torch.float32)
        return made

    def __init__(self, qdata: torch.Tensor, scale: torch.Tensor) -> None:
        self.qdata, self.scale = qdata, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["qdata", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:  # nn.Parameter asks for it
            return args[0]
        raise NotImplementedError(f"Pair was asked to compute {func}")


class Closed(torch.Tensor):  # type: ignore[misc]
    """A wrapper subclass that does not say what it holds."""

    @staticmethod
    def __new__(cls, size: int) -> Closed:
        made: Closed = torch.Tensor._make_wrapper_subclass(cls, (size,), dtype=torch.float32)
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError(f"Closed was asked to compute {func}")


class Hostile(Closed):
    """A wrapper subclass that refuses to tell what it holds."""

    def __tensor_flatten__(self) -> Any:
        raise ValueError("no fields today")


def holder(**tensors: torch.Tensor | None) -> nn.Module:
    """A module with these tensors as they are: Parameters as parameters, the rest as buffers."""
    module = nn.Module()
    for name, tensor in tensors.items():
        registry = module._parameters if isinstance(tensor, nn.Parameter) else module._buffers
        registry[name] = tensor
    return module


def of_every_byte(name: str, *shape: int) -> torch.Tensor:
    """A tensor of torch's type ``name`` whose bytes are 0, 1, 2 ... 255, 0 ... (of bool: 0 and 1 in turn)."""
    dtype = getattr(torch, name)
    numel = torch.Size(shape).numel()
    count = numel * dtype.itemsize
    pattern = torch.arange(count).remainder(2 if dtype == torch.bool else 256).to(torch.uint8)
    return pattern.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)
