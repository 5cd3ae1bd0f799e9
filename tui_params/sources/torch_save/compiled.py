"""Models that AOTInductor has compiled into an archive (.pt2), and where it has put their weights.

torch/_inductor/codecache.py and torch/export/pt2_archive/_package.py write them in one of four ways: into the shared
library; into a ``.blob`` beside it; each as a torch.save zip in ``data/weights/``, listed in ``weights_config.json``;
or nowhere. Names and shapes also stand in the C++ text of the wrapper, which is read as text. No library is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tui_params.core.dtypes import from_torch
from tui_params.core.findings import Finding
from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.sources.bytes.local import Descriptor
from tui_params.sources.bytes.zip_directory import Directory, read_member
from tui_params.sources.inert_pickle.values import Parameter, Storage, Stub, TensorValue, TypedTensor, Unread
from tui_params.sources.torch_save.archive import Inner
from tui_params.sources.torch_save.layout import Place
from tui_params.sources.torch_save.places import Places

FOLDER = "data/aotinductor/"
WEIGHTS = "data/weights/"
MAX_TEXT_BYTES = 64 << 20
MAX_WEIGHTS = 20_000
"""The most weights, each an archive of its own, that are opened."""

_MAX_CONSTANTS = 500_000
_ALIGNMENT = 64
_FIELD = re.compile(r"^ *constants_info_\[(\d{1,7})\]\.(\w+) = ([^\n]*);$", re.MULTILINE)
_INCLUDES = re.compile(r": AOTInductorModelBase\([^{}]{0,400}?\b(true|false)\) \{")
_TENSOR = Stub("torch", "Tensor")
_UNTYPED = Stub("torch", "UntypedStorage")


class Constant(msgspec.Struct, frozen=True):
    """A weight or constant of a compiled model, as the text of its wrapper describes it. ``nbytes`` are its room."""

    name: str
    kind: str
    dtype: str
    device: str
    layout: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    nbytes: int
    is_folded: bool


class Compiled:
    """The weights of all compiled models of an archive: ``root`` by name, and where each storage lies.

    ``listed`` are the paths of the members that some list names. Raises OpenError, OSError.
    """

    def __init__(self, descriptor: Descriptor, directory: Directory, top: str, places: Places) -> None:
        self.root: dict[str, Any] = {}
        self.listed: set[str] = set()
        self.inner = Inner(descriptor, directory)
        self._descriptor = descriptor
        self._directory = directory
        self._top = top
        self._outer = places
        self._places: dict[str, Place] = {}
        self._findings: list[Finding] = []
        prefix = f"{top}/{FOLDER}"
        paths = [name[len(prefix) :] for name in directory.members if name.startswith(prefix)]
        self.models = list(dict.fromkeys(path.partition("/")[0] for path in paths if "/" in path))
        for model in self.models:
            self._read_model(model, [f"{prefix}{path}" for path in paths if path.startswith(f"{model}/")])
        if self.inner.root:
            # Whoever loads the weights from this archive unpickles those that no list names, too.
            for path, member in directory.members.items():
                if path.startswith(f"{top}/{WEIGHTS}") and path not in self.listed and path.count("/") == 3:
                    self.inner.open(path, member, MAX_WEIGHTS)

    def open_pickled(self, path: str) -> Any:
        """What the torch.save zip at the path of a member builds; an Unread if it is none."""
        self.listed.add(path)
        member = self._directory.members.get(path)
        if member is None:
            return Unread("the file that holds it is not in the archive", is_faulty=True)
        return self.inner.root[path] if path in self.inner.root else self.inner.open(path, member, MAX_WEIGHTS)

    def locate(self, key: str) -> Place:
        """The Place of a storage by its key."""
        known = self._places.get(key)
        if known is not None:
            return known
        return self.inner.locate(key) if key.partition("/")[0].isdecimal() else self._outer.locate_member(key)

    def findings(self) -> Iterator[Finding]:
        """What is wrong with the weights. Complete once all storages have been located."""
        yield from self._findings
        yield from self.inner.inner_findings()

    def _read_model(self, model: str, paths: list[str]) -> None:
        found: dict[str, Any] = {}
        kinds: dict[str, str] = {}
        texts = [path for path in paths if path.endswith(".cpp") and not path.endswith(".kernel.cpp")]
        constants: list[tuple[Constant, Place]] = []
        for path in texts:
            constants += self._constants(path)
        kinds = {constant.name: constant.kind for constant, _ in constants}
        config = next((path for path in paths if path.endswith("/weights_config.json")), None)
        if config is not None:
            found |= self._listed_weights(config, kinds)
        for number, (constant, place) in enumerate(constants):
            if constant.name not in found:
                key = f"aoti/{model}/{number}"
                if constant.layout not in ("strided", ""):
                    place = Place(None, 0, f"it is kept in the layout {clean(constant.layout, 40)}, which is not read")
                self._places[key] = place
                found[constant.name] = _value(constant, key, place)
        start = f"{clean(model, 200)}." if len(self.models) > 1 else ""
        self.root |= {f"{start}{name}": value for name, value in found.items()}

    def _listed_weights(self, path: str, kinds: dict[str, str]) -> dict[str, Any]:
        """The weights that ``weights_config.json`` lists: name, file, sizes, strides and offset of each."""
        raw = read_member(self._descriptor, self._directory, self._directory.members[path], MAX_TEXT_BYTES)
        try:
            config = msgspec.json.decode(raw, type=dict[str, tuple[str, list[int], list[int], int]])
        except (msgspec.MsgspecError, RecursionError, ValueError):
            raise OpenError(f"{clean(path, 120)} is not the JSON that it should be: the archive is damaged") from None
        found: dict[str, Any] = {}
        for name, (file, shape, stride, offset) in config.items():
            member = f"{self._top}/{WEIGHTS}{file}"
            self.listed.add(member)
            whole = self._weight(member, file)
            if type(whole) is not TensorValue:
                found[name] = whole
                continue
            value = TensorValue(
                whole.storage, offset, tuple(shape), tuple(stride), whole.requires_grad, whole.dtype, whole.flags
            )
            found[name] = _as_kind(value, kinds.get(name, ""))
        return found

    def _weight(self, path: str, file: str) -> Any:
        """The tensor in one of the archives in ``data/weights/``, which may hold more than one weight shows."""
        value = self.open_pickled(path)
        while type(value) is Parameter or type(value) is TypedTensor:
            value = value.data
        if type(value) not in (TensorValue, Unread):
            return Unread(f"the file {clean(file, 60)} holds no plain tensor")
        return value

    def _constants(self, path: str) -> Iterator[tuple[Constant, Place]]:
        """The constants that the text of a wrapper describes, each with the place of its bytes."""
        try:
            raw = read_member(self._descriptor, self._directory, self._directory.members[path], MAX_TEXT_BYTES)
        except OpenError as error:
            evidence = f"{clean(path, 120)} could not be read, so weights may be missing: {error}"
            self._findings.append(Finding("error", "bad-archive", None, evidence))
            return
        text = raw.decode("utf-8", "replace")
        constants = parse_constants(text)
        if not constants:
            return
        blob = f"{path.removesuffix('.cpp')}_weights.blob".removeprefix(f"{self._top}/")
        if f"{self._top}/{blob}" not in self._directory.members:
            includes = _INCLUDES.search(text)
            if includes is not None and includes[1] == "false":
                why = "its values are not in the archive: they are given to the model when it is loaded"
            else:
                why = "its values are compiled into the model's library (.so), which is not read"
            for constant in constants:
                yield constant, Place(None, 0, _FOLDED if constant.is_folded else why)
            return
        whole, at = self._outer.locate_member(blob), 0
        for constant in constants:
            if constant.is_folded:
                yield constant, Place(None, 0, _FOLDED)
                continue
            there = max(0, min(constant.nbytes, whole.nbytes - at))
            if whole.offset is None:
                yield constant, whole
            else:
                yield constant, Place(whole.offset + at, there)
            at += constant.nbytes
        if whole.offset is not None and at != whole.nbytes:
            evidence = (
                f"{clean(blob, 120)} has {whole.nbytes:,} bytes, and its constants {at:,}: one of them is damaged"
            )
            self._findings.append(Finding("error", "storage-bounds", None, evidence))


_FOLDED = "it is computed from other constants when the model is loaded: its values are not in the archive"


def parse_constants(text: str) -> list[Constant]:
    """The constants in the text of a wrapper: the lines ``constants_info_[0].shape = {16, 32};``, in their order."""
    fields: dict[int, dict[str, str]] = {}
    for match in _FIELD.finditer(text):
        number = int(match[1])
        if number < _MAX_CONSTANTS:
            fields.setdefault(number, {})[match[2]] = match[3]
    found, names = [], set[str]()
    for _, field in sorted(fields.items()):
        constant = _constant(field)
        if constant is None:
            continue
        if constant.name in names:
            # Two constants of one name: both are kept apart.
            constant = msgspec.structs.replace(constant, name=f"{constant.name}#{len(names)}")
        names.add(constant.name)
        found.append(constant)
    return found


def _constant(field: dict[str, str]) -> Constant | None:
    name = _quoted(field.get("original_fqn", "")) or _quoted(field.get("name", ""))
    shape, stride = _numbers(field.get("shape", "")), _numbers(field.get("stride", ""))
    offset, nbytes = field.get("offset", "0"), field.get("data_size", "")
    if not name or shape is None or stride is None or not _is_whole(offset) or not _is_whole(nbytes):
        return None
    return Constant(
        name,
        field.get("type", "").rpartition("::")[2].rstrip(")"),
        field.get("dtype", "").removeprefix("cached_torch_dtype_"),
        field.get("device_type", "").removeprefix("cached_torch_device_type_"),
        field.get("layout", "").rpartition("cached_torch_layout_")[2].rstrip(")"),
        shape,
        stride,
        int(offset),
        int(nbytes),
        field.get("from_folded") == "true",
    )


def _quoted(text: str) -> str:
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else ""


def _is_whole(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) < 20


def _numbers(text: str) -> tuple[int, ...] | None:
    """``{16, 32}`` as numbers; None of anything else."""
    if text[:1] != "{" or text[-1:] != "}":
        return None
    parts = [part.strip().removesuffix("L") for part in text[1:-1].split(",") if part.strip()]
    return tuple(map(int, parts)) if all(map(_is_whole, parts)) else None


def _value(constant: Constant, key: str, place: Place) -> Any:
    # What a place lacks is told by the place: only where there is one, the room is compared with it.
    room = 0
    if place.offset is not None:
        dtype = from_torch(constant.dtype)
        steps = zip(constant.shape, constant.stride, strict=False)
        last = constant.offset + sum((length - 1) * step for length, step in steps)
        needed = (last + 1) * dtype.itemsize if dtype is not None and all(constant.shape) else 0
        # Each constant is padded to 64 bytes: that is no part of its storage.
        room = needed if 0 <= constant.nbytes - needed < _ALIGNMENT else constant.nbytes
    storage = Storage(_UNTYPED, key, constant.device, room)
    named = Stub("torch", constant.dtype or "unknown")
    value = TensorValue(storage, constant.offset, constant.shape, constant.stride, None, named)
    return _as_kind(value, constant.kind)


def _as_kind(value: TensorValue, kind: str) -> Any:
    if kind == "Parameter":
        return Parameter(value, value.requires_grad)
    return TypedTensor(_TENSOR, value, {"_is_buffer": True}) if kind == "Buffer" else value
