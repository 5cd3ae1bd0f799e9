"""The metadata that each rank wrote by itself (``use_collectives=False``), as those of one checkpoint.

Each lists the chunks of its own rank, and again every tensor and object that all ranks have.
"""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core.text import clean
from tui_params.sources.folder.dcp.metadata import Metadata, Shape, StoredTensor, Window

_Box = tuple[Shape, Shape]


def unite(parts: Sequence[Metadata]) -> Metadata:
    """The tensors and objects of all parts, which are in the order of their ranks.

    What several ranks have is taken from the first of them; the places of the others are kept as copies.
    """
    if len(parts) == 1:
        return parts[0]
    found = Metadata()
    tensors: dict[str, StoredTensor] = {}
    boxes: dict[str, dict[_Box, list[Window | None]]] = {}
    for part in parts:
        for tensor in part.tensors:
            first = tensors.setdefault(tensor.name, tensor)
            if (first.shape, first.dtype) != (tensor.shape, tensor.dtype):
                found.faults.append(
                    f"the ranks do not agree on {clean(tensor.name, 80)}: {first.dtype.short} {list(first.shape)} and"
                    f" {tensor.dtype.short} {list(tensor.shape)}; the first is shown"
                )
                continue
            known = boxes.setdefault(tensor.name, {})
            for number in range(tensor.first, tensor.first + tensor.count):
                box = (part.chunks.starts[number], part.chunks.shapes[number])
                known.setdefault(box, []).append(part.window(number))
        for name, window in part.objects.items():
            if name not in found.objects:
                found.objects[name] = window
            elif window is not None:
                found.object_copies.setdefault(name, []).append(window)
        found.paths = {**part.paths, **found.paths}
        found.strays += part.strays
        found.faults += part.faults
    _add_all(found, tensors, boxes)
    return found


def _add_all(
    found: Metadata, tensors: dict[str, StoredTensor], boxes: dict[str, dict[_Box, list[Window | None]]]
) -> None:
    files: dict[str, int] = {}
    for name, tensor in tensors.items():
        known = boxes.get(name, {})
        first = len(found.chunks)
        found.tensors.append(StoredTensor(name, tensor.shape, tensor.dtype, first, len(known), tensor.is_pairs))
        for number, ((start, shape), windows) in enumerate(known.items(), first):
            found.chunks.add(start, shape)
            stored = [window for window in windows if window is not None]
            for window in stored:
                files.setdefault(window.file, len(files))
            if stored:
                window = stored[0]
                found.chunks.place(number, files[window.file], window.offset, window.nbytes, window.transforms)
            if len(stored) > 1:
                found.copies[number] = stored[1:]
    found.files = list(files)
