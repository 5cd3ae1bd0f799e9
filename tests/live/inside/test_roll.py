"""Rolls: tensors in columns, which must say the same of each as a probe that asks one question after the other."""

from __future__ import annotations

import gc
import itertools
import json
import math
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from tests.live.inside.test_probe import odd_tensors
from tui_params.errors import ReadError
from tui_params.live.attached import roll_reader
from tui_params.live.attached.roll_reader import read_roll
from tui_params.live.inside.anatomy import body_of
from tui_params.live.inside.bodies import bodies_of
from tui_params.live.inside.model import ModelProbe
from tui_params.live.inside.pass_clock import PassClock
from tui_params.live.inside.requests import Served, Visit
from tui_params.live.inside.roll import BATCH, ServedProbe
from tui_params.live.inside.shared_page import GENERATION, SharedPage
from tui_params.live.inside.step_clock import StepClock
from tui_params.live.listing import listing_of


def odd_model() -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model of tensors of every kind, some of which are in no group of its optimizer."""
    model = nn.Module()
    for name, tensor in odd_tensors().items():
        if isinstance(tensor, nn.Parameter):
            model.register_parameter(name, tensor)
        else:
            model.register_buffer(name, tensor, persistent=name != "bool")
    model.linear, model.ema, model.twin = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
    model.twin.weight = model.linear.weight
    model.marked_weight = nn.Parameter(torch.ones(2, 2))
    model.marked_weight.note = "an attribute of its own"
    model.same = nn.Parameter(model.marked_weight.detach())
    model.aside = [torch.ones(2), model.linear.bias]
    optimizer = torch.optim.AdamW([*model.linear.parameters(), model.same], lr=1e-3)
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer


def through_the_wire(probe: ServedProbe) -> roll_reader.Roll:
    return read_roll([json.loads(json.dumps(frame)) for frame in probe.enroll().frames()])


def test_many_tensors_at_once_are_as_one_after_the_other() -> None:
    for name, tensor in odd_tensors().items():
        body, bodies = body_of(tensor), bodies_of([tensor])
        if body is None or any(body.layout[4]):
            assert bodies is None, name
            continue
        assert bodies is not None, name
        (row,), (address,) = bodies.rows(), bodies.addresses
        shape, stride, dtype, device, requires_grad, spare = row
        assert (tuple(shape), stride, str(dtype), str(device)) == (body.shape, body.stride, *body.layout[1::-1]), name
        assert requires_grad == tensor.requires_grad
        assert address == (body.layout[-1] if body.numel else id(tensor)), name
        assert spare == (body.storage_nbytes if body.numel and body.storage_nbytes != body.nbytes else None), name
    tensors = [tensor for tensor in odd_tensors().values() if bodies_of([tensor]) is not None]
    assert bodies_of(tensors) is not None
    assert bodies_of([*tensors, torch.empty(1, device="meta")]) is None


def test_a_roll_says_what_an_enumeration_says() -> None:
    model, optimizer = odd_model()
    own = ModelProbe(model, optimizer)
    own.looks_at_gradients = False
    expected, _ = listing_of(own.enumerate(), "model of another process")
    found = through_the_wire(ServedProbe(model, optimizer)).listing
    assert found.tensors == expected.tensors
    assert (found.metadata, found.modules, found.findings) == (expected.metadata, expected.modules, expected.findings)
    assert {finding.rule for finding in found.findings} == {"not-in-optimizer", "unregistered-tensor"}
    ties = {info.name: info.tied_to for info in found.tensors if info.tied_to is not None}
    assert ties["twin.weight"] == "linear.weight"
    assert ties["again"] == "plain"
    assert ties["same"] == "marked_weight"
    trained = {info.name for info in found.tensors if info.kind == "parameter" and info.requires_grad}
    trained -= {info.name for info in found.tensors if info.unreadable}
    assert set(found.gradients) == trained
    assert found.absences == {name: why for name, why in expected.absences.items() if name not in trained}


def test_addresses_are_those_of_what_can_be_read_from_outside() -> None:
    model, optimizer = odd_model()
    roll = through_the_wire(ServedProbe(model, optimizer))
    places = {info.name: place for info, place in zip(roll.listing.tensors, roll.addresses, strict=True)}
    tensors = {**dict(model.named_buffers(remove_duplicate=False)), **dict(model.named_parameters())}
    for name in ("plain", "turned", "slice", "marked_weight", "linear.weight", "bool"):
        assert places[name] == tensors[name].data_ptr()
    for name in ("conjugate", "negated", "empty", "meta", "freed", "lazy"):
        assert places[name] is None


def test_names_that_are_spelled_alike_are_told_apart() -> None:
    model = nn.Module()
    model.add_module("a", nn.Module())
    model.a.register_buffer("b", torch.ones(1))
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    optimizer.state["x.y"] = {"z": torch.ones(1)}
    optimizer.state["x"] = {"y.z": torch.ones(2)}
    roll = through_the_wire(ServedProbe(model, optimizer))
    assert [info.name for info in roll.listing.tensors] == ["a.b", "optimizer.x.y.z", "optimizer.x.y.z#2"]
    assert roll.handles["optimizer.x.y.z#2"] == 2


def test_more_tensors_than_a_batch_keep_their_order_and_are_found_again() -> None:
    model = nn.Module()
    tensors = [torch.full((1 + number % 3,), float(number)) for number in range(2 * BATCH + 50)]
    for number, tensor in enumerate(tensors):
        model.register_buffer(f"w{number}", tensor if number != BATCH else tensor.to_sparse())
    roll = ServedProbe(model).enroll()
    read = through_the_wire(ServedProbe(model))
    assert len(roll) == len(tensors) + 1  # of the sparse one, indices and values
    assert [info.name for info in read.listing.tensors[-2:]] == [f"w{2 * BATCH + 48}", f"w{2 * BATCH + 49}"]
    asked = roll.ask(read.handles[f"w{2 * BATCH + 49}"])
    assert asked is not None
    assert asked.find() is tensors[-1]
    assert roll.ask(len(roll)) is None
    assert roll.ask(-1) is None


def test_viewers_share_a_roll_until_something_changes_and_it_goes_with_the_last() -> None:
    model = nn.Linear(3, 3)
    page = SharedPage()
    clock = StepClock(page)
    served = Served(ServedProbe(model), "net", "Linear", page, clock, PassClock(clock, model))
    first, second, third = Visit(served), Visit(served), Visit(served)
    for visit in (first, second):
        list(visit.answer({"ask": "list"}))
    assert first._roll is second._roll
    assert page.words[GENERATION] == 1
    kept = model.weight
    model.weight = nn.Parameter(torch.ones(3, 3))
    list(third.answer({"ask": "list"}))
    assert third._roll is not first._roll
    assert page.words[GENERATION] == 2
    assert first._roll.address(0) != kept.data_ptr()  # found by its name: it is asked where it lies now
    gone = weakref.ref(third._roll)
    del third
    assert gone() is None


def test_nothing_is_left_on_the_tensors() -> None:
    model = nn.Linear(3, 3)
    before = gc.get_referents(model.weight)
    ServedProbe(model).enroll()
    assert gc.get_referents(model.weight) == before


FRAME: dict[str, Any] = {
    "names": [["", ["a", "b"]]],
    "sorts": [["parameter", [], [2], None, "float32", "cpu", True, 2, 8, None]],
    "rows": [0, 0],
    "addresses": [64, 128],
    "odd": [],
}
ABOUT: dict[str, Any] = {"metadata": {}, "remarks": [], "frozen": "", "absences": {}, "adapters": []}
TINY = ["parameter", [], [2], None, "float32", "cpu", True, 2, 8, None]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": [0]}, "2 names, 1 tensors, 2 addresses"),
        ({"addresses": []}, "2 names, 2 tensors, 0 addresses"),
        ({"names": [["", ["a"]]]}, "1 names, 2 tensors, 2 addresses"),
        ({"names": [["", [1, 2]]]}, "Expected `str`, got `int`"),
        ({"names": [["", "ab"]]}, "Expected `array`, got `str`"),
        ({"rows": [-2, 0]}, "Expected `int` >= -1"),
        ({"rows": [0, 7]}, "a tensor of no sort"),
        ({"rows": [-1, 0]}, "a tensor without a description"),
        ({"rows": ["x", 0]}, "Expected `int`, got `str`"),
        ({"addresses": [-64, 128]}, "Expected `int` >= 0"),
        ({"addresses": [1 << 63, 128]}, "Expected `int` <= "),
        ({"addresses": [0.5, 128]}, "Expected `int`"),
        ({"sorts": [[*TINY[:7], 99, 396, None]]}, "a shape of 1 dimensions that has not 99 elements"),
        ({"sorts": [[*TINY[:8], 4, None]]}, "2 elements of float32 that take 4 bytes"),
        ({"sorts": [[*TINY[:2], [-1, -2], *TINY[3:]]]}, "Expected `int` >= 0"),
        ({"sorts": [[*TINY[:2], [1 << 40] * 3, *TINY[3:]]]}, "a shape of 3 dimensions that has not 2 elements"),
        ({"sorts": [[*TINY[:2], [1] * 2000, *TINY[3:]]]}, "Expected `array` of length <= 1000"),
        ({"sorts": [[*TINY[:3], [1, 1], *TINY[4:]]]}, "a shape of 1 dimensions with 2 strides"),
        ({"sorts": [[*TINY[:2], [math.inf], *TINY[3:]]]}, "Expected `int`"),
        ({"sorts": [[*TINY[:5], ["cpu"], *TINY[6:]]]}, "Expected `str`"),
        ({"sorts": [[]]}, "Expected `array` of at least length 10"),
        ({"odd": [[0, [], None]]}, "Expected `array` of at least length 14"),
        ({"odd": {}}, "Expected `array`"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], words: str) -> None:
    assert len(read_roll([FRAME, ABOUT]).listing.tensors) == 2
    with pytest.raises(ReadError, match="answers in a way that is not understood") as raised:
        read_roll([FRAME | change, ABOUT])
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        {"absences": []},
        {"metadata": {"a": 1}},
        {"remarks": [["fatal", "r", "e"]]},
        {"adapters": [["x"]]},
        {"frozen": 0},
    ],
)
def test_what_is_said_of_the_model_is_checked_too(change: dict[str, Any]) -> None:
    with pytest.raises(ReadError, match="answers in a way that is not understood"):
        read_roll([FRAME, ABOUT | change])
    for frames in ([FRAME], [FRAME, {"modules": {"": 3}}, ABOUT]):
        with pytest.raises(ReadError, match="answers in a way that is not understood"):
            read_roll(frames)


def test_what_is_said_of_one_odd_tensor_makes_that_one_unreadable() -> None:
    row = [0, "a", "parameter", [2], "float32", 2, 8, "cpu", True, None, None, None, None, []]
    for place, value, words in (
        (5, 9, "a shape of 1 dimensions that has not 9 elements"),
        (6, 4, "2 elements of float32 that take 4 bytes"),
        (10, [1, 1], "a shape of 1 dimensions with 2 strides"),
    ):
        wrong = [*row[:place], value, *row[place + 1 :]]
        first, second = read_roll([FRAME | {"rows": [-1, 0], "odd": [[0, wrong, None]]}, ABOUT]).listing.tensors
        assert (first.unreadable, second.unreadable) == (words, None)


def test_there_is_a_most_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_reader, "MAX_TENSORS", 1)
    with pytest.raises(ReadError, match="more than 1 tensors"):
        through_the_wire(ServedProbe(nn.Linear(2, 2)))
    monkeypatch.setattr(roll_reader, "MAX_FRAMES", 3)
    with pytest.raises(ReadError, match="a list of more than 3 parts"):
        read_roll(itertools.repeat({}))


def test_a_model_without_tensors_and_names_of_every_letter() -> None:
    assert through_the_wire(ServedProbe(nn.Module())).listing.tensors == ()
    model = nn.Module()
    model._parameters["a\nb\x1b[31m"] = nn.Parameter(torch.ones(2))
    model._parameters["\udc80"] = nn.Parameter(torch.ones(2))
    model._buffers["\0"] = torch.ones(1)
    roll = through_the_wire(ServedProbe(model))
    assert [info.name for info in roll.listing.tensors] == ["a\nb\x1b[31m", "\udc80", "\0"]
    assert roll.handles == {"a\nb\x1b[31m": 0, "\udc80": 1, "\0": 2}
