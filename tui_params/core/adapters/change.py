"""Change: how far an adapter moves the weight that it is for, as the Frobenius norm, and what of that is not known.

The formulas are those of peft 0.21 (``get_delta_weight``, ``merge``), LyCORIS, kohya's sd-scripts and mlx-lm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from tui_params.core import text
from tui_params.core.adapter_config import AdapterConfig
from tui_params.core.adapters.factors import Factors, NoNormError
from tui_params.core.adapters.from_base import norm_of_difference, norm_of_dora, norm_of_ia3, norm_of_rotation
from tui_params.core.adapters.norms import (
    Norm,
    norm_of_hadamard,
    norm_of_product,
    norm_of_tucker,
    norm_of_tucker_hadamard,
)
from tui_params.core.adapters.parts import Parts, base_of, has_several, parts_of, shapes_of
from tui_params.core.health.adapters import Adapter, AdapterConfigs, KohyaMetadata, path_in_base
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

if TYPE_CHECKING:
    from tui_params.core.source import Source

_OF_BASE = "a part of the weight itself, which is not here"
_MOVED = ("pissa", "olora", "corda", "loftq", "lora_ga", "orthogonal")


class Change(msgspec.Struct, frozen=True):
    """How far an adapter moves a weight.

    ``norm`` is the Frobenius norm of what is added to the weight; None if it is not known, and ``reason`` is then one
    sentence why. ``unscaled`` is that of the product of its factors without a scale, where that is all that is known.
    ``is_bound``: both are upper bounds. ``shapes`` are its tensors in words. ``base`` is the name of the weight in the
    same source, if it is there, ``base_norm`` its norm. ``remark`` is a sentence for the reader of the norm. ``model``
    is the model that the adapter is said to be for.
    """

    shapes: str
    norm: float | None = None
    unscaled: float | None = None
    is_bound: bool = False
    reason: str | None = None
    base: str | None = None
    base_norm: float | None = None
    remark: str | None = None
    model: str | None = None

    @property
    def relative(self) -> float | None:
        """The norm divided by that of the base weight."""
        return self.norm / self.base_norm if self.norm is not None and self.base_norm else None

    @property
    def short(self) -> str:
        """The change in some words, beside others: without its reason and its remark."""
        if self.norm is None:
            return "change not known" if self.unscaled is None else f"change {text.number(self.unscaled)} (unscaled)"
        share = "" if self.relative is None else f" ({text.number(100 * self.relative, 3)} % of the weight)"
        return f"change {'at most ' if self.is_bound else ''}{text.number(self.norm)}{share}"

    @property
    def words(self) -> str:
        """The change in one line."""
        most = "at most " if self.is_bound else ""
        if self.norm is None:
            known = (
                "" if self.unscaled is None else f"{most}{text.number(self.unscaled)} for the product of its factors"
            )
            return f"norm of the change {known or 'not known'}: {self.reason}"
        words = f"norm of the change {most}{text.number(self.norm)}"
        if self.relative is not None:
            words += f", {text.number(100 * self.relative, 3)} % of that of the weight ({text.number(self.base_norm)})"
        return words if self.remark is None else f"{words}; {self.remark}"


def describe(path: str, adapters: Sequence[Adapter], changes: Sequence[Change]) -> Iterator[str]:
    """What the page of the module ``path`` says of the changes that the adapters at or below it make, in lines."""
    models = dict.fromkeys(change.model for change in changes if change.model is not None)
    for adapter, change in zip(adapters, changes, strict=True):
        where = adapter.module.removeprefix(path).strip(".")
        name = adapter.name if adapter.name != "default" else ""
        title = text.clean(" ".join(filter(None, (where, name if len(adapters) > 1 else ""))), 120)
        if len(adapters) > 1:
            yield f"{title}: {change.short}" if title else change.short
            continue
        if change.shapes:
            yield f"{title}: {change.shapes}" if title else change.shapes
        yield change.words
    if models:
        yield f"for {', '.join(text.clean(model, 120) for model in models)}"


class Changes:
    """Computes the changes that the adapters of a source make, one by one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._parts = parts_of(source.listing)
        self._names: dict[str, TensorInfo] = {info.name: info for info in source.listing.tensors}
        self._configs = AdapterConfigs(source.listing.adapters)
        self._kohya = KohyaMetadata(source.listing.metadata)

    def names_of(self, adapter: Adapter) -> set[str]:
        """The names of the tensors of an adapter."""
        return {info.name for info in self._parts.get((adapter.module, adapter.name), {}).values()}

    @with_subnormals
    def of(
        self,
        adapter: Adapter,
        should_stop: Callable[[], bool] | None = None,
        refuse: Callable[[Sequence[TensorInfo]], str] | None = None,
    ) -> Change:
        """The change that an adapter makes. Reads its factors, and the weight if that is here. Raises StoppedError.

        ``refuse`` says why these tensors are not to be read, or nothing.
        """
        parts = self._parts.get((adapter.module, adapter.name), {})
        config = self._configs.of(adapter.module, adapter.name)
        base = base_of(adapter.module, (path_in_base(adapter.module, config),), self._names)
        model = config.base_model if config is not None else self._kohya.base_model
        change = Change(shapes_of(parts), base=None if base is None else base.name, model=model)
        factors = Factors(self._source, should_stop)
        try:
            why = refuse((*parts.values(), *([base] if base is not None else []))) if refuse is not None else ""
            if why:
                raise NoNormError(why)
            if has_several(parts):
                raise NoNormError("it has several factors of the same kind")
            change = _changed(change, _Question(factors, adapter, parts, config, base, self._names))
            if base is not None and change.norm is not None:
                mantissa, exponent = factors.norm(base)
                change = msgspec.structs.replace(change, base_norm=Norm(mantissa, exponent).value)
        except (NoNormError, ReadError, OSError) as error:
            if change.norm is None:
                change = msgspec.structs.replace(change, reason=str(error) or type(error).__name__)
            else:
                change = msgspec.structs.replace(change, remark=f"the weight has no norm: {error}")
        except MemoryError:
            change = msgspec.structs.replace(change, norm=None, reason="its factors do not fit into memory")
        return change


