"""Sources of what is in this process's memory: modules, and mappings of tensors such as state dicts.

Torch is imported when the first of them is made, never by importing this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core import dtypes
from tui_params.core.collector import collector_paused
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.live.listing import listing_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tui_params.live.inside.probe import Probe

BLOCK_NBYTES = 4 << 20


class ProbeSource(Source):
    """A source whose values are read by a probe, each as it is at the time of the call.

    Raises OpenError if nothing can be listed.
    """

    def __init__(self, probe: Probe, label: str, container: str) -> None:
        from tui_params.live.inside.description import ProbeError

        self.label = label
        self._probe = probe
        with collector_paused():
            try:
                found = probe.enumerate()
            except ProbeError as error:
                raise OpenError(f"{label}: {error}") from error
            self.listing, self._handles = listing_of(found, container)

    @property
    def probe(self) -> Probe:
        """What looks at the tensors: an editor works on it too."""
        return self._probe

    def handle(self, info: TensorInfo) -> int:
        """The probe's handle of a tensor. Raises ReadError if it cannot be read."""
        if info.unreadable:
            raise ReadError(f"{info.name} cannot be read: {info.unreadable}")
        handle = self._handles.get(info.name)
        if handle is None:
            raise ReadError(f"{self.label} has no tensor {info.name}")
        return handle

    @staticmethod
    def axes(window: Window) -> tuple[tuple[int, int, int], ...]:
        """The axes of a window as the probe takes them: torch has no negative steps, so they all go forwards."""
        axes = []
        for axis in window.axes:
            start = axis.start + axis.step * max(axis.length - 1, 0) if axis.step < 0 else axis.start
            axes.append((start, abs(axis.step), axis.length))
        return tuple(axes)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        import numpy as np

        from tui_params.live.inside.description import ProbeError

        try:
            raw = self._probe.read_window(self.handle(info), self.axes(window))
        except ProbeError as error:
            raise _read_error(error) from error
        shape = tuple(axis.length for axis in window.axes)  # read forwards, reversed below
        element = dtypes.numpy_dtype(info.dtype)
        if element is None:
            # complex32 is the only type that can be read but has no numpy type: it is two float16.
            parts = np.frombuffer(raw, np.float16).astype(np.float32)
            values: NDArray[Any] = parts.view(np.complex64).reshape(shape)
        else:
            values = np.frombuffer(raw, element).reshape(shape)
        order = tuple(slice(None, None, -1 if axis.step < 0 else 1) for axis in window.axes)
        return values[order].reshape(window.shape).copy()

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        import numpy as np

        from tui_params.live.inside.description import ProbeError

        handle = self.handle(info)
        stop = info.numel if stop is None else min(stop, info.numel)
        step = dtypes.fit(BLOCK_NBYTES, info.dtype)
        for first in range(start, stop, step):
            try:
                raw = self._probe.read(handle, first, min(first + step, stop))
            except ProbeError as error:
                raise _read_error(error) from error
            yield np.frombuffer(raw, np.uint8)

    def changed(self) -> str | None:
        return self._probe.changed()

    def close(self) -> None:
        self._probe.close()


class ModelSource(ProbeSource):
    """A module in this process, with its gradients and, if one is given, the states of its optimizer.

    The states are called ``optimizer.<parameter>.<state>``. An object that is no torch.optim.Optimizer but has its
    ``param_groups`` and ``state``, as the wrappers of training libraries do, serves as one. Raises OpenError if
    ``model`` is not a module, TypeError if ``optimizer`` is no optimizer.
    """

    def __init__(self, model: Any, label: str | None = None, *, optimizer: Any = None) -> None:
        from tui_params.live.inside.leaves import is_module, is_optimizer
        from tui_params.live.inside.model import ModelProbe

        if not is_module(model):
            raise OpenError(f"a {type(model).__name__} is not a torch.nn.Module")
        if optimizer is not None and not is_optimizer(optimizer):
            what = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else type(optimizer).__name__
            raise TypeError(f"optimizer= expects a torch.optim.Optimizer, not {what}")
        super().__init__(ModelProbe(model, optimizer), label or type(model).__name__, "model in memory")


class StateDictSource(ProbeSource):
    """A mapping of tensors in this process, possibly nested, such as a state dict.

    A module in it is opened as one, below its key, and a torch.optim.Optimizer too: its states are called
    ``<key>.<parameter>.<state>``. Everything else becomes metadata.
    """

    def __init__(self, mapping: Mapping[Any, Any], label: str | None = None) -> None:
        from tui_params.live.inside.model import MappingProbe

        if not isinstance(mapping, Mapping):
            raise OpenError(f"a {type(mapping).__name__} is not a dict of tensors")
        super().__init__(MappingProbe(mapping), label or "state dict", "state dict in memory")
        if self.listing.modules:
            self.listing = msgspec.structs.replace(self.listing, format="models in memory")


def _read_error(error: Exception) -> ReadError:
    kind = SourceChangedError if getattr(error, "is_changed", False) else ReadError
    return kind(str(error))
