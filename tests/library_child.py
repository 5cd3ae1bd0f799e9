"""The child process in which the real torch and the real pickle read damaged files; run as a script.

Each line of stdin is a JSON object ``{"path", "how"}``, each line of stdout the answer: ``refusal`` (a sentence, or
null), ``tensors`` as [name, dtype, shape, digest of the bytes], ``leaves`` as [name, text], ``is_odd`` if something has
no name that can be compared. ``how`` is ``torch`` for files of torch.save, ``pickle`` for bare pickles, ``ranks`` for a
folder of what each rank of a job saved, and ``zero`` for a folder of DeepSpeed, whose own script reads it if it is
installed (else each file by itself, without names).

No code of a file is run: torch reads with ``weights_only``, pickle with a table of the globals that it may have.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import resource
import sys
import warnings
from typing import Any

MEMORY = 6 << 30
"""Bytes of address space, most of which the libraries of torch take."""

LARGE = 1 << 24
"""A tensor of more bytes is compared by its shape alone."""

_PLAIN = (bool, int, float, str, type(None))
_DEEPSPEED = {
    "deepspeed.runtime.fp16.loss_scaler.LossScaler": None,
    "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler": None,
    "deepspeed.runtime.zero.config.ZeroStageEnum": int,
    "deepspeed.utils.tensor_fragment.fragment_address": None,
}
"""Classes whose objects are in the files of DeepSpeed, and what does as well; without that nobody looks into them."""

_UNSUPPORTED = ("Unsupported operand", "Unsupported global", "Trying to load unsupported GLOBAL", "weights_only")
"""What the ``weights_only`` unpickler of torch says of a pickle that it does not know, or of a global."""


def digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def _allowed() -> dict[str, Any]:
    import torch
    from torch import _weights_only_unpickler as unpickler

    found = dict(unpickler._get_allowed_globals())
    import numpy as np
    from numpy._core import multiarray, numeric

    for package in ("numpy.core", "numpy._core"):
        found[f"{package}.multiarray._reconstruct"] = multiarray._reconstruct
        found[f"{package}.multiarray.scalar"] = multiarray.scalar
        found[f"{package}.numeric._frombuffer"] = vars(numeric)["_frombuffer"]
    found |= {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype, "builtins.bytes": bytes, "builtins.list": list}
    found |= {"builtins.dict": dict, "builtins.tuple": tuple, "builtins.frozenset": frozenset}
    found |= {name: cls or _Any for name, cls in _DEEPSPEED.items()}
    found["torch.storage._load_from_bytes"] = lambda raw: torch.load(
        io.BytesIO(raw), map_location="cpu", weights_only=False, pickle_module=Restricted
    )
    return found


_TABLE: dict[str, Any] = {}
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class _Any:
    """In place of a class of DeepSpeed."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _TABLE.get(f"{_RENAMED.get(module, module)}.{name}")
        if found is None:
            raise pickle.UnpicklingError(f"Unsupported global {module}.{name}")
        return found


class Restricted:
    """What torch.load takes for the module pickle: the same, but only the globals of the table."""

    __name__ = "restricted"
    Unpickler = _Unpickler

    @staticmethod
    def load(file: Any, **options: Any) -> Any:
        return _Unpickler(file, **options).load()


def load(path: str, how: str, **options: Any) -> Any:
    """The object in a file. Raises whatever the library raises."""
    import torch

    if how == "pickle":
        with open(path, "rb") as file:
            return Restricted.load(file, **{"encoding": "latin1", **options})
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=False, **options)
    except Exception as error:
        # An honest file may be of another protocol, or hold arrays of numpy.
        if not any(words in str(error) for words in _UNSUPPORTED[:3]):
            raise
    return torch.load(path, map_location="cpu", weights_only=False, mmap=False, pickle_module=Restricted, **options)


