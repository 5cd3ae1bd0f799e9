"""Whole checkpoints by their addresses, from real servers that count what they send."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.servers.hub import TOKEN, Hub
from tests.servers.nginx import Nginx
from tests.servers.s3 import S3
from tests.servers.scripted import ScriptedServer
from tests.servers.sshd import Sshd
from tests.test_hygiene import python
from tui_params.api.checking import check
from tui_params.api.opening import open_source
from tui_params.errors import OpenError
from tui_params.sources.remote import mounting
from tui_params.sources.remote.hub_settings import HubSettings

SHARDS = 4


@pytest.fixture(autouse=True)
def nothing_mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mounting, "_MOUNTED", {})
    monkeypatch.setenv("TUI_PARAMS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Four shards with their index; the headers are longer than what detection looks at."""
    folder = tmp_path / "model"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    weight_map: dict[str, str] = {}
    for number in range(SHARDS):
        name = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        part = {
            f"layers.{number}.block.{index}.weight": torch.randn(40, 160, generator=generator) for index in range(20)
        }
        save_file(part, folder / name)
        os.chmod(folder / name, 0o644)
        weight_map |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def header_nbytes(folder: Path) -> int:
    """The bytes of the index and of all headers."""
    index = (folder / "model.safetensors.index.json").stat().st_size
    return index + sum(
        8 + int.from_bytes(path.read_bytes()[:8], "little") for path in folder.glob("model-*.safetensors")
    )


def shards_of(paths: list[str]) -> list[str]:
    return [path for path in paths if "-of-" in path]


def walk(address: str, folder: Path, counted: Callable[[], int], more: int = 0) -> None:
    """List, look at a window, and check everything, with what the server sent each time; ``more`` is beside files."""
    name = "layers.2.block.7.weight"
    with open_source(folder) as here, open_source(address) as there:
        assert there.line is not None
        assert there.line.address in address
        assert there.listing.tensors == here.listing.tensors
        assert counted() - more <= 1.1 * header_nbytes(folder)
        before = counted()
        np.testing.assert_array_equal(there.read(name, "3:5"), here.read(name, "3:5"))
        assert counted() - before == 2 * 160 * 4
        before = counted()
        assert there.summarize(name) == here.summarize(name)
        assert counted() - before <= 1.05 * 40 * 160 * 4
        ours, theirs = check(here), check(there)
        assert (theirs.findings, theirs.checked, theirs.unchecked) == (ours.findings, ours.checked, ())
        total = sum(path.stat().st_size for path in folder.iterdir())
        assert counted() - more <= total


def test_a_web_server(nginx_server: Nginx, model: Path) -> None:
    place = nginx_server.root / "walk"
    place.symlink_to(model)
    first = len(nginx_server.served())

    def sent() -> int:
        return sum(nbytes for _, _, status, nbytes in nginx_server.served()[first:] if status == 206)

    walk(f"{nginx_server.url}/walk/", model, sent)
    asked = shards_of([path for _, path, _, _ in nginx_server.served()[first:]])
    assert (
        len(asked) <= 2 * SHARDS + SHARDS + 5
    )  # a listing, what is left of each shard, and around the window and the tensor


def test_a_bucket(s3_server: S3, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSECRET")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
    s3_server.put("walked")
    for path in model.iterdir():
        s3_server.put(f"walked/run/model/{path.name}", path.read_bytes())
    s3_server.served.clear()

    def sent() -> int:
        return sum(nbytes for method, _, query, nbytes in s3_server.served if method == "GET" and "list" not in query)

    walk("s3://walked/run/model", model, sent)


def test_a_host_behind_ssh(ssh_server: Sshd, home: Path, model: Path) -> None:
    folder = home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "known_hosts").write_text(ssh_server.known_hosts.read_text())
    (folder / "config").write_text(
        f"Host far\n  HostName 127.0.0.1\n  Port {ssh_server.port}\n  User {ssh_server.user}\n"
        f"  IdentityFile {ssh_server.key}\n"
    )
    address = f"ssh://far{model}"
    mounts = mounting._MOUNTED
    walk(address, model, lambda: sum(mount.traffic.nbytes for mount in mounts.values()))


