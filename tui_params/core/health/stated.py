"""Rules that compare the weights with what the ``config.json`` beside them states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tui_params.core.findings import Finding, Severity
from tui_params.core.health.absent_layers import find_absent_layers, items_of
from tui_params.core.health.known_models import ENCODER_DECODERS, KNOWN_MODELS
from tui_params.core.health.lists import ModuleList, lists_in, lists_of
from tui_params.core.health.packings import part_of
from tui_params.core.health.pieces import is_piece
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint
from tui_params.core.statement import Statement, Statements
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import are, plural
from tui_params.core.text import name as shown_name

_LISTS = frozenset({"layers", "layer", "h", "blocks", "block"})
"""What the list of layers is called in models that have one such list."""

EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "tok_embeddings.weight")
_HEADS = ("lm_head.weight", "embed_out.weight", "output.weight")
_OF_HEADS = ("head", "output", "embed_out", "predictions", "decoder", "logits", "unembed", "proj_out", "score", "codec")
_SIDES = {
    "encoder": ("num_layers", "encoder_layers", "num_encoder_layers"),
    "decoder": ("num_decoder_layers", "decoder_layers"),
}
"""The keys that state the layers of each side, in T5, BART and ProphetNet."""

_MOST_DIGITS = 9
_TEXT = ("language_model", "text_model")
_MULTI = ("mtp", "nextn", "multi_token")
_DTYPES = frozenset({"float32", "float16", "bfloat16", "float64"})

_WHAT_IS_STORED = {
    "gptq": ("qweight",),
    "awq": ("qweight",),
    "mxfp4": ("_blocks", "_scales"),
    "bitsandbytes": ("absmax", "SCB"),
    "bitsandbytes_4bit": ("absmax",),
    "bitsandbytes_8bit": ("SCB",),
}
"""By ``quant_method``: the ends of names, one of which a checkpoint that is quantised so must have."""


class Stated:
    """What config.json states of the model or of one part of it, as far as it can be compared."""

    def __init__(self, statement: Statement) -> None:
        self._stated = stated = statement.stated
        self.file = f"{statement.folder}config.json"
        self.is_known = "config.model_type" in stated or "config.architectures" in stated
        self.is_nested = "config.nested" in stated
        self.is_of_adapter = "adapter.peft_type" in stated
        self.own = statement.own
        self.layers_key, self.layers = self._first("num_hidden_layers", "n_layer")
        self.vocab_key, self.vocab = self._first("vocab_size")
        self.multi_key, self.multi = self._first("num_nextn_predict_layers")

    def text(self, key: str) -> str:
        return self._stated.get(f"config.{key}", "")

    def _first(self, *keys: str) -> tuple[str, int | None]:
        """The first of some whole numbers that is stated, and its key; of a nested one, that of the text model."""
        below = "text_config." if self.is_nested else ""
        for key in keys:
            value = self.text(f"{below}{key}")
            if value.isdecimal() and len(value) <= _MOST_DIGITS:
                return f"{below}{key}", int(value)
        return keys[0], None


def find_unlike_config(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Numbers and types that config.json states and that the weights contradict.

    Each part of a pipeline is compared with its own; the states of a training run are of other types than the model.
    """
    listing = checkpoint.source.listing
    statements = Statements(listing.stated, listing.stated_below, listing.states)
    if statements.is_one:
        yield from _unlike(checkpoint, Stated(statements.all[0]), listing.tensors, checkpoint.once(lists_in))
        return
    infos: dict[str, list[TensorInfo]] = {}
    for info in listing.tensors:
        infos.setdefault(statements.about(info.name).below, []).append(info)
    for statement in statements.all:
        own = infos.get(statement.below, [])
        if own and statement.stated:
            yield from _unlike(checkpoint, Stated(statement), own, lists_of([info.name for info in own]))


def _unlike(
    checkpoint: Checkpoint, stated: Stated, infos: Sequence[TensorInfo], lists: Mapping[str, ModuleList]
) -> Iterator[Finding]:
    """The same of one part, of which these are the tensors and the lists of modules."""
    if not stated.is_known or stated.is_of_adapter:
        return
    if is_piece(checkpoint):
        yield from _of_piece(stated, infos, checkpoint)
        return
    yield from _quantisation(stated, infos)
    if stated.is_nested:
        infos = tuple([info for info in infos if any(part in stated.own(info.name) for part in _TEXT)])
    else:
        yield from _dtype(stated, infos)
    if stated.text("model_type") in ENCODER_DECODERS:
        yield from _two_lists(stated, lists.values())
    if stated.text("model_type") in KNOWN_MODELS:
        if stated.is_nested:
            lists = lists_of([info.name for info in infos])
        yield from _layers(stated, infos, the_layers(lists.values()))
        yield from _vocabulary(stated, infos)
        if not stated.is_nested:
            yield from _head(stated, infos, checkpoint)


