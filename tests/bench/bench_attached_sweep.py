"""`check` of a model that trains, parameters and gradients, beside the same values in a file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.line import Line

PARAMETERS = 2_000
RUNS = 5
STEPS_A_SECOND = 10
TARGET = 5.0

SERVER = """
import sys, time, torch
from pathlib import Path
from safetensors.torch import save_file
from torch import nn
import tui_params
torch.set_num_threads(1)
net = nn.ModuleList([nn.Linear(16, 16) for _ in range(int(sys.argv[1]) // 2)])
optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
for parameter in net.parameters():
    parameter.grad = torch.randn_like(parameter)
tensors = {name: parameter.detach() for name, parameter in net.named_parameters()}
save_file(tensors | {f"{name}.grad": parameter.grad for name, parameter in net.named_parameters()}, sys.argv[3])
server = tui_params.serve(net, optimizer, name="bench")
print(server.path, flush=True)
while True:
    time.sleep(1 / float(sys.argv[2]))
    optimizer.step()
"""


def run() -> Iterator[Line]:
    """Every value is of one step, so at least two of the steps that end ten times a second are waited for."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "same.safetensors"
        environment = {**os.environ, "XDG_RUNTIME_DIR": folder, "PYTHONPATH": os.pathsep.join(sys.path)}
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(PARAMETERS), str(STEPS_A_SECOND), str(path)],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline()
            pairs = [
                (seconds(f"attach:{server.pid}", environment), seconds(str(path), environment)) for _ in range(RUNS)
            ]
        finally:
            server.kill()
            server.communicate()
    ratio = median(attached / file for attached, file in pairs)
    yield Line(
        f"`check attach:` of {PARAMETERS:,} parameters and as many gradients, {STEPS_A_SECOND} steps a second,"
        " over `check` of the same values in a file",
        f"{median(attached for attached, _ in pairs):.2f} s, {ratio:.2f}x",
        f"at most {TARGET}x",
        ratio <= TARGET,
    )


def seconds(source: str, environment: dict[str, str]) -> float:
    """How long a `check` takes."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tui_params", "check", source], env=environment, capture_output=True, text=True
    )
    assert "0 could not be checked" in done.stdout, done.stdout + done.stderr
    return time.perf_counter() - began
