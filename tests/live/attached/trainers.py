"""Training loops in processes of their own, which serve their model and say what became of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOP = """
import hashlib, sys, threading, torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
is_served, steps = sys.argv[1] == "served", int(sys.argv[2])
net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 32), nn.LayerNorm(32))
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
if is_served:
    import tui_params
    server = tui_params.serve(net, optimizer, name="loop")
    print("serving", flush=True)
data = torch.randn(16, 32)

def train(count):
    for _ in range(count):
        optimizer.zero_grad()
        net(data).pow(2).mean().backward()
        optimizer.step()

if steps:
    # The first half before anybody looks, the rest until the viewer says that it has seen enough.
    train(steps // 2)
    if is_served:
        sys.stdin.readline()
    train(steps - steps // 2)
    digest = hashlib.sha256()
    for tensor in (*net.parameters(), *(value for state in optimizer.state.values() for value in state.values())):
        digest.update(tensor.detach().numpy().tobytes())
    print(digest.hexdigest(), flush=True)
else:
    while True:
        train(1)
"""

NUMBERED = """
import sys, torch
from torch import nn
import tui_params

class Fill(torch.optim.Optimizer):
    # Each element becomes the number of the step, slowly enough to be caught at it.
    def __init__(self, parameters):
        super().__init__(parameters, {})
        self.count = 0
    def step(self, closure=None):
        self.count += 1
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    half = parameter.numel() // 2
                    parameter.view(-1)[:half] = self.count
                    parameter.view(-1)[half:] = self.count

torch.set_num_threads(1)
net = nn.Module()
for number in range(4):
    net.register_parameter(f"w{number}", nn.Parameter(torch.zeros(20_000)))
optimizer = Fill(net.parameters())
tui_params.serve(net, name="numbered")
print("serving", flush=True)
while True:
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, optimizer.count + 1.0)
    optimizer.step()
    sum(range(3_000))
"""


OWN = """
import torch
from torch import nn
import tui_params

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for number in range(4):
            self.register_parameter(f"w{number}", nn.Parameter(torch.ones(20_000)))
    def forward(self):
        return sum(parameter.sum() for parameter in self.parameters())

torch.set_num_threads(1)
net, count = Net(), 1
server = tui_params.serve(net, name="own")
print("serving", flush=True)
while True:
    (count * net()).backward()
    count += 1
    with torch.no_grad():
        # The update of the loop's own: each element becomes the number of the next pass.
        for parameter in net.parameters():
            half = parameter.numel() // 2
            parameter[:half] = count
            parameter[half:] = count
            parameter.grad = None
"""
"""No optimizer makes a step. In pass n all elements are n, and so are all gradients."""

ON_A_DEVICE = """
from tests.live.inside.slow_queue import PatientQueue
from tui_params.live.inside.device_queue import QUEUES
QUEUES["cpu"] = PatientQueue
"""
"""Before a script: its tensors are copied as from a device, from where they come a step or two later."""


@contextmanager
def training(script: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs ``script``; if it serves its model, it does so already, in ``folder``."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    try:
        if "plain" not in arguments:
            assert process.stdout is not None
            assert process.stdout.readline() == "serving\n"
        yield process
    finally:
        process.kill()
        process.communicate()
