"""What one rank's optimizer file of DeepSpeed says: its flat partitions, its moments, and how all are cut.

deepspeed/runtime/zero/stage_1_and_2.py and stage3.py, runtime/bf16_optimizer.py, ``state_dict``. BF16_Optimizer writes
the layout of stage 1 without ``zero_stage``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tui_params.sources.folder.deepspeed.model_states import whole_number
from tui_params.sources.folder.deepspeed.torch_file import Rest, Stored, TorchFile
from tui_params.sources.torch_save.layout import MAX_NUMBER
from tui_params.sources.torch_save.unread import TENSORS

_FLATS = "single_partition_of_fp32_groups"
_FLATS_OF_3 = "fp32_flat_groups"
_READ = frozenset({_FLATS, _FLATS_OF_3, "base_optimizer_state", "param_slice_mappings", "param_alignment_paddings"})
_STEP = "step"
_MOST_RANKS = 1 << 14


class OptimizerStates(msgspec.Struct, frozen=True):
    """The contents of one rank's optimizer file.

    ``stage`` is 1, 2 or 3; ``world`` the number of ranks. ``flats`` are the float32 partitions of the groups (of stage
    3, of the sub-groups). ``moments`` are by group the states of the same layout, ``scalars`` those of one element, and
    ``steps`` the values of the step counters among them. ``paddings`` are, for each group, the elements that are
    skipped after each parameter.
    """

    stage: int
    is_bf16_optimizer: bool
    world: int
    flats: tuple[Stored, ...]
    moments: tuple[Mapping[str, Stored], ...]
    scalars: tuple[Mapping[str, Stored], ...]
    steps: Mapping[tuple[int, str], float]
    paddings: tuple[tuple[int, ...], ...]
    rest: Rest


def take_optimizer_states(file: TorchFile) -> OptimizerStates | None:
    """The contents of an optimizer file; None if it is none."""
    root = file.root
    state = root.get("optimizer_state_dict") if type(root) is dict else None
    if type(state) is not dict:
        return None
    stage = whole_number(state.get("zero_stage"))
    is_third = stage == 3 or (stage is None and _FLATS_OF_3 in state)
    flats = _list(file, state.get(_FLATS_OF_3 if is_third else _FLATS), _FLATS_OF_3 if is_third else _FLATS)
    if flats is None:
        return None
    inner = state.get("optimizer_state_dict") if is_third else state.get("base_optimizer_state")
    left = {key: value for key, value in state.items() if not (type(key) is str and key in _READ)}
    if is_third:
        left.pop("optimizer_state_dict", None)
    by_group, others = _states_of(inner)
    texts: dict[str, dict[str, Any]] = {}
    moments: list[dict[str, Stored]] = []
    scalars: list[dict[str, Stored]] = []
    steps: dict[tuple[int, str], float] = {}
    for group, states in enumerate(by_group):
        moments.append({})
        scalars.append({})
        for key, value in states.items():
            if type(value) in TENSORS:
                stored = file.tensor(value, f"state.{group}.{key}")
                (moments if stored.info.ndim == 1 else scalars)[group][key] = stored
                number = file.number(stored.info) if key == _STEP else None
            else:
                texts.setdefault(str(group), {})[key] = value
                number = (
                    float(value) if key == _STEP and type(value) in (int, float) and abs(value) < MAX_NUMBER else None
                )
            if number is not None:
                steps[group, key] = number
    left |= others | ({"state": texts} if texts else {})
    rest = file.walk({"optimizer": left} | {key: v for key, v in root.items() if key not in _ABOVE})
    return OptimizerStates(
        3 if is_third else stage or 1,
        stage is None and not is_third,
        _world(state.get("partition_count")),
        flats,
        tuple(moments),
        tuple(scalars),
        steps,
        () if is_third else _paddings(state.get("param_alignment_paddings")),
        rest,
    )


_ABOVE = frozenset({"optimizer_state_dict", "ds_config", "ds_version"})
"""The model file has the last two as well."""


def _list(file: TorchFile, value: Any, name: str) -> tuple[Stored, ...] | None:
    if type(value) is not list:
        return None
    return tuple(file.tensor(item, f"{name}.{number}") for number, item in enumerate(value))


def _states_of(inner: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The states of each group by name, and everything else that stands beside them."""
    # With elastic_checkpoint there is a list with the states of each group, and nothing else.
    groups: Any = inner
    others: dict[str, Any] = {}
    if type(inner) is dict:
        groups = inner.get("state")
        others = {key: value for key, value in inner.items() if key != "state" and type(key) is str}
    if type(groups) is dict:
        numbers = [key for key in groups if type(key) is int and 0 <= key < len(groups)]
        groups = [groups.get(number, {}) for number in range(max(numbers, default=-1) + 1)]
    if type(groups) is not list:
        return [], others
    return [
        {key: value for key, value in group.items() if type(key) is str} if type(group) is dict else {}
        for group in groups
    ], others


def _world(count: Any) -> int:
    """The number of ranks: of stage 3 a number, else one for each group; 0 if it is not known."""
    counts = count if type(count) is list else [count]
    return max((number for number in counts if type(number) is int and 0 < number <= _MOST_RANKS), default=0)


def _paddings(value: Any) -> tuple[tuple[int, ...], ...]:
    """The paddings of each group; a file of before they existed has none."""
    if type(value) is not list:
        return ()
    return tuple(
        tuple(number if type(number) is int and 0 <= number <= MAX_NUMBER else 0 for number in group)
        if type(group) is list
        else ()
        for group in value
    )
