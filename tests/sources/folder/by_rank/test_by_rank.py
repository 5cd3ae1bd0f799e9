"""What each rank of a job saved by itself with torch.save is joined as torch gathers it, and faults are named."""

from __future__ import annotations

import os
import pickletools
import shutil
from pathlib import Path

import pytest
import torch

from tests.factories_damage import read_parts, write_parts
from tests.factories_dcp import raw_bytes
from tests.factories_folder_damage import fuzz
from tests.factories_planted import assert_healthy, assert_nan_is_named
from tests.sources.folder.dcp.test_ranks import save
from tui_params.api.checking import check
from tui_params.errors import ReadError
from tui_params.sources.detect import open_path
from tui_params.sources.folder.by_rank.names import group_by_rank
from tui_params.sources.inert_pickle.distributed import distributed_tensor, local_parts
from tui_params.sources.inert_pickle.values import Composite, Stub

ALL = bool(os.environ.get("TUI_PARAMS_FORMATS"))
QUICK = ("each_fsdp2", "each_fsdp1", "each_local", "each_flat")
WAYS = (*QUICK, "each_hybrid", "each_placement", "each_parallel")
PLANTED = {
    "each_fsdp1": "model.layers.1.mlp.weight",
    "each_local": "model.layers.1.mlp.weight",
    "each_flat": "model._flat_param",
    "each_placement": "transposed",
    "each_parallel": "2.weight",
}
"""The tensor in which a NaN is planted, where it is not the usual one."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks saved, in every quick way."""
    folder = tmp_path_factory.mktemp("by_rank")
    save(folder, 2, *QUICK)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of what FSDP2 saved: model, optimizer and extra states of two ranks."""
    return Path(shutil.copytree(saved / "each_fsdp2", tmp_path / "ck"))


def assert_as_gathered(folder: Path, way: str, ranks: int) -> None:
    expected = torch.load(folder / f"{way}.whole.pt", weights_only=False)
    with open_path(folder / way) as source:
        assert not [finding for finding in source.listing.findings if finding.severity != "info"]
        assert f"joined from {ranks} ranks" in source.listing.format
        for name, tensor in expected.items():
            info = source.find(name)
            assert info.shape == tuple(tensor.shape)
            assert source.read(name).tobytes() == raw_bytes(tensor), name
            blocks = b"".join(block.tobytes() for block in source.blocks(info))
            assert info.stride is not None or blocks == raw_bytes(tensor), name
        assert check(source).status == "ok"


@pytest.mark.parametrize("way", QUICK)
def test_two_ranks(saved: Path, way: str) -> None:
    assert_as_gathered(saved, way, 2)


@pytest.mark.skipif(not ALL, reason="takes a minute: just formats")
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("way", WAYS)
def test_every_way(tmp_path: Path, way: str, ranks: int) -> None:
    save(tmp_path, ranks, way)
    assert_as_gathered(tmp_path, way, ranks)
    assert_healthy(tmp_path / way)
    assert_nan_is_named(tmp_path / way, PLANTED.get(way, "layers.1.mlp.weight"))


def test_model_states_and_what_differs_by_rank_stand_in_one_tree(saved: Path) -> None:
    with open_path(saved / "each_fsdp2") as source:
        assert source.listing.format == "torch.save zip, joined from 2 ranks, with extra_state and optim"
        pieces = source.pieces_of(source.find("emb.weight"))
        assert [(piece.rank, str(piece)) for piece in pieces] == [(0, "[0:4, 0:8]"), (1, "[4:7, 0:8]")]
        assert pieces[0].file == "model_world_size_2_rank_0.pt"
        assert source.find("optim.state.1.exp_avg").notes[-1].startswith("state of emb.weight")
        assert source.listing.states == ("extra_state", "optim")
        texts = source.listing.metadata
        assert (texts["extra_state.rank.rank_0"], texts["extra_state.rank.rank_1"]) == ("0", "1")
        assert source.find("extra_state.seed").shape == (3,)


def test_flat_parameters_say_that_shapes_are_not_stored(saved: Path) -> None:
    with open_path(saved / "each_local") as source:
        info = source.find("model.emb.weight")
        assert (info.shape, info.numel) == ((56,), 56)
        assert any("its shape is not stored" in note for note in info.notes)
    with open_path(saved / "each_flat") as source:
        info = source.find("model._flat_param")
        assert info.shape == (350,)
        assert info.notes[0].startswith("flat parameter of FSDP")


def test_one_file_by_itself_is_the_part_of_a_rank(saved: Path) -> None:
    with open_path(saved / "each_fsdp2" / "model_world_size_2_rank_1.pt") as source:
        (finding,) = source.listing.findings
        assert (finding.severity, finding.rule) == ("info", "local-shapes")
        assert finding.evidence == "this is what rank 1 of 2 saved: 16 shapes are those of its parts"
        assert source.listing.local_parts["emb.weight"].boxes == (((4, 0), (3, 8), (0, 0)),)


def test_a_nan_names_tensor_rank_file_and_place(folder: Path) -> None:
    path = folder / "model_world_size_2_rank_1.pt"
    state = torch.load(path, weights_only=False, mmap=False)
    state["emb.weight"]._local_tensor[1, 3] = torch.nan
    torch.save(state, path)
    report = check(folder)
    (found,) = [finding for finding in report.findings if finding.severity == "error"]
    assert (found.rule, found.tensor, found.indices) == ("nan", "emb.weight", ((5, 3),))
    assert found.evidence.endswith(" NaN; in the part of rank 1, model_world_size_2_rank_1.pt")


def test_the_elements_of_a_missing_rank_are_not_read_around(folder: Path) -> None:
    (folder / "model_world_size_2_rank_1.pt").unlink()
    with open_path(folder) as source:
        (finding,) = [finding for finding in source.listing.findings if finding.severity == "error"]
        assert finding.rule == "missing-rank"
        assert finding.evidence == "the file of rank 1 of 2 is missing: 15 tensors are not whole"
        info = source.find("emb.weight")
        assert info.shape == (7, 8)
        assert "32 of 56 elements saved" in info.notes
        assert source.read("emb.weight", "[:4]").shape == (4, 8)
        with pytest.raises(ReadError, match="no piece of emb"):
            source.read("emb.weight")
        report = check(source)
        assert report.status == "findings"
        assert len(report.unchecked) == 15


def test_a_file_that_cannot_be_opened_counts_as_missing(folder: Path) -> None:
    (folder / "model_world_size_2_rank_1.pt").write_bytes(b"")
    with open_path(folder) as source:
        (finding,) = [finding for finding in source.listing.findings if finding.severity == "error"]
        assert (finding.rule, finding.file) == ("missing-rank", "model_world_size_2_rank_1.pt")
        assert source.find("odd.weight").shape == (3, 8)


def test_the_file_of_another_rank_is_named(folder: Path) -> None:
    shutil.copy(folder / "model_world_size_2_rank_0.pt", folder / "model_world_size_2_rank_1.pt")
    with open_path(folder) as source:
        found = {(finding.rule, finding.tensor): finding for finding in source.listing.findings}
        evidence = found["foreign-rank", None].evidence
        assert evidence == "it says that rank 0 saved it, and its name that rank 1 did"
        assert found["missing-piece", "emb.weight"].evidence == "no rank has the others: 32 of 56 elements saved"


def test_a_second_file_of_a_rank_is_named_and_not_read(folder: Path) -> None:
    shutil.copy(folder / "model_world_size_2_rank_1.pt", folder / "model_world_size_2_rank_00.pt")
    with open_path(folder) as source:
        (finding,) = [finding for finding in source.listing.findings if finding.severity == "error"]
        assert (finding.rule, finding.file) == ("foreign-rank", "model_world_size_2_rank_00.pt")
        assert finding.evidence == "rank 0 has another file too, model_world_size_2_rank_0.pt, which alone is read"
        assert source.listing.not_opened == ("model_world_size_2_rank_00.pt",)
        assert source.find("emb.weight").shape == (7, 8)


def test_another_shape_is_named_and_not_joined(folder: Path) -> None:
    path = folder / "model_world_size_2_rank_1.pt"
    state = torch.load(path, weights_only=False)
    state["odd.weight"] = torch.ones(2, 2)
    torch.save(state, path)
    with open_path(folder) as source:
        found = {finding.tensor: finding for finding in source.listing.findings if finding.rule == "foreign-rank"}
        assert found["odd.weight"].evidence == "rank 1 has another shape or type of it than f32 [3, 8]"


def test_files_that_do_not_say_their_place_are_shown_side_by_side(tmp_path: Path) -> None:
    for rank in range(2):
        torch.save({"a.weight": torch.ones(4 * (rank == 0)), "b.weight": torch.ones(6)}, tmp_path / f"rank{rank}.pt")
    with open_path(tmp_path) as source:
        assert source.names() == ["rank0.a.weight", "rank0.b.weight", "rank1.a.weight", "rank1.b.weight"]
        (finding,) = source.listing.findings
        assert "do not say which part of a tensor each has" in finding.evidence
        assert not [finding for finding in check(source).findings if finding.severity == "error"]


def test_a_missing_file_is_told_where_nothing_is_joined(tmp_path: Path) -> None:
    for rank in (0, 2):
        torch.save({"a.weight": torch.ones(4)}, tmp_path / f"model_world_size_3_rank_{rank}.pt")
    with open_path(tmp_path) as source:
        (finding,) = [finding for finding in source.listing.findings if finding.severity == "warning"]
        assert finding.rule == "missing-rank"
        assert finding.evidence.startswith(
            "the file of rank 1 of 3 is missing, as the name of model_world_size_3_rank_"
        )


def test_a_model_of_another_kind_beside_them_keeps_its_names(folder: Path) -> None:
    for rank in range(2):
        (folder / f"model_world_size_2_rank_{rank}.pt").unlink()
    torch.save({"emb.weight": torch.ones(7, 8)}, folder / "pytorch_model.bin")
    with open_path(folder) as source:
        assert source.find("emb.weight").file == "pytorch_model.bin"
        assert source.find("optim.state.1.exp_avg").shape == (7, 8)


def test_arguments_that_a_dtensor_cannot_have_are_told(folder: Path) -> None:
    path = folder / "model_world_size_2_rank_1.pt"
    parts = read_parts(path.read_bytes())
    (pickled,) = [part for part in parts if part.name.endswith(b"/data.pkl")]
    pickled.data = pickled.data.replace(b"ctorch\nfloat32\n", b"ctorch.storage\nUntypedStorage\n", 1)
    path.write_bytes(write_parts(parts))
    with pytest.raises(TypeError, match="dtype"):
        torch.load(path, weights_only=False)
    with open_path(folder) as source:
        found = [finding.evidence for finding in source.listing.findings if finding.severity == "error"]
        assert any("_rebuild_wrapper_subclass with arguments that it refuses" in evidence for evidence in found)


def _rewrite(path: Path, old: bytes, new: bytes) -> None:
    """Another instruction in the pickle of a file, where the old one stands first."""
    parts = read_parts(path.read_bytes())
    (pickled,) = [part for part in parts if part.name.endswith(b"/data.pkl")]
    assert old in pickled.data
    pickled.data = pickled.data.replace(old, new, 1)
    path.write_bytes(write_parts(parts))


def _text(text: bytes) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text


_TUPLE_OF_1 = b"K\x01\x85"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (_text(b"cpu"), _text(b"cp\x02"), "calls torch.device with 1 argument of which it can make nothing"),
        (_TUPLE_OF_1, b"K\x01", "_rebuild_wrapper_subclass with arguments that it refuses"),
        (b"N}(" + _text(b"_local_tensor"), b"K\x01}(" + _text(b"_local_tensor"), "a state that it does not take"),
        (_text(b"_local_tensor"), _text(b"_local"), "a state that it does not take"),
        (b"ctorch.distributed.tensor\nDTensor\n", b"ccollections\nOrderedDict\n", "arguments that it refuses"),
    ],
)
def test_what_torch_makes_no_dtensor_of_is_told(folder: Path, old: bytes, new: bytes, said: str) -> None:
    path = folder / "model_world_size_2_rank_1.pt"
    # Without the instructions that store values for later ones: none of those that are taken away is used again.
    parts = read_parts(path.read_bytes())
    (pickled,) = [part for part in parts if part.name.endswith(b"/data.pkl")]
    pickled.data = pickletools.optimize(pickled.data)
    path.write_bytes(write_parts(parts))
    torch.load(path, weights_only=False)
    _rewrite(path, old, new)
    with pytest.raises((TypeError, RuntimeError, AttributeError)):
        torch.load(path, weights_only=False)["one"].to_local()
    with open_path(folder) as source:
        found = [finding.evidence for finding in source.listing.findings if finding.severity == "error"]
        assert any(said in evidence for evidence in found), found


def test_a_placement_that_is_a_tuple_is_none_of_a_sharded_tensor() -> None:
    whole = Composite("DTensor", (4,), {}, None)
    made = distributed_tensor("DTensor", whole, {"_local_tensor": None, "_spec": (Stub("torch", "float32"), 1)})
    assert local_parts(made, "w") == {}


def test_the_storage_of_a_mesh_is_missed(folder: Path) -> None:
    path = folder / "model_world_size_2_rank_1.pt"
    state = torch.load(path, weights_only=False)
    assert len(state["one"].device_mesh.mesh) == 2
    parts = [part for part in read_parts(path.read_bytes()) if not part.name.endswith(b"/data/1")]
    path.write_bytes(write_parts(parts))
    with pytest.raises(RuntimeError, match="data/1"):
        torch.load(path, weights_only=False)
    with open_path(folder) as source:
        (finding,) = [finding for finding in source.listing.findings if finding.severity == "error"]
        assert (finding.rule, finding.tensor) == ("storage-bounds", None)
        assert "its storage data/1 is not in the file, so torch refuses the file" in finding.evidence


def test_the_part_of_a_rank_under_another_name_is_named_and_not_read(folder: Path) -> None:
    shutil.copy(folder / "model_world_size_2_rank_1.pt", folder / "best.pt")
    with open_path(folder) as source:
        (finding,) = [finding for finding in source.listing.findings if finding.severity == "error"]
        assert (finding.rule, finding.file) == ("foreign-rank", "best.pt")
        assert finding.evidence.startswith("this is what rank 1 of 2 saved: 16 shapes are those of its parts; its name")
        assert source.listing.not_opened == ("best.pt",)
        assert source.find("emb.weight").shape == (7, 8)


def test_jobs_of_two_sizes_keep_their_names_apart(folder: Path) -> None:
    for rank in range(2):
        shutil.copy(folder / f"model_world_size_2_rank_{rank}.pt", folder / f"model_world_size_1_rank_{rank}.pt")
    with open_path(folder) as source:
        assert len(set(source.names())) == len(source.names())
        for size in (1, 2):
            assert source.read(f"model_world_size_{size}.emb.weight").shape == (7, 8)
        (finding,) = [finding for finding in source.listing.findings if finding.severity == "error"]
        assert (finding.rule, finding.file) == ("foreign-rank", "model_world_size_1_rank_0.pt")
        assert finding.evidence == "its name says that 1 rank saved, and its tensors are cut for 2"


def test_files_of_two_suffixes_keep_their_names_apart() -> None:
    names = [f"{stem}_rank_{rank}{suffix}" for stem in "ab" for rank in range(2) for suffix in (".pt", ".bin")]
    stems = [group.stem for group in group_by_rank(names, (".pt", ".bin"))]
    assert stems == ["a*_bin", "a*_pt", "b*_bin", "b*_pt"]


ASKED = os.environ.get("TUI_PARAMS_FUZZ_FOLDERS")
NUMBER = int(ASKED or 20)
SEED = os.environ.get("TUI_PARAMS_FUZZ_SEED", "0")


@pytest.mark.parametrize("way", ["each_fsdp2", "each_fsdp1", "each_flat"])
def test_damaged_folders_are_told_fuzz(saved: Path, tmp_path: Path, way: str) -> None:
    folder = tmp_path / way
    # torch puts DTensors together without a job; what FSDP1 saved it only opens in one.
    pattern = "model_*.pt" if way == "each_fsdp2" else "*.pt"
    folder.mkdir()
    for path in (saved / way).glob(pattern):
        shutil.copy(path, folder)
    work = tmp_path / "work"
    work.mkdir()
    tally = fuzz(folder, "ranks" if ASKED and way == "each_fsdp2" else None, NUMBER, f"{SEED} {way}", work)
    assert not tally.silent
    assert NUMBER / 2 < tally.told < NUMBER
