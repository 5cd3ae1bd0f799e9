"""JSON files beside the weights that are empty or damaged are told; those that the libraries take are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.factories_runs import write_trainer
from tui_params import check, compare, open_source
from tui_params.core.findings import Finding
from tui_params.core.source import Source
from tui_params.errors import OpenError
from tui_params.sources.folder.run import trainer_state

LORA = {
    "base_model.model.q.lora_A.weight": torch.randn(2, 4),
    "base_model.model.q.lora_B.weight": torch.randn(4, 2),
}


def wrong(source: Source) -> list[tuple[str, str | None, str]]:
    found = [finding for finding in source.listing.findings if finding.rule == "bad-config"]
    return [(finding.severity, finding.file, finding.evidence) for finding in found]


def adapter(folder: Path, config: str) -> Path:
    folder.mkdir()
    save_file(LORA, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(config)
    return folder


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("", "it is empty (0 bytes)"),
        ('{"peft_type": "LORA", "r": 2', "it is no JSON: Expecting ',' delimiter: line 1 column 29 (char 28)"),
        ("[1, 2]", "it holds no JSON object"),
        ("{}", "it says nothing"),
        ("null", "it holds no JSON object"),
        ("[" * 100_000, "it is no JSON"),
        ("\ufeff{}", "it is no JSON: Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)"),
    ],
)
def test_a_broken_adapter_config(tmp_path: Path, text: str, evidence: str) -> None:
    folder = adapter(tmp_path / "a", text)
    for path in (folder, folder / "adapter_model.safetensors"):
        source = open_source(path)
        assert wrong(source) == [("error", "adapter_config.json", evidence)]
        report = check(source)
        assert (report.status, report.findings[0].rule) == ("findings", "bad-config")
        assert source.listing.adapters == ()


@pytest.mark.parametrize(
    "text", ['{"peft_type": "LORA", "r": 2, "lora_alpha": NaN}', '{"config": {"adapter": 1}}', '{"r": 2}']
)
def test_an_adapter_config_that_libraries_take(tmp_path: Path, text: str) -> None:
    assert wrong(open_source(adapter(tmp_path / "a", text))) == []


def test_every_file_that_is_read_beside_a_model(tmp_path: Path) -> None:
    for folder in ("whole", "shards"):
        (tmp_path / folder).mkdir()
        for name in ("config.json", "model_index.json", "modules.json"):
            (tmp_path / folder / name).write_text("{")
    save_file({"w": torch.randn(4)}, tmp_path / "whole" / "model.safetensors")
    save_file({"w": torch.randn(4)}, tmp_path / "shards" / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": {"w": "model-00001-of-00001.safetensors"}}
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(json.dumps(index))
    names = ["config.json", "model_index.json", "modules.json"]
    for path in (tmp_path / "whole", tmp_path / "whole" / "model.safetensors", tmp_path / "shards"):
        assert [file for _, file, _ in wrong(open_source(path))] == names
        assert all(evidence.startswith("it is no JSON: ") for _, _, evidence in wrong(open_source(path)))
    (tmp_path / "whole" / "config.json").unlink()
    (tmp_path / "whole" / "config.json").mkdir()
    assert "folder" in wrong(open_source(tmp_path / "whole"))[0][2]
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / "model.safetensors").write_bytes((tmp_path / "whole" / "model.safetensors").read_bytes())
    assert compare(twin, tmp_path / "whole").state == "same", "the tensors are"


def test_a_pipeline_whose_list_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    save_file({"w": torch.ones(2)}, tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    (tmp_path / "model_index.json").write_text('{"unet": [')
    with pytest.raises(OpenError, match=r"these of its subfolders do: unet; model_index.json: it is no JSON"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("", "it is empty (0 bytes)"),
        ('{"global_step": 3', "it is damaged: no JSON object of a Trainer"),
        ("[]", "it is damaged: no JSON object of a Trainer"),
        ('{"log_history": 3}', "it is damaged: no JSON object of a Trainer"),
    ],
)
def test_a_broken_state_of_the_trainer(tmp_path: Path, text: str, evidence: str) -> None:
    write_trainer(tmp_path)
    assert wrong(open_source(tmp_path)) == []
    (tmp_path / "trainer_state.json").write_text(text)
    assert wrong(open_source(tmp_path)) == [("error", "trainer_state.json", evidence)]
    assert check(open_source(tmp_path)).status == "findings"


def test_a_state_that_is_too_large_is_a_remark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_trainer(tmp_path)
    monkeypatch.setattr(trainer_state, "MAX_NBYTES", 10)
    assert [severity for severity, _, _ in wrong(open_source(tmp_path))] == ["info"]


def step(folder: Path, *, is_empty: bool = False) -> None:
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text("{}")
    if not is_empty:
        save_file({"w": torch.randn(4)}, folder / "model.safetensors")


def told(folder: Path) -> list[Finding]:
    return [finding for finding in open_source(folder).listing.findings if finding.rule == "bad-part"]


def test_a_step_without_tensors(tmp_path: Path) -> None:
    for number in (500, 1000):
        step(tmp_path / f"checkpoint-{number}")
    (tmp_path / "step_2000").mkdir()
    (tmp_path / "runs").mkdir()
    assert told(tmp_path) == [], "other folders are no steps of this run"
    step(tmp_path / "checkpoint-1500", is_empty=True)
    (tmp_path / "checkpoint-100").mkdir()
    newer, older = told(tmp_path)
    assert (newer.severity, newer.file) == ("warning", "checkpoint-1500/")
    assert newer.evidence == (
        "this step holds no tensor file: it is newer than all that have, as when a save has not finished"
    )
    assert (older.severity, older.file, older.evidence) == (
        "info",
        "checkpoint-100/",
        "this step holds no tensor file",
    )
    source = open_source(tmp_path)
    assert source.label.endswith("checkpoint-1000/")
    assert check(source).status == "findings"


def test_one_step_beside_many_that_are_empty(tmp_path: Path) -> None:
    step(tmp_path / "checkpoint-9")
    for number in range(10, 20):
        (tmp_path / f"checkpoint-{number}").mkdir()
    found = told(tmp_path)
    assert [finding.file for finding in found] == [*(f"checkpoint-{number}/" for number in (19, 18, 17, 16)), None]
    assert found[-1].evidence == "6 more steps hold no tensor file"
