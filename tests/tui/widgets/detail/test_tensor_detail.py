"""The detail pane: each result on its own tensor, every kind of tensor, and reasons where numbers would stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_onnx import model, tensor
from tests.factories_screen import GatedSource, on_stage, ramp, small_model
from tui_params import open_source
from tui_params.core.reading import tensor_reading as reading
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.tensor_reading import summarize
from tui_params.tui.desk.messages import GridReady, HistogramReady, Measured
from tui_params.tui.widgets.detail.tensor_detail import Facts


def three() -> dict[str, NDArray[Any]]:
    """Three tensors whose figures cannot be mistaken for each other's."""
    return {"a": ramp(4) + 1111, "b": ramp(4) + 7770, "c": ramp(4) + 3333}


async def test_a_result_is_shown_on_its_tensor_and_not_where_the_cursor_is_now() -> None:
    source = GatedSource(three(), ("a", "b"))
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(source.started["a"].is_set, "a is being read")
        await stage.until(lambda: stage.facts.startswith("a\n"), "the page of a")
        assert "reading" in stage.facts
        await stage.send("down")
        await stage.until(lambda: stage.facts.startswith("b\n"), "the page of b")
        # Whether the scanner ends the read of a or puts it aside for b is a matter of moments; its answer is not.
        figures = summarize(MemorySource(three()), source.find("a")).figures(4)
        stage.screen.post_message(Measured(stage.screen.session.generation, [(Outcome("a", figures, None, True), ())]))
        for _ in range(5):
            await stage.turn()
        assert stage.cursor == "b"
        assert stage.facts.startswith("b\n")
        assert "111" not in stage.facts + stage.values + stage.row("b")
        assert "reading" in stage.facts
        for gate in source.gates.values():
            gate.set()
        await stage.rest()
        assert "7,773" in stage.facts
        assert "7770" in stage.values
        await stage.press("up")
        assert "1,112" in stage.facts
        assert "777" not in stage.facts + stage.values


async def test_values_and_a_histogram_that_come_late_are_dropped() -> None:
    source = MemorySource(three())
    async with on_stage(source) as stage:
        screen = stage.screen
        assert screen.pages is not None
        old_grid, old_plot = screen.pages._grid[0], screen.pages.histogram._got
        assert old_grid is not None
        assert old_plot is not None
        await stage.press("down")
        before = stage.text
        screen.post_message(GridReady(old_grid, None, "of another tensor"))
        screen.post_message(HistogramReady(old_plot, ([("of another tensor", "text")],), None))
        await stage.rest()
        assert "another" not in stage.text
        assert stage.text == before


async def test_a_result_of_the_source_as_it_was_before_a_reload_is_dropped() -> None:
    opened: list[MemorySource] = []

    def open_it() -> MemorySource:
        opened.append(MemorySource({"a": ramp(4) + 1000 * (1 + len(opened))}))
        return opened[-1]

    async with on_stage(open_it) as stage:
        desk = stage.screen.desk
        assert desk is not None
        old = desk.figures("a")
        assert old is not None
        assert "1,003" in stage.facts
        await stage.press("R")
        await stage.until(lambda: stage.screen.session.generation == 2, "opened again")
        await stage.rest()
        assert "2,003" in stage.facts
        changed = msgspec.structs.replace(old, nan=3)
        stage.screen.post_message(Measured(1, [(Outcome("a", changed, None, True), ())]))
        stage.screen.post_message(Measured(1, [(Outcome("a", None, "a stale reason", True), ())]))
        await stage.rest()
        assert "stale" not in stage.text
        assert "2,003" in stage.facts
        assert "!" not in stage.row("a")


async def test_no_key_waits_for_a_tensor_that_is_being_read() -> None:
    source = GatedSource(three(), ("a",))
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(source.started["a"].is_set, "a is being read")
        await stage.send("down")
        assert stage.cursor == "b"
        await stage.send("end")
        assert stage.cursor == "c"
        await stage.send("slash")
        await stage.type("b")
        await stage.send("enter")
        assert stage.names == ["b"]
        await stage.send("escape")
        await stage.until(lambda: stage.names == ["a", "b", "c"], "everything again")
        assert not source.gates["a"].is_set()


async def test_a_tensor_that_cannot_be_read_shows_the_reason_where_its_numbers_would_stand() -> None:
    reason = "the shard ends at byte 17 of 64"
    source = MemorySource(three(), unreadable={"a": reason}, broken={"b": "the disk says no"})
    async with on_stage(source) as stage:
        assert f"x {reason}" in stage.facts
        assert "mean" not in stage.facts
        assert stage.row("a").startswith("x")
        assert reason in stage.values
        await stage.press("down")
        assert "x the disk says no" in stage.facts
        assert stage.row("b").startswith("x")
        assert "the disk says no" in stage.values
        assert not list(stage.app._notifications)
        await stage.press("down")
        assert "3,335" in stage.facts  # one that fails does not stop the others
        assert stage.row("c").startswith(" ")


