"""The live source: what it lists, what it reads, and that looking changes nothing."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from tests.factories_models import DTYPE_NAMES, Closed, Hostile, Pair, TiedModel, holder, of_every_byte
from tui_params.core import dtypes
from tui_params.core.source import Source
from tui_params.errors import OpenError, ReadError, SourceChangedError, UnknownTensorError
from tui_params.live import source as live_source
from tui_params.live.source import ModelSource, StateDictSource

pytestmark = [
    pytest.mark.filterwarnings("ignore:ComplexHalf"),
    pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning"),
]


def names(source: Source) -> list[str]:
    return [info.name for info in source.listing.tensors]


def all_bytes(source: Source, name: str) -> bytes:
    return b"".join(block.tobytes() for block in source.blocks(source.find(name)))


def memory(tensor: torch.Tensor) -> bytes:
    """The row-major bytes of a plain tensor, by torch's own means."""
    contiguous = tensor.detach().contiguous().reshape(-1)
    return bytes(contiguous.view(torch.uint8).tolist())


def read_all(source: Source) -> None:
    for info in (*source.listing.tensors, *source.listing.gradients.values()):
        if info.unreadable is None:
            for _ in source.blocks(info):
                pass
            source.read(info.name)


def test_a_tied_weight_is_listed_under_both_names() -> None:
    model = TiedModel()
    source = ModelSource(model)
    assert source.label == "TiedModel"
    assert source.listing.is_ordered
    assert source.find("wte.weight").tied_to is None
    assert source.find("lm_head.weight").tied_to == "wte.weight"
    assert [info.name for info in source.listing.tensors if info.tied_to] == ["lm_head.weight"]
    expected = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    expected |= {name for name, _ in model.named_buffers(remove_duplicate=False)}
    assert set(names(source)) == expected
    assert len(names(source)) == len(expected)


def test_modules_carry_their_class_even_without_tensors() -> None:
    modules = ModelSource(TiedModel(layers=1)).listing.modules
    assert modules[""] == "TiedModel"
    assert modules["act"] == "GELU"
    assert modules["h.0.mlp.1"] == "ReLU"


def test_kinds_and_what_is_not_saved() -> None:
    source = ModelSource(TiedModel(layers=1))
    mask = source.find("h.0.mask")
    assert (mask.kind, mask.dtype.name, mask.requires_grad) == ("buffer", "bool", None)
    assert mask.notes == ("not saved in the state dict",)
    weight = source.find("h.0.attn.weight")
    assert (weight.kind, weight.requires_grad, weight.device, weight.stride) == ("parameter", True, "cpu", None)
    with pytest.raises(UnknownTensorError):
        source.find("h.0.nothing")


def test_batch_norm_buffers_and_frozen_parameters() -> None:
    model = nn.BatchNorm1d(3)
    model.weight.requires_grad_(False)
    source = ModelSource(model, "norm")
    assert source.label == "norm"
    assert source.find("weight").requires_grad is False
    assert source.find("num_batches_tracked").shape == ()
    assert source.read("num_batches_tracked").item() == 0
    assert source.find("running_var").notes == ()


@pytest.mark.parametrize("normalise", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_parametrized_weight_is_not_computed(normalise: Any) -> None:
    model = normalise(nn.Linear(6, 4))
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    source = ModelSource(model)
    read_all(source)
    assert "weight" not in names(source)
    assert any(name.startswith("parametrizations.weight.") for name in names(source))
    assert source.listing.modules[""] == "ParametrizedLinear"
    # Both statements matter: state_dict() itself computes nothing.
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert source.changed() is None


def test_spectral_norm_would_have_changed_had_the_weight_been_asked_for() -> None:
    model = parametrizations.spectral_norm(nn.Linear(6, 4)).train()
    source = ModelSource(model)
    _ = model.weight
    assert "written to" in (source.changed() or "")


def test_nothing_is_disturbed_by_a_walk_and_a_full_read() -> None:
    model = TiedModel()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.arange(4)).sum().backward()
    optimizer.step()
    model.h[0].eval()
    calls: list[str] = []
    model.register_forward_hook(lambda *_: calls.append("forward"))
    model.register_state_dict_pre_hook(lambda *_: calls.append("state dict"))

    def state() -> list[Any]:
        tensors = [*model.parameters(), *model.buffers()]
        facts: list[Any] = [(t._version, t.requires_grad, t.data_ptr(), t.grad_fn, id(t.grad)) for t in tensors]
        facts += [memory(t) for t in tensors] + [memory(p.grad) for p in model.parameters() if p.grad is not None]
        facts += [p.grad._version for p in model.parameters() if p.grad is not None]
        facts += [module.training for module in model.modules()]
        facts += [list(vars(model)), len(optimizer.state), torch.get_rng_state().tolist(), torch.is_grad_enabled()]
        return facts

    before = state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = ModelSource(model, optimizer=optimizer)
        read_all(source)
        assert source.changed() is None
        source.close()
    assert state() == before
    assert calls == []