class _Question(msgspec.Struct, frozen=True):
    """An adapter with everything that its formula may need."""

    factors: Factors
    adapter: Adapter
    parts: Parts
    config: AdapterConfig | None
    base: TensorInfo | None
    names: Mapping[str, TensorInfo]

    def part(self, name: str) -> TensorInfo:
        found = self.parts.get(name)
        if found is None:
            raise NoNormError(f"{name} is not here")
        return found

    @property
    def is_transposed(self) -> bool:
        return self.config is not None and self.config.options.get("fan_in_fan_out") is True


def _changed(change: Change, question: _Question) -> Change:
    adapter, parts, base = question.adapter, question.parts, question.base
    if adapter.spelling == "prompt_embeddings":
        raise NoNormError("it is put before the input, and changes no weight")
    if adapter.kind in ("IA3", "OFT", "LN tuning"):
        if base is None:
            raise NoNormError(f"it is {_OF_BASE}" if adapter.kind != "LN tuning" else "what it replaces is not here")
        return msgspec.structs.replace(change, norm=_of_base(question, base).value)
    product, scale = _product(question), 1.0 if adapter.kind == "VeRA" else adapter.scale
    magnitude = next((parts[name] for name in ("lora_magnitude_vector", "dora_scale", "m") if name in parts), None)
    unscaled = msgspec.structs.replace(change, unscaled=product.value, is_bound=product.is_bound)
    if scale is None and product.mantissa:
        return msgspec.structs.replace(unscaled, reason="its scale is not known")
    if magnitude is not None:
        if base is None:
            reason = "DoRA also scales the rows of the weight, which is not here"
            return msgspec.structs.replace(unscaled, reason=reason)
        first, second = ("lora_a", "lora_b") if "m" in parts else ("lora_A", "lora_B")
        if first not in parts or second not in parts or question.is_transposed:
            return msgspec.structs.replace(
                unscaled, reason="DoRA also scales the weight, in a way that is not read here"
            )
        norm = norm_of_dora(
            question.factors, base, parts[second], parts[first], magnitude, scale or 0.0, is_transposed="m" in parts
        )
        return msgspec.structs.replace(change, norm=norm.value)
    start = question.config.options.get("init_lora_weights") if question.config is not None else None
    remark = None
    if isinstance(start, str) and start.lower().startswith(_MOVED):
        remark = f"{text.clean(start, 40)} has moved the weight before training, too"
    total = product.times(scale or 0.0)
    return msgspec.structs.replace(change, norm=total.value, is_bound=total.is_bound, remark=remark)


def _of_base(question: _Question, base: TensorInfo) -> Norm:
    factors, is_transposed = question.factors, question.is_transposed
    if question.adapter.kind == "IA3":
        return norm_of_ia3(factors, base, question.part("ia3_l"), is_transposed=is_transposed)
    if question.adapter.kind == "OFT":
        options = {} if question.config is None else question.config.options
        return norm_of_rotation(factors, base, question.part("oft_R"), options, is_transposed=is_transposed)
    return norm_of_difference(factors, base, question.part("ln_tuning_layers"))


