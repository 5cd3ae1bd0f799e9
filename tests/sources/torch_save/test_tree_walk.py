from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from tui_params.sources.inert_pickle.constructors import CONSTRUCTORS
from tui_params.sources.inert_pickle.values import (
    UNFIT,
    ArrayValue,
    Composite,
    Encoded,
    Obj,
    OddKey,
    Parameter,
    SetValue,
    Storage,
    Stub,
    TensorValue,
    Text,
    TypedTensor,
    render,
)
from tui_params.sources.torch_save import layout as tensor_layout
from tui_params.sources.torch_save import tree_walk
from tui_params.sources.torch_save.layout import Place, TensorLister
from tui_params.sources.torch_save.optimizer_names import name_optimizer_states, numbered_groups
from tui_params.sources.torch_save.tree_walk import TreeWalk

FLOAT = Stub("torch", "FloatStorage")


def tensor(*shape: int, key: str = "0", numel: int = 100) -> TensorValue:
    stride = []
    step = 1
    for length in reversed(shape):
        stride.append(step)
        step *= length
    return TensorValue(Storage(FLOAT, key, "cpu", numel), 0, shape, tuple(reversed(stride)), False)


def walk(root: Any) -> TreeWalk:
    lister = TensorLister("model.pt", lambda key: Place(64, 400))
    result = TreeWalk(lister)
    result.walk(root)
    name_optimizer_states(result)
    return result


def names(result: TreeWalk) -> list[str]:
    return [info.name for info in result.lister.tensors]


def test_nested_containers_become_dotted_names() -> None:
    root = {"a": {"b.c": tensor(2), 0: [tensor(3), (tensor(4), 1)]}, "d": SetValue([tensor(5)])}
    result = walk(root)
    assert names(result) == ["a.b.c", "a.0.0", "a.0.1.0", "d.0"]
    assert result.metadata == {"a.0.1.1": "1"}


def test_keys_that_are_tensors_become_numbers() -> None:
    result = walk({OddKey(tensor(2)): {"step": tensor()}, OddKey((1, 2)): tensor(3)})
    assert names(result) == ["0.step", "(1, 2)"]


def test_tensors_inside_a_key_are_listed() -> None:
    key = (tensor(2), [tensor(4)])
    result = walk({"w": tensor(1), OddKey(key): tensor(3), OddKey(SetValue([tensor(5)], is_frozen=True)): None})
    assert names(result) == ["w", "key 1.0", "key 1.1.0", "1", "key 2.0"]


def test_a_container_met_twice_is_walked_once_and_said_so() -> None:
    state = {"w": tensor(2)}
    loop: dict[str, Any] = {"model": state, "ema": state}
    loop["self"] = loop
    result = walk(loop)
    assert names(result) == ["model.w"]
    assert result.metadata == {"ema": "the same object as model", "self": "the same object as the whole file"}


def test_a_tensor_met_twice_is_listed_twice_and_tied() -> None:
    shared = tensor(2, 2)
    result = walk({"a": shared, "b": shared, "c": tensor(4), "empty": tensor(0), "empty2": tensor(0)})
    assert [info.tied_to for info in result.lister.tensors] == [None, "a", None, None, None]


def test_what_is_too_deep_is_left_out_and_said() -> None:
    root: Any = {"w": tensor(2)}
    for _ in range(200):
        root = [root]
    result = walk(root)
    assert names(result) == []
    assert [found.rule for found in result.findings()] == ["walk-limit"]


def test_the_number_of_tensors_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_walk, "MAX_TENSORS", 10)
    result = walk([tensor(2)] * 100)
    assert len(result.lister.tensors) == 10
    assert [found.rule for found in result.findings()] == ["walk-limit"]


def test_findings_of_tensors_are_bounded() -> None:
    result = walk([tensor(2, numel=1_000) for _ in range(200)])
    assert len(result.lister.findings) == tensor_layout.MAX_FINDINGS
    assert result.lister.dropped_findings == 200 - tensor_layout.MAX_FINDINGS


def test_objects_show_their_fields() -> None:
    thing = Obj(Stub("my.pkg", "Thing"), (1, [tensor(2)]))
    thing.state = ({"rate": 0.5, "t": tensor(3)}, {"slot": "x"})
    thing.items = [7, tensor(4)]
    thing.pairs = [("key", tensor(5)), "malformed"]
    result = walk({"x": thing})
    assert names(result) == ["x.t", "x.1", "x.1.0", "x.key"]
    assert result.metadata["x.rate"] == "0.5"
    assert result.metadata["x.slot"] == "x"


