"""The files of a folder on a server that lists none: those of the usual names, and those that an index names."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, Protocol

import msgspec

from tui_params.errors import SourceChangedError
from tui_params.sources.bytes.far import FarFile
from tui_params.sources.remote.transport import Entry

_INDEX = ".index.json"
_PIPELINE = "model_index.json"

USUAL = (
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "adapter_model.safetensors",
    "pytorch_model.bin",
    "adapter_model.bin",
    "config.json",
    "adapter_config.json",
    _PIPELINE,
    ".metadata",
)
"""What transformers, diffusers, peft and torch.distributed call the files of a checkpoint."""

_MAX_INDEX_NBYTES = 512 << 20
_MAX_SHARDS = 10_000


class Opener(Protocol):
    """Opens files of one server."""

    def opened(self, path: str) -> FarFile:
        """Raises OSError."""

    def call(self, work: partial[None]) -> None:
        """Have ``work`` called soon, in another thread."""


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


class _Try:
    """One name that is tried."""

    def __init__(self, opener: Opener, path: str) -> None:
        self.file: FarFile | None = None
        self.error: Exception | None = None
        self.done = threading.Event()
        self._opener = opener
        self._path = path

    def run(self) -> None:
        try:
            self.file = self._opener.opened(self._path)
        except (FileNotFoundError, IsADirectoryError):
            pass
        except OSError as error:
            self.error = error
        finally:
            self.done.set()


def guess_entries(opener: Opener, folder: str) -> dict[str, Entry]:
    """What lies in a folder, as far as it can be known. All usual names are tried at once.

    Raises OSError where the server answers none of them, with what it says.
    """
    start = f"{folder}/" if folder else ""
    tries = {name: _Try(opener, start + name) for name in USUAL}
    for each in tries.values():
        opener.call(partial(each.run))
    found: dict[str, Entry] = {}
    for name, each in tries.items():
        each.done.wait()
        if each.file is not None:
            status = each.file.status()
            found[name] = Entry(name, False, status.st_size)
    errors = [each.error for each in tries.values() if each.error is not None]
    if errors and not found:
        raise OSError(str(errors[0]))
    pipeline = tries[_PIPELINE].file
    if pipeline is not None:
        for part in _folders(pipeline):
            found.setdefault(part, Entry(part, True))
    for name in tuple(found):
        file = tries[name].file if name in tries else None
        if name.endswith(_INDEX) and file is not None:
            for shard in _shards(file):
                found.setdefault(shard, Entry(shard))
    return found


def _folders(file: FarFile) -> list[str]:
    """The folders that the list of a pipeline names: each has the name of a library and of a class."""
    listed = _read_json(file, dict[str, Any])
    if not isinstance(listed, dict):
        return []
    return [name for name, of in listed.items() if isinstance(of, list) and len(of) == 2 and None not in of]


def _shards(file: FarFile) -> list[str]:
    """The files that an index names; none if it is no index, which its reader will say."""
    index = _read_json(file, _Index)
    if not isinstance(index, _Index):
        return []
    names = sorted(set(index.weight_map.values()))
    return names if len(names) <= _MAX_SHARDS else []


def _read_json(file: FarFile, kind: Any) -> object:
    """What a file of JSON says; None if it is none, which its reader will say."""
    nbytes = file.status().st_size
    if nbytes > _MAX_INDEX_NBYTES:
        return None
    try:
        found: object = msgspec.json.decode(file.read(0, nbytes), type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError, OSError, SourceChangedError):
        return None
    return found
