"""ListingProcess: a large checkpoint on this disk listed by a process of its own, while this one imports the terminal.

Both need a core for about as long, and two threads of Python would share one. What the process found it also keeps in
the cache: the next time it only looks whether all files are as they were. It is forked before this process has other
threads; where that cannot be, or it ends without an answer, the checkpoint is opened as any other.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG

MIN_BYTES = 1024 * 1024
"""The header, or the index, that is worth a process: that of some 8,000 tensors."""

_MOUNTS = "/proc/self/mounts"
_REMOTE = (
    "nfs", "cifs", "smb", "fuse", "9p", "afs", "autofs", "beegfs", "ceph", "gfs", "glusterfs", "gpfs", "lustre", "ocfs",
    "orangefs", "panfs", "pvfs", "wekafs",
)  # fmt: skip
"""How the names of file systems begin that are served by other machines, or by processes."""

_INDEX = ".safetensors.index.json"
_DONE = b"\1"


class ListingProcess:
    """A process that lists a checkpoint; made by ``begin``."""

    def __init__(self, path: Path, number: int, answer: int, memory: int) -> None:
        self.path = path
        self._number = number
        self._answer = answer
        self._memory = memory

    def wait(self) -> bytes | None:
        """What ``cache.listings.pack`` returned, or None if the process had no answer. Call it once."""
        try:
            is_done = os.read(self._answer, 1) == _DONE
            nbytes = os.fstat(self._memory).st_size
            return os.pread(self._memory, nbytes, 0) if is_done else None
        except OSError:
            return None
        finally:
            os.close(self._answer)
            os.close(self._memory)

    def reap(self) -> None:
        """Wait until it has ended; it may keep its answer in the cache before."""
        with suppress(ChildProcessError):
            os.waitpid(self._number, 0)


def begin(given: str) -> ListingProcess | None:
    """Begin to list what lies at a path that a user gave; None if it is not worth it, or cannot be."""
    if not sys.platform.startswith("linux") or threading.active_count() > 1 or "://" in given:
        return None
    if len(os.sched_getaffinity(0)) < 2:
        return None  # it would only take turns with this one
    try:
        path = Path(given).expanduser()
        if not _may_hang(path) and not _is_large(path):
            return None
        memory = os.memfd_create("tui-params listing")
    except (OSError, ValueError, RuntimeError):
        return None  # opening it says what is wrong
    answer, told = os.pipe()
    try:
        number = os.fork()
    except OSError:
        for descriptor in (memory, answer, told):
            os.close(descriptor)
        return None
    if number == 0:
        _list_and_end(path, memory, told)
    os.close(told)
    return ListingProcess(path, number, answer, memory)


def _may_hang(path: Path) -> bool:
    """Whether it lies where a server may not answer: only a process of its own looks at it then, not the screen's."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return False
    place = os.path.abspath(path) + "/"
    above = [(len(words[1]), words[2]) for words in mounts if place.startswith(words[1].rstrip("/") + "/")]
    return max(above, default=(0, ""))[1].startswith(_REMOTE)


def _is_large(path: Path) -> bool:
    """Whether it looks like a safetensors file with a long header, or a folder with a long index. Raises OSError."""
    mode = os.stat(path).st_mode
    if S_ISDIR(mode):
        with os.scandir(path) as entries:
            return any(entry.name.endswith(_INDEX) and entry.stat().st_size >= MIN_BYTES for entry in entries)
    if not S_ISREG(mode):
        return False
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and MIN_BYTES <= int.from_bytes(head[:8], "little") <= os.stat(path).st_size


def _list_and_end(path: Path, memory: int, told: int) -> None:
    """The whole life of the process. Whatever goes wrong, the other one finds out when it opens the checkpoint."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _list(path, memory, told)
        code = 0
    finally:
        os._exit(code)  # nothing of the other process is flushed, closed or deleted here


def _list(path: Path, memory: int, told: int) -> None:
    if not _is_large(path):
        return
    from tui_params.cache.figures import FigureCache
    from tui_params.cache.listings import KeptListing, pack

    store = FigureCache().store
    kept = KeptListing(store, path) if store is not None else None
    found = kept.read() if kept is not None else None
    is_new = found is None
    if found is None:
        from tui_params.core.tree.tree import Tree
        from tui_params.sources.detect import open_path

        source = open_path(path)
        found = pack(source, Tree(source.listing))
    if found is None:
        return
    rest = memoryview(found)
    while rest:
        rest = rest[os.write(memory, rest) :]
    os.write(told, _DONE)
    if is_new and kept is not None:
        kept.write(found)
