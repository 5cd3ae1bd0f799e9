"""What a probe hands out: plain data about tensors, without their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]


class ProbeError(Exception):
    """Why a tensor cannot be read, one sentence; ``is_changed`` if it is no longer the tensor that was listed."""

    def __init__(self, message: str, *, is_changed: bool = False) -> None:
        super().__init__(message)
        self.is_changed = is_changed


class Description(NamedTuple):
    """One tensor as plain data. ``dtype`` is torch's name; ``handle`` is what the reading functions take.

    ``stride`` is None for a row-major contiguous tensor. ``identity`` is equal for tensors that are the same elements
    (device, address, type, shape, stride). Two packed 4-bit floats in a byte are counted as two elements.
    """

    handle: int
    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    numel: int
    nbytes: int
    device: str | None
    requires_grad: bool | None
    identity: str | None
    stride: tuple[int, ...] | None = None
    storage_nbytes: int | None = None
    unreadable: str | None = None
    notes: tuple[str, ...] = ()


class Enumeration(NamedTuple):
    """What ``Probe.enumerate`` found. ``gradients`` are pairs: a parameter's name, the description of its gradient.

    ``remarks`` are a severity, a rule and a sentence each. ``modules`` are class names by module path, that of the
    root is ``""``. ``absences`` says of each parameter without a gradient, by its name, why it has none. ``adapters``
    are the path of a module, the name of an adapter, its rank, its alpha and its scale.
    """

    tensors: tuple[Description, ...]
    gradients: tuple[tuple[str, Description], ...]
    modules: Mapping[str, str]
    metadata: Mapping[str, str]
    remarks: tuple[tuple[Severity, str, str], ...]
    absences: Mapping[str, str] = {}
    adapters: tuple[tuple[str, str, int | None, float | None, float | None], ...] = ()
