"""Folders of DeepSpeed checkpoints in the layout that DeepSpeed 0.19 writes, by torch.save alone.

``tests/formats/test_deepspeed.py`` compares this layout with what the library itself writes.
"""

from __future__ import annotations

import collections
import enum
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

SHAPES = {
    "scale": (1,),
    "emb.weight": (7, 5),
    "l1.weight": (9, 5),
    "l1.bias": (9,),
    "l2.weight": (3, 9),
    "l2.bias": (3,),
}
NAN = float("nan")
TAG = "global_step2"
MOMENTS = ("exp_avg", "exp_avg_sq")


class LossScaler:
    """As ``deepspeed.runtime.fp16.loss_scaler.LossScaler``."""

    def __init__(self) -> None:
        self.cur_scale = 1.0
        self.dynamic = False


class ZeroStageEnum(int, enum.Enum):
    """As ``deepspeed.runtime.zero.config.ZeroStageEnum``: written as a call with the number."""

    disabled = 0
    optimizer_states = 1
    gradients = 2
    weights = 3


fragment_address = collections.namedtuple("fragment_address", ["numel", "start"])

_PLACES: dict[Any, str] = {
    LossScaler: "deepspeed.runtime.fp16.loss_scaler",
    ZeroStageEnum: "deepspeed.runtime.zero.config",
    fragment_address: "deepspeed.utils.tensor_fragment",
}


@contextmanager
def deepspeed_names() -> Iterator[None]:
    """While it lasts, the classes above are pickled under the names that they have in DeepSpeed."""
    before = dict(sys.modules)
    own = {cls: cls.__module__ for cls in _PLACES}
    try:
        for cls, path in _PLACES.items():
            parts = path.split(".")
            for end in range(1, len(parts) + 1):
                sys.modules.setdefault(name := ".".join(parts[:end]), types.ModuleType(name))
            setattr(sys.modules[path], cls.__name__, cls)
            cls.__module__ = path
        yield
    finally:
        for cls, name in own.items():
            cls.__module__ = name
        for name in [name for name in sys.modules if name.partition(".")[0] == "deepspeed" and name not in before]:
            del sys.modules[name]


