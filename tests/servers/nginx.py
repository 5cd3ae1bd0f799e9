"""nginx, started on loopback for a folder; its log says what was asked and how much was sent."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

_CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    log_format counted '$request_method $uri $status $body_bytes_sent';
    access_log {folder}/access.log counted;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip on;
    gzip_types *;
    gzip_min_length 1;
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
}}
"""


# A path that no test asks for.
_MARK = "/has-all-been-written"


class Nginx(NamedTuple):
    """A server of the files in ``root``."""

    url: str
    root: Path
    log: Path

    def served(self) -> list[tuple[str, str, int, int]]:
        """Method, path, status and bytes of each request so far.

        nginx writes the line of a request after its answer, so a client may be ahead of it. The only worker answers
        nothing else before that line is written: once one more request is answered, all lines before it are there.
        """
        connection = HTTPConnection("127.0.0.1", urlsplit(self.url).port or 0)
        try:
            connection.request("HEAD", _MARK)
            connection.getresponse().read()
        finally:
            connection.close()
        lines = [line.rsplit(" ", 2) for line in self.log.read_text(encoding="utf-8").splitlines()]
        answered = [(*first.split(" ", 1), int(status), int(nbytes)) for first, status, nbytes in lines]
        return [line for line in answered if line[1] != _MARK]  # type: ignore[misc]


def free_port() -> int:
    """A port of loopback that nothing listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def find_server(name: str) -> str:
    """Where a program of /usr/sbin is; the test is skipped where it is not installed."""
    found = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Until a server accepts connections; fails if it ends instead."""
    for _ in range(1000):
        if process.poll() is not None:
            pytest.fail(f"the server ended with status {process.returncode}")
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
    pytest.fail("the server does not listen")


@contextmanager
def nginx() -> Iterator[Nginx]:
    """nginx inside a ``with``."""
    program = find_server("nginx")
    with tempfile.TemporaryDirectory(prefix="nginx") as name:
        folder = Path(name)
        root = folder / "files"
        root.mkdir()
        port = free_port()
        # Where root starts it, its workers would be another user, who may not enter the folder.
        user = "user root;" if folder.owner() == "root" else ""
        text = _CONFIGURATION.format(folder=folder, root=root, port=port, user=user)
        (folder / "nginx.conf").write_text(text, encoding="utf-8")
        process = subprocess.Popen(
            [program, "-p", name, "-e", f"{name}/error.log", "-c", f"{name}/nginx.conf"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_for(process, port)
            yield Nginx(f"http://127.0.0.1:{port}", root, folder / "access.log")
        finally:
            process.terminate()
            process.wait()
