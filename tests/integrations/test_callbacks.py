"""The callbacks with the real libraries: every step is counted, the model is seen, nothing comes out different.

They run where the libraries are installed: ``just formats`` has them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.live.attached.conftest import runtime
from tui_params.live.attached.finding import find_serving
from tui_params.live.attached.source import AttachedSource

__all__ = ["runtime"]

STEPS = 6


class Looks:
    """What a viewer sees in the middle of a training, from inside the same process."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, bool, bool]] = []

    def look(self) -> None:
        (found,) = find_serving()
        with AttachedSource(found.path) as viewer:
            names = viewer.names()
            weight = next(name for name in names if name.endswith("0.weight") and "optimizer" not in name)
            has_state = any("exp_avg_sq" in name for name in names)
            self.seen.append((found.name, found.steps, bool(viewer.read(weight).any()), has_state))


def data() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 8, generator=generator) for _ in range(STEPS)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_lightning(package: str, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pl = pytest.importorskip(package, reason=f"{package} is not installed")
    other = ({"lightning.pytorch", "pytorch_lightning"} - {package}).pop()
    if other in sys.modules:
        monkeypatch.delitem(sys.modules, other)
    monkeypatch.delitem(sys.modules, "tui_params.integrations.lightning", raising=False)
    from tui_params.integrations.lightning import ServeCallback

    looks = Looks()

    class Module(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            loss: torch.Tensor = (self.network(batch) - batch).pow(2).mean()
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=0.01)

    class Look(pl.Callback):  # type: ignore[misc, name-defined]
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            looks.look()

    def fit(*callbacks: Any) -> Any:
        module = Module()
        quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = pl.Trainer(
            max_epochs=1, logger=False, accelerator="cpu", default_root_dir=tmp_path, callbacks=[*callbacks], **quiet
        )
        trainer.fit(module, torch.utils.data.DataLoader(data(), batch_size=None))
        return module.state_dict()

    served, alone = fit(ServeCallback("run 7"), Look()), fit()
    assert looks.seen == [("run 7", step, True, True) for step in range(1, STEPS + 1)]
    assert find_serving() == []
    assert all(torch.equal(served[name], alone[name]) for name in alone)


@pytest.mark.filterwarnings("ignore")
def test_lightning_lets_go_when_the_training_fails(runtime: Path, tmp_path: Path) -> None:
    pl = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
    from tui_params.integrations.lightning import ServeCallback

    class Failing(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            assert len(find_serving()) == 1
            raise ArithmeticError("enough")

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01), torch.optim.SGD(self.parameters(), lr=0.1)

    module = Failing()
    module.automatic_optimization = False
    trainer = pl.Trainer(
        max_epochs=1, logger=False, accelerator="cpu", default_root_dir=tmp_path, callbacks=[ServeCallback()],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(ArithmeticError):
        trainer.fit(module, torch.utils.data.DataLoader(data(), batch_size=None))
    assert find_serving() == []


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_of_transformers(runtime: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from tui_params.integrations.transformers import ServeCallback

    looks = Looks()

    class Model(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": (self.network(x) - x).pow(2).mean()}

    class Look(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            looks.look()

    def fit(*callbacks: Any) -> Any:
        model = Model()
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=STEPS, per_device_train_batch_size=2, report_to=[], use_cpu=True,
            save_strategy="no", gradient_accumulation_steps=2, disable_tqdm=True, run_name="run 7", max_grad_norm=1.0,
        )  # fmt: skip
        rows = [{"x": row} for batch in data() for row in batch]
        trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[*callbacks])
        trainer.train()
        return model.state_dict()

    served, alone = fit(ServeCallback(), Look()), fit()
    assert looks.seen == [("run 7", step, True, True) for step in range(1, STEPS + 1)]
    assert find_serving() == []
    assert all(torch.equal(served[name], alone[name]) for name in alone)
