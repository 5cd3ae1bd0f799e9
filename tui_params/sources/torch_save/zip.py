"""Files of torch.save: a zip whose ``data.pkl`` describes the tensors, and whose stored members hold their bytes.

Written by caffe2/serialize/inline_container.cc and torch/serialization.py; TorchScript is the same container with
``constants.pkl`` and code beside it.
"""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

from tui_params.core.collector import collector_paused
from tui_params.core.source import Source
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.local import DataFile, Descriptor, allocated, opened, read_bytes
from tui_params.sources.bytes.zip_directory import STORED, Directory, data_offset, read_directory, read_member
from tui_params.sources.bytes.zip_records import read_records
from tui_params.sources.inert_pickle.machine import load_behind, load_pickle
from tui_params.sources.inert_pickle.values import Unread
from tui_params.sources.torch_save.archive import checkpoints_in, open_all
from tui_params.sources.torch_save.compiled import Compiled
from tui_params.sources.torch_save.export import is_export, read_export
from tui_params.sources.torch_save.inner_pickles import InnerPickles, calls_inside
from tui_params.sources.torch_save.legacy import is_legacy, open_legacy, open_pickle
from tui_params.sources.torch_save.listing import Build, Roles, list_pickles
from tui_params.sources.torch_save.package import is_package, read_package
from tui_params.sources.torch_save.places import Places, is_big_endian
from tui_params.sources.torch_save.tar import open_tar

_MAX_CODE_FILES = 500
_MAX_CODE_BYTES = 1 << 20


def open_torch(path: Path, build: Build = list_pickles) -> Source:
    """The tensors of a file that torch.save or torch.jit.save wrote, or of a bare pickle. Raises OpenError.

    No code of the file is run and no class is looked up. Values are read later, where they lie. ``build`` makes the
    source of what torch.save wrote.
    """
    # One pause for everything: the graph must be freed before the collector gets to look through it.
    with collector_paused(), opened(path) as (descriptor, file):
        head = read_bytes(descriptor, 0, 512)
        if head[:2] == b"PK":
            return _open_zip(descriptor, file, build)
        if not head:
            raise OpenError(f"{clean(file.name, 120)} is empty (0 bytes)")
        if is_legacy(head):
            return open_legacy(descriptor, file, build)
        if head[257:262] == b"ustar":
            return open_tar(descriptor, file)
        return open_pickle(descriptor, file)


def _open_zip(descriptor: Descriptor, file: DataFile, build: Build) -> ExtentSource:
    directory = read_directory(descriptor, file.size, file.name)
    members = directory.members
    if not members:
        raise UnknownFormatError(f"{clean(file.name, 120)} is a zip without members")
    # As PyTorchStreamReader does: the folder of the first member is the archive's own.
    top = next(iter(members)).partition("/")[0]
    pickle = members.get(f"{top}/data.pkl")
    if pickle is None:
        built = _open_exported(descriptor, file, directory, top) or _open_package(descriptor, file, directory, top)
        if built is not None:
            return built
        other = _describe_other(directory, top)
        if other is None:
            return _open_archive(descriptor, file, directory)
        raise UnknownFormatError(f"{clean(file.name, 120)} is {other}{calls_inside(descriptor, directory)}")
    places = Places(descriptor, directory, top)
    machines = [load_pickle(places.read(pickle), "data.pkl", 5)]
    root = machines[0].root
    # Where the pickle lies in the file as it is; None of one that is packed.
    base = data_offset(descriptor, directory, pickle) if pickle.method == STORED else None
    form, roles, constants = "torch.save zip", Roles(), None
    lost: dict[str, Unread] = {}
    script = members.get(f"{top}/constants.pkl")
    if script is not None:
        form = "TorchScript"
        roles, lost = _read_code(descriptor, directory, top)
        machines.append(load_pickle(places.read(script), "constants.pkl", 5))
        constants = machines[1].root
        # Both pickles count their storages from 0; the keys of these lie in a folder of their own.
        for storage in machines[1].storages:
            storage.key = f"constants/{storage.key}" if type(storage.key) is str else storage.key
    storages = [storage for machine in machines for storage in machine.storages]
    machines += [behind for machine in machines[:2] for behind in load_behind(machine)]
    inner = InnerPickles(descriptor, directory, {f"{top}/data.pkl", f"{top}/constants.pkl"})
    machines += inner.machines
    return build(
        file,
        form,
        machines,
        root,
        places.locate,
        is_big_endian=is_big_endian(descriptor, directory, top),
        is_exact=script is None,
        roles=roles,
        constants=constants,
        lost=lost,
        findings=chain(places.findings(), inner.findings()),
        allocated=allocated(descriptor, file),
        place_of=lambda value: _shifted(machines[0].place_of(value), base),
        read_records=read_records,
        storages=storages,
    )


