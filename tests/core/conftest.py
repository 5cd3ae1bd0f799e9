"""What tests of several rooms of the core watch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tui_params.core.reading import overlaps
from tui_params.core.tensor import TensorInfo
from tui_params.sources.bytes.extents import ExtentSource


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each block that is read; nothing may be read for free."""
    found: list[int] = []
    blocks = ExtentSource.blocks

    def counted(
        self: ExtentSource, info: TensorInfo, start: int = 0, stop: int | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        for block in blocks(self, info, start, stop):
            found.append(block.nbytes)
            yield block

    monkeypatch.setattr(ExtentSource, "blocks", counted)
    monkeypatch.setattr(overlaps, "FREE_NBYTES", 0)
    return found
