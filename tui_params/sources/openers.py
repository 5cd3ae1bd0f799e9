"""What opens a file of each format: the reader is imported when it is called, so that none costs anything before."""

from __future__ import annotations

from pathlib import Path

from tui_params.core.source import Source


def open_safetensors(path: Path) -> Source:
    """A safetensors file. Raises OpenError."""
    from tui_params.sources.safetensors.reader import open_safetensors as reader

    return reader(path)


def open_torch(path: Path) -> Source:
    """A file of torch.save and its kin, or a pickle. Raises OpenError."""
    from tui_params.sources.torch_save.zip import open_torch as reader

    return reader(path)


def open_tar(path: Path) -> Source:
    """A tar with checkpoints in it. Raises OpenError."""
    from tui_params.sources.torch_save.tar_archive import open_tar as reader

    return reader(path)


def open_gguf(path: Path) -> Source:
    """A GGUF file. Raises OpenError."""
    from tui_params.sources.gguf.reader import open_gguf as reader

    return reader(path)


def open_onnx(path: Path) -> Source:
    """An ONNX model. Raises OpenError."""
    from tui_params.sources.onnx.reader import open_onnx as reader

    return reader(path)


def open_npy(path: Path) -> Source:
    """An array of numpy.save. Raises OpenError."""
    from tui_params.sources.numpy_save.npy import open_npy as reader

    return reader(path)


def open_npz(path: Path) -> Source:
    """An archive of numpy.savez. Raises OpenError."""
    from tui_params.sources.numpy_save.npz import open_npz as reader

    return reader(path)


def is_deepspeed(path: Path) -> bool:
    """Whether a folder is such a checkpoint of DeepSpeed."""
    from tui_params.sources.folder.deepspeed.recognition import is_deepspeed

    return is_deepspeed(path)


def is_distributed(path: Path) -> bool:
    """Whether a folder is such a checkpoint of torch (DCP)."""
    from tui_params.sources.folder.dcp.recognition import is_distributed, shard_folder

    return is_distributed(path) or shard_folder(path) is not None
