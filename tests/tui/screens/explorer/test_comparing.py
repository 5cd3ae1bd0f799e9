"""A second look at a model: what has moved is in a column, on the pages, in the header; and a pin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.factories_screen import Stage, on_stage
from tui_params.tui.state.looks import Looks

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):  # type: ignore[misc, name-defined]  # mypy does not read torch
    """A trained layer, a frozen one, a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(8, 4)
        self.second = torch.nn.Linear(4, 4)
        self.second.requires_grad_(False)
        self.register_buffer("scale", torch.ones(3))


def net() -> Net:
    torch.manual_seed(0)
    model = Net()
    model.second(model.first(torch.ones(2, 8))).sum().backward()
    return model


@asynccontextmanager
async def look(
    model: Net, looks: Looks, size: tuple[int, int] = (120, 36), keys: tuple[str, ...] = ("E",)
) -> AsyncIterator[Stage]:
    """The explorer on a model, which is left at the end."""
    from tui_params.live.source import ModelSource

    async with on_stage(lambda: ModelSource(model), size, looks=looks) as stage:
        await stage.press(*keys)
        yield stage
    looks.end()


async def changed(keep: bool, change: Callable[[Net], None]) -> tuple[Net, Looks]:
    """A model that was looked at, and has changed since."""
    model, looks = net(), Looks()
    looks.keeps_values = keep
    async with look(model, looks) as stage:
        assert "change" not in stage.lines[2]
        assert "since" not in stage.header
    with torch.no_grad():
        change(model)
    return model, looks


def step(model: Net) -> None:
    model.first.weight.mul_(1.5)
    assert model.first.weight.grad is not None
    model.first.weight.grad.mul_(3.0)


async def test_the_first_look_says_nothing_of_changes_and_the_second_does() -> None:
    model, looks = await changed(False, step)
    async with look(model, looks) as stage:
        assert "change" in stage.lines[2]
        assert f"since {looks.last.at if looks.last else ''}: 1 changed, 4 same" in stage.header
        assert stage.row("first.weight").rstrip().split()[-2:][0].startswith("≥") or "≥" in stage.row("first.weight")
        assert "same" in stage.row("second.weight")
        assert "1 of 2" in stage.row("first")
        assert "same" in stage.row("second")
        await stage.go("first.weight")
        assert "is at least" in stage.facts
        assert "before" in stage.facts
        assert "its gradient" in stage.facts
        await stage.go("first")
        assert "1 changed, 1 same" in stage.facts
        await stage.go("second.weight")
        assert "bit-identical" in stage.facts


async def test_with_values_kept_the_change_is_exact_also_of_gradients() -> None:
    model, looks = await changed(True, step)
    async with look(model, looks, keys=()) as stage:
        assert "of values are kept in memory" in stage.status
        await stage.press("E")
        assert " 0.5" in stage.row("first.weight")
        assert "≥" not in stage.row("first.weight")
        await stage.go("first.weight")
        assert "‖change‖ / ‖before‖ = 0.5" in stage.facts
        assert "32 of 32" in stage.facts
        assert "‖change‖ / ‖before‖ = 2" in stage.facts
        await stage.press("g")
        assert stage.facts.startswith("first.weight.grad")
        assert "‖change‖ / ‖before‖ = 2" in stage.facts


async def test_new_gone_and_reshaped_tensors_are_said_to_be_so() -> None:
    def replace(model: Net) -> None:
        model.second.weight = torch.nn.Parameter(torch.ones(5, 4))
        model.second.bias = None
        model.extra = torch.nn.Parameter(torch.ones(2))
        model.scale = model.scale.double()

    model, looks = await changed(False, replace)
    async with look(model, looks) as stage:
        assert "reshaped" in stage.row("second.weight")
        assert "new" in stage.row("extra")
        assert "retyped" in stage.row("scale")
        assert "1 gone" in stage.header
        await stage.go("first")
        assert "1 tensor of then is gone: second.bias" in stage.facts
        await stage.go("second.weight")
        assert "its shape was [4, 4]" in stage.facts


