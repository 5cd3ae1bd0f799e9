"""Two steps of training by Lightning's ModelParallelStrategy: ``python lightning_ranks.py OUT RANKS``; needs lightning.

Writes ``OUT/last.ckpt``, a folder, and ``OUT/whole.pt`` with the whole tensors, gathered by torch.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch


def main() -> None:
    """Train and save; Lightning starts the other ranks as children that run this script too."""
    import lightning.pytorch as pl
    from lightning.pytorch.strategies import ModelParallelStrategy
    from torch.distributed.fsdp import fully_shard

    out, ranks = sys.argv[1], int(sys.argv[2])

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 3))
            self.save_hyperparameters({"width": 7})

        def configure_model(self) -> None:
            for layer in self.net:
                fully_shard(layer, mesh=self.device_mesh["data_parallel"])

        def training_step(self, batch: Any, index: int) -> Any:
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    data = torch.utils.data.TensorDataset(torch.rand(8 * ranks, 5))
    trainer = pl.Trainer(
        accelerator="cpu", devices=ranks, max_steps=2, default_root_dir=out, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
        strategy=ModelParallelStrategy(data_parallel_size=ranks, tensor_parallel_size=1),
    )  # fmt: skip
    module = Module()
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=2))
    trainer.save_checkpoint(os.path.join(out, "last.ckpt"))
    whole = {name: value.full_tensor() for name, value in module.state_dict().items()}
    if trainer.global_rank == 0:
        torch.save(whole, os.path.join(out, "whole.pt"))


if __name__ == "__main__":
    main()