def gather(folder: str) -> dict[str, Any]:
    """The whole tensors of what each of two ranks saved with torch.save: DTensors, put together as torch places them.

    Raises whatever torch raises, and ValueError if a part has another shape than it should have.
    """
    import torch
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._utils import _compute_local_shape_and_global_offset as place_of

    _TABLE.update({f"{each.__module__}.{each.__qualname__}": each for each in torch.serialization.get_safe_globals()})
    whole: dict[str, Any] = {}
    plain: dict[str, dict[int, Any]] = {}
    for rank in range(2):
        for key, value in load(_file_of_rank(folder, rank), "torch").items():
            if not isinstance(value, DTensor):
                plain.setdefault(str(key), {})[rank] = value
                continue
            spec, part = value._spec, value._local_tensor
            mesh = spec.mesh
            sizes, start = place_of(spec.tensor_meta.shape, mesh.shape, mesh.get_coordinate(), spec.placements)
            if tuple(part.shape) != tuple(sizes):
                raise ValueError(f"{key} has the shape {tuple(part.shape)}, not {tuple(sizes)}")
            into = whole.setdefault(str(key), torch.full(spec.tensor_meta.shape, float("nan"), dtype=part.dtype))
            into[tuple(slice(at, at + size) for at, size in zip(start, sizes, strict=True))] = part
    for key, values in plain.items():
        if len(values) > 1:
            whole.setdefault(key, values[0])
        else:
            # Only one rank has it, and says so.
            whole |= {_join(key, f"rank_{rank}"): value for rank, value in values.items()}
    return whole


def _file_of_rank(folder: str, rank: int) -> str:
    """Files that are named otherwise are of another job, or no ranks at all; ``rank_00`` is the file of rank 0."""
    pattern = re.compile(rf"model_world_size_2_rank_0*{rank}\.pt")
    names = sorted(filter(pattern.fullmatch, os.listdir(folder)), key=len)
    if not names:
        is_other = not any(re.search(r"world_size_2_rank_0*[01]\.", name) for name in os.listdir(folder))
        raise FileNotFoundError("no file of this job" if is_other else f"no file of rank {rank}")
    return os.path.join(folder, names[0])


def consolidate(folder: str) -> dict[str, Any] | None:
    """What DeepSpeed's own script makes of a folder; None if it is not installed. Raises whatever it raises."""
    import torch

    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "error")
    try:
        from deepspeed.utils import zero_to_fp32
    except ImportError:
        for at, _, names in os.walk(folder):
            for name in names:
                if name.endswith(".pt"):
                    load(os.path.join(at, name), "torch")
        return None
    original = torch.load
    # It would run the code of a damaged file.
    torch.load = lambda path, **_: original(
        path, map_location="cpu", weights_only=False, mmap=False, pickle_module=Restricted
    )
    try:
        # Without the file that names it, the only tag is meant.
        tag = None if os.path.exists(os.path.join(folder, "latest")) else next(os.walk(folder))[1][0]
        found: dict[str, Any] = zero_to_fp32.get_fp32_state_dict_from_zero_checkpoint(folder, tag)
    finally:
        torch.load = original
    return found


def _is_single(value: Any) -> bool:
    import numpy as np

    return type(value) is np.ndarray and value.ndim == 0


