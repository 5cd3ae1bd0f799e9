"""A repository of the hub: two requests for its list, then the bytes that are asked for, from wherever it sends us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests.servers.hub import COMMIT, TOKEN, Hub
from tests.servers.scripted import Request
from tests.test_hygiene import ROOT, python
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.sources.remote import hub_tree
from tui_params.sources.remote.address import parse_address
from tui_params.sources.remote.connect import connect
from tui_params.sources.remote.hub import HubTransport
from tui_params.sources.remote.hub_settings import HubSettings
from tui_params.sources.remote.retries import Retries
from tui_params.sources.remote.transport import Entry

SHARD = bytes(range(256)) * 100
CONFIG = b'{"model_type": "llama"}'


def settings(hub: Hub, token: str = "", hint: str = "log in") -> HubSettings:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return HubSettings(hub.front.url, False, headers, hint)


@pytest.fixture
def repository(hub_server: Hub) -> Hub:
    hub_server.files = {"config.json": CONFIG, "a/b/model.safetensors": SHARD, "a/second.bin": SHARD[::-1]}
    return hub_server


def opened(hub: Hub, retries: Retries, address: str = "hf://org/model", token: str = "") -> HubTransport:
    return HubTransport(parse_address(address), retries, settings=settings(hub, token))


def test_one_request_tells_all_files(repository: Hub, retries: Retries) -> None:
    transport = opened(repository, retries)
    digest = sha256(SHARD).hexdigest()
    shard = Entry("model.safetensors", size=25_600, version=digest, digest=digest)
    assert transport.look("a/b/model.safetensors") == shard
    assert transport.entries("a/b") == (shard,)
    assert {entry.name: entry.is_folder for entry in transport.entries("a")} == {"b": True, "second.bin": False}
    assert {entry.name for entry in transport.entries("")} == {"a", "config.json"}
    config = transport.look("config.json")
    assert config.digest is None
    assert config.version is not None
    assert len(config.version) == 40  # the hash of its git blob
    assert transport.look("") == Entry("", is_folder=True)
    assert [each.path for each in repository.front.served] == ["/api/models/org/model/revision/main?blobs=true"]
    assert transport.address == "hf://org/model"


def test_without_sizes_beside_the_commit_the_list_is_asked_for(repository: Hub, retries: Retries) -> None:
    at_once = opened(repository, retries)
    at_once.entries("")
    repository.is_terse = True
    transport = opened(repository, retries)
    for folder in ("", "a", "a/b"):
        assert sorted(transport.entries(folder), key=lambda entry: entry.name) == sorted(
            at_once.entries(folder), key=lambda entry: entry.name
        )
    assert [each.path for each in repository.front.served] == [
        "/api/models/org/model/revision/main?blobs=true",
        "/api/models/org/model/revision/main?blobs=true",
        f"/api/models/org/model/tree/{COMMIT}?recursive=true",
    ]


def test_a_commit_needs_one_request(repository: Hub, retries: Retries) -> None:
    opened(repository, retries, f"hf://org/model@{COMMIT}").entries("")
    assert len(repository.front.served) == 1


def test_other_revisions_and_kinds_have_their_own_addresses(repository: Hub, retries: Retries) -> None:
    opened(repository, retries, "hf://org/model@refs/pr/1").entries("")
    assert repository.front.served[0].path == "/api/models/org/model/revision/refs%2Fpr%2F1?blobs=true"
    with pytest.raises(FileNotFoundError):
        opened(repository, retries, "hf://datasets/org/set").entries("")
    assert repository.front.served[-1].path == "/api/datasets/org/set/revision/main?blobs=true"


def test_long_lists_come_in_pages(repository: Hub, retries: Retries, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.page, repository.is_terse = 2, True
    transport = opened(repository, retries)
    assert len(transport.entries("a")) == 2
    assert len(repository.front.served) == 3
    monkeypatch.setattr(hub_tree, "MOST_ENTRIES", 3)
    with pytest.raises(ReadError, match=r"^org/model@main has more than 3 files$"):
        opened(repository, retries).entries("")


@pytest.mark.parametrize("target", ["{store}/next", "http://[", "ftp://host/", "//127.0.0.1:1/x"])
def test_a_list_does_not_go_on_at_another_host(repository: Hub, retries: Retries, target: str) -> None:
    def elsewhere(request: Request) -> None:
        request.reply(200, {"Link": f'<{target.format(store=repository.store.url)}>; rel="next"'}, b"[]")

    repository.front.script.append(elsewhere)
    with pytest.raises(ReadError, match=r"list go on at another host|only http:// and https://"):
        opened(repository, retries, f"hf://org/model@{COMMIT}").entries("")


def test_names_that_lead_out_are_not_listed(repository: Hub, retries: Retries) -> None:
    names = ["../up.bin", "/absolute.bin", "a/../../up.bin", "a//b.bin", "fine.bin"]
    items = [{"type": "file", "path": name, "oid": "0" * 40, "size": 1} for name in names]
    repository.front.script.append(lambda request: request.reply(200, {}, json.dumps(items).encode()))
    transport = opened(repository, retries, f"hf://org/model@{COMMIT}")
    assert [entry.name for entry in transport.entries("")] == ["fine.bin"]
    with pytest.raises(ReadError, match="leads out"):
        transport.fetch("../up.bin", 0, 1)


def test_bytes_come_from_the_other_host_without_the_token(repository: Hub, retries: Retries) -> None:
    repository.is_private = True
    transport = opened(repository, retries, token=TOKEN)
    piece = transport.fetch("a/b/model.safetensors", 100, 200)
    assert (piece.data, piece.size) == (SHARD[100:200], len(SHARD))
    assert piece.version == transport.look("a/b/model.safetensors").version
    assert all(each.headers["Authorization"] == f"Bearer {TOKEN}" for each in repository.front.served)
    (stored,) = repository.store.served
    assert "Authorization" not in stored.headers
    assert stored.headers["Range"] == "bytes=100-199"
    # Where the redirect led is kept: one request and exactly the bytes.
    asked = len(repository.front.served)
    transport.fetch("a/b/model.safetensors", 0, 50, piece.version)
    assert len(repository.front.served) == asked
    assert [each.nbytes for each in repository.store.served] == [100, 50]


def test_small_files_come_from_the_hub_itself(repository: Hub, retries: Retries) -> None:
    piece = opened(repository, retries).fetch("config.json", 0, 1 << 20)
    assert (piece.data, piece.size) == (CONFIG, len(CONFIG))
    assert repository.store.served == []


def test_nothing_is_asked_for_beyond_the_end(repository: Hub, retries: Retries) -> None:
    transport = opened(repository, retries)
    asked = 1
    assert transport.fetch("config.json", len(CONFIG), len(CONFIG) + 1).data == b""
    assert transport.fetch("config.json", 3, 3).data == b""
    assert len(repository.front.served) == asked


def test_a_signed_address_that_has_expired_is_asked_for_again(
    repository: Hub, retries: Retries, pauses: list[float]
) -> None:
    transport = opened(repository, retries)
    transport.fetch("a/second.bin", 0, 10)
    repository.signature = 2
    assert transport.fetch("a/second.bin", 10, 20).data == SHARD[::-1][10:20]
    assert [each.status for each in repository.store.served] == [206, 403, 206]
    assert pauses == []


def test_another_file_than_the_hub_lists_is_refused(repository: Hub, retries: Retries) -> None:
    transport = opened(repository, retries)
    transport.entries("")
    repository.store.script.append(lambda request: request.send_range(SHARD[:300]))
    with pytest.raises(ReadError, match=r"with 25,600 bytes, and sends another file, of 300 bytes$"):
        transport.fetch("a/second.bin", 0, 10)
    with pytest.raises(SourceChangedError):
        transport.fetch("a/second.bin", 0, 10, "an older commit")


@pytest.mark.parametrize(
    ("address", "token", "kind", "sentence"),
    [
        ("hf://org/absent", "", FileNotFoundError, "has no such repository, or it is private: log in"),
        ("hf://org/model@absent", "", FileNotFoundError, "the repository has no such revision: org/model@absent"),
        ("hf://org/model", "wrong-SECRET", ReadError, r"wants to know who asks for org/model@main \(401\): log in"),
    ],
)
def test_what_the_hub_says_is_said(
    repository: Hub, retries: Retries, address: str, token: str, kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence) as caught:
        opened(repository, retries, address, token).entries("")
    assert "SECRET" not in str(caught.value)


def test_gated_and_absent_files(repository: Hub, retries: Retries) -> None:
    repository.is_gated = True
    transport = opened(repository, retries)
    with pytest.raises(ReadError, match="to those only who have accepted its terms"):
        transport.fetch("a/second.bin", 0, 1)
    with pytest.raises(FileNotFoundError, match=r"^hf://org/model has no absent\.bin$"):
        transport.look("absent.bin")
    for path in ("a", ""):
        with pytest.raises(ReadError, match="is a folder"):
            transport.fetch(path, 0, 1)
    with pytest.raises(ReadError, match="is a file"):
        transport.entries("config.json")


@pytest.mark.parametrize("text", [b"<html>", b"[]", b'{"sha": 5}', b'{"sha": "../../etc"}', b"\xff\xfe"])
def test_a_server_that_is_no_hub(repository: Hub, retries: Retries, text: bytes) -> None:
    repository.front.script.append(lambda request: request.reply(200, {}, text))
    with pytest.raises(ReadError, match=r"does not answer as the Hugging Face Hub does|names no commit"):
        opened(repository, retries).entries("")


def test_a_list_that_failed_is_asked_for_again(repository: Hub, retries: Retries) -> None:
    transport = opened(repository, retries)
    repository.front.script.append(lambda request: request.reply(400, {}))
    with pytest.raises(ReadError, match="answers 400"):
        transport.entries("")
    assert len(transport.entries("a")) == 2


_SETTINGS = """
import json, os, sys
for variables in json.loads(sys.argv[2]):
    os.environ.update(variables)
    # It reads the environment when it is imported.
    sys.modules.pop("huggingface_hub.constants", None)
    if sys.argv[1] == "without":
        sys.modules["huggingface_hub"] = sys.modules["huggingface_hub.constants"] = None
    from tui_params.sources.remote.hub_settings import read_settings
    found = read_settings()
    assert "SECRET" not in repr(found)
    print(found.endpoint, found.is_offline, found.headers.get("Authorization"), found.hint)
    for name in variables:
        del os.environ[name]
