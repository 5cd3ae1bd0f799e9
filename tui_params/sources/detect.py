"""The table of all formats, READERS, and how a path is opened by it: by content, because suffixes lie.

To add a format, write its reader in a file of its own and add a row here. The row says how a file of the format is
recognised, what it is in one sentence, and which function opens it. From the rows follow detection, opening, which
files of a folder are read, and the lists of formats in ``tui-params --help`` and the README.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.source import Source
from tui_params.core.text import clean, size
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources import openers
from tui_params.sources.bytes import content, far
from tui_params.sources.bytes.content import Peek
from tui_params.sources.bytes.files import status
from tui_params.sources.bytes.local import opened, read_bytes
from tui_params.sources.bytes.system_calls import reason
from tui_params.sources.given import find_path, meant
from tui_params.sources.row import Reader as Reader
from tui_params.sources.row import Unopened as Unopened
from tui_params.sources.unopened import NOT_YET, UNOPENED

if TYPE_CHECKING:
    from tui_params.sources.folder.folder import Formats
    from tui_params.sources.given import Keepers

HEAD_NBYTES = 1024

_OF_MODELS = ("model", "pytorch_model", "diffusion_pytorch_model", "adapter_model", "gptq_model")
"""How the names of files begin beside which a config.json is looked for."""


def formats() -> Formats:
    from tui_params.sources.folder.folder import Formats

    return Formats(
        open_file,
        readers=tuple(row for row in READERS if isinstance(row, Reader) and row.suffixes),
        mentioned=tuple(suffix for row in READERS for suffix in row.suffixes),
        refusal=_refuse_folder,
        open_subfolder=_open_subfolder,
        named=_name_file,
    )


def _open_folder(path: Path, index: str | None = None) -> Source:
    from tui_params.sources.folder.folder import open_folder

    return open_folder(path, formats(), index)


def _open_subfolder(path: Path) -> Source | None:
    """The source of a folder in a format of its own, such as DCP; None if it is an ordinary folder of files."""
    row = _row_of_folder(path)
    return None if row is None or row.name in _OF_FOLDERS else row.open(path)


def _refuse_folder(path: Path) -> str | None:
    row = next((row for row in READERS if isinstance(row, Unopened) and row.fits_folder(path)), None)
    if row is None:
        return None
    return row.sentence if row.detail is None else row.sentence + row.detail(path)


def _name_file(path: Path) -> str | None:
    """What a file is whose name is not that of a tensor file, as the end of a sentence; None if it holds no tensors."""
    name = clean(path.name, 120)
    try:
        open_file(path).close()
    except UnknownFormatError as error:
        # What is known to hold something else says so, too: a JSON document.
        return str(error).removeprefix(name).lstrip() if str(error).endswith(NOT_YET) else None
    except OpenError as error:
        return str(error).removeprefix(name).lstrip()
    return "can be opened by its path"


def _is_any(path: Path) -> bool:
    return True


def _open_otherwise(path: Path, but: tuple[str, ...]) -> Source:
    return _open_directory(path, but)


_FOLDERS = openers.FolderOpeners(formats, _open_otherwise)

READERS: tuple[Reader | Unopened, ...] = (
    Reader(
        name="safetensors",
        description="A safetensors file; of a damaged one, whatever is left is shown.",
        is_file=content.is_safetensors,
        suffixes=(".safetensors",),
        open=openers.open_safetensors,
    ),
    Reader(
        name="DDUF",
        description="A pipeline of diffusers in one file, or another uncompressed zip of safetensors files: all its"
        " models in one tree.",
        is_file=content.is_zip_of_safetensors,
        suffixes=(".dduf",),
        open=openers.open_dduf,
    ),
    Reader(
        name="Keras",
        description="The weights of a .keras archive, by the extra hdf5.",
        is_file=content.is_keras,
        suffixes=(".keras",),
        open=openers.open_keras,
    ),
    Reader(
        name="DCP",
        description="A distributed checkpoint of torch (DCP, FSDP): the whole tensors, whose pieces the ranks wrote, as"
        " .distcp files or by its Hugging Face writer.",
        is_folder=openers.is_distributed,
        open=_FOLDERS.open_distributed,
    ),
    Reader(
        name="DCP metadata",
        description="The list of its tensors (.metadata) opens the folder of such a checkpoint.",
        is_file=content.is_distributed_metadata,
        open=_FOLDERS.open_distributed_metadata,
    ),
    Reader(
        name="DCP piece",
        description="One file of such a checkpoint by itself: what one rank wrote.",
        is_file=content.is_distributed_piece,
        suffixes=(".distcp",),
        open=openers.open_distributed_piece,
    ),
    Reader(
        name="torch.save",
        description="A file of torch.save (zip, the older stream, or the tar of the first torch), torch.jit.save,"
        " torch.export.save, torch.package or AOTInductor: state dicts, training checkpoints, whole modules. No code in"
        " it is run.",
        is_file=content.is_torch,
        suffixes=(".bin", ".pt", ".pth", ".ckpt", ".pt2"),
        has_states=True,
        open=openers.open_torch,
    ),
    Reader(
        name="tar",
        description="An uncompressed tar with files of torch.save in it, read where they lie: NeMo's models.",
        magic=b"ustar",
        at=257,
        suffixes=(".nemo",),
        open=openers.open_tar,
    ),
    Reader(
        name="DeepSpeed",
        description="A DeepSpeed checkpoint, the folder with `latest` or that of one tag (ZeRO 1 to 3, BF16_Optimizer,"
        " without ZeRO, universal): parameters, frozen weights and moments joined from the files of all ranks.",
        is_folder=openers.is_deepspeed,
        open=_FOLDERS.open_deepspeed,
    ),
    Reader(
        name="by rank",
        description="Files that each rank of a job saved by itself with torch.save (FSDP1, FSDP2): whole tensors"
        " where the files say which part of a tensor each has.",
        is_folder=_FOLDERS.has_files_by_rank,
        open=_FOLDERS.open_by_rank,
    ),
    Reader(
        name="steps",
        description="A folder of the same model at several steps (checkpoint-500/, epoch=3.ckpt): the newest is"
        " opened, the others are named.",
        is_folder=_FOLDERS.has_steps,
        open=_FOLDERS.open_newest_step,
    ),
    Reader(
        name="pipeline",
        description="A pipeline of diffusers or sentence-transformers: all its models in one tree.",
        is_folder=_FOLDERS.is_pipeline,
        open=_FOLDERS.open_pipeline,
    ),
    Reader(
        name="run",
        description="A checkpoint of a training run (transformers, accelerate): the model under its own names, with"
        " optimizer, scheduler, random states and registered objects beside it.",
        is_folder=_FOLDERS.is_run,
        open=_FOLDERS.open_run,
    ),
    Reader(
        name="pickle",
        description="A pickle with arrays of numpy: joblib, also compressed; Paddle's .pdparams; the model zoo of"
        " detectron2. No code in it is run.",
        is_file=content.is_compressed_pickle,
        suffixes=(".pdparams", ".joblib"),
        open=openers.open_torch,
    ),
    Reader(
        name="GGUF",
        description="A model of llama.cpp, versions 2 and 3, also in several files of one folder. Q4_0, Q4_1, Q5_0,"
        " Q5_1, Q8_0 and Q2_K to Q6_K are restored to float32 when they are read, IQ and others by the extra gguf.",
        magic=b"GGUF",
        suffixes=(".gguf",),
        open=openers.open_gguf,
    ),
    Reader(
        name="NPZ",
        description="An archive of arrays, of numpy.savez, jax or MLX; compressed arrays of up to 256 MiB are unpacked"
        " in memory. Arrays of Python objects and of records are named.",
        is_file=content.is_npz,
        suffixes=(".npz",),
        open=openers.open_npz,
    ),
    Reader(
        name="NPY",
        description="One array of numpy.save.",
        magic=b"\x93NUMPY",
        suffixes=(".npy",),
        open=openers.open_npy,
    ),
    Reader(
        name="ONNX",
        description="The initialisers and constants of an ONNX model, also in files of external data in its folder.",
        is_file=content.is_onnx,
        suffixes=(".onnx",),
        open=openers.open_onnx,
    ),
    Reader(
        name="HDF5",
        description="The datasets of an HDF5 file, such as Keras weights (extra hdf5: h5py lists them, in another"
        " process); chunked ones of up to 256 MiB are put together in memory.",
        is_file=content.is_hdf5,
        suffixes=(".h5", ".hdf5"),
        open=openers.open_hdf5,
    ),
    Reader(
        name="folder",
        description="A folder of such files: shards with their Hugging Face index, or files side by side. A damaged or"
        " missing file does not hide the others.",
        is_folder=_is_any,
        open=_open_folder,
    ),
    *UNOPENED,
)
"""Every format that is known here, in the order in which they are tried."""


def open_path(path: str | os.PathLike[str], form: str | None = None, keepers: Keepers | None = None) -> Source:
    """The source at ``path``: a checkpoint file, a folder of them, or the index file of such a folder.

    ``path`` may be an address, such as ``hf://org/model``; ``keepers`` makes what keeps parts of remote files for later
    sessions. ``form`` is the name of the format to read it as, whatever it looks like. ``~`` is expanded. Raises
    OpenError, and UnknownFormatError where no reader recognises the content.
    """
    given = os.fspath(path)
    if isinstance(given, bytes):
        given = os.fsdecode(given)
    if not given:
        raise OpenError("the path is empty")
    return _open_at(find_path(given, keepers), form)


def _open_at(full: Path, form: str | None) -> Source:
    shown = clean(far.shown(full), 200)
    try:
        mode = status(full).st_mode
    except far.NoPlaceError as error:
        raise OpenError(f"{shown} cannot be opened: {reason(error)}") from None
    except (FileNotFoundError, NotADirectoryError):
        leads = f"{shown} is a symbolic link to {clean(os.readlink(full), 200)}," if os.path.islink(full) else None
        absent = f"no such file or folder: {shown}{'' if far.is_far(full) else meant(shown)}"
        raise OpenError(f"{leads} which does not exist" if leads else absent) from None
    except OSError as error:
        raise OpenError(f"{shown} cannot be opened: {reason(error)}") from None
    except ValueError as error:
        # A null byte in the path.
        raise OpenError(f"{shown} is not a valid path: {clean(str(error), 120)}") from None
    source = _open_known(full, mode, form)
    source.line = far.line_of(full)
    return source


def _open_known(full: Path, mode: int, form: str | None) -> Source:
    if form is not None:
        return _open_as(full, form, is_folder=S_ISDIR(mode))
    if S_ISDIR(mode):
        return _open_directory(full)
    if full.name.endswith(".json"):
        from tui_params.sources.folder.folder import is_index

        if is_index(full):
            return _open_folder(full.absolute().parent, full.name)
    return _with_configs(open_file(full), full)


def _open_as(path: Path, form: str, *, is_folder: bool) -> Source:
    """The source at ``path``, read by the reader of that name. Raises OpenError."""
    from tui_params.sources.forced import find_reader, open_forced

    row = find_reader(path, form, READERS, is_folder=is_folder)
    if is_folder:
        return row.open(path)
    return _with_configs(_naming_file(open_forced(path, row, READERS), path.name), path)


def _with_configs(source: Source, path: Path) -> Source:
    """The same source; it knows what the config.json beside a model says, and that it is one file of several."""
    if "-of-" in path.name:
        from tui_params.sources.folder.numbered import tell_others

        tell_others(source, path)
    if path.name.startswith(_OF_MODELS):
        from tui_params.sources.folder.config import add_beside

        add_beside(source, path)
    return source


def open_file(path: Path) -> Source:
    """The source in one regular file. Raises OpenError, UnknownFormatError."""
    with opened(path) as (descriptor, file):
        head = read_bytes(descriptor, 0, HEAD_NBYTES)
        peek = Peek(head, file.size, file.name, partial(read_bytes, descriptor), path.parent)
        row = next((row for row in READERS if row.fits(peek)), None) if head else None
        if head and not isinstance(row, Reader):
            found, faults = _find_plugin(lambda row: row.fits(peek))
    name = clean(file.name, 120)
    if not head:
        raise OpenError(f"{name} is empty (0 bytes)")
    if isinstance(row, Reader):
        return _naming_file(row.open(path), file.name)
    if row is not None:
        sentence = f"{name} {row.sentence.replace('{size}', size(file.size))}"
    else:
        about = f"{size(file.size)}, the first bytes are {head[:8].hex(' ')}"
        sentence = f"{name} is in no format that is known here ({about})"
    return _naming_file(_open_by_plugin(path, found, faults, sentence), file.name)


def _find_plugin(fits: Callable[[Reader], bool]) -> tuple[Reader | None, Sequence[str]]:
    """The row of a plug-in that fits, and what is wrong with others."""
    from tui_params.sources.plugins import find_fitting

    return find_fitting(fits)


def _open_by_plugin(path: Path, found: Reader | None, faults: Sequence[str], otherwise: str) -> Source:
    """The source that a plug-in opens. Raises UnknownFormatError, with the sentence ``otherwise``, if none does."""
    if found is None:
        raise UnknownFormatError("; ".join([otherwise, *faults]))
    return found.open(path)


def _naming_file(source: Source, name: str) -> Source:
    """The same source; those of its findings that are about no tensor name the file."""
    found = source.listing.findings
    if any(finding.tensor is None and finding.file is None for finding in found):
        named = [f if f.tensor is not None or f.file else msgspec.structs.replace(f, file=name) for f in found]
        source.listing = msgspec.structs.replace(source.listing, findings=tuple(named))
    return source


_OF_FOLDERS = ("by rank", "steps", "pipeline", "run", "folder")
"""The rows of folders that are made of files of other formats."""


def _row_of_folder(path: Path, but: Sequence[str] = ()) -> Reader | None:
    """The first row that fits a folder; None if that is no reader. The row "folder" fits every folder."""
    rows = (row for row in READERS if isinstance(row, Reader) and row.name not in but)
    return next((row for row in rows if row.fits_folder(path)), None)


def _open_directory(path: Path, but: Sequence[str] = ()) -> Source:
    row = _row_of_folder(path, but)
    assert row is not None
    if row.name != "folder":
        return row.open(path)
    try:
        return row.open(path)
    except OpenError as error:
        return _open_by_plugin(path, *_find_plugin(lambda row: row.fits_folder(path)), str(error))


def describe_formats() -> list[tuple[str, str]]:
    """Name and description of every format that can be opened, for ``--help`` and the README."""
    return [(row.name, row.explained) for row in READERS if isinstance(row, Reader)]
