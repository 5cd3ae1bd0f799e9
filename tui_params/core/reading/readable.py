"""Readable: the part of a source that reading needs, for statistics and for single values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tui_params.core.kernels.engine import Engine
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.reading.place import HERE
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FileStamp(Protocol):
    """A file as it was when it was opened: its path, and what shows whether it has changed since."""

    @property
    def path(self) -> Path: ...
    @property
    def size(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...
    @property
    def inode(self) -> int: ...
    @property
    def device(self) -> int: ...


class Readable(Protocol):
    """Has tensors that are found by name and read by blocks or windows, from any thread.

    ``label`` is the user's name for it: a file name, a folder, the class of a model. ``engine`` decides which
    kernels compute the statistics of its tensors.
    """

    label: str
    engine: Engine

    @abstractmethod
    def find(self, name: str) -> TensorInfo:
        """The tensor of that name; a gradient is found as ``<parameter>.grad``. Raises UnknownTensorError."""

    @abstractmethod
    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """The storage bytes of elements ``start:stop``, a few MB at a time, each element once.

        Row-major order where ``info.stride`` is None, any order otherwise. Little-endian. ``start`` (and ``stop``
        unless it is the end) are multiples of ``info.dtype.grain``. An array is valid until the next step.
        Raises ReadError, at any step.
        """

    @abstractmethod
    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        """The values at ``window`` as a new array of shape ``window.shape``, in native byte order.

        The array has the element's own numpy or ml_dtypes type (``core.dtypes.numpy_dtype``; complex32 as
        complex64), so no value is changed. Raises ReadError.
        """

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        """The file that holds the elements of ``info``, and ``info`` as that file alone describes it.

        None if they are in no file. Works after ``close`` too.
        """
        return None

    def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> AbstractContextManager[object]:
        """Inside the ``with``, this thread reads all these tensors whole: what is elsewhere may come in few requests.

        Their figures may be worked out before they are asked for (``worked_out``), best in this order. ``infos`` is
        not called where everything lies on this machine. Raises nothing.
        """
        return HERE

    def works_out(self, info: TensorInfo, *, has_summary: bool) -> bool:
        """Whether ``worked_out`` has something: where fewer bytes have to come than the tensor has. Asks nobody."""
        return False

    def worked_out(
        self,
        info: TensorInfo,
        *,
        has_summary: bool,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> WorkedOut | None:
        """The statistics of the whole tensor, where the source works them out itself: as from a read of its blocks.

        None where its blocks are to be read. ``has_summary`` asks for the summary too, which has more bytes.
        ``progress`` gets the elements read so far. Raises ReadError, StoppedError.
        """
        return None

    def sought_out(
        self,
        info: TensorInfo,
        wanted: Sequence[tuple[str, float]],
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[list[int]] | None:
        """The numbers of the first few elements of each kind that is wanted, where the source looks for them itself.

        The kinds are those of ``core.health.sought``. None where its blocks are to be read. Raises ReadError,
        StoppedError.
        """
        return None

    def still(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Readable:
        """What elements ``start:stop`` are read from in several parts: itself, or a copy where they change meanwhile.

        Raises ReadError.
        """
        return self

    def still_part(self, info: TensorInfo, window: Window) -> Readable:
        """The same of the values at a window: where a part is asked for, the rest is not brought. Raises ReadError."""
        return self

    def place(self, info: TensorInfo) -> Hashable | None:
        """Where the elements of ``info`` are: equal for tensors of one type, shape and stride with the same elements.

        None if that is not known.
        """
        return None