async def test_a_module_tells_what_below_it_could_not_be_read() -> None:
    source = MemorySource({"m.a": ramp(3), "m.b": ramp(3)}, broken={"m.a": "[red]no[/red] \x1b[2J"})
    async with on_stage(source) as stage:
        await stage.go("m")
        assert "x a: [red]no[/red] \\x1b[2J" in stage.facts
        assert "1 of 2 tensors below have been read so far" in stage.facts
        assert stage.row("m").startswith("x")
        assert "\x1b" not in stage.text


async def test_a_source_that_fails_in_an_unforeseen_way_does_not_stop_the_rest() -> None:
    class Failing(MemorySource):
        def _array(self, info: Any) -> Any:
            if info.name == "a":
                raise MemoryError
            if info.name == "b":
                raise OSError(5, "Input/output error")
            return super()._array(info)

    async with on_stage(Failing(three())) as stage:
        assert "memory" in stage.facts
        await stage.press("down")
        assert "Input/output error" in stage.facts
        assert "Input/output error" in stage.values
        await stage.press("down")
        assert "3,335" in stage.facts


TENSORS: dict[str, NDArray[Any]] = {
    "empty": np.zeros((0, 4), np.float32),
    "scalar": np.array(2.5, np.float32),
    "one": np.array([3.5], np.float64),
    "bool": np.array([True, False, True]),
    "int8": np.array([-128, 127], np.int8),
    "uint64": np.array([0, 2**64 - 1], np.uint64),
    "int64": np.array([-(2**63), 2**63 - 1], np.int64),
    "complex": np.array([1 + 2j, complex(np.nan, 3)], np.complex64),
    "bfloat16": ramp(6).astype(ml_dtypes.bfloat16),
    "float8_e4m3": ramp(6).astype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.array([1, np.inf, np.nan]).astype(ml_dtypes.float8_e5m2),
    "float8_e8m0": np.array([0.5, 1, 2]).astype(ml_dtypes.float8_e8m0fnu),
    "float4": np.array([0, 0.5, 1, 6]).astype(ml_dtypes.float4_e2m1fn),
    "float6": np.array([0, 0.5, 1, 6] * 2).astype(ml_dtypes.float6_e2m3fn),
    "all_nan": np.full((3, 3), np.nan, np.float32),
    "all_inf": np.full(5, np.inf, np.float16),
    "constant": np.full((5, 5), 0.1, np.float32),
    "zeros": np.zeros((4, 4), np.float32),
    "nan_and_inf": np.array([[1, np.nan, -2], [np.inf, -np.inf, 4]], np.float32),
    "huge": np.array([1.7e308, -1.7e308, 5e-324]),
    "subnormal": np.array([1e-40, 2e-40], np.float32),
    "wide": ramp(2, 2, 2, 2, 2, 2, 2, 2),
    "half": np.linspace(-1, 1, 5000).astype(np.float16),
}


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=str)
async def test_every_kind_of_tensor_has_a_page(size: tuple[int, int]) -> None:
    async with on_stage(MemorySource(TENSORS), size) as stage:
        for name, array in TENSORS.items():
            await stage.go(name)
            assert stage.facts.startswith(f"{name}\n"), name
            assert str(list(array.shape)) in stage.facts, name
            if size[0] == 120:
                await stage.press("s", "a")
            assert "reading" not in stage.facts, name
            assert "nan" not in stage.facts.replace(name, ""), name  # NaN is counted, never a statistic
            assert all(len(line) <= stage.screen.detail.size.width for line in stage.facts.splitlines()), name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("empty", ["no elements"]),
        ("scalar", ["[]", "2.5", "1 element\n"]),
        ("bool", ["exact, all 3 elements", "66", "0.66"]),
        ("uint64", ["18446744073709551615", "1.84", "1.845e19"]),
        ("complex", ["all 4 real and imaginary parts", "1 of 4 values is NaN"]),
        ("all_nan", ["! no value is finite", "9 of 9 values are NaN"]),
        ("all_inf", ["! no value is finite", "5 of 5 values are +Inf"]),
        ("constant", ["~ all 25 values are 0.1"]),
        ("zeros", ["! all 16 values are zero"]),
        ("nan_and_inf", ["1 of 6 values is NaN", "1 of 6 values is +Inf", "1 of 6 values is -Inf"]),
        ("float4", ["6", "4 elements", "2 B"]),
    ],
)
async def test_what_the_page_of_a_hard_tensor_says(name: str, expected: list[str]) -> None:
    async with on_stage(MemorySource({name: TENSORS[name]})) as stage:
        if name in ("bool", "uint64"):
            assert any(words in stage.facts for words in expected)
        else:
            assert [words for words in expected if words not in f"{stage.facts}\n"] == []