@dataclass
class Zero:
    """A checkpoint that is cut for ``world`` ranks: the values that should be read, and the files by name.

    ``sub_group`` is how many parameters share a flat buffer of stage 3; ``alignment`` is that of each parameter.
    """

    stage: int
    world: int = 2
    groups: int = 1
    sub_group: int = 100
    alignment: int = 1
    is_elastic: bool = False
    is_bf16_optimizer: bool = False
    has_frozen: bool = True
    shapes: dict[str, tuple[int, ...]] = field(default_factory=lambda: dict(SHAPES))
    values: dict[str, torch.Tensor] = field(default_factory=dict)
    states: dict[str, torch.Tensor] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(7)
        for name, shape in self.shapes.items():
            self.values[name] = torch.randn(shape, generator=generator)
            self.states[f"optimizer.{name}.exp_avg"] = torch.randn(shape, generator=generator)
            self.states[f"optimizer.{name}.exp_avg_sq"] = torch.rand(shape, generator=generator) + 0.01
            self.states[f"optimizer.{name}.step"] = torch.tensor(2.0)
        self.values["buf"] = torch.arange(3.0)
        self.values["count"] = torch.tensor(4)
        if self.has_frozen:
            self.values["frozen"] = torch.tensor([1.0, 2.5, -3.0]).bfloat16()
        if "emb.weight" in self.shapes:
            self.values["head.weight"] = self.values["emb.weight"]
        self.cut()

    @property
    def everything(self) -> dict[str, torch.Tensor]:
        """Every tensor that should be listed, by its name."""
        return self.values | self.states

    def cut(self) -> None:
        """Make the files again, from the values as they are now."""
        names = list(self.shapes)
        count = -(-len(names) // self.sub_group) if self.stage == 3 else self.groups
        size = self.sub_group if self.stage == 3 else -(-len(names) // count)
        grouped = [names[number * size : (number + 1) * size] for number in range(count)]
        self.files = {}
        for rank in range(self.world if self.stage == 3 else 1):
            name = (
                f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt" if self.stage == 3 else "mp_rank_00_model_states.pt"
            )
            self.files[name] = self._model(grouped, rank)
        cuts = [self._cut(group) for group in grouped]
        for rank in range(self.world):
            self.files[optimizer_file(rank)] = self._optimizer(cuts, rank)

    def write(self, folder: Path) -> Path:
        """Write all files, with ``latest``; returns the folder."""
        (folder / TAG).mkdir(parents=True, exist_ok=True)
        (folder / "latest").write_text(TAG)
        (folder / "zero_to_fp32.py").write_text("raise SystemExit('not run')\n")
        with deepspeed_names():
            for name, value in self.files.items():
                torch.save(value, folder / TAG / name)
        return folder

    def _model(self, grouped: list[list[str]], rank: int) -> dict[str, Any]:
        module: dict[str, torch.Tensor] = collections.OrderedDict()
        is_third = self.stage == 3
        if self.has_frozen:
            module["frozen"] = torch.empty(0).bfloat16() if is_third else self.values["frozen"]
        for group in grouped:
            # The trained parameters of a group are views of one storage.
            flat = torch.cat([self.values[name].reshape(-1) for name in group]).bfloat16()
            start = 0
            for name in group:
                numel = self.values[name].numel()
                whole = flat[start : start + numel].view(self.shapes[name])
                module[name] = torch.empty(0).bfloat16() if is_third else whole
                start += numel
        module |= {"buf": self.values["buf"], "count": self.values["count"]}
        if "emb.weight" in module:
            module["head.weight"] = module["emb.weight"]
        frozen = self.values["frozen"] if self.has_frozen else torch.empty(0)
        has_list = self.has_frozen and self.stage != 1
        share = -(-frozen.numel() // self.world)
        own = deal(frozen, self.world, rank, share) if is_third else frozen
        shapes = [collections.OrderedDict((name, torch.Size(self.shapes[name])) for name in group) for group in grouped]
        return {
            "module": module,
            "buffer_names": ["buf", "count"],
            "optimizer": None,
            "param_shapes": shapes,
            "frozen_param_shapes": {"frozen": torch.Size([3])} if has_list else None,
            "shared_params": {"head.weight": "emb.weight"} if rank == 0 and "emb.weight" in self.shapes else {},
            "frozen_param_fragments": {"frozen": own} if has_list else None,
            "lr_scheduler": {"last_epoch": 2},
            "global_steps": 2,
            "dp_world_size": self.world,
            "ds_config": {"zero_optimization": {"stage": self.stage}},
            "ds_version": "0.19.8",
            "epoch": 3,
        }

    def _cut(self, group: list[str]) -> dict[str, list[torch.Tensor]]:
        """The partitions of one group, by rank, of the values and of each of the moments."""
        found: dict[str, list[torch.Tensor]] = {}
        for key in ("", *MOMENTS):
            wanted = [self.values[name] if not key else self.states[f"optimizer.{name}.{key}"] for name in group]
            flats = [value.reshape(-1) for value in wanted]
            if self.stage == 3:
                found[key] = [
                    torch.cat([deal(flat, self.world, rank, -(-flat.numel() // self.world)) for flat in flats])
                    for rank in range(self.world)
                ]
                continue
            aligned = [padded(flat, self.alignment) for flat in flats[:-1]]
            whole = torch.cat([*aligned, flats[-1]])
            numel = whole.numel()
            whole = padded(whole, 2 * self.world)
            size = whole.numel() // self.world
            parts = [whole[rank * size : (rank + 1) * size].clone() for rank in range(self.world)]
            if (self.is_elastic or not key) and not self.is_bf16_optimizer:
                # Stripped partitions keep the storage of the padded ones.
                parts = [part[: max(0, min(size, numel - rank * size))] for rank, part in enumerate(parts)]
            found[key] = parts
        found["paddings"] = [
            torch.tensor([-self.values[name].numel() % self.alignment for name in group[:-1]] + [0]),
        ]
        return found

    def _optimizer(self, cuts: list[dict[str, list[torch.Tensor]]], rank: int) -> dict[str, Any]:
        flats = [cut[""][rank] for cut in cuts]
        states = {
            number: {"step": torch.tensor(2.0), **{key: cut[key][rank] for key in MOMENTS}}
            for number, cut in enumerate(cuts)
        }
        groups = [{"lr": 0.1, "params": [number]} for number in range(len(cuts))]
        inner: Any = {"state": states, "param_groups": groups}
        state: dict[str, Any]
        if self.stage == 3:
            state = {
                "zero_stage": ZeroStageEnum(3),
                "loss_scaler": LossScaler(),
                "partition_count": self.world,
                "optimizer_state_dict": inner,
                "fp32_flat_groups": flats,
            }
        else:
            state = {
                "loss_scaler": LossScaler(),
                "base_optimizer_state": list(states.values()) if self.is_elastic else inner,
                "single_partition_of_fp32_groups": flats,
                "zero_stage": ZeroStageEnum(self.stage),
                "group_paddings": [0] * len(cuts),
                "param_alignment_paddings": [cut["paddings"][0].tolist() for cut in cuts],
                "partition_count": [self.world] * len(cuts),
                "ds_version": "0.19.8",
                "param_slice_mappings": [collections.OrderedDict(x=fragment_address(3, 0))],
            }
            if self.is_bf16_optimizer:
                for key in ("zero_stage", "loss_scaler", "param_alignment_paddings"):
                    del state[key]
        return {"optimizer_state_dict": state, "ds_config": {"zero": self.stage}, "ds_version": "0.19.8"}


def optimizer_file(rank: int) -> str:
    """The name of a rank's optimizer file."""
    return f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"


def deal(flat: torch.Tensor, world: int, rank: int, share: int) -> torch.Tensor:
    """What one rank has of a parameter in stage 3; what is left over was never written: NaN here."""
    whole = torch.cat([flat, torch.full((share * world - flat.numel(),), NAN, dtype=flat.dtype)])
    return whole[rank * share : (rank + 1) * share].clone()


def padded(flat: torch.Tensor, grain: int) -> torch.Tensor:
    """With NaN up to the next multiple of ``grain``."""
    return torch.cat([flat, torch.full((-flat.numel() % grain,), NAN)])


def write_universal(folder: Path, zero: Zero) -> Path:
    """A universal checkpoint of the same values, as ``ds_to_universal --inject_missing_state`` writes it."""
    is_third = zero.stage == 3
    (folder / "zero").mkdir(parents=True)
    with deepspeed_names():
        for name, value in zero.files.items():
            if "model_states" in name:
                torch.save(value, folder / name)
        for name, value in zero.values.items():
            if is_third and name not in zero.shapes:
                continue
            (folder / "zero" / name).mkdir()
            wanted = {"fp32": value.float()}
            if name in zero.shapes:
                wanted |= {key: zero.states[f"optimizer.{name}.{key}"] for key in MOMENTS}
                if not is_third:
                    torch.save(torch.tensor(2.0), folder / "zero" / name / "step.pt")
            for key, tensor in wanted.items():
                saved: Any = tensor.reshape(-1) if is_third else {"param": tensor, "cat_dim": 0}
                torch.save(saved, folder / "zero" / name / f"{key}.pt")
        state = dict(zero.files[optimizer_file(0)]["optimizer_state_dict"])
        state["param_groups"] = [{"lr": 0.1}]
        for key in ("base_optimizer_state", "single_partition_of_fp32_groups", "param_slice_mappings"):
            state.pop(key, None)
        torch.save(state, folder / "zero" / "optimizer_state.pt")
    return folder
