"""What is shown of each format beside its tensors: a row for each row of READERS, for the README."""

from __future__ import annotations

import msgspec


class Abilities(msgspec.Struct, frozen=True, gc=False):
    """How values are read, what the logical view joins or restores, where the names of optimizer states are from, and

    which faults of the container are told. Empty: nothing of the kind. The statistics of whatever is read are exact.
    """

    values: str
    logical: str = ""
    states: str = ""
    faults: str = ""


ABILITIES = {
    "safetensors": Abilities("as stored", "packed weights", "", "damage, gaps, overlaps"),
    "DDUF": Abilities("as stored", "", "", "damage, as of each file in it"),
    "Keras": Abilities("as stored; chunks unpacked", "", "", "datasets that cannot be read"),
    "DCP": Abilities(
        "as stored, pieces of zstd unpacked",
        "whole tensors of all pieces",
        "by planner_data, or order and shapes",
        "holes, overlaps, missing and foreign ranks, replicas that differ",
    ),
    "DCP metadata": Abilities("as its folder", "as its folder", "as its folder", "as its folder"),
    "DCP piece": Abilities("as stored", "", "", "pieces that cannot be read"),
    "torch.save": Abilities(
        "as stored",
        "packed weights",
        "by names in the groups, or order and shapes",
        "damage, code that would run, overlaps, checksums",
    ),
    "tar": Abilities("as stored", "", "", "damage, as of each file in it"),
    "DeepSpeed": Abilities(
        "as stored",
        "whole parameters of all ranks",
        "by the lists of the files; without ZeRO by order and shapes",
        "missing, foreign and doubled ranks, mixed steps, cuts that do not fit, files that are not joined",
    ),
    "by rank": Abilities(
        "as stored",
        "whole tensors where the files say how they were cut",
        "by names in the groups, or order and shapes",
        "missing and foreign ranks, replicas that differ",
    ),
    "steps": Abilities("as its newest step", "as its newest step", "as its newest step", "steps that cannot be opened"),
    "pipeline": Abilities("as of each model in it", "", "", "models that are missing or damaged"),
    "run": Abilities(
        "as of each file in it",
        "the model under its own names",
        "by names in the groups, the order of the model, or shapes",
        "states that are damaged, files that are not read",
    ),
    "pickle": Abilities(
        "as stored; compressed ones unpacked",
        "",
        "by names in the groups, or order and shapes",
        "damage, code that would run",
    ),
    "GGUF": Abilities("restored to float32", "values of blocks", "", "damage, unknown types, missing splits"),
    "NPZ": Abilities("as stored; compressed ones unpacked", "", "", "damage, arrays that cannot be read"),
    "NPY": Abilities("as stored", "", "", "damage"),
    "ONNX": Abilities(
        "as stored", "packed weights", "", "damage where its tensors are, external data that is missing, outside or cut"
    ),
    "HDF5": Abilities("as stored; chunks unpacked", "", "", "datasets that cannot be read"),
    "folder": Abilities(
        "as of each file in it",
        "packed weights",
        "by names in the groups",
        "missing, damaged and forgotten shards, configurations that disagree",
    ),
}
