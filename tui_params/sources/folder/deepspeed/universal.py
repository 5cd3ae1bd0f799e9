"""Universal checkpoints of DeepSpeed: a folder for each parameter, with a file for its values and for each moment.

deepspeed/checkpoint/ds_to_universal.py: from stage 1 and 2 ``fp32.pt`` is ``{"param": tensor, "cat_dim": ...}`` in the
shape of the parameter, from stage 3 a bare flat tensor; the copied model files have the shapes.
"""

from __future__ import annotations

from math import prod

from tui_params.core.findings import Finding
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes.files import is_file
from tui_params.sources.folder.deepspeed.assembly import Assembly
from tui_params.sources.folder.deepspeed.partitions import Shape
from tui_params.sources.folder.deepspeed.ranks import Ranks, read_ranks
from tui_params.sources.folder.deepspeed.recognition import UNIVERSAL, Tag, entries
from tui_params.sources.folder.deepspeed.torch_file import ReadFile, Rest, Stored, TorchFile, read_torch_file
from tui_params.sources.folder.deepspeed.zero import add_beside
from tui_params.sources.torch_save.unread import TENSORS

_VALUES = "fp32"
_SUFFIX = ".pt"
_FLATS = frozenset({"fp32_flat_groups", "optimizer_state_dict", "single_partition_of_fp32_groups"})
_MAX_PARAMETERS = 100_000


def assemble_universal(tag: Tag) -> tuple[Assembly, list[ReadFile]]:
    """The listing of a universal checkpoint, and its files. Raises OpenError if nothing can be read."""
    made = Assembly()
    files: list[ReadFile] = []
    ranks = _read_models(tag, made)
    model = None if ranks is None else ranks.model
    dues = [due for group in (model.groups or () if model is not None else ()) for due in group]
    shapes = {due.name: due.shape for due in dues if due.shape is not None}
    if ranks is not None:
        files += ranks.files
    _, names = entries(tag.path / UNIVERSAL)
    order = {name: place for place, name in enumerate(model.module if model is not None else ())}
    names.sort(key=lambda name: order.get(name, len(order)))
    states: list[tuple[str, str, Stored]] = []
    for name in names[:_MAX_PARAMETERS]:
        for key, stored in _read_folder(tag, name, made, files):
            stored = _shaped(stored, shapes.get(name), made)
            if key != _VALUES:
                states.append((name, key, stored))
            elif model is None:
                made.add(name, stored)
            elif name in shapes:
                made.add(name, stored, requires_grad=True)
            elif name not in model.module and name not in model.frozen:
                # Of all others this is a copy that was widened, from 16 bits or even from integers.
                made.add(name, stored)
    for name in shapes:
        if name not in made.tensors:
            evidence = f"there is no folder {UNIVERSAL}/{clean(name, 120)}, which should have its values"
            made.findings.append(Finding("error", "missing-tensor", None, evidence))
    if ranks is not None and model is not None:
        add_beside(ranks, model, made)
    for name, key, stored in states:
        state = f"optimizer.{name}.{key}"
        made.add(state, stored, notes=(f"state of {name}",))
        made.states.add(state)
    if model is not None:
        made.add_rest(model.rest)
    _add_optimizer(tag, made, files)
    return made, files


def _read_models(tag: Tag, made: Assembly) -> Ranks | None:
    """The model files that were copied into the folder."""
    if not tag.files.models:
        return None
    try:
        ranks = read_ranks(tag)
    except OpenError as error:
        made.findings.append(Finding("error", "bad-shard", None, str(error)))
        return None
    made.findings += ranks.findings
    return ranks


def _read_folder(tag: Tag, name: str, made: Assembly, files: list[ReadFile]) -> list[tuple[str, Stored]]:
    """The tensors of one parameter by the names of their files."""
    folder = tag.path / UNIVERSAL / name
    found = []
    try:
        inner, _ = entries(folder)
    except OpenError as error:
        made.findings.append(Finding("error", "bad-shard", None, str(error)))
        return []
    for file_name in inner:
        if not file_name.endswith(_SUFFIX):
            continue
        called = f"{tag.prefix}{UNIVERSAL}/{name}/{file_name}"
        try:
            stored, file = read_torch_file(folder / file_name, called, _take)
        except OpenError as error:
            made.findings.append(Finding("error", "bad-shard", None, str(error), file=called))
            continue
        files.append(file)
        made.findings += file.findings
        found.append((file_name.removesuffix(_SUFFIX), stored))
    return found


def _take(file: TorchFile) -> Stored:
    root = file.root
    value = root.get("param") if type(root) is dict else root
    return file.tensor(value, "param" if type(root) is dict else "the tensor")


def _shaped(stored: Stored, shape: Shape | None, made: Assembly) -> Stored:
    """A flat tensor in the shape of its parameter."""
    info = stored.info
    if shape is None or info.shape == shape or info.ndim != 1 or info.stride is not None or info.unreadable is not None:
        return stored
    if prod(shape) == info.numel:
        return stored.called(info.name, shape=shape)
    evidence = f"it has {plural(info.numel, 'element')}, and its shape {list(shape)[:8]} needs {prod(shape):,}"
    made.findings.append(Finding("error", "flat-layout", None, evidence, file=info.file))
    return stored


def _add_optimizer(tag: Tag, made: Assembly, files: list[ReadFile]) -> None:
    """The groups of the optimizer; the flat tensors in this file are those of one rank, as they were cut before."""
    name = f"{UNIVERSAL}/optimizer_state.pt"
    if not is_file(tag.path / name):
        return

    def take(file: TorchFile) -> Rest:
        root = file.root
        if type(root) is dict:
            root = {key: value for key, value in root.items() if not (type(key) is str and key in _FLATS)}
        return file.walk({"optimizer": root} if type(root) not in TENSORS else {})

    try:
        rest, file = read_torch_file(tag.path / name, f"{tag.prefix}{name}", take)
    except OpenError as error:
        made.findings.append(Finding("error", "bad-shard", None, str(error), file=f"{tag.prefix}{name}"))
        return
    files.append(file)
    made.findings += file.findings
    made.add_rest(rest)
