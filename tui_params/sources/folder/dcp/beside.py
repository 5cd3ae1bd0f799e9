"""Small files that trainers put beside a distributed checkpoint: ``meta.pt`` of Lightning, ``common.pt`` of Megatron.

Both hold what is not in the pieces, and are merged with them when the checkpoint is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.source import Hidden, Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import OpenError

NAMES = ("meta.pt", "common.pt")


class Beside(msgspec.Struct):
    """What these files hold: tensors, the source of each by its name, values as text, and what is wrong with them."""

    tensors: list[TensorInfo] = []
    sources: dict[str, Source] = {}
    texts: dict[str, str] = {}
    modules: dict[str, str] = {}
    findings: list[Finding] = []
    hidden: list[Hidden] = []


def read_beside(folder: Path, names: Iterable[str], taken: set[str], open_file: Callable[[Path], Source]) -> Beside:
    """What those of ``names`` that trainers write hold, without tensors whose name is ``taken`` by the checkpoint."""
    found = Beside()
    for name in NAMES:
        if name not in names:
            continue
        try:
            source = open_file(folder / name)
        except OpenError as error:
            found.findings.append(Finding("error", "bad-shard", None, str(error), file=name))
            found.hidden.append(Hidden("", name, str(error)))
            continue
        listing = source.listing
        found.findings += listing.findings
        found.texts |= listing.metadata
        found.modules |= listing.modules
        for info in listing.tensors:
            if info.name not in taken and info.name not in found.sources:
                found.tensors.append(info)
                found.sources[info.name] = source
    return found
