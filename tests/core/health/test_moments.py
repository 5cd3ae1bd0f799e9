"""The rules about second moments: by planted states, and by states that torch's optimizers make."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import tui_params
from tests.factories_memory import MemorySource
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check

AT = "optimizer.state.0"


def told(arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> dict[str, Finding]:
    """The findings by rule."""
    source = MemorySource({name: np.asarray(array) for name, array in arrays.items()}, metadata=metadata)
    return {finding.rule: finding for finding in check(source).findings if finding.severity != "info"}


def normal(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


_ROOT = "none can be negative, and its root is NaN"
NEGATIVE = {
    "exp_avg_sq": f"the smallest second moment is -1e-6: {_ROOT}",
    "square_avg": f"the smallest second moment is -1e-6: {_ROOT}",
    "state2": f"the smallest second moment is -1e-6: {_ROOT}",
    "max_exp_avg_sq": f"the smallest of the largest second moments is -1e-6: {_ROOT}",
    "sum": f"the smallest sum of squares is -1e-6: {_ROOT}",
    "exp_avg_sq_col": f"the smallest mean of squares is -1e-6: {_ROOT}",
    "exp_avg_sq_row": "the smallest mean of squares is -1e-6: none can be negative, and a root is taken of it",
    "row_var": "the smallest mean of squares is -1e-6: none can be negative",
    "exp_inf": "the smallest infinity norm is -1e-6: it is the size of a gradient, which is never negative",
}


@pytest.mark.parametrize("name", NEGATIVE)
def test_a_negative_second_moment_is_an_error_with_its_place(name: str) -> None:
    moments = normal(4, 4) ** 2
    assert told({f"{AT}.{name}": moments}) == {}
    moments[2, 3] = -1e-6
    finding = told({f"{AT}.{name}": moments})["negative-moment"]
    assert (finding.severity, finding.tensor, finding.indices) == ("error", f"{AT}.{name}", ((2, 3),))
    assert finding.evidence == NEGATIVE[name]
    assert told({f"{AT}.{name}": -(normal(4, 4) ** 2)}).keys() == {"negative-moment"}


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("acc_delta", "the smallest mean square of the steps is -1: none can be negative, and its root is NaN"),
        ("variance", "the smallest second moment is -1: none can be negative, and its root is NaN"),
        ("step_size", "the smallest step size is -1: none can be negative"),
        ("qmap2", "the smallest second moment that a code stands for is -1: none can be negative, and its root is NaN"),
        (
            "absmax2",
            "the smallest of the largest magnitudes of blocks is -1: none can be negative, and its root is NaN",
        ),
        ("absmax1", "the smallest of the largest magnitudes of blocks is -1: none can be negative"),
    ],
)
def test_other_states_that_are_never_negative(name: str, evidence: str) -> None:
    values = normal(16) ** 2
    assert told({f"{AT}.{name}": values}) == {}
    values[3] = -1
    finding = told({f"{AT}.{name}": values})["negative-moment"]
    assert (finding.severity, finding.evidence, finding.indices) == ("error", evidence, ((3,),))


def test_the_states_of_bitsandbytes_in_8_bits_are_codes() -> None:
    signed, unsigned = np.linspace(-1, 1, 256, dtype=np.float32), np.linspace(0, 1, 256, dtype=np.float32)
    codes = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    blocks = normal(16) ** 2
    state = {f"{AT}.{name}": array for name, array in (("state1", codes), ("state2", codes), ("qmap1", signed))}
    state |= {f"{AT}.qmap2": unsigned, f"{AT}.absmax1": blocks, f"{AT}.absmax2": blocks}
    assert told(state) == {}
    assert told({**state, f"{AT}.qmap2": signed})["negative-moment"].tensor == f"{AT}.qmap2"
    assert told({f"{AT}.state1": normal(4, 4), f"{AT}.state2": normal(4, 4) ** 2}) == {}


def test_adadelta_and_rprop_keep_what_is_never_negative(tmp_path: Path) -> None:
    for optimizer in (torch.optim.Adadelta, torch.optim.Rprop):
        model = torch.nn.Linear(4, 4)
        stepped = optimizer(model.parameters())
        for _ in range(3):
            stepped.zero_grad()
            model(torch.randn(8, 4)).square().sum().backward()
            stepped.step()
        torch.save({"optimizer": stepped.state_dict()}, tmp_path / "x.pt")
        assert "negative-moment" not in {finding.rule for finding in tui_params.check(tmp_path / "x.pt").findings}


def test_a_minus_zero_is_not_negative_and_other_states_may_be() -> None:
    moments = normal(4, 4) ** 2
    moments[0, 0] = -0.0
    assert told({f"{AT}.exp_avg_sq": moments, f"{AT}.exp_avg": normal(4, 4), f"{AT}.momentum_buffer": normal(4)}) == {}
    assert told({"model.sum": -(normal(4) ** 2)}) == {}


@pytest.mark.parametrize("name", ["exp_avg_sq", "square_avg", "max_exp_avg_sq"])
def test_a_moment_or_a_running_variance_that_is_nan_is_an_error(name: str) -> None:
    moments = normal(4, 4) ** 2
    moments[1, 1] = np.nan
    finding = told({f"{AT}.{name}": moments})["nan"]
    assert (finding.severity, finding.indices) == ("error", ((1, 1),))
    assert told({"bn.running_var": np.array([1, np.nan], np.float32)})["nan"].severity == "error"
    assert told({"bn.running_var": np.array([1, -1], np.float32)})["batchnorm"].severity == "error"


def state(dtype: type, first: NDArray[Any], second: NDArray[Any], step: int = 5) -> dict[str, Any]:
    return {
        f"{AT}.step": np.float32(step),
        f"{AT}.exp_avg": first.astype(dtype),
        f"{AT}.exp_avg_sq": second.astype(dtype),
    }


def test_what_adamax_keeps_is_no_second_moment() -> None:
    of_adamax = {f"{AT}.step": np.float32(5), f"{AT}.exp_avg": normal(4, 4), f"{AT}.exp_inf": np.zeros((4, 4))}
    assert told(of_adamax)["moments-underflowed"].evidence.startswith(
        "all 16 infinity norms are zero, although the first moments reach "
    )
    assert told(of_adamax)["moments-underflowed"].evidence.endswith(": they were lost")
    of_adamax[f"{AT}.exp_avg"] = np.zeros((4, 4))
    assert told(of_adamax)["optimizer-never-stepped"].evidence == (
        "all 16 infinity norms are zero after 5 steps: it never had a gradient"
    )


def test_moments_that_underflowed_in_half_precision() -> None:
    first = np.full((8, 8), 1e-5, np.float32)
    finding = told(state(np.float16, first, first**2))["moments-underflowed"]
    assert (finding.severity, finding.tensor) == ("warning", f"{AT}.exp_avg_sq")
    assert finding.evidence == (
        "all 64 second moments are zero, although the first moments reach 1.001e-5: "
        "they underflowed in f16, and the next step divides by eps"
    )
    assert told(state(np.float32, first, first**2)) == {}


def test_some_moments_that_underflowed_are_counted_at_least() -> None:
    first = np.full((8, 8), 0.5, np.float32)
    first[0], first[1] = 1e-5, 0.0
    found = told(state(np.float16, first, first**2))
    assert found.keys() == {"moments-underflowed"}
    assert found["moments-underflowed"].evidence == (
        "at least 8 of 64 second moments are zero where the first moments are not: "
        "they underflowed in f16, and the next step divides by eps"
    )
    assert told(state(np.float32, first, first**2)) == {}
    first[0] = 0.0
    assert told(state(np.float16, first, first**2)) == {}


def test_moments_that_were_lost_in_full_precision() -> None:
    first = normal(4, 4)
    finding = told(state(np.float32, first, np.zeros((4, 4))))["moments-underflowed"]
    assert finding.evidence.endswith(": they were lost, and the next step divides by eps")
    assert told(state(np.float32, 1e-24 * first, np.zeros((4, 4)))) == {}


def test_a_parameter_that_never_had_a_gradient() -> None:
    none = np.zeros((4, 4), np.float32)
    arrays = state(np.float32, none, none)
    finding = told(arrays)["optimizer-never-stepped"]
    assert finding.evidence == "all 16 second moments are zero after 5 steps: it never had a gradient"
    others = {
        f"optimizer.state.{i}.{part}": normal(4, 4, seed=i) ** 2 for i in (1, 2) for part in ("exp_avg", "exp_avg_sq")
    }
    assert told(arrays | others)["optimizer-never-stepped"].evidence == finding.evidence


def test_moments_that_are_all_zero_were_reset() -> None:
    none = np.zeros((4, 4), np.float32)
    arrays = state(np.float32, none, none)
    arrays |= {name.replace("state.0", "state.1"): array for name, array in arrays.items()}
    assert told(arrays)["optimizer-never-stepped"].evidence == (
        "all 16 second moments are zero after 5 steps, like those of all 2 parameters: "
        "the moments were reset or never loaded"
    )


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "Adam": {"amsgrad": True},
    "AdamW": {},
    "SGD": {"momentum": 0.9},
    "Adamax": {},
    "RMSprop": {"centered": True, "momentum": 0.5},
    "Adagrad": {},
    "Adadelta": {},
    "NAdam": {},
    "RAdam": {},
    "Rprop": {},
    "ASGD": {},
    "LBFGS": {},
}


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_states_of_real_optimizers_are_well(name: str, steps: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))
    optimizer = getattr(torch.optim, name)(model.parameters(), **{"lr": 1e-2, **OPTIMIZERS[name]})

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found: torch.Tensor = model(torch.randn(16, 6)).square().mean()
        found.backward()
        return found

    for _ in range(steps):
        loss()
        optimizer.step(loss)
    path = tmp_path / "run.pt"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    report = tui_params.check(path)
    assert [finding for finding in report.findings if finding.severity != "info"] == []
    assert report.status == "ok"
