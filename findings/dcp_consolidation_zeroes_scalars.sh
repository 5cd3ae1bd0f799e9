#!/usr/bin/env bash
# torch 2.13.0: consolidating a distributed safetensors checkpoint writes 0 in place of every tensor without dimensions.
#
# HuggingFaceStorageWriter(save_distributed=True, enable_consolidation=True) writes the pieces of the ranks to sharded/
# and whole files beside it. Scalars (the scale of a quantised tensor, a temperature) are right in the piece and 0 in the
# whole file; tensors with dimensions are right in both. Where sharded/ is still there, its values are the true ones.
#
# Seen: whole: w [1.0, 2.0], scale 0.0
#       piece: w [1.0, 2.0], scale 2.5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 safetensors==0.8.0
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file
from torch.distributed.checkpoint import HuggingFaceStorageWriter

print("torch", torch.__version__)
to = Path(sys.argv[1], "saved")
writer = HuggingFaceStorageWriter(str(to), save_distributed=True, enable_consolidation=True)
dcp.save({"w": torch.tensor([1.0, 2.0]), "scale": torch.tensor(2.5)}, storage_writer=writer, no_dist=True)
scales = []
for name, pattern in (("whole", "*.safetensors"), ("piece", "sharded/*.safetensors")):
    (path,) = to.glob(pattern)
    tensors = load_file(path)
    print(f"{name}: w {tensors['w'].tolist()}, scale {tensors['scale'].item()}")
    assert tensors["w"].tolist() == [1.0, 2.0]
    scales.append(tensors["scale"].item())
assert scales == [0.0, 2.5], "changed: the scalar is kept"
PYTHON
