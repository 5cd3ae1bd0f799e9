"""Tars with checkpoints in them: read where they lie, whole, cut short and hostile."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_params.core.health.checker import check
from tui_params.errors import OpenError, ReadError, TuiParamsError, UnknownFormatError
from tui_params.sources.detect import open_path

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def saved(**tensors: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def tar_of(form: int = tarfile.GNU_FORMAT, /, **members: bytes) -> bytes:
    """A tar of these members; ``__`` in a name is a dot."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members.items():
            info = tarfile.TarInfo("./" + name.replace("__", "."))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


WEIGHTS = {"encoder.weight": torch.arange(6.0).reshape(2, 3), "decoder.bias": torch.ones(4)}
CONFIG = b"sample_rate: 16000\ntarget: nemo.EncDecCTCModel\nencoder:\n  layers: 3\n# a: remark\n"


@pytest.mark.parametrize("form", FORMATS)
def test_a_model_of_nemo(tmp_path: Path, form: int) -> None:
    path = tmp_path / "x.nemo"
    path.write_bytes(tar_of(form, model_config__yaml=CONFIG, model_weights__ckpt=saved(**WEIGHTS), vocab__txt=b"a"))
    source = open_path(path)
    assert source.listing.format == "NeMo checkpoint"
    assert source.names() == ["encoder.weight", "decoder.bias"]
    np.testing.assert_array_equal(source.read("encoder.weight"), WEIGHTS["encoder.weight"].numpy())
    assert source.listing.metadata == {
        "model_config.sample_rate": "16000",
        "model_config.target": "nemo.EncDecCTCModel",
    }
    file, offset = source.file_range(source.find("decoder.bias")) or ("", 0)
    assert (file, path.read_bytes()[offset : offset + 16]) == ("x.nemo", np.ones(4, "<f4").tobytes())
    assert check(source).status == "ok"


@pytest.mark.parametrize("form", FORMATS[1:])
def test_long_names(tmp_path: Path, form: int) -> None:
    name = "a/" * 90 + "model_weights__ckpt"
    (tmp_path / "x").write_bytes(tar_of(form, **{name: saved(w=torch.ones(1)), "other__pt": saved(w=torch.ones(2))}))
    assert open_path(tmp_path / "x").names() == ["model_weights.w", "other.w"]


def test_several_checkpoints_have_their_names(tmp_path: Path) -> None:
    members = {f"tp_rank_0{rank}/model_weights__ckpt": saved(w=torch.full((2,), float(rank))) for rank in (0, 1)}
    (tmp_path / "x.nemo").write_bytes(tar_of(**members, notes__pkl=b"\x80\x02N."))
    source = open_path(tmp_path / "x.nemo")
    assert source.listing.format == "tar of 3 checkpoints"
    np.testing.assert_array_equal(source.read("tp_rank_01/model_weights.ckpt.w"), [1, 1])
    assert "no torch.save zip" in (source.find("notes").unreadable or "")
    assert check(source).status == "unchecked"


def test_what_holds_no_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(tar_of(a__txt=b"a"))
    with pytest.raises(UnknownFormatError, match="x is a tar archive: unpack it first"):
        open_path(tmp_path / "x")
    (tmp_path / "x").write_bytes(tar_of(**{"weights/__0_0__distcp": b"a", "weights/__metadata": b"a"}))
    with pytest.raises(UnknownFormatError, match="DCP"):
        open_path(tmp_path / "x")
    (tmp_path / "x").write_bytes(tar_of(w__ckpt=b"no zip"))
    with pytest.raises(OpenError, match=r"x is a tar, and 'w' in it cannot be read: it is no torch\.save zip"):
        open_path(tmp_path / "x")


def test_one_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "x.nemo"
    data = tar_of(model_weights__ckpt=saved(**WEIGHTS), z__ckpt=saved(z=torch.zeros(4000)))
    path.write_bytes(data)
    begin = open_path(path).find("z.z").offset or 0
    os.truncate(path, begin + 100)
    source = open_path(path)
    assert [(finding.severity, finding.rule) for finding in source.listing.findings] == [("error", "bad-archive")]
    assert source.read("model_weights.decoder.bias").tolist() == [1, 1, 1, 1]
    with pytest.raises(ReadError, match="truncated"):
        source.read("z")


def test_sizes_that_no_file_has(tmp_path: Path) -> None:
    data = bytearray(tar_of(model_weights__ckpt=saved(w=torch.ones(1)), z__txt=b"z"))
    for place in range(512, len(data), 512):
        if data[place : place + 7] == b"./z.txt":
            data[place + 124 : place + 136] = b"\x80" + b"\xff" * 11
            total = sum(data[place : place + 148]) + 8 * 32 + sum(data[place + 156 : place + 512])
            data[place + 148 : place + 156] = b"%06o\0 " % total
    (tmp_path / "x").write_bytes(data)
    source = open_path(tmp_path / "x")
    assert source.names() == ["w"]
    assert source.listing.findings[0].evidence.startswith("it is truncated: z.txt ends at byte")


WHOLE = tar_of(model_config__yaml=CONFIG, model_weights__ckpt=saved(**WEIGHTS))


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(WHOLE)),
)
def test_damaged_ones_raise_nothing_but_our_errors(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    path = tmp_path_factory.mktemp("tar") / "x.nemo"
    path.write_bytes(data[: max(cut, 600)])
    try:
        source = open_path(path)
    except TuiParamsError:
        return
    for info in source.listing.tensors:
        with suppress(TuiParamsError):
            source.read(info.name)