def test_a_hub(hub_server: Hub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_server.files = {path.name: path.read_bytes() for path in model.iterdir()}
    hub_server.is_private = True
    asks = HubSettings(hub_server.front.url, False, {"Authorization": f"Bearer {TOKEN}"}, "log in")
    monkeypatch.setattr("tui_params.sources.remote.hub.read_settings", lambda: asks)

    def sent() -> int:
        return sum(mount.traffic.nbytes for mount in mounting._MOUNTED.values())

    walk("hf://org/model", model, sent)
    before = len(hub_server.front.served)
    with open_source("hf://org/model") as again:
        assert len(again.listing.tensors) == SHARDS * 20
    # Its commit with the list of its files; all headers are kept by their digests.
    assert len(hub_server.front.served) - before == 1


def test_what_is_kept_is_not_fetched_by_another_process(nginx_server: Nginx, model: Path, tmp_path: Path) -> None:
    (nginx_server.root / "kept").symlink_to(model)
    script = (
        "import sys\n"
        "from tui_params.api.opening import open_source\n"
        "with open_source(sys.argv[1]) as source:\n"
        "    source.read('layers.1.block.3.weight')\n"
        "    print(source.line.traffic.nbytes)\n"
    )
    sent = [int(python(script, f"{nginx_server.url}/kept/")) for _ in range(2)]
    index = (model / "model.safetensors.index.json").stat().st_size
    assert sent[0] == header_nbytes(model) + 40 * 160 * 4
    # The first bytes of each file tell its version anew; the rest is kept.
    assert sent[1] == SHARDS * 1024 + min(index, 1024)


def test_nothing_secret_is_said(nginx_server: Nginx, model: Path) -> None:
    (nginx_server.root / "secret").symlink_to(model)
    host = nginx_server.url.removeprefix("http://")
    name = "model-00001-of-00004.safetensors"
    with open_source(f"http://me:pass-word@{host}/secret/{name}?X-Signature=sig-nature") as source:
        assert len(source.listing.tensors) == 20
        assert source.line is not None
        said = [repr(source), source.label, source.line.address, *map(repr, source.listing.tensors)]
    with pytest.raises(OpenError) as error:
        open_source(f"http://me:pass-word@{host}/secret/absent?X-Signature=sig-nature")
    said.append(str(error.value))
    assert not [text for text in said if "pass-word" in text or "sig-nature" in text]


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("hf://org/absent", r"/absent cannot be opened: \S+ has no such repository, or it is private: log in$"),
        ("hf://org/model@v9", r"^\S+/model@v9 cannot be opened: the repository has no such revision: org/model@v9$"),
        ("hf://org/model/absent", r"^no such file or folder: hf://org/model/absent$"),
    ],
)
def test_what_the_hub_says_of_a_repository_reaches_the_user(
    hub_server: Hub, monkeypatch: pytest.MonkeyPatch, address: str, sentence: str
) -> None:
    hub_server.reset()
    asks = HubSettings(hub_server.front.url, False, {}, "log in")
    monkeypatch.setattr("tui_params.sources.remote.hub.read_settings", lambda: asks)
    with pytest.raises(OpenError, match=sentence):
        open_source(address)


def test_a_bucket_is_called_by_its_address(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ENDPOINT_URL", s3_server.url), ("ACCESS_KEY_ID", "AKID"), ("SECRET_ACCESS_KEY", "SECRET")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(OpenError, match=r"^s3://absent/x cannot be opened: there is no bucket s3://absent$"):
        open_source("s3://absent/x")
    s3_server.put("hollow")
    with pytest.raises(OpenError, match=r"^s3://hollow holds no tensor file: looked for \*\.safetensors"):
        open_source("s3://hollow")


def test_a_web_folder_without_usual_names_asks_for_the_address_of_a_file(web: ScriptedServer) -> None:
    web.files["/run/step.pt"] = b"x"
    with pytest.raises(OpenError, match=rf"^{web.url}/run has no file of a usual name \(.*: give the address of one$"):
        open_source(f"{web.url}/run/")


def test_the_address_of_a_file_on_this_disk_is_its_path(model: Path) -> None:
    with open_source(f"file://{model.parent}/mod%65l") as source:
        assert len(source.listing.tensors) == SHARDS * 20
        assert source.line is None
