"""The finding ``pickle-code`` in each container that holds pickles. Every call is harmless, and none is ever run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import tui_params
from tests.factories_torch import build_model, lightning_like, save, string, tensor_pickle, torch_zip, train_once
from tui_params.cli.app import run
from tui_params.core.findings import Finding
from tui_params.errors import OpenError
from tui_params.sources.torch_save.legacy import MAGIC
from tui_params.sources.torch_save.zip import open_torch

CALL = b"cbuiltins\nprint\n" + string("hi") + b"\x85R"
NAMED = "builtins.print('hi')"
HEAD: list[Any] = [MAGIC, 1001, {"little_endian": True}]
TENSOR = b"\x80\x02}" + string("w") + tensor_pickle() + b"s."


def code(path: Path) -> Finding:
    (found,) = [found for found in open_torch(path).listing.findings if found.rule == "pickle-code"]
    return found


def legacy(*pickles: bytes) -> bytes:
    return b"".join(pickle.dumps(value, 2) for value in HEAD) + b"".join(pickles)


def load_bytes(data: bytes) -> bytes:
    blob = b"B" + len(data).to_bytes(4, "little") + data
    return b"\x80\x03ctorch.storage\n_load_from_bytes\n" + blob + b"\x85R0N."


BEHIND = TENSOR + b"\x80\x02" + CALL + b"."
FILES: dict[str, bytes] = {
    "a pickle behind the first": b"\x80\x02N." + b"\x80\x02" + CALL + b".",
    "a pickle behind the second, cut off": b"\x80\x02N.N." + b"\x80\x02" + CALL,
    "a legacy stream, in the object": legacy(b"\x80\x02" + CALL + b".", pickle.dumps([], 2)),
    "a legacy stream, in the list of storages": legacy(b"\x80\x02N.", b"\x80\x02" + CALL + b"0]."),
    "a legacy stream, in a list of storages that is cut off": legacy(b"\x80\x02N.", b"\x80\x02" + CALL),
    "a storage that is pickled inside": load_bytes(legacy(b"\x80\x02" + CALL + b".", pickle.dumps([], 2))),
    "a storage that is pickled inside, cut off": load_bytes(legacy(b"\x80\x02" + CALL)),
}


@pytest.mark.parametrize("name", FILES)
def test_every_pickle_of_a_file_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(FILES[name])
    found = code(path)
    assert found.severity == "error"
    assert NAMED in found.evidence


def test_bytes_that_cannot_be_followed_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(load_bytes(b"PK\x03\x04 a zip"))
    assert "torch.storage._load_from_bytes(10 bytes)" in code(path).evidence
    torch_zip(tmp_path / "x.pt", load_bytes(legacy(b"\x80\x02N.", pickle.dumps([], 2))))
    assert "torch.storage._load_from_bytes(" in code(tmp_path / "x.pt").evidence


def test_the_tensors_are_listed_beside_the_finding(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "x.pt", BEHIND, {"0": bytes(16)})
    assert NAMED in code(path).evidence
    assert open_torch(path).read("w").tolist() == [0, 0, 0, 0]


def test_constants_of_torchscript(tmp_path: Path) -> None:
    from tests.factories_torch import stored_zip

    members = [("a/data.pkl", TENSOR), ("a/constants.pkl", b"\x80\x02" + CALL + b"."), ("a/data/0", bytes(16))]
    assert NAMED in code(stored_zip(tmp_path / "x.pt", members)).evidence


def test_a_broken_pickle_tells_what_it_called_before(tmp_path: Path) -> None:
    with pytest.raises(OpenError, match=r"before the fault it calls builtins\.print\('hi'\), and nothing was run here"):
        open_torch(torch_zip(tmp_path / "x.pt", b"\x80\x02" + CALL + b"\xff"))
    path = tmp_path / "x.pkl"
    path.write_bytes(CALL + b"\xff")
    with pytest.raises(OpenError, match=r"before the fault it calls builtins\.print"):
        open_torch(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_in_a_bare_pickle_are_no_code(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(build_model().state_dict(), protocol))
    assert open_torch(path).listing.findings == ()


@pytest.mark.parametrize("legacy_format", [False, True], ids=["zip", "legacy"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_honest_checkpoints_hold_objects_at_most(tmp_path: Path, legacy_format: bool) -> None:
    import torch

    model = build_model()
    optimizer = train_once(model)
    whole = torch.nn.Sequential(torch.nn.TransformerEncoderLayer(8, 2, 16), torch.nn.Conv2d(1, 1, 3), torch.nn.SiLU())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    values = {
        "lightning": lightning_like(),
        "loop": {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()},
        "objects": {"model": whole, "optimizer": optimizer, "scheduler": scheduler},
        "types": [torch.bfloat16, torch.device("cuda:0"), torch.Size([1]), torch.sparse_coo],
    }
    for name, value in values.items():
        path = save(tmp_path / f"{name}.pt", value, _use_new_zipfile_serialization=not legacy_format)
        rules = {(found.severity, found.rule) for found in open_torch(path).listing.findings}
        assert rules <= {("info", "pickle-classes")}


def test_the_command_the_library_and_json_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(torch_zip(tmp_path / "x.pt", BEHIND, {"0": bytes(16)}))
    assert run(["check", path, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    (found,) = [found for found in document["findings"] if found["rule"] == "pickle-code"]
    assert (document["status"], found["severity"]) == ("findings", "error")
    assert NAMED in found["evidence"]
    run(["check", path])
    assert NAMED in capsys.readouterr().out
    run(["check", path, "--markdown"])
    assert "pickle-code" in capsys.readouterr().out
    assert found["evidence"] in [found.evidence for found in tui_params.check(path).findings]
