"""Rules about the container. The readers apply them when a source is opened; here they are explained."""

from __future__ import annotations

from tui_params.core.health.rule import Rule

_SAFETENSORS = "safetensors: the format's specification"
_INDEX = "the index of a sharded checkpoint, as transformers and huggingface_hub read it"
_TORCH = "torch.save: the layout of its ZIP archives and pickles"
_DEEPSPEED = "DeepSpeed 0.19: runtime/engine.py, runtime/zero, utils/zero_to_fp32.py"
_DCP = "torch.distributed.checkpoint: .metadata and the files that it names"
_HUB = "huggingface_hub 2.4: blobs are named by their digest; .cache/huggingface/download/ keeps it beside the files"
_ALLOWED = "torch.load(weights_only=True): the globals that it allows (torch 2.13, _get_allowed_globals)"

CONTAINER_RULES: tuple[Rule, ...] = (
    Rule("truncated", "Truncated", ("error",), "The file ends before its last tensor does.", _SAFETENSORS),
    Rule("hole", "Hole", ("error",), "Bytes between tensors that belong to none.", _SAFETENSORS),
    Rule("overlap", "Overlap", ("error",), "Bytes that belong to two tensors.", _SAFETENSORS),
    Rule(
        "trailing-bytes",
        "Trailing bytes",
        ("error", "warning"),
        "Bytes after the last tensor, after the end of the archive or of the pickle: they were not read.",
        "safetensors: the format's specification; PKWARE APPNOTE 4.3.16",
    ),
    Rule(
        "size-mismatch",
        "Size mismatch",
        ("error",),
        "A tensor has fewer or more bytes than its shape needs.",
        _SAFETENSORS,
    ),
    Rule(
        "bad-entry",
        "Bad entry",
        ("error", "warning"),
        "The header describes a tensor that cannot exist; a warning for a name that is no UTF-8.",
        _SAFETENSORS,
    ),
    Rule("unknown-dtype", "Unknown type", ("warning",), "An element type that cannot be decoded here.", _SAFETENSORS),
    Rule(
        "duplicate-name",
        "Duplicate name",
        ("error", "warning"),
        "The header has the same name twice, or an entry the same field; a warning for a key of the metadata.",
        _SAFETENSORS,
    ),
    Rule(
        "duplicate-names",
        "Equal names",
        ("warning",),
        "Several values of a pickle have the same dotted name, so that all but the first are shown with a suffix.",
        _TORCH,
    ),
    Rule(
        "bad-metadata",
        "Bad metadata",
        ("error", "warning"),
        "The metadata are not a map of names to texts (safetensors), or the values cannot be found by them (GGUF); a"
        " warning for names and texts that are no UTF-8.",
        _SAFETENSORS,
    ),
    Rule(
        "bad-json",
        "Bad JSON",
        ("error",),
        "The header can be read here, but is no JSON that other readers take: a control character in a string, half of"
        " a surrogate pair, NaN, a number beyond float64, more than 127 levels.",
        "RFC 8259, sections 6 to 9; serde_json, the parser of the safetensors library",
    ),
    Rule(
        "long-header",
        "Long header",
        ("error",),
        "The header is longer than the 100,000,000 bytes that the format allows.",
        "safetensors: MAX_HEADER_SIZE of the library",
    ),
    Rule(
        "bad-pickle",
        "Bad pickle",
        ("error",),
        "The pickle can be read here, but no unpickler takes it: a call with other arguments than it has, a key without"
        " a hash, a text that is not UTF-8, a value taken from below a mark.",
        "pickle: the unpickler of CPython; torch.load(weights_only=True) of torch 2.13",
    ),
    Rule(
        "bad-archive",
        "Bad archive",
        ("error",),
        "The archive can be read here, but torch refuses it: it has no version, its directory contradicts its members,"
        " or their places are odd.",
        "torch: PyTorchStreamReader and miniz, its reader of zip files; PKWARE APPNOTE 4.3",
    ),
    Rule(
        "pickle-unread",
        "Unread pickle",
        ("warning",),
        "A pickle beside the one with the tensors could not be read, so what it would call is not known.",
        "torch.export: sample inputs and custom objects in a .pt2; zips of checkpoints",
    ),
    Rule(
        "python-numbers",
        "Numbers that are not finite",
        ("warning", "info"),
        "NaN or infinities in a list or dict of at least 100 numbers that is no array, such as a history of losses. A "
        "single NaN among the metadata is a remark. Lists and dicts of 1,000 numbers or more are unchecked otherwise.",
        "numbers of Python in a pickle: torch.load returns them as they are; the limits are our choice",
    ),
    Rule(
        "local-shapes",
        "Local shapes",
        ("info",),
        "One rank's piece of a distributed checkpoint: the shapes are those of the piece.",
        "torch.distributed.checkpoint: DCP_SHARDING_INFO in the metadata",
    ),
    Rule("bad-utf8", "Bad UTF-8", ("error",), "The header is not valid UTF-8 text.", _SAFETENSORS),
    Rule("missing-shard", "Missing shard", ("error",), "A shard that should be there is missing.", _INDEX),
    Rule(
        "outside-folder",
        "Outside the folder",
        ("error",),
        "The index names a file that is not in its own folder; it is not opened.",
        _INDEX,
    ),
    Rule("bad-shard", "Bad shard", ("error",), "A shard cannot be opened.", _INDEX),
    Rule(
        "bad-part",
        "Bad part",
        ("error", "warning", "info"),
        "A part of a training run or of a pipeline (the optimizer, the text encoder) cannot be opened, or is missing;"
        " or a step has no tensors beside others that have: a warning if it is the newest.",
        "model_index.json of diffusers, modules.json of sentence-transformers, transformers.Trainer, accelerate",
    ),
    Rule(
        "bad-config",
        "Bad configuration",
        ("error", "info"),
        "A JSON file beside the weights (config.json, adapter_config.json, trainer_state.json, model_index.json,"
        " modules.json) is empty or damaged: what it should say is not known. A remark if it is only too large.",
        "transformers: PretrainedConfig; peft: PeftConfig; transformers.Trainer; diffusers; sentence-transformers",
    ),
    Rule(
        "newest-step",
        "Newest step",
        ("info",),
        "The folder holds a model at several steps: the newest is shown, and nothing is said of the others.",
        "transformers.Trainer (checkpoint-500/), accelerate, Lightning (epoch=3-step=500.ckpt)",
    ),
    Rule("missing-tensor", "Missing tensor", ("error",), "The index names a tensor that no shard has.", _INDEX),
    Rule(
        "misplaced-tensor",
        "Misplaced tensor",
        ("error",),
        "A tensor is in another shard than the index says.",
        _INDEX,
    ),
    Rule("in-two-shards", "In two shards", ("error",), "Two shards have a tensor of the same name.", _INDEX),
    Rule(
        "unindexed-tensor", "Unindexed tensor", ("warning",), "A shard has a tensor that is not in the index.", _INDEX
    ),
    Rule("unindexed-shard", "Unindexed shard", ("warning",), "There is a shard that is not in the index.", _INDEX),
    Rule(
        "unindexed-whole",
        "Unindexed whole",
        ("warning",),
        "An unsharded checkpoint of the same name lies beside the index; it is not read.",
        "transformers: from_pretrained takes model.safetensors before its index",
    ),
    Rule("bad-index", "Bad index", ("error",), "The index cannot be read.", _INDEX),
    Rule("total-size", "Total size", ("info",), "The size in the index is not that of the shards.", _INDEX),
    Rule(
        "several-models",
        "Several models",
        ("info",),
        "Files of one folder are models of their own, perhaps copies; each is shown under its file's name.",
        "the files of Mistral and Meta (consolidated) beside those of transformers (model)",
    ),
    Rule(
        "model-slices",
        "Slices of a model",
        ("info",),
        "Files of one folder are the pieces of single ranks: the shapes may be those of the pieces.",
        "consolidated.NN.pth of Meta's Llama (tensor parallel), rank files of DeepSpeed and FSDP",
    ),
    Rule(
        "unfinished-save",
        "Unfinished save",
        ("error",),
        "The saving of a distributed checkpoint did not finish: its metadata are absent, or are still called .tmp.",
        "torch.distributed.checkpoint: FileSystemWriter renames .metadata.tmp last",
    ),
    Rule(
        "missing-piece",
        "Missing piece",
        ("error", "warning"),
        "No piece has some elements of a tensor; a warning if one process wrote all, which may be meant.",
        _DCP,
    ),
    Rule(
        "piece-overlap",
        "Overlapping pieces",
        ("error", "warning"),
        "Two pieces of a tensor have the same elements, so that its values are not certain; a warning if the pieces are"
        " too many to be compared.",
        _DCP,
    ),
    Rule(
        "piece-list",
        "Odd list of pieces",
        ("error", "warning"),
        "An entry in the metadata of a distributed checkpoint that cannot be true, or belongs to nothing.",
        _DCP,
    ),
    Rule(
        "replica-differs",
        "Replicas differ",
        ("error", "info"),
        "Several ranks wrote the same elements of a tensor, and not with the same values. Replicas of more than 64 MiB"
        " in all are not compared: a remark says of how many.",
        "torch.distributed.checkpoint with use_collectives=False: each rank writes what all have",
    ),
    Rule("storage-bounds", "Storage bounds", ("error",), "A tensor reaches beyond its storage.", _TORCH),
    Rule("malformed-tensor", "Malformed tensor", ("error",), "A tensor whose description makes no sense.", _TORCH),
    Rule(
        "bad-stream",
        "Damaged stream",
        ("error",),
        "The magic number or the version of a stream of torch.save is damaged; the tensors are listed all the same.",
        "torch/serialization.py: the legacy stream, which torch refuses then",
    ),
    Rule(
        "pickle-code",
        "Code in the pickle",
        ("error", "warning"),
        "Loading the pickle would call something that builds no plain data; it was not run. An error if it is known to"
        " do more (a function of the standard library or of torch, an attribute, the result of a call); a warning if it"
        " is a function of another package, which may be honest, or if such a name is only mentioned.",
        _ALLOWED,
    ),
    Rule(
        "pickle-classes",
        "Classes in the pickle",
        ("info",),
        "Objects of classes that torch does not allow by default: they are shown as data, and no class is loaded.",
        _ALLOWED,
    ),
    Rule("unknown-storage", "Unknown storage", ("warning",), "A storage of an unknown type.", _TORCH),
    Rule("zip-duplicates", "Doubled member", ("warning",), "Two members of the archive have one name.", _TORCH),
    Rule(
        "zip-names",
        "Misnamed member",
        ("error",),
        "A member of the archive has another name in its own header than in the directory.",
        "PKWARE APPNOTE 4.3.7; Python's zipfile refuses it, torch reads the bytes all the same",
    ),
    Rule(
        "no-checksum",
        "No checksum",
        ("info",),
        "A member of the archive has no checksum, but others have one.",
        "PKWARE APPNOTE 4.4.7; torch leaves it out for all (set_crc32_options(False)) or for those that it skips",
    ),
    Rule("zip-overlap", "Overlapping members", ("warning",), "Members of the archive share bytes.", _TORCH),
    Rule(
        "checksum",
        "Wrong checksum",
        ("error",),
        "Bytes of the archive do not match their checksum: they were damaged, or edited in place.",
        "torch.save: the CRC-32 in its ZIP directory, which torch itself never compares",
    ),
    Rule(
        "digest",
        "Not the file of the hub",
        ("error",),
        "With --verify: the SHA-256 of a file, or the hash of its git blob, is not the one that the hub gave for it."
        " The file was damaged or written to.",
        _HUB,
    ),
    Rule(
        "unfinished-download",
        "Unfinished download",
        ("info",),
        "With --verify: a file whose name ends in .incomplete, where huggingface_hub puts what it downloads.",
        _HUB,
    ),
    Rule("sparse-file", "Holes on the disk", ("info",), "A part of the file takes no space on the disk.", _TORCH),
    Rule("walk-limit", "Too nested", ("warning",), "The pickle repeats so much that not everything is listed.", _TORCH),
    Rule(
        "missing-rank",
        "Missing rank",
        ("error", "info"),
        "The file of a rank is missing, cannot be read, or is there twice: what that rank has is not shown.",
        _DEEPSPEED,
    ),
    Rule(
        "foreign-rank",
        "Foreign rank",
        ("error",),
        "The file of a rank is of another run or of another step than the others, or of a rank too many.",
        _DEEPSPEED,
    ),
    Rule(
        "flat-layout",
        "Flat buffer and shapes",
        ("error",),
        "The shapes of the parameters do not fit the flat buffers that they are cut from.",
        _DEEPSPEED,
    ),
    Rule(
        "not-joined",
        "Not joined",
        ("warning",),
        "Files with more of the model are not joined: slices for tensor parallelism, experts, layers of a pipeline.",
        _DEEPSPEED,
    ),
)
"""Everything that readers can say about a container."""
