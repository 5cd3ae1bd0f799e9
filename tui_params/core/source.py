"""Source: the one interface to every place that tensors come from.

Code that uses a source does not know whether the tensors are in a file, in a folder of shards or in a model in memory.
A source may be used from any thread; it owns its file handles; it never writes. It returns frozen values, and arrays
that the caller may keep (``read``) or may use only until the next step (``blocks``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import msgspec

from tui_params.core.adapter_config import AdapterConfig
from tui_params.core.beat import Beat
from tui_params.core.course import Courses
from tui_params.core.dequantized import Ways
from tui_params.core.findings import Finding
from tui_params.core.kernels.engine import Engine
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.over_ranks import OverRanks
from tui_params.core.piece import LocalPart, Piece
from tui_params.core.reading.readable import Readable
from tui_params.core.statement import Statement
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.core.watching import Watching
from tui_params.core.window import Window, parse_window
from tui_params.errors import ReadError, UnknownTensorError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tui_params.core.numbers.summary import Summary
    from tui_params.core.tensor_table import TensorTable


_FIELDS = 4
"""Names below another that a sentence shows."""


class Hidden(msgspec.Struct, frozen=True, gc=False):
    """A file or a folder of which it is not known which tensors it holds, and why (one sentence).

    ``below`` is the name that precedes those of its tensors; the empty name if they may have any name. ``file`` is
    as findings name it; the name of a folder ends with a slash.
    """

    below: str
    file: str
    reason: str


class Listing(msgspec.Struct, frozen=True):
    """Everything that a source knows before it has read a value.

    ``tensors`` have unique names. ``is_ordered`` means that their order has a meaning (that of a dict, of a module's
    definition); otherwise they are shown by name. ``metadata`` are the leaves that are not tensors, by dotted name, as
    text of bounded length. ``modules`` are class names by module path, where they are known. ``gradients`` are by the
    name of their parameter; they are not part of the tree. ``findings`` are about the container. ``not_opened`` are
    the names of files in the same folder that hold tensors or the state of a training run and were not opened; names
    of subfolders end with a slash. ``unlisted`` is one sentence if the source names more tensors than are listed.
    ``adapters`` are the configurations of adapters that stand in it or beside it.
    ``absences`` says of a parameter without a gradient, by its name, why it has none, as far as that is known.
    ``models`` are the models of a source that holds several, by name: the files of each (``TensorInfo.file``).
    ``stated`` is what the JSON files beside the weights say, as ``config.<key>`` and ``adapter.<key>``; ``metadata``
    has it too, but may have such keys out of the files of weights as well. ``stated_below`` has what is said of parts
    that lie in folders of their own, of which ``stated`` says nothing, even if theirs is empty.
    ``states`` are the modules at the top that are no model, but states of the training run: optimizer, scheduler.
    ``groups`` are the numbers that an optimizer gives its parameters, group by group, by the name of the optimizer.
    ``hidden`` are files that belong to the source and could not be opened: their tensors are not listed.
    ``local_parts`` are the tensors that are one rank's part of a larger one, by name, where the file says which.
    ``dequantized`` is what a graph in the source makes of its tensors, by name: several entries if nodes differ.
    """

    format: str
    tensors: Sequence[TensorInfo]
    metadata: Mapping[str, str] = {}
    modules: Mapping[str, str] = {}
    gradients: Mapping[str, TensorInfo] = {}
    findings: tuple[Finding, ...] = ()
    is_ordered: bool = False
    not_opened: tuple[str, ...] = ()
    unlisted: str | None = None
    adapters: tuple[AdapterConfig, ...] = ()
    absences: Mapping[str, str] = {}
    models: Mapping[str, tuple[str, ...]] = {}
    stated: Mapping[str, str] = {}
    stated_below: tuple[Statement, ...] = ()
    states: tuple[str, ...] = ()
    groups: Mapping[str, tuple[tuple[int, ...], ...]] = {}
    hidden: tuple[Hidden, ...] = ()
    local_parts: Mapping[str, LocalPart] = {}
    dequantized: Ways = {}


class Record(msgspec.Struct, frozen=True, gc=False):
    """A run of ``nbytes`` bytes whose CRC-32 a container keeps.

    ``file`` is as in ``TensorInfo.file``, ``offset`` the byte of that file where the run starts, ``label`` the
    container's name for it. ``tensor`` is the first tensor in it. ``covering`` are the names of the tensors whose
    ``blocks``, one after the other, are exactly these bytes.
    """

    file: str
    label: str
    offset: int
    nbytes: int
    crc: int
    tensor: str | None = None
    covering: tuple[str, ...] = ()


class FileRange(msgspec.Struct, frozen=True, gc=False):
    """``nbytes`` bytes of a file from ``offset`` on; ``file`` is as in ``StoredFile.name``."""

    file: str
    offset: int
    nbytes: int


class Digest(msgspec.Struct, frozen=True, gc=False):
    """The digest that the whole of a file should have, in hexadecimal digits; ``origin`` says where it was found.

    ``git-sha1`` is that of a git blob: the SHA-1 of ``blob``, a space, the size in digits, a zero byte and the content.
    """

    algorithm: Literal["sha256", "git-sha1"]
    hex: str
    origin: str


class StoredFile(msgspec.Struct, frozen=True, gc=False):
    """A file that a source was read from; ``name`` is as in ``TensorInfo.file``.

    ``reason`` is one sentence why no digest of it is known, or why it cannot be read.
    """

    name: str
    nbytes: int
    digest: Digest | None
    reason: str = ""


class Unfinished(msgspec.Struct, frozen=True, gc=False):
    """What there is of a file whose download did not finish."""

    name: str
    nbytes: int


def some_below(names: list[str]) -> str:
    """The names below one that no tensor has, as the end of a sentence; empty if there are none."""
    if not names:
        return ""
    more = f" and {len(names) - _FIELDS:,} more" if len(names) > _FIELDS else ""
    return f"; below that name are {', '.join(names[:_FIELDS])}{more}"


def value_beside(listing: Listing, name: str) -> str:
    """The value of that name that is no tensor, as the end of a sentence; empty if there is none."""
    value = listing.metadata.get(name)
    return "" if value is None else f", but a value of that name: {clean(value, 120)}"


class Traffic(msgspec.Struct, frozen=True, gc=False):
    """What came over a line: bytes of files, and the requests that were made for them."""

    nbytes: int
    requests: int


class Line(Protocol):
    """What a source elsewhere is read over. ``address`` is what the user may see of its server."""

    address: str

    @property
    def traffic(self) -> Traffic: ...

    def lacking(self, path: Path, begin: int, end: int) -> int:
        """How many of the bytes ``begin:end`` of a file have to come yet. Asks nobody."""


class Source(Readable):
    """A place that tensors come from. ``Readable`` is the part of it that reading needs.

    It is a collection of its tensors: ``len(source)``, ``for info in source``, ``"lm_head.weight" in source``.
    """

    listing: Listing
    engine: Engine = Engine()
    """Sources that are given no other share this engine, which keeps no compiled loops for later runs."""
    line: Line | None = None
    """What it is read over, if it is elsewhere: each byte of it then costs time, and perhaps money."""

    def records(self) -> tuple[Record, ...]:
        """The runs of bytes that have a checksum, in the order of the files; empty if no container keeps any.

        May read the directory of an archive. A file that cannot be read has none.
        """
        return ()

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        """The bytes of one of ``records``, or of a part of one, a few MB at a time, each valid until the next.

        Raises ReadError.
        """
        raise ReadError(f"{self.label} keeps no checksum of {record.label}")

    def stored_files(self) -> tuple[StoredFile, ...]:
        """The files of the source, each with the digest that is known of it; empty if it is in no file.

        Reads the small files in which digests are kept, and nothing of the files themselves.
        """
        return ()

    def file_blocks(self, name: str, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes ``start:stop`` of one of ``stored_files``, each block valid until the next. Raises ReadError.

        Raises it too if the file has changed since it was opened, even if no bytes are asked for.
        """
        raise ReadError(f"{self.label} has no file {name}")

    def file_range(self, info: TensorInfo) -> tuple[str, int] | None:
        """The file in which the blocks of ``info`` lie, one after the other, as ``blocks`` returns them, and the start.

        None if they do not: strided views, values that are converted when they are read.
        """
        return None

    def file_ranges(self, info: TensorInfo) -> tuple[FileRange, ...]:
        """The bytes of files that the blocks of ``info`` are, one range after the other, where it lies in pieces.

        Empty if it does not, or if its blocks are made otherwise. Raises ReadError.
        """
        return ()

    def to_fetch(self, info: TensorInfo) -> int:
        """The bytes that have to come over the line for ``info`` to be read, or some more; 0 if all are here."""
        if self.line is None or info.unreadable is not None:
            return 0
        place, held = self.file_range(info), self.data_file(info)
        if place is None or held is None:
            return info.nbytes
        return self.line.lacking(held[0].path, place[1], place[1] + info.nbytes)

    def pieces_of(self, info: TensorInfo) -> tuple[Piece, ...]:
        """The boxes in which ``info`` is stored, in the order of their elements; empty if it lies in one place.

        May read the headers of files. Raises ReadError.
        """
        return ()

    def unfinished(self) -> tuple[Unfinished, ...]:
        """Downloads beside the files of the source that did not finish."""
        return ()

    def changed(self) -> str | None:
        """One sentence if the source has changed since it was opened, else None. Cheap: a stat for each file."""
        return None

    def beat(self) -> Beat | None:
        """How far the model has come, if it trains in another process meanwhile; else None. Asks nobody."""
        return None

    def still(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Readable:
        from tui_params.core.reading.still import StillTensor

        return self if self.beat() is None else StillTensor(self, info, start, stop)

    def still_part(self, info: TensorInfo, window: Window) -> Readable:
        from tui_params.core.reading.still import StillWindow

        return self if self.beat() is None else StillWindow(self, info, window)

    def courses(self) -> Courses | None:
        """What is seen of its parameters step by step, from the first call on; None if it does not train meanwhile."""
        return None

    def watching(self) -> Watching | None:
        """What it can be watched by, from the first call on; None if it does not train meanwhile."""
        return None

    def over_ranks(self, info: TensorInfo) -> OverRanks | None:
        """What each rank of a job has of it; None if it is not of one rank among several. Raises ReadError."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Release files; later reads raise ReadError. May be called twice."""

    def find(self, name: str) -> TensorInfo:
        """The tensor of that name; a gradient is found as ``<parameter>.grad``. Raises UnknownTensorError."""
        info = self._index.get(name)
        if info is None:
            beside = some_below(self.below(name)) or value_beside(self.listing, name)
            raise UnknownTensorError(f"{self.label} has no tensor {name!r}{beside}")
        return info

    def below(self, name: str) -> list[str]:
        """The names that begin with this one and a dot: the fields of a sparse tensor, the tensors of a module."""
        return [info.name for info in self.listing.tensors if info.name.startswith(f"{name}.")]

    @cached_property
    def tensors(self) -> TensorTable:
        """The tensors in the order of ``tui-params ls``, as a table; no value is read. Gradients are not in it."""
        from tui_params.core.tensor_table import TensorTable, ordered

        return TensorTable(self, ordered(self.listing.tensors, is_ordered=self.listing.is_ordered))

    def names(self) -> list[str]:
        """The names of the tensors, in the order of ``tensors``."""
        return [info.name for info in self.tensors]

    def __len__(self) -> int:
        return len(self.listing.tensors)

    def __iter__(self) -> Iterator[TensorInfo]:
        return iter(self.tensors)

    def __contains__(self, name: object) -> bool:
        """Whether ``find`` has a tensor of that name, or has this TensorInfo."""
        if isinstance(name, TensorInfo):
            return self._index.get(name.name) == name
        return isinstance(name, str) and name in self._index

    def __repr__(self) -> str:
        return f"<Source {self._summary}>"

    @property
    def _summary(self) -> str:
        from tui_params.core.stored_codes import some_are_codes
        from tui_params.core.tensor_table import describe_tensors

        listing = getattr(self, "listing", None)
        if listing is None:
            return "that could not be opened"  # only a debugger sees it
        has_codes = some_are_codes(listing.tensors, listing.dequantized)
        size = describe_tensors(
            listing.tensors, is_all=listing.unlisted is None, states=listing.states, has_codes=has_codes
        )
        return f"{clean(self.label, 200)}: {clean(listing.format, 200)}; {size}"

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from tui_params.core.tensor_table import plain_text

        yield plain_text(console, self._summary, "bold")
        yield self.tensors

    def _repr_html_(self) -> str:
        from html import escape

        return f'<p class="tex2jax_ignore mathjax_ignore">{escape(self._summary)}</p>{self.tensors._repr_html_()}'

    @cached_property
    def _index(self) -> dict[str, TensorInfo]:
        gradients = {info.name: info for info in self.listing.gradients.values()}
        return gradients | {info.name: info for info in self.listing.tensors}

    @with_subnormals
    def read(self, name: str, expression: str = "") -> NDArray[Any]:
        """The values of ``name`` at a slice expression such as ``[0, :3]``, as a numpy array.

        Raises UnknownTensorError, SliceError, ReadError.
        """
        info = self.find(name)
        return self.read_window(info, parse_window(expression, info.shape))

    @with_subnormals
    def summarize(self, name: str, *, should_stop: Callable[[], bool] | None = None) -> Summary:
        """Exact statistics over every element of ``name``. Raises UnknownTensorError, ReadError, StoppedError."""
        from tui_params.core.reading.tensor_reading import summarize

        return summarize(self, self.find(name), should_stop=should_stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
