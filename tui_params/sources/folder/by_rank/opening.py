"""Opens a folder in which each rank of a job saved its own file with torch.save, as FSDP's users do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.findings import Finding
from tui_params.core.kinds import compact_ranges
from tui_params.core.source import Listing, Source
from tui_params.core.text import are, clean, listed, plural
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources.bytes import far
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.folder.by_rank.joining import join
from tui_params.sources.folder.by_rank.names import WORLD, Group, free_stems, group_by_rank
from tui_params.sources.folder.by_rank.source import ByRankSource
from tui_params.sources.folder.composite import CompositeSource, Part, combine
from tui_params.sources.folder.deepspeed.assembly import merge_repeated
from tui_params.sources.folder.folder import Formats, file_names, folders_beside, has_model, open_folder
from tui_params.sources.folder.run.optimizer_order import name_states
from tui_params.sources.folder.shard_index import folder_label, read_stated

MOST_RANKS = 4_096
"""The most files of one sort that are opened."""

_MOST_ASKED = 3
"""The first files of one sort that are opened to see whether they say which part of a tensor they have."""

_SHOWN = 4

_DISTRIBUTED = re.compile(r"holds objects of (torch\.distributed\.[\w.]+(, | and \d+ more)?)+: ")


def groups_in(path: Path, formats: Formats) -> list[Group]:
    """The files of a folder that ranks wrote, as their names tell."""
    try:
        return group_by_rank(file_names(path), formats.state_suffixes)
    except OpenError:
        return []


def add_missing(path: Path, source: Source, formats: Formats) -> Source:
    """The source of files that are not joined, with a warning for those that their names say there must be more of."""
    found: list[Finding] = []
    for group in groups_in(path, formats):
        # torch counts ranks from 0; who writes "1_of_3" may not.
        names = [name for name in group.files.values() if WORLD.search(name)]
        missing = [rank for rank in range(min(group.ranks or 0, MOST_RANKS)) if rank not in group.files]
        if names and missing:
            evidence = f"{_which_are_missing(missing, group.ranks or 0)}, as the name of {clean(names[0], 120)} says"
            found.append(Finding("warning", "missing-rank", None, evidence))
    if found:
        source.listing = msgspec.structs.replace(source.listing, findings=(*source.listing.findings, *found))
    return source


def _which_are_missing(missing: Sequence[int], ranks: int) -> str:
    which = f"{'rank' if len(missing) == 1 else 'ranks'} {compact_ranges(missing)} of {ranks:,}"
    return f"the {'file' if len(missing) == 1 else 'files'} of {which} {are(len(missing))} missing"


def open_by_rank(path: Path, formats: Formats) -> Source:
    """The model that the files of all ranks are together, its states and what else lies beside it in one tree.

    Raises OpenError, and UnknownFormatError if no file says which part of a tensor it has.
    """
    names, groups = file_names(path), groups_in(path, formats)
    grouped = {name for group in groups for name in (*group.files.values(), *(name for _, name in group.doubled))}
    with collector_paused():
        opened = _open_first(path, groups, formats)
        parts: list[Part] = []
        others = [name for name in names if name not in grouped]
        beside, foreign = _open_beside(path, formats, others, grouped)
        has_other = beside is not None
        if beside is not None:
            parts.append(Part(beside))
        stems = free_stems(groups)
        for group in groups:
            prefix = stems[group.stem] or ("by_rank" if has_other else "")
            parts.append(Part(_join_group(path, group, formats, opened), prefix, is_state=group.is_state))
    name_states([part for part in parts if not part.is_state], [part for part in parts if part.is_state])
    doubled = tuple(name for group in groups for _, name in group.doubled)
    left = (*doubled, *foreign) if has_other else (
        *doubled, *(name for name in others if name.endswith(formats.suffixes)), *folders_beside(path, formats)
    )  # fmt: skip
    if len(parts) == 1 and not parts[0].prefix:
        source = parts[0].source
        listing = source.listing
    else:
        models = [part.source.listing.format for part in parts if not part.is_state]
        states = [clean(part.prefix, 40) for part in parts if part.is_state]
        form = " + ".join(dict.fromkeys(models)) or "states of a run"
        listing = combine(form + (f", with {listed(states, _SHOWN)}" if states else ""), parts)
        source = CompositeSource(folder_label(path), listing, parts)
    stated = {} if has_other else read_stated(path, {info.name: info for info in listing.tensors})
    source.listing = msgspec.structs.replace(
        listing,
        metadata={**listing.metadata, **stated},
        stated={**listing.stated, **stated},
        findings=(*listing.findings, *foreign.values()),
        not_opened=(*listing.not_opened, *left),
    )
    return source


def _open_beside(
    path: Path, formats: Formats, others: Sequence[str], grouped: set[str]
) -> tuple[Source | None, dict[str, Finding]]:
    """The model beside the files of ranks, if there is one, and what is wrong with the files that are left out of it.

    A file that has the part of one rank, and no name that says so, is no model: it was renamed, or is of another job.
    """
    foreign: dict[str, Finding] = {}
    while has_model(left := [name for name in others if name not in foreign], formats):
        source = open_folder(path, formats, None, {*grouped, *foreign})
        of_ranks = [finding for finding in source.listing.findings if finding.rule == "local-shapes"]
        found = {finding.file: finding.evidence for finding in of_ranks if finding.file in left}
        if not found:
            return source, foreign
        source.close()
        for file, said in found.items():
            evidence = f"{said}; its name is not that of a file of the ranks beside it, and it is not read"
            foreign[file or ""] = Finding("error", "foreign-rank", None, evidence, file=file)
    return None, foreign


def _open_first(path: Path, groups: Sequence[Group], formats: Formats) -> dict[str, ExtentSource | str]:
    """The first files of each group. Raises UnknownFormatError if none of them says which part of a tensor it has."""
    found: dict[str, ExtentSource | str] = {}
    for group in groups:
        for name in list(group.files.values())[:_MOST_ASKED]:
            source = found[name] = _opened(path / name, formats)
            if isinstance(source, ExtentSource) and source.listing.local_parts:
                break
    if not any(source.listing.local_parts for source in found.values() if isinstance(source, ExtentSource)):
        shown = clean(far.shown(path), 200)
        raise UnknownFormatError(f"the files of single ranks in {shown} do not say which part of a tensor each has")
    return found


def _opened(path: Path, formats: Formats) -> ExtentSource | str:
    """The source of one file, or why there is none."""
    try:
        source = formats.open_file(path)
    except OpenError as error:
        return str(error)
    if isinstance(source, ExtentSource) and set(source.files) == {path.name}:
        return source
    source.close()
    return f"{clean(path.name, 120)} is no file of torch.save"


def _join_group(path: Path, group: Group, formats: Formats, opened: dict[str, ExtentSource | str]) -> ByRankSource:
    parts: dict[int, ExtentSource] = {}
    findings: list[Finding] = []
    for rank, name in list(group.files.items())[:MOST_RANKS]:
        source = opened[name] if name in opened else _opened(path / name, formats)
        if isinstance(source, str):
            findings.append(Finding("error", "missing-rank", None, source, file=name))
            continue
        parts[rank] = source
        own = {part.rank for part in source.listing.local_parts.values() if part.rank is not None} - {rank}
        if own:
            evidence = f"it says that rank {own.pop():,} saved it, and its name that rank {rank:,} did"
            findings.append(Finding("error", "foreign-rank", None, evidence, file=name))
    for rank, name in group.doubled:
        evidence = f"rank {rank:,} has another file too, {clean(group.files[rank], 120)}, which alone is read"
        findings.append(Finding("error", "foreign-rank", None, evidence, file=name))
    if not parts:
        raise OpenError(findings[0].evidence)
    ranks, cut = _count_of(group, parts), _most_said(parts)
    if group.ranks is not None and cut > group.ranks:
        evidence = f"its name says that {plural(group.ranks, 'rank')} saved, and its tensors are cut for {cut:,}"
        findings.append(Finding("error", "foreign-rank", None, evidence, file=group.files[next(iter(parts))]))
    missing = [rank for rank in range(ranks) if rank not in group.files]
    joined = join(parts, [rank for rank in range(ranks) if rank not in parts])
    if missing:
        evidence = _which_are_missing(missing, ranks)
        if joined.incomplete:
            evidence += f": {plural(joined.incomplete, 'tensor')} {are(joined.incomplete)} not whole"
            findings.append(Finding("error", "missing-rank", None, evidence))
        else:
            evidence += ": what they have is in the files of other ranks too"
            findings.append(Finding("info", "missing-rank", None, evidence))
    files = {group.files[rank]: part for rank, part in parts.items()}
    own_findings = [finding for part in parts.values() for finding in part.listing.findings if _is_kept(finding)]
    findings += merge_repeated(own_findings, dict.fromkeys(files, 1))
    first = next(iter(parts.values())).listing
    form = f"{first.format}, joined from {plural(len(parts), 'rank')}"
    listing = Listing(
        form,
        tuple(joined.tensors),
        _merge({rank: part.listing.metadata for rank, part in parts.items()}),
        first.modules,
        findings=(*findings, *joined.findings),
        is_ordered=True,
        groups=first.groups,
    )
    return ByRankSource(folder_label(path), listing, joined, files)


def _count_of(group: Group, parts: Mapping[int, ExtentSource]) -> int:
    """How many ranks there are: as the names say, or else the files; at least those that are there."""
    least = max(group.files) + 1
    if group.ranks is not None:
        return min(max(group.ranks, least), MOST_RANKS)
    # A mesh may be of some of the ranks only.
    return min(max(least, _most_said(parts)), MOST_RANKS)


def _most_said(parts: Mapping[int, ExtentSource]) -> int:
    """For how many ranks the tensors are cut."""
    listings = [source.listing for source in parts.values()]
    return max((part.ranks or 0 for listing in listings for part in listing.local_parts.values()), default=0)


def _is_kept(finding: Finding) -> bool:
    """Whether what one file says still holds of all together."""
    if finding.rule == "pickle-classes":
        return _DISTRIBUTED.match(finding.evidence) is None
    return finding.rule != "local-shapes"


def _merge(texts: Mapping[int, Mapping[str, str]]) -> dict[str, str]:
    """The metadata of all ranks; what they do not agree on stands there for each."""
    merged: dict[str, str] = {}
    for key in dict.fromkeys(key for each in texts.values() for key in each):
        values = {rank: each[key] for rank, each in texts.items() if key in each}
        if len(set(values.values())) == 1:
            merged[key] = next(iter(values.values()))
        else:
            merged |= {f"{key}.rank_{rank}": value for rank, value in values.items()}
    return merged
