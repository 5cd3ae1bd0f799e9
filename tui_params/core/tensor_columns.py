"""TensorColumns: many tensors of files as columns; the TensorInfo of one is made when it is looked at.

280,000 objects take a quarter of a second and 60 MB, and a screen shows thirty of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from threading import Lock
from typing import overload

import msgspec

from tui_params.core.dtypes import DType
from tui_params.core.shifted import shifted
from tui_params.core.tensor import TensorInfo


class Form(msgspec.Struct, frozen=True, gc=False):
    """What is the same for many tensors of one file: fields of TensorInfo."""

    shape: tuple[int, ...]
    dtype: DType
    numel: int
    nbytes: int
    file: str


class TensorColumns(Sequence[TensorInfo]):
    """Readable tensors of kind "tensor" with nothing to be said about them: all have a place in a file.

    ``rows`` has for each tensor the place of its form in ``forms``, ``offsets`` its first byte in its file. A loop over
    all makes all, and keeps them. May be used from any thread.
    """

    def __init__(self, names: Sequence[str], forms: Sequence[Form], rows: array[int], offsets: array[int]) -> None:
        self.names = names
        self.forms = forms
        self.rows = rows
        self.offsets = offsets
        self._made: tuple[TensorInfo, ...] | None = None
        self._making = Lock()

    @property
    def numel(self) -> Iterator[int]:
        """The elements of each."""
        return map([form.numel for form in self.forms].__getitem__, self.rows)

    @property
    def nbytes(self) -> Iterator[int]:
        """The bytes of each."""
        return map([form.nbytes for form in self.forms].__getitem__, self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> TensorInfo: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[TensorInfo, ...]: ...
    def __getitem__(self, place: int | slice) -> TensorInfo | tuple[TensorInfo, ...]:
        if self._made is not None:
            return self._made[place]
        if isinstance(place, slice):
            return tuple([self[each] for each in range(*place.indices(len(self.rows)))])
        return self.named(place, self.names[place])

    def named(self, place: int, name: str) -> TensorInfo:
        """The tensor at a place, whose name is known."""
        form = self.forms[self.rows[place]]
        fields = form.shape, form.dtype, form.numel, form.nbytes
        return TensorInfo(name, *fields, "tensor", form.file, self.offsets[place])

    def __iter__(self) -> Iterator[TensorInfo]:
        return iter(self.made())

    def __reversed__(self) -> Iterator[TensorInfo]:
        return reversed(self.made())

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return self.made() == tuple(other) if isinstance(other, (TensorColumns, tuple)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.made())

    # What a tuple of tensors can do, too: a listing was one, and those of other formats still are.

    def __add__(self, other: object) -> tuple[TensorInfo, ...]:
        return self.made() + tuple(other) if isinstance(other, (TensorColumns, tuple)) else NotImplemented

    def __radd__(self, other: object) -> tuple[TensorInfo, ...]:
        return other + self.made() if isinstance(other, tuple) else NotImplemented

    def __reduce__(self) -> tuple[type[TensorColumns], tuple[object, ...]]:
        """Copied and pickled as columns."""
        return TensorColumns, (list(self.names), self.forms, self.rows, self.offsets)

    def __repr__(self) -> str:
        return f"TensorColumns({len(self.rows):,} tensors)"

    @property
    def are_made(self) -> bool:
        """Whether ``made`` returns at once."""
        return self._made is not None

    def made(self) -> tuple[TensorInfo, ...]:
        """All of them as objects."""
        if self._made is None:
            with self._making:
                if self._made is None:
                    self._made = self._make()
        return self._made

    def _make(self) -> tuple[TensorInfo, ...]:
        forms = self.forms
        fields = ([getattr(form, name) for form in forms] for name in Form.__struct_fields__)
        shape, dtype, numel, nbytes, file = (map(column.__getitem__, self.rows) for column in fields)
        return tuple(map(TensorInfo, self.names, shape, dtype, numel, nbytes, repeat("tensor"), file, self.offsets))


def join_columns(parts: Iterable[TensorColumns]) -> TensorColumns:
    """The tensors of several, one after the other."""
    names: list[str] = []
    forms: list[Form] = []
    rows, offsets = array("i"), array("q")
    for part in parts:
        before = len(forms)
        names += part.names
        forms += part.forms
        rows += shifted(part.rows, before)
        offsets += part.offsets
    return TensorColumns(names, forms, rows, offsets)
