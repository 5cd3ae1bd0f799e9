"""Numbers of Python in a pickle: what is listed as unread, and what is looked through for NaN and infinities."""

from __future__ import annotations

import collections
import decimal
import fractions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tui_params.core.findings import Finding
from tui_params.core.health.checker import Report, check
from tui_params.sources.detect import open_path

NAN, INF = float("nan"), float("inf")


def report(path: Path, value: Any, protocol: int = 2) -> Report:
    torch.save({"w": torch.randn(4, 4), "x": value}, path, pickle_protocol=protocol)
    with open_path(path) as source:
        return check(source)


def told(path: Path, value: Any, protocol: int = 2) -> list[Finding]:
    return [finding for finding in report(path, value, protocol).findings if finding.rule == "python-numbers"]


def halves(count: int) -> list[float]:
    return [number + 0.5 for number in range(count)]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({f"w{number}": number + 0.5 for number in range(5000)}, "dict"),
        (collections.OrderedDict(enumerate(halves(1000))), "dict"),
        (collections.defaultdict(float, enumerate(halves(1000))), "dict"),
        ({number: np.float64(number) for number in range(1000)}, "dict"),
        (set(halves(1000)), "list"),
        (frozenset(halves(1000)), "list"),
        (collections.deque(halves(1000)), "list"),
        ([decimal.Decimal("1.5")] * 1000, "list"),
        ([fractions.Fraction(1, number + 2) for number in range(1000)], "list"),
        ([complex(number, 1) for number in range(1000)], "list"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_many_numbers_that_are_no_array_are_unchecked(tmp_path: Path, value: Any, kind: str, protocol: int) -> None:
    found = report(tmp_path / "x.pt", value, protocol)
    assert found.status == "unchecked"
    (entry,) = found.unchecked
    assert entry.tensor == "x"
    assert entry.reason == f"a {kind} of {len(value):,} Python numbers, not an array: its values are not read"


@pytest.mark.parametrize(
    "value",
    [
        {"history": halves(999), "lr": [0.1] * 999, "by_epoch": dict(enumerate(halves(999)))},
        {"vocabulary": {f"word {number}": number for number in range(5000)}, "ids": list(range(5000))},
        {"log_history": [{"loss": 0.5, "epoch": number / 10, "step": number} for number in range(600)]},
        {"names": dict.fromkeys(range(5000), "a"), "mixed": dict(enumerate([0.5, "a"] * 1000))},
        {"best": INF, "patience": 3, "betas": (0.9, 0.999), "floor": -INF, "precise": [decimal.Decimal("1.5")] * 200},
    ],
)
def test_settings_and_histories_of_a_run_are_no_hindrance(tmp_path: Path, value: Any) -> None:
    found = report(tmp_path / "x.pt", value)
    assert (found.status, found.checked) == ("ok", 1)
    assert "python-numbers" not in {finding.rule for finding in found.findings}


def test_states_of_a_scheduler_are_no_hindrance(tmp_path: Path) -> None:
    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(model.parameters())
    schedulers = [
        torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5000),
        torch.optim.lr_scheduler.MultiStepLR(optimizer, list(range(10, 3000, 10))),
        torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
    ]
    found = report(tmp_path / "x.pt", [scheduler.state_dict() for scheduler in schedulers])
    assert found.status == "ok"


@pytest.mark.parametrize(
    ("value", "evidence"),
    [
        ([*halves(200), NAN, NAN, NAN], "x: of 203 numbers, 3 are NaN"),
        (dict(enumerate([*halves(200), NAN])), "x: of 201 numbers, 1 is NaN"),
        ([*halves(200), NAN, INF, -INF], "x: of 203 numbers, 1 is NaN and 2 are infinite"),
        ([NAN] * 5000, "x: of 5,000 numbers, 5,000 are NaN"),
        ([[0.5, NAN] * 10 for _ in range(20)], "x: of 400 numbers, 200 are NaN"),
        ([[0.5, NAN] * 10] * 20, "x: of 20 numbers, 10 are NaN"),
        ([*[decimal.Decimal("1.5")] * 200, decimal.Decimal("NaN")], "x: of 201 numbers, 1 is NaN"),
        ([*[np.float64(0.5)] * 200, np.float64("nan"), np.float32("nan")], "x: of 202 numbers, 2 are NaN"),
    ],
)
def test_numbers_that_are_not_finite(tmp_path: Path, value: Any, evidence: str) -> None:
    (finding,) = told(tmp_path / "x.pt", value, 5)
    assert (finding.severity, finding.evidence) == ("warning", evidence)


def test_single_numbers_that_are_nan_are_a_remark(tmp_path: Path) -> None:
    (finding,) = told(tmp_path / "x.pt", {"loss": NAN, "scores": [0.5, NAN], "best": INF})
    assert finding.severity == "info"
    assert finding.evidence == "2 numbers among the metadata are NaN: x.loss, x.scores"


def test_many_histories_are_told_in_a_few_findings(tmp_path: Path) -> None:
    found = told(tmp_path / "x.pt", {f"h{number}": [*halves(100), NAN] for number in range(30)})
    assert len(found) == 6
    assert found[-1].evidence == "25 more lists or dicts have numbers that are not finite"


def test_a_list_that_is_referred_to_often_is_looked_at_once(tmp_path: Path) -> None:
    row: Any = halves(100)
    for _ in range(6):
        row = [row] * 50
    assert told(tmp_path / "x.pt", row) == []
