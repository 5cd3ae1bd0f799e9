"""What the commands say of a source elsewhere: how much they fetched, and no secret of its address."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.factories_remote import FolderTransport, mounted
from tui_params.api.timelines import steps_of
from tui_params.cli.app import run
from tui_params.cli.fetched import say_fetched
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_one_line_for_each_server_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"w": torch.ones(500, 500)}, tmp_path / "x.safetensors")
    with mounted(FolderTransport(tmp_path)) as path, open_path(path / "x.safetensors") as there:
        here = open_path(tmp_path / "x.safetensors")
        there.read("w")
        for stream, said in ((Terminal(), "977 KiB fetched from test://server/models\n"), (io.StringIO(), "")):
            monkeypatch.setattr("sys.stderr", stream)
            say_fetched(there, here, there)
            assert stream.getvalue() == said


def test_the_documents_name_an_address_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"w": torch.ones(3)}, tmp_path / "x.safetensors")
    monkeypatch.setattr(
        "tui_params.api.opening.open_source", lambda target, **options: open_path(tmp_path / "x.safetensors")
    )
    given = "https://user:word@host.invalid/x.safetensors?X-Signature=abc"
    for arguments in (["ls"], ["stats"], ["check"], ["diff", given]):
        assert run([arguments[0], given, *arguments[1:], "--json"]) in (0, 3)
        out, err = capsys.readouterr()
        document = json.loads(out)
        assert document.get("source", document.get("a")) == "https://host.invalid/x.safetensors"
        assert "abc" not in out + err
        assert "word" not in out + err


def test_a_run_that_is_none_is_named_without_secrets() -> None:
    with pytest.raises(OpenError) as caught:
        steps_of("ftp://user:word@host.invalid/run?sig=abc")
    assert "word" not in str(caught.value)
    assert "abc" not in str(caught.value)
