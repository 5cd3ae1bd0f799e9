"""What opens a file or a folder of each format: the reader is imported when it is called, and costs nothing before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_params.core.source import Source
from tui_params.errors import UnknownFormatError
from tui_params.sources.bytes.files import is_file, names_in

if TYPE_CHECKING:
    from tui_params.sources.folder.folder import Formats


def open_safetensors(path: Path) -> Source:
    """A safetensors file. Raises OpenError."""
    from tui_params.sources.safetensors.reader import open_safetensors as reader

    return reader(path)


def open_dduf(path: Path) -> Source:
    """A zip of safetensors files. Raises OpenError."""
    from tui_params.sources.safetensors.dduf import open_dduf as reader

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


def open_hdf5(path: Path) -> Source:
    """An HDF5 file. Raises OpenError."""
    from tui_params.sources.hdf5.reader import open_hdf5 as reader

    return reader(path)


def open_keras(path: Path) -> Source:
    """A .keras archive. Raises OpenError."""
    from tui_params.sources.hdf5.reader import open_keras as reader

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


def open_distributed_piece(path: Path) -> Source:
    """One file of a distributed checkpoint by itself. Raises OpenError."""
    from tui_params.sources.folder.dcp.reader import open_piece

    return open_piece(path)


class FolderOpeners:
    """How folders that are made of files of other formats are recognised and opened.

    ``formats`` makes the description of those formats; ``open_otherwise`` opens a folder by none of some rows.
    """

    def __init__(
        self, formats: Callable[[], Formats], open_otherwise: Callable[[Path, tuple[str, ...]], Source]
    ) -> None:
        self._formats = formats
        self._open_otherwise = open_otherwise

    def open_deepspeed(self, path: Path) -> Source:
        """A checkpoint of DeepSpeed; otherwise whatever else the folder is. Raises OpenError."""
        from tui_params.sources.folder.deepspeed.opening import open_deepspeed
        from tui_params.sources.folder.folder import open_folder

        formats = self._formats()
        try:
            return open_deepspeed(path, formats.mentioned)
        except UnknownFormatError:
            # Others name their files so too.
            return open_folder(path, formats)

    def open_distributed(self, path: Path) -> Source:
        """A distributed checkpoint by its folder. Raises OpenError."""
        from tui_params.sources.folder.dcp.reader import open_distributed

        formats = self._formats()
        return open_distributed(path, formats.open_file, formats.suffixes)

    def open_distributed_metadata(self, path: Path) -> Source:
        """A distributed checkpoint by its list of tensors. Raises OpenError."""
        from tui_params.sources.folder.dcp.reader import open_metadata

        formats = self._formats()
        return open_metadata(path, formats.open_file, formats.suffixes)

    def open_pipeline(self, path: Path) -> Source:
        """All models of a pipeline. Raises OpenError."""
        from tui_params.sources.folder.run.pipeline import open_pipeline

        return open_pipeline(path, self._formats())

    def is_pipeline(self, path: Path) -> bool:
        """Whether a folder is a pipeline of diffusers or sentence-transformers."""
        if not any(is_file(path / name) for name in ("model_index.json", "modules.json")):
            return False
        from tui_params.sources.folder.run.pipeline import is_pipeline

        return is_pipeline(path)

    def open_run(self, path: Path) -> Source:
        """The model and the states of a training run. Raises OpenError."""
        from tui_params.sources.folder.run.run import open_run

        return open_run(path, self._formats())

    def is_run(self, path: Path) -> bool:
        """Whether states of a run lie in a folder."""
        from tui_params.sources.folder.run.recognition import is_run

        return is_run(path, self._formats())

    def open_newest_step(self, path: Path) -> Source:
        """The newest of several steps, which is no folder of steps itself. Raises OpenError."""
        from tui_params.sources.folder.run.steps import open_newest

        return open_newest(path, self._formats(), lambda step: self._open_otherwise(step, ("steps",)))

    def has_steps(self, path: Path) -> bool:
        """Whether a folder has the same model at several steps."""
        from tui_params.sources.folder.run.steps import find_steps

        return bool(find_steps(path, self._formats()))

    def open_by_rank(self, path: Path) -> Source:
        """What the ranks of a job saved, joined; otherwise whatever else the folder is. Raises OpenError."""
        from tui_params.sources.folder.by_rank.opening import add_missing, open_by_rank

        try:
            return open_by_rank(path, self._formats())
        except UnknownFormatError:
            return add_missing(path, self._open_otherwise(path, ("by rank",)), self._formats())

    def has_files_by_rank(self, path: Path) -> bool:
        """Whether files in a folder are named as those of several ranks."""
        try:
            if not any("rank" in name.lower() or "_of_" in name for name in names_in(path)):
                return False
        except OSError:
            return False
        from tui_params.sources.folder.by_rank.opening import groups_in

        return bool(groups_in(path, self._formats()))