def test_a_lazy_parameter_is_listed_and_not_read() -> None:
    source = ModelSource(nn.LazyLinear(3))
    info = source.find("weight")
    assert info.shape == ()
    assert info.numel == info.nbytes == 0
    assert info.unreadable == "not initialised yet: the first forward pass gives it a shape"
    with pytest.raises(ReadError, match="first forward pass"):
        list(source.blocks(info))


def test_a_model_on_the_meta_device_has_shapes_only() -> None:
    source = ModelSource(nn.Linear(3, 2, device="meta"))
    info = source.find("weight")
    assert (info.shape, info.device, info.nbytes, info.tied_to) == ((2, 3), "meta", 24, None)
    assert "meta device" in str(info.unreadable)
    with pytest.raises(ReadError, match="meta device"):
        source.read("weight")


@pytest.mark.parametrize("name", DTYPE_NAMES)
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (5, 8), (2, 3, 7)])
def test_every_type_is_read_byte_for_byte(name: str, shape: tuple[int, ...]) -> None:
    tensor = of_every_byte(name, *shape)
    source = StateDictSource({"x": tensor})
    info = source.find("x")
    assert (info.dtype.name, info.shape, info.numel) == (name, shape, tensor.numel())
    assert info.unreadable is None
    assert all_bytes(source, "x") == memory(tensor)
    values = source.read("x")
    assert values.shape == shape
    if name != "complex32":
        assert values.dtype == dtypes.numpy_dtype(info.dtype)
        assert values.tobytes() == memory(tensor)
    else:
        assert values.dtype == np.complex64
        np.testing.assert_array_equal(values, tensor.to(torch.complex64).numpy())


@pytest.mark.parametrize("name", DTYPE_NAMES)
def test_every_type_is_read_through_a_transposed_and_a_strided_view(name: str) -> None:
    whole = of_every_byte(name, 6, 10)
    source = StateDictSource({"t": whole.t(), "s": whole[1:5:2, 1::3]})
    assert source.find("t").stride == (1, 10)
    assert all_bytes(source, "t") == memory(whole), "a transposed tensor is read in storage order"
    size = whole.element_size()
    grid = np.frombuffer(memory(whole), np.uint8).reshape(6, 10, size)
    assert all_bytes(source, "s") == grid[1:5:2, 1::3].tobytes()
    assert source.find("s").storage_nbytes == whole.untyped_storage().nbytes()
    if name != "complex32":
        assert source.read("t", "[3, ::-2]").tobytes() == grid[::-2, 3].tobytes()


def test_an_expanded_tensor_is_read_once_per_element_and_says_so() -> None:
    base = torch.arange(4.0)
    source = StateDictSource({"x": base.expand(3, 4)})
    info = source.find("x")
    assert (info.stride, info.nbytes, info.storage_nbytes) == ((0, 1), 48, None)
    assert any("16 bytes in memory" in note for note in info.notes)
    np.testing.assert_array_equal(np.sort(np.frombuffer(all_bytes(source, "x"), np.float32)), np.arange(4).repeat(3))
    np.testing.assert_array_equal(source.read("x"), np.tile(np.arange(4, dtype=np.float32), (3, 1)))


def test_conjugated_and_negated_views_give_values_not_memory() -> None:
    base = torch.tensor([1 + 2j, 3 - 4j, 5j])
    source = StateDictSource({"c": base.conj(), "n": base.conj().imag})
    np.testing.assert_array_equal(source.read("c"), base.numpy().conj())
    np.testing.assert_array_equal(source.read("n"), [-2, 4, -5])
    np.testing.assert_array_equal(np.frombuffer(all_bytes(source, "n"), np.float32), [-2, 4, -5])


