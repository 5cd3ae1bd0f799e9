"""What holds for every test, and how many processes share the tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.factories_kernels import code_folder, compiled_engine, engine, numpy_engine
from tui_params.api import opening
from tui_params.core.source import Source

# A loaded machine is no failure: no limit of hypothesis on time. Continuous integration tries the same examples each
# time, so that a change is judged by itself; every run by hand tries others.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("patient")

__all__ = ["code_folder", "compiled_engine", "engine"]


@pytest.fixture(scope="session", autouse=True)
def _sources_compute_by_numpy() -> Iterator[None]:
    """No test compiles loops in passing: a test that wants compiled ones gives its source the ``engine`` fixture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Source, "engine", numpy_engine())
        patch.setattr(opening, "ENGINE", numpy_engine())
        yield


def pytest_collection_finish() -> None:
    """Collect garbage less often: what was imported stays anyway, and the apps of tests leave much that is freed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """What ``-n auto`` means: no further process on one core, where it would only cost; else as xdist decides."""
    return 0 if cores() == 1 else None
