"""Files of a web server that behaves: exactly the bytes that were asked for, in one request each."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.nginx import Nginx
from tests.servers.scripted import Request, ScriptedServer
from tui_params.errors import ReadError, SourceChangedError
from tui_params.sources.remote import wire
from tui_params.sources.remote.connect import connect
from tui_params.sources.remote.transport import Entry

DATA = bytes(range(256)) * 100


def test_a_fetch_is_one_request_for_exactly_the_bytes(nginx_server: Nginx) -> None:
    (nginx_server.root / "a b.bin").write_bytes(DATA)
    transport = connect(f"{nginx_server.url}/")
    before = len(nginx_server.served())
    entry = transport.look("a b.bin")
    piece = transport.fetch("a b.bin", 1000, 1300, entry.version)
    at_the_end = transport.fetch("a b.bin", 25_500, 30_000, entry.version)
    beyond = transport.fetch("a b.bin", 25_600, 25_700)
    transport.close()
    assert entry == Entry("a b.bin", size=25_600, version=entry.version, modified_ns=entry.modified_ns)
    assert entry.version is not None
    assert entry.modified_ns > 0
    assert (piece.data, piece.size, piece.version) == (DATA[1000:1300], 25_600, entry.version)
    assert at_the_end.data == DATA[25_500:]
    assert (beyond.data, beyond.size) == (b"", 25_600)
    sent = [(status, nbytes) for _, _, status, nbytes in nginx_server.served()[before:]]
    assert sent[:3] == [(206, 1), (206, 300), (206, 100)]
    assert [status for status, _ in sent[3:]] == [416]


def test_a_file_that_changes_is_told(nginx_server: Nginx) -> None:
    path = nginx_server.root / "changing"
    path.write_bytes(b"one")
    transport = connect(f"{nginx_server.url}/changing")
    version = transport.look("changing").version
    path.write_bytes(b"twice")
    with pytest.raises(SourceChangedError, match=r"^changing was changed on 127\.0\.0\.1:\d+ after it was opened"):
        transport.fetch("changing", 0, 2, version)
    transport.close()


def test_empty_files_absent_files_and_folders(nginx_server: Nginx) -> None:
    (nginx_server.root / "empty").write_bytes(b"")
    (nginx_server.root / "folder").mkdir(exist_ok=True)
    transport = connect(nginx_server.url)
    assert transport.look("empty").size == 0
    assert transport.fetch("empty", 0, 10).data == b""
    assert transport.look("folder") == Entry("folder", is_folder=True)
    assert transport.look("") == Entry("", is_folder=True)
    assert transport.entries("folder") is None
    with pytest.raises(FileNotFoundError, match=r"^127\.0\.0\.1:\d+ has no absent$"):
        transport.look("absent")
    for path in ("folder", ""):
        with pytest.raises(ReadError, match="is a folder"):
            transport.fetch(path, 0, 1)
    transport.close()


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b", "a//b", "./a"])
def test_a_path_never_leads_out(web: ScriptedServer, path: str) -> None:
    transport = connect(f"{web.url}/models/")
    for ask in (transport.look, lambda path: transport.fetch(path, 0, 1)):
        with pytest.raises(ReadError, match="leads out of the address"):
            ask(path)
    assert web.served == []


def test_nothing_is_asked_for_compressed(web: ScriptedServer) -> None:
    web.files["/f"] = DATA
    connect(web.url).fetch("f", 0, 10)
    assert web.served[0].headers["Accept-Encoding"] == "identity"


def test_connections_are_kept_and_shared_by_threads(web: ScriptedServer) -> None:
    web.files["/f"] = DATA
    transport = connect(web.url)
    ports: set[int] = set()
    barrier = threading.Barrier(4)

    def noting(request: Request) -> None:
        ports.add(request.client_address[1])
        web.serve(request)

    def ask(begin: int) -> bytes:
        barrier.wait()
        return b"".join(transport.fetch("f", at, at + 10).data for at in range(begin, begin + 100, 10))

    web.usual = noting
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(ask, range(0, 400, 100)))
    finally:
        web.usual = web.serve
    assert b"".join(found) == DATA[:400]
    assert len(web.served) == 40
    assert len(ports) <= 4
    transport.close()


def test_a_connection_that_was_idle_for_long_is_not_trusted(
    web: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["/f"] = DATA
    ports: list[int] = []

    def noting(request: Request) -> None:
        ports.append(request.client_address[1])
        web.serve(request)

    web.script.extend([noting] * 3)
    transport = connect(web.url)
    transport.fetch("f", 0, 10)
    transport.fetch("f", 0, 10)
    monkeypatch.setattr(wire, "_LONGEST_IDLE", 0.0)
    transport.fetch("f", 0, 10)
    transport.close()
    assert ports[0] == ports[1] != ports[2]


def test_a_signed_address_is_one_file_and_is_never_shown(web: ScriptedServer) -> None:
    web.files["/models/f.bin"] = DATA
    transport = connect(f"{web.url}/models/f.bin?X-Amz-Signature=SECRET&a=%2F")
    assert transport.address == f"{web.url}/models/f.bin"
    assert transport.look("").size == len(DATA)
    assert transport.fetch("", 3, 7).data == DATA[3:7]
    assert [each.path for each in web.served] == ["/models/f.bin?X-Amz-Signature=SECRET&a=%2F"] * 2
    with pytest.raises(FileNotFoundError, match="is one file"):
        transport.look("beside")
    web.files.clear()
    with pytest.raises(FileNotFoundError) as caught:
        transport.fetch("", 0, 1)
    assert "SECRET" not in f"{caught.value!r} {transport!r} {transport.address}"


@pytest.mark.parametrize("place", ["netrc", "address"])
def test_a_login_goes_to_its_host_only(web: ScriptedServer, home: Path, place: str) -> None:
    web.files["/f"] = DATA
    netrc = home / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password SECRET\n")
    netrc.chmod(0o600)
    if place == "address":
        netrc.unlink()
    address = web.url.replace("//", "//me:SECRET@") if place == "address" else web.url
    transport = connect(address)
    transport.fetch("f", 0, 1)
    assert web.served[-1].headers["Authorization"] == "Basic bWU6U0VDUkVU"
    other = f"http://localhost:{web.port}/f"
    web.script.append(lambda request: request.reply(302, {"Location": other}))
    assert transport.fetch("f", 0, 2).data == DATA[:2]
    assert "Authorization" not in web.served[-1].headers
    assert web.served[-1].headers["Range"] == "bytes=0-1"
    web.script.append(lambda request: request.reply(401, {}))
    web.script.append(lambda request: request.reply(401, {}))
    with pytest.raises(ReadError, match=r"\(401\): the login of .* was refused") as caught:
        transport.fetch("f", 0, 3)
    assert "SECRET" not in f"{caught.value} {transport!r} {transport.address}"


def test_a_login_is_not_sent_where_others_can_read_it(home: Path) -> None:
    from tui_params.sources.remote.web_login import find_login

    netrc = home / ".netrc"
    netrc.write_text("machine models.example login me password SECRET\n")
    netrc.chmod(0o600)
    plain = find_login("http://models.example/x")
    assert plain.headers == {}
    assert plain.hint == "the login of ~/.netrc is sent over https only"
    secure = find_login("https://models.example/x")
    assert secure.headers == {"Authorization": "Basic bWU6U0VDUkVU"}
    assert "SECRET" not in repr(secure)
    assert find_login("https://other.example/x").headers == {}


def test_a_redirect_is_kept_until_it_is_refused(web: ScriptedServer) -> None:
    web.files["/f"] = web.files["/signed"] = web.files["/again"] = DATA
    transport = connect(web.url)
    web.script.append(lambda request: request.reply(302, {"Location": "/signed?sig=SECRET1"}))
    for at in range(3):
        assert transport.fetch("f", at, at + 1).data == DATA[at : at + 1]
    assert [each.path for each in web.served] == ["/f", *["/signed?sig=SECRET1"] * 3]
    web.script.append(lambda request: request.reply(403, {}, b"expired"))
    web.script.append(lambda request: request.reply(302, {"Location": "/again?sig=SECRET2"}))
    assert transport.fetch("f", 9, 10).data == DATA[9:10]
    assert [each.path for each in web.served[4:]] == ["/signed?sig=SECRET1", "/f", "/again?sig=SECRET2"]


def test_closing_ends_what_waits_for_an_answer(web: ScriptedServer) -> None:
    asked, release = threading.Event(), threading.Event()

    def holds(request: Request) -> None:
        asked.set()
        release.wait(60)
        request.hang_up()

    transport = connect(web.url)
    web.script.append(holds)
    caught: list[BaseException] = []

    def ask() -> None:
        try:
            transport.fetch("f", 0, 1)
        except ReadError as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert asked.wait(60)
    transport.close()
    thread.join(60)
    release.set()
    assert [str(error) for error in caught] == ["the connection was closed"]
    with pytest.raises(ReadError, match="the connection was closed"):
        transport.look("f")


def test_a_proxy_of_the_environment_is_used(web: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    proxied = b"by the proxy"
    web.usual = lambda request: request.send_range(proxied)
    try:
        monkeypatch.setenv("http_proxy", f"http://me:SECRET@127.0.0.1:{web.port}")
        assert connect("http://models.invalid/f").fetch("f", 0, 5).data == proxied[:5]
        assert web.served[0].path == "http://models.invalid/f"
        assert web.served[0].headers["Proxy-Authorization"] == "Basic bWU6U0VDUkVU"
        monkeypatch.setenv("no_proxy", "models.invalid")
        with pytest.raises(ReadError, match=r"^the name models\.invalid does not resolve to an address$"):
            connect("http://models.invalid/f").look("f")
    finally:
        web.usual = web.serve