def test_a_packed_float4_counts_single_values() -> None:
    pairs = torch.tensor([[0x10, 0x32, 0x54], [0x76, 0x98, 0xBA]], dtype=torch.uint8)
    source = StateDictSource({"x": pairs.view(torch.float4_e2m1fn_x2)})
    info = source.find("x")
    assert (info.dtype.name, info.shape, info.numel, info.nbytes) == ("float4_e2m1fn", (2, 6), 12, 6)
    assert all_bytes(source, "x") == bytes([0x10, 0x32, 0x54, 0x76, 0x98, 0xBA])
    assert b"".join(block.tobytes() for block in source.blocks(info, 8)) == bytes([0x98, 0xBA])
    codes = np.arange(12, dtype=np.uint8).reshape(2, 6)
    np.testing.assert_array_equal(source.read("x").view(np.uint8), codes)
    np.testing.assert_array_equal(source.read("x", "[1, 5:0:-2]").view(np.uint8), codes[1, 5:0:-2])
    assert source.read("x")[0, 2] == 1.0


def test_a_type_that_nobody_decodes_is_listed() -> None:
    source = StateDictSource({"x": torch.zeros(8, dtype=torch.uint8).view(torch.uint4)})
    assert source.find("x").dtype.name == "uint4"
    with pytest.raises(ReadError, match="uint4"):
        source.read("x")


