"""What a plain unpickler would do with the names in a pickle. A wrong answer is only a wrong label: nothing is run."""

from __future__ import annotations

from collections.abc import Iterable

from tui_params.core.findings import Finding
from tui_params.core.text import clean

_SHOWN = 10

# Packages whose functions do more than build data.
_CODE_PACKAGE_LIST = """
    os posix nt posixpath ntpath subprocess sys pty runpy pip socket shutil webbrowser importlib imp pkgutil ctypes cffi
    _ctypes multiprocessing asyncio commands code codeop timeit cProfile profile pdb bdb doctest trace venv ensurepip
    distutils setuptools http urllib urllib2 httplib ftplib smtplib telnetlib poplib imaplib nntplib xmlrpc requests
    aiohttp httpx zipimport marshal pickle _pickle cPickle shelve dill cloudpickle joblib signal threading _thread
    concurrent linecache inspect dis atexit gc tempfile glob fileinput tarfile zipfile sqlite3 idlelib lib2to3 pydoc
    site sysconfig numexpr paramiko fabric IPython nbformat
"""
_CODE_NAME_LIST = """
    builtins.eval builtins.exec builtins.execfile builtins.compile builtins.open builtins.input builtins.raw_input
    builtins.getattr builtins.setattr builtins.delattr builtins.__import__ builtins.globals builtins.locals
    builtins.vars builtins.breakpoint builtins.apply builtins.map builtins.filter builtins.reload
    types.CodeType types.FunctionType types.LambdaType operator.attrgetter operator.methodcaller io.open io.FileIO
    io.open_code functools.reduce torch.load torch.save torch.hub.load torch.jit.load torch.package.PackageImporter
    torch.serialization.load torch.serialization.save torch.utils.cpp_extension.load
    torch.utils.cpp_extension.load_inline torch.ops.load_library torch.classes.load_library numpy.load numpy.save
    numpy.fromfile numpy.memmap numpy.f2py.compile numpy.testing._private.utils.runstring pandas.eval
    pandas.read_pickle pandas.io.pickle.read_pickle yaml.load yaml.unsafe_load
"""
_CODE_PACKAGES = frozenset(_CODE_PACKAGE_LIST.split())
_CODE_NAMES = frozenset(_CODE_NAME_LIST.split())


def would_run_code(module: str, name: str) -> bool:
    """Whether a plain unpickler that calls ``module.name`` does more than build data."""
    if module.partition(".")[0] in _CODE_PACKAGES or f"{module}.{name}" in _CODE_NAMES:
        return True
    # Protocol 4 can reach an attribute of an attribute: ("builtins", "getattr.__class__").
    first = name.partition(".")[0]
    return first != name and (first.startswith("__") or f"{module}.{first}" in _CODE_NAMES)


def code_finding(names: Iterable[tuple[str, str]]) -> Finding | None:
    """The finding about globals that would run code elsewhere, or None if there are none."""
    found = [clean(f"{module}.{name}", 80) for module, name in names if would_run_code(module, name)]
    if not found:
        return None
    shown = ", ".join(found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    evidence = f"contains calls that would run in a plain unpickler: {shown}{more}; nothing was run here"
    return Finding("warning", "pickle-code", None, evidence)
