"""Which parameter a numbered state belongs to: said only where one is possible, and never wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from tests.factories_runs import Llama, owners, step, trainer_groups, write_trainer
from tui_params.core.source import Source
from tui_params.sources.detect import open_path
from tui_params.sources.folder.run.definition_order import in_order_of_definition
from tui_params.sources.folder.run.optimizer_order import Model, match

_CERTAIN = "state of "
_PERHAPS = "state of one of "


def notes(source: Source) -> dict[int, str]:
    """The note of each numbered state, without how it was found."""
    found = {}
    for info in source.listing.tensors:
        if info.name.startswith("optimizer.state.") and info.notes:
            (note,) = info.notes
            found[int(info.name.split(".")[2])] = note.partition(" (")[0]
    return found


def given_names(source: Source) -> dict[int, str]:
    """The names that are given as the only ones."""
    return {
        number: note.removeprefix(_CERTAIN) for number, note in notes(source).items() if not note.startswith(_PERHAPS)
    }


def test_a_family_whose_order_is_known(tmp_path: Path) -> None:
    model = Llama()
    optimizer = write_trainer(tmp_path, model)
    source = open_path(tmp_path)
    assert given_names(source) == owners(model, optimizer)
    (note,) = source.find("optimizer.state.1.exp_avg").notes
    assert note == "state of model.layers.0.self_attn.q_proj.weight (by the order of the model and shapes)"


def test_without_the_order_only_what_shapes_and_layers_settle_is_named(tmp_path: Path) -> None:
    model = Llama(3)
    optimizer = write_trainer(tmp_path, model, model_type="unheard of")
    source = open_path(tmp_path)
    true = owners(model, optimizer)
    named = given_names(source)
    assert {number: true[number] for number in named} == named
    # Each norm has the shape of the others, and those of the layers are alike; q and o, k and v too.
    said = notes(source)
    first = next(number for number, name in true.items() if name == "model.layers.1.self_attn.q_proj.weight")
    assert said[first] == (
        "state of one of model.layers.1.self_attn.o_proj.weight and model.layers.1.self_attn.q_proj.weight"
    )
    assert all(true[number] in note or " more" in note for number, note in said.items())


def test_shapes_alone_can_settle_it(tmp_path: Path) -> None:
    model = nn.ModuleDict({"b": nn.Linear(3, 5), "a": nn.Linear(5, 2)})
    optimizer = write_trainer(tmp_path, model, model_type="", groups=None)
    assert given_names(open_path(tmp_path)) == owners(model, optimizer)


def test_names_in_the_groups_are_taken(tmp_path: Path) -> None:
    model = Llama()
    write_trainer(tmp_path, model)
    optimizer = torch.optim.AdamW(reversed(list(model.named_parameters())))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    assert given_names(open_path(tmp_path)) == owners(model, optimizer)


@pytest.mark.parametrize(
    "change",
    ["a parameter more", "one less", "another shape", "groups of other sizes", "three groups"],
)
def test_what_does_not_fit_gets_no_name(tmp_path: Path, change: str) -> None:
    model = Llama()
    optimizer = write_trainer(tmp_path, model)
    state = model.state_dict()
    if change == "a parameter more":
        save_file({**state, "model.extra.weight": torch.ones(3, 3)}, tmp_path / "model.safetensors")
    elif change == "one less":
        del state["lm_head.weight"]
        save_file(state, tmp_path / "model.safetensors")
    elif change == "another shape":
        save_file({**state, "lm_head.weight": torch.ones(7, 8)}, tmp_path / "model.safetensors")
    else:
        named = dict(model.named_parameters())
        parts: Sequence[list[nn.Parameter]] = [list(named.values())[:3], list(named.values())[3:]]
        if change == "three groups":
            parts = [list(named.values())[:3], list(named.values())[3:4], list(named.values())[4:]]
        optimizer = step(model, [{"params": part} for part in parts])
        torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    found = notes(open_path(tmp_path))
    if change in ("one less", "another shape"):
        assert found == {}
        return
    # At least the shapes tell which it may be.
    assert all(note.startswith(_PERHAPS) for note in found.values())
    true = owners(model, optimizer)
    assert found.keys() == true.keys()
    for number, name in true.items():
        assert name in found[number] or " more" in found[number]


def test_frozen_parameters_have_no_state(tmp_path: Path) -> None:
    model = nn.ModuleDict({"head": nn.Linear(3, 2), "body": nn.Linear(3, 5), "more": nn.Linear(3, 2)})
    model["body"].requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    write_trainer(tmp_path, model, lambda _: [{"params": trained}])
    source = open_path(tmp_path)
    assert source.find("optimizer.state.0.exp_avg").notes == ("state of one of head.weight and more.weight",)
    model["more"].requires_grad_(False)
    write_trainer(tmp_path, model, lambda _: [{"params": list(model["head"].parameters())}])
    save_file({"head.weight": torch.ones(2, 3), "body.weight": torch.ones(5, 3)}, tmp_path / "model.safetensors")
    (tmp_path / "optimizer.pt").unlink()
    torch.save(
        {"state": {0: {"exp_avg": torch.ones(2, 3)}}, "param_groups": [{"params": [0]}]}, tmp_path / "optimizer.pt"
    )
    assert open_path(tmp_path).find("optimizer.state.0.exp_avg").notes == ("perhaps the state of head.weight",)


def test_tied_weights_count_once(tmp_path: Path) -> None:
    model = Llama()
    model.lm_head.weight = model.model.embed_tokens.weight
    optimizer = step(model, trainer_groups(model))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    # transformers leaves the head out of safetensors; torch.save keeps both names of one storage.
    state = model.state_dict()
    torch.save(state, tmp_path / "pytorch_model.bin")
    true = owners(model, optimizer)
    assert given_names(open_path(tmp_path)) == true
    (tmp_path / "pytorch_model.bin").unlink()
    save_file(
        {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}, tmp_path / "model.safetensors"
    )
    assert given_names(open_path(tmp_path)) == true


def test_the_order_of_a_file_of_torch_is_that_of_the_model(tmp_path: Path) -> None:
    model = Llama()
    optimizer = write_trainer(tmp_path, model, model_type="unheard of")
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    source = open_path(tmp_path)
    assert given_names(source) == owners(model, optimizer)
    assert source.find("optimizer.state.0.exp_avg").notes[0].endswith(" (by order and shapes)")


def test_of_two_models_of_one_shape_none_is_chosen(tmp_path: Path) -> None:
    write_trainer(tmp_path, nn.Linear(3, 2), groups=None)
    save_file(dict(nn.Linear(3, 2).state_dict()), tmp_path / "model_1.safetensors")
    assert notes(open_path(tmp_path)) == {}


SHAPES = st.sampled_from([(2,), (3,), (2, 2), (2, 3)])
KINDS = st.lists(st.tuples(st.sampled_from("abcdef"), SHAPES), min_size=1, max_size=5, unique_by=lambda pair: pair[0])


@given(kinds=KINDS, layers=st.integers(1, 4), head=st.lists(st.tuples(st.sampled_from("xyz"), SHAPES), max_size=3))
def test_a_name_that_is_given_is_the_true_one(
    kinds: list[tuple[str, tuple[int, ...]]], layers: int, head: list[tuple[str, tuple[int, ...]]]
) -> None:
    head = list(dict(head).items())
    true = [(name, shape) for name, shape in head]
    true += [(f"layers.{layer}.{kind}.weight", shape) for layer in range(layers) for kind, shape in kinds]
    model = Model(dict(sorted(true)), frozenset(), False)
    found = match([range(len(true))], {number: shape for number, (_, shape) in enumerate(true)}, model)
    assert found is not None
    for number, (name, _) in enumerate(true):
        assert name in found[number].names


def test_a_state_without_a_shape_is_no_proof() -> None:
    model = Model({"a": (2,), "b": (2,)}, frozenset(), True)
    assert match([[0, 1]], {}, model) is None
    found = match([[0, 1]], {1: (2,)}, model)
    assert found is not None
    assert found[1].names == ("b",)
    assert match([[0, 0]], {0: (2,)}, model) is None


def test_an_unknown_child_leaves_the_order_unknown() -> None:
    assert in_order_of_definition(["model.norm.weight", "lm_head.weight"], "llama") == [
        "model.norm.weight",
        "lm_head.weight",
    ]
    assert in_order_of_definition(["model.norm.weight", "new.weight"], "llama") is None
    assert in_order_of_definition(["a.weight", "a"], "llama") is None
    assert in_order_of_definition(["model.layers.10.mlp", "model.layers.9.mlp"], "llama") == [
        "model.layers.9.mlp",
        "model.layers.10.mlp",
    ]
    assert in_order_of_definition(["a.weight"], "unheard of") is None


def test_the_halves_of_an_adapter_stand_side_by_side() -> None:
    order = [
        (f"layers.{layer}.{module}.lora_{half}.weight", shape)
        for layer in range(2)
        for module, shapes in (("v", ((2, 8), (4, 2))), ("q", ((2, 8), (8, 2))))
        for half, shape in zip("AB", shapes, strict=True)
    ]
    found = match(
        [range(8)], dict(enumerate(shape for _, shape in order)), Model(dict(sorted(order)), frozenset(), False)
    )
    assert found is not None
    assert [found[number].names for number in range(8)] == [(name,) for name, _ in order]