def test_wrapper_subclasses_list_their_inner_tensors() -> None:
    build = CONSTRUCTORS["torch._tensor", "_rebuild_from_type_v2"]
    wrapper = Stub(
        "torch._utils", "_rebuild_wrapper_subclass", CONSTRUCTORS["torch._utils", "_rebuild_wrapper_subclass"]
    )
    cls = Stub("torchao.dtypes", "AffineQuantizedTensor")
    args = (cls, Stub("torch", "bfloat16"), (4, 4), (4, 1), 0, Text("strided"), Text("cpu"), False)
    value = build((wrapper, cls, args, {"data": tensor(4, 4), "scale": tensor(4), "bits": 8}))
    result = walk({"w": value})
    assert names(result) == ["w.data", "w.scale"]
    whole = "a torchao.dtypes.AffineQuantizedTensor of shape [4, 4], torch.bfloat16"
    assert result.metadata == {"w": whole, "w.bits": "8"}
    assert result.lister.tensors[0].notes == (f"part of w, {whole}",)


def test_parameters_keep_the_attributes_that_were_saved_with_them() -> None:
    result = walk({"w": Parameter(tensor(2), True, {"quant_state": {"absmax": tensor(3)}, "bnb": 4})})
    assert names(result) == ["w", "w.quant_state.absmax"]
    assert result.lister.tensors[0].kind == "parameter"
    assert result.metadata == {"w.bnb": "4"}


def _random_value(rng: random.Random, depth: int = 0) -> Any:
    """Anything that a pickle can build, with a liking for what constructors and walks look at."""
    simple: list[Callable[[], Any]] = [
        lambda: rng.choice([None, True, 0, 1, -1, 3, 1 << 62, 1 << 70, 0.5, "", "a.b", "0", "cpu", "state", b"x"]),
        lambda: Stub(
            "torch", rng.choice(["FloatStorage", "UntypedStorage", "X", "float32", "float4_e2m1fn_x2", "Size"])
        ),
        lambda: Text(rng.choice(["sparse_coo", "sparse_csr", "float32"])),
        lambda: Encoded("abc"),
        lambda: tensor(*(rng.randrange(4) for _ in range(rng.randrange(4))), numel=rng.choice([0, 4, 100, 1 << 40])),
    ]
    if depth > 3 or rng.random() < 0.4:
        return rng.choice(simple)()

    def inner() -> Any:
        return _random_value(rng, depth + 1)

    def several() -> list[Any]:
        return [inner() for _ in range(rng.randrange(5))]

    def mapping() -> dict[Any, Any]:
        keys = [
            "_parameters",
            "_modules",
            "_buffers",
            "state",
            "param_groups",
            "params",
            "w",
            0,
            1,
            "_local_tensor",
            "_spec",
        ]
        return {rng.choice([*keys, OddKey(inner())]): inner() for _ in range(rng.randrange(5))}

    def thing() -> Obj:
        value = Obj(
            rng.choice([inner(), Stub("__torch__", "M"), Stub("p", "C")]), inner(), rng.choice([None, several()])
        )
        value.state = rng.choice([mapping(), (mapping(), mapping()), inner()])
        value.items = rng.choice([None, several()])
        return value

    def called() -> Any:
        args = tuple(several() + several())
        result = rng.choice(list(CONSTRUCTORS.values()))(args)
        return Obj(None, args) if result is UNFIT else result

    made: list[Callable[[], Any]] = [
        several,
        lambda: tuple(several()),
        mapping,
        thing,
        called,
        called,
        lambda: SetValue(several()),
        lambda: Parameter(inner(), inner(), inner()),
        lambda: TypedTensor(inner(), inner(), inner()),
        lambda: Composite("thing", inner(), mapping(), inner(), is_local=rng.random() < 0.5),
        lambda: TensorValue(*(inner() for _ in range(8))),
        lambda: TensorValue(
            Storage(inner(), inner(), inner(), inner(), inner()), 0, (1,), (1,), *(inner() for _ in "123")
        ),
        lambda: Storage(inner(), inner(), inner(), inner()),
        lambda: ArrayValue(inner(), inner(), inner()),
    ]
    return rng.choice(made)()


def test_any_graph_is_listed() -> None:
    rng = random.Random(7)
    listed = 0
    for _ in range(int(os.environ.get("TUI_PARAMS_FUZZ", "2500"))):
        root = _random_value(rng)
        assert len(render(root)) <= 200
        result = walk(root)
        found = names(result)
        assert len(set(found)) == len(found)
        assert all(info.unreadable or info.offset is not None for info in result.lister.tensors)
        assert all(type(text) is str and len(text) <= 200 for text in result.metadata.values())
        result.findings()
        listed += len(found)
    assert listed > 500


@pytest.mark.parametrize(
    "groups",
    [None, [], 3, [3], [{}], [{"params": 3}], [{"params": ["a"]}], [{"params": [0]}, {"params": [True]}]],
)
def test_groups_without_numbers_are_left_out(groups: Any) -> None:
    assert numbered_groups(walk({"opt": {"state": {}, "param_groups": groups}})) == {}


def test_the_numbers_of_the_parameters_are_kept_by_group() -> None:
    groups = [{"params": [0, 2], "lr": 0.1}, {"params": [1]}]
    found = numbered_groups(walk({"a": {"state": {}, "param_groups": groups}, "b": {"x": 1}}))
    assert found == {"a": ((0, 2), (1,))}
