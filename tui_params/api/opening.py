"""``tui_params.open_source``: opens a path, a model in memory, a state dict, or a source that is open already."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from tui_params.core.kernels.engine import Engine
from tui_params.core.source import Source
from tui_params.sources.detect import open_path

if TYPE_CHECKING:
    import torch

    from tui_params.cache.pieces import PieceCache
    from tui_params.core.kernels.machine_code import Store

    Optimizer: TypeAlias = torch.optim.Optimizer
    Target: TypeAlias = str | os.PathLike[str] | Source | torch.nn.Module | Mapping[str, Any]


def code_store() -> Store | None:
    """Where compiled loops are kept from one run to the next: in the folder of the cache, if there is one."""
    from tui_params.cache.figures import FigureCache

    return FigureCache().store


def piece_cache() -> PieceCache | None:
    """What keeps parts of remote files from one run to the next, beside the cache of figures, if there is one."""
    from tui_params.cache.figures import chosen_folder
    from tui_params.cache.pieces import FOLDER, PieceCache

    folder = chosen_folder()
    return None if folder is None else PieceCache(folder / FOLDER)


ATTACH = "attach:"
"""What a source begins with that is the model of another process, ``attach:4242`` or ``attach:NAME``."""

ENGINE = Engine(code_store)
"""The engine of everything that is opened here."""


def open_source(
    target: Target,
    *,
    optimizer: Optimizer | None = None,
    format: str | None = None,  # noqa: A002
    logical: bool = False,
) -> Source:
    """The source of a path, an ``nn.Module`` or a mapping of tensors; a Source is returned as it is.

    A path may be an address: ``hf://org/model``, ``https://host/model.safetensors``, ``s3://bucket/run``,
    ``ssh://host/path`` and others (``tui-params --help``). Of what lies there only what is looked at is fetched.
    ``attach:PID`` and ``attach:NAME`` are the model that another process of this user serves (``serve``),
    ``attach:all`` those of all ranks of a job; ``attach:ssh://host/PID`` and ``attach:all:ssh://host,ssh://other`` are
    on other machines, which are asked through ``ssh``.

    Modules and optimizers inside a mapping, such as ``{"model": model, "optimizer": optimizer}``, are opened as what
    they are, below their keys. ``optimizer`` is for a module only: the states of its optimizer are listed below
    ``optimizer.``, each under the name of its parameter. ``format`` is for a path only: the name of the format to read
    it as, whatever it looks like (``tui-params --help`` lists them). ``logical``: packed (quantised) weights stand as
    the values that they mean, in place of the tensors in which they are stored. Never imports torch: where it is not
    loaded there can be no module. Raises OpenError if the target cannot be opened, and TypeError for another kind of
    target, an optimizer that is none, one beside a target that is no module, and a format of a target that is no path.
    """
    source = _open(target, optimizer, format)
    if source is not target:
        source.engine = ENGINE
    if logical:
        from tui_params.core.packed.logical import LogicalSource

        return LogicalSource(source)
    return source


def _open(target: Target, optimizer: Optimizer | None, form: str | None) -> Source:
    if form is not None and not isinstance(target, (str, os.PathLike)):
        raise TypeError(f"format= is for a path only, and the target is {_described(target)}")
    if is_live_module(target):
        from tui_params.live.source import ModelSource

        return ModelSource(target, optimizer=optimizer)
    kind = _kind(target)
    if optimizer is not None:
        raise TypeError(f"optimizer= is for a torch.nn.Module only, and the target is {kind}")
    if isinstance(target, Source):
        return target
    if isinstance(target, (str, os.PathLike)):
        return _open_named(target, form)
    from tui_params.live.source import StateDictSource

    return StateDictSource(target)


def _open_named(target: str | os.PathLike[str], form: str | None) -> Source:
    """A path, or ``attach:`` and the number or the name of a process that serves a model."""
    if isinstance(target, str) and target.startswith(ATTACH) and not os.path.lexists(target):
        from tui_params.live.relay.places import open_attached

        return open_attached(target.removeprefix(ATTACH))
    return open_path(target, form, piece_cache)


def is_live_module(target: Target) -> bool:
    """Whether it is a ``torch.nn.Module``; never imports torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(target, torch.nn.Module)


def _described(target: Target) -> str:
    return "a torch.nn.Module" if is_live_module(target) else _kind(target)


def _kind(target: object) -> str:
    """What sort of target it is, in words. Raises TypeError if it is none."""
    if isinstance(target, Source):
        return "a source that is open already"
    if isinstance(target, (str, os.PathLike)):
        return "a path"
    if isinstance(target, Mapping):
        return "a mapping of tensors"
    raise TypeError(f"expected a path, a torch.nn.Module or a mapping of tensors, not {type(target).__name__}")
