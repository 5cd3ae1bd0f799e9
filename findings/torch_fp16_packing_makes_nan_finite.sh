#!/usr/bin/env bash
# torch 2.13.0: packing a weight for dynamic float16 quantisation turns NaN into -65504 and infinity into 65504.
#
# linear_prepack_fp16 clips values to the range of float16. It warns of the infinity. A NaN is clipped too, to the lower
# end and in silence: a check of the packed model finds no NaN in its weights, and its outputs are finite where those of
# the original are NaN. So check a model before it is quantised; afterwards, look for weights that are exactly -65504.
#
# Seen: packed: [-65504.0, 65504.0, 1.0]
#       output of the original: nan, of the quantised model: finite
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import math

import torch

print("torch", torch.__version__)
weight = torch.tensor([[math.nan, math.inf, 1.0]])
packed = torch.ops.quantized.linear_prepack_fp16(weight, None)
unpacked = torch.ops.quantized.linear_unpack_fp16(packed)[0]
print("packed:", unpacked.tolist()[0])
assert unpacked.tolist() == [[-65504.0, 65504.0, 1.0]], "changed: other values"

model = torch.nn.Sequential(torch.nn.Linear(3, 1))
with torch.no_grad():
    model[0].weight.copy_(torch.tensor([[math.nan, 0.5, 1.0]]))
quantised = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.float16)
before, after = (made(torch.ones(1, 3)).item() for made in (model, quantised))
print(f"output of the original: {before}, of the quantised model: {'finite' if math.isfinite(after) else after}")
assert math.isnan(before) and math.isfinite(after), "changed: the NaN is kept"
PYTHON