def _open_exported(descriptor: Descriptor, file: DataFile, directory: Directory, top: str) -> ExtentSource | None:
    """The tensors of an archive of torch.export or AOTInductor; None if it is none, or lists no tensor."""
    if f"{top}/archive_format" not in directory.members:
        return None
    places = Places(descriptor, directory, top)
    compiled = Compiled(descriptor, directory, top, places)
    root, form = compiled.root, "AOTInductor (small constants may be a part of its code)"
    if is_export(directory, top):
        start, form = ("aotinductor.", f"torch.export and {form}") if root else ("", "torch.export")
        exported = read_export(descriptor, directory, top, compiled.open_pickled, compiled.listed)
        root = exported | {f"{start}{name}": value for name, value in root.items()}
    elif not root:
        return None
    inner = InnerPickles(descriptor, directory, compiled.inner.opened)
    return list_pickles(
        file,
        form,
        [*compiled.inner.machines, *inner.machines],
        root,
        compiled.locate,
        is_big_endian=is_big_endian(descriptor, directory, top),
        findings=chain(places.findings(), compiled.findings(), inner.findings()),
        read_records=read_records,
    )


def _open_package(descriptor: Descriptor, file: DataFile, directory: Directory, top: str) -> ExtentSource | None:
    """The tensors of an archive of torch.package; None if it is none."""
    if not is_package(directory, top):
        return None
    places = Places(descriptor, directory, top)
    package = read_package(directory, top, places)
    if not package.root:
        return None
    inner = InnerPickles(descriptor, directory, package.read)
    return list_pickles(
        file,
        package.form,
        [*package.machines, *inner.machines],
        package.root,
        places.locate_member,
        is_big_endian=is_big_endian(descriptor, directory, top),
        findings=chain(places.findings(), inner.findings()),
        read_records=read_records,
        storages=[storage for machine in package.machines for storage in machine.storages],
    )


def _open_archive(descriptor: Descriptor, file: DataFile, directory: Directory) -> ExtentSource:
    """The checkpoints that are members of a zip, each under its own name."""
    names = list(directory.members)
    shown = clean(file.name, 120)
    checkpoints = checkpoints_in(directory)
    if not checkpoints:
        raise UnknownFormatError(
            f"{shown} is a zip of {plural(len(names), 'file')}, the first of them {clean(names[0], 60)!r},"
            f" and no data.pkl: not a checkpoint{calls_inside(descriptor, directory)}"
        )
    inner = open_all(descriptor, checkpoints, directory)
    if not inner.machines:
        name, unread = next(iter(inner.root.items()))
        calls = calls_inside(descriptor, directory)
        kind = "a TorchServe archive (.mar)" if "MAR-INF/MANIFEST.json" in directory.members else "a zip"
        raise OpenError(f"{shown} is {kind}, and {clean(name, 60)!r} in it cannot be read: {unread.reason}{calls}")
    more = InnerPickles(descriptor, directory, inner.opened)
    return list_pickles(
        file,
        f"zip of {plural(len(checkpoints), 'checkpoint')}",
        [*inner.machines, *more.machines],
        inner.root,
        inner.locate,
        findings=chain(inner.findings(directory), more.findings()),
        read_records=read_records,
        storages=[storage for machine in inner.machines for storage in machine.storages],
    )


