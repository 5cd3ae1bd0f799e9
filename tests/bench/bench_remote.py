"""A model of 30 shards on a hub with 50 ms of latency a request: its listing and one tensor, beside others.

Run with ``python -m tests.bench --only remote``. The hub (``slow_hub``) is a process of its own, and so is each
program: they are asked by turns, and time their call alone, without their imports. huggingface_hub and modelinfo-cli
are measured where they are installed; the latter is told the address by a patch, because it takes none without TLS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from tests.bench.line import Line

RUNS = 3
SHARDS = 30
LATENCY = 0.05
ROWS = 1_000_000
"""Elements of the one tensor that is read, of 4 bytes each."""

_OURS = """
import sys, time, json, os
os.environ["TUI_PARAMS_CACHE"] = "off"
import tui_params.sources.folder.folder, tui_params.sources.remote.hub, tui_params.sources.safetensors.reader
from tui_params.api.opening import open_source
start = time.perf_counter()
source = open_source("hf://org/model")
listed = time.perf_counter() - start
before = source.line.traffic.nbytes
source.summarize("large.weight")
print(json.dumps([listed, before, source.line.traffic.nbytes - before]))
"""
_HUB = """
import time, json
from huggingface_hub import HfApi
api = HfApi()
start = time.perf_counter()
api.get_safetensors_metadata("org/model")
print(json.dumps([time.perf_counter() - start]))
"""
_MODELINFO = """
import time, json, os
from modelinfo.parsers import huggingface
huggingface._get_hf_endpoint = lambda: os.environ["HF_ENDPOINT"]
start = time.perf_counter()
huggingface.fetch_huggingface_repo("org/model", fetch_tensors=True)
print(json.dumps([time.perf_counter() - start]))
"""


def shards() -> dict[str, bytes]:
    """The files of the model: headers of 37 kB, and one tensor of 4 MB."""
    files: dict[str, bytes] = {}
    weight_map: dict[str, str] = {}
    for number in range(SHARDS):
        name = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        header: dict[str, Any] = {}
        end = 0
        for index in range(400):
            full = f"model.layers.{number}.mlp.experts.{index}.gate_proj.weight"
            header[full] = {"dtype": "F32", "shape": [2, 2], "data_offsets": [end, end + 16]}
            end += 16
        if number == 0:
            header["large.weight"] = {"dtype": "F32", "shape": [ROWS], "data_offsets": [end, end + 4 * ROWS]}
            end += 4 * ROWS
        text = json.dumps(header, separators=(",", ":")).encode()
        files[name] = len(text).to_bytes(8, "little") + text + bytes(end)
        weight_map |= dict.fromkeys(header, name)
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    files["config.json"] = b'{"model_type": "llama"}'
    return files


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    files = shards()
    headers = sum(8 + int.from_bytes(data[:8], "little") for name, data in files.items() if name.startswith("model-"))
    beside = len(files["model.safetensors.index.json"]) + len(files["config.json"])
    command = [sys.executable, "-m", "tests.bench.slow_hub", str(LATENCY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url = process.stdout.readline().strip()
        others = {"huggingface_hub": _HUB, "modelinfo": _MODELINFO}
        others = {name: script for name, script in others.items() if find_spec(name) is not None}
        ours: list[list[float]] = []
        theirs: dict[str, list[float]] = {name: [] for name in others}
        for _ in range(RUNS):
            ours.append(_asked(_OURS, url))
            for name, script in others.items():
                theirs[name].append(_asked(script, url)[0])
        process.stdin.close()
    seconds, nbytes, tensor = (min(column) for column in zip(*ours, strict=True))
    yield Line(f"list {SHARDS} shards, 50 ms a request", f"{seconds:.2f} s", "under 0.5 s", seconds < 0.5)
    share = (nbytes - beside) / headers
    yield Line("bytes of it", f"{share:.3f}x the headers", "under 1.1x", share < 1.1)
    share = tensor / (4 * ROWS)
    yield Line("bytes of a tensor of 4 MB", f"{share:.3f}x its own", "under 1.05x", share < 1.05)
    for name, (bound, what) in {
        "huggingface_hub": (4, "get_safetensors_metadata of huggingface_hub"),
        "modelinfo": (2, "modelinfo-cli"),
    }.items():
        if theirs.get(name):
            ratio = min(theirs[name]) / seconds
            said = f"{ratio:.1f}x as long ({min(theirs[name]):.2f} s)"
            yield Line(f"the same by {what}", said, f"at least {bound}x", ratio >= bound)


def _asked(script: str, url: str) -> list[float]:
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found
