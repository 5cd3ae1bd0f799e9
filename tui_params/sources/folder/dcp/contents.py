"""What the objects of a distributed checkpoint hold together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.tensor import TensorInfo
from tui_params.sources.folder.dcp.windows import Located


class Contents(msgspec.Struct, frozen=True):
    """Tensors and their places, lists by the names of the objects that are lists, and everything else as text."""

    tensors: tuple[TensorInfo, ...] = ()
    places: Mapping[str, Located] = {}
    lists: Mapping[str, list[Any]] = {}
    texts: Mapping[str, str] = {}
    modules: Mapping[str, str] = {}
    findings: tuple[Finding, ...] = ()
