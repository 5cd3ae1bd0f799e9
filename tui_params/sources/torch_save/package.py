"""Archives of torch.package: a pickle for each object that was saved, with storages that they share, and Python code.

torch/package/package_exporter.py and package_importer.py. The storages are ``.data/N.storage``; the code, which
torch.package runs when an object is loaded, is never looked at.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tui_params.core.text import clean, plural
from tui_params.errors import OpenError
from tui_params.sources.bytes.zip_directory import Directory
from tui_params.sources.inert_pickle.machine import MAX_OPERATIONS, PickleMachine
from tui_params.sources.inert_pickle.values import Unread
from tui_params.sources.torch_save.places import Places

MAX_PICKLES = 1_000
"""Objects of a package that are read; the others are named as not read."""


class Package(msgspec.Struct, frozen=True):
    """What the pickles of a package build, by their names, and the machines that have read them."""

    form: str
    root: dict[str, Any]
    machines: list[PickleMachine]
    read: set[str]


def is_package(directory: Directory, top: str) -> bool:
    """Whether an archive is one of torch.package: it lists the modules that it needs from outside."""
    return f"{top}/.data/extern_modules" in directory.members


def read_package(directory: Directory, top: str, places: Places) -> Package:
    """The objects of a package. One that cannot be read says why in its place. Raises OSError."""
    root: dict[str, Any] = {}
    machines: list[PickleMachine] = []
    read: set[str] = set()
    left = MAX_OPERATIONS
    scripts = f"{top}/.data/ts_code/"
    for path, member in directory.members.items():
        is_script = path.startswith(scripts) and path.endswith("/data.pkl")
        is_object = path.endswith(".pkl") and path.startswith(f"{top}/") and not path.startswith(f"{top}/.data/")
        if not is_script and not is_object:
            continue
        # Modules of TorchScript lie apart from the objects that hold them.
        stem = f"ts_code.{path[len(scripts) : -len('/data.pkl')]}" if is_script else path[len(top) + 1 : -len(".pkl")]
        name = stem.replace("/", ".")
        read.add(path)
        if len(machines) >= MAX_PICKLES or left <= 0:
            root[name] = Unread("too much stands before it in the package: it was not read")
            continue
        try:
            machine = PickleMachine(
                places.read(member), 0, clean(path.partition("/")[2], 120), left, pid_length=5, is_packaged=True
            )
        except OpenError as error:
            root[name] = Unread(str(error), is_faulty=True)
            continue
        machines.append(machine)
        try:
            root[name] = machine.load()
        except OpenError as error:
            root[name] = Unread(str(error), is_faulty=True)
        # A step takes at least a byte.
        left -= len(machine.data)
        for storage in machine.storages:
            storage.key = _key(storage.key)
    code = sum(path.endswith(".py") and not path.startswith(f"{top}/.data/") for path in directory.members)
    form = f"torch.package with {plural(code, 'Python file')}, not run" if code else "torch.package"
    return Package(form, root, machines, read)


def _key(key: Any) -> Any:
    """The path of a storage in the archive: its number, or of TorchScript ``N.storage``."""
    if type(key) is int:
        return f".data/{key}.storage"
    return f".data/{key}" if type(key) is str and "/" not in key else key
