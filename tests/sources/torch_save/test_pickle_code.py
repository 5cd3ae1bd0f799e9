"""The finding ``pickle-code`` in each container that holds pickles. Every call is harmless, and none is ever run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import tui_params
from tests.factories_damage import Part, read_parts, write_parts
from tests.factories_torch import build_model, lightning_like, save, string, tensor_pickle, torch_zip, train_once
from tui_params.cli.app import run
from tui_params.core.findings import Finding
from tui_params.errors import OpenError
from tui_params.sources.torch_save import inner_pickles
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


def zipped(pickled: bytes, folder: Path) -> bytes:
    """A file of torch.save as bytes."""
    return torch_zip(folder / "inner.pt", pickled).read_bytes()


CALLING = b"\x80\x02" + CALL + b"."


@pytest.mark.parametrize(
    ("name", "is_zip"),
    [
        ("data/sample_inputs/model.pt", True),
        ("data/constants/custom_obj_0", False),
        ("extra/notes.pkl", False),
        ("extra/notes", False),
        ("extra/notes.bin", True),
    ],
)
@pytest.mark.parametrize("form", ["export", "save", "script"])
def test_pickles_beside_the_tensors_are_read_for_calls(tmp_path: Path, form: str, name: str, is_zip: bool) -> None:
    import torch

    path = tmp_path / "x.pt2"
    layer = torch.nn.Linear(2, 2)
    if form == "export":
        torch.export.save(torch.export.export(layer, (torch.ones(1, 2),)), path)
    elif form == "save":
        torch.save(layer.state_dict(), path)
    else:
        torch.jit.script(layer).save(path)
    before = open_torch(path).listing
    assert before.findings == ()
    parts = read_parts(path.read_bytes())
    top = parts[0].name.partition(b"/")[0].decode()
    for code, rules in ((CALLING, ["pickle-code"]), (pickle.dumps({"a": (1, "b")}, 2), [])):
        member = Part(f"{top}/{name}".encode(), zipped(code, tmp_path) if is_zip else code)
        others = [part for part in parts if part.name != member.name]
        path.write_bytes(write_parts([*others, member]))
        listing = open_torch(path).listing
        rest = [finding for finding in listing.findings if finding.rule != "malformed-tensor"]
        assert [finding.rule for finding in rest] == rules
        assert all(NAMED in finding.evidence for finding in rest)
        assert {info.name for info in before.tensors} <= {info.name for info in listing.tensors}


def test_a_zip_that_is_not_opened_tells_what_its_pickles_call(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for members, words in (
        ([Part(b"x/.data/extern_modules", b""), Part(b"x/.data/a.pkl", CALLING)], "is a torch.package archive without"),
        ([Part(b"data.pkl", CALLING)], "with data.pkl at its root"),
        ([Part(b"a.txt", b"hello"), Part(b"b", CALLING)], "and no data.pkl: not a checkpoint"),
        ([Part(b"a.pkl", CALLING)], "is a zip, and 'a' in it cannot be read"),
    ):
        path.write_bytes(write_parts(members))
        with pytest.raises(OpenError) as caught:
            open_torch(path)
        assert words in str(caught.value)
        assert f"; it contains calls that would run in a plain unpickler: {NAMED}" in str(caught.value)


def test_a_packed_pickle_beside_the_tensors(tmp_path: Path) -> None:
    parts = read_parts(torch_zip(tmp_path / "x.pt", TENSOR, {"0": bytes(16)}).read_bytes())
    path = tmp_path / "y.pt"
    path.write_bytes(write_parts([*parts, Part(b"archive/more.pkl", CALLING, 8)]))
    assert NAMED in code(path).evidence


@pytest.mark.parametrize("limit", ["MAX_PICKLES", "MAX_NBYTES", "MAX_STEPS", "MAX_PEEKED"])
def test_pickles_beyond_the_limits_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    parts = read_parts(torch_zip(tmp_path / "x.pt", TENSOR, {"0": bytes(16)}).read_bytes())
    path = tmp_path / "y.pt"
    more = [Part(f"archive/{number}.pkl".encode(), pickle.dumps([number])) for number in range(9)]
    path.write_bytes(write_parts([*parts, *more]))
    assert open_torch(path).listing.findings == ()
    monkeypatch.setattr(inner_pickles, limit, 3)
    (finding,) = open_torch(path).listing.findings
    assert (finding.severity, finding.rule) == ("warning", "pickle-unread")
    assert "pickles inside the archive, first archive/" in finding.evidence


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
