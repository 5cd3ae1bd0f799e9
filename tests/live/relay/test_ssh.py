"""A relay behind OpenSSH's own server: logging in, reading, and the sentences where that fails."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import tui_params
from tests.live.attached.conftest import runtime
from tests.servers.sshd import Sshd, sshd
from tui_params import open_source
from tui_params.core.reading.tensor_reading import figures_of
from tui_params.errors import OpenError
from tui_params.live.relay.ssh import COMMAND_VARIABLE, PROGRAM_VARIABLE

__all__ = ["runtime"]


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    if shutil.which("ssh") is None:
        pytest.skip("ssh is not installed")
    with sshd() as found:
        yield found


@pytest.fixture
def log_in(server: Sshd, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Settings of ssh with a host ``Far``; words replace lines of them."""
    known = {"PYTHONPATH": ":".join(sys.path), "XDG_RUNTIME_DIR": str(runtime)}
    words = ["env", *(f"{name}={value}" for name, value in known.items()), sys.executable, "-m", "tui_params"]
    monkeypatch.setenv(COMMAND_VARIABLE, f"echo Welcome; {shlex.join(words)}")
    config = runtime / "config"

    def use(known_hosts: Path = server.known_hosts, key: str = str(server.key)) -> None:
        config.write_text(
            f"Host Far\n  HostName 127.0.0.1\n  Port {server.port}\n  User {server.user}\n  IdentityFile {key}\n"
            f"  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {known_hosts}\n"
        )

    use()
    monkeypatch.setenv(PROGRAM_VARIABLE, f"ssh -F {config}")
    return use


def test_a_model_behind_ssh(log_in: Callable[..., None]) -> None:
    net = nn.Linear(3, 2)
    net.register_buffer("large", torch.arange(2_000_000.0))
    served = tui_params.serve(net, name="far away")
    try:
        with open_source("attach:ssh://Far/far away") as source:
            assert source.read("weight").shape == (2, 3)
            assert source.line is not None
            before = source.line.traffic.nbytes
            assert figures_of(source, source.find("large")).max == 1_999_999
            assert source.line.traffic.nbytes - before < 10_000  # of 8,000,000
            assert torch.equal(torch.from_numpy(source.read("bias")), net.bias.detach())
    finally:
        served.stop()


def test_why_nobody_is_let_in(log_in: Callable[..., None], runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime / "known_hosts").touch()
    log_in(known_hosts=runtime / "known_hosts")
    with pytest.raises(OpenError, match="the key of Far is not known yet: run `ssh Far` once"):
        open_source("attach:ssh://Far")
    log_in(key="none")
    with pytest.raises(OpenError, match="Far accepts none of your keys"):
        open_source("attach:ssh://Far")
    log_in()
    with pytest.raises(OpenError, match="Far does not answer: connection refused"):
        open_source("attach:ssh://Far:1")
    monkeypatch.setenv(COMMAND_VARIABLE, "no-such-tui-params")
    with pytest.raises(OpenError, match="Far has no command 'no-such-tui-params': pip install tui-params there"):
        open_source("attach:ssh://Far")
    monkeypatch.setenv(COMMAND_VARIABLE, f"{sys.executable} -c 'raise SystemExit(\"it broke\")'")
    with pytest.raises(OpenError, match="Far runs no relay: it broke"):
        open_source("attach:ssh://Far")
    monkeypatch.setenv(PROGRAM_VARIABLE, "no-such-ssh")
    with pytest.raises(OpenError, match="no-such-ssh cannot be run: no such file or directory"):
        open_source("attach:ssh://Far")