class Names:
    """The tensors and the leaves of an object by dotted name."""

    def __init__(self) -> None:
        self.tensors: list[list[Any]] = []
        self.leaves: list[list[str]] = []
        self.is_odd = False
        self._seen: dict[int, Any] = {}

    def visit(self, name: str, value: Any, depth: int = 0) -> None:
        import numpy as np
        import torch

        if depth > 90:
            self.is_odd = True
        elif isinstance(value, torch.Tensor):
            self._add_tensor(name, value)
        elif isinstance(value, (torch.storage.TypedStorage, torch.UntypedStorage)):
            self._add_storage(name, value)
        elif isinstance(value, (np.ndarray, np.generic)):
            self._add_array(name, np.asarray(value))
        elif isinstance(value, (dict, list, tuple, set, frozenset)):
            if id(value) in self._seen:
                return
            self._seen[id(value)] = value
            if isinstance(value, dict):
                for key, item in value.items():
                    if type(key) not in _PLAIN:
                        self.is_odd = True
                    if type(item) in _PLAIN and len(str(item)) <= 150:
                        self.leaves.append([_join(name, key), str(item)])
                    self.visit(_join(name, key), item, depth + 1)
            elif isinstance(value, (set, frozenset)):
                self.is_odd = self.is_odd or not all(type(item) in _PLAIN for item in value)
            elif not all(isinstance(item, (*_PLAIN, np.generic)) or _is_single(item) for item in value):
                for index, item in enumerate(value):
                    self.visit(_join(name, index), item, depth + 1)

    def _add_tensor(self, name: str, value: Any) -> None:
        import torch

        if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.is_nested:
            self.is_odd = True
        elif value.layout is torch.sparse_coo:
            self._add_tensor(_join(name, "indices"), value._indices())
            self._add_tensor(_join(name, "values"), value._values())
        elif value.layout is not torch.strided or value.device.type != "cpu":
            self.is_odd = True
        else:
            plain = value.detach().int_repr() if value.is_quantized else value.detach()
            raw = ""
            if plain.numel() * plain.element_size() <= LARGE:
                # A single element may have any stride, with which its bytes cannot be viewed.
                flat = plain.resolve_conj().resolve_neg().contiguous().as_strided((plain.numel(),), (1,))
                held = flat.view(torch.uint8).numpy()
                # A truth value is true whatever bits its byte has.
                raw = digest((held != 0 if flat.dtype is torch.bool else held).tobytes())
            self.tensors.append([name, str(value.dtype).removeprefix("torch."), list(value.shape), raw])

    def _add_storage(self, name: str, value: Any) -> None:
        import torch

        is_typed = isinstance(value, torch.storage.TypedStorage)
        raw = value._untyped_storage if is_typed else value
        dtype = value.dtype if is_typed else torch.uint8
        self._add_tensor(name, torch.empty(0, dtype=torch.uint8).set_(raw).view(dtype))

    def _add_array(self, name: str, value: Any) -> None:
        import numpy as np

        if value.dtype.kind in "SUmM":
            return
        if value.dtype.kind not in "biufc" or type(value).__name__ != "ndarray":
            self.is_odd = True
            return
        is_swapped = not value.dtype.isnative
        plain = value.astype(value.dtype.newbyteorder("=")) if is_swapped else value
        if value.dtype.kind == "b":
            plain = np.atleast_1d(value).view(np.uint8).reshape(value.shape) != 0
        raw = digest(plain.tobytes()) if plain.nbytes <= LARGE else ""
        self.tensors.append([name, plain.dtype.name, list(plain.shape), raw])


def _join(prefix: str, key: Any) -> str:
    return f"{prefix}.{key}" if prefix else str(key)


def answer(path: str, how: str) -> dict[str, Any]:
    """What the library says of one file."""
    import numpy as np
    import torch

    names = Names()
    try:
        try:
            if how == "zero":
                whole = consolidate(path)
                names.is_odd = whole is None
                root: Any = whole or {}
            else:
                root = gather(path) if how == "ranks" else load(path, how)
        except UnicodeDecodeError:
            # Strings of Python 2 are bytes, and the caller chooses their encoding.
            root = load(path, how, encoding="latin1")
            names.is_odd = True
        if isinstance(root, (torch.Tensor, np.ndarray, np.generic)):
            names.visit("tensor" if isinstance(root, torch.Tensor) else "array", root)
        elif isinstance(root, (torch.storage.TypedStorage, torch.UntypedStorage)):
            names.visit("storage", root)
        else:
            names.visit("", root)
    except Exception as error:  # noqa: BLE001 - any error at all is a refusal
        return {"refusal": f"{type(error).__name__}: {error}"[:400]}
    return {"refusal": None, "tensors": names.tensors, "leaves": names.leaves, "is_odd": names.is_odd}


def main() -> None:
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    _TABLE.update(_allowed())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        asked = json.loads(line)
        out.write(json.dumps(answer(asked["path"], asked["how"])) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
