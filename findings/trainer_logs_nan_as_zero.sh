#!/usr/bin/env bash
# transformers 5.24.0: where the loss is NaN, trainer_state.json says "loss": 0.0, and the file is no JSON.
#
# logging_nan_inf_filter is on by default: a loss that is NaN counts as the average of those before it, which at first is
# 0. The norm of the gradients is not filtered, and json.dumps writes it as NaN, which strict readers refuse with the
# whole file. So tui-params reads the file as Python writes it (sources/folder/run/trainer_state.py), and shows the norm
# of the gradients beside the loss.
#
# Seen: loss 0.0, grad_norm NaN
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0 accelerate==1.15.0
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null > /dev/null <<'PYTHON'
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=16, n_positions=8))
torch.nn.init.constant_(model.transformer.wte.weight, float("nan"))
words = [{"input_ids": torch.arange(4), "labels": torch.arange(4)}] * 4
settings = TrainingArguments("out", max_steps=2, save_steps=2, logging_steps=1, report_to=[], use_cpu=True)
Trainer(model, settings, train_dataset=words).train()
PYTHON
state=out/checkpoint-2/trainer_state.json
seen="loss $(sed -n 's/.*"loss": \([^,]*\),.*/\1/p' "$state" | head -1), grad_norm $(sed -n 's/.*"grad_norm": \([^,]*\),.*/\1/p' "$state" | head -1)"
echo "$seen"
[[ $seen == "loss 0.0, grad_norm NaN" ]]
