"""Zeros in codebooks: remarks in one that has counted nothing, errors in one that was in use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check

CODES, WIDTH = 16, 8


def zeros(*shape: int) -> NDArray[Any]:
    return np.zeros(shape, np.float32)


def filled(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def encodec(i: int, *, is_used: bool) -> dict[str, NDArray[Any]]:
    made = filled if is_used else zeros
    book = f"quantizer.layers.{i}.codebook"
    counts = np.arange(CODES, dtype=np.float32) if is_used else zeros(CODES)
    vectors = {f"{book}.embed": made(CODES, WIDTH), f"{book}.embed_avg": made(CODES, WIDTH) + np.float32(is_used)}
    return {**vectors, f"{book}.cluster_size": counts, f"{book}.inited": np.ones(1, np.float32)}


def mimi(i: int, *, is_used: bool) -> dict[str, NDArray[Any]]:
    book = f"quantizer.layers.{i}.codebook"
    counts = np.arange(CODES, dtype=np.float32) if is_used else np.ones(CODES, np.float32)
    vectors = filled(CODES, WIDTH) if is_used else zeros(CODES, WIDTH)
    return {
        f"{book}.embed_sum": vectors,
        f"{book}.cluster_usage": counts,
        f"{book}.initialized": np.ones(1, np.float32),
    }


def kmeans(i: int, *, is_used: bool) -> dict[str, NDArray[Any]]:
    book = f"layers.{i}._codebook"
    vectors = filled(1, CODES, WIDTH) if is_used else zeros(1, CODES, WIDTH)
    counts = np.full((1, CODES), 3, np.float32)
    return {f"{book}.embed": vectors, f"{book}.cluster_size": counts, f"{book}.initted": np.array(is_used)}


BOOKS = [encodec, mimi, kmeans]


def told(arrays: dict[str, NDArray[Any]]) -> list[Finding]:
    findings = check(MemorySource({"net.0.weight": filled(8, 8), **arrays})).findings
    return [finding for finding in findings if finding.severity != "info"]


@pytest.mark.parametrize("book", BOOKS)
@pytest.mark.parametrize("count", [1, 4])
def test_codebooks_that_counted_nothing_may_be_zero(book: Any, count: int) -> None:
    fresh = {name: array for i in range(count) for name, array in book(i, is_used=False).items()}
    assert told(fresh) == []
    assert told({name: array for i in range(count) for name, array in book(i, is_used=True).items()}) == []


def test_the_remark_says_why() -> None:
    (finding,) = [f for f in check(MemorySource(kmeans(0, is_used=False))).findings if f.rule == "all-zero"]
    assert finding.evidence == "all 128 values are zero, in a codebook that has counted no vector yet"


@pytest.mark.parametrize("book", BOOKS)
def test_one_codebook_is_zero_among_others_in_use(book: Any) -> None:
    arrays = {name: array for i in range(4) for name, array in book(i, is_used=i != 2).items()}
    found = told(arrays)
    assert {(finding.severity, finding.rule) for finding in found} == {("error", "all-zero")}
    assert all(finding.tensor is not None and ".2." in finding.tensor for finding in found)


@pytest.mark.parametrize("book", BOOKS)
def test_codes_that_were_lost_after_use(book: Any) -> None:
    arrays = {name: array for i in range(2) for name, array in book(i, is_used=True).items()}
    lost = [name for name in arrays if name.endswith((".embed", ".embed_sum"))]
    for name in lost:
        arrays[name] = zeros(*arrays[name].shape)
    assert {(finding.severity, finding.rule, finding.tensor) for finding in told(arrays)} == {
        ("error", "all-zero", name) for name in lost
    }


def test_an_embedding_without_counts_is_no_codebook() -> None:
    (finding,) = told({"a.embed": zeros(CODES, WIDTH)})
    assert (finding.severity, finding.rule) == ("error", "all-zero")


def test_the_gains_of_a_norm_with_conditions_start_at_one() -> None:
    assert told({"backbone.norm.scale.weight": np.ones((4, 8), np.float32)}) == []
    assert told({"backbone.scale.weight": np.ones((4, 8), np.float32)}) != []
