from __future__ import annotations

import gzip
import io
import os
import socket
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.factories_safetensors import small_file
from tui_params.errors import OpenError, TuiParamsError, UnknownFormatError
from tui_params.sources.detect import open_path


def test_dispatch_is_by_bytes_and_not_by_the_name(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3)}, tmp_path / "model.pt")
    torch.save({"a": torch.arange(3)}, tmp_path / "model.safetensors")
    torch.save({"a": torch.arange(3)}, tmp_path / "legacy.json", _use_new_zipfile_serialization=False)
    for name, form in (("model.pt", "safetensors"), ("model.safetensors", "torch.save zip"), ("legacy.json", "torch")):
        source = open_path(tmp_path / name)
        assert source.listing.format.startswith(form)
        assert source.label == name
        np.testing.assert_array_equal(source.read("a"), [0, 1, 2])
    assert open_path(str(tmp_path / "model.pt")).find("a").shape == (3,)


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").write_bytes(small_file())
    assert open_path("~/x").label == "x"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere/x", "no such file or folder: nowhere/x"),
        ("", "the path is empty"),
        ("a\0b", r"a\\x00b is not a valid path"),
        ("a\nb\x1b[31m", r"no such file or folder: a\\x0ab\\x1b\[31m"),
        ("~no-such-user-here/x", "is not a valid path"),
        ("x" * 5000, "file name too long"),
    ],
)
def test_paths_that_lead_nowhere(tmp_path: Path, path: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OpenError, match=words):
        open_path(path)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("Qwen/Qwen3-0.6B", "; a model of the Hugging Face Hub is written hf://Qwen/Qwen3-0.6B"),
        ("hf:/org/model", "; an address is written hf://…"),
        ("HTTPS:host/x.pt", "; an address is written https://…"),
        ("s3:/bucket/x", "; an address is written s3://…"),
        ("runs/model.safetensors", ""),
        ("here/model", ""),
        ("runs/1/model", ""),
        ("/runs/model", ""),
        ("model", ""),
        ("c:/model", ""),
    ],
)
def test_what_may_have_been_meant(tmp_path: Path, path: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    with pytest.raises(OpenError) as raised:
        open_path(path)
    assert str(raised.value) == f"no such file or folder: {Path(path)}{hint}"


def test_a_path_through_a_file_and_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OpenError, match="no such file or folder"):
        open_path(tmp_path / "file" / "x")
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(OpenError, match="is a symbolic link to gone, which does not exist"):
        open_path(tmp_path / "link")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OpenError, match="symbolic link"):
        open_path(tmp_path / "loop")


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OpenError, match=r"fifo is a named pipe \(FIFO\)"):
        open_path(tmp_path / "fifo")
    with pytest.raises(OpenError, match="/dev/null is a device"):
        open_path("/dev/null")
    if len(str(tmp_path / "s")) < 100:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "s"))
            with pytest.raises(OpenError, match="s is a socket"):
                open_path(tmp_path / "s")


