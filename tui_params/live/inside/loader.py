"""Makes a package out of texts, in a process that has no files of it."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from types import ModuleType


def load(package: str, texts: dict[str, str]) -> ModuleType:
    """The package of that name, made of the source text of each of its modules; a module imports only earlier ones.

    A package that was loaded under the same name before is replaced. If a module cannot be run, none is left behind.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    root = sys.modules[package] = module_from_spec(ModuleSpec(package, None, is_package=True))
    try:
        for name, text in texts.items():
            full = f"{package}.{name}"
            module = sys.modules[full] = module_from_spec(ModuleSpec(full, None))
            exec(compile(text, f"<{full}>", "exec"), module.__dict__)
            setattr(root, name, module)
    except BaseException:
        for name in (package, *(f"{package}.{name}" for name in texts)):
            sys.modules.pop(name, None)
        raise
    return root
