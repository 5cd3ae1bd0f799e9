"""OpenSSH's server on loopback, with keys made for it, and the home of a user who may log in."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers.nginx import find_server, free_port, wait_for

_CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile {folder}/sshd.pid
Subsystem sftp {sftp}
"""
_SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")


class Sshd(NamedTuple):
    """A server of all files of this machine, by SFTP. ``known_hosts`` has its key, ``key`` is one that it accepts."""

    port: int
    user: str
    known_hosts: Path
    key: Path
    log: Path


@contextmanager
def sshd() -> Iterator[Sshd]:
    """sshd inside a ``with``."""
    program = find_server("sshd")
    sftp = next((path for path in _SFTP_SERVERS if os.path.exists(path)), None)
    if sftp is None or shutil.which("ssh-keygen") is None:
        pytest.skip("sftp-server or ssh-keygen is not installed")
    if os.geteuid() == 0:
        # Where sshd is root it separates privileges, in an empty folder of this name.
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sshd") as name:
        folder = Path(name)
        for key in ("host_key", "user_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)],
                check=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        port = free_port()
        (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
        host_key = (folder / "host_key.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
        (folder / "sshd_config").write_text(_CONFIGURATION.format(port=port, folder=folder, sftp=sftp))
        process = subprocess.Popen(
            [program, "-D", "-f", f"{name}/sshd_config", "-E", f"{name}/log"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_for(process, port)
            yield Sshd(port, getpass.getuser(), folder / "known_hosts", folder / "user_key", folder / "log")
        finally:
            process.terminate()
            process.wait()
