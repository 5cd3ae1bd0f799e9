"""Folders of training runs as transformers' Trainer and accelerate write them, made by torch and safetensors alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn


class Attention(nn.Module):  # type: ignore[misc]  # mypy does not read torch
    """As in Llama: the names of the projections are not in alphabetical order."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(8, 8, bias=False), nn.Linear(8, 4, bias=False)
        self.v_proj, self.o_proj = nn.Linear(8, 4, bias=False), nn.Linear(8, 8, bias=False)


class Layer(nn.Module):  # type: ignore[misc]
    """A decoder layer of Llama without its MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = Attention()
        self.input_layernorm = nn.RMSNorm(8)


class Inner(nn.Module):  # type: ignore[misc]
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(6, 8)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.norm = nn.RMSNorm(8)


class Llama(nn.Module):  # type: ignore[misc]
    """The names and the order of LlamaForCausalLM."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = Inner(layers)
        self.lm_head = nn.Linear(8, 6, bias=False)


def trainer_groups(model: nn.Module) -> list[dict[str, object]]:
    """Two groups, with and without weight decay, as Trainer.create_optimizer makes them for a model of these names."""
    named = list(model.named_parameters())
    plain = [parameter for name, parameter in named if "norm" not in name and "bias" not in name]
    rest = [parameter for name, parameter in named if "norm" in name or "bias" in name]
    return [{"params": plain, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]


def step(model: nn.Module, groups: Sequence[Mapping[str, object]] | None = None) -> torch.optim.Optimizer:
    """An AdamW after a step; the gradient of each parameter is its own number, so that its moments tell it."""
    optimizer = torch.optim.AdamW([dict(group) for group in groups] if groups else list(model.parameters()))
    for number, parameter in enumerate(model.parameters(), 1):
        parameter.grad = torch.full_like(parameter, float(number))
    optimizer.step()
    return optimizer


def owners(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[int, str]:
    """The true name of each numbered state."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {number: names[id(parameter)] for number, parameter in enumerate(parameters)}


def write_trainer(
    folder: Path,
    model: nn.Module | None = None,
    groups: Callable[[nn.Module], list[dict[str, object]]] | None = trainer_groups,
    *,
    model_type: str = "llama",
    global_step: int = 500,
) -> torch.optim.Optimizer:
    """A ``checkpoint-500/`` of the Trainer; returns the optimizer whose state is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    model = model or Llama()
    optimizer = step(model, None if groups is None else groups(model))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    torch.save(scheduler.state_dict(), folder / "scheduler.pt")
    torch.save(
        {"cpu": torch.arange(5056, dtype=torch.uint8), "python": (3, (1,) * 625, None)}, folder / "rng_state.pth"
    )
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    history = [{"loss": 2.5, "step": 1}, {"loss": 0.25, "step": global_step}, {"eval_loss": 0.5, "step": global_step}]
    state = {"global_step": global_step, "epoch": 1.5, "best_metric": 0.5, "log_history": history}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return optimizer


def write_accelerate(folder: Path, models: Sequence[nn.Module]) -> None:
    """What ``Accelerator.save_state`` writes of some models, each with its optimizer."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, model in enumerate(models):
        ending = f"_{number}" if number else ""
        optimizer = step(model)
        save_file(dict(model.state_dict()), folder / f"model{ending}.safetensors")
        torch.save(optimizer.state_dict(), folder / f"optimizer{ending}.bin")
    torch.save({"n": 3}, folder / "scheduler.bin")
    torch.save({"t": torch.ones(3)}, folder / "custom_checkpoint_0.pkl")
    torch.save({"step": 0, "torch_manual_seed": torch.zeros(8, dtype=torch.uint8)}, folder / "random_states_0.pkl")
