"""Both sets of kernels, one after the other: a module of tests that uses ``engine`` runs over each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tui_params.api import opening
from tui_params.cache.figures import ENVIRONMENT
from tui_params.core.kernels import choice as kernels
from tui_params.core.kernels.compilation import Compilation

assert opening  # which says where compiled loops are kept


@cache
def compiled() -> Compilation:
    """The compiled kernels, made once in a test process and kept nowhere."""
    compilation = Compilation()
    with kept_in(None):
        compilation.run()
    return compilation


@contextmanager
def kept_in(folder: Path | None) -> Iterator[None]:
    """Compiled loops are kept in a folder, or nowhere, while this lasts."""
    before = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = "off" if folder is None else str(folder)
    try:
        yield
    finally:
        del os.environ[ENVIRONMENT]
        if before is not None:
            os.environ[ENVIRONMENT] = before


@pytest.fixture(scope="module", params=["numpy", "numba"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    before = kernels._compilation
    if request.param == "numba":
        pytest.importorskip("numba")
        assert compiled().reason is None
        kernels._compilation = compiled()
    else:
        kernels._compilation = Compilation()  # never run
    assert kernels.ready() == (request.param == "numba")
    yield request.param
    kernels._compilation = before
