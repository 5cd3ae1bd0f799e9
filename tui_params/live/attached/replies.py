"""Replies: what the process of a model may answer, by type and within bounds, whatever is at the other end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from tui_params.core.tensor import MAX_LISTED_NDIM
from tui_params.core.text import clean
from tui_params.errors import ReadError
from tui_params.live.inside.frames import close_all

_T = TypeVar("_T")

MAX_TENSORS = 4_000_000
"""The most tensors that are taken from another process."""

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A length, a count of bytes or an address, in this machine's range."""

Numbers = Annotated[list[Number], msgspec.Meta(max_length=MAX_LISTED_NDIM)]
Text = dict[str, str]


class Hello(msgspec.Struct, frozen=True):
    """Who serves a model. ``since`` is in seconds since 1970, before the year 3000."""

    pid: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    name: str
    model: str = ""
    since: Annotated[float, msgspec.Meta(ge=0, le=32_503_680_000)] = 0.0
    command: list[str] = []
    rank: int | None = None
    world_size: int | None = None


class SortRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is the same for many tensors: ``live.inside.roll.Sort``."""

    kind: str
    notes: list[str]
    shape: Numbers
    stride: Numbers | None
    dtype: str
    device: str
    requires_grad: bool | None
    numel: Number
    nbytes: Number
    storage_nbytes: Number | None


class OddRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A tensor that is described by itself: ``live.inside.description.Description``."""

    handle: Number
    name: str
    kind: str
    shape: Numbers
    dtype: str
    numel: Number
    nbytes: Number
    device: str | None
    requires_grad: bool | None
    identity: str | None
    stride: Numbers | None
    storage_nbytes: Number | None
    unreadable: str | None
    notes: list[str]


class Columns(msgspec.Struct, frozen=True):
    """Some of the tensors of a model: ``live.inside.roll.Roll.frames``."""

    names: list[tuple[str, list[str]]]
    sorts: list[SortRow]
    rows: list[Annotated[int, msgspec.Meta(ge=-1, le=MAX_TENSORS)]]
    addresses: list[Number]
    odd: list[tuple[Number, OddRow, Number | None]]
    copied_from: Annotated[list[str], msgspec.Meta(max_length=64)] = []


class Modules(msgspec.Struct, frozen=True):
    """The classes of some modules by their paths."""

    modules: Text


class About(msgspec.Struct, frozen=True):
    """What else there is to know of a model: ``live.inside.roll.Roll.about``."""

    metadata: Text
    remarks: list[tuple[Literal["error", "warning", "info"], str, str]]
    frozen: str
    absences: Text
    adapters: list[tuple[str, str, int | None, float | None, float | None]]


class Copied(msgspec.Struct, frozen=True):
    """Where copies are in shared memory: of each tensor its header, and both halves."""

    nbytes: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    slots: list[tuple[Number, Number, Number]]


class Watched(msgspec.Struct, frozen=True):
    """The layout of the shared memory of a watch."""

    ring: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
    room: Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]


class Standing(msgspec.Struct, frozen=True):
    """How a viewer holds the training."""

    is_wanted: bool
    step: Number
    left: Annotated[float, msgspec.Meta(ge=0, le=1e9)]


def understood(answer: Mapping[str, Any], as_: type[_T]) -> _T:
    """The answer as what it should be. Raises ReadError."""
    try:
        return msgspec.convert(answer, as_)
    except msgspec.ValidationError as error:
        raise not_understood(str(error)) from None


def shared(answer: tuple[Mapping[str, Any], list[int]], as_: type[_T], what: str) -> tuple[_T, int]:
    """The answer as what it should be, and its descriptor, of ``what`` is shared.

    Raises ReadError, and then no descriptor stays open.
    """
    message, descriptors = answer
    try:
        if len(descriptors) != 1:
            raise ReadError(f"the process shares no memory with {what}")
        return understood(message, as_), descriptors[0]
    except ReadError:
        close_all(descriptors)
        raise


def not_understood(why: str) -> ReadError:
    """The error of an answer that makes no sense."""
    return ReadError(f"the process answers in a way that is not understood: {clean(why, 200)}")
