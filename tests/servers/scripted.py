"""A web server on loopback that sends ranges of files in memory, counts, and misbehaves when it is told to."""

from __future__ import annotations

import re
import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

LAST_MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"


class Served(NamedTuple):
    """A request that was answered: what was asked, and how many bytes of a body were sent."""

    path: str
    headers: Mapping[str, str]
    status: int
    nbytes: int


class Request(BaseHTTPRequestHandler):
    """One request, and the means to answer it well or badly."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: Any

    def do_GET(self) -> None:
        """Answers by the script, or as it should."""
        scripted: ScriptedServer = self.server.scripted
        with scripted.lock:
            act = scripted.script.popleft() if scripted.script else scripted.usual
        act(self)

    do_HEAD = do_GET  # noqa: N815

    def reply(self, status: int, headers: Mapping[str, str], body: bytes = b"", *, length: int | None = None) -> None:
        """An answer; with ``length`` one that announces another number of bytes."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Transfer-Encoding" not in headers:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        sent = b"" if self.command == "HEAD" else body
        served = Served(self.path, dict(self.headers.items()), status, len(sent))
        with self.server.scripted.lock:
            self.server.scripted.served.append(served)
        self.wfile.write(sent)
        self.wfile.flush()

    def hang_up(self) -> None:
        """End the connection after this answer, and do not say so before."""
        self.close_connection = True

    def asked(self) -> tuple[int, int] | None:
        """The range that is asked for, its end exclusive."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        return (int(found.group(1)), int(found.group(2)) + 1) if found else None

    def send_range(self, data: bytes, extra: Mapping[str, str] | None = None) -> None:
        """A file as a good server sends it."""
        tag = f'"{sha256(data).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Last-Modified": LAST_MODIFIED, "Accept-Ranges": "bytes", **(extra or {})}
        asked = self.asked()
        if self.headers.get("If-Match", tag) != tag:
            self.reply(412, {})
        elif asked is None:
            self.reply(200, headers, data)
        elif asked[0] >= len(data):
            self.reply(416, {"Content-Range": f"bytes */{len(data)}"})
        else:
            begin, end = asked[0], min(asked[1], len(data))
            self.reply(206, {**headers, "Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"}, data[begin:end])

    def log_message(self, *arguments: Any) -> None:
        """Nothing is printed."""


Act = Callable[[Request], None]


class ScriptedServer:
    """``files`` by path; what is in ``script`` happens to the next requests, then each is answered by ``usual``."""

    def __init__(self, port: int, scheme: str) -> None:
        self.port = port
        self.scheme = scheme
        self.files: dict[str, bytes] = {}
        self.script: deque[Act] = deque()
        self.served: list[Served] = []
        self.usual: Act = self.serve
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address of the server, without a slash at its end."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def nbytes(self) -> int:
        """The bytes of all bodies that were sent."""
        return sum(each.nbytes for each in self.served)

    def serve(self, request: Request) -> None:
        """The file of a path as a good server sends it."""
        data = self.files.get(unquote(urlsplit(request.path).path))
        if data is None:
            request.reply(404, {}, b"not here")
        else:
            request.send_range(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no fault of the server; anything else is one, and is printed."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)


@contextmanager
def scripted_server(identity: Path | None = None) -> Iterator[ScriptedServer]:
    """A server that runs inside a ``with``; with ``identity``, a certificate and its key in one file, by https."""
    with _Server(("127.0.0.1", 0), Request) as server:
        scripted = ScriptedServer(server.server_port, "https" if identity else "http")
        if identity is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(identity)
            # The handshake is made by the thread of the request: a client that breaks it off stops no other.
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.scripted = scripted  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield scripted
        finally:
            server.shutdown()
            thread.join()