@settings(max_examples=60)
@given(data=st.data(), shape=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_blocks_of_any_view_hold_each_element_once(data: st.DataObject, shape: list[int]) -> None:
    base = torch.arange(torch.Size(shape).numel(), dtype=torch.int32).reshape(shape)
    view = base.permute(data.draw(st.permutations(range(len(shape)))))
    for axis, size in enumerate(view.shape):
        start = data.draw(st.integers(0, size))
        view = view[(slice(None),) * axis + (slice(start, None, data.draw(st.integers(1, 3))),)]
    source = StateDictSource({"x": view})
    info = source.find("x")
    cut = data.draw(st.integers(0, info.numel // 8)) * 8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_source, "BLOCK_NBYTES", 64)
        blocks = [b.tobytes() for part in ((0, cut), (cut, None)) for b in source.blocks(info, *part)]
    assert all(len(block) <= 64 for block in blocks)
    seen = np.frombuffer(b"".join(blocks), np.int32)
    if info.stride is None:
        np.testing.assert_array_equal(seen, view.reshape(-1).numpy())
    np.testing.assert_array_equal(np.sort(seen), np.sort(view.reshape(-1).numpy()))
    np.testing.assert_array_equal(source.read("x"), view.numpy())


def test_gradients_stand_apart_by_the_name_of_their_parameter() -> None:
    model = TiedModel(layers=1)
    extra = nn.Linear(2, 2)
    model.extra = extra
    model(torch.arange(3)).sum().backward()
    source = ModelSource(model)
    assert set(source.listing.gradients) == {
        n for n, p in model.named_parameters(remove_duplicate=False) if p.grad is not None
    }
    info = source.listing.gradients["h.0.attn.weight"]
    assert (info.name, info.kind) == ("h.0.attn.weight.grad", "gradient")
    assert model.h[0].attn.weight.grad is not None
    np.testing.assert_array_equal(source.read("h.0.attn.weight.grad"), model.h[0].attn.weight.grad.numpy())
    assert source.listing.gradients["lm_head.weight"].tied_to == "wte.weight.grad"
    (finding,) = [f for f in source.listing.findings if f.rule == "no-gradient"]
    assert finding.severity == "info"
    assert finding.evidence == (
        "2 trainable parameters have no gradient while others have one: extra.weight, extra.bias"
    )
    model.zero_grad()
    with pytest.raises(SourceChangedError, match=r"h\.0\.attn\.weight\.grad is no longer there"):
        source.read("h.0.attn.weight.grad")


def test_no_gradient_at_all_is_no_finding() -> None:
    assert ModelSource(TiedModel()).listing.findings == ()


def test_a_sparse_gradient_shows_its_stored_values() -> None:
    model = nn.Embedding(10, 2, sparse=True)
    model(torch.tensor([3, 7])).sum().backward()
    source = ModelSource(model)
    info = source.listing.gradients["weight"]
    assert (info.name, info.shape) == ("weight.grad", (2, 2))
    assert any("sparse gradient of shape (10, 2)" in note for note in info.notes)
    np.testing.assert_array_equal(source.read("weight.grad"), np.ones((2, 2)))


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_tensors_are_listed_by_their_pieces() -> None:
    dense = torch.tensor([[0.0, 2, 0], [3, 0, 4]])
    source = StateDictSource({"coo": dense.to_sparse(), "csr": dense.to_sparse_csr()})
    assert names(source) == ["coo.indices", "coo.values", "csr.crow_indices", "csr.col_indices", "csr.values"]
    np.testing.assert_array_equal(source.read("coo.values"), [2, 3, 4])
    np.testing.assert_array_equal(source.read("csr.crow_indices"), [0, 1, 3])
    assert source.find("csr.values").notes == ("a field of a sparse_csr tensor of shape (2, 3)",)


@pytest.mark.filterwarnings("ignore")
def test_nested_tensors_show_their_values() -> None:
    rows = [torch.ones(2, 3), torch.zeros(4, 3)]
    jagged = torch.nested.nested_tensor(rows, layout=torch.jagged)
    source = StateDictSource({"strided": torch.nested.nested_tensor(rows), "jagged": jagged})
    assert source.find("strided.values").shape == (18,)
    assert source.read("strided.values").sum() == 6
    assert names(source) == ["strided.values", "jagged.values", "jagged.offsets"]
    assert source.read("jagged.values").shape == (6, 3)
    assert source.read("jagged.offsets").tolist() == [0, 2, 6]
    assert source.find("jagged.values").notes == ("a field of a jagged tensor of 2 nested tensors",)
    narrow = torch.nested.narrow(torch.zeros(2, 4, 3), 1, torch.tensor([0, 1]), torch.tensor([2, 3]), torch.jagged)
    assert names(StateDictSource({"k": narrow})) == ["k.values", "k.offsets", "k.lengths"]


@pytest.mark.filterwarnings("ignore")
def test_a_wrapper_is_as_trainable_as_the_tensor_around_its_fields() -> None:
    rows = [torch.ones(2, 3), torch.zeros(4, 3)]
    jagged = torch.nested.nested_tensor(rows, layout=torch.jagged)
    pair = Pair(torch.ones(2, 3), torch.ones(1))
    sparse = torch.tensor([[0.0, 2], [3, 0]]).to_sparse()
    model = holder(
        jagged=nn.Parameter(jagged),
        pair=nn.Parameter(pair),
        sparse=nn.Parameter(sparse),
        frozen=nn.Parameter(Pair(torch.ones(2, 3), torch.ones(1)), requires_grad=False),
        buffer=Pair(torch.ones(2, 3), torch.ones(1)),
    )
    flags = {info.name: info.requires_grad for info in ModelSource(model).listing.tensors}
    assert flags == {
        "jagged.values": True,
        "jagged.offsets": False,
        "pair.qdata": True,
        "pair.scale": True,
        "sparse.indices": False,
        "sparse.values": True,
        "frozen.qdata": False,
        "frozen.scale": False,
        "buffer.qdata": None,
        "buffer.scale": None,
    }


def test_no_attribute_of_a_users_tensor_class_is_asked() -> None:
    asked: list[str] = []

    class Watched(torch.Tensor):  # type: ignore[misc]
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            asked.append(getattr(func, "__name__", str(func)))
            return super().__torch_function__(func, types, args, kwargs or {})

        def __getattribute__(self, name: str) -> Any:
            asked.append(name)
            return super().__getattribute__(name)

        @property
        def shape(self) -> Any:
            asked.append("shape")
            return torch.Size((99,))

        def detach(self) -> Any:
            asked.append("detach")
            raise ValueError("not today")

    plain = torch.arange(6.0).reshape(2, 3)
    watched = plain.as_subclass(Watched)
    weight = nn.Parameter(torch.ones(2, 2).as_subclass(torch.Tensor))
    weight.grad = torch.ones(2, 2)
    model = holder(weight=weight)
    model._buffers["watched"] = watched
    model.hidden = plain.t().as_subclass(Watched)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    optimizer.state[weight] = {"momentum_buffer": plain.as_subclass(Watched)}
    mapping = {"a": [watched], "turned": plain.t().as_subclass(Watched)}
    asked.clear()
    source = ModelSource(model, optimizer=optimizer)
    assert source.changed() is None
    assert source.read("watched").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert all_bytes(source, "optimizer.weight.momentum_buffer") == memory(plain)
    read_all(StateDictSource(mapping))
    assert asked == []
    _ = watched.shape
    assert asked != [], "it does tell when it is asked"


def test_a_proxy_is_not_asked_for_its_class() -> None:
    def answer(proxy: object) -> type:
        raise ValueError("asked")

    proxy_class: Any = type("Proxy", (), {"__class__": property(answer)})

    class Count(int):
        def __str__(self) -> str:
            raise ValueError("asked")

    source = StateDictSource(
        {"x": torch.ones(1), "proxy": proxy_class(), "list": [proxy_class(), 1], "count": Count(3)}
    )
    assert names(source) == ["x"]
    assert source.listing.metadata["count"] == "3"
    model = nn.Linear(1, 1)
    vars(model)["proxy"] = proxy_class()
    assert ModelSource(model).listing.findings == ()


def test_an_opaque_layout_is_refused() -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without mkldnn")
    info = StateDictSource({"x": torch.ones(3, 3).to_mkldnn()}).find("x")
    assert info.shape == (3, 3)
    assert info.unreadable == "its layout _mkldnn is opaque"


@pytest.mark.filterwarnings("ignore")
def test_quantised_tensors_show_the_integers() -> None:
    values = torch.tensor([[-1.0, 0, 1], [2, 3, 4]])
    each = torch.quantize_per_tensor(values, 0.5, 3, torch.qint8)
    rows = torch.quantize_per_channel(values, torch.tensor([0.5, 1]), torch.tensor([0, 1]), 0, torch.quint8)
    source = StateDictSource({"each": each, "rows": rows, "turned": each.t()})
    assert source.find("each").dtype.name == "qint8"
    assert source.find("each").notes == ("quantised: scale 0.5, zero point 3",)
    assert source.find("rows").notes == ("quantised: 2 scales and zero points along axis 0",)
    np.testing.assert_array_equal(source.read("each"), each.int_repr().numpy())
    np.testing.assert_array_equal(source.read("rows"), rows.int_repr().numpy())
    np.testing.assert_array_equal(source.read("turned"), each.int_repr().numpy().T)
    assert all_bytes(source, "each") == each.int_repr().numpy().tobytes()


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda model: torch.compile(model), "_orig_mod."),
        (lambda model: nn.DataParallel(model), "module."),
        (lambda model: torch.optim.swa_utils.AveragedModel(model), "module."),
    ],
)
def test_prefixes_of_wrappers_stay(wrap: Any, prefix: str) -> None:
    source = ModelSource(wrap(nn.Linear(2, 2)))
    assert {prefix + "weight", prefix + "bias"} <= set(names(source))
    assert source.read(prefix + "weight").shape == (2, 2)
    assert source.listing.findings == ()


