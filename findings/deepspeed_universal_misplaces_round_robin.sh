#!/usr/bin/env bash
# DeepSpeed 0.19.8: ds_to_universal puts wrong values into the universal checkpoint of a run with round_robin_gradients.
#
# With round_robin_gradients ZeRO-2 lays the parameters out in another order. zero_to_fp32 follows param_shapes, whose
# names are in that order, and its values are those whose rounding the model file has in bf16. The values that
# ds_to_universal writes for some parameters are others. Nothing is reported.
#
# Seen, on 3 ranks: l1.weight: zero_to_fp32 agrees with the bf16 copy: True, ds_to_universal: True
#                   l1.bias: zero_to_fp32 agrees with the bf16 copy: True, ds_to_universal: False
#                   l2.weight: zero_to_fp32 agrees with the bf16 copy: True, ds_to_universal: False
#                   l2.bias: zero_to_fp32 agrees with the bf16 copy: True, ds_to_universal: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet deepspeed==0.19.8
cat > "$folder/run.py" <<'PYTHON'
import os
import subprocess
import sys
from pathlib import Path

import torch
import torch.multiprocessing as multiprocessing
from torch import nn

OUT = Path(sys.argv[1])
WORLD = 3
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29817", "GLOO_SOCKET_IFNAME": "lo", "DS_ACCELERATOR": "cpu"}
os.environ |= {"DEEPSPEED_LOG_LEVEL": "error", "TORCH_EXTENSIONS_DIR": str(OUT / "extensions")}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2 = nn.Linear(5, 9), nn.Linear(9, 3)

    def forward(self, x):
        return self.l2(self.l1(x)).sum().float()


def train(rank):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORLD), "LOCAL_RANK": str(rank)}
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("gloo")
    torch.manual_seed(0)
    model = Net()
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": 2, "round_robin_gradients": True},
        "bf16": {"enabled": True},
        "zero_allow_untrusted_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    engine, *_ = deepspeed.initialize(model=model, optimizer=torch.optim.AdamW(model.parameters()), config=config)
    engine.backward(engine(torch.ones(1, 5, dtype=torch.bfloat16)))
    engine.step()
    engine.save_checkpoint(str(OUT / "run"), client_state={"universal_checkpoint_info": {}})


if __name__ == "__main__":
    multiprocessing.start_processes(train, nprocs=WORLD, start_method="spawn")
    import deepspeed
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    print("deepspeed", deepspeed.__version__)
    whole = get_fp32_state_dict_from_zero_checkpoint(str(OUT / "run"))
    (tag,) = OUT.glob("run/global_step*")
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--input_folder", str(tag)]
    command += ["--output_folder", str(OUT / "universal"), "--num_extract_workers", "1", "--num_merge_workers", "1"]
    subprocess.run(command, check=True, capture_output=True)
    copies = torch.load(tag / "mp_rank_00_model_states.pt", weights_only=False)["module"]
    agree = []
    for name, copy in copies.items():
        other = torch.load(OUT / "universal" / "zero" / name / "fp32.pt", weights_only=False)["param"]
        agree.append([torch.equal(value.bfloat16(), copy) for value in (whole[name], other)])
        print(f"{name}: zero_to_fp32 agrees with the bf16 copy: {agree[-1][0]}, ds_to_universal: {agree[-1][1]}")
    assert all(first for first, _ in agree)
    assert not all(second for _, second in agree), "changed: the universal checkpoint is right"
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py" "$folder" 2>&1 | grep -v WARNING
