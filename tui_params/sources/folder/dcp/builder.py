"""The metadata of a distributed checkpoint out of the inert objects that their pickle builds, whatever these are.

The states of the classes: torch/distributed/checkpoint/metadata.py (``Metadata``, ``TensorStorageMetadata``,
``TensorProperties``, ``ChunkStorageMetadata``, ``MetadataIndex``) and filesystem.py (``_StorageInfo``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tui_params.core.dtypes import DType
from tui_params.core.tensor import MAX_LISTED_NDIM
from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.sources.folder.dcp.metadata import (
    MAX_CHUNKS,
    MAX_NUMBER,
    MAX_TENSORS,
    NOT_STORED,
    Metadata,
    Shape,
    StoredTensor,
    Window,
    dtype_of,
)
from tui_params.sources.inert_pickle.values import Obj, OddKey, Stub

_MAX_FAULTS = 20
_MAX_PATH = 64
_MAX_TRANSFORMS = 8


class Done:
    """What stands in place of a tensor that a reader has added before the end."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: StoredTensor) -> None:
        self.tensor = tensor


Put = Callable[[str, Shape, int, str, int, int], None]


class Builder:
    """Puts the metadata together. ``what`` is what messages call their file.

    ``is_doubled`` says that something was said twice, of which the order decides.
    """

    def __init__(self, what: str) -> None:
        self.found = Metadata()
        self.tensors: dict[str, StoredTensor] = {}
        self.is_doubled = False
        self._what = what
        self._types: dict[str, tuple[DType, bool]] = {}
        self._files: dict[str, int] = {}
        self._by_start: dict[str, dict[Shape, int]] = {}
        self._early: list[tuple[str, Shape, int, str, int, int]] = []
        self._put = self.placing()

    def add_tensor(self, name: str, shape: Shape, type_name: str) -> StoredTensor:
        """A tensor, whose chunks have to follow at once. Raises OpenError."""
        if len(self.tensors) >= MAX_TENSORS:
            raise OpenError(f"{self._what} lists more than {MAX_TENSORS:,} tensors")
        known = self._types.get(type_name)
        if known is None:
            known = self._types[type_name] = dtype_of(type_name)
        tensor = StoredTensor(name, shape, known[0], len(self.found.chunks.starts), 0, known[1])
        self.is_doubled |= name in self.tensors
        self.tensors[name] = tensor
        return tensor

    def add_chunks(self, tensor: StoredTensor, starts: Sequence[Shape], shapes: Sequence[Shape]) -> None:
        """Chunks of the last tensor, which lie in it. Raises OpenError."""
        chunks = self.found.chunks
        chunks.starts += starts
        chunks.shapes += shapes
        tensor.count += len(starts)
        if len(chunks.starts) > MAX_CHUNKS:
            raise OpenError(f"{self._what} lists more than {MAX_CHUNKS:,} chunks")

    def place(self, name: str, start: Shape, hint: int, file: str, offset: int, nbytes: int) -> None:
        """Where a chunk is stored; ``hint`` is its position among those of the tensor, which need not be right."""
        self._put(name, start, hint, file, offset, nbytes)

    def placing(self) -> Put:
        """The function ``place``, for millions of places: what it needs is looked up once."""
        tensors, numbers, chunks = self.tensors, self._files, self.found.chunks
        starts, files, offsets, lengths = chunks.starts, chunks.files, chunks.offsets, chunks.lengths

        def put(name: str, start: Shape, hint: int, file: str, offset: int, nbytes: int) -> None:
            tensor = tensors.get(name)
            if tensor is None:
                self._early.append((name, start, hint, file, offset, nbytes))
                return
            number = tensor.first + hint
            if not 0 <= hint < tensor.count or starts[number] != start:
                number = self._number_of(tensor, start)
                if number < 0:
                    self.found.strays += 1
                    return
            if number >= len(files):
                chunks.widen()
            if files[number] != NOT_STORED:
                self.is_doubled = True
            known = numbers.get(file)
            if known is None:
                known = numbers[file] = len(numbers)
            files[number] = known
            offsets[number] = offset
            lengths[number] = nbytes

        return put

    def _number_of(self, tensor: StoredTensor, start: Shape) -> int:
        """The number of the chunk that begins there, whatever the hint says; -1 if there is none."""
        starts = self.found.chunks.starts
        known = self._by_start.get(tensor.name)
        if known is None:
            span = range(tensor.first, tensor.first + tensor.count)
            known = self._by_start[tensor.name] = {starts[at]: at for at in span}
        return known.get(start, -1)

    def finish(self, root: Any) -> Metadata:
        """The metadata whose root object this is. Raises OpenError if it is something else."""
        found = self.found
        state = state_of(root, "Metadata")
        listed = state.get("state_dict_metadata")
        if type(listed) is not dict:
            raise OpenError(f"{self._what} is no list of the tensors of a distributed checkpoint")
        for name, entry in listed.items():
            if type(name) is not str:
                self._fault("it lists something under a key that is no name")
            elif type(entry) is Done:
                found.tensors.append(entry.tensor)
            elif class_name(entry) == "BytesStorageMetadata":
                found.objects[name] = None
            else:
                self._add_entry(name, entry)
        for early in self._early:
            self._place_late(*early)
        stored = state.get("storage_data")
        for key, value in stored.items() if type(stored) is dict else ():
            self._add_place(key, value)
        found.chunks.widen()
        found.files = list(self._files)
        paths = state.get("planner_data")
        if type(paths) is dict:
            found.paths = {name: path for name, path in paths.items() if type(name) is str and _is_path(path)}
        return found

    def _add_entry(self, name: str, entry: Any) -> None:
        state = state_of(entry, "TensorStorageMetadata")
        shape = sizes_of(state.get("size"))
        if shape is None:
            self._fault(f"the entry of {clean(name, 80)} has no size")
            return
        tensor = self.add_tensor(name, shape, _type_name(state.get("properties")))
        self.found.tensors.append(tensor)
        chunks = state.get("chunks")
        for chunk in chunks if type(chunks) is list else ():
            box = state_of(chunk, "ChunkStorageMetadata")
            start, lengths = sizes_of(box.get("offsets")), sizes_of(box.get("sizes"))
            if start is None or lengths is None or not is_within(start, lengths, shape):
                self._fault(f"a chunk of {clean(name, 80)} does not lie in its shape {list(shape)}")
                continue
            self.add_chunks(tensor, (start,), (lengths,))

    def _add_place(self, key: Any, value: Any) -> None:
        index = state_of(key.value if type(key) is OddKey else key, "MetadataIndex")
        window = _window(value)
        name, start, hint = index.get("fqn"), sizes_of(index.get("offset")), index.get("index")
        if window is None or type(name) is not str:
            self._fault("a place in it is no file with an offset and a length")
        elif name in self.found.objects:
            self.found.objects[name] = window
        elif name not in self.tensors or start is None:
            self.found.strays += 1
        else:
            hint = hint if type(hint) is int else -1
            self.place(name, start, hint, window.file, window.offset, window.nbytes)
            if window.transforms:
                number = self._number_of(self.tensors[name], start)
                self.found.chunks.transforms[number] = window.transforms

    def _place_late(self, name: str, start: Shape, hint: int, file: str, offset: int, nbytes: int) -> None:
        """A place whose tensor or object was not known yet when it was met."""
        if name in self.found.objects:
            self.found.objects[name] = Window(file, offset, nbytes)
        elif name in self.tensors:
            self.place(name, start, hint, file, offset, nbytes)
        else:
            self.found.strays += 1

    def _fault(self, sentence: str) -> None:
        faults = self.found.faults
        if len(faults) < _MAX_FAULTS and sentence not in faults:
            faults.append(sentence)