def _of_piece(stated: Stated, infos: Sequence[TensorInfo], checkpoint: Checkpoint) -> Iterator[Finding]:
    """What can be said of a shard without the others: the type, and the embedding if it is there and the only one."""
    if stated.is_nested:
        return
    yield from _dtype(stated, infos, " of this piece")
    is_cut = any(finding.rule == "local-shapes" for finding in checkpoint.source.listing.findings)
    is_decoder = stated.text("architectures").endswith("ForCausalLM")
    if is_decoder and not is_cut and stated.text("model_type") in KNOWN_MODELS:
        yield from _vocabulary(stated, infos)


def _layers(stated: Stated, infos: Sequence[TensorInfo], modules: ModuleList | None) -> Iterator[Finding]:
    if modules is None or stated.layers is None:
        return
    extra = stated.multi or 0
    prefix = shown_name(modules.prefix, 200)
    if modules.end not in (stated.layers, stated.layers + extra):
        evidence = f"config.json says {stated.layers_key} {stated.layers:,}, but {prefix} has {modules.end:,}"
        yield _finding("warning", None, evidence, modules.prefix)
        return
    yield from _holes(stated.layers_key, stated.layers, modules)
    if extra and modules.end == stated.layers and not _has_multi(infos):
        evidence = f"config.json says {stated.multi_key} {extra:,}, but {prefix} has {modules.end:,} layers and none "
        evidence += "that predicts further tokens is stored"
        yield _finding("info", None, evidence, modules.prefix)


def _holes(key: str, number: int, modules: ModuleList) -> Iterator[Finding]:
    """Layers that are absent below the last, where the names alone did not tell."""
    absent = [at for at in range(modules.end) if at not in modules.items]
    if absent and modules.end >= number and not any(find_absent_layers(modules)):
        evidence = f"config.json says {key} {number:,}, but {items_of(shown_name(modules.prefix, 200), absent)} "
        evidence += "is absent" if len(absent) == 1 else "are absent"
        yield _finding("warning", None, evidence, modules.prefix)


def _two_lists(stated: Stated, lists: Iterable[ModuleList]) -> Iterator[Finding]:
    """The layers of an encoder and of a decoder that have a number each."""
    known = [modules for modules in lists if not _is_inside(modules.prefix)]
    for side, keys in _SIDES.items():
        key = next((key for key in keys if stated.text(key).isdecimal()), None)
        if key is None or len(stated.text(key)) > _MOST_DIGITS:
            continue
        number = int(stated.text(key))
        found = [modules for modules in known if stated.own(modules.prefix).split(".")[-2:-1] == [side]]
        found = [modules for modules in found if modules.prefix.rpartition(".")[2] in _LISTS]
        if len(found) == 1 and found[0].end != number:
            evidence = f"config.json says {key} {number:,}, but {shown_name(found[0].prefix, 200)} has {found[0].end:,}"
            yield _finding("warning", None, evidence, found[0].prefix)
        elif len(found) == 1:
            yield from _holes(key, number, found[0])
        elif not found and number and known and stated.text("architectures").endswith("ForConditionalGeneration"):
            evidence = f"config.json says {key} {number:,}, but no layer of the {side} is stored"
            yield _of_config(stated, "warning", evidence)


def the_layers(lists: Iterable[ModuleList]) -> ModuleList | None:
    """The one list of layers that a model has; None if there are several lists, such as an encoder and a decoder."""
    found = [modules for modules in lists if modules.is_of_layers and not _is_inside(modules.prefix)]
    if len(found) != 1 or found[0].prefix.rpartition(".")[2] not in _LISTS:
        return None
    return found[0]


def _is_inside(prefix: str) -> bool:
    """Whether a list is inside an item of another."""
    return any(segment.isdecimal() for segment in prefix.split("."))


def _has_multi(infos: Sequence[TensorInfo]) -> bool:
    return any(part in info.name for info in infos for part in _MULTI)


def _embedding(infos: Sequence[TensorInfo]) -> TensorInfo | None:
    """The one embedding of tokens."""
    found = [info for info in infos if info.name.endswith(EMBEDDINGS) and info.ndim == 2 and info.unreadable is None]
    return found[0] if len(found) == 1 and not _is_inside(found[0].name) else None


def _vocabulary(stated: Stated, infos: Sequence[TensorInfo]) -> Iterator[Finding]:
    info = _embedding(infos)
    if info is None or stated.vocab is None or info.dtype.name not in _DTYPES or info.shape[0] == stated.vocab:
        return
    # Rows are often padded to a multiple of 64 or more; a row less than the tokenizer has names is out of range.
    severity: Severity = "info" if info.shape[0] > stated.vocab else "warning"
    evidence = f"config.json says {stated.vocab_key} {stated.vocab:,}, but it has {plural(info.shape[0], 'row')}"
    yield _finding(severity, info.name, evidence)


