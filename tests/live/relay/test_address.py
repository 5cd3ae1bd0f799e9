"""Addresses of other machines, the command line of ssh, and what its failures mean."""

from __future__ import annotations

import pytest

from tui_params.errors import OpenError
from tui_params.live.relay.address import Host, is_far, parse_far
from tui_params.live.relay.ssh import COMMAND_VARIABLE, PROGRAM_VARIABLE, command_of, meaning


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the user has said about their own hosts."""
    for name in (COMMAND_VARIABLE, PROGRAM_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "host", "which"),
    [
        ("ssh://Node7", Host("Node7"), ""),
        ("ssh://node7/", Host("node7"), ""),
        ("ssh://ann@node7:2222/4242", Host("node7", "ann", 2222), "4242"),
        ("ssh://node7/run%207%2C8/a", Host("node7"), "run 7,8/a"),
        ("SSH://[::1]:22/x", Host("::1", "", 22), "x"),
        ("ssh://10.0.0.7/run 7", Host("10.0.0.7"), "run 7"),
    ],
)
def test_addresses(text: str, host: Host, which: str) -> None:
    assert is_far(text)
    assert parse_far(text) == (host, which)
    assert parse_far(host.text) == (host, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ssh://", "names no host"),
        ("ssh:///4242", "names no host"),
        ("ssh://-oProxyCommand=x/1", "names no host"),
        ("ssh://-l@host", "names no host"),
        ("ssh://ho st", "names no host"),
        ("ssh://host:99999", "no valid host or port"),
        ("ssh://a:secret@host", "takes no password"),
    ],
)
def test_what_is_no_address(text: str, words: str) -> None:
    with pytest.raises(OpenError) as raised:
        parse_far(text)
    assert words in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROGRAM_VARIABLE, raising=False)
    monkeypatch.delenv(COMMAND_VARIABLE, raising=False)
    line = command_of(Host("node7", "ann", 2222))
    assert line[0] == "ssh"
    assert "BatchMode=yes" in line
    assert line[-7:] == ["-p", "2222", "-l", "ann", "--", "node7", "tui-params relay"]
    monkeypatch.setenv(PROGRAM_VARIABLE, "ssh -F 'my config'")
    monkeypatch.setenv(COMMAND_VARIABLE, "/opt/venv/bin/tui-params")
    line = command_of(Host("node7"))
    assert line[:3] == ["ssh", "-F", "my config"]
    assert line[-3:] == ["--", "node7", "/opt/venv/bin/tui-params relay"]


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (
            127,
            "bash: line 1: tui-params: command not found",
            "has no command 'tui-params': pip install",
        ),
        (255, "Host key verification failed.", "is not known yet: run `ssh -p 22 ann@node7` once"),
        (
            255,
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "shows another key than the one in known_hosts",
        ),
        (255, "ssh: Could not resolve hostname node7: Name or service not known", "there is no host node7"),
        (255, "ann@node7: Permission denied (publickey).", "accepts none of your keys"),
        (255, "ssh: connect to host node7 port 22: Connection refused", "node7 does not answer: connection refused"),
        (2, "Usage: tui-params\n\nError: No command 'relay'. The commands are ls", "it is another version"),
        (3, "warning\ntui-params: it broke\n", "node7 runs no relay: tui-params: it broke"),
        (1, "", "node7 runs no relay (exit status 1)"),
        (None, "", "node7 does not answer"),
    ],
)
def test_what_failures_mean(status: int | None, said: str, words: str) -> None:
    sentence = meaning(Host("node7", "ann", 22), status, said)
    assert words in sentence
    assert "\n" not in sentence
