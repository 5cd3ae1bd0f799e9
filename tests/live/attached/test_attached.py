"""A model that is looked at from outside: the same tensors, figures of one step, gradients, and nothing left behind."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tui_params
from tests.live.watching.test_watchpoints import until
from tui_params.core.tensor import TensorInfo
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.live.attached import asked_copies
from tui_params.live.attached.finding import choose, find_serving
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside import server as server_module
from tui_params.live.inside.frames import send_frame
from tui_params.live.inside.server import Server
from tui_params.live.source import ModelSource


class Net(nn.Module):  # type: ignore[misc]
    """Parameters and buffers of many types, views, a tie, a frozen one, an empty one and a number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wide = nn.Linear(8, 6)
        self.low = nn.Parameter(torch.randn(4, 3).bfloat16())
        self.transposed = nn.Parameter(torch.randn(5, 7).t())
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
        self.tied = self.low
        self.empty = nn.Parameter(torch.empty(0, 4))
        self.number = nn.Parameter(torch.tensor(3.5))
        kinds = (torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool, torch.complex64)
        for kind in (*kinds, torch.float8_e4m3fn):
            self.register_buffer(str(kind).removeprefix("torch."), torch.randn(6).abs().mul(3).to(kind))
        self.register_buffer("strided", torch.arange(24.0).reshape(4, 6)[::2, 1::2])
        self.register_buffer("square", torch.arange(9.0).reshape(3, 3))
        self.register_buffer("conjugated", torch.randn(3, dtype=torch.complex64).conj())


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def served(runtime: Path, net: Net) -> Iterator[Server]:
    optimizer = torch.optim.SGD([each for each in net.parameters() if each.requires_grad], lr=0.1, momentum=0.9)
    server = tui_params.serve(net, optimizer, name="net")
    server.optimizer = optimizer  # type: ignore[attr-defined]
    yield server
    server.stop()


@pytest.fixture
def viewer(served: Server) -> Iterator[AttachedSource]:
    with AttachedSource(Path(served.path)) as source:
        assert isinstance(source, AttachedSource)
        yield source


def step(served: Server, value: float = 1.0) -> None:
    """One step whose gradients are all ``value``."""
    optimizer: Any = served.optimizer  # type: ignore[attr-defined]
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, value)
    optimizer.step()


