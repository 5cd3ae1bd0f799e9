"""Everything that is recognised and not opened: the user learns what it is, and what to do."""

from __future__ import annotations

from pathlib import Path

from tui_params.sources.bytes import bare_heads, content
from tui_params.sources.bytes.files import status
from tui_params.sources.row import Unopened

NOT_YET = "; this format cannot be opened yet"

_LZ4 = "is compressed with lz4: decompress it first (lz4 -d), or install the package lz4 (pip install lz4)"
_OLD_GGML = "is a model of ggml from before GGUF (llama.cpp, whisper.cpp)" + NOT_YET
_OCDBT = "is the list of keys of an OCDBT store, in which Orbax (jax) keeps a checkpoint" + NOT_YET
_CORE_ML_WEIGHTS = "is the file of weights of a package of Core ML" + NOT_YET
_OPENVINO = "is the graph of an OpenVINO model, whose weights are in the .bin beside it" + NOT_YET
_PADDLE = (
    "is a row of tensors as Paddle writes them one by one (use_binary_format, .pdiparams), without names" + NOT_YET
)


def _has(folder: Path, *names: str) -> bool:
    """Whether one of these files or folders lies in the folder."""
    for name in names:
        try:
            status(folder / name)
        except OSError:
            continue
        return True
    return False


def _is_snapshot(path: Path) -> bool:
    return _has(path, ".snapshot_metadata")


def _is_orbax(path: Path) -> bool:
    return _has(path, "manifest.ocdbt", "_CHECKPOINT_METADATA")


def _is_saved_model(path: Path) -> bool:
    return _has(path, "saved_model.pb")


def _is_core_ml_package(path: Path) -> bool:
    return _has(path, "Data/com.apple.CoreML")


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
    Unopened(name="OpenVINO", is_file=content.is_openvino, sentence=_OPENVINO),
    Unopened(
        name="XML",
        is_file=content.is_xml,
        sentence="is an XML document, not a checkpoint: the download failed?",
    ),
    Unopened(name="old ggml", magic=(b"lmgg", b"fmgg", b"tjgg", b"algg"), sentence=_OLD_GGML),
    Unopened(
        name="llama2.c", magic=b"24ka", is_file=bare_heads.is_llama2c, sentence=f"is a model of llama2.c{NOT_YET}"
    ),
    Unopened(
        name="ExecuTorch",
        magic=b"ET12",
        at=4,
        suffixes=(".pte",),
        sentence=f"is a program of ExecuTorch (.pte){NOT_YET}",
    ),
    Unopened(name="OCDBT", magic=b"\x0c\xdb\x3a\x2a", sentence=_OCDBT),
    Unopened(name="Core ML weights", magic=b"\xef\xbe\xad\xde", at=64, sentence=_CORE_ML_WEIGHTS),
    Unopened(name="CTranslate2", is_file=content.is_ctranslate2, sentence=f"is a model of CTranslate2{NOT_YET}"),
    Unopened(
        name="tar with gzip",
        is_file=content.is_gzipped_tar,
        sentence="is a tar archive compressed with gzip: unpack it (tar -xzf) and open the checkpoint in it",
    ),
    Unopened(name="gzip", magic=b"\x1f\x8b", sentence="is compressed with gzip: decompress it first"),
    Unopened(name="zstd", magic=b"\x28\xb5\x2f\xfd", sentence="is compressed with zstd: decompress it first"),
    Unopened(name="bzip2", magic=b"BZh", sentence="is compressed with bzip2: decompress it first"),
    Unopened(name="xz", magic=b"\xfd7zXZ\x00", sentence="is compressed with xz: decompress it first"),
    Unopened(name="lz4", magic=content.LZ4, sentence=_LZ4),
    Unopened(name="7z", magic=b"7z\xbc\xaf\x27\x1c", sentence="is a 7z archive: unpack it first"),
    Unopened(name="ELF", magic=b"\x7fELF", sentence="is a compiled program or library, not a checkpoint"),
    Unopened(name="PDF", magic=b"%PDF", sentence="is a PDF document, not a checkpoint"),
    Unopened(name="Parquet", magic=b"PAR1", sentence=f"is a Parquet file{NOT_YET}"),
    Unopened(
        name="TensorFlow Lite",
        magic=b"TFL3",
        at=4,
        suffixes=(".tflite",),
        sentence=f"is a TensorFlow Lite model{NOT_YET}",
    ),
    Unopened(
        name="TensorFlow data",
        is_file=content.is_tensorflow_data,
        sentence=f"is a part of the values of a TensorFlow checkpoint, whose index lies beside it{NOT_YET}",
    ),
    Unopened(
        name="TensorFlow index",
        is_file=content.is_tensorflow_index,
        sentence=f"is the index of a TensorFlow checkpoint{NOT_YET}",
    ),
    Unopened(name="JSON", is_file=content.is_json, sentence="is a JSON document, not a checkpoint"),
    Unopened(
        name="Flax",
        is_file=content.is_flax,
        suffixes=(".msgpack",),
        sentence=f"is a tree of arrays of flax or jax (msgpack){NOT_YET}",
    ),
    Unopened(
        name="SavedModel", is_file=content.is_saved_model, sentence=f"is the graph of a TensorFlow SavedModel{NOT_YET}"
    ),
    Unopened(
        name="Core ML",
        is_file=content.is_core_ml,
        suffixes=(".mlmodel",),
        sentence=f"is a model of Core ML (.mlmodel){NOT_YET}",
    ),
    Unopened(
        name="OpenVINO weights",
        is_file=content.is_openvino_weights,
        sentence=f"is the file of weights of the OpenVINO model in the .xml beside it{NOT_YET}",
    ),
    Unopened(name="Paddle tensors", is_file=bare_heads.is_paddle, sentence=_PADDLE),
    Unopened(
        name="zeros",
        is_file=content.is_all_zeros,
        sentence="starts with zeros ({size} in all) and holds nothing else where it was looked at: it was never"
        " written, or its download is not finished",
    ),
    Unopened(
        name="zeros first",
        is_file=content.starts_with_zeros,
        sentence="starts with zeros, and other bytes follow ({size} in all): raw values without a header, or a file"
        " whose beginning was not written",
    ),
    Unopened(
        name="SavedModel folder",
        is_folder=_is_saved_model,
        sentence=f"is a TensorFlow SavedModel{NOT_YET}",
    ),
    Unopened(
        name="Core ML package",
        is_folder=_is_core_ml_package,
        sentence=f"is a package of Core ML (.mlpackage){NOT_YET}",
    ),
    Unopened(name="Orbax", is_folder=_is_orbax, sentence=f"is a checkpoint of Orbax (jax){NOT_YET}"),
)
"""In the order in which they are tried, after the formats that are opened."""
