"""A model on a GPU: what is copied from there, what waits for it, and that it trains as if nobody looked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tui_params
from tests.live.attached.conftest import runtime
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside.device_queue import CudaQueue
from tui_params.live.inside.step_clock import Step
from tui_params.live.inside.tensor_copies import TensorCopies, Wanted
from tui_params.live.inside.tensor_slots import COPIED, DONE, STATE, STEP
from tui_params.live.source import ModelSource
from tui_params.live.watching.condition import parse_condition
from tui_params.live.watching.watch import Watch, choose_watched

__all__ = ["runtime"]

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
DEVICE = torch.device("cuda", 0)
LONG = 500_000_000
"""Cycles of a device, some tenths of a second: longer than any call here takes."""


def wanted(tensor: Any) -> Wanted:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Wanted(lambda: tensor, tuple(tensor.shape), dtype, tensor.numel() * tensor.element_size())


def found(copies: TensorCopies, index: int = 0) -> tuple[int, int, bytes]:
    """State, step and bytes of the last whole copy of a tensor; state 0 if there is none."""
    slot = copies.slots[index]
    words = np.frombuffer(copies.memory.map, np.uint64)[slot.header // 8 :]
    done = int(words[DONE])
    start = slot.halves[done % 2]
    data = bytes(copies.memory.map[start : start + slot.wanted.nbytes])
    return (int(words[STATE + done % 2]), int(words[STEP + done % 2]), data) if done else (0, 0, b"")


def raw(tensor: torch.Tensor) -> bytes:
    host = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return bytes(host.reshape(-1).view(torch.uint8).numpy())


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
        lambda: torch.arange(12, dtype=torch.bfloat16).reshape(3, 4).T,
        lambda: torch.arange(24.0).reshape(2, 3, 4)[:, ::2, 1:],
        lambda: torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64),
        lambda: torch.tensor(7, dtype=torch.int64),
        lambda: torch.ones(5, dtype=torch.float8_e4m3fn),
        lambda: torch.randn(30_000_000),
    ],
    ids=["odd", "bf16", "strided", "complex", "scalar", "fp8", "large"],
)
def test_a_copy_is_what_was_there_although_it_is_overwritten_at_once(make: Callable[[], torch.Tensor]) -> None:
    tensor = make().to(DEVICE)
    before = raw(tensor)
    copies = TensorCopies([wanted(tensor)])
    copies.take(None, Step(1, False, False))
    tensor.zero_()
    torch.cuda.synchronize()
    copies.settle()
    assert found(copies) == (COPIED, 1, before)
    copies.close()


def test_neither_the_thread_nor_the_stream_that_trains_waits() -> None:
    tensor = torch.randn(1 << 22, device=DEVICE)
    before = raw(tensor)
    copies = TensorCopies([wanted(tensor)])
    copies.take(None, Step(1, False, False))  # makes the buffers, once
    torch.cuda.synchronize()
    copies.settle()
    torch.cuda._sleep(LONG)
    copies.take(None, Step(2, False, False))
    copies.settle()
    assert not torch.cuda.current_stream().query()  # the device has not come to the copy yet
    assert found(copies)[1] == 1
    torch.cuda.synchronize()
    copies.settle()
    assert found(copies) == (COPIED, 2, before)
    copies.close()


def test_a_graph_is_captured_as_if_nobody_looked() -> None:
    tensor = torch.ones(1000, device=DEVICE)
    copies = TensorCopies([wanted(tensor)])
    copies.take(None, Step(1, False, False))
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        tensor.mul_(2)
        copies.settle()
        copies.take(None, Step(2, False, False))
    graph.replay()
    torch.cuda.synchronize()
    assert tensor.cpu().tolist() == [2.0] * 1000
    copies.take(None, Step(3, False, False))
    torch.cuda.synchronize()
    copies.settle()
    assert found(copies) == (COPIED, 3, raw(tensor))
    copies.close()


def test_a_device_says_what_it_can_spare() -> None:
    queue = CudaQueue(DEVICE)
    assert 0 < queue.spare_nbytes() <= torch.cuda.get_device_properties(DEVICE).total_memory
    staging, host = queue.buffers(1 << 20)
    assert (staging.device, host.is_pinned()) == (DEVICE, True)
    assert not queue.is_capturing()


class Training:
    """A model on the device whose steps go on in a thread, until it is left."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Dropout(0.1), nn.Linear(128, 64)).to(DEVICE)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3, fused=True)
        self.data = torch.randn(32, 64, device=DEVICE)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=False)
        self.net(self.data).pow(2).mean().backward()
        self.optimizer.step()

    def _run(self) -> None:
        while not self._is_over.is_set():
            self.step()

    def __enter__(self) -> Training:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


@pytest.fixture
def training(runtime: Path) -> Iterator[tuple[Training, AttachedSource]]:
    model = Training()
    server = tui_params.serve(model.net, model.optimizer, name="on a GPU")
    with AttachedSource(Path(server.path)) as viewer:
        assert isinstance(viewer, AttachedSource)
        yield model, viewer
    server.stop()


def test_everything_of_a_model_that_trains_can_be_looked_at(training: tuple[Training, AttachedSource]) -> None:
    model, viewer = training
    with model:
        for info in viewer.listing.tensors:
            assert info.unreadable is None
            summary = viewer.summarize(info.name)
            assert summary.count == info.numel
        assert {"0.weight.grad", "3.bias.grad"} <= {info.name for info in viewer.listing.gradients.values()}
        assert np.isfinite(viewer.read("0.weight.grad")).all()


def test_what_is_seen_while_it_stands_is_what_it_is(training: tuple[Training, AttachedSource]) -> None:
    model, viewer = training
    listing = viewer.listing
    choice = choose_watched(listing, listing.tensors, listing.gradients.values(), [parse_condition("nan")])
    watch = Watch(viewer, choice, hold_seconds=60)
    with model:
        watch.hold()
        while not (held := watch.held()) or not held.step:
            pass
        for name, parameter in model.net.named_parameters():
            assert viewer.read(name).tobytes() == raw(parameter)
            assert viewer.read(f"{name}.grad").tobytes() == raw(parameter.grad)
        watch.release()


def test_training_goes_on_bit_by_bit_as_if_nobody_looked(runtime: Path) -> None:
    def trained(*, is_watched: bool) -> list[bytes]:
        model = Training()
        if is_watched:
            server = tui_params.serve(model.net, model.optimizer, name="watched")
            with AttachedSource(Path(server.path)) as viewer:
                listing = viewer.listing
                conditions = [parse_condition(word) for word in ("nan", "still:1000")]
                choice = choose_watched(listing, listing.tensors, listing.gradients.values(), conditions)
                watch = Watch(viewer, choice, hold_seconds=60)
                for _ in range(200):
                    model.step()
                    watch.look(0)
            server.stop()
        else:
            for _ in range(200):
                model.step()
        return [raw(tensor) for tensor in model.net.state_dict().values()]

    assert trained(is_watched=True) == trained(is_watched=False)


def test_a_model_in_this_process_is_read_as_it_is() -> None:
    model = Training()
    model.step()
    with ModelSource(model.net) as source:
        for name, parameter in model.net.named_parameters():
            assert source.read(name).tobytes() == raw(parameter)
            assert source.read(f"{name}.grad").tobytes() == raw(parameter.grad)
