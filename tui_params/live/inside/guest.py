"""Guest: what serves the models of a process that did not ask for it, and goes again when nobody looks any more."""

from __future__ import annotations

import sys
import threading
import time

from .roots import find_roots
from .server import Server

PATIENCE = 60.0
"""Seconds without a viewer after which a guest leaves."""


class NoModelError(LookupError):
    """The process has no model, or none that could be found."""


def serve_all(folder: str, patience: float = PATIENCE) -> list[Server]:
    """Serve every model of this process at sockets in ``folder`` until nobody has looked for ``patience`` seconds.

    Raises NoModelError, OSError.
    """
    roots = find_roots()
    if not roots:
        raise NoModelError("no torch.nn.Module with parameters was found in its variables, nor among its objects")
    servers = []
    for root in roots:
        server = Server(root.model, root.optimizers, root.name)
        server.start(folder)
        servers.append(server)
    threading.Thread(target=_stay, args=(servers, patience), name="tui-params guest", daemon=True).start()
    return servers


def _stay(servers: list[Server], patience: float) -> None:
    last = time.monotonic()
    while time.monotonic() - last < patience:
        time.sleep(min(0.5, patience))
        if any(server.viewers for server in servers):
            last = time.monotonic()
    for server in servers:
        server.stop()
    # Only a guest has a package of this name: leave nothing of it.
    package = __name__.partition(".")[0]
    if package.startswith("_"):
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