async def test_the_tree_is_sorted_by_change() -> None:
    model, looks = await changed(True, step)
    async with look(model, looks) as stage:
        await stage.press("o", "tab", "c")
        await stage.until(lambda: stage.names[0] == "first.weight", "sorted")
        assert "change▾" in stage.lines[2]
        await stage.press("o", "tab", "n")
        await stage.until(lambda: "change▾" not in stage.lines[2], "the natural order")
        assert "1 of 2" in stage.row("first")


async def test_a_pin_holds_over_looks_and_goes_by_itself_pressed_again() -> None:
    model, looks = net(), Looks()
    async with look(model, looks) as stage:
        await stage.press("P")
        assert "Pinned at" in stage.status
        assert "since the pin" in stage.header
        assert "same" in stage.row("first.weight")
    with torch.no_grad():
        model.first.weight.mul_(2.0)
    async with look(model, looks) as stage:
        assert "≥" in stage.row("first.weight")
    async with look(model, looks) as stage:
        assert "≥" in stage.row("first.weight")
        await stage.press("P", "P")
        assert "The pin is gone: compared since" in stage.status
        assert "the pin" not in stage.header
        assert "same" in stage.row("first.weight")


async def test_opened_again_it_is_compared_with_the_same_look() -> None:
    model, looks = await changed(True, step)
    async with look(model, looks) as stage:
        with torch.no_grad():
            model.first.bias.add_(1.0)
        await stage.press("R")
        await stage.until(lambda: stage.screen.session.generation == 2, "opened again")
        await stage.rest()
        assert " 0.5" in stage.row("first.weight")
        assert "same" not in stage.row("first.bias")


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 60)])
async def test_the_column_has_room_in_every_terminal(size: tuple[int, int]) -> None:
    model, looks = await changed(False, step)
    async with look(model, looks, size) as stage:
        assert "change" in stage.lines[2]
        assert "≥" in stage.row("first.weight")
        assert "since" in stage.header


async def test_a_tied_trainable_tensor_has_both_marks_and_a_buffer_is_not_trainable() -> None:
    from tui_params.live.source import ModelSource

    model = net()
    model.second.weight = torch.nn.Parameter(torch.ones(4, 4))
    model.third = torch.nn.Linear(4, 4)
    model.third.weight = model.second.weight
    async with on_stage(ModelSource(model)) as stage:
        await stage.press("E")
        assert stage.row("third.weight")[1:3] == "=*"
        assert stage.row("second.weight")[1:3] == "* "
        await stage.press("o", "t")
        await stage.until(lambda: "train▾" in stage.lines[2], "sorted")
        assert "yes" in stage.row("third.weight")
        assert "–" in stage.row("scale")
        assert "no" in stage.row("second.bias")


async def test_a_filter_by_the_norm_of_gradients_reads_them() -> None:
    from tui_params.live.source import ModelSource

    model = net()
    assert model.first.weight.grad is not None
    model.first.weight.grad.fill_(100.0)
    async with on_stage(ModelSource(model)) as stage:
        await stage.send("slash")
        await stage.type("grad_norm>500")
        await stage.until(lambda: stage.matching == 1, "the one")
        await stage.rest()
        assert "first.weight" in stage.names
        assert stage.screen.filter.found is not None
        assert stage.screen.filter.found.coming == 0


async def test_what_has_moved_is_found_by_a_filter_and_the_gradient_has_a_column() -> None:
    model, looks = await changed(True, step)
    async with look(model, looks) as stage:
        for text, names in (
            ("changed:yes", ["first.weight"]),
            ("change>0.4 !change>0.6", ["first.weight"]),
            ("changed:no .weight", ["second.weight"]),
        ):
            stage.screen.filter.change(text)
            await stage.rest()
            kept = stage.screen.filter.kept_names
            assert kept is not None
            assert sorted(kept) == names, text
        stage.screen.filter.change("")
        await stage.press("o", "h")
        assert "grad chg" in stage.lines[2]
        assert stage.row("first.weight").count("2") >= 1


async def test_without_an_earlier_look_a_filter_on_changes_says_so() -> None:
    model, looks = net(), Looks()
    async with look(model, looks) as stage:
        stage.screen.filter.change("changed:yes")
        await stage.rest()
        assert "no match so far: no earlier look" in stage.text
