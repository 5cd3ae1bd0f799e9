"""What a global of a pickle is, told from its name: data, a class, a function, or code that a plain unpickler runs.

Nothing is imported to find out, so a class is told from a function by the opcode and by the spelling:

* what ``allowed`` lists is quiet or data;
* NEWOBJ and the reconstructors of ``copyreg`` make an object of a class without calling ``__init__``;
* a name of which each part begins with a capital letter is a class (PEP 8), if its package is not of the standard
  library: there only the listed ones may be called, because classes such as ``subprocess.Popen`` act when called;
* everything else that is called is a function.

So a class with a small initial that is called counts as a function, and a function with a capital one as a class:
both are named either way, and only the severity differs.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import Literal

from tui_params.sources.inert_pickle.allowed import DATA, TORCH_ALLOWED, TORCH_ALLOWED_ONCE_IMPORTED, WRAPPER

Label = Literal["quiet", "class", "function", "code"]

# Modules of the standard library that later versions removed, and the names that Python 2 gave to modules.
_REMOVED = """
    imp distutils asynchat asyncore smtpd cgi cgitb crypt pipes telnetlib nntplib lib2to3 formatter parser symbol binhex
    macpath dummy_threading audioop aifc chunk imghdr mailcap msilib nis ossaudiodev sndhdr spwd sunau uu xdrlib
    commands httplib urllib2 urlparse cPickle cStringIO StringIO Queue SocketServer BaseHTTPServer SimpleHTTPServer
    CGIHTTPServer SimpleXMLRPCServer DocXMLRPCServer xmlrpclib robotparser cookielib Cookie HTMLParser htmlentitydefs
    UserDict UserList UserString whichdb dumbdbm dbhash anydbm gdbm thread dummy_thread _abcoll tkMessageBox Tkinter
    exceptions test idlelib
"""
_STANDARD = frozenset(sys.stdlib_module_names) | frozenset(_REMOVED.split())

# Packages whose functions do more than build data.
_CODE_PACKAGE_LIST = """
    os posix nt posixpath ntpath subprocess sys pty runpy pip socket shutil webbrowser importlib imp pkgutil ctypes cffi
    _ctypes multiprocessing asyncio commands code codeop timeit cProfile profile pdb bdb doctest trace venv ensurepip
    distutils setuptools http urllib urllib2 httplib ftplib smtplib telnetlib poplib imaplib nntplib xmlrpc requests
    aiohttp httpx zipimport marshal pickle _pickle cPickle shelve dill cloudpickle joblib signal threading _thread
    concurrent linecache inspect dis atexit gc tempfile glob fileinput tarfile zipfile sqlite3 idlelib lib2to3 pydoc
    site sysconfig numexpr paramiko fabric IPython nbformat _posixsubprocess _io _osx_support _aix_support _pyrepl
    pexpect ssl socketserver compileall py_compile unittest test _frozen_importlib _imp platform mmap resource
    antigravity
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
# Packages that are both honest data and code: a class of theirs that is only mentioned is no cause for alarm.
_MIXED_LIST = "_io http urllib multiprocessing asyncio joblib signal threading concurrent inspect tempfile"
_MIXED = frozenset(_MIXED_LIST.split())
# Parts of other libraries whose classes, too, compile, load, open or connect when they are called.
_ACTING_LIST = """
    torch.hub torch.jit torch.package torch.serialization torch.storage._load_from_bytes torch._C torch._dynamo
    torch._inductor torch.fx torch.compiler torch.utils.cpp_extension torch.utils.tensorboard torch.utils.bottleneck
    torch.utils.collect_env torch.utils._config_module torch.utils.data.datapipes torch.distributed.TCPStore
    torch.distributed.FileStore torch.distributed.rpc torch.distributed.elastic torch.distributed.run
    torch.multiprocessing torch.classes torch.ops torch.export torch.onnx numpy.f2py numpy.distutils numpy.testing
    numpy.ctypeslib numpy.DataSource numpy.lib numpy.core._ufunc_reconstruct numpy._core._ufunc_reconstruct
"""
_ACTING = frozenset(_ACTING_LIST.split())
# Classes that act when they are called, under whatever module they were imported.
_ACTING_CLASS_LIST = "Popen FileIO CDLL PyDLL WinDLL OleDLL LibraryLoader FileHandler"
_ACTING_CLASSES = frozenset(_ACTING_CLASS_LIST.split())
# Libraries whose functions are known: those that rebuild data, of whatever version, are told by their names.
_DATA_LIBRARIES = frozenset({"torch", "numpy"})
_REBUILDS = re.compile("_rebuild|reconstruct|unpickle|_ctor")


def is_class_name(name: str) -> bool:
    """Whether each dotted part of ``name`` is spelled as a class: a capital letter after any underscores."""
    return all(part.lstrip("_")[:1].isupper() for part in name.split("."))


def names_code(module: str, name: str) -> bool:
    """Whether ``module.name`` is known to do more than build data, however it is used."""
    if module.partition(".")[0] in _CODE_PACKAGES or f"{module}.{name}" in _CODE_NAMES:
        return True
    if module == "copyreg.extension":
        return True
    # Protocol 4 can reach an attribute of an attribute: ("builtins", "getattr.__class__"), ("torch.hub", "os.system").
    parts = name.split(".")
    if len(parts) == 1:
        return False
    if f"{module}.{parts[0]}" in _CODE_NAMES or any(part.startswith("__") for part in parts):
        return True
    return not _CODE_PACKAGES.isdisjoint(parts[:-1])


def is_alarming(module: str, name: str) -> bool:
    """Whether a mention alone of ``module.name`` is told, though it is not called."""
    full = f"{module}.{name}"
    if full in DATA or (module.partition(".")[0] in _MIXED and (is_class_name(name) or name.startswith("_"))):
        return full in _CODE_NAMES
    return names_code(module, name)


@lru_cache(1 << 12)
def label(module: str, name: str, *, is_called: bool) -> Label:
    """What it means that a pickle calls ``module.name``, or only makes an object of it (``is_called`` False)."""
    full = f"{module}.{name}"
    if full in TORCH_ALLOWED or full in TORCH_ALLOWED_ONCE_IMPORTED or full == WRAPPER:
        return "quiet"
    if full in DATA or name.startswith("__pyx_unpickle_"):
        return "class"
    package = module.partition(".")[0]
    if names_code(module, name):
        return "code"
    is_class = is_class_name(name)
    if package == "__torch__" and not is_called:
        # A class of TorchScript, which stands in the archive itself.
        return "quiet"
    if package in _STANDARD:
        # In builtins, names with a capital letter are those of exceptions.
        return "class" if is_class and (not is_called or package == "builtins") else "code"
    if not is_called:
        return "class"
    if name.rpartition(".")[2] in _ACTING_CLASSES or _is_acting(full):
        return "code"
    if is_class:
        return "class"
    if "." in name or (package in _DATA_LIBRARIES and not _REBUILDS.search(name)):
        return "code"
    return "function"


def _is_acting(full: str) -> bool:
    parts = full.split(".")[:8]
    return any(".".join(parts[:end]) in _ACTING for end in range(2, len(parts) + 1))
