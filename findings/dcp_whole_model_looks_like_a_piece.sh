#!/usr/bin/env bash
# torch 2.13.0: HuggingFaceStorageWriter marks whole models as it marks the pieces of single ranks.
#
# Distributed checkpointing can write safetensors. The offsets of a rank's pieces are in the entry DCP_SHARDING_INFO of
# the header. With save_distributed=False the file holds whole tensors under the usual name model-00001-of-00001, and has
# the entry all the same, with offsets of 0 only. With save_distributed=True the first rank's offsets are 0 as well. So
# the entry alone does not tell whether the shapes are those of the tensors: the file name does (shard-...), or an offset
# that is not 0.
#
# Seen: save_distributed=False: model-00001-of-00001.safetensors {'w': {'saved_offsets': [0, 0]}}
#       save_distributed=True: shard-00001-model-00001-of-00001.safetensors {'w': {'saved_offsets': [0, 0]}}
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 safetensors==0.8.0
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import json
import sys
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from torch.distributed.checkpoint import HuggingFaceStorageWriter

print("torch", torch.__version__)
found = {}
for is_distributed in (False, True):
    to = Path(sys.argv[1], f"saved-{is_distributed}")
    writer = HuggingFaceStorageWriter(str(to), save_distributed=is_distributed)
    dcp.save({"w": torch.arange(6.0).reshape(2, 3)}, storage_writer=writer, no_dist=True)
    (path,) = to.glob("*.safetensors")
    with safe_open(path, "pt") as file:
        info = json.loads(file.metadata()["DCP_SHARDING_INFO"])
    print(f"save_distributed={is_distributed}: {path.name} {info}")
    found[path.name] = info
zeros = {"w": {"saved_offsets": [0, 0]}}
assert found == {
    "model-00001-of-00001.safetensors": zeros,
    "shard-00001-model-00001-of-00001.safetensors": zeros,
}, "changed: the two are marked otherwise"
PYTHON