@pytest.mark.parametrize("function", ["stat", "open"])
def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(small_file())
    real = getattr(os, function)

    def refuse(target: object, *more: object, **named: object) -> object:
        if str(target) == str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(target, *more, **named)

    monkeypatch.setattr(os, function, refuse)
    with pytest.raises(OpenError, match=r"secret cannot be opened: permission denied$"):
        open_path(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_no_permission_for_real(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(small_file())
    path.chmod(0)
    with pytest.raises(OpenError, match="permission denied"):
        open_path(path)


def test_an_input_output_error_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> bytes:
        raise OSError(5, "Input/output error")

    (tmp_path / "x").write_bytes(small_file())
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(OpenError, match="x cannot be read: input/output error"):
        open_path(tmp_path / "x")


def tar(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return buffer.getvalue()


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            # Without a date of its own a member has that of now, and every worker would name the test differently.
            archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(b"abc", mtime=0), "is compressed with gzip: decompress it first"),
        (tar("a.txt"), "is a tar archive: unpack it first"),
        (b"\n <!DOCTYPE HTML><title>404", "is a web page, not a checkpoint: the download failed"),
        (b"<?xml version='1.0'?><Error>", "XML document"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "run git lfs pull"),
        (b'{"a": 1}', "is a JSON document"),
        (b"\x08\x06\x12\x04abcd\xb2\x1f\x02ab", "is a model of Core ML"),
        (b"\x08\x01\x12\x04abcd", "is the graph of a TensorFlow SavedModel"),
        (
            bytes(4096) + b"\0\0\x80?" * 1000,
            r"starts with zeros, and other bytes follow \(7.91 KiB in all\)",
        ),
        (b'<?xml version="1.0"?>\n<net name="m" version="11"></net>', "is the graph of an OpenVINO model"),
        (b"lmgg" + bytes(40), "is a model of ggml from before GGUF"),
        (b"tjgg\3\0\0\0" + bytes(40), "is a model of ggml from before GGUF"),
        (b"24ka\1\0\0\0" + bytes(300), "is a model of llama2.c"),
        (b"\x1c\0\0\0ET12" + bytes(40), "is a program of ExecuTorch"),
        (b"\x0c\xdb\x3a\x2a" + bytes(40), "is the list of keys of an OCDBT store"),
        (b"\3\0\0\0\2".ljust(64, b"\0") + b"\xef\xbe\xad\xde" + bytes(60), "is the file of weights of a package"),
        (struct.pack("<IH", 6, 16) + b"TransformerSpec\0" + bytes(60), "is a model of CTranslate2"),
        (b"\x82\xa4step\x03\xa6params\x81\xa1w\xc7\x10\x01" + bytes(16), "is a tree of arrays of flax"),
        (b"\x82\xa4step\x03\xa6params\xc0", "in no format that is known here"),
        (bytes(100) + (0xDB4775248B80FB57).to_bytes(8, "little"), "index of a TensorFlow checkpoint"),
        (bytes(5000), r"starts with zeros \(4.88 KiB in all\)"),
        (b"\x7fELF\2\1\1" + bytes(30), "compiled program"),
        (b"\1\2\3", r"in no format that is known here \(3 B, the first bytes are 01 02 03\)"),
        (b"some text or other\n", "in no format that is known here"),
        (zipped(a="b"), "not a checkpoint"),
    ],
)
def test_other_files_are_recognised_and_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(UnknownFormatError, match=words) as caught:
        open_path(path)
    assert str(caught.value).startswith("model.safetensors ")


@pytest.mark.parametrize(("words", "numel", "is_told"), [(10, 316, True), (-10, 356, True), (10, 317, False)])
def test_a_model_of_llama2c_without_a_head(tmp_path: Path, words: int, numel: int, is_told: bool) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(struct.pack("<7i", 4, 6, 2, 2, 1, words, 8) + bytes(4 * numel))
    due = "is a model of llama2.c" if is_told else "in no format that is known here"
    with pytest.raises(UnknownFormatError, match=due):
        open_path(path)


def test_tensors_of_paddle_one_by_one(tmp_path: Path) -> None:
    path, head = tmp_path / "x.pdiparams", bytes(16)
    one = head + b"\4\0\0\0\x08\5\x10\2" + b"\0\0\x80?" * 2
    packed = head + b"\5\0\0\0\x08\3\x12\1\2" + bytes(16)
    for data in (one, one + packed, 2 * packed):
        path.write_bytes(data)
        with pytest.raises(UnknownFormatError, match="is a row of tensors as Paddle writes them one by one"):
            open_path(path)
    unknown = head + b"\4\0\0\0\x08\x3f\x10\2" + b"\0\0\x80?" * 2
    for data in (one[:-1], one + b"\1", one + one[:30], unknown, head + b"\4\0\0\0\xff\xff\xff\xff"):
        path.write_bytes(data)
        with pytest.raises(UnknownFormatError, match=r"starts with zeros|no format that is known"):
            open_path(path)


