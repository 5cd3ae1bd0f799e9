"""Tensors that are not where the index of a checkpoint says: listed all the same, each with a finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tui_params.core.dtypes import unknown
from tui_params.core.findings import Finding, Severity
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural

MAX_FINDINGS = 20
"""Findings of one rule that are reported one by one; the others are counted."""

MAX_ABSENT = 100_000
"""Absent tensors that are listed one by one; the largest published models have fewer tensors. Of more, the first."""

MAX_ABSENT_CHARACTERS = 6_000_000
"""The characters of their names together: those of DeepSeek-V3 with the names of all scales have 5 million."""

LISTED_ABSENT = 1_000
"""How many of more absent tensors than these are listed: for each, all who come after have to do something."""


class Complaints:
    """Findings by rule: the first of each rule are kept one by one, the rest are counted."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._counts: dict[tuple[Severity, str], int] = {}

    def add(
        self, severity: Severity, rule: str, evidence: str, *, tensor: str | None = None, file: str | None = None
    ) -> None:
        count = self._counts[severity, rule] = self._counts.get((severity, rule), 0) + 1
        if count <= MAX_FINDINGS:
            self.findings.append(Finding(severity, rule, tensor, evidence, file=file))

    def all(self) -> tuple[Finding, ...]:
        rest = [
            Finding(severity, rule, None, f"{plural(count - MAX_FINDINGS, 'more finding')} of this kind ({rule})")
            for (severity, rule), count in self._counts.items()
            if count > MAX_FINDINGS
        ]
        return (*self.findings, *rest)


def list_with_faults(
    weight_map: Mapping[str, str],
    parts: Mapping[str, Source],
    lost: Mapping[str, str],
    index_name: str,
    complaints: Complaints,
) -> tuple[tuple[TensorInfo, ...], int, str | None]:
    """The tensors that are in the shards or in the index, how many only there, one sentence if not all are listed."""
    tensors, strays = _claimed(weight_map, parts)
    is_whole = not strays and len(tensors) == len(weight_map)
    _place_strays(strays, weight_map, tensors, index_name, complaints)
    absent = [] if is_whole else [name for name in weight_map if name not in tensors]
    unlisted = _unlisted(absent, index_name)
    if unlisted is not None:
        complaints.add("error", "missing-tensor", unlisted, file=index_name)
        del absent[LISTED_ABSENT:]
    _list_absent(absent, weight_map, lost, tensors, index_name, complaints)
    return tuple(tensors.values()), len(absent), unlisted


_Strays = list[tuple[str, TensorInfo]]


def _claimed(weight_map: Mapping[str, str], parts: Mapping[str, Source]) -> tuple[dict[str, TensorInfo], _Strays]:
    """The tensors that are where the index says, and all others with their shard."""
    tensors: dict[str, TensorInfo] = {}
    strays: _Strays = []
    for shard, part in parts.items():
        infos = part.listing.tensors
        names = [info.name for info in infos]
        if set(map(weight_map.get, names)) == {shard}:
            tensors.update(zip(names, infos, strict=True))
            continue
        for info in infos:
            if weight_map.get(info.name) == shard:
                tensors[info.name] = info
            else:
                strays.append((shard, info))
    return tensors, strays


def _place_strays(
    strays: _Strays,
    weight_map: Mapping[str, str],
    tensors: dict[str, TensorInfo],
    index_name: str,
    complaints: Complaints,
) -> None:
    """List the tensors that the index omits or places elsewhere. Of two with one name, that of the index is shown."""
    if not strays:
        return
    named = set(weight_map.values())
    for shard, info in strays:
        name, here = info.name, clean(shard, 120)
        listed = tensors.get(name)
        if listed is not None:
            evidence = f"it is in two shards, {clean(listed.file or '', 120)} (shown) and {here}"
            complaints.add("error", "in-two-shards", evidence, tensor=name)
            continue
        tensors[name] = info
        if name in weight_map:
            evidence = f"it lies in {here}, but {clean(index_name, 120)} says {clean(weight_map[name], 120)}"
            complaints.add("error", "misplaced-tensor", evidence, tensor=name)
        elif info.tied_to is None and shard in named:
            evidence = f"it lies in {here}, but not in {clean(index_name, 120)}"
            complaints.add("warning", "unindexed-tensor", evidence, tensor=name)


def _unlisted(absent: Sequence[str], index_name: str) -> str | None:
    """One sentence if there are more absent tensors than are listed."""
    if len(absent) <= MAX_ABSENT and sum(map(len, absent)) <= MAX_ABSENT_CHARACTERS:
        return None
    return (
        f"{clean(index_name, 120)} names {len(absent):,} tensors that are in no shard that could be opened: the first"
        f" {LISTED_ABSENT:,} are listed"
    )


def _list_absent(
    absent: Iterable[str],
    weight_map: Mapping[str, str],
    lost: Mapping[str, str],
    tensors: dict[str, TensorInfo],
    index_name: str,
    complaints: Complaints,
) -> None:
    """List the tensors that are only in the index: their names, and the reason why nothing else is known."""
    nothing = unknown("?")
    not_there: dict[str, str] = {}
    for name in absent:
        shard = weight_map[name]
        why = lost.get(shard)
        if why is None:
            why = not_there.get(shard)
            if why is None:
                why = f"{clean(index_name, 120)} says that it is in {clean(shard, 120)}, but it is not there"
                not_there[shard] = why
            complaints.add("error", "missing-tensor", why, tensor=name)
        tensors[name] = TensorInfo(name, (), nothing, 0, 0, file=shard, unreadable=why)
