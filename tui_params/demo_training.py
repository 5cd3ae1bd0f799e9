"""The training of ``tui-params demo --live``: a small character transformer on its own source text, with a fault.

Run as ``python -m tui_params.demo_training``; it serves its model and trains until its parent goes away. At step
FAULT_STEP the gradient of one row of one matrix becomes infinite, as it does when a loss scale overflows; AdamW then
writes NaN into that row, and a few steps later the whole model is NaN.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

FAULT_STEP = 300
FAULTY, FAULTY_ROW = "blocks.2.up.weight", 17
WIDTH, HEADS, LAYERS, CONTEXT, BATCH = 96, 4, 4, 64, 8
STEP_SECONDS = 0.05
"""The least time of a step: fast enough to be watched, slow enough to be seen."""


class Block(nn.Module):  # type: ignore[misc, unused-ignore]
    """A layer of a transformer: causal attention, then an MLP, each added to what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        parts = self.qkv(self.norm_1(x)).view(batch, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, WIDTH))
        added: Tensor = self.down(nn.functional.gelu(self.up(self.norm_2(x))))
        return x + added


class CharacterModel(nn.Module):  # type: ignore[misc, unused-ignore]
    """Predicts the next character."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, vocabulary, bias=False)
        nn.init.normal_(self.characters.weight, std=0.02)
        self.head.weight = self.characters.weight

    def forward(self, text: Tensor) -> Tensor:
        x = self.characters(text) + self.places(torch.arange(text.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


class Training:
    """The loop, one step at a time."""

    def __init__(self, text: str) -> None:
        torch.manual_seed(1)
        letters = sorted(set(text))
        self.text = torch.tensor([letters.index(letter) for letter in text])
        self.model = CharacterModel(len(letters))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)
        self.steps = 0

    def step(self) -> float:
        """One step; the loss before it."""
        starts = torch.randint(len(self.text) - CONTEXT - 1, (BATCH,))
        rows = torch.stack([self.text[start : start + CONTEXT + 1] for start in starts.tolist()])
        self.optimizer.zero_grad()
        logits = self.model(rows[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        self.steps += 1
        if self.steps == FAULT_STEP:
            gradient = self.model.get_parameter(FAULTY).grad
            assert gradient is not None
            gradient[FAULTY_ROW] = float("inf")
        self.optimizer.step()
        return float(loss.detach())


def main() -> None:
    """Serve the model, say so on standard output, and train until the parent has gone."""
    from tui_params.api.serving import serve

    torch.set_num_threads(1)
    training = Training(Path(__file__).read_text(encoding="utf-8"))
    serve(training.model, training.optimizer, name="demo")
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    parent = os.getppid()
    while os.getppid() == parent:
        began = time.monotonic()
        training.step()
        time.sleep(max(STEP_SECONDS - (time.monotonic() - began), 0.0))


if __name__ == "__main__":
    main()