def test_old_tar_files_of_torch_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(tar("sys_info"))
    with pytest.raises(OpenError, match="torch"):
        open_path(tmp_path / "x")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "x.pt").touch()
    with pytest.raises(OpenError, match=r"^x.pt is empty \(0 bytes\)$"):
        open_path(tmp_path / "x.pt")


def test_a_damaged_safetensors_file_is_still_called_so(tmp_path: Path) -> None:
    damaged = bytearray(small_file())
    damaged[7] = 0xFF
    (tmp_path / "x").write_bytes(damaged)
    with pytest.raises(OpenError, match="is not a safetensors file, or is damaged: its first 8 bytes announce"):
        open_path(tmp_path / "x")


@settings(max_examples=300)
@given(
    start=st.sampled_from(
        [
            b"",
            b"PK\3\4",
            b"PK\5\6",
            b"\x80\2",
            b"\x80\5",
            b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
            b"GGUF",
            b"\x08",
            b"<",
            b"{",
        ]
    ),
    rest=st.binary(max_size=80),
)
def test_any_bytes_give_a_source_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(start + rest)
    try:
        source = open_path(path)
    except TuiParamsError as error:
        sentence = str(error)
    else:
        sentence = source.label
        source.close()
    assert sentence
    assert sentence.isprintable()


def test_truncated_and_mutated_checkpoints_of_torch(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(4.0)}, buffer)
    whole = np.frombuffer(buffer.getvalue(), np.uint8)
    generator = np.random.default_rng(3)
    path = tmp_path / "x"
    for case in range(600):
        mutant = whole.copy()
        if case % 2:
            mutant = mutant[: generator.integers(0, len(mutant))]
        else:
            mutant[generator.integers(0, len(mutant), 3)] = generator.integers(0, 256, 3)
        path.write_bytes(mutant.tobytes())
        try:
            source = open_path(path)
            for info in source.listing.tensors:
                source.read(info.name)
        except TuiParamsError as error:
            sentence = str(error)
            assert sentence.isprintable()


@pytest.mark.parametrize("name", ["x.nemo", "x.tar.gz", "x.TGZ"])
def test_a_tar_with_gzip_says_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(tar("model_weights.ckpt"), mtime=0))
    with pytest.raises(
        UnknownFormatError, match=r"compressed with gzip: unpack it \(tar -xzf\) and open the checkpoint"
    ):
        open_path(tmp_path / name)


def test_a_snapshot_of_torchsnapshot_is_named(tmp_path: Path) -> None:
    (tmp_path / ".snapshot_metadata").write_text("version: 0.1.0")
    save_file({"a": torch.ones(1)}, tmp_path / "beside.safetensors")
    with pytest.raises(OpenError, match="is a snapshot of torchsnapshot; this format cannot be opened yet"):
        open_path(tmp_path)


def test_weights_of_openvino_are_told_by_the_graph_beside_them(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_bytes(b'<?xml version="1.0"?><net name="m" version="11"></net>')
    (tmp_path / "m.bin").write_bytes(bytes(4096) + b"\1\2\3\4" * 100)
    with pytest.raises(UnknownFormatError, match="is the file of weights of the OpenVINO model"):
        open_path(tmp_path / "m.bin")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("saved_model.pb", "is a TensorFlow SavedModel"),
        ("Data/com.apple.CoreML/model.mlmodel", r"is a package of Core ML \(.mlpackage\)"),
        ("_CHECKPOINT_METADATA", r"is a checkpoint of Orbax \(jax\)"),
        ("manifest.ocdbt", r"is a checkpoint of Orbax \(jax\)"),
    ],
)
def test_folders_of_other_formats_are_named(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(OpenError, match=words):
        open_path(tmp_path)


def test_an_archive_of_torchserve_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.mar", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m.pt", "x")
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
    with pytest.raises(
        OpenError, match=r"a TorchServe archive \(.mar\), and 'm' in it cannot be read: it is compressed"
    ):
        open_path(tmp_path / "m.mar")
