"""Words that stand for one another are suggested where shapes prove it, and left alone where they do not."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from tests.factories_memory import MemorySource
from tui_params.api.comparing import compare
from tui_params.core.compare import substitutions
from tui_params.core.compare.structure import Structure, structure

Shapes = Mapping[str, tuple[int, ...]]


def listed(shapes: Shapes) -> MemorySource:
    return MemorySource({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})


def suggested(a: Shapes, b: Shapes, **options: Any) -> list[tuple[list[str], int]]:
    laid = structure(listed(a), listed(b), **options)
    return [([str(rename) for rename in item.renames], item.matches) for item in laid.suggested]


def layers(count: int = 3, /, **parts: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"layers.{i}.{name.replace('__', '.')}": shape for i in range(count) for name, shape in parts.items()}


def bert(weight: str, bias: str) -> dict[str, tuple[int, ...]]:
    norms = {f"layer.{i}.LayerNorm.{part}": (4,) for i in range(3) for part in (weight, bias)}
    return norms | layers(dense__weight=(4, 8), dense__bias=(4,))


PLAIN = bert("weight", "bias")


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (bert("gamma", "beta"), PLAIN, [(["beta=bias", "gamma=weight"], 6)]),
        # weight and bias are words of other tensors too, so that it is the other side that is renamed.
        (PLAIN, bert("gamma", "beta"), [(["b:beta=bias", "b:gamma=weight"], 6)]),
        (
            {f"module.{name}": shape for name, shape in bert("gamma", "beta").items()},
            PLAIN,
            [(["module.=", "beta=bias", "gamma=weight"], 12), (["module.="], 6)],
        ),
        (layers(attention__q=(4, 4)), layers(attn__q=(4, 4)), [(["*attention.=attn."], 3)]),
        (layers(self__attn__q=(4, 4)), layers(attn__q=(4, 4)), [(["*self.="], 3)]),
        (layers(w=(4, 4)), layers(w__data=(4, 4)), [(["b:data="], 3)]),
        ({f"transformer.h.{i}.q": (4,) for i in range(2)}, layers(2, q=(4,)), [(["transformer.h.=layers."], 2)]),
        # An end that is also how a name begins has to be written with a dot.
        (layers(w=(4,)) | {"w_in": (2,)}, layers(u=(4,)) | {"w_in": (2,)}, [([".w=.u"], 3)]),
    ],
)
def test_words_are_replaced(a: Shapes, b: Shapes, expected: list[tuple[list[str], int]]) -> None:
    assert suggested(a, b) == expected
    laid = structure(listed(a), listed(b), auto_rename=True)
    assert (laid.only_in_a, laid.only_in_b, len(laid.pairs)) == ((), (), len(a))
    again = structure(listed(a), listed(b), renames=expected[0][0])
    assert [(pair.a.name, pair.b.name) for pair in again.pairs] == [(pair.a.name, pair.b.name) for pair in laid.pairs]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        # Another shape.
        (layers(u=(4,)), layers(v=(5,))),
        # Two partners that the shapes allow.
        (layers(w1=(4, 4), w3=(4, 4)), layers(gate=(4, 4), up=(4, 4))),
        (layers(w1=(4, 4)), layers(gate=(4, 4), up=(4, 4))),
        # Words that the other side has too, with a meaning of its own.
        (layers(q=(4,), k=(4,)) | {"x.q": (2,)}, layers(k=(4,)) | {"y.k": (2,), "z.q": (3,)}),
        (layers(norm__weight=(4,)), layers(norm__bias=(4,))),
        # One tensor alone, of a word that nobody knows.
        ({"a.old": (4,)}, {"a.new": (4,)}),
        # Numbers are no words.
        ({f"a.{i}.w": (4,) for i in range(3)}, {f"a.{i}.w": (4,) for i in range(3, 6)}),
        # What could not be written as an expression.
        ({f"a.{i}.x=y": (4,) for i in range(3)} | {"b.z": (2,)}, {f"a.{i}.z": (4,) for i in range(3)}),
    ],
)
def test_what_is_uncertain_is_not_suggested(a: Shapes, b: Shapes) -> None:
    assert suggested(a, b) == []
    assert structure(listed(a), listed(b), auto_rename=True).applied == ()


def test_the_known_pairs_decide_between_partners_of_one_shape() -> None:
    a, b = layers(norm__gamma=(4,), norm__other=(4,)), layers(norm__weight=(4,), norm__bias=(4,))
    assert suggested(a, b)[0][0][0] == "gamma=weight"


def test_suggestions_come_after_the_renames_that_were_asked_for() -> None:
    a = {f"module.{name}": shape for name, shape in bert("gamma", "beta").items()}
    assert suggested(a, PLAIN, renames=["module.="]) == [(["beta=bias", "gamma=weight"], 6)]
    laid: Structure = structure(listed(a), listed(PLAIN), renames=["module.=", "beta=bias", "gamma=weight"])
    assert (laid.only_in_a, laid.only_in_b, len(laid.pairs)) == ((), (), 12)


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    a = {f"a{i}.b{i}.gamma": (4,) for i in range(30)}
    b = {f"a{i}.b{i}.weight": (4,) for i in range(30)}
    assert suggested(a, b) == [(["gamma=weight"], 30)]
    monkeypatch.setattr(substitutions, "MOST_PAIRS", 0)
    assert suggested(a, b) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            weight_norm,
            parametrizations.weight_norm,
            ["weight_g=parametrizations.weight.original0", "weight_v=parametrizations.weight.original1"],
        ),
        (
            spectral_norm,
            parametrizations.spectral_norm,
            [
                "weight_v=parametrizations.weight.0._v",
                "weight_u=parametrizations.weight.0._u",
                "weight_orig=parametrizations.weight.original",
            ],
        ),
    ],
)
def test_both_norms_of_torch_are_one_model_under_two_ways_of_naming(
    old: Callable[[nn.Module], nn.Module], new: Callable[[nn.Module], nn.Module], expected: list[str]
) -> None:
    a = nn.Sequential(nn.Conv1d(4, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3))
    b = copy.deepcopy(a)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place in (0, 2):
            old(a[place])
            new(b[place])
    state_a, state_b = a.state_dict(), b.state_dict()
    found = compare(state_a, state_b)
    assert {str(rename) for rename in found.suggested[0].renames} == set(expected)
    renamed = compare(state_a, state_b, renames=expected)
    assert (renamed.only_in_a, renamed.only_in_b, len(renamed.identical) + len(renamed.changed)) == (
        (),
        (),
        len(a.state_dict()),
    )
    # The vectors of the power iteration are random; the weights are not.
    assert {change.name.rpartition(".")[2] for change in renamed.changed} <= {"weight_u", "weight_v"}
    assert compare(state_b, state_a, auto_rename=True).only_in_a == ()
