"""Server: lets viewers of the same user look at the model of this process, through a Unix socket.

A thread of its own waits for viewers, another serves each of them; both are daemons and hold nothing that the training
needs. The socket lies in a folder that only this user can enter, and the kernel says who connects: this user, or root,
from whom nothing can be kept.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import socket
import struct
import sys
import threading
from contextlib import suppress
from typing import Any

from .anatomy import ODD, first_line
from .frames import FrameError, close_all, receive_frame, send_frame
from .pass_clock import PassClock
from .requests import RequestError, Served, Visit
from .roll import ServedProbe
from .runtime_folder import SUFFIX, make_folder
from .shared_page import SharedPage
from .step_clock import StepClock

MAX_VIEWERS = 8
REPLY_SECONDS = 10.0
"""How long a viewer may take to accept a reply before it is left."""

_PR_SET_PTRACER = 0x59616D61


class Server:
    """Serves a model from ``start`` until ``stop``, or the end of the process.

    ``path`` is the socket's. ``name`` is what a list of models calls it.
    """

    def __init__(self, model: Any, optimizer: Any = None, name: str = "") -> None:
        self.page = SharedPage()
        self.clock = StepClock(self.page)
        kind = type(model).__name__
        self.passes = PassClock(self.clock, model)
        self.served = Served(ServedProbe(model, optimizer), name or kind, kind, self.page, self.clock, self.passes)
        self.path = ""
        self._listener: socket.socket | None = None
        self._viewers: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._pid = os.getpid()

    @property
    def viewers(self) -> int:
        """How many look now."""
        return len(self._viewers)

    def start(self, folder: str = "") -> None:
        """Bind the socket and start to serve. Raises OSError; PermissionError if the folder is not safe.

        ``folder`` is that of the viewer who asks, who may have another environment; by default this user's own.
        """
        folder = make_folder(folder)
        path = os.path.join(folder, f"{os.getpid()}{SUFFIX}")
        number = 1
        while os.path.lexists(path) and not _is_stale(path):
            number += 1
            path = os.path.join(folder, f"{os.getpid()}-{number}{SUFFIX}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fresh = os.path.join(folder, f".{os.getpid()}-{number}")
        try:
            with suppress(FileNotFoundError):
                os.unlink(fresh)
            listener.bind(fresh)
            os.chmod(fresh, 0o600)
            listener.listen(MAX_VIEWERS)
            self.clock.start()
            # It has its name only now that it listens: what refuses a connection under such a name is left behind.
            os.rename(fresh, path)
        except BaseException:
            listener.close()
            self.clock.stop()
            with suppress(OSError):
                os.unlink(fresh)
            raise
        self.path, self._listener = path, listener
        _SERVERS.append(self)
        threading.Thread(target=self._accept, args=(listener,), name="tui-params", daemon=True).start()

    def stop(self) -> None:
        """Send every viewer away, remove the socket and the hooks. May be called twice."""
        listener, self._listener = self._listener, None
        if self in _SERVERS:
            _SERVERS.remove(self)
        if listener is None:
            return
        if os.getpid() == self._pid:
            with suppress(OSError):
                os.unlink(self.path)
        # A thread that waits in accept is only woken by this.
        for each in (listener, *self._viewers):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        listener.close()
        self.passes.stop()
        self.clock.stop()

    def forget(self) -> None:
        """In a forked child: close what belongs to the parent, and serve nothing."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        for viewer in self._viewers:
            viewer.close()
        self._viewers = set()
        self.passes.forget()
        self.clock.forget()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                viewer, _ = listener.accept()
            except OSError:
                return  # stopped
            with self._lock:
                is_welcome = len(self._viewers) < MAX_VIEWERS and _uid_of(viewer) in (os.getuid(), 0)
                if is_welcome:
                    self._viewers.add(viewer)
            if not is_welcome:
                viewer.close()
                continue
            threading.Thread(target=self._serve, args=(viewer,), name="tui-params viewer", daemon=True).start()

    def _serve(self, viewer: socket.socket) -> None:
        visit = Visit(self.served)
        _let_read(viewer)
        try:
            while True:
                viewer.settimeout(None)
                frame = receive_frame(viewer)
                if frame is None:
                    return
                close_all(frame.descriptors)
                viewer.settimeout(REPLY_SECONDS)
                try:
                    for message, handed in visit.answer(frame.message):
                        send_frame(viewer, message, descriptors=handed)
                except RequestError as error:
                    send_frame(viewer, {"error": str(error), "is_last": True})
                except ODD as error:
                    # What a class of the user does to a look at it is told to the viewer, not to the training.
                    send_frame(viewer, {"error": f"it could not be answered: {first_line(error)}", "is_last": True})
        except FrameError:
            return  # the viewer has gone, or is none
        finally:
            visit.close()
            with self._lock:
                self._viewers.discard(viewer)
                if not self._viewers:
                    # Another process may get the number of this one.
                    _let_read(None)
            viewer.close()


_SERVERS: list[Server] = []


def stop_all() -> None:
    """Stop every server of this process."""
    for server in tuple(_SERVERS):
        server.stop()


def _forget_all() -> None:
    for server in tuple(_SERVERS):
        server.forget()
    _SERVERS.clear()


atexit.register(stop_all)
if hasattr(os, "register_at_fork"):
    # A worker of a DataLoader must not answer for its parent.
    os.register_at_fork(after_in_child=_forget_all)


def _is_stale(path: str) -> bool:
    """Whether nobody listens at a socket that is there: left by a process of that number that was killed."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _credentials(viewer: socket.socket) -> tuple[int, int]:
    """The process and the user at the other end, as the kernel knows them. Raises OSError."""
    if sys.platform == "linux":
        found = viewer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", found)
        return pid, uid
    local_peercred, sol_local = 0x001, 0  # sys/un.h of macOS: struct xucred begins with a version and the user
    found = viewer.getsockopt(sol_local, local_peercred, 76)
    return 0, struct.unpack_from("2I", found)[1]


def _uid_of(viewer: socket.socket) -> int:
    try:
        return _credentials(viewer)[1]
    except OSError:
        return -1


def _let_read(viewer: socket.socket | None) -> None:
    """Allow this viewer to read the memory of this process where Yama's ptrace_scope is 1 (prctl PR_SET_PTRACER).

    It is one viewer at a time that can be allowed; None takes the permission back.
    """
    if sys.platform != "linux":
        return
    try:
        pid = 0 if viewer is None else _credentials(viewer)[0]
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PTRACER, ctypes.c_ulong(pid), 0, 0, 0)
    except (OSError, AttributeError):
        return  # without it the viewer asks for copies
