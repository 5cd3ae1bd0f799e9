"""Web servers by https: whose certificates are believed, and what is never sent without it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.servers.scripted import ScriptedServer, scripted_server
from tui_params.errors import ReadError
from tui_params.sources.remote.connect import connect

DATA = bytes(range(256)) * 100


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody has signed but itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "pem"),
        ],
        check=True, capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    path = folder / "identity"
    path.write_text((folder / "key").read_text() + (folder / "pem").read_text())
    return path


@pytest.fixture
def secure(identity: Path) -> Iterator[ScriptedServer]:
    with scripted_server(identity) as server:
        server.files["/f"] = DATA
        yield server


def test_a_certificate_that_nobody_has_signed_is_not_trusted(secure: ScriptedServer) -> None:
    with pytest.raises(
        ReadError, match=r"^the certificate of 127\.0\.0\.1:\d+ is not trusted: self[- ]signed certificate$"
    ):
        connect(f"{secure.url}/f").fetch("f", 0, 10)
    assert secure.served == []


def test_a_certificate_for_another_name_is_not_trusted(
    secure: ScriptedServer, identity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(identity))
    with pytest.raises(ReadError, match=r"^the certificate of localhost:\d+ is not trusted: [Hh]ostname mismatch"):
        connect(f"https://localhost:{secure.port}/f").fetch("f", 0, 10)
    assert secure.served == []


def test_ranges_by_https(secure: ScriptedServer, identity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(identity))
    transport = connect(f"{secure.url}/f")
    version = transport.look("f").version
    assert transport.fetch("f", 100, 20_000, version).data == DATA[100:20_000]
    assert [each.nbytes for each in secure.served] == [1, 19_900]
    transport.close()


def test_a_redirect_does_not_lead_from_https_to_http(
    secure: ScriptedServer, web: ScriptedServer, identity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(identity))
    web.files["/f"] = DATA
    secure.script.append(lambda request: request.reply(302, {"Location": f"{web.url}/f"}))
    with pytest.raises(ReadError, match="redirects from https to http, where everybody could read along"):
        connect(f"{secure.url}/f").fetch("f", 0, 10)
    assert web.served == []


def test_a_proxy_leads_to_https_without_reading_it(
    secure: ScriptedServer, identity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(identity))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        asked: list[bytes] = []
        thread = threading.Thread(target=_tunnel, args=(listener, secure.port, asked), daemon=True)
        thread.start()
        transport = connect(f"{secure.url}/f")
        assert transport.fetch("f", 0, 10).data == DATA[:10]
        transport.close()
        thread.join(60)
    assert asked == [f"CONNECT 127.0.0.1:{secure.port} HTTP/1.".encode()]


def _tunnel(listener: socket.socket, port: int, asked: list[bytes]) -> None:
    """One connection of a proxy: what is asked of it, then bytes in both directions."""
    near, _ = listener.accept()
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += near.recv(1)
    asked.append(request.partition(b"\r\n")[0][:-1])
    far = socket.create_connection(("127.0.0.1", port))
    near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    def copy(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(1 << 16):
            target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=copy, args=(far, near), daemon=True)
    back.start()
    copy(near, far)
    back.join(60)
    near.close()
    far.close()
