"""The last step of every torch reader: from what the pickle built to a source with its listing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from tui_params.core.dtypes import from_torch
from tui_params.core.findings import Finding
from tui_params.core.piece import LocalPart
from tui_params.core.source import Listing, Record
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import are, plural, size
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.local import DataFile
from tui_params.sources.inert_pickle.calls import class_names, code_finding
from tui_params.sources.inert_pickle.machine import PickleMachine
from tui_params.sources.inert_pickle.results import LOAD_BYTES
from tui_params.sources.inert_pickle.values import Obj, Storage, Stub, Unread
from tui_params.sources.torch_save.deepspeed import mark_partitions
from tui_params.sources.torch_save.layout import Place, TensorLister
from tui_params.sources.torch_save.optimizer_names import name_optimizer_states, numbered_groups
from tui_params.sources.torch_save.tree_walk import TreeWalk

_CLASSES_SHOWN = 10
_FAULTS_SHOWN = 3

_PADDLE = "StructuredToParameterName@@"
"""The key under which paddle.save keeps what each parameter was called."""

_PADDLE_FP8 = "Paddle writes fp8 as int8: these may be the bit patterns of fp8"

Roles = dict[str, tuple[frozenset[str], frozenset[str]]]

Build: TypeAlias = Callable[..., ExtentSource]
"""What makes a source of the pickles of one file: ``list_pickles``, or what has the same parameters."""


def list_pickles(
    file: DataFile,
    form: str,
    machines: Sequence[PickleMachine],
    root: Any,
    locate: Callable[[str], Place],
    *,
    is_big_endian: bool = False,
    is_exact: bool = False,
    roles: Roles | None = None,
    constants: Any = None,
    lost: dict[str, Unread] | None = None,
    findings: Iterable[Finding] = (),
    allocated: int | None = None,
    embedded: Callable[[Any], Storage | None] = lambda _: None,
    place_of: Callable[[object], int | None] = lambda _: None,
    read_records: Callable[[DataFile], Sequence[Record]] | None = None,
    storages: Iterable[Storage] = (),
) -> ExtentSource:
    """The source of everything that ``root`` holds, and of TorchScript's ``constants``; ``lost`` are not in the file.

    ``findings`` is iterated after every storage has been located. ``allocated`` is how many bytes the file takes on the
    disk. With ``is_exact``, a storage has as many bytes in the file as it claims. ``place_of`` returns the byte of the
    file from which on a byte string of ``root`` lies as it is.
    ``read_records`` is passed to ExtentSource. ``storages`` are those that must be in the file whether or not a tensor
    that is listed has its elements there.
    """
    lister = TensorLister(
        file.name, locate, is_big_endian=is_big_endian, is_exact=is_exact, embedded=embedded, place_of=place_of
    )
    walk = TreeWalk(lister, roles)
    walk.walk(root)
    if constants:
        walk.walk(constants, "constants")
    if lost:
        walk.walk(lost, "constants")
    mark_partitions(root, lister)
    name_optimizer_states(walk)
    lister.add_unlisted(storages)
    found = list(findings)
    for machine in machines:
        # The list grows by the pickles inside.
        for data in machine.calls.nested.values():
            if embedded(Obj(Stub(*LOAD_BYTES), (data,))) is None:
                machine.calls.name_nested(data)
    found += pickle_findings(machines)
    found += walk.findings()
    found += lister.findings
    dropped = lister.dropped_findings
    if dropped:
        evidence = f"{plural(dropped, 'more fault')} of tensors {are(dropped)} not shown one by one"
        found.append(Finding("error", "storage-bounds", None, evidence))
    found += [*sparse_findings(file, allocated), *_local_findings(walk.local_parts)]
    if type(root) is dict and _PADDLE in root:
        form = f"{form} (Paddle)"
        lister.tensors[:] = [_noted(info) for info in lister.tensors]
    if type(root) is dict and "pytorch-lightning_version" in root:
        form = f"{form} (Lightning checkpoint)"
    listing = Listing(
        form,
        tuple(lister.tensors),
        walk.texts(),
        walk.modules,
        findings=tuple(found),
        is_ordered=True,
        groups=numbered_groups(walk),
        local_parts=walk.local_parts,
    )
    return ExtentSource(file.name, listing, lister.extents, {file.name: file}, read_records, lister.held)


def sparse_findings(file: DataFile, allocated: int | None) -> list[Finding]:
    """A remark on a file that takes only ``allocated`` bytes on the disk (None: unknown), if that is much less."""
    if allocated is None or allocated >= file.size // 2 or file.size - allocated <= 1 << 20:
        return []
    evidence = (
        f"takes only {size(allocated)} of its {size(file.size)} on the disk: parts were never written and read as"
        " zeros (torch.serialization.skip_data makes such files), unless the file system compresses"
    )
    return [Finding("info", "sparse-file", None, evidence)]


def _local_findings(parts: Mapping[str, LocalPart]) -> list[Finding]:
    """A remark on a file with one rank's parts of larger tensors."""
    if not parts:
        return []
    first = next(iter(parts.values()))
    who = "one rank" if first.rank is None else f"rank {first.rank:,}"
    of = f" of {first.ranks:,}" if first.ranks is not None and first.rank is not None else ""
    evidence = f"this is what {who}{of} saved: {plural(len(parts), 'shape')} {are(len(parts))} those of its parts"
    return [Finding("info", "local-shapes", None, evidence)]


def _noted(info: TensorInfo) -> TensorInfo:
    """The tensor of a file of Paddle as what it is: uint16 is its bfloat16 (``paddle.uint16 is paddle.bfloat16``)."""
    if info.dtype.name == "int8":
        return msgspec.structs.replace(info, notes=(*info.notes, _PADDLE_FP8))
    bfloat16 = from_torch("bfloat16")
    if info.dtype.name != "uint16" or bfloat16 is None:
        return info
    notes = (*info.notes, "written as uint16, as Paddle writes bfloat16")
    return msgspec.structs.replace(info, dtype=bfloat16, notes=notes)


def fault_findings(machine: PickleMachine) -> list[Finding]:
    """What a plain unpickler refuses in one pickle, as one finding."""
    faults = list(machine.faults.found)
    if not faults:
        return []
    more = len(faults) + machine.faults.more - _FAULTS_SHOWN
    shown = "; it ".join(faults[:_FAULTS_SHOWN]) + (f" (and {plural(more, 'more fault')})" if more > 0 else "")
    return [Finding("error", "bad-pickle", None, f"{machine.what} is damaged: it {shown}")]


def pickle_findings(machines: Sequence[PickleMachine]) -> list[Finding]:
    """What the pickles of one file would call, what an unpickler refuses, and the classes of their objects."""
    code = code_finding((machine.calls, machine.globals.values()) for machine in machines)
    found = [] if code is None else [code]
    found += [fault for machine in machines for fault in fault_findings(machine)]
    classes = class_names(machine.calls for machine in machines)
    if classes:
        more = f" and {len(classes) - _CLASSES_SHOWN:,} more" if len(classes) > _CLASSES_SHOWN else ""
        names = ", ".join(classes[:_CLASSES_SHOWN])
        evidence = f"holds objects of {names}{more}: shown as data, no class is loaded"
        found.append(Finding("info", "pickle-classes", None, evidence))
    return found
