"""Servers on loopback, started when a test first needs them, and a user without credentials of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.hub import Hub, hub
from tests.servers.nginx import Nginx, nginx
from tests.servers.s3 import S3, s3
from tests.servers.scripted import ScriptedServer, scripted_server
from tests.servers.sshd import Sshd, sshd
from tui_params.sources.remote.retries import Retries

_OF_THE_USER = ("AWS_", "GOOGLE_", "AZURE_", "HF_", "HUGGING_FACE_", "SSH_AUTH_SOCK", "NETRC", "XDG_", "TRANSFORMERS_")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and an environment in which nobody is logged in and no proxy is used."""
    import os

    for name in list(os.environ):
        if name.startswith(_OF_THE_USER) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return folder


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that were made, in seconds."""
    return []


@pytest.fixture
def retries(pauses: list[float]) -> Retries:
    """Attempts whose clock moves by their pauses only."""
    return Retries(clock=lambda: sum(pauses), sleep=pauses.append, chance=lambda: 1.0)


@pytest.fixture(scope="session")
def _web() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def web(_web: ScriptedServer) -> ScriptedServer:
    """A web server without files, whose requests are counted and scripted."""
    _web.files.clear()
    _web.served.clear()
    _web.script.clear()
    return _web


@pytest.fixture(scope="session")
def nginx_server() -> Iterator[Nginx]:
    """nginx."""
    with nginx() as server:
        yield server


@pytest.fixture(scope="session")
def ssh_server() -> Iterator[Sshd]:
    """sshd."""
    with sshd() as server:
        yield server


@pytest.fixture(scope="session")
def _s3() -> Iterator[S3]:
    with s3() as server:
        yield server


@pytest.fixture
def s3_server(_s3: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """moto's S3, and the variables that lead there."""
    _s3.served.clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", _s3.url)
    return _s3


@pytest.fixture(scope="session")
def _hub() -> Iterator[Hub]:
    with hub() as server:
        yield server


@pytest.fixture
def hub_server(_hub: Hub) -> Hub:
    """A hub with an empty repository org/model."""
    _hub.reset()
    return _hub
