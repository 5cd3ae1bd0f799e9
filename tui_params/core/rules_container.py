"""Rules about the container: the readers apply them when a source is opened, and this is what they can say."""

from __future__ import annotations

from tui_params.core.rule import Rule

_SAFETENSORS = "safetensors: the format's specification"
_INDEX = "the index of a sharded checkpoint, as transformers and huggingface_hub read it"
_TORCH = "torch.save: the layout of its ZIP archives and pickles"

CONTAINER_RULES: tuple[Rule, ...] = (
    Rule("truncated", "Truncated", ("error",), "The file ends before its last tensor does.", _SAFETENSORS),
    Rule("hole", "Hole", ("error",), "Bytes between tensors that belong to none.", _SAFETENSORS),
    Rule("overlap", "Overlap", ("error",), "Bytes that belong to two tensors.", _SAFETENSORS),
    Rule("trailing-bytes", "Trailing bytes", ("error",), "Bytes after the last tensor.", _SAFETENSORS),
    Rule(
        "size-mismatch",
        "Size mismatch",
        ("error", "warning"),
        "A tensor has fewer bytes than its shape, or more.",
        _SAFETENSORS,
    ),
    Rule("duplicate-name", "Duplicate name", ("error",), "A name stands twice in the header.", _SAFETENSORS),
    Rule("bad-metadata", "Bad metadata", ("warning",), "The metadata are no texts by name.", _SAFETENSORS),
    Rule("bad-utf8", "Bad UTF-8", ("error",), "The header is not the text that it should be.", _SAFETENSORS),
    Rule("missing-shard", "Missing shard", ("error",), "A shard that is named is not there.", _INDEX),
    Rule("bad-shard", "Bad shard", ("error",), "A shard cannot be opened.", _INDEX),
    Rule("missing-tensor", "Missing tensor", ("error",), "The index names a tensor that no shard has.", _INDEX),
    Rule(
        "misplaced-tensor",
        "Misplaced tensor",
        ("error",),
        "A tensor lies in another shard than the index says.",
        _INDEX,
    ),
    Rule("in-two-shards", "In two shards", ("error",), "Two shards have a tensor of the same name.", _INDEX),
    Rule(
        "unindexed-tensor", "Unindexed tensor", ("warning",), "A shard has a tensor that the index leaves out.", _INDEX
    ),
    Rule("unindexed-shard", "Unindexed shard", ("warning",), "A shard lies there that the index leaves out.", _INDEX),
    Rule(
        "unindexed-whole",
        "Unindexed whole",
        ("warning",),
        "An unsharded checkpoint of the same name lies beside the index; it is not read.",
        "transformers: from_pretrained takes model.safetensors before its index",
    ),
    Rule("bad-index", "Bad index", ("error",), "The index cannot be read.", _INDEX),
    Rule("total-size", "Total size", ("info",), "The index counts other bytes than the shards have.", _INDEX),
    Rule("storage-bounds", "Storage bounds", ("error",), "A tensor reaches beyond its storage.", _TORCH),
    Rule("malformed-tensor", "Malformed tensor", ("error",), "A tensor whose description makes no sense.", _TORCH),
    Rule(
        "pickle-code",
        "Code in the pickle",
        ("warning",),
        "The pickle calls what no checkpoint needs; it was not run.",
        _TORCH,
    ),
)
"""Those that matter; readers may say more about a single format, under names of their own."""
