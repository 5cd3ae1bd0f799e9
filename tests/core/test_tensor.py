from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.dtypes import DTYPES, DType
from tui_params.core.tensor import describe


@given(st.sampled_from(DTYPES), st.lists(st.integers(0, 64), max_size=4))
def test_the_shape_in_bytes_is_that_of_the_bytes(dtype: DType, shape: list[int]) -> None:
    info = describe("w", tuple(shape), dtype)
    stored = info.storage_shape
    if info.dtype.bits >= 8 or not shape or shape[-1] * info.dtype.bits % 8:
        assert stored is None
        return
    assert stored is not None
    assert stored[:-1] == info.shape[:-1]
    nbytes = 1
    for length in stored:
        nbytes *= length
    assert nbytes == info.nbytes
