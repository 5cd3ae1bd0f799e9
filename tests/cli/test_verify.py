"""``tui-params check --verify``: the files of the hub, in text, JSON and Markdown, and the exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tests.cli.conftest import Ran
from tests.factories_hub import download, sha256, store

Cli = Callable[..., Ran]

WEIGHTS = save({"fc.weight": np.random.default_rng(0).normal(size=(8, 8))})
DIGEST = sha256(WEIGHTS)


def test_a_verified_file(cli: Cli, tmp_path: Path) -> None:
    path = store(tmp_path / "models--a--b", "model.safetensors", WEIGHTS)
    ran = cli("check", str(path), "--verify")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[2:] == [
        "1 file verified",
        f"  model.safetensors  verified: SHA-256 {DIGEST[:12]}… (the name of its blob in the cache)",
        "",
        "1 tensor checked, 0 could not be checked, 1 file verified, no findings",
    ]
    ran = cli("check", str(path), "--verify", "--json")
    assert (ran.code, ran.json()["status"]) == (0, "ok")
    assert ran.json()["files"] == [
        {
            "file": "model.safetensors",
            "state": "verified",
            "algorithm": "sha256",
            "expected": DIGEST,
            "actual": DIGEST,
            "reason": "the name of its blob in the cache",
        }
    ]
    assert cli("check", str(path), "--json").json()["files"] == []


def test_a_file_that_is_not_that_of_the_hub(cli: Cli, tmp_path: Path) -> None:
    path = download(tmp_path, "model.safetensors", WEIGHTS, etag=64 * "a")
    where = ".cache/huggingface/download/model.safetensors.metadata"
    words = f"its SHA-256 is {DIGEST}, but {64 * 'a'} on the hub ({where})"
    ran = cli("check", str(path), "--verify")
    assert ran.code == 1
    assert f"  model.safetensors  digest: it is not the file of the hub: {words}" in ran.out.splitlines()
    assert "1 file not that of the hub" in ran.out.splitlines()
    assert ran.out.splitlines()[-1] == "1 tensor checked, 0 could not be checked, 1 file not that of the hub"
    ran = cli("check", str(path), "--verify", "--json")
    assert (ran.code, ran.json()["status"], ran.json()["files"][0]["actual"]) == (1, "findings", DIGEST)
    table = cli("check", str(path), "--verify", "--markdown").out
    assert f"| error | digest | model.safetensors | it is not the file of the hub: {words} |" in table
    assert table.count(DIGEST) == 1


@pytest.mark.parametrize("form", [(), ("--json",), ("--markdown",)])
def test_a_file_without_a_digest_is_not_verified(form: tuple[str, ...], cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(WEIGHTS)
    ran = cli("check", str(path), "--verify", *form)
    assert ran.code == 3
    if not form:
        assert "1 file not verified" in ran.out.splitlines()
        assert "  model.safetensors  not verified: no digest of it is known: it is no file of the " in ran.out
        assert ran.out.splitlines()[-1].endswith("1 file not verified, no findings in what was read")
    else:
        assert ran.err == f"tui-params: {path}: 1 file could not be verified\n"
    if form == ("--json",):
        assert (ran.json()["status"], ran.json()["unchecked"]) == ("unchecked", [])
    if form == ("--markdown",):
        assert "| not verified |  | model.safetensors | no digest of it is known" in ran.out