"""
_CASES = [
    ({}, "https://huggingface.co False None set HF_TOKEN"),
    ({"HF_TOKEN": " SECRET1\n"}, "https://huggingface.co False Bearer SECRET1 the token of HF_TOKEN"),
    ({"HUGGING_FACE_HUB_TOKEN": "SECRET2"}, "https://huggingface.co False Bearer SECRET2 the token of HUGGING_FACE"),
    ({"HF_HOME": "{home}/hf"}, "https://huggingface.co False Bearer SECRET3 the token of `hf auth login`"),
    ({"HF_HOME": "{home}/hf", "HF_TOKEN": "SECRET1"}, "https://huggingface.co False Bearer SECRET1"),
    ({"HF_TOKEN_PATH": "{home}/hf/token"}, "https://huggingface.co False Bearer SECRET3"),
    ({"HF_HOME": "{home}/hf", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, "https://huggingface.co False None set"),
    (
        {"HF_ENDPOINT": "http://mirror/", "HF_TOKEN": "S"},
        "http://mirror False None the token of HF_TOKEN is sent over https",
    ),
    ({"HF_HUB_OFFLINE": "1"}, "https://huggingface.co True None"),
    ({"TRANSFORMERS_OFFLINE": "yes"}, "https://huggingface.co True None"),
    ({"HF_TOKEN": "SECRET\x1b"}, "https://huggingface.co False None set"),
]


@pytest.mark.parametrize("library", ["with", "without"])
def test_settings_are_those_of_the_library(home: Path, library: str) -> None:
    if library == "with":
        pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    (home / "hf").mkdir()
    (home / "hf" / "token").write_text("SECRET3\n")
    cases = json.dumps([variables for variables, _ in _CASES]).replace("{home}", str(home))
    lines = python(_SETTINGS, library, cases).splitlines()
    assert len(lines) == len(_CASES)
    assert [line[: len(expected)] for line, (_, expected) in zip(lines, _CASES, strict=True)] == [
        expected for _, expected in _CASES
    ]


@pytest.mark.parametrize("endpoint", ["huggingface.co", "ftp://mirror", "http://["])
def test_an_endpoint_that_is_no_web_address(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    # Without the library, which reads the variable when it is imported.
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", None)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(OpenError, match=r"^HF_ENDPOINT is no web address"):
        connect("hf://org/model")


def test_a_hub_that_the_user_has_switched_off_is_not_asked(repository: Hub) -> None:
    with pytest.raises(OpenError, match=r"^hf://org/model is not asked for: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE"):
        HubTransport(parse_address("hf://org/model"), settings=HubSettings(repository.front.url, True, {}, ""))
    assert repository.front.served == []


def test_the_imitation_serves_the_real_client_too(repository: Hub, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    repository.is_private = True
    script = """
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import RepositoryNotFoundError
for each in HfApi().list_repo_tree("org/model", recursive=True):
    print(each.path, each.size, each.lfs.sha256 if each.lfs else None)
with open(hf_hub_download("org/model", "a/second.bin"), "rb") as file:
    print(file.read() == bytes(range(256))[::-1] * 100)
try:
    HfApi(token=False).model_info("org/model")
except RepositoryNotFoundError:
    print("private")
"""
    variables = {"HF_ENDPOINT": repository.front.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, **variables},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert f"a/second.bin 25600 {sha256(SHARD[::-1]).hexdigest()}" in lines
    assert f"config.json {len(CONFIG)} None" in lines
    assert lines[-2:] == ["True", "private"]
