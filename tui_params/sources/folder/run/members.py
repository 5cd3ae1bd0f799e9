"""What lies beside the model of a training run, as the names of files and folders tell: its states.

transformers/trainer.py (OPTIMIZER_NAME and so on), accelerate/utils/constants.py, torch FSDP's folders of accelerate
(accelerate/utils/fsdp_utils.py), DeepSpeed's tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

STATE = re.compile(
    r"^(optimizer|scheduler|sampler|scaler|rng_state|random_states|training_args|custom_checkpoint|dl_state_dict)"
    r"([\w.-]*)$",
    re.IGNORECASE,
)
"""Files that transformers, accelerate and Lightning put beside the weights: states of the run, not of the model.

Accelerate pickles registered objects into ``custom_checkpoint_0.pkl``, random states into ``random_states_0.pkl``.
"""

MOST_STATES = 32
"""The most of them that are opened; each rank may have written one. The others are named."""

TRAINER_STATE = "trainer_state.json"

_ORDER = (
    "optimizer", "scheduler", "scaler", "training_args", "custom_checkpoint", "sampler", "dl_state_dict", "rng_state",
    "random_states",
)  # fmt: skip
PICKLES = (".pkl", ".pickle")
"""A pickle beside a model may hold numbers too, whatever it is called."""

_FOLDER = re.compile(r"^(pytorch_model_fsdp|optimizer|global_step)_?\d+$")
_NUMBER = re.compile(r"\d+")


def states_among(names: Iterable[str], suffixes: tuple[str, ...]) -> list[str]:
    """The files with states, the optimizer first and the random generators last; ``suffixes`` are those of tensors."""
    found = [name for name in names if STATE.match(name) and name.endswith((*suffixes, *PICKLES))]
    return sorted(found, key=_place)


def state_folders(folders: Iterable[str]) -> list[str]:
    """The subfolders with parts of a run: the model and the optimizer of FSDP, the partitions of DeepSpeed."""
    return sorted((name for name in folders if _FOLDER.match(name)), key=_place)


def is_model_folder(name: str) -> bool:
    return name.startswith("pytorch_model_fsdp")


def _place(name: str) -> tuple[int, list[int], str]:
    kind = next((place for place, stem in enumerate(_ORDER) if name.lower().startswith(stem)), -1)
    return kind, [int(digits) for digits in _NUMBER.findall(name)[:3] if len(digits) < 10], name


def stem_of(name: str, others: Sequence[str]) -> str:
    """``optimizer`` of ``optimizer.pt``; the whole name if another file has the same stem."""
    stem = name.rpartition(".")[0] or name
    return name if sum((other.rpartition(".")[0] or other) == stem for other in others) > 1 else stem
