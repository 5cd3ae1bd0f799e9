"""Opens the folder of a DeepSpeed checkpoint: ZeRO of every stage, or a universal checkpoint."""

from __future__ import annotations

from pathlib import Path

from tui_params.core.collector import collector_paused
from tui_params.core.findings import Finding
from tui_params.core.source import Listing, Source
from tui_params.core.text import clean, plural
from tui_params.sources.bytes.files import own_name
from tui_params.sources.folder.deepspeed.assembly import Assembly, merge_repeated
from tui_params.sources.folder.deepspeed.ranks import Ranks, read_ranks
from tui_params.sources.folder.deepspeed.recognition import Tag, find_tag
from tui_params.sources.folder.deepspeed.source import DeepSpeedSource
from tui_params.sources.folder.deepspeed.torch_file import ReadFile
from tui_params.sources.folder.deepspeed.universal import assemble_universal
from tui_params.sources.folder.deepspeed.zero import assemble
from tui_params.sources.folder.shard_index import add_unopened, folder_label

_STATES = (".pkl", ".pickle")
_SHOWN = 4


def open_deepspeed(path: Path, suffixes: tuple[str, ...]) -> Source:
    """The model of a DeepSpeed checkpoint at ``path``, joined from the files of all ranks. Raises OpenError.

    ``path`` is the folder of a tag, or the folder above it, whose ``latest`` says which tag. Files with one of
    ``suffixes`` that are not opened are mentioned.
    """
    tag = find_tag(path)
    with collector_paused():
        if tag.is_universal:
            made, files = assemble_universal(tag)
            form = "DeepSpeed universal checkpoint"
        else:
            ranks = read_ranks(tag)
            made, files = assemble(ranks), ranks.files
            form = _form(ranks)
            _describe(ranks, made)
        return _source(path, tag, form, made, files, suffixes)


def _form(ranks: Ranks) -> str:
    zero = f"DeepSpeed ZeRO-{ranks.stage}" if ranks.stage else "DeepSpeed without ZeRO"
    return f"{zero}, {plural(ranks.world, 'rank')}" if ranks.stage else zero


def _describe(ranks: Ranks, made: Assembly) -> None:
    facts = {"deepspeed.zero_stage": str(ranks.stage)}
    if ranks.stage:
        facts["deepspeed.ranks"] = f"{ranks.world:,}"
    if any(states.is_bf16_optimizer for states in ranks.optimizers.found.values()):
        facts["deepspeed.optimizer"] = "BF16_Optimizer"
    made.metadata = facts | made.metadata


def _source(
    path: Path, tag: Tag, form: str, made: Assembly, files: list[ReadFile], suffixes: tuple[str, ...]
) -> DeepSpeedSource:
    metadata = {"deepspeed.tag": clean(own_name(tag.path, is_linked=True), 120)} | made.metadata
    wanted = (*suffixes, *_STATES)
    left = [f"{tag.prefix}{name}" for name in (*tag.files.slices, *tag.files.parts, *tag.files.misnamed)]
    beside = [*tag.beside, *(f"{tag.prefix}{name}" for name in tag.files.others)]
    not_opened = [*left, *(name for name in beside if name.endswith(wanted))]
    add_unopened(metadata, [*not_opened, *(f"{name}/" for name in tag.others)])
    findings = merge_repeated([*_not_joined(tag), *made.findings], {file.file.name: 1 for file in files})
    listing = Listing(
        form,
        tuple(made.tensors.values()),
        metadata,
        findings=tuple(findings),
        is_ordered=True,
        not_opened=(*not_opened, *(f"{name}/" for name in tag.others)),
        states=("optimizer",) if made.states else (),
    )
    return DeepSpeedSource(folder_label(path), listing, made, files)


def _not_joined(tag: Tag) -> list[Finding]:
    """Warnings about files that hold more of the model and are not joined with the rest."""
    found = []
    for names, what in (
        (tag.files.slices, "slices of the same model for tensor parallelism: shapes are those of the slice mp_rank_00"),
        (tag.files.parts, "experts, or layers of a pipeline"),
        (tag.files.misnamed, "no name that DeepSpeed gives, and its own scripts count every file with that ending"),
    ):
        if names:
            more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            shown = ", ".join(clean(name, 80) for name in names[:_SHOWN])
            evidence = f"{shown}{more} {'is' if len(names) == 1 else 'are'} not joined with the rest: {what}"
            found.append(Finding("warning", "not-joined", None, evidence))
    return found
