"""What the ``.metadata`` of a distributed checkpoint says: tensors, their chunks, and where each of these is stored.

torch/distributed/checkpoint/metadata.py and filesystem.py. There may be millions of chunks, so they are kept in columns
and not as objects.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tui_params.core.dtypes import DType, from_torch, unknown

MAX_CHUNKS = 4_000_000
"""The most chunks of one checkpoint: 64 ranks of 60,000 tensors."""

MAX_TENSORS = 500_000
MAX_NUMBER = (1 << 62) - 1

Shape = tuple[int, ...]

_RANK = re.compile(r"__(\d{1,9})_\d{1,9}\.distcp", re.ASCII)

NOT_STORED = -1
"""The number of the file of a chunk for which no place is given."""


class StoredTensor(msgspec.Struct, gc=False):
    """A tensor of the checkpoint: its chunks are ``count`` rows of ``Chunks``, from ``first`` on.

    ``is_pairs`` says that the sizes count pairs of float4 values, as torch does. ``stored_as`` is the name that its
    pieces have in the files, if it is another.
    """

    name: str
    shape: Shape
    dtype: DType
    first: int
    count: int = 0
    is_pairs: bool = False
    stored_as: str | None = None

    def sizes(self, sizes: Shape, scalar: int = 2) -> Shape:
        """Sizes, or places, of this tensor in single values; ``scalar`` is for a tensor of one pair alone."""
        if not self.is_pairs:
            return sizes
        return (*sizes[:-1], 2 * sizes[-1]) if sizes else (scalar,)


class Window(msgspec.Struct, frozen=True, gc=False):
    """``nbytes`` bytes of a file, from the byte ``offset`` on, in which one tensor or object is stored.

    ``file`` is its path in the folder. ``transforms`` were applied to the bytes when they were written, and are undone
    in this order; ``stream.zstd/1`` is the one that torch has.
    """

    file: str
    offset: int
    nbytes: int
    transforms: tuple[str, ...] = ()


class Chunks:
    """The chunks of all tensors, in columns: where each begins, how large it is, and its place."""

    __slots__ = ("files", "lengths", "offsets", "shapes", "starts", "transforms")

    def __init__(self) -> None:
        self.starts: list[Shape] = []
        self.shapes: list[Shape] = []
        self.files = array("i")
        self.offsets = array("q")
        self.lengths = array("q")
        self.transforms: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, start: Shape, shape: Shape) -> None:
        """A chunk whose place is not known yet."""
        self.extend((start,), (shape,))

    def extend(self, starts: Sequence[Shape], shapes: Sequence[Shape]) -> None:
        """More chunks, whose places are not known yet."""
        self.starts += starts
        self.shapes += shapes

    def widen(self) -> None:
        """Make the columns of places as long as the others; to be called before places are read or set."""
        count = len(self.starts) - len(self.files)
        self.files.extend([NOT_STORED] * count)
        self.offsets.frombytes(bytes(8 * count))
        self.lengths.frombytes(bytes(8 * count))

    def place(self, number: int, file: int, offset: int, length: int, transforms: tuple[str, ...] = ()) -> None:
        """Say where chunk ``number`` is stored."""
        self.widen()
        self.files[number] = file
        self.offsets[number] = offset
        self.lengths[number] = length
        if transforms:
            self.transforms[number] = transforms


class Metadata(msgspec.Struct):
    """All that is said about one checkpoint.

    ``objects`` are what is not a tensor, by name, with their places (None: it has none). ``paths`` are the keys that
    lead to a flat name: str in a dict, int in a list. ``files`` are the paths of the files, by the numbers that
    ``chunks`` uses. ``copies`` are further places of a chunk, by its number, and ``object_copies`` those of an object,
    by its name: where ranks wrote the same, each into its own file. ``strays`` counts places of something that is not
    listed. ``faults`` are sentences about entries that cannot be true.
    """

    tensors: list[StoredTensor] = []
    chunks: Chunks = msgspec.field(default_factory=Chunks)
    objects: dict[str, Window | None] = {}
    paths: Mapping[str, tuple[Any, ...]] = {}
    files: list[str] = []
    copies: dict[int, list[Window]] = {}
    object_copies: dict[str, list[Window]] = {}
    strays: int = 0
    faults: list[str] = []

    def window(self, number: int) -> Window | None:
        """The place of chunk ``number``."""
        chunks = self.chunks
        file = chunks.files[number]
        if file == NOT_STORED:
            return None
        where = chunks.offsets[number], chunks.lengths[number], chunks.transforms.get(number, ())
        return Window(self.files[file], *where)


def dtype_of(name: str) -> tuple[DType, bool]:
    """The type that torch calls ``name``, and whether it holds two float4 values."""
    if name == "float4_e2m1fn_x2":
        return from_torch("float4_e2m1fn") or unknown(name), True
    return from_torch(name) or unknown(name), False


def is_outside(file: str) -> bool:
    """Whether a path in the metadata may lead out of the folder of the checkpoint: the names of its files cannot."""
    return file in ("", ".", "..") or any(each in file for each in "/\\\0")


def rank_of(file: str) -> int | None:
    """The rank that wrote a file, from its name; None if it does not say."""
    match = _RANK.search(file)
    return None if match is None else int(match[1])