def _shifted(place: int | None, base: int | None) -> int | None:
    return None if place is None or base is None else base + place


_CLASS = re.compile(
    r"^class (\w+)\(Module\):\n  __parameters__ = \[([^\]]*)\]\n  __buffers__ = \[([^\]]*)\]", re.MULTILINE
)


_LOST = re.compile(r"^    (\w+) = ops\.prim\.ConstantMKLDNNTensor\(\)$", re.MULTILINE)
_WHY_LOST = (
    "torch.jit.optimize_for_inference keeps it in the layout of oneDNN (MKL-DNN), which torch.jit.save does not write:"
    " its values are not in the file"
)


def _read_code(descriptor: Descriptor, directory: Directory, top: str) -> tuple[Roles, dict[str, Unread]]:
    """What only the text of TorchScript code says: the names of parameters and buffers by class, and lost constants."""
    roles: Roles = {}
    lost: dict[str, Unread] = {}
    prefix = f"{top}/code/"
    files = [member for name, member in directory.members.items() if name.startswith(prefix) and name.endswith(".py")]
    for member in files[:_MAX_CODE_FILES]:
        module = member.name[len(prefix) : -3].replace("/", ".")
        try:
            text = read_member(descriptor, directory, member, _MAX_CODE_BYTES).decode("utf-8", "replace")
        except OpenError:
            # The code only says which tensors are parameters; without it they are listed as tensors.
            continue
        for name, parameters, buffers in _CLASS.findall(text):
            roles[f"{module}.{name}"] = (_quoted(parameters), _quoted(buffers))
        lost |= dict.fromkeys(_LOST.findall(text), Unread(_WHY_LOST))
    return roles, lost


def _quoted(text: str) -> frozenset[str]:
    return frozenset(re.findall(r'"([^"]*)"', text))


def _describe_other(directory: Directory, top: str) -> str | None:
    """What a zip without a ``data.pkl`` is, as the end of the sentence "x.zip is ...", or None if it is unknown."""
    names = list(directory.members)
    some = names[:10_000]
    if all(name.endswith(".npy") for name in some):
        return f"a numpy NPZ archive of {plural(len(names), 'array')}, no file of torch"
    if "[Content_Types].xml" in directory.members:
        return "an Office document (docx, xlsx or pptx), not a checkpoint"
    if any(".dist-info/" in name for name in some):
        return "a Python wheel, not a checkpoint"
    if "META-INF/MANIFEST.MF" in directory.members:
        return "a Java or Android archive, not a checkpoint"
    if is_package(directory, top):
        return "a torch.package archive without a pickled object"
    if f"{top}/archive_format" in directory.members or f"{top}/serialized_exported_program.json" in directory.members:
        return "an archive of torch.export or AOTInductor without a list of weights: they may be compiled into it"
    if f"{top}/version" in directory.members and f"{top}/.data/serialization_id" in directory.members:
        return "a torch.save file without its data.pkl: saving it failed"
    if "model.weights.h5" in directory.members:
        return "a Keras archive: it opens as one if its name ends in .keras"
    if "model_index.json" in directory.members:
        parts = plural(sum(name.endswith(".safetensors") for name in names), "safetensors file")
        return (
            f"a DDUF file, a pipeline of diffusers in one zip with {parts},"
            " which cannot be opened yet: unpack it and open the folders"
        )
    of_files = f"a zip of {plural(len(names), 'file')}"
    if "data.pkl" in directory.members:
        return f"{of_files} with data.pkl at its root: torch.save puts it into a folder, and torch.load refuses it here"
    elsewhere = next((name for name in names if name.endswith("/data.pkl")), None)
    if elsewhere is not None:
        # As PyTorchStreamReader does, which takes the folder of the first member for the archive's own.
        first = f"in {clean(top, 60)}/" if "/" in names[0] else "at the root"
        return (
            f"{of_files} with {clean(elsewhere, 60)}, but its first member lies {first}: torch.load looks for data.pkl"
            " there and refuses the file"
        )
    return None
