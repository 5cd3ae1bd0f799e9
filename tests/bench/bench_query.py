"""The filter over 92,160 names: every query within the time of a key press, and patterns that are stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.line import Line
from tui_params.core.dtypes import from_torch
from tui_params.core.query.names import REGEX_SECONDS
from tui_params.core.query.query import Query, parse_query
from tui_params.core.tensor import TensorInfo, describe

LIMIT_MS = 100.0
RUNS = 5
QUERIES = ("up_proj", "*.up_proj.*", "[0-3].mlp", "/up|down/", "dtype:bf16 numel>1", "shape:*x1024")
SLOW = "/.*b.*c.*d/"
"""A pattern that backtracks on every name."""

GLOB = "*a" * 40 + "*b"


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    infos = listed()
    lowered = [info.name.lower() for info in infos]
    for text in QUERIES:
        best = 1000 * min(seconds(parse_query(text), infos, lowered) for _ in range(RUNS))
        yield Line(
            f"filter {len(infos):,} names by {text}", f"{best:.1f} ms", f"under {LIMIT_MS:.0f} ms", best < LIMIT_MS
        )
    long = [named(f"{'a' * 60}.{number}") for number in range(60_000)]
    taken = seconds(parse_query(SLOW), long, [info.name for info in long])
    yield Line(
        "a pattern that backtracks is stopped",
        f"{taken:.2f} s",
        f"under {2 * REGEX_SECONDS} s",
        taken < 2 * REGEX_SECONDS,
    )
    taken = 1000 * seconds(parse_query(GLOB), [named("a." * 200)], ["a." * 200])
    yield Line("a glob of 41 stars on one long name", f"{taken:.1f} ms", f"under {LIMIT_MS:.0f} ms", taken < LIMIT_MS)


def listed() -> list[TensorInfo]:
    """Tensors as many as DeepSeek-V3 has."""
    parts = ("gate", "up", "down", "x", "y", "z")
    return [
        named(f"model.layers.{i}.mlp.experts.{j}.{part}_proj.weight")
        for i in range(60)
        for j in range(256)
        for part in parts
    ]


def named(name: str) -> TensorInfo:
    dtype = from_torch("bfloat16")
    assert dtype is not None
    return describe(name, (4096, 1024), dtype)


def seconds(query: Query, infos: list[TensorInfo], lowered: list[str]) -> float:
    start = time.perf_counter()
    query.filter(infos, lowered=lowered)
    return time.perf_counter() - start