def while_stepping(served: Server, act: Callable[[], Any]) -> Any:
    """What ``act`` returns in another thread, while this one makes steps."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(act())
        except Exception as error:  # noqa: BLE001 it is raised again below
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    count = 0
    while thread.is_alive():
        count += 1
        step(served, count)
        thread.join(0.002)
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def same(info: TensorInfo, other: TensorInfo) -> bool:
    keys = (
        "name",
        "shape",
        "dtype",
        "numel",
        "nbytes",
        "kind",
        "device",
        "requires_grad",
        "tied_to",
        "stride",
        "notes",
    )
    return all(getattr(info, key) == getattr(other, key) for key in keys)


def test_the_tensors_are_those_that_the_process_itself_would_list(served: Server, net: Net) -> None:
    step(served)
    with (
        AttachedSource(Path(served.path)) as viewer,
        ModelSource(net, optimizer=served.optimizer) as here,  # type: ignore[attr-defined]
    ):
        assert [info.name for info in viewer.listing.tensors] == [info.name for info in here.listing.tensors]
        assert all(map(same, viewer.listing.tensors, here.listing.tensors))
        assert viewer.listing.modules == here.listing.modules
        assert viewer.listing.metadata == here.listing.metadata
        for info in here.listing.tensors:
            if info.name == "conjugated":
                continue
            expected, found = here.read(info.name), viewer.read(info.name)
            assert found.dtype == expected.dtype
            assert found.tobytes() == expected.tobytes()
            assert viewer.summarize(info.name) == here.summarize(info.name)


def test_what_does_not_lie_in_memory_as_it_is_is_copied_at_a_step(
    served: Server, viewer: AttachedSource, net: Net
) -> None:
    # A lazily conjugated buffer: the bytes in memory are not its values.
    found = while_stepping(served, lambda: viewer.read("conjugated"))
    assert np.array_equal(found, net.conjugated.resolve_conj().numpy())


def test_every_trained_parameter_has_a_gradient_before_there_is_one(viewer: AttachedSource) -> None:
    assert set(viewer.listing.gradients) == {
        "wide.weight", "wide.bias", "low", "transposed", "tied", "empty", "number",
    }  # fmt: skip
    assert "frozen" in viewer.listing.absences


def test_no_gradient_is_looked_at_but_on_the_thread_that_trains(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # backward() sets gradients without the GIL: a look at one from another thread has crashed a process.
    looked: list[int] = []

    def look(parameter: Any) -> Any:
        looked.append(threading.get_ident())
        return parameter.grad

    monkeypatch.setattr("tui_params.live.inside.model.gradient_of", look)
    monkeypatch.setattr("tui_params.live.inside.leaves.gradient_of", look)
    with AttachedSource(Path(served.path)) as viewer:
        viewer.changed()
        while_stepping(served, lambda: viewer.read("wide.weight.grad"))
    assert set(looked) == {threading.get_ident()}


def test_gradients_are_those_of_one_step(served: Server, viewer: AttachedSource) -> None:
    found = while_stepping(served, lambda: [viewer.read("wide.weight.grad") for _ in range(5)])
    for values in found:
        assert values.shape == (6, 8)
        assert len(set(values.reshape(-1).tolist())) == 1
    numbers = [values[0, 0] for values in found]
    assert numbers == sorted(numbers)
    summary = while_stepping(served, lambda: viewer.summarize("transposed.grad")).figures(35)
    assert summary.min == summary.max


def test_a_gradient_that_is_missing_at_the_step_says_so(served: Server, viewer: AttachedSource, net: Net) -> None:
    def forget(*_: Any) -> None:
        net.low.grad = None

    handle = served.optimizer.register_step_pre_hook(forget)  # type: ignore[attr-defined]
    with pytest.raises(ReadError, match=r"it had no gradient at step \d+"):
        while_stepping(served, lambda: viewer.read("low.grad"))
    handle.remove()


def test_without_a_step_a_gradient_is_not_waited_for_for_ever(
    viewer: AttachedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_copies, "STEP_SECONDS", 0.05)
    with pytest.raises(ReadError, match="no step ended within 0 s"):
        viewer.read("wide.weight.grad")


def test_a_step_that_does_not_come_is_waited_for_once_and_not_for_each_gradient(
    served: Server, viewer: AttachedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_copies, "STEP_SECONDS", 0.05)
    with pytest.raises(ReadError, match="no step ended"):
        viewer.read("wide.weight.grad")
    monkeypatch.setattr(asked_copies, "STEP_SECONDS", 1e9)
    for name in ("wide.bias.grad", "low.grad", "wide.weight.grad"):
        with pytest.raises(ReadError, match="no step ended"):
            viewer.read(name)
    step(served)
    assert (while_stepping(served, lambda: viewer.read("wide.bias.grad")) > 0).all()


def test_a_gradient_of_a_process_that_has_gone_is_not_waited_for(
    served: Server, viewer: AttachedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_stepping(served, lambda: viewer.read("wide.weight.grad"))
    monkeypatch.setattr(asked_copies, "STEP_SECONDS", 1e9)
    served.stop()
    with pytest.raises(ReadError, match="has ended, or no longer serves"):
        viewer.read("wide.bias.grad")


def test_who_reads_all_waits_once_and_asks_for_places_once(
    served: Server, viewer: AttachedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    step(served)
    asked: list[str] = []

    def saying(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def said(question: Any) -> Any:
            asked.append(question["ask"])
            return ask(question)

        return said

    for name in ("ask", "ask_shared"):
        monkeypatch.setattr(viewer.connection, name, saying(getattr(viewer.connection, name)))
    infos = [info for info in (*viewer.listing.tensors, *viewer.listing.gradients.values()) if not info.unreadable]

    def all_of_them() -> dict[str, bytes]:
        return {info.name: b"".join(block.tobytes() for block in viewer.blocks(info)) for info in infos}

    alone = while_stepping(served, all_of_them)
    singly = asked.count("where")
    asked.clear()
    with viewer.expecting(lambda: infos):
        together = while_stepping(served, all_of_them)
    assert {name: len(data) for name, data in together.items()} == {name: len(data) for name, data in alone.items()}
    frozen = viewer.find("frozen").name
    assert together[frozen] == alone[frozen]
    assert singly > 5
    assert asked.count("where") < 3
    assert asked.count("copy") < 4


def test_who_reads_all_is_told_of_each_that_moved(served: Server, viewer: AttachedSource, net: Net) -> None:
    infos = [info for info in viewer.listing.tensors if not info.unreadable]
    kept = net.low.data
    net.low.data = torch.zeros(4, 3, dtype=net.low.dtype)
    with viewer.expecting(lambda: infos):
        assert viewer.read("frozen").shape
        for info in infos:
            if info.name in ("low", "tied"):
                with pytest.raises(SourceChangedError, match=f"{info.name} was replaced, resized or moved"):
                    list(viewer.blocks(info))
            elif viewer._is_outside(info):
                assert sum(block.nbytes for block in viewer.blocks(info)) == info.nbytes
    assert kept is not None


def test_where_memory_may_not_be_read_from_outside_it_is_copied(
    served: Server, viewer: AttachedSource, net: Net
) -> None:
    viewer._memory.reason = "its memory cannot be read from outside (operation not permitted)"
    for name in ("frozen", "transposed", "strided"):
        found = while_stepping(served, lambda name=name: viewer.read(name))  # type: ignore[misc]
        assert found.shape == tuple(getattr(net, name).shape)
    assert while_stepping(served, lambda: viewer.read("strided")).tolist() == net.strided.tolist()


def test_a_tensor_that_moved_is_not_shown_as_what_it_was(viewer: AttachedSource, net: Net) -> None:
    before = viewer.read("wide.weight")
    kept = net.wide.weight.data
    net.wide.weight.data = torch.zeros(6, 8)
    with pytest.raises(SourceChangedError, match="was replaced, resized or moved"):
        viewer.read("wide.weight")
    net.wide.weight.data = kept
    assert viewer.read("wide.weight").tobytes() == before.tobytes()


def turn(tensor: torch.Tensor) -> None:
    tensor.data = tensor.data.t()


def retype(tensor: torch.Tensor) -> None:
    tensor.data = tensor.data.view(torch.int32)


def cut(tensor: torch.Tensor) -> None:
    tensor.untyped_storage().resize_(8)


def free(tensor: torch.Tensor) -> None:
    tensor.untyped_storage().resize_(0)


@pytest.mark.parametrize("change", [turn, retype, cut, free])
def test_what_lies_where_it_was_but_otherwise_is_not_read_as_it_was(
    served: Server, viewer: AttachedSource, net: Net, change: Callable[[torch.Tensor], None]
) -> None:
    viewer.read("square")
    change(net.square)
    with pytest.raises(SourceChangedError, match="was replaced, resized or moved"):
        viewer.read("square")
    viewer._memory.reason = "it may not be read"
    if change is turn:
        # A copy is row-major, whatever lies where.
        assert while_stepping(served, lambda: viewer.read("square")).tolist() == net.square.tolist()
        return
    with pytest.raises(ReadError, match="not the tensor that was listed any more"):
        while_stepping(served, lambda: viewer.read("square"))


def test_a_tensor_that_is_too_large_to_be_read_between_two_steps_says_so(
    viewer: AttachedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_params.live.attached.source.MAX_AT_ONCE", 100)
    with pytest.raises(ReadError, match="look at a slice of it"):
        viewer.summarize("wide.weight")
    assert viewer.read("wide.weight", "[0, :2]").shape == (2,)


def test_the_beat_counts_steps(served: Server, viewer: AttachedSource) -> None:
    assert viewer.beat().steps == 0
    assert viewer.beat().age is None
    step(served)
    step(served)
    beat = viewer.beat()
    assert (beat.steps, beat.lost) == (2, None)
    assert beat.age is not None
    assert beat.age < 60


def test_two_viewers_see_the_same(served: Server, viewer: AttachedSource) -> None:
    with AttachedSource(Path(served.path)) as other:
        assert other.read("low").tobytes() == viewer.read("low").tobytes()
        found = while_stepping(served, lambda: (viewer.read("number.grad"), other.read("wide.bias.grad")))
        assert found[0].shape == ()
        assert found[1].shape == (6,)
    assert viewer.read("low").shape == (4, 3)


def test_each_viewer_keeps_to_what_it_was_told(served: Server, viewer: AttachedSource, net: Net) -> None:
    # What comes before all others moves every number.
    net._parameters = {"new": nn.Parameter(torch.full((2,), 7.0)), **net._parameters}
    net.wide.weight = nn.Parameter(torch.full((3, 8), 5.0))
    with AttachedSource(Path(served.path)) as later:
        assert isinstance(later, AttachedSource)
        assert later.handle_of(later.find("number")) == viewer.handle_of(viewer.find("number")) + 1
        for _ in range(2):
            assert later.read("new").tolist() == [7.0, 7.0]
            assert later.read("wide.weight").shape == (3, 8)
            assert viewer.read("number") == later.read("number") == 3.5
            assert viewer.read("low").tobytes() == later.read("low").tobytes()
            with pytest.raises(SourceChangedError):
                viewer.read("wide.weight")


def test_a_viewer_that_goes_in_the_middle_of_a_reply_is_forgotten(served: Server, viewer: AttachedSource) -> None:
    for count in (0, 1, 9, 500):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.settimeout(100)
            other.connect(served.path)
            send_frame(other, {"ask": "list"})
            assert len(other.recv(count, socket.MSG_WAITALL)) == count
    until(lambda: served.viewers == 1)
    assert viewer.read("low").shape == (4, 3)


def test_a_model_without_tensors_can_be_looked_at(runtime: Path) -> None:
    server = tui_params.serve(nn.Module(), name="nothing")
    with AttachedSource(Path(server.path)) as viewer:
        assert (viewer.listing.tensors, viewer.listing.gradients) == ((), {})
        assert viewer.beat().steps == 0
    server.stop()


def test_the_list_names_who_serves(served: Server) -> None:
    (found,) = find_serving()
    assert (found.name, found.model, found.steps, found.age) == ("net", "Net", 0, None)
    assert choose([found], str(found.pid)) is found
    assert choose([found], "net") is found
    with pytest.raises(OpenError, match=r"no process with the number or the name 'other'"):
        choose([found], "other")
    with pytest.raises(OpenError, match=r"process 0 serves no model; serving: \d+ \(net\)"):
        choose([found], "0")
    with pytest.raises(OpenError, match="2 models are named 'net'"):
        choose([found, found], "net")


def test_what_a_class_does_to_a_look_at_it_is_told_to_the_viewer_alone(
    served: Server, viewer: AttachedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(probe: Any) -> None:
        raise RuntimeError("not now\nand more")

    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    with monkeypatch.context() as patch:
        patch.setattr(type(served.served.probe), "enroll", refuse)
        with pytest.raises(ReadError, match="it could not be answered: RuntimeError: not now"):
            list(viewer.connection.ask_many({"ask": "list"}))
    assert viewer.read("frozen").shape
    assert told == []


def test_two_models_of_one_process_have_a_socket_each(served: Server) -> None:
    other = tui_params.serve(nn.Linear(2, 2), name="second")
    assert {each.name for each in find_serving()} == {"net", "second"}
    other.stop()
    assert {each.name for each in find_serving()} == {"net"}


def test_after_stop_viewers_are_sent_away_and_nothing_is_left(served: Server, viewer: AttachedSource) -> None:
    served.stop()
    served.stop()
    assert not Path(served.path).exists()
    assert find_serving() == []
    with pytest.raises(ReadError, match="has ended, or no longer serves"):
        viewer.read("low")
    assert viewer.changed() is not None
    assert viewer.beat().lost is not None


def test_what_was_read_last_can_still_be_counted_on_after_close(viewer: AttachedSource) -> None:
    viewer.close()
    viewer.close()
    with pytest.raises(ReadError, match="is closed"):
        viewer.read("low")


def test_several_optimizers_that_share_the_parameters_out_are_shown_as_one(runtime: Path) -> None:
    net = nn.Linear(3, 2)
    both = [torch.optim.AdamW([net.weight]), torch.optim.SGD([net.bias], lr=0.25, momentum=0.5)]
    server = tui_params.serve(net, both)
    for optimizer in both:
        net.weight.grad, net.bias.grad = torch.ones(2, 3), torch.ones(2)
        optimizer.step()
    with AttachedSource(Path(server.path)) as source:
        assert source.listing.findings == ()
        names = {info.name for info in source.listing.tensors if info.name.startswith("optimizer.")}
        assert {"optimizer.weight.exp_avg", "optimizer.bias.momentum_buffer"} < names
        assert source.listing.metadata["optimizer.param_groups.0.lr"] == "0.001"
        assert source.listing.metadata["optimizer.param_groups.1.lr"] == "0.25"
        assert source.read("optimizer.bias.momentum_buffer").tolist() == [1, 1]
    server.stop()
    with pytest.raises(TypeError, match="or a list of them, not Linear"):
        tui_params.serve(net, [both[0], net])


def test_gradients_of_optimizers_that_step_inside_backward_are_read(runtime: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    optimizers = {each: torch.optim.SGD([each], lr=0.1) for each in net.parameters()}

    def update(parameter: Any) -> None:
        optimizers[parameter].step()
        parameter.grad = None

    for each in net.parameters():
        each.register_post_accumulate_grad_hook(update)
    server = tui_params.serve(net, [*optimizers.values()])
    is_over = threading.Event()

    def train() -> None:
        while not is_over.wait(0.002):
            net(torch.ones(1, 3)).sum().backward()

    thread = threading.Thread(target=train)
    thread.start()
    try:
        with AttachedSource(Path(server.path)) as source:
            for info in source.listing.gradients.values():
                assert np.isfinite(source.read(info.name)).all()
            report = tui_params.check(source)
            assert report.unchecked == ()
    finally:
        is_over.set()
        thread.join()
        server.stop()


def test_of_several_optimizers_one_that_keeps_no_states_is_no_fault(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_copies, "STEP_SECONDS", 0.05)
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    last = [net[2].bias]
    adam = torch.optim.AdamW([each for each in net.parameters() if each is not last[0]])
    server = tui_params.serve(net, [adam, torch.optim.SGD(last, lr=0.1)])
    for each in net.parameters():
        each.grad = torch.ones_like(each)
    adam.step()
    with AttachedSource(Path(server.path)) as source:
        assert [finding.rule for finding in tui_params.check(source).findings if "optimizer" in finding.rule] == []
    server.stop()


def test_only_a_module_can_be_served(runtime: Path) -> None:
    with pytest.raises(TypeError, match=r"expects a torch\.nn\.Module, not dict"):
        tui_params.serve({})
    with pytest.raises(TypeError, match=r"expects a torch\.optim\.Optimizer"):
        tui_params.serve(nn.Linear(2, 2), optimizer=3)
    assert find_serving() == []


def test_a_forked_worker_serves_nothing_and_leaves_the_parent_alone(served: Server, viewer: AttachedSource) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        # In the child: its steps do not count, its end does not remove the socket.
        step(served)
        os.write(writing, b"served" if served._listener is not None or server_module._SERVERS else b"alone")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"alone"
    os.close(reading)
    os.close(writing)
    assert Path(served.path).exists()
    assert viewer.beat().steps == 0
    assert viewer.read("low").shape == (4, 3)
