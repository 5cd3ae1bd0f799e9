"""The names of the files of a DeepSpeed checkpoint, and what each of them is.

deepspeed/runtime/engine.py, ``_get_ckpt_name``, ``_get_zero_ckpt_name``, ``_get_expert_ckpt_name``; pipe/module.py,
``ckpt_layer_path``. ``zero_pp_rank_R`` is the rank R among those that share the model, ``mp_rank_M`` the slice M of a
model that is cut for tensor parallelism.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

_ZERO = r"(?:bf16_|fp16_)?zero_pp_rank_(?P<rank>\d{1,9})_mp_rank_(?P<slice>\d{1,9})"
_OPTIMIZER = re.compile(rf"{_ZERO}_optim_states\.pt", re.ASCII)
_PARTED_MODEL = re.compile(rf"{_ZERO}_model_states\.pt", re.ASCII)
_MODEL = re.compile(r"mp_rank_(?P<slice>\d{1,9})_model_states\.pt", re.ASCII)
_NOT_JOINED = re.compile(
    r"(?:layer_\d+_)?expert_\d+_mp_rank_\d+_model_states\.pt|expp_rank_\d+_mp_rank_\d+_optim_states\.pt"
    r"|layer_\d+(?:-model_\d+)?-model_states\.pt",
    re.ASCII,
)
"""Experts, their optimizers, and layers of a pipeline."""

_ENDINGS = ("_optim_states.pt", "_model_states.pt")
"""What DeepSpeed's own ``zero_to_fp32`` looks for, whatever stands before."""


class RankFiles(msgspec.Struct, frozen=True):
    """The files of one tag, in the order of the ranks.

    ``models`` and ``optimizers`` are by rank; several names of one rank are a fault. The one model file of ZeRO-1 and 2
    is that of rank 0. ``slices`` are the files of ``mp_rank_01`` and further; ``parts`` those of experts and of stages
    of a pipeline; ``misnamed`` those that end as files of DeepSpeed and are none; ``others`` all the rest.
    """

    models: dict[int, list[str]]
    optimizers: dict[int, list[str]]
    slices: list[str]
    parts: list[str]
    misnamed: list[str]
    others: list[str]

    @property
    def is_empty(self) -> bool:
        return not (self.models or self.optimizers or self.slices or self.parts)


def sort_files(names: Iterable[str]) -> RankFiles:
    """What each of the names of a folder is."""
    models: dict[int, list[str]] = {}
    optimizers: dict[int, list[str]] = {}
    slices: list[str] = []
    parts: list[str] = []
    misnamed: list[str] = []
    others: list[str] = []
    for name in sorted(names):
        model = _MODEL.fullmatch(name)
        parted = _PARTED_MODEL.fullmatch(name)
        optimizer = _OPTIMIZER.fullmatch(name)
        match = model or parted or optimizer
        if match is None:
            rest = misnamed if name.endswith(_ENDINGS) else others
            (parts if _NOT_JOINED.fullmatch(name) else rest).append(name)
        elif int(match["slice"]):
            slices.append(name)
        else:
            rank = 0 if model is not None else int(match["rank"])
            (models if optimizer is None else optimizers).setdefault(rank, []).append(name)
    return RankFiles(dict(sorted(models.items())), dict(sorted(optimizers.items())), slices, parts, misnamed, others)