async def test_nan_and_infinities_stay_out_of_the_range_of_the_histogram() -> None:
    values = np.array([np.nan, np.inf, -np.inf, *np.linspace(-3, 5, 800)], np.float32)
    async with on_stage(MemorySource({"a": values})) as stage:
        facts = stage.facts
        assert "┤" in facts
        ticks = facts.split("Quantiles")[0].rstrip().splitlines()[-1]
        assert ticks.split()[0] == "-3"
        assert ticks.split()[-1] == "5"
        assert "█" in facts
        assert "min     -3" in facts
        assert "max     5" in facts


async def test_figures_of_a_sample_say_so_until_all_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SAMPLE_BEYOND", 1 << 10)
    monkeypatch.setattr(reading, "_RUN", 64)

    class SlowToTheEnd(GatedSource):
        """A sample can be had; what comes after the first thousand elements waits at the gate."""

        def blocks(self, info: Any, start: int = 0, stop: int | None = None) -> Any:
            whole = stop is None or stop - start > 64
            if whole:
                yield from super().blocks(info, start, stop)
            else:
                yield from MemorySource.blocks(self, info, start, stop)

    source = SlowToTheEnd({"a": ramp(8192)}, ("a",))
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(lambda: "sampled" in stage.facts, "figures of a sample")
        assert "sampled: 1,024 of 8,192 elements (12.5 %)" in stage.facts
        assert "exact" not in stage.facts
        source.gates["a"].set()
        await stage.rest()
        assert "sampled" not in stage.facts
        assert "exact, all 8,192 elements" in stage.facts


async def test_a_sample_marks_the_summary_that_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage() as stage:
        await stage.press("Y")
        assert "sampled" not in stage.app.clipboard


async def test_while_a_tensor_is_read_the_row_has_a_dot_and_the_header_says_so() -> None:
    source = GatedSource(three(), ("a",))
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(source.started["a"].is_set, "a is being read")
        await stage.until(lambda: "reading" in stage.facts, "the page of a")
        assert "·" in stage.row("a")
        source.open_gates()
        await stage.rest()
        assert "·" not in stage.row("a")
        await stage.until(lambda: "reading" not in stage.header, "the header is at rest")


async def test_the_page_of_the_next_tensor_paints_only_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[int] = []
    line = Facts.render_line

    def count(self: Facts, y: int) -> object:
        painted.append(y)
        return line(self, y)

    async with on_stage(MemorySource({"a": ramp(40), "b": ramp(40)})) as stage:
        height = stage.screen.detail.facts.size.height
        monkeypatch.setattr(Facts, "render_line", count)
        await stage.press("down")
        assert stage.facts.startswith("b")
        assert len(set(painted)) < height / 2


async def test_the_page_of_the_next_tensor_begins_at_its_top() -> None:
    async with on_stage(MemorySource({"a": ramp(40), "b": ramp(40)}), (80, 24)) as stage:
        await stage.press("ctrl+d")
        facts = stage.screen.detail.facts
        assert facts.top > 0
        await stage.press("down")
        assert facts.top == 0
        assert " b" in stage.lines[2]


async def test_bucketed_quantiles_say_how_far_off_they_may_be() -> None:
    values = np.random.default_rng(1).normal(size=3000).astype(np.float32)
    async with on_stage(MemorySource({"a": values, "b": values.astype(np.float16)}), (160, 50)) as stage:
        desk = stage.screen.desk
        assert desk is not None
        for name in ("a", "b"):
            await stage.go(name)
            figures = desk.figures(name)
            assert figures is not None
            assert ("bucketed" in stage.facts) is (not figures.quantiles_exact)


async def test_holding_a_key_down_reads_no_page_on_the_way() -> None:
    source = MemorySource({f"layer{number}": ramp(4, 4) for number in range(60)})
    async with on_stage(source) as stage:
        source.windows.clear()
        screen = stage.screen
        for _ in range(40):
            screen.tree_view.action_cursor(1)
        await stage.rest()
        assert stage.cursor == "layer40"
        assert len(source.windows) <= 2
        assert stage.facts.startswith("layer40\n")


async def test_the_small_model_is_read_whole() -> None:
    source = MemorySource(small_model())
    async with on_stage(source) as stage:
        desk = stage.screen.desk
        assert desk is not None
        for info in source.listing.tensors:
            figures = desk.figures(info.name)
            assert figures is not None
            assert figures.count == info.numel


async def test_the_note_about_a_weight_of_an_exporter_is_whole_in_a_narrow_pane(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model([tensor("val_3", (2, 2), 1, raw=bytes(16))]))
    async with on_stage(lambda: open_source(path), size=(80, 24)) as stage:
        await stage.go("val_3")
        assert "a MatMul's\nweight is (in, out), transposed\n" in stage.facts