def test_a_wrapper_of_tensors_is_listed_by_its_fields() -> None:
    pair = Pair(torch.arange(6, dtype=torch.int8).reshape(2, 3), torch.tensor([0.5]))
    model = holder(weight=nn.Parameter(pair, requires_grad=False), plain=torch.ones(2))
    source = ModelSource(model)
    assert names(source) == ["weight.qdata", "weight.scale", "plain"]
    info = source.find("weight.qdata")
    assert (info.kind, info.shape, info.dtype.name) == ("parameter", (2, 3), "int8")
    assert info.notes == ("a field of a Pair of shape (2, 3)",)
    np.testing.assert_array_equal(source.read("weight.qdata"), pair.qdata.numpy())


def test_classes_that_hide_their_values_do_not_hide_the_others() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.ones(3)
    hostile = Hostile(2)
    source = StateDictSource({"closed": Closed(4), "fake": fake, "hostile": hostile, "plain": torch.ones(2)})
    assert "Closed does not say" in str(source.find("closed").unreadable)
    assert source.find("closed").shape == (4,)
    assert "FakeTensor has a shape" in str(source.find("fake").unreadable)
    assert "ValueError: no fields today" in str(source.find("hostile").unreadable)
    assert source.find("hostile").dtype.name == "float32"
    assert source.read("plain").tolist() == [1, 1]
    with pytest.raises(ReadError, match="no fields today"):
        source.read("hostile")


