"""Flat parameters of FSDP1 (LOCAL_STATE_DICT) in the files of single ranks, and what named tensors have of them.

With ``use_orig_params`` the parameters stand beside ``_flat_param`` by name, each with the elements that this rank has:
views of the same storage, which tell their places in it. Their shapes are not in the file, and without
``use_orig_params`` neither are their names: torch/distributed/fsdp/_state_dict_utils.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from tui_params.core.piece import LocalPart
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo
from tui_params.sources.folder.dcp.flat import FLAT

VIEW_NOTE = "FSDP: its elements as one run, from the flat parameter of its module; its shape is not stored"


def flat_parts(listings: Mapping[int, Listing]) -> dict[tuple[int, str], LocalPart]:
    """Which elements of a parameter, as one run, each rank has: by the rank and the name.

    Only where the runs of all ranks follow each other in the flat parameter.
    """
    found: dict[str, list[tuple[int, int, int]]] = {}
    for rank, listing in listings.items():
        for name, (first, numel) in _views(listing).items():
            found.setdefault(name, []).append((first, numel, rank))
    parts: dict[tuple[int, str], LocalPart] = {}
    for name, runs in found.items():
        runs.sort()
        begin, end = runs[0][0], sum(numel for _, numel, _ in runs)
        if any(first + numel != runs[number + 1][0] for number, (first, numel, _) in enumerate(runs[:-1])):
            continue
        for rank in listings:
            parts[rank, name] = LocalPart(name, (end,), ())
        for first, numel, rank in runs:
            parts[rank, name] = LocalPart(name, (end,), (((first - begin,), (numel,), (0,)),))
    return parts


def _views(listing: Listing) -> dict[str, tuple[int, int]]:
    """The tensors of one file that lie in a flat parameter: the number of the first element there, and how many."""
    flats = [
        (info, part.boxes[0][0][0])
        for info in listing.tensors
        if info.name.rpartition(".")[2] == FLAT
        and (part := listing.local_parts.get(info.name)) is not None
        and _is_plain(info)
        and len(part.boxes) == 1
    ]
    if not flats:
        return {}
    flats.sort(key=lambda pair: pair[0].offset or 0)
    starts = [flat.offset or 0 for flat, _ in flats]
    found: dict[str, tuple[int, int]] = {}
    for info in listing.tensors:
        if info.name in listing.local_parts or not _is_plain(info):
            continue
        number = bisect_right(starts, info.offset or 0) - 1
        if number < 0:
            continue
        flat, start = flats[number]
        first, rest = divmod((info.offset or 0) - starts[number], info.dtype.itemsize)
        is_view = info.dtype == flat.dtype and not rest and first + info.numel <= flat.numel
        if is_view and info.name.startswith(flat.name.removesuffix(FLAT)):
            found[info.name] = start + first, info.numel
    return found


def _is_plain(info: TensorInfo) -> bool:
    return info.ndim == 1 and info.numel > 0 and info.stride is None and info.offset is not None
