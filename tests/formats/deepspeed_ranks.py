"""Writes checkpoints with the real DeepSpeed: ``python deepspeed_ranks.py OUT WORLD CASE...``; needs deepspeed.

Beside each folder: what ``zero_to_fp32`` makes of it (``CASE.fp32.pt``), the universal checkpoint (``CASE.universal``),
and the keys of all files (``CASE.json``).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from torch import nn

BF16 = {"bf16": {"enabled": True}}
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {"zero_optimization": {"stage": 0}, **BF16},
    "zero1": {"zero_optimization": {"stage": 1}, **BF16},
    "zero2": {"zero_optimization": {"stage": 2}, **BF16},
    "zero2-float32": {"zero_optimization": {"stage": 2}},
    "zero2-groups": {"zero_optimization": {"stage": 2}, **BF16},
    "zero2-aligned": {"zero_optimization": {"stage": 2, "parameter_alignment": True}, **BF16},
    "zero2-robin": {"zero_optimization": {"stage": 2, "round_robin_gradients": True}, **BF16},
    "elastic": {"zero_optimization": {"stage": 1, "elastic_checkpoint": True}, **BF16},
    "bf16-optimizer": {"zero_optimization": {"stage": 1}, **BF16, "data_types": {"grad_accum_dtype": "fp32"}},
    "offload": {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}, **BF16},
    "zero3": {"zero_optimization": {"stage": 3}, **BF16},
    "zero3-groups": {"zero_optimization": {"stage": 3}, **BF16},
    "zero3-float32": {"zero_optimization": {"stage": 3}},
    "zero3-sub": {"zero_optimization": {"stage": 3, "sub_group_size": 40}, **BF16},
    "zero3-gather": {"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}, **BF16},
}


class Net(nn.Module):  # type: ignore[misc]
    """Parameters of odd sizes, two of them tied and one frozen, and buffers of two types."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(7, 5)
        self.l1 = nn.Linear(5, 9)
        self.l2 = nn.Linear(9, 3)
        self.head = nn.Linear(5, 7, bias=False)
        self.head.weight = self.emb.weight
        self.scale = nn.Parameter(torch.tensor([1.5]))
        self.frozen = nn.Parameter(torch.arange(3.0) + 0.1, requires_grad=False)
        self.register_buffer("buf", torch.arange(3.0))
        self.register_buffer("count", torch.tensor(4))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.emb(tokens)
        return (self.l2(self.l1(x)).sum() * self.scale[0] + self.head(x).sum()).float()


def train(rank: int, out: Path, world: int, cases: list[str]) -> None:
    """Two steps and a checkpoint of each case, on one of the ranks."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    import deepspeed

    # Its kernel in shared memory would be compiled first.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("gloo")
    for case in cases:
        torch.manual_seed(0)
        model = Net()
        named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
        groups: Any = [value for _, value in named]
        if "groups" in case:
            groups = [
                {"params": [value for name, value in named if ("bias" in name) == bias]} for bias in (False, True)
            ]
        config = {
            "train_micro_batch_size_per_gpu": 1,
            "zero_allow_untrusted_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            **CONFIGS[case],
        }
        optimizer = torch.optim.AdamW(groups, lr=1e-2)
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
        for _ in range(2):
            engine.backward(engine(torch.tensor([[1, 2, 3]])))
            engine.step()
        engine.save_checkpoint(str(out / case), client_state={"epoch": 3, "universal_checkpoint_info": {}})


def convert(out: Path, case: str) -> None:
    """What DeepSpeed's own scripts make of a checkpoint; they refuse some."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    try:
        whole = get_fp32_state_dict_from_zero_checkpoint(str(out / case))
    except (ValueError, TypeError) as error:
        print("refused", case, error, file=sys.stderr)
    else:
        torch.save({name: value.clone() for name, value in whole.items()}, out / f"{case}.fp32.pt")
    (tag,) = (out / case).glob("global_step*")
    target = out / f"{case}.universal"
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--input_folder", str(tag)]
    command += ["--output_folder", str(target), "--num_extract_workers", "1", "--num_merge_workers", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        print("refused", case, result.stderr[-300:], file=sys.stderr)
    described = {}
    for path in sorted(tag.glob("*.pt")):
        described[path.name] = dict(keys(torch.load(path, weights_only=False)))
    (out / f"{case}.json").write_text(json.dumps(described))


def keys(value: Any, name: str = "") -> Any:
    """The dotted names of the tensors of a file, with shape and type; of everything else, only that it is there."""
    if isinstance(value, torch.Tensor):
        yield name, [list(value.shape), str(value.dtype)]
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from keys(item, f"{name}.{key}")
    elif isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        for number, item in enumerate(value):
            yield from keys(item, f"{name}.{number}")
    else:
        yield name, None


def main() -> None:
    """Write all cases, then convert them."""
    out, world, cases = Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3:]
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "GLOO_SOCKET_IFNAME": "lo",
        "DS_ACCELERATOR": "cpu",
        "DEEPSPEED_LOG_LEVEL": "error",
        # A lock that another build left behind would be waited for.
        "TORCH_EXTENSIONS_DIR": str(out / "extensions"),
    }
    torch.multiprocessing.start_processes(train, (out, world, cases), nprocs=world, start_method="spawn")
    for case in cases:
        convert(out, case)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
