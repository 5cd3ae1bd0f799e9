"""A host behind SSH: the settings, keys and known hosts of the user, and reads of exactly the bytes."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.servers.nginx import free_port
from tests.servers.scripted import ScriptedServer
from tests.servers.sshd import Sshd
from tui_params.errors import ReadError, SourceChangedError
from tui_params.sources.remote.address import parse_address
from tui_params.sources.remote.connect import connect
from tui_params.sources.remote.deadline import Limits
from tui_params.sources.remote.transport import Entry

pytest.importorskip("asyncssh", reason="asyncssh is not installed")

DATA = bytes(range(256)) * 4000


@pytest.fixture
def logged_in(ssh_server: Sshd, home: Path) -> Sshd:
    """A user whose ~/.ssh names the host ``far``, its key, and a key that it accepts."""
    folder = home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "known_hosts").write_text(ssh_server.known_hosts.read_text())
    config = (
        f"Host far\n  HostName 127.0.0.1\n  Port {ssh_server.port}\n  User {ssh_server.user}\n"
        f"  IdentityFile {ssh_server.key}\n"
    )
    (folder / "config").write_text(config)
    return ssh_server


def opened(host: str = "far", limits: Limits | None = None) -> Any:
    from tui_params.sources.remote.by_ssh import SshTransport

    return SshTransport(parse_address(f"ssh://{host}/"), limits)


def relative(path: Path) -> str:
    """A path as a Transport takes it."""
    return str(path).lstrip("/")


def test_a_file_is_read_by_ranges(logged_in: Sshd, tmp_path: Path) -> None:
    path = tmp_path / "a b.bin"
    path.write_bytes(DATA)
    transport = connect("ssh://far/")
    assert transport.address == "ssh://far"
    status = path.stat()
    version = f"{int(status.st_mtime)}, {len(DATA)} bytes"
    seconds = int(status.st_mtime)
    expected = Entry("a b.bin", size=len(DATA), version=version, modified_ns=seconds * 10**9)
    assert transport.look(relative(path)) == expected
    piece = transport.fetch(relative(path), 1000, 900_000, version)
    assert (piece.data, piece.size, piece.version) == (DATA[1000:900_000], len(DATA), version)
    assert transport.fetch(relative(path), len(DATA) - 10, len(DATA) + 10).data == DATA[-10:]
    assert transport.fetch(relative(path), len(DATA), len(DATA) + 10).data == b""
    assert transport.fetch(relative(path), 5, 5).data == b""
    transport.close()
    with pytest.raises(ReadError, match=r"^the connection was closed$"):
        transport.look(relative(path))


def test_one_connection_serves_many_threads(logged_in: Sshd, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(DATA)
    before = logged_in.log.read_text().count("Accepted publickey")
    transport = opened()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda at: transport.fetch(relative(path), at, at + 100).data, range(0, 3200, 100)))
    transport.close()
    assert b"".join(found) == DATA[:3200]
    assert logged_in.log.read_text().count("Accepted publickey") in (before, before + 1)


def test_folders_are_listed_with_what_links_lead_to(logged_in: Sshd, tmp_path: Path) -> None:
    (tmp_path / "run" / "sub").mkdir(parents=True)
    (tmp_path / "run" / "f").write_bytes(DATA)
    (tmp_path / "run" / "link").symlink_to("f")
    (tmp_path / "run" / "down").symlink_to("sub")
    (tmp_path / "run" / "nowhere").symlink_to("absent")
    transport = opened()
    found = {entry.name: (entry.is_folder, entry.size) for entry in transport.entries(relative(tmp_path / "run"))}
    assert found.pop("nowhere")[0] is False
    assert found == {
        "sub": (True, None), "f": (False, len(DATA)), "link": (False, len(DATA)), "down": (True, None)
    }  # fmt: skip
    assert transport.look(relative(tmp_path / "run")).is_folder
    with pytest.raises(ReadError, match="is a folder"):
        transport.fetch(relative(tmp_path), 0, 1)
    with pytest.raises(FileNotFoundError, match="has no"):
        transport.entries(relative(tmp_path / "absent"))
    assert transport.look("").is_folder
    # The home of the user is a tilde.
    assert transport.look("~").is_folder
    with pytest.raises(FileNotFoundError, match=r"^far has no ~/absent-file-of-the-test$"):
        transport.look("~/absent-file-of-the-test")
    for path in ("~/../x", "../x", "a//b"):
        with pytest.raises(ReadError, match="leads out"):
            transport.look(path)
    transport.close()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_changes_is_told(logged_in: Sshd, tmp_path: Path, is_replaced: bool) -> None:
    path = tmp_path / "f"
    path.write_bytes(DATA)
    transport = opened()
    version = transport.fetch(relative(path), 0, 10).version
    other = tmp_path / "other" if is_replaced else path
    other.write_bytes(DATA[::-1])
    os.utime(other, (1, 1))
    if is_replaced:
        other.replace(path)
    with pytest.raises(SourceChangedError, match=r"f was changed on far after it was opened; open it again$"):
        transport.fetch(relative(path), 0, 10, version)
    # Who does not ask for the old one gets the new one, whole.
    assert transport.fetch(relative(path), 0, 10).data == DATA[::-1][:10]
    transport.close()


def test_a_lost_connection_is_made_anew(logged_in: Sshd, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(DATA)
    transport = opened()
    transport.fetch(relative(path), 0, 10)
    before = logged_in.log.read_text().count("Accepted publickey")
    done = threading.Event()

    def lose() -> None:
        transport._session.connection._transport.close()
        done.set()

    transport._loop.call_soon_threadsafe(lose)
    assert done.wait(60)
    assert transport.fetch(relative(path), 10, 20).data == DATA[10:20]
    assert logged_in.log.read_text().count("Accepted publickey") == before + 1
    transport.close()


def test_an_unknown_key_of_the_host_is_refused(logged_in: Sshd, home: Path) -> None:
    (home / ".ssh" / "known_hosts").write_text("")
    with pytest.raises(
        ReadError, match=r"^far shows a key that is not the one in ~/\.ssh/known_hosts.*run `ssh far` once"
    ):
        opened().look("")
    with pytest.raises(ReadError, match=rf"run `ssh -p {logged_in.port} 127\.0\.0\.1` once"):
        opened(f"127.0.0.1:{logged_in.port}").look("")


def test_a_user_without_a_key_is_refused(logged_in: Sshd, home: Path) -> None:
    config = home / ".ssh" / "config"
    settings = config.read_text()
    # A key, but not one that the user may log in with.
    config.write_text(settings.replace(str(logged_in.key), str(logged_in.key.with_name("host_key"))))
    with pytest.raises(ReadError, match=r"^far accepts none of your keys: `ssh far` must work without a password$"):
        opened().look("")
    config.write_text(settings.replace(str(logged_in.key), str(home / "absent")))
    with pytest.raises(
        ReadError, match=r"^far is not asked: .*/absent of your SSH settings cannot be read: no such file"
    ):
        opened().look("")


def test_hosts_that_cannot_be_reached(home: Path, web: ScriptedServer) -> None:
    with pytest.raises(ReadError, match=r"^127\.0\.0\.1 accepts no connection on that port$"):
        opened(f"127.0.0.1:{free_port()}").look("")
    with pytest.raises(
        ReadError, match=r"^nobody\.invalid cannot be reached|^the name nobody\.invalid does not resolve"
    ):
        opened("nobody.invalid").look("")
    with pytest.raises(ReadError, match=r"^(its files of )?127\.0\.0\.1 "):
        opened(f"127.0.0.1:{web.port}").look("")


def test_a_host_that_says_nothing_is_not_waited_for(home: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        transport = opened(f"127.0.0.1:{port}", Limits(connect=0.2, silence=0.2, whole=0.5))
        with pytest.raises(ReadError, match=r"let nobody in within 0\.2 s$"):
            transport.look("")
        transport.close()


def test_closing_ends_what_waits(home: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        transport = opened(f"127.0.0.1:{silent.getsockname()[1]}")
        caught: list[str] = []

        def ask() -> None:
            try:
                transport.look("")
            except ReadError as error:
                caught.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        connection, _ = silent.accept()
        transport.close()
        thread.join(60)
        connection.close()
    assert caught == ["the connection was closed"]
