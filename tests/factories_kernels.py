"""Both sets of kernels, one after the other: a module of tests that uses ``engine`` runs over each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from tui_params.core import kernels
from tui_params.core.compiled import Compilation


@cache
def compiled() -> Compilation:
    """The compiled kernels, made once in a test process; the machine code comes from numba's cache."""
    compilation = Compilation()
    compilation.run()
    return compilation


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