def _head(stated: Stated, infos: Sequence[TensorInfo], checkpoint: Checkpoint) -> Iterator[Finding]:
    tied, embedding = stated.text("tie_word_embeddings"), _embedding(infos)
    if embedding is None or not stated.text("architectures").endswith("ForCausalLM"):
        return
    heads = [info for info in infos if info.name.endswith(_HEADS) and not _is_inside(info.name)]
    if tied == "false" and not any(part in info.name for info in infos for part in _OF_HEADS):
        evidence = "config.json says tie_word_embeddings false, but no lm_head.weight is stored beside it"
        yield _finding("warning", embedding.name, evidence)
    if tied.startswith("true") and len(heads) == 1 and heads[0].first_name != embedding.first_name:
        sketches = {sketch.info.name: sketch for sketch in checkpoint.sketches}
        head, other = sketches.get(heads[0].first_name), sketches.get(embedding.first_name)
        if head is not None and other is not None and head.fingerprint != other.fingerprint:
            evidence = "config.json says tie_word_embeddings true, but its values differ from those of "
            evidence += f"{shown_name(embedding.name, 200)}: a loader may ignore it"
            yield _finding("warning", heads[0].name, evidence)


def _dtype(stated: Stated, infos: Sequence[TensorInfo], where: str = "") -> Iterator[Finding]:
    key = "dtype" if stated.text("dtype") else "torch_dtype"
    dtype = stated.text(key).removeprefix("torch.")
    if dtype not in _DTYPES or stated.text("quantization_config.quant_method"):
        return
    counts: dict[str, int] = {}
    for info in infos:
        if info.dtype.kind == "float" and info.unreadable is None and info.numel > 1:
            counts[info.dtype.name] = counts.get(info.dtype.name, 0) + 1
    if counts and dtype not in counts and counts.keys() <= _DTYPES:
        usual, total = max(counts, key=lambda name: counts[name]), sum(counts.values())
        evidence = f"config.json says {key} {dtype}, but 0 of {plural(total, 'tensor')}{where} are; "
        evidence += f"{counts[usual]:,} {are(counts[usual])} {usual}"
        yield _of_config(stated, "info", evidence)


def _quantisation(stated: Stated, infos: Sequence[TensorInfo]) -> Iterator[Finding]:
    method = stated.text("quantization_config.quant_method")
    matrices = [info for info in infos if info.ndim >= 2 and info.unreadable is None]
    plain = sum(info.dtype.name in _DTYPES for info in matrices)
    if method:
        needed = _WHAT_IS_STORED.get(method)
        if method in ("fp8", "fbgemm_fp8") and matrices and plain == len(matrices):
            needed = ("weight_scale_inv", "weight_scale")
        if needed and matrices and not any(info.name.endswith(needed) for info in infos):
            evidence = f"config.json says that the weights are quantised by {shown_name(method, 40)}, but none of "
            evidence += (
                f"{plural(len(infos), 'tensor')} has a name that ends in {' or '.join(needed)}, and {plain:,} of "
            )
            evidence += f"{plural(len(matrices), 'matrix', 'matrices')} {are(plain, 'holds', 'hold')} plain floats"
            yield _of_config(stated, "warning", evidence)
    elif not stated.text("quantised_elsewhere"):
        packed = [info.name for info in infos if part_of(info.name)[1] == "packed" and info.dtype.kind == "int"]
        packed += [i.name for i in infos if i.name.endswith(("weight.absmax", "weight_scale_inv")) and i.ndim]
        if packed:
            evidence = f"config.json says nothing of a quantisation, but {plural(len(packed), 'tensor')} of a packing "
            evidence += f"{'is' if len(packed) == 1 else 'are'} stored, the first is {shown_name(packed[0], 200)}"
            yield _of_config(stated, "warning", evidence)


def _finding(severity: Severity, tensor: str | None, evidence: str, module: str = "") -> Finding:
    return Finding(severity, "unlike-config", tensor, evidence, module=module or None)


def _of_config(stated: Stated, severity: Severity, evidence: str) -> Finding:
    """A finding about what the file says of all weights."""
    return Finding(severity, "unlike-config", None, evidence, file=stated.file)


STATED_RULES: tuple[Rule, ...] = (
    Rule(
        "unlike-config",
        "Unlike config.json",
        ("warning", "info"),
        "The number of layers (of an encoder and of a decoder), the vocabulary, the output head, the type or the "
        "quantisation is not what config.json beside the weights says.",
        "transformers 5.24: config.json of the model types whose names and sizes were compared with it; of others only "
        "the type and the quantisation are",
        cross_check=find_unlike_config,
    ),
)
