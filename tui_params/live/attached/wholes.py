"""Wholes: tensors of which each rank of a job has some rows, as one: FSDP2's DTensors with the placement Shard(0).

Nothing is asked of the ranks together: what each has is read by itself, again until all were read after the same step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core import text
from tui_params.core.reading.extent import Extent
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.live.attached.replicas import steps_before
from tui_params.live.attached.shared import Bytes
from tui_params.live.attached.source import MAX_AT_ONCE
from tui_params.live.attached.together import Part, read_together
from tui_params.live.attached.trained import TrainedSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PIECE = re.compile(r"DTensor: this rank's piece of \(([\d, ]+)\), placements \(Shard\(dim=0\),\)")
_MESH = re.compile(r"device mesh of shape \((\d+),\), this rank at \((\d+),\)")
"""Notes of ``live.inside.anatomy.fields_of``."""


class Whole(msgspec.Struct, frozen=True):
    """A tensor whose rows the parts have, one after the other."""

    info: TensorInfo
    parts: tuple[Part, ...]


def find_wholes(ranks: Mapping[int, TrainedSource], size: int, prefix: str) -> Iterator[Whole]:
    """The tensors and gradients that are divided among all ``size`` ranks, named below ``prefix``."""
    if len(ranks) != size or size < 2:
        return
    sources = list(ranks.values())
    before: list[int] = []
    for info in sources[0].listing.tensors:
        if not any(map(_PIECE.fullmatch, info.notes)) or not all(info.name in each for each in sources):
            continue
        before = before or [steps_before(each) for each in sources]
        parts = list(map(Part, sources, [each.find(info.name) for each in sources], before))
        whole = _whole(f"{prefix}.{info.name}", parts, size)
        if whole is None:
            continue
        yield whole
        gradients = [each.source.listing.gradients.get(info.name) for each in whole.parts]
        # A gradient is divided as its parameter is.
        own = [
            Part(each.source, found, each.before) for each, found in zip(whole.parts, gradients, strict=True) if found
        ]
        if len(own) == size:
            name = f"{whole.info.name}.grad"
            yield Whole(msgspec.structs.replace(whole.info, name=name, kind="gradient", notes=()), tuple(own))


def _whole(name: str, parts: list[Part], size: int) -> Whole | None:
    places: dict[int, Part] = {}
    shapes: set[tuple[int, ...]] = set()
    for part in parts:
        piece = next(filter(None, map(_PIECE.fullmatch, part.info.notes)), None)
        mesh = next(filter(None, map(_MESH.fullmatch, part.info.notes)), None)
        if piece is None or mesh is None or int(mesh[1]) != size or part.info.unreadable is not None:
            return None
        places[int(mesh[2])] = part
        shapes.add(tuple(int(length) for length in piece[1].split(",") if length.strip()))
    if len(places) != size or len(shapes) != 1:
        return None
    (shape,) = shapes
    infos = [places[number].info for number in sorted(places)]
    first = infos[0]
    rows = [info.shape[0] if info.shape else 0 for info in infos]
    alike = {(info.shape[1:], info.dtype.name, info.stride) for info in infos}
    if alike != {(shape[1:], first.dtype.name, None)} or first.dtype.is_packed or sum(rows) != shape[0]:
        return None
    note = f"{text.plural(len(rows), 'rank has', 'ranks have')} the rows of it, one after the other: "
    note += ", ".join(map(str, rows[:16])) + (", …" if len(rows) > 16 else "")
    numel = prod(shape)
    info = TensorInfo(
        name, shape, first.dtype, numel, first.dtype.nbytes(numel), first.kind, requires_grad=first.requires_grad
    )
    return Whole(msgspec.structs.replace(info, notes=(note,)), tuple(places[number] for number in sorted(places)))


def read_whole(whole: Whole) -> NDArray[np.uint8]:
    """The bytes of all its parts after the same step, row-major. Raises ReadError."""
    import numpy as np

    parts = [part for part in whole.parts if part.info.numel]
    found, _ = read_together(parts, MAX_AT_ONCE, "joined: look at what each rank has of it")
    return np.concatenate(found) if found else np.empty(0, np.uint8)


def window_of(whole: Whole, window: Window) -> NDArray[Any]:
    """The values at ``window``. Raises ReadError."""
    from tui_params.core.reading.gather import gather_window

    raw = read_whole(whole)
    return gather_window(Bytes(raw.data, 0, raw.nbytes), Extent("", 0, 0, raw.nbytes), whole.info, window)


def blocks_of(whole: Whole, start: int, stop: int | None) -> Iterator[NDArray[np.uint8]]:
    """The bytes of elements ``start:stop``. Raises ReadError."""
    from tui_params.core.dtypes import fit
    from tui_params.core.reading.gather import BLOCK_NBYTES

    dtype = whole.info.dtype
    end = whole.info.numel if stop is None else min(stop, whole.info.numel)
    raw = read_whole(whole)[dtype.nbytes(start) : dtype.nbytes(end)]
    step = dtype.nbytes(fit(BLOCK_NBYTES, dtype))
    for begin in range(0, raw.nbytes, step):
        yield raw[begin : begin + step]