def _product(question: _Question) -> Norm:
    """The norm of the product of the factors of an adapter, without its scale."""
    factors, parts, part = question.factors, question.parts, question.part
    kind = question.adapter.kind
    if kind == "VeRA":
        return _of_vera(question)
    if kind == "LoHa":
        one, two = (part("hada_w1_a"), part("hada_w1_b")), (part("hada_w2_a"), part("hada_w2_b"))
        if "hada_t1" in parts or "hada_t2" in parts:
            return norm_of_tucker_hadamard(factors, (part("hada_t1"), *one), (part("hada_t2"), *two))
        return norm_of_hadamard(factors, one, two)
    if kind == "LoKr":
        return _of_kronecker(question, "lokr_w1").of_product(_of_kronecker(question, "lokr_w2"))
    if "lora_embedding_A" in parts or "lora_embedding_B" in parts:
        left, right = factors.gram(part("lora_embedding_B"), 1), factors.gram(part("lora_embedding_A"), 0)
        return norm_of_product(left, right)
    if "lora_down" in parts or "lora_up" in parts:
        left, right = factors.gram(part("lora_up"), 1), factors.gram(part("lora_down"), 0)
        if "lora_mid" in parts:
            core, exponent = factors.whole(parts["lora_mid"])
            return norm_of_tucker(left, core, exponent, right)
        return norm_of_product(left, right)
    if "lora_a" in parts or "lora_b" in parts:
        return _of_mlx(question)
    if "lora_A" in parts or "lora_B" in parts:
        return _of_peft(question)
    raise NoNormError(f"of {kind} none is computed here")


def _of_peft(question: _Question) -> Norm:
    import numpy as np

    factors, part = question.factors, question.part
    second, first = part("lora_B"), part("lora_A")
    left, right = factors.gram(second, 1), factors.gram(first, 0)
    if question.adapter.kind == "AdaLoRA":
        values, exponent = factors.whole(part("lora_E"))
        values = values.reshape(-1)
        if values.size != right.matrix.shape[0]:
            raise NoNormError("lora_E does not fit lora_A")
        outer = right.matrix * np.outer(values, values)
        right = msgspec.structs.replace(right, matrix=outer, exponent=right.exponent + exponent)
    stated, rank = question.adapter.stated_rank, question.adapter.rank
    if question.config is not None and question.config.has_experts and stated and rank and stated < rank:
        if rank % stated or left.matrix.shape != right.matrix.shape:
            raise NoNormError(f"a rank of {rank:,} is no multiple of {stated:,}, the rank of one expert")
        # lora_A is [experts, r, in] and lora_B [out, r, experts], each flattened to two dimensions.
        count = rank // stated
        own = [(np.arange(n, rank, count), np.arange(n * stated, (n + 1) * stated)) for n in range(count)]
        return norm_of_product(left, right, own)
    return norm_of_product(left, right)


def _of_mlx(question: _Question) -> Norm:
    """``lora_a`` [in, r] and ``lora_b`` [r, out]; of experts [experts, r, in] and [experts, out, r]."""
    first, second = question.part("lora_a"), question.part("lora_b")
    if first.ndim != 2 or second.ndim != 2:
        raise NoNormError("it is for several experts, of which none is computed here")
    return norm_of_product(question.factors.gram(second, 0), question.factors.gram(first, 1))


def _of_kronecker(question: _Question, factor: str) -> Norm:
    """The norm of one factor of a Kronecker product: whole, or itself a product of two or three."""
    factors, parts = question.factors, question.parts
    if factor in parts:
        return Norm(*factors.norm(parts[factor]))
    first, second = question.part(f"{factor}_a"), question.part(f"{factor}_b")
    core = parts.get("lokr_t2") if factor == "lokr_w2" else None
    if core is None:
        return norm_of_product(factors.gram(first, 1), factors.gram(second, 0))
    values, exponent = factors.whole(core)
    return norm_of_tucker(factors.gram(first, 0), values, exponent, factors.gram(second, 0))


def _of_vera(question: _Question) -> Norm:
    """``(b * B[:out]) @ (d * A[:, :in])``: A and B are random, shared by all modules, and not always stored."""
    import numpy as np

    factors, name = question.factors, question.adapter.name
    rows, columns = question.part("vera_lambda_b"), question.part("vera_lambda_d")
    shared: list[TensorInfo] = []
    for part in ("vera_A", "vera_B"):
        ending = f"{part}.{name}" if name else part
        places = (f"{question.adapter.module}.{ending}", f"base_model.{ending}", ending)
        found = next((question.names[place] for place in places if place in question.names), None)
        if found is None:
            raise NoNormError("the random matrices vera_A and vera_B are not stored")
        shared.append(found)
    if question.base is None or question.base.ndim != 2:
        raise NoNormError("how many inputs the weight has is not stored, and vera_A is cut to them")
    inputs = question.base.shape[0 if question.is_transposed else 1]
    (by_row, e1), (by_rank, e2) = factors.whole(rows), factors.whole(columns)
    first, second = shared
    outputs = by_row.size
    fits = first.ndim == second.ndim == 2 and by_rank.size == first.shape[0] == second.shape[1]
    if not fits or inputs > first.shape[1] or outputs > second.shape[0]:
        raise NoNormError("its factors do not fit one another")
    right = factors.gram(first, 0, inputs)
    right = msgspec.structs.replace(
        right, matrix=right.matrix * np.outer(by_rank, by_rank), exponent=right.exponent + e2
    )
    left = factors.gram(second, 1, outputs, by_row.reshape(-1))
    left = msgspec.structs.replace(left, exponent=left.exponent + e1)
    return norm_of_product(left, right)
