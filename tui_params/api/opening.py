"""One door for everything that can be looked at: a path, a model in memory, a state dict, a source."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from tui_params.core.kernels import machine_code
from tui_params.core.source import Source
from tui_params.sources.detect import open_path

if TYPE_CHECKING:
    import torch

    Target: TypeAlias = str | os.PathLike[str] | Source | torch.nn.Module | Mapping[str, Any]


def _code_store() -> machine_code.Store | None:
    from tui_params.cache.figures import FigureCache

    return FigureCache().code_store


machine_code.keep_in(_code_store)


def open_source(target: Target) -> Source:
    """The source of a path, an ``nn.Module`` or a mapping of tensors; a Source is returned as it is.

    Never imports torch: where it is not loaded there can be no module. Raises OpenError for paths, and TypeError.
    """
    if isinstance(target, Source):
        return target
    if isinstance(target, (str, os.PathLike)):
        return open_path(target)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(target, torch.nn.Module):
        from tui_params.live.source import ModelSource

        return ModelSource(target)
    if isinstance(target, Mapping):
        from tui_params.live.source import StateDictSource

        return StateDictSource(target)
    raise TypeError(f"expected a path, a torch.nn.Module or a mapping of tensors, not {type(target).__name__}")
