"""Distributed checkpoints that are unfinished, torn, overwritten, in part lost, or made to mislead."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from tests.factories_dcp import Cut, by_rank, edit_metadata, rows, save_distributed
from tui_params.api.checking import check
from tui_params.core.source import Source
from tui_params.errors import OpenError, ReadError
from tui_params.sources.detect import open_path

WHOLE = torch.arange(1.0, 13.0).reshape(6, 2)


def save_rows(tmp_path: Path) -> Path:
    return by_rank(save_distributed(tmp_path / "ck", {"w": rows(WHOLE, 3)}, single_file_per_rank=False))


def rules(source: Source) -> list[tuple[str, str]]:
    return [(finding.severity, finding.rule) for finding in source.listing.findings]


def assert_never_healthy(path: Path) -> None:
    with open_path(path) as source:
        assert check(source).status != "ok"


def test_a_missing_file_is_told_and_the_other_rows_are_read(tmp_path: Path) -> None:
    folder = save_rows(tmp_path)
    (folder / "__1_0.distcp").unlink()
    with open_path(folder) as source:
        assert rules(source) == [("error", "missing-shard")]
        (finding,) = source.listing.findings
        assert finding.evidence.endswith("__1_0.distcp; by the metadata, 1 piece is in it")
        assert source.read("w", "[:2]").tolist() == WHOLE[:2].tolist()
        with pytest.raises(ReadError, match="the piece of w at byte 0 cannot be read: no such file"):
            source.read("w")
    assert_never_healthy(folder)


def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    folder = save_rows(tmp_path)
    path = folder / "__1_0.distcp"
    path.write_bytes(path.read_bytes()[:-1])
    with open_path(folder) as source:
        assert rules(source) == [("error", "storage-bounds")]
        with pytest.raises(ReadError, match="overwritten by a later save, or is torn"):
            source.read("w")


def test_a_piece_that_a_later_save_overwrote(tmp_path: Path) -> None:
    folder = save_rows(tmp_path)
    other = by_rank(
        save_distributed(tmp_path / "other", {"w": rows(WHOLE.reshape(4, 3), 2)}, single_file_per_rank=False)
    )
    (folder / "__1_0.distcp").write_bytes((other / "__1_0.distcp").read_bytes())
    with (
        open_path(folder) as source,
        pytest.raises(ReadError, match=r"f32 \[2, 3\] where the metadata say f32 \[2"),
    ):
        source.read("w")
    assert_never_healthy(folder)


def test_a_hole_is_told_from_a_piece_that_is_lost(tmp_path: Path) -> None:
    boxes = [((0, 0), (2, 2)), ((4, 0), (2, 2))]
    folder = save_distributed(tmp_path / "ck", {"w": Cut.of(WHOLE, boxes)}, single_file_per_rank=False)
    with open_path(folder) as source:
        assert rules(source) == [("warning", "missing-piece")]
        assert source.find("w").notes == ("8 of 12 elements stored",)
        assert source.read("w", "[4:]").tolist() == WHOLE[4:].tolist()
        with pytest.raises(ReadError, match="no piece of w has 4 elements"):
            source.read("w")
    with open_path(by_rank(folder)) as source:
        # Several ranks: torch compares the volumes then, so that this cannot be meant.
        assert rules(source) == [("error", "missing-piece")]
    assert_never_healthy(folder)


def test_pieces_that_overlap_are_not_read(tmp_path: Path) -> None:
    folder = save_rows(tmp_path)

    def overlap(metadata: Any) -> None:
        metadata.state_dict_metadata["w"].chunks[1].sizes = torch.Size([3, 2])

    edit_metadata(folder, overlap)
    with open_path(folder) as source:
        assert rules(source)[0] == ("error", "piece-overlap")
        with pytest.raises(ReadError, match=r"overlap: \[2:5, 0:2\] and \[4:6, 0:2\] of \[6, 2\]"):
            source.read("w")


def finish_nothing(folder: Path) -> None:
    (folder / ".metadata").rename(folder / ".metadata.tmp")


def begin_again(folder: Path) -> None:
    (folder / ".metadata.tmp").write_bytes(b"")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (finish_nothing, "its saving did not finish: .metadata.tmp is there, and .metadata is not"),
        (begin_again, "a later save into this folder did not finish (.metadata.tmp is there too)"),
    ],
)
def test_an_unfinished_save_whose_metadata_can_be_read(
    tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    folder = save_rows(tmp_path)
    change(folder)
    with open_path(folder) as source:
        assert rules(source) == [("error", "unfinished-save")]
        assert source.listing.findings[0].evidence.startswith(words)
        assert source.read("w").tolist() == WHOLE.tolist()
    assert_never_healthy(folder)


@pytest.mark.parametrize("left", [b"", b"\x80\x04\x95"])
def test_an_unfinished_save_without_metadata_shows_its_pieces(tmp_path: Path, left: bytes) -> None:
    folder = save_rows(tmp_path)
    (folder / ".metadata").unlink()
    if left:
        (folder / ".metadata.tmp").write_bytes(left)
    with open_path(folder) as source:
        assert rules(source)[0] == ("error", "unfinished-save")
        assert source.names() == [f"__{rank}_0.piece_0" for rank in range(3)]
        assert source.read("__1_0.piece_0").tolist() == WHOLE[2:4].tolist()
    assert_never_healthy(folder)


def test_one_file_by_itself(tmp_path: Path) -> None:
    folder = save_rows(tmp_path)
    with open_path(folder / "__1_0.distcp") as source:
        assert source.find("w").notes == ("the local part of a tensor of shape [6, 2]: [2:4, 0:2]",)
        assert source.read("w").tolist() == WHOLE[2:4].tolist()
        assert rules(source) == [("info", "local-shapes")]
    value = {"a": torch.ones(2), "step": 4, "b": WHOLE}
    path = save_distributed(tmp_path / "other", value) / "__0_0.distcp"
    alone = path.rename(tmp_path / "alone.distcp")
    with open_path(alone) as source:
        assert source.names() == ["piece_1", "piece_2"]
        assert source.listing.metadata["piece_0"] == "4"
        assert source.read("piece_2").tolist() == WHOLE.tolist()
    content = alone.read_bytes()
    alone.write_bytes(b"?" * 100 + content)
    with open_path(alone) as source:
        assert rules(source) == [("info", "local-shapes"), ("error", "bad-shard")]
    for bad, words in ((content[:-1], "no archive of torch.save ends"), (b"\x28\xb5\x2f\xfd" + content, None)):
        alone.write_bytes(bad)
        if words:
            with pytest.raises(OpenError, match=words):
                open_path(alone)
    alone.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(50))
    with pytest.raises(OpenError, match="compressed with zstd"):
        open_path(alone)


def test_another_file_named_metadata_is_no_distributed_checkpoint(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "model.pt")
    (tmp_path / ".metadata").write_text("{}")
    assert open_path(tmp_path).names() == ["a"]
    (tmp_path / ".metadata").unlink()
    (tmp_path / ".metadata").mkdir()
    assert open_path(tmp_path).names() == ["a"]


def test_metadata_elsewhere_say_what_they_are(tmp_path: Path) -> None:
    folder = save_rows(tmp_path)
    (folder / ".metadata").rename(tmp_path / "list.pkl")
    with pytest.raises(OpenError, match="not under the name that it has in the folder of one"):
        open_path(tmp_path / "list.pkl")


# Metadata of somebody who means harm


@pytest.mark.parametrize("name", ["../secret.distcp", "/etc/passwd", "a/b.distcp", "..", "", "x\0y", "a\\b"])
def test_no_file_outside_the_folder_is_opened(tmp_path: Path, name: str) -> None:
    folder = save_distributed(tmp_path / "ck", {"w": torch.ones(2), "step": 1})
    (tmp_path / "secret.distcp").write_bytes((folder / "__0_0.distcp").read_bytes())

    def lead_away(metadata: Any) -> None:
        for info in metadata.storage_data.values():
            info.relative_path = name

    edit_metadata(folder, lead_away)
    with open_path(folder) as source:
        assert ("error", "outside-folder") in rules(source)
        with pytest.raises(ReadError, match="none outside the folder is opened"):
            source.read("w")


def test_many_tensors_in_one_window_are_not_read_many_times(tmp_path: Path) -> None:
    value = {f"w{number}": torch.ones(1000) for number in range(8)}
    folder = save_distributed(tmp_path / "ck", value)

    def pile_up(metadata: Any) -> None:
        for info in metadata.storage_data.values():
            info.offset = 0

    edit_metadata(folder, pile_up)
    # The last window is as long as the file, so that they claim more bytes than there are.
    edit_metadata(folder, lambda metadata: setattr(next(iter(metadata.storage_data.values())), "length", 40_000))
    with open_path(folder) as source:
        found = [finding for finding in source.listing.findings if finding.rule == "storage-bounds"]
        assert len(found) == 7
        assert "where another one is too" in found[0].evidence or "which has" in found[0].evidence
        for finding in found:
            with pytest.raises(ReadError):
                source.read(finding.tensor or "")


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, (f"open({str(self.path)!r}, 'w')",)


def test_code_in_the_metadata_is_named_and_not_run(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", {"w": torch.ones(2)})
    ran = tmp_path / "ran"
    (folder / ".metadata").write_bytes(pickle.dumps({"x": Malicious(ran)}))
    with open_path(folder) as source:
        assert ("error", "pickle-code") in rules(source)
        assert "builtins.eval" in "".join(finding.evidence for finding in source.listing.findings)
    (folder / "__0_0.distcp").unlink()
    with pytest.raises(OpenError, match="is no list of the tensors of a distributed checkpoint"):
        open_path(folder)
    assert not ran.exists()


def change_shape(metadata: Any) -> None:
    metadata.state_dict_metadata["w"].size = torch.Size([1 << 40, 1 << 20])


def change_chunk(metadata: Any) -> None:
    metadata.state_dict_metadata["w"].chunks[0].sizes = torch.Size([7, 2])


def change_window(metadata: Any) -> None:
    next(iter(metadata.storage_data.values())).length = 1 << 61


def lose_places(metadata: Any) -> None:
    metadata.storage_data = {}


def lose_chunks(metadata: Any) -> None:
    metadata.state_dict_metadata["w"].chunks = 5


def lose_size(metadata: Any) -> None:
    metadata.state_dict_metadata["w"].size = None


@pytest.mark.parametrize(
    "change",
    [change_shape, change_chunk, change_window, lose_places, lose_chunks, lose_size],
    ids=lambda each: each.__name__,
)
def test_what_cannot_be_true_is_told(tmp_path: Path, change: Callable[[Any], None]) -> None:
    folder = save_rows(tmp_path)
    edit_metadata(folder, change)
    with open_path(folder) as source:
        assert "error" in {finding.severity for finding in source.listing.findings}
        for name in source.names():
            with pytest.raises(ReadError):
                list(source.blocks(source.find(name)))


def read_all(folder: Path) -> None:
    """Open it and read everything; raises OpenError, or ReadError for the first tensor that cannot be read."""
    with open_path(folder) as source:
        for info in source:
            for _ in source.blocks(info):
                pass


def test_metadata_that_are_truncated_anywhere(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", {"w": rows(WHOLE, 3), "step": 1})
    path = folder / ".metadata"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with open_path(folder) as source:
            # The pieces are there all the same, but they are never taken for the whole.
            assert {rule for _, rule in rules(source)} & {"unfinished-save", "piece-list"}
            assert "w" not in source


def test_a_file_that_is_truncated_anywhere(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", {"w": rows(WHOLE, 2), "step": 1})
    path = folder / "__0_0.distcp"
    whole = path.read_bytes()
    for length in range(0, len(whole), 11):
        path.write_bytes(whole[:length])
        with pytest.raises(ReadError):
            read_all(folder)


NUMBER = int(os.environ.get("TUI_PARAMS_FUZZ_DCP", "300"))


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_damaged_files_raise_nothing_but_our_own_errors_fuzz(tmp_path: Path, name: str) -> None:
    value = {"w": rows(WHOLE, 3), "b": torch.ones(3).bfloat16(), "pair": (torch.ones(2), 1), "step": 1}
    folder = save_distributed(tmp_path / "ck", value)
    path = folder / name
    whole = path.read_bytes()
    random = Random(NUMBER)
    for _ in range(NUMBER):
        content = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            content[random.randrange(len(content))] = random.randrange(256)
        path.write_bytes(content)
        with suppress(OpenError, ReadError):
            read_all(folder)