def test_inside_a_fake_tensor_mode_real_tensors_are_still_read() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    tensor = torch.arange(6.0).reshape(2, 3)
    tensors = {
        "x": tensor,
        "t": tensor.t(),
        "f": torch.tensor([[0x21]], dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    }
    with FakeTensorMode(), torch.device("meta"):
        source = StateDictSource(tensors)
        assert source.read("x", "[1]").tolist() == [3, 4, 5]
        assert len(all_bytes(source, "t")) == 24
        assert source.read("f").tolist() == [[0.5, 1]]


def test_inside_vmap_a_tensor_is_refused() -> None:
    seen: list[str | None] = []

    def look(row: torch.Tensor) -> torch.Tensor:
        seen.append(StateDictSource({"x": row}).find("x").unreadable)
        return row

    torch.vmap(look)(torch.ones(2, 3))
    assert "function transform" in str(seen[0])


def test_an_inference_tensor_is_read() -> None:
    with torch.inference_mode():
        tensor = torch.arange(3)
    source = StateDictSource({"x": tensor})
    assert source.read("x").tolist() == [0, 1, 2]
    assert source.changed() is None


def test_a_freed_storage_is_refused_and_not_touched() -> None:
    model = nn.Linear(4, 4)
    source = ModelSource(model)
    model.weight.untyped_storage().resize_(0)
    with pytest.raises(ReadError):
        list(source.blocks(source.find("weight")))
    info = ModelSource(model).find("weight")
    assert info.unreadable == "its storage has been freed: it holds 0 bytes of the 64 needed"


def test_a_dtensor_shows_its_local_piece(tmp_path: Any) -> None:
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("torch was built without distributed")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        values = torch.arange(6.0).reshape(3, 2)
        model = holder(
            weight=nn.Parameter(distribute_tensor(values, mesh, [Shard(0)])),
            copy=distribute_tensor(values, mesh, [Replicate()]),
        )
        source = ModelSource(model)
        info = source.find("weight")
        assert info.kind == "parameter"
        assert "this rank's piece of (3, 2)" in info.notes[0]
        assert "Shard(dim=0)" in info.notes[0]
        np.testing.assert_array_equal(source.read("weight"), values.numpy())
        assert source.changed() is None
        with torch.no_grad():
            model._parameters["weight"]._local_tensor.add_(1)
        assert "written to" in (source.changed() or "")
    finally:
        distributed.destroy_process_group()


def test_optimizer_states_stand_under_the_name_of_their_parameter() -> None:
    model = TiedModel(layers=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.25)
    model(torch.arange(3)).sum().backward()
    optimizer.step()
    source = ModelSource(model, optimizer=optimizer)
    state = optimizer.state[model.wte.weight]
    np.testing.assert_array_equal(source.read("optimizer.wte.weight.exp_avg"), state["exp_avg"].numpy())
    assert source.read("optimizer.h.0.attn.bias.step").item() == 1
    assert source.find("optimizer.wte.weight.exp_avg").kind == "tensor"
    assert not any(name.startswith("optimizer.lm_head") for name in names(source))
    assert source.listing.metadata["optimizer.param_groups.0.lr"] == "0.25"
    assert source.listing.metadata["optimizer.param_groups.0.betas"] == "[0.9, 0.999]"
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    with pytest.raises(SourceChangedError):
        source.read("optimizer.wte.weight.exp_avg")
    stranger = torch.optim.SGD([nn.Parameter(torch.ones(2))], momentum=0.9)
    stranger.param_groups[0]["params"][0].grad = torch.ones(2)
    stranger.step()
    listed = names(ModelSource(model, optimizer=stranger))
    assert "optimizer.param_groups.0.params.0.momentum_buffer" in listed


def test_a_wrapper_with_the_parts_of_an_optimizer_serves_as_one() -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    wrapper = SimpleNamespace(param_groups=optimizer.param_groups, state=optimizer.state)
    assert ModelSource(model, optimizer=wrapper).listing.metadata["optimizer.param_groups.0.lr"] == "0.5"


def test_a_saved_optimizer_is_a_nested_dict() -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    source = StateDictSource(optimizer.state_dict(), "optimizer")
    assert names(source)[:3] == ["state.0.step", "state.0.exp_avg", "state.0.exp_avg_sq"]
    assert source.listing.metadata["param_groups.0.params"] == "[0, 1]"


def test_odd_values_of_a_state_dict_become_metadata() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("never asked")

    around: dict[str, Any] = {"x": torch.ones(1), "a.b": torch.zeros(1), "a": {"b": torch.ones(1)}}
    around |= {"self": around, "rude": Rude(), "long": "z" * 1000, "many": list(range(1000)), "none": None, "e": {}}
    deep: dict[str, Any] = {}
    around["deep"] = deep
    for _ in range(2000):
        deep["d"] = deep = {}
    deep["t"] = torch.ones(1)
    source = StateDictSource(around)
    assert names(source) == ["x", "a.b", "a.b#2"]
    assert [source.read(name).item() for name in names(source)] == [1, 0, 1]
    metadata = source.listing.metadata
    assert metadata["self"] == "(contains itself)"
    assert metadata["rude"].endswith("Rude)")
    assert metadata["many"].endswith("… 1000 values]")
    assert len(metadata["long"]) == 200
    assert (metadata["none"], metadata["e"]) == ("None", "{}")
    assert "(nested too deeply to show)" in metadata.values()


def test_tensors_that_are_not_registered_are_a_finding() -> None:
    model = TiedModel(layers=1)
    model.cache = torch.ones(2)
    model.experts = [nn.Linear(2, 2)]
    model.alias = [model.wte, model.wte.weight]
    findings = ModelSource(model).listing.findings
    assert [(finding.severity, finding.rule) for finding in findings] == [("info", "unregistered-tensor")]
    assert findings[0].evidence.startswith("2 attributes hold")
    assert findings[0].evidence.endswith(": cache, experts.0")


@pytest.mark.filterwarnings("ignore")
def test_the_computed_weight_of_older_normalisations_is_no_finding() -> None:
    from torch.nn.utils import prune, spectral_norm, weight_norm

    pruned = nn.Linear(3, 3)
    prune.random_unstructured(pruned, "weight", 0.5)
    model = nn.Sequential(weight_norm(nn.Linear(3, 3)), spectral_norm(nn.Linear(3, 3)), pruned, nn.LSTM(2, 2))
    source = ModelSource(model)
    assert source.listing.findings == ()
    assert {"0.weight_g", "0.weight_v", "1.weight_orig", "2.weight_mask"} <= set(names(source))
    assert "0.weight" not in names(source)


def test_modules_that_contain_themselves_and_shared_ones() -> None:
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.Sequential(shared))
    model._modules["1"]._modules["up"] = model
    source = ModelSource(model)
    assert names(source) == ["0.weight", "0.bias", "1.0.weight", "1.0.bias"]
    assert source.find("1.0.weight").tied_to == "0.weight"


