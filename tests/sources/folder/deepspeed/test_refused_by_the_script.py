"""What ``zero_to_fp32`` refuses though everything can be read is told: kinds that damaged folders showed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.factories_deepspeed import TAG, Zero, optimizer_file
from tests.sources.folder.deepspeed.test_faults import MODEL, errors
from tui_params.sources.detect import open_path


@pytest.mark.parametrize("key", ["buffer_names", "shared_params"])
def test_a_key_that_the_script_needs_is_missed(tmp_path: Path, key: str) -> None:
    zero = Zero(2, 2)
    del zero.files[MODEL][key]
    with open_path(zero.write(tmp_path)) as source:
        ((rule, file, evidence),) = errors(source)
        assert (rule, file) == ("flat-layout", f"{TAG}/{MODEL}")
        assert key in evidence
        assert source.find("l1.weight").unreadable is None
    zero.files[MODEL]["ds_version"] = "0.7.3"
    with open_path(zero.write(tmp_path)) as source:
        assert [rule for rule, _, _ in errors(source)] == ["flat-layout"] * (key == "buffer_names")


def test_a_file_too_many_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    # zero_to_fp32 counts the files, and refuses the folder.
    folder = Zero(2, 2).write(tmp_path)
    (folder / TAG / optimizer_file(2)).write_bytes(b"PK")
    with open_path(folder) as source:
        ((rule, _, evidence),) = errors(source)
        assert rule == "foreign-rank"
        assert evidence.startswith("the optimizer file of rank 2 cannot be read: ")
        assert evidence.endswith("; there should be 2 optimizer files")
        assert source.find("l1.weight").unreadable is None


@pytest.mark.parametrize(
    "name", [f"mp_rank_{1 << 32}_model_states.pt", "bf7_zero_pp_rank_0_mp_rank_00_optim_states.pt"]
)
def test_a_file_of_a_name_that_deepspeed_does_not_give_is_told(tmp_path: Path, name: str) -> None:
    folder = Zero(2, 2).write(tmp_path)
    shutil.copy(folder / TAG / MODEL, folder / TAG / name)
    with open_path(folder) as source:
        (finding,) = [finding for finding in source.listing.findings if finding.rule == "not-joined"]
        assert (finding.severity, finding.evidence.partition(" is not")[0]) == ("warning", name)
        assert source.listing.not_opened == (f"{TAG}/{name}",)
