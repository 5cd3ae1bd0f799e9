#!/usr/bin/env bash
# safetensors 0.8.0 with torch 2.13.0: a float4 tensor of shape [2, 3] is written with the shape [2, 6].
#
# torch.float4_e2m1fn_x2 has two numbers in an element, and its shape counts these pairs. The type F4 of safetensors has
# one number in an element, so the last dimension is doubled in the header; loading halves it again. Two tools that show
# the same tensor, one from the file and one from the model, differ in its shape and in the number of its elements.
#
# Seen: in torch: (2, 3), 6 elements; in the file: F4 [2, 6], 6 bytes; loaded: (2, 3)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 safetensors==0.8.0
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

print("torch", torch.__version__, "safetensors", version("safetensors"))
path = Path(sys.argv[1], "x.safetensors")
pairs = torch.arange(6, dtype=torch.uint8).reshape(2, 3).view(torch.float4_e2m1fn_x2)
save_file({"x": pairs}, path)
raw = path.read_bytes()
entry = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["x"]
nbytes = entry["data_offsets"][1] - entry["data_offsets"][0]
loaded = load_file(path)["x"]
seen = f"in torch: {tuple(pairs.shape)}, {pairs.numel()} elements; in the file: {entry['dtype']} {entry['shape']}, "
seen += f"{nbytes} bytes; loaded: {tuple(loaded.shape)}"
print(seen)
assert seen == "in torch: (2, 3), 6 elements; in the file: F4 [2, 6], 6 bytes; loaded: (2, 3)", "changed"
PYTHON
