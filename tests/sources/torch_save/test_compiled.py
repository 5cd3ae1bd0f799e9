"""Archives of AOTInductor, packed by torch with the text that its compiler writes, and damaged ones.

Once, models were compiled in all four ways by torch 2.13 on a processor: the values of all weights were equal.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.factories_archives import HASH, blob_of, equal, wrapper_text, write_compiled, write_pickled_weights
from tests.factories_damage import Part, read_parts, write_parts
from tui_params.api.opening import open_source
from tui_params.core.health.checker import check
from tui_params.errors import OpenError, ReadError
from tui_params.sources.torch_save import compiled
from tui_params.sources.torch_save.compiled import parse_constants
from tui_params.sources.torch_save.zip import open_torch

MODEL = "data/aotinductor/model/"
TEXT = f"{MODEL}{HASH}.wrapper.cpp"
BLOB = f"{MODEL}{HASH}.wrapper_weights.blob"
LIBRARY = f"{MODEL}{HASH}.wrapper.so"


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    whole = torch.randn(8, 6)
    return {
        "l1.weight": nn.Parameter(torch.randn(16, 5)),
        "l1.bias": nn.Parameter(torch.randn(3)),
        "turned": torch.randn(4, 9).T,
        "part": whole[2:5],
        "half": torch.randn(7).bfloat16(),
        "steps": torch.arange(3),
        "mask": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
    }


def save(path: Path, tensors: dict[str, torch.Tensor], text: str | None = None, blob: bytes | None = None) -> Path:
    members = {TEXT: (wrapper_text(tensors) if text is None else text).encode(), LIBRARY: b"\x7fELF" + bytes(60)}
    if blob is not None:
        members[BLOB] = blob
    return write_compiled(path, members)


def check_values(path: Path, tensors: dict[str, torch.Tensor], prefix: str = "") -> None:
    with open_source(path) as source:
        assert source.listing.findings == ()
        for name, tensor in tensors.items():
            info = source.find(f"{prefix}{name}")
            assert info.unreadable is None
            assert info.kind == ("parameter" if isinstance(tensor, nn.Parameter) else "buffer")
            assert equal(source.read(f"{prefix}{name}"), tensor), name


def test_weights_in_a_blob(tmp_path: Path) -> None:
    tensors = state()
    path = save(tmp_path / "m.pt2", tensors, blob=blob_of(tensors))
    check_values(path, tensors)
    with open_torch(path) as source:
        assert source.names() == list(tensors)
        assert source.listing.format == "AOTInductor (small constants may be a part of its code)"
        # The bytes that pad a constant are no part of its storage.
        assert source.find("l1.bias").storage_nbytes is None
        assert source.find("part").storage_nbytes == 8 * 6 * 4
        assert source.find("half").dtype.name == "bfloat16"


def test_constants_that_are_folded_have_no_bytes(tmp_path: Path) -> None:
    tensors = state()
    text = wrapper_text(tensors, folded=["turned"])
    path = save(tmp_path / "m.pt2", tensors, text, blob_of(tensors, folded=["turned"]))
    with open_torch(path) as source:
        assert "computed from other constants" in (source.find("turned").unreadable or "")
        assert source.find("turned").shape == (9, 4)
        assert equal(source.read("steps"), tensors["steps"])
        assert source.listing.findings == ()


@pytest.mark.parametrize("change", [-64, -1, 1, 64])
def test_a_blob_of_another_length_is_told(tmp_path: Path, change: int) -> None:
    tensors = state()
    blob = blob_of(tensors)
    blob = blob[:change] if change < 0 else blob + bytes(change)
    with open_torch(save(tmp_path / "m.pt2", tensors, blob=blob)) as source:
        assert "storage-bounds" in [finding.rule for finding in source.listing.findings]
        assert equal(source.read("l1.weight"), tensors["l1.weight"])
        assert (source.find("scalar").unreadable is None) == (change >= -1)


@pytest.mark.parametrize(
    ("is_included", "words"),
    [(True, "compiled into the model's library (.so)"), (False, "given to the model when it is loaded")],
)
def test_weights_that_are_in_no_member_are_listed(tmp_path: Path, is_included: bool, words: str) -> None:
    tensors = state()
    path = save(tmp_path / "m.pt2", tensors, wrapper_text(tensors, is_included=is_included))
    with open_torch(path) as source:
        assert source.names() == list(tensors)
        assert all(words in (info.unreadable or "") for info in source)
        assert [info.shape for info in source] == [tuple(tensor.shape) for tensor in tensors.values()]
        assert source.listing.findings == ()
        report = check(source)
        assert (report.status, report.findings) == ("unchecked", ())


def test_weights_pickled_one_by_one(tmp_path: Path) -> None:
    tensors = state()
    check_values(write_pickled_weights(tmp_path / "m.pt2", {"model": tensors}), tensors)


def test_several_models_share_weights(tmp_path: Path) -> None:
    whole = torch.randn(8, 6)
    one, two = {"w": whole, "row": whole[1]}, {"w": whole, "own": torch.ones(3)}
    path = write_pickled_weights(tmp_path / "m.pt2", {"one": one, "two": two})
    check_values(path, {"one.w": whole, "one.row": whole[1], "two.w": whole, "two.own": two["own"]})
    with open_torch(path) as source:
        assert source.find("two.w").tied_to == "one.w"


def test_a_program_and_a_compiled_model_in_one_archive(tmp_path: Path) -> None:
    from torch.export.pt2_archive._package import package_pt2

    layer = nn.Linear(3, 2)
    folder = tmp_path / "files"
    folder.mkdir()
    text = folder / f"{HASH}.wrapper.cpp"
    text.write_text(wrapper_text(state(), is_included=True))
    path = tmp_path / "m.pt2"
    program = torch.export.export(layer, (torch.ones(1, 3),))
    package_pt2(str(path), exported_programs={"model": program}, aoti_files={"model": [str(text)]})
    with open_torch(path) as source:
        assert equal(source.read("weight"), layer.weight)
        assert source.find("aotinductor.l1.weight").unreadable is not None
        assert source.listing.format.startswith("torch.export and AOTInductor")
        assert source.listing.findings == ()


def altered(path: Path, changes: dict[bytes, bytes | None]) -> Path:
    """The archive with other members: by the end of a name its bytes, or None to leave it out."""
    parts: list[Part] = []
    for part in read_parts(path.read_bytes()):
        end = next((end for end in changes if part.name.endswith(end)), None)
        data = part.data if end is None else changes[end]
        if data is not None:
            parts.append(Part(part.name, data))
    path.write_bytes(write_parts(parts))
    return path


def test_weights_that_are_missing_or_broken(tmp_path: Path) -> None:
    tensors = state()
    path = altered(
        write_pickled_weights(tmp_path / "m.pt2", {"model": tensors}),
        {b"/weight_0": None, b"/weight_1": b"PK\3\4 and no more", b"/weight_2": b"raw bytes"},
    )
    with open_torch(path) as source:
        lost = {info.name: info.unreadable or "" for info in source if info.unreadable}
        assert "is not in the archive" in lost["l1.weight"]
        assert "the zip directory" in lost["l1.bias"]
        assert "no torch.save zip" in lost["turned"]
        assert equal(source.read("part"), tensors["part"])
        assert "malformed-tensor" in [finding.rule for finding in source.listing.findings]


@pytest.mark.parametrize(
    "config",
    [b"", b"[]", b'{"w": 3}', b'{"w": ["weight_0", [1], [1]]}', b'{"w": ["weight_0", [1], [1.5], 0]}', b"\xff"],
)
def test_a_list_that_is_no_list(tmp_path: Path, config: bytes) -> None:
    path = write_pickled_weights(tmp_path / "m.pt2", {"model": state()})
    with pytest.raises(OpenError, match=r"weights_config\.json is not the JSON that it should be"):
        open_torch(altered(path, {b"/weights_config.json": config}))


@pytest.mark.parametrize("file", ["../../../etc/passwd", "/etc/passwd", "", "..", "weight_0\0", "\x1b[31m"])
def test_paths_of_a_list_lead_nowhere_else(tmp_path: Path, file: str) -> None:
    path = write_pickled_weights(tmp_path / "m.pt2", {"model": {"w": torch.ones(3)}})
    config = json.dumps({"x": [file, [1], [1], 0]}).encode()
    with open_torch(altered(path, {b"/weights_config.json": config, b".cpp": b""})) as source:
        assert "is not in the archive" in (source.find("x").unreadable or "")
        assert "\x1b" not in (source.find("x").unreadable or "")


def test_views_outside_their_storage(tmp_path: Path) -> None:
    path = write_pickled_weights(tmp_path / "m.pt2", {"model": {"w": torch.ones(3)}})
    config = json.dumps({"x": ["weight_0", [1 << 40], [1], 0], "y": ["weight_0", [2], [1], -1]}).encode()
    with open_torch(altered(path, {b"/weights_config.json": config, b".cpp": b""})) as source:
        assert all(info.unreadable is not None for info in source)
        assert {finding.severity for finding in source.listing.findings} == {"error"}


def test_code_in_a_weight_is_told_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return print, ("it ran",)

    buffer = io.BytesIO()
    torch.save({"x": Runs()}, buffer)
    # Loaded from this archive, they are unpickled whether a list names them or not.
    for end in (b"/weight_0", b"/weight_1"):
        path = write_pickled_weights(tmp_path / f"{end[-1:].decode()}.pt2", {"model": {"w": torch.ones(3)}})
        top = read_parts(path.read_bytes())[0].name.partition(b"/")[0]
        parts = [part for part in read_parts(path.read_bytes()) if not part.name.endswith(end)]
        path.write_bytes(write_parts([*parts, Part(top + b"/data/weights" + end, buffer.getvalue())]))
        with open_torch(path) as source:
            (finding,) = [found for found in source.listing.findings if found.rule == "pickle-code"]
            assert "builtins.print('it ran')" in finding.evidence
    assert capsys.readouterr().out == ""


def test_only_so_many_weights_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MAX_WEIGHTS", 2)
    path = write_pickled_weights(tmp_path / "m.pt2", {"model": state()})
    with open_torch(path) as source:
        assert sum(info.unreadable is None for info in source) == 2
        assert "one of more than 2" in (source.find("scalar").unreadable or "")


def archives(tmp_path: Path) -> Iterator[Path]:
    tensors = {"w": nn.Parameter(torch.ones(2, 3)), "b": torch.ones(3)}
    yield save(tmp_path / "blob.pt2", tensors, blob=blob_of(tensors))
    yield write_pickled_weights(tmp_path / "pickle.pt2", {"model": tensors})


def test_any_truncation_is_told_and_any_change_is_borne(tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    for archive in archives(tmp_path):
        data = archive.read_bytes()
        for size in range(4, len(data), 11):
            path.write_bytes(data[:size])
            with pytest.raises(OpenError):
                open_torch(path)
        for place in range(0, len(data), 23):
            path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
            with suppress(OpenError):
                source = open_torch(path)
                for info in source.listing.tensors:
                    with suppress(ReadError):
                        source.read(info.name)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("shape = {2, x};", None),
        ("shape = 2;", None),
        ("data_size = -1;", None),
        ("offset = 1e9;", None),
        ('original_fqn = "";', "w"),
        ("original_fqn = nothing;", "w"),
        ('original_fqn = "other";', "other"),
    ],
)
def test_text_that_no_compiler_wrote(line: str, words: str | None) -> None:
    text = wrapper_text({"w": torch.ones(2)}) + f"    constants_info_[0].{line}\n"
    assert [constant.name for constant in parse_constants(text)] == ([] if words is None else [words])


def test_constants_of_one_name_are_kept_apart() -> None:
    lines = wrapper_text({"w": torch.ones(2)})
    assert len({constant.name for constant in parse_constants(lines + lines.replace("[0]", "[1]"))}) == 2


def test_a_layout_of_one_dnn_is_not_read(tmp_path: Path) -> None:
    tensors = {"w": torch.ones(4)}
    text = wrapper_text(tensors).replace("cached_torch_layout_strided", "cached_torch_layout__mkldnn")
    with open_torch(save(tmp_path / "m.pt2", tensors, text, blob_of(tensors))) as source:
        assert "kept in the layout _mkldnn" in (source.find("w").unreadable or "")
        assert source.find("w").shape == (4,)


def test_a_weight_of_a_program_that_is_pickled(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    layer = nn.Linear(3, 2)
    torch.export.save(torch.export.export(layer, (torch.ones(1, 3),)), path)
    parts = {part.name: part.data for part in read_parts(path.read_bytes())}
    (name,) = [name for name in parts if name.endswith(b"_weights_config.json")]
    config = json.loads(parts[name])
    config["config"]["weight"]["use_pickle"] = True
    buffer = io.BytesIO()
    torch.save(layer.weight, buffer)
    weight = config["config"]["weight"]["path_name"].encode()
    altered(path, {b"_weights_config.json": json.dumps(config).encode(), b"/" + weight: buffer.getvalue()})
    with open_torch(path) as source:
        assert equal(source.read("weight"), layer.weight)
        assert equal(source.read("bias"), layer.bias)
        assert [finding for finding in source.listing.findings if finding.severity == "error"] == []


def test_a_folder_with_a_compiled_model(tmp_path: Path) -> None:
    tensors = {"w": torch.ones(2, 3)}
    (tmp_path / "model").mkdir()
    save(tmp_path / "model" / "m.pt2", tensors, blob=blob_of(tensors))
    with open_source(tmp_path / "model") as source:
        assert equal(source.read(source.names()[0]), tensors["w"])