def _is_path(path: Any) -> bool:
    return type(path) is tuple and len(path) <= _MAX_PATH and all(type(item) in (str, int) for item in path)


def state_of(value: Any, cls: str) -> dict[Any, Any]:
    """The attributes of an object of that class; none if it is something else."""
    is_one = class_name(value) == cls and type(value.state) is dict
    return value.state if is_one else {}


def class_name(value: Any) -> str:
    """The name of the class of an object, without its module; empty of anything else."""
    return value.cls.name if type(value) is Obj and type(value.cls) is Stub else ""


def _type_name(properties: Any) -> str:
    """The name of the element type: the state is a tuple, (dtype, layout, requires_grad, memory format, pinned).

    torch before 2.3 pickled it as a dict.
    """
    state = properties.state if class_name(properties) == "TensorProperties" else None
    first = state[0] if type(state) is tuple and state else state.get("dtype") if type(state) is dict else None
    return first.name if type(first) is Stub and first.module == "torch" else "unknown"


def _window(value: Any) -> Window | None:
    state = state_of(value, "_StorageInfo")
    path, offset, length = state.get("relative_path"), state.get("offset"), state.get("length")
    if type(path) is not str or type(offset) is not int or type(length) is not int:
        return None
    if not (0 <= offset <= MAX_NUMBER and 0 <= length <= MAX_NUMBER):
        return None
    names = state.get("transform_descriptors")
    if type(names) not in (list, tuple) or not names:
        return Window(path, offset, length)
    return Window(path, offset, length, tuple(clean(name, 60) for name in names[:_MAX_TRANSFORMS] if type(name) is str))


def sizes_of(value: Any) -> Shape | None:
    """A ``torch.Size`` as a tuple; None if it is none."""
    if type(value) is not tuple or len(value) > MAX_LISTED_NDIM:
        return None
    if not all(type(number) is int and 0 <= number <= MAX_NUMBER for number in value):
        return None
    return value


def is_within(start: Shape, lengths: Shape, shape: Shape) -> bool:
    """Whether a box lies in a tensor of that shape."""
    if not len(start) == len(lengths) == len(shape):
        return False
    return all(first + length <= dim for first, length, dim in zip(start, lengths, shape, strict=True))
