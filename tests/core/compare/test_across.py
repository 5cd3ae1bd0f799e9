"""Two sources as one: its listing, what is read from where, what is said of each tensor, B - A, an adapter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tests.factories_adapters import write_peft
from tests.factories_memory import MemorySource
from tests.factories_pair import base, tuned, tuned_arrays
from tui_params.api.comparing import compare
from tui_params.api.opening import open_source
from tui_params.core.compare.across import adapted, change_of_verdict, find_adapted, is_of_adapter, laid_out
from tui_params.core.compare.both import BothSources
from tui_params.core.compare.difference_source import DifferenceSource, subtracted, why_not
from tui_params.core.compare.moved import Change
from tui_params.core.compare.sides import MOST_PLACES, read_sides
from tui_params.core.compare.unmatched import why_nothing
from tui_params.core.compare.verdict import Verdict
from tui_params.core.query.query import parse_query
from tui_params.core.window import parse_window
from tui_params.errors import ReadError, StoppedError


def never() -> bool:
    return False


def changes_of(both: BothSources) -> dict[str, Change]:
    verdicts: list[Verdict] = []
    both.comparer.run(verdicts.append)
    return laid_out(both) | {verdict.name: change_of_verdict(verdict) for verdict in verdicts}


def test_both_are_listed_once_and_read_from_their_own_side() -> None:
    with BothSources(base(), tuned()) as both:
        names = [info.name for info in both.listing.tensors]
        assert len(names) == len(set(names)) == 23
        assert names[-1] == "classifier.weight"
        assert "only in B" in both.find("classifier.weight").notes
        assert np.array_equal(both.read("classifier.weight"), tuned_arrays()["classifier.weight"])
        assert both.read("embed.weight").shape == (96, 32)
        assert both.summarize("classifier.weight").count == 128
    assert both.a.is_closed  # type: ignore[attr-defined]
    assert both.b.is_closed  # type: ignore[attr-defined]


def test_a_name_that_a_rename_left_free_does_not_hide_that_of_b() -> None:
    a = MemorySource({"y": np.zeros(2, np.float32)})
    b = MemorySource({"z": np.zeros(2, np.float32), "y": np.ones(3, np.float32)})
    both = BothSources(a, b, [_rename("y=z")])
    assert [info.name for info in both.listing.tensors] == ["y", "y (in B)"]
    assert both.read("y (in B)").tolist() == [1, 1, 1]
    assert changes_of(both)["y"].state == "same"
    assert laid_out(both)["y (in B)"].state == "only_b"


def _rename(words: str) -> Any:
    from tui_params.core.compare.renames import parse_rename

    return parse_rename(words)


def test_what_is_said_of_each_tensor() -> None:
    changes = changes_of(BothSources(base(), tuned()))
    states = {name: change.state for name, change in changes.items()}
    assert states["embed.weight"] == "shape"
    assert states["layers.3.norm.weight"] == "dtype"
    assert states["layers.0.mlp.up.bias"] == "only_a"
    assert states["classifier.weight"] == "only_b"
    assert states["head.weight"] == "same"
    retyped = changes["layers.3.norm.weight"]
    assert retyped.difference is not None
    assert (retyped.difference.changed, retyped.has_changed, retyped.share) == (0, True, 0.0)
    moved = changes["layers.1.mlp.up.weight"]
    assert moved.share == 4 / 2048
    assert moved.relative is not None
    assert 0.1 < moved.relative == moved.size
    assert changes["layers.2.mlp.up.bias"].size == float("inf")
    assert changes["layers.2.mlp.up.bias"].more_nan == 1


def test_what_could_not_be_compared_is_neither_changed_nor_the_same() -> None:
    a = MemorySource({"w": np.ones(4, np.float32)}, broken={"w": "the disk is gone"})
    changes = changes_of(BothSources(a, MemorySource({"w": np.ones(4, np.float32)})))
    assert changes["w"].state == "unread"
    assert "the disk is gone" in changes["w"].about
    assert changes["w"].has_changed is changes["w"].size is None
    for words in ("changed:no", "changed:yes", "change>0", "cosine>0.5"):
        assert parse_query(words).filter(a.listing.tensors, change_of=changes.get).unknown == 1, words


def test_equal_values_in_other_bits_are_no_change() -> None:
    a, b = MemorySource({"w": np.array([0.0, 1], np.float32)}), MemorySource({"w": np.array([-0.0, 1], np.float32)})
    change = changes_of(BothSources(a, b))["w"]
    assert (change.state, change.has_changed, change.size) == ("equal", False, 0.0)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("only:a", ["layers.0.mlp.up.bias"]),
        ("only:B", ["classifier.weight"]),
        ("cosine<0.97", ["layers.1.mlp.up.weight", "layers.3.attn.q_proj.weight"]),
        ("change>25%", ["layers.1.mlp.up.weight", "layers.3.attn.q_proj.weight"]),
        ("changed:no mlp bias", ["layers.1.mlp.up.bias", "layers.3.mlp.up.bias"]),
    ],
)
def test_the_filter_knows_the_differences(query: str, names: list[str]) -> None:
    both = BothSources(base(), tuned())
    found = parse_query(query).filter(both.listing.tensors, change_of=changes_of(both).get)
    assert [both.listing.tensors[index].name for index in found.indices] == names
    assert not found.unknown


def test_only_has_two_sides() -> None:
    assert "the sides are a and b" in parse_query("only:c").errors[0].message
    assert parse_query("only>a").errors


def test_the_same_files_are_recognised_also_by_a_link(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": np.ones(3, np.float32)}, path)
    os.symlink(path, tmp_path / "b.safetensors")
    save_file({"w": np.ones(3, np.float32)}, tmp_path / "c.safetensors")
    for other, is_same in (("b", True), ("c", False)):
        with BothSources(open_source(path), open_source(tmp_path / f"{other}.safetensors")) as both:
            assert both.are_same_files is is_same
    assert not BothSources(base(), base()).are_same_files


def test_the_difference_is_a_source_of_its_own() -> None:
    a, b = base(), tuned()
    both = BothSources(a, b)
    source = DifferenceSource(a, b, both.comparer.structure.pairs)
    assert "embed.weight" not in source
    name = "layers.1.mlp.up.weight"
    expected = b.arrays[name].astype(np.float64) - a.arrays[name]
    assert np.array_equal(source.read(name), expected)
    blocks = [block.view(np.float64) for block in source.blocks(source.find(name))]
    assert np.array_equal(np.concatenate(blocks).reshape(expected.shape), expected)
    assert np.array_equal(source.read_window(source.find(name), parse_window("[3, :5]", (64, 32))), expected[3, :5])
    summary = source.summarize(name).figures(2048)
    assert summary.zeros == 2044
    source.close()
    assert not a.is_closed
    with pytest.raises(ReadError):
        source.read_window(a.find("embed.weight"), parse_window("", (96, 32)))
    reasons = [why_not(pair) for pair in both.comparer.structure.pairs]
    assert sum(reason is not None for reason in reasons) == 1


def test_equal_elements_have_no_difference_even_where_they_are_not_finite() -> None:
    a = np.array([np.nan, np.inf, -np.inf, np.inf, 1, np.nan])
    b = np.array([np.nan, np.inf, -np.inf, -np.inf, np.nan, 1])
    assert np.array_equal(subtracted(a, b), [0, 0, 0, -np.inf, np.nan, np.nan], equal_nan=True)


def sides_of(a: NDArray[Any], b: NDArray[Any]) -> Any:
    source_a, source_b = MemorySource({"w": a}, step=7), MemorySource({"w": b}, step=5)
    pair = BothSources(source_a, source_b).comparer.structure.pairs[0]
    return read_sides(source_a, source_b, pair, never)


def test_both_sides_are_read_beside_each_other() -> None:
    a = np.linspace(-1, 1, 60, dtype=np.float32).reshape(6, 10)
    b = a.copy()
    b[2, 3], b[5, 9] = 0.5, np.nan
    sides = sides_of(a, b)
    assert [(place.index, place.b) for place in sides.places] == [((2, 3), "0.5"), ((5, 9), "NaN")]
    assert (sides.a.nan, sides.b.nan, sides.a.min) == (0, 1, -1)
    assert sides.low is not None
    assert sum(sides.bars_a) >= sum(sides.bars_b) > 50
    assert len(sides_of(a, a + 1).places) == MOST_PLACES
    ints = sides_of(np.array([1, 2**60], np.int64), np.array([1, 2**60 + 1], np.int64))
    assert [(place.a, place.b) for place in ints.places] == [(str(2**60), str(2**60 + 1))]
    same = sides_of(np.array([np.nan, 0.0], np.float32), np.array([np.nan, -0.0], np.float32))
    assert not same.places
    source = MemorySource({"w": a})
    pair = BothSources(source, source).comparer.structure.pairs[0]
    with pytest.raises(StoppedError):
        read_sides(source, source, pair, lambda: True)


def test_an_adapter_is_shown_as_the_change_that_it_makes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weight, left, right = random.normal(size=(6, 4)), random.normal(size=(6, 2)), random.normal(size=(2, 4))
    arrays = {"layers.0.q.weight": weight.astype(np.float32), "layers.0.k.weight": np.ones((3, 3), np.float32)}
    lora = {
        "base_model.model.layers.0.q.lora_A.weight": right.astype(np.float32),
        "base_model.model.layers.0.q.lora_B.weight": left.astype(np.float32),
    }
    path = write_peft(tmp_path / "lora", lora, r=2, lora_alpha=8)
    expected = 4 * np.linalg.norm(left @ right) / np.linalg.norm(weight)
    for both in (
        BothSources(MemorySource(arrays), open_source(path)),
        BothSources(open_source(path), MemorySource(arrays)),
    ):
        assert is_of_adapter(both)
        reason = why_nothing(both.comparer.structure, both.a.listing.tensors, both.b.listing.tensors)
        assert reason is not None
        assert reason.endswith("how far it moves them is told separately")
        changes = dict(adapted(both, never))
        relative = changes["layers.0.q.weight"].relative
        assert relative is not None
        assert relative == pytest.approx(expected, rel=1e-6)
        assert (changes["layers.0.k.weight"].relative, changes["layers.0.k.weight"].has_changed) == (0.0, False)
        factor = changes["base_model.model.layers.0.q.lora_A.weight"]
        assert (factor.state, factor.has_changed) == ("implied", None)
    for a, b in ((MemorySource(arrays), open_source(path)), (open_source(path), MemorySource(arrays))):
        moved, untouched = compare(a, b).adapted
        assert (moved.name, untouched.name) == tuple(arrays)
        assert moved.relative == pytest.approx(expected, rel=1e-6)
        assert (moved.is_touched, untouched.is_touched, untouched.relative) == (True, False, 0.0)
    assert find_adapted(base(), tuned()) == ()
    assert not is_of_adapter(BothSources(base(), tuned()))
    # An adapter for a weight that is not there: then nothing else is known to be untouched.
    lost = write_peft(tmp_path / "lost", {name.replace(".q.", ".v."): array for name, array in lora.items()})
    changes = dict(adapted(BothSources(MemorySource(arrays), open_source(lost)), never))
    assert changes["layers.0.k.weight"].state == "unread"
