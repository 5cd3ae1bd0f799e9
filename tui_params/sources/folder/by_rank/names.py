"""Which files of a folder the ranks of a job wrote, each one of its own, as their names tell.

``model_world_size_8_rank_0.pt``, ``pytorch_model_fsdp_rank0.bin`` (accelerate), ``ep1-ba500-rank0.pt`` (Composer),
``rank_0.pt``, ``weights__0_of_8.pt``: only the number of the rank differs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

_RANK = re.compile(r"(?P<before>^|[-_.])rank[-_]?(?P<rank>\d{1,6})(?:[-_]?of[-_]?(?P<ranks>\d{1,6}))?(?![0-9])", re.I)
_OF = re.compile(r"(?P<before>^|[-_.]|__)(?P<rank>\d{1,6})_of_(?P<ranks>\d{1,6})(?![0-9])", re.I)
WORLD = re.compile(r"(?:^|[-_.])(?:world[-_]?size|ws)[-_]?(\d{1,6})(?![0-9])", re.I)
_STATE = re.compile(r"(?:^|[-_.])(?:optim\w*|extra_state|scheduler|scaler|rng\w*)(?:$|[-_.])", re.I)


class Group(msgspec.Struct, frozen=True):
    """The files of one sort by rank. ``stem`` is what their names share; ``ranks`` how many there are, if they say.

    ``doubled`` are further files of ranks that have one in ``files`` (``rank_0.pt`` and ``rank_00.pt``).
    """

    stem: str
    files: dict[int, str]
    ranks: int | None
    doubled: tuple[tuple[int, str], ...] = ()

    @property
    def is_state(self) -> bool:
        """Whether they are named as states of the run, and not as the model."""
        return _STATE.search(self.stem) is not None


def group_by_rank(names: Iterable[str], suffixes: tuple[str, ...]) -> list[Group]:
    """The groups among the files with one of ``suffixes``, the models first.

    A group are several files of a sort, or a file whose name says that it is one of several.
    """
    found: dict[str, dict[int, str]] = {}
    stated: dict[str, int | None] = {}
    doubled: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        match = (_RANK.search(name) or _OF.search(name)) if name.endswith(suffixes) else None
        if match is None or name.startswith("."):
            continue
        key = f"{name[: match.start()]}\0{name[match.end() :]}"
        world = WORLD.search(name)
        said = match["ranks"] or (world[1] if world is not None else None)
        rank = int(match["rank"])
        if rank in found.setdefault(key, {}):
            doubled.setdefault(key, []).append((rank, name))
        else:
            found[key][rank] = name
            stated[key] = int(said) if said is not None else None
    kept = [key for key, files in found.items() if len(files) > 1 or (stated[key] or 0) > 1]
    groups = [
        Group(stem, dict(sorted(found[key].items())), stated[key], tuple(doubled.get(key, ())))
        for key, stem in _stems(kept).items()
    ]
    return sorted(groups, key=lambda group: (group.is_state, group.stem))


def _stems(keys: Sequence[str]) -> dict[str, str]:
    """What the names of each group share: as little as tells it from the others."""
    stems = {key: WORLD.sub("", _long_stem(key)).strip("-_.") for key in keys}
    # Jobs of 2 and of 4 ranks may have saved into one folder, or one job files with two suffixes.
    for longer in (_long_stem, lambda key: key.replace("\0", "*").replace(".", "_")):
        said = Counter(stems.values())
        stems = {key: stem if said[stem] == 1 else longer(key) for key, stem in stems.items()}
    return stems


def _long_stem(key: str) -> str:
    before, _, after = key.partition("\0")
    return (before + after.rpartition(".")[0]).strip("-_.")


def free_stems(groups: Sequence[Group]) -> dict[str, str]:
    """What precedes the names of the tensors of each group, by its stem: nothing for the one model."""
    models = [group.stem for group in groups if not group.is_state]
    alone = models[0] if len(models) == 1 else groups[0].stem if len(groups) == 1 else None
    return {group.stem: "" if group.stem == alone else group.stem or "rank_files" for group in groups}
