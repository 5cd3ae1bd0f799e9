"""What a model file of DeepSpeed says: the shapes in the order of the flat buffers, and the tensors that it has itself.

deepspeed/runtime/engine.py, ``_save_checkpoint``: ``module``, ``buffer_names``, ``param_shapes`` (a dict for each flat
buffer, trained parameters only), ``frozen_param_shapes``, ``frozen_param_fragments``, ``shared_params``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tui_params.core.text import clean, plural
from tui_params.sources.folder.deepspeed.torch_file import Rest, Stored, TorchFile
from tui_params.sources.inert_pickle.values import Obj
from tui_params.sources.torch_save.layout import MAX_TENSORS, MalformedTensorError, numbers_of
from tui_params.sources.torch_save.unread import TENSORS

_OWN = frozenset(
    {"module", "param_shapes", "frozen_param_shapes", "frozen_param_fragments", "shared_params", "buffer_names"}
)
"""Keys that are read here; everything else is metadata, or tensors under their own names."""

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})", re.ASCII)

Shape = tuple[int, ...]


class Due(msgspec.Struct, frozen=True, gc=False):
    """A parameter that a flat buffer should hold; without a ``shape``, ``fault`` says what it has instead."""

    name: str
    shape: Shape | None
    fault: str = ""


class ModelStates(msgspec.Struct, frozen=True):
    """The contents of one model file.

    ``groups`` are the trained parameters of each flat buffer, in its order. They are None where the file has no shapes
    (without ZeRO); then all tensors are in ``rest``, those of the model below ``module``. Otherwise ``module`` are the
    tensors of the state dict, of ZeRO-3 placeholders of shape (0,) for parameters. ``buffers`` are names; ``shared`` is
    the owner of each alias. ``frozen`` are the shapes of frozen parameters, ``fragments`` the part of each that this
    rank has. ``steps`` is ``global_steps``. ``rest`` is everything else.
    """

    groups: tuple[tuple[Due, ...], ...] | None
    module: Mapping[str, Stored]
    buffers: frozenset[str]
    shared: Mapping[str, str]
    frozen: Mapping[str, Shape]
    fragments: Mapping[str, Stored]
    steps: int | None
    rest: Rest


def take_model_states(file: TorchFile) -> ModelStates | None:
    """The contents of a model file; None if it is none."""
    root = file.root
    if type(root) is not dict or type(root.get("module")) is not dict:
        return None
    others: dict[Any, Any] = {}
    groups = _groups(file, root.get("param_shapes"))
    module = {} if groups is None else _tensors(file, root["module"], "module", others)
    fragments = _tensors(file, root.get("frozen_param_fragments"), "frozen_param_fragments")
    left = {key: value for key, value in root.items() if not (type(key) is str and key in _OWN)}
    if left.get("optimizer", 0) is None:
        # With ZeRO its state is in files of its own.
        del left["optimizer"]
    if groups is None:
        left = {"module": root["module"]} | left
    elif others:
        left["module"] = others
    buffers = root.get("buffer_names")
    if groups is not None:
        _miss_keys(file, root)
    names = buffers if type(buffers) is list else ()
    shared = root.get("shared_params")
    steps = root.get("global_steps")
    return ModelStates(
        groups,
        module,
        frozenset(name for name in names if type(name) is str),
        {
            alias: owner
            for alias, owner in (shared.items() if type(shared) is dict else ())
            if type(alias) is str and type(owner) is str
        },
        _frozen(file, root.get("frozen_param_shapes")),
        fragments,
        steps if type(steps) is int else None,
        file.walk(left),
    )


def _miss_keys(file: TorchFile, root: Mapping[Any, Any]) -> None:
    """Complain about keys without which ``zero_to_fp32`` refuses the file."""
    if type(root.get("buffer_names")) is not list:
        file.complain("flat-layout", "it has no list of buffer_names, without which zero_to_fp32 refuses it")
    version = root.get("ds_version")
    found = _VERSION.match(version) if type(version) is str else None
    # Those before, and what they wrote, know of no ties.
    if found and (int(found[1]), int(found[2])) >= (0, 9) and type(root.get("shared_params")) is not dict:
        file.complain("flat-layout", "it has no dict of shared_params, without which zero_to_fp32 refuses it")


def _tensors(file: TorchFile, values: Any, prefix: str, others: dict[Any, Any] | None = None) -> dict[str, Stored]:
    """The tensors of a dict by name; what else it has goes to ``others``."""
    found: dict[str, Stored] = {}
    for name, value in values.items() if type(values) is dict else ():
        if type(name) is str and type(value) in TENSORS and len(found) < MAX_TENSORS:
            found[name] = file.tensor(value, f"{prefix}.{name}")
        elif others is not None:
            others[name] = value
    return found


def _groups(file: TorchFile, value: Any) -> tuple[tuple[Due, ...], ...] | None:
    if value is None:
        return None
    # Before 0.5 there was one dict for all.
    groups = value if type(value) is list else [value]
    if not all(type(group) is dict for group in groups):
        file.complain("flat-layout", "its param_shapes are no list of dicts of shapes")
        return ()
    seen: set[str] = set()
    found: list[tuple[Due, ...]] = []
    for group in groups:
        dues = []
        for name, shape in group.items():
            due = _due(name, shape, seen)
            if due.shape is None:
                file.complain("flat-layout", f"param_shapes: {clean(due.name, 120)} {due.fault}")
            dues.append(due)
            seen.add(due.name)
            if len(seen) > MAX_TENSORS:
                file.complain("flat-layout", f"its param_shapes have more than {plural(MAX_TENSORS, 'name')}")
                return tuple(found)
        found.append(tuple(dues))
    return tuple(found)


def _due(name: Any, shape: Any, seen: set[str]) -> Due:
    if type(name) is not str:
        return Due("?", None, "is a name that is no text")
    if name in seen:
        return Due(name, None, "is there twice")
    try:
        return Due(name, numbers_of(shape, "shape"))
    except MalformedTensorError as error:
        return Due(name, None, str(error))


def _frozen(file: TorchFile, value: Any) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for name, shape in value.items() if type(value) is dict else ():
        due = _due(name, shape, set())
        if due.shape is None:
            file.complain("flat-layout", f"frozen_param_shapes: {clean(due.name, 120)} {due.fault}")
        else:
            found[due.name] = due.shape
    return found


def whole_number(value: Any) -> int | None:
    """A whole number, also as a member of an enumeration, which is written as a call with its value."""
    if type(value) is Obj and type(value.args) is tuple and len(value.args) == 1:
        value = value.args[0]
    return value if type(value) is int else None
