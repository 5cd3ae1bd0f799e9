"""The rows of the table for what is recognised and cannot be opened: what it is, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

from tui_params.sources.bytes import content
from tui_params.sources.row import Unopened

NOT_YET = "; this format cannot be opened yet"


def _is_snapshot(path: Path) -> bool:
    return os.path.isfile(path / ".snapshot_metadata")


UNOPENED: tuple[Unopened, ...] = (
    Unopened(
        name="torchsnapshot",
        is_folder=_is_snapshot,
        sentence=f"is a snapshot of torchsnapshot{NOT_YET}",
    ),
    Unopened(
        name="Git LFS pointer",
        magic=b"version https://git-lfs",
        sentence="is a Git LFS pointer, not the weights: run git lfs pull",
    ),
    Unopened(
        name="HTML",
        is_file=content.is_web_page,
        sentence="is a web page, not a checkpoint: the download failed",
    ),
    Unopened(
        name="XML",
        is_file=content.is_xml,
        sentence="is an XML document, not a checkpoint: the download failed?",
    ),
    Unopened(name="NPZ", is_file=content.is_npz, sentence=f"is a NumPy archive (.npz){NOT_YET}"),
    Unopened(name="GGUF", magic=b"GGUF", sentence=f"is a GGUF file{NOT_YET}"),
    Unopened(name="NPY", magic=b"\x93NUMPY", sentence=f"is a NumPy array (.npy){NOT_YET}"),
    Unopened(name="HDF5", magic=b"\x89HDF\r\n\x1a\n", sentence=f"is an HDF5 file (Keras weights?){NOT_YET}"),
    Unopened(
        name="tar with gzip",
        is_file=content.is_gzipped_tar,
        sentence="is a tar archive compressed with gzip: unpack it (tar -xzf) and open the checkpoint in it",
    ),
    Unopened(name="gzip", magic=b"\x1f\x8b", sentence="is compressed with gzip: decompress it first"),
    Unopened(name="zstd", magic=b"\x28\xb5\x2f\xfd", sentence="is compressed with zstd: decompress it first"),
    Unopened(name="bzip2", magic=b"BZh", sentence="is compressed with bzip2: decompress it first"),
    Unopened(name="xz", magic=b"\xfd7zXZ\x00", sentence="is compressed with xz: decompress it first"),
    Unopened(name="7z", magic=b"7z\xbc\xaf\x27\x1c", sentence="is a 7z archive: unpack it first"),
    Unopened(name="ELF", magic=b"\x7fELF", sentence="is a compiled program or library, not a checkpoint"),
    Unopened(name="PDF", magic=b"%PDF", sentence="is a PDF document, not a checkpoint"),
    Unopened(name="Parquet", magic=b"PAR1", sentence=f"is a Parquet file{NOT_YET}"),
    Unopened(name="TensorFlow Lite", magic=b"TFL3", at=4, sentence=f"is a TensorFlow Lite model{NOT_YET}"),
    Unopened(
        name="TensorFlow index",
        is_file=content.is_tensorflow_index,
        sentence=f"is the index of a TensorFlow checkpoint{NOT_YET}",
    ),
    Unopened(name="JSON", is_file=content.is_json, sentence="is a JSON document, not a checkpoint"),
    Unopened(
        name="zeros",
        is_file=content.is_all_zeros,
        sentence="starts with zeros ({size} in all): it was never written, or its download is not finished",
    ),
    Unopened(name="ONNX", is_file=content.is_onnx, sentence=f"looks like an ONNX model{NOT_YET}"),
)
"""Tried after every format that can be opened, in this order."""