def test_a_very_deep_model_is_walked() -> None:
    model: nn.Module = nn.Linear(1, 1)
    for _ in range(1500):
        model = nn.Sequential(model)
    source = ModelSource(model)
    assert len(names(source)) == 2
    assert source.read(names(source)[0]).shape == (1, 1)


@pytest.mark.filterwarnings("ignore")
def test_a_scripted_model_is_walked() -> None:
    model = torch.jit.script(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    source = ModelSource(model)
    assert "0.weight" in names(source)
    np.testing.assert_array_equal(source.read("0.weight"), dict(model.named_parameters())["0.weight"].detach().numpy())
    assert source.changed() is None


@pytest.mark.filterwarnings("ignore")
def test_a_traced_model_and_a_class_of_script_modules_are_walked(tmp_path: Any) -> None:
    class Old(torch.jit.ScriptModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        @torch.jit.script_method  # type: ignore[untyped-decorator]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)

    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    traced = torch.jit.trace(model.eval(), torch.ones(2, 3))
    source = ModelSource(traced)
    assert names(source) == names(ModelSource(model))
    np.testing.assert_array_equal(source.read("0.weight"), model[0].weight.detach().numpy())
    assert source.changed() is None
    assert names(ModelSource(Old())) == ["fc.weight", "fc.bias"]
    traced.save(str(tmp_path / "t.pt"))
    assert names(ModelSource(torch.jit.load(str(tmp_path / "t.pt")))) == names(source)
    assert names(StateDictSource({"net": traced})) == [f"net.{name}" for name in names(source)]


def test_changes_are_told_and_stale_tensors_are_refused() -> None:
    model = TiedModel(layers=1)
    source = ModelSource(model)
    assert source.changed() is None
    with torch.no_grad():
        model.ln_f.bias.add_(1)
    assert source.changed() == "1 tensor was written to since this was opened, first ln_f.bias"
    assert source.read("ln_f.bias").tolist() == [1] * 8, "the values are those of now"
    model.ln_f.weight = nn.Parameter(torch.ones(8))
    assert source.changed() == "1 tensor was replaced or moved since this was opened, first ln_f.weight"
    with pytest.raises(SourceChangedError, match=r"ln_f\.weight was replaced"):
        source.read("ln_f.weight")
    model.h = nn.ModuleList()
    assert "8 are gone" not in str(source.changed())
    assert "are gone" in str(source.changed())
    with pytest.raises(SourceChangedError, match=r"h\.0\.mask is no longer there"):
        list(source.blocks(source.find("h.0.mask")))


def test_after_close_nothing_is_read_and_nothing_is_kept() -> None:
    import weakref

    model = nn.Linear(2, 2)
    source = ModelSource(model)
    source.close()
    source.close()
    with pytest.raises(ReadError, match="closed"):
        source.read("weight")
    reference = weakref.ref(model)
    del model
    assert reference() is None


def test_a_kept_array_does_not_follow_the_tensor() -> None:
    tensor = torch.zeros(3)
    source = StateDictSource({"x": tensor})
    kept = source.read("x")
    tensor.fill_(5)
    assert kept.tolist() == [0, 0, 0]
    kept[0] = 9
    assert tensor.tolist() == [5, 5, 5]


def test_a_contiguous_block_is_the_tensors_own_memory_and_read_only() -> None:
    tensor = torch.zeros(1000)
    source = StateDictSource({"x": tensor})
    (block,) = source.blocks(source.find("x"))
    assert block.ctypes.data == tensor.data_ptr()
    assert not block.flags.writeable


def test_what_is_no_model_is_refused_in_one_sentence() -> None:
    with pytest.raises(OpenError, match=r"a dict is not a torch\.nn\.Module"):
        ModelSource({})
    with pytest.raises(OpenError, match="a list is not a dict of tensors"):
        StateDictSource([])  # type: ignore[arg-type]


def test_a_mapping_that_cannot_be_walked_is_refused_in_one_sentence() -> None:
    class Broken(dict[str, Any]):
        def items(self) -> Any:
            raise KeyError("lost")

    with pytest.raises(OpenError, match="weights: it could not be walked: KeyError"):
        StateDictSource(Broken(x=torch.ones(1)), "weights")
    inner = Broken(x=torch.ones(1))
    optimizer = SimpleNamespace(param_groups=[{}], state={})
    with pytest.raises(OpenError, match="could not be walked: KeyError: 'params'"):
        ModelSource(nn.Linear(1, 1), optimizer=optimizer)
    held: dict[str, Any] = {"x": torch.ones(1)}
    source = StateDictSource(held)
    held["y"] = inner
    assert "can no longer be walked" in (source.changed() or "")


def test_importing_the_module_does_not_import_torch() -> None:
    code = "import sys, tui_params.live.source; print('torch' in sys.modules, 'numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


def test_summaries_agree_with_torch() -> None:
    from tui_params.core.reading.tensor_reading import summarize

    generator = torch.Generator().manual_seed(3)
    wide = torch.randn(60, 70, generator=generator)
    wide[3, 4], wide[5, 6], wide[7, 8] = float("nan"), float("inf"), 0
    tensors = {"wide": wide, "turned": wide.t(), "strided": wide[::2, 1::3], "half": wide.bfloat16()}
    source = StateDictSource(tensors)
    for name, tensor in tensors.items():
        figures = summarize(source, source.find(name)).figures(tensor.numel())
        exact = tensor.double()
        finite = exact[exact.isfinite()]
        assert (figures.count, figures.finite) == (tensor.numel(), finite.numel())
        assert (figures.nan, figures.pos_inf) == (int(tensor.isnan().sum()), int((tensor == float("inf")).sum()))
        assert (figures.min, figures.max) == (finite.min().item(), finite.max().item())
        assert figures.mean == pytest.approx(finite.mean().item(), rel=1e-12)
        assert figures.std == pytest.approx(finite.std(correction=0).item(), rel=1e-12)
