"""The screens of the explorer by name: each is a snapshot test, and a picture in ``screenshots/``.

A scene opens something, presses keys, and waits until everything that was asked for has arrived; so it shows the same
on every machine. ``python -m tests.scenes screenshots/`` draws all of them, ``... NAME`` some.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import COLOR_SYSTEMS
from textual.pilot import Pilot

from tests.factories_adapters import peft_lora, write_peft
from tests.factories_dcp import by_rank, rows, save_distributed
from tests.factories_large import HeldSource
from tests.factories_layers import mixture
from tests.factories_memory import MemorySource
from tests.factories_pair import base, tuned
from tests.factories_remote import FolderTransport
from tests.factories_safetensors import entry, file_bytes
from tests.factories_screen import Stage
from tests.factories_timeline import planted_run
from tests.factories_training import TrainingSource
from tui_params.api.opening import open_source
from tui_params.cli.demo import HINT
from tui_params.core.findings import Finding
from tui_params.core.source import Source
from tui_params.core.watching import Wish
from tui_params.demo import make_demo
from tui_params.settings import FETCH_BELOW, Settings
from tui_params.sources.detect import open_path
from tui_params.sources.remote import mounting
from tui_params.tui.app import ParamsApp
from tui_params.tui.desk.messages import SweepProgress, Working
from tui_params.tui.desk.pending_source import PendingSource
from tui_params.tui.desk.recording import Recording
from tui_params.tui.screens.layer_screen import LayerScreen
from tui_params.tui.screens.problems import ProblemsScreen
from tui_params.tui.screens.tensor.lenses import lens_keys
from tui_params.tui.state.looks import Looks
from tui_params.tui.state.run import Run
from tui_params.tui.terminal.glyphs import ASCII, UNICODE, Glyphs

if TYPE_CHECKING:
    import torch

    from tui_params.live.editor import LiveEditor


class Scene(NamedTuple):
    """One picture: what is opened, at which size, and what is pressed."""

    name: str
    size: tuple[int, int]
    open_it: Callable[[], Source]
    keys: tuple[str, ...]
    theme: str = "quiet-dark"
    glyphs: Glyphs = UNICODE
    hint: str = ""
    is_editable: bool = False
    sweep: SweepProgress | None = None
    """How far a sweep is that begins after the keys, and does not end."""
    before: Callable[[], Source] | None = None
    """What an earlier look at the same model has seen."""
    keeps_values: bool = False
    other: Callable[[], Source] | None = None
    """What it is compared with."""
    run: Callable[[], Run] | None = None
    """The run whose timeline is shown, in place of a source."""
    fetch_below: int = FETCH_BELOW
    """Bytes of a tensor of a source elsewhere that are fetched by themselves."""
    colors: str = "truecolor"
    """The colours that the terminal is said to have, as rich names them: pictures are drawn for that many."""


def demo() -> Source:
    return open_source(make_demo())


def app_of(
    open_it: Callable[[], Source],
    theme: str = "quiet-dark",
    glyphs: Glyphs = UNICODE,
    hint: str = "",
    looks: Looks | None = None,
    editor: LiveEditor | None = None,
    other: Callable[[], Source] | None = None,
    fetch_below: int = FETCH_BELOW,
) -> ParamsApp:
    """The app on a source, with fixed settings: no file of the user is read."""
    settings, pending = Settings(theme=theme, fetch_below=fetch_below), PendingSource("demo", open_it, open_other=other)
    return ParamsApp(pending, settings=settings, glyphs=glyphs, hint=hint, looks=looks, editor=editor)


def app_of_scene(scene: Scene) -> ParamsApp:
    """The app on the source of a scene."""
    if scene.run is not None:
        return ParamsApp(None, settings=Settings(theme=scene.theme), glyphs=scene.glyphs, run=scene.run())
    looks = looked_at(scene.before(), scene.keeps_values) if scene.before is not None else None
    open_it, editor = editable(scene.open_it) if scene.is_editable else (scene.open_it, None)
    app = app_of(open_it, scene.theme, scene.glyphs, scene.hint, looks, editor, scene.other, scene.fetch_below)
    app.console._color_system = COLOR_SYSTEMS[scene.colors]
    return app


def looked_at(source: Source, keeps_values: bool = False) -> Looks:
    """What an earlier look at a source has left."""
    looks = Looks()
    looks.keeps_values = keeps_values
    with source:
        Recording(source, 0, looks.begin(), None, (), keeps_values=keeps_values, figures=lambda name: None).run()
    looks.end()
    assert looks.last is not None
    looks.last.at = "14:02:11"
    return looks


def editable(open_it: Callable[[], Source]) -> tuple[Callable[[], Source], LiveEditor]:
    """What opens a model for an editor, and the editor."""
    from tui_params.live.editor import LiveEditor
    from tui_params.live.source import ProbeSource

    editor = LiveEditor()

    def attached() -> Source:
        source = open_it()
        assert isinstance(source, ProbeSource)
        editor.attach(source)
        return source

    return attached, editor


async def settle(stage: Stage) -> None:
    """Wait until nothing is being opened, read, drawn or waited for."""
    await stage.rest()
    top = stage.app.screen
    if isinstance(top, (ProblemsScreen, LayerScreen)):
        top.fill()  # it does so by itself, after a while
        await stage.turn()


async def play(stage: Stage, *keys: str) -> None:
    """Press keys one by one, and settle."""
    await stage.until(lambda: len(stage.app.screen_stack) > 1, "the first screen")
    await settle(stage)
    for key in keys:
        await stage.press(key)
    await settle(stage)


async def play_scene(pilot: Pilot[None], scene: Scene) -> None:
    """Press the keys of a scene; and where it shows a sweep, begin one, which is held at its first tensor."""
    assert isinstance(pilot.app, ParamsApp)
    stage = Stage(pilot.app, pilot)
    await play(stage, *scene.keys)
    if scene.sweep is None:
        return
    assert stage.screen.opened is not None
    source = stage.screen.opened.source
    assert isinstance(source, HeldSource)
    source.hold()
    await stage.send("S")
    await stage.until(source.is_held.is_set, "the sweep")
    # What it says by itself is a matter of time; nothing more comes while it is held.
    stage.screen.post_message(Working(None, scene.sweep))
    await stage.turn()


def typed(words: str) -> tuple[str, ...]:
    """The key names of a text."""
    names = {
        " ": "space", "/": "slash", ":": "colon", ".": "full_stop", "*": "asterisk", ">": "greater_than_sign",
        "<": "less_than_sign", "[": "left_square_bracket", "]": "right_square_bracket", ",": "comma",
        "-": "minus", "_": "underscore", "!": "exclamation_mark", "=": "equals_sign",
    }  # fmt: skip
    return tuple(names.get(letter, letter) for letter in words)


def bell(random: np.random.Generator, shape: tuple[int, ...], std: float) -> torch.Tensor:
    """float32 values in the shape of a bell: sums of whole numbers times ``std``, so they are the same everywhere.

    What torch computes (a backward pass, a step of an optimizer) differs from one processor to another.
    """
    import torch

    # A sum of six whole numbers, each as likely as the others from -1000 to 1000, has a standard deviation of 1415.
    sums = random.integers(-1000, 1001, (6, *shape)).sum(0)
    return torch.from_numpy((sums * (std / 1415)).astype(np.float32))


def flat(random: np.random.Generator, shape: tuple[int, ...], bound: float) -> torch.Tensor:
    """float32 values, each as likely as the others, from ``-bound`` to ``bound``: how torch starts most weights."""
    import torch

    return torch.from_numpy((random.integers(-(2**20), 2**20, shape) * (bound / 2**20)).astype(np.float32))


def live_model() -> Any:
    """A small transformer with gradients, as after a backward pass."""
    import torch
    from torch import nn

    class TinyTransformer(nn.Module):  # type: ignore[misc]  # mypy does not read torch
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(2000, 128)
            layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True, dropout=0.0)
            self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
            self.norm = nn.BatchNorm1d(128)
            self.head = nn.Linear(128, 2000, bias=False)
            self.head.weight = self.embed.weight
            self.encoder.layers[0].requires_grad_(False)

    random = np.random.default_rng(0)
    model = TinyTransformer()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.min() < parameter.max():  # norms and some biases start as zeros or ones
                parameter.copy_(flat(random, parameter.shape, parameter.shape[-1] ** -0.5))
            if parameter.requires_grad:
                parameter.grad = bell(random, parameter.shape, 0.02)
        # Queries, keys, values: a bias of the keys changes no attention, so its gradient is rounding errors and zeros.
        grad = model.encoder.layers[2].self_attn.in_proj_bias.grad
        grad[128:256] = bell(random, (128,), 2e-9)
        grad[128:256:16] = 0
        grad[256:] = bell(random, (128,), 0.25)
    return model


def live() -> Source:
    return open_source(live_model())


def run_with_nan() -> Run:
    """Eight checkpoints of a run in which NaN sets in at step 2500."""
    return Run(tuple(planted_run(Path(tempfile.mkdtemp()))))


def attached() -> Source:
    """The small transformer as it is seen while it trains in another process. In one layer NaN has set in."""
    import torch

    model = live_model()
    with torch.no_grad():
        for parameter in model.encoder.layers[3].linear1.parameters():
            for values in (parameter, parameter.grad):
                assert values is not None
                values.view(-1)[:8] = torch.nan
    return TrainingSource(model)


def watched() -> Source:
    """The same, watched for NaN and infinities."""
    source = attached()
    assert isinstance(source, TrainingSource)
    source.watching().start(None, Wish("nan inf"))
    seen = []
    for part in ("weight", "bias"):
        name = f"encoder.layers.3.linear1.{part}"
        for where, read in (("gradient", f"{name}.grad"), ("values", name)):
            figures = source.summarize(read).figures(source.find(read).numel)
            words = f"{figures.nan} of {figures.numel:,} values NaN, norm of the others {figures.l2_norm:.4g}"
            seen.append(Finding("error", "watch", name, f"step 48,011, in its {where}: nan: {words}"))
    source.watching().seen = tuple(seen)
    return source


def moved() -> Source:
    """The small transformer after a step: one weight has become NaN, one bias was replaced, one layer is frozen."""
    import torch

    random = np.random.default_rng(1)
    model = live_model()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter += bell(random, parameter.shape, 1e-3 * float(parameter.abs().max()))
                parameter.grad = bell(random, parameter.shape, 0.02)
        model.encoder.layers[3].linear1.weight[2, 5] = torch.nan
        model.encoder.layers[3].linear2.bias = torch.nn.Parameter(torch.zeros(64))
        model.norm.running_mean += 0.125
        model.norm.num_batches_tracked += 1
    return open_source(model)


def training(folder: Path | None = None) -> Source:
    """A Lightning-shaped checkpoint: weights, optimizer states and hyper-parameters."""
    import torch
    from torch import nn

    random = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.LayerNorm(512), nn.Linear(512, 64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(3):
        optimizer.step()
    with torch.no_grad():
        for number, module in enumerate(model):
            for name, parameter in module.named_parameters():
                if isinstance(module, nn.LayerNorm):
                    parameter.copy_(bell(random, parameter.shape, 4e-4) + (name == "weight"))
                else:
                    parameter.copy_(flat(random, parameter.shape, 0.0625 if number == 0 else 0.044))
                state = optimizer.state[parameter]
                state["exp_avg"].copy_(bell(random, parameter.shape, 2e-4))
                state["exp_avg_sq"].copy_(bell(random, parameter.shape, 4e-5).square())
    content = {
        "epoch": 3,
        "global_step": 4711,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()},
        "optimizer_states": [optimizer.state_dict()],
        "hyper_parameters": {"lr": 3e-4, "betas": (0.9, 0.95), "name": "tiny-mlp"},
    }
    path = (folder or Path(tempfile.mkdtemp())) / "epoch=3-step=4711.ckpt"
    torch.save(content, path)
    return open_source(path)


def missing() -> Source:
    """A folder of four shards; the second is missing."""
    random = np.random.default_rng(0)
    folder = Path(tempfile.mkdtemp()) / "half-downloaded"
    folder.mkdir()
    shapes = {"mlp.down_proj": (64, 128), "mlp.up_proj": (128, 64), "norm": (64,)}
    weight_map: dict[str, str] = {}
    for number in range(1, 5):
        shard = f"model-{number:05}-of-00004.safetensors"
        header: dict[str, Any] = {}
        data = b""
        for layer in (2 * number - 2, 2 * number - 1):
            for part, shape in shapes.items():
                header[f"model.layers.{layer}.{part}.weight"] = entry("F32", shape, len(data))
                data += (random.normal(size=shape) / 8).astype(np.float32).tobytes()
        weight_map |= dict.fromkeys(header, shard)
        if number != 2:
            (folder / shard).write_bytes(file_bytes(header, data))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return open_source(folder)


def adapter() -> Source:
    """An adapter of peft in which a pattern gives one layer another rank."""
    ranks = {layer: 16 if layer == 3 else 8 for layer in range(4)}
    folder = Path(tempfile.mkdtemp()) / "adapter"
    write_peft(folder, peft_lora(ranks), r=8, lora_alpha=16, rank_pattern={"layers.3.self_attn.q_proj": 16})
    return open_source(folder)


def trainer_run() -> Source:
    """The output folder of a Trainer with two checkpoints, and their optimizers."""
    import torch

    from tests.factories_runs import Llama, write_trainer

    random = np.random.default_rng(0)
    model = Llama()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(flat(random, tuple(parameter.shape), 0.25))
    folder = Path(tempfile.mkdtemp()) / "out"
    for step in (500, 1000):
        write_trainer(folder / f"checkpoint-{step}", model, global_step=step)
        saved = torch.load(folder / f"checkpoint-{step}" / "optimizer.pt")
        for state in saved["state"].values():
            state["exp_avg"].copy_(bell(random, tuple(state["exp_avg"].shape), 2e-4))
            state["exp_avg_sq"].copy_(bell(random, tuple(state["exp_avg"].shape), 4e-5).square())
        torch.save(saved, folder / f"checkpoint-{step}" / "optimizer.pt")
    return open_source(folder)


def sharded() -> Source:
    """A distributed checkpoint as four ranks of FSDP write it: weights and the states of their optimizer in pieces."""
    random = np.random.default_rng(0)
    shapes = {"embed.weight": (512, 128), "layers.0.attn.weight": (128, 128), "layers.0.mlp.weight": (512, 128)}
    model = {name: bell(random, shape, 0.02) for name, shape in shapes.items()}
    state = {
        name: {"exp_avg": bell(random, shape, 2e-4), "exp_avg_sq": bell(random, shape, 2e-4).square()}
        for name, shape in shapes.items()
    }
    value = {
        "model": {name: rows(tensor, 4) for name, tensor in model.items()},
        "optim": {
            "state": {name: {key: rows(each, 4) for key, each in some.items()} for name, some in state.items()},
            "param_groups": [{"lr": 3e-4, "betas": (0.9, 0.95)}],
        },
        "step": 4711,
    }
    folder = Path(tempfile.mkdtemp()) / "step-4711"
    return open_source(by_rank(save_distributed(folder, value, thread_count=4)))


def elsewhere() -> Source:
    """Two shards of a model on the hub, as they would lie there."""
    from safetensors.numpy import save_file

    folder, random = Path(tempfile.mkdtemp()), np.random.default_rng(5)
    shards = {
        "model-00001-of-00002.safetensors": {"model.embed_tokens.weight": random.standard_normal((3000, 256))},
        "model-00002-of-00002.safetensors": {
            f"model.layers.{layer}.{name}.weight": random.standard_normal(shape) * std
            for layer in range(3)
            for name, shape, std in (
                ("input_layernorm", (256,), 0.1),
                ("mlp.down_proj", (256, 640), 0.04),
                ("self_attn.o_proj", (64, 256), 0.02),
            )
        },
    }
    for shard, arrays in shards.items():
        save_file({name: array.astype(np.float32) for name, array in arrays.items()}, folder / shard)
    weight_map = {name: shard for shard, arrays in shards.items() for name in arrays}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    transport = FolderTransport(folder)
    transport.address = "hf://acme/large-model"
    return open_path(mounting.mount(object(), lambda: transport))


def spectra() -> Source:
    """A trained matrix, the kernel of a convolution, and the update of an adapter, which has a low rank."""
    random = np.random.default_rng(0)

    def whole(*shape: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        return random.integers(-1000, 1001, shape) / 577

    falling = np.arange(1, 513) ** -0.8
    trained = (whole(768, 512) * falling) @ whole(512, 512) / 200 + whole(768, 512) * 0.02
    update = (whole(512, 16) * np.arange(1, 17) ** -1.0) @ whole(16, 384) / 100
    arrays = {
        "conv1.weight": whole(64, 32, 3, 3) * 0.05,
        "layers.0.mlp.down_proj.weight": trained,
        "update.weight": update,
    }
    return MemorySource({name: array.astype(np.float32) for name, array in arrays.items()}, label="spectra")


def with_tokens() -> Source:
    """An embedding whose tokens have texts, because a tokenizer lies beside it."""
    random = np.random.default_rng(0)
    words = ["the", " of", " and", " to", " in", "er", " was", " for", " is", "\n\n", " on", " der", "\u00e4", " Gold"]
    letters = [chr(byte) for byte in range(0x21, 0x7F)]
    # As GPT-2 has them: a character for each byte, a blank among them.
    tokens = [*letters, *(word.replace(" ", "\u0120").replace("\n", "\u010a") for word in words)]
    rows = len(tokens) + 10
    table = bell(random, (rows, 64), 0.02).numpy()
    table[len(tokens) :] = 0
    table[len(letters) + 13] *= 1e-3
    table[len(letters)] *= 30
    folder = Path(tempfile.mkdtemp()) / "small"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(
        file_bytes({"wte.weight": entry("F32", table.shape, 0)}, table.tobytes())
    )
    model = {"type": "BPE", "vocab": {token: number for number, token in enumerate(tokens)}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model, "decoder": {"type": "ByteLevel"}}))
    return open_source(folder / "model.safetensors")


LARGE, SMALL = (120, 36), (80, 24)

SPECTRUM = ("i", "shift+tab")
"""Into a tensor, and to the last of its lenses."""

EDITED = ("end", *("up",) * 2, "equals_sign", "tab", *typed("0.1"))
"""An edit of the output layer, which is tied to the embedding."""
MORE_EDITS = ("ctrl+s", "v", *typed("0, :3"), "enter", "equals_sign", "down", *typed("nan"), "enter", "ctrl+e")
"""It is applied, another one is staged, and both are listed."""

INSIDE = ("S", "n", "enter", "n")
"""Into the first tensor with a finding, to its first NaN."""

HEAT_NAN = ("slash", *typed("layers.11.self_attn.k_proj"), "enter", "i", "2")
"""The heat map of a matrix with three NaN."""

HEAT_OUTLIER = ("slash", *typed("layers.2.mlp.down_proj.weight"), "enter", "i", "2")
"""The heat map of a matrix with a channel of outliers."""

HEAT_DEAD = ("slash", *typed("embed_tokens"), "enter", "i", "2", "s", "end", "ctrl+end", *("up",) * 3)
"""The heat map of an embedding whose last rows are zero."""

SLICED = ("enter", "v", *typed("31:90, ::"), "0")
"""A slice that cannot be, while it is typed."""

FAR = SweepProgress(12_250_000_000, 28_576_962_688, 10.4)
"""Ten seconds into a checkpoint of 29 GB."""

OUTLIER = ("slash", *typed("layers.2.mlp.down"), "enter", "end", "i")
"""Inside the tensor of the demo that has an outlier column."""


def lens(slot: str) -> str:
    """The key of a lens."""
    return next(key.keys for key in lens_keys() if key.id == f"tensor.lens_{slot}")


HISTOGRAM, CHANNELS = lens("histogram"), lens("channels")

SCENES: tuple[Scene, ...] = (
    Scene("explorer", LARGE, demo, ("S", "n", "n")),
    Scene("explorer-80x24", SMALL, demo, ("S", "n", "n")),
    Scene("demo-80x24", SMALL, demo, (), hint=HINT),
    Scene("module", LARGE, demo, ("S", *("down",) * 4)),
    Scene("adapter-80x24", SMALL, adapter, ()),
    Scene("search", LARGE, demo, ("S", "slash", *typed("down_proj dtype:f8* absmax>100"))),
    Scene("values", LARGE, demo, (*("down",) * 3, "v", *typed("31290:, ::-1"), "enter", "z")),
    Scene("problems", LARGE, demo, ("S", "exclamation_mark")),
    Scene("problems-80x24", SMALL, demo, ("S", "exclamation_mark")),
    Scene("problems-60x20", (60, 20), missing, ("C", "S", "exclamation_mark", "down", "right")),
    Scene("place-80x24", SMALL, demo, ("S", "n", "exclamation_mark", "enter")),
    Scene("missing-80x24", SMALL, missing, ("exclamation_mark", "down", "enter")),
    Scene("sort", LARGE, demo, ("S", "o", "tab", "a")),
    Scene("sort-80x24", SMALL, demo, ("S", "o", "z")),
    Scene("gradient", LARGE, live, ("slash", *typed("layers.2"), "enter", "down", "g")),
    Scene("beside", LARGE, live, ("slash", *typed("layers.2"), "enter", *("down",) * 6)),
    Scene("beside-80x24", SMALL, live, ("slash", *typed("layers.2"), "enter", *("down",) * 6)),
    Scene("model-80x24", SMALL, live, ("E", "down", "down")),
    Scene(
        "moved", LARGE, moved, ("slash", *typed("layers.2"), "enter", *("down",) * 6), before=live, keeps_values=True
    ),
    Scene("moved-80x24", SMALL, moved, ("E", "down"), before=live),
    Scene("moved-60x20", (60, 20), moved, ("o", "tab", "c"), theme="ansi-dark", before=live, keeps_values=True),
    Scene("axis-80x24", SMALL, moved, ("E", *("down",) * 10, "x")),
    Scene("columns", LARGE, demo, ("vertical_line", *("down",) * 6, "space", "down", "space")),
    Scene("export", LARGE, demo, (*("down",) * 3, "v", *typed("31290:, ::-1"), "enter", "w")),
    Scene("export-80x24", SMALL, demo, ("S", "slash", *typed("nan>0"), "enter", "w", "tab")),
    Scene("edit", LARGE, live, EDITED, is_editable=True),
    Scene("edit-sixteen-colours-80x24", SMALL, live, EDITED, theme="ansi-dark", is_editable=True),
    Scene("edit-60x20", (60, 20), live, (*EDITED[:-4], *typed("1e39")), is_editable=True),
    Scene("edits", LARGE, live, (*EDITED, "enter", *MORE_EDITS), is_editable=True),
    Scene("edits-60x20", (60, 20), live, (*EDITED, "enter", *MORE_EDITS), is_editable=True),
    Scene("edited-80x24", SMALL, live, (*EDITED, "enter", "ctrl+s", "v", "enter", "down", "right"), is_editable=True),
    Scene("attached", LARGE, attached, ("slash", *typed("layers.3"), "enter", *("down",) * 9)),
    Scene("attached-80x24", SMALL, attached, ("slash", *typed("layers.3"), "enter", *("down",) * 9)),
    Scene("attached-gradient", LARGE, attached, ("slash", *typed("layers.3"), "enter", *("down",) * 6, "g")),
    Scene("attached-gradient-80x24", SMALL, attached, ("slash", *typed("layers.3"), "enter", *("down",) * 9, "g")),
    Scene("watch", LARGE, watched, ("slash", *typed("layers.3"), "enter", *("down",) * 7, "W")),
    Scene("watch-60x20", (60, 20), watched, ("W",)),
    Scene("training", LARGE, training, ("E", *("down",) * 14)),
    Scene("run", LARGE, trainer_run, (*("down",) * 10, "right", "down", "down")),
    Scene("run-80x24", SMALL, trainer_run, (*("down",) * 2, "right")),
    Scene("elsewhere-80x24", SMALL, elsewhere, ("E", "down"), fetch_below=300_000),
    Scene("elsewhere", LARGE, elsewhere, ("E", "S"), fetch_below=300_000),
    Scene("pieces", LARGE, sharded, ("slash", *typed("exp_avg_sq"), "enter", *("down",) * 6)),
    Scene("compare-80x24", SMALL, base, ("E", *("down",) * 5), other=tuned),
    Scene("compare", LARGE, base, ("E", *("down",) * 5, "D"), other=tuned),
    Scene("compare-report", LARGE, base, ("c",), other=tuned),
    Scene("kinds", LARGE, mixture, ("S", "K", *("down",) * 10)),
    Scene("kinds-80x24", SMALL, mixture, ("S", "K", *("down",) * 4)),
    Scene("matrix", LARGE, mixture, ("S", "M", *("n",) * 2)),
    Scene("matrix-80x24", SMALL, mixture, ("S", "M", *("full_stop",) * 2, "n")),
    Scene("help", LARGE, demo, ("question_mark",)),
    Scene("help-80x24", SMALL, demo, ("question_mark",)),
    Scene("light", LARGE, demo, ("S", "n", "a"), theme="quiet-light"),
    Scene("sixteen-colours-80x24", SMALL, demo, ("S", "n"), theme="ansi-dark"),
    Scene("ascii-80x24", SMALL, demo, ("S", "n"), glyphs=ASCII),
    Scene("sweep", LARGE, HeldSource, ("slash", *typed("norm"), "enter", *("down",) * 10), sweep=FAR),
    Scene("sweep-80x24", SMALL, HeldSource, ("slash", *typed("norm"), "enter", *("down",) * 10), sweep=FAR),
    Scene("narrow-60x20", (60, 20), demo, ("S", "n")),
    Scene("spectrum", LARGE, spectra, ("E", "down", *SPECTRUM, "down", "down")),
    Scene("spectrum-80x24", SMALL, spectra, ("E", *SPECTRUM)),
    Scene("spectrum-sixteen-colours-60x20", (60, 20), spectra, ("E", "end", *SPECTRUM), theme="ansi-dark"),
    Scene("spectrum-ascii-80x24", SMALL, spectra, ("E", "end", *SPECTRUM), glyphs=ASCII),
    Scene("inside-values", LARGE, demo, (*INSIDE, "e")),
    Scene("inside-values-80x24", SMALL, demo, INSIDE),
    Scene("inside-values-60x20", (60, 20), demo, (*INSIDE, "f", "f", "f")),
    Scene("inside-values-200x60", (200, 60), demo, (*INSIDE, "e", "a")),
    Scene("inside-values-slice-80x24", SMALL, live, ("slash", *typed("layers.2"), "enter", *("down",) * 3, *SLICED)),
    Scene("inside-values-sixteen-colours-80x24", SMALL, demo, (*INSIDE, "c"), theme="ansi-dark"),
    Scene("inside-values-ascii-60x20", (60, 20), demo, INSIDE, glyphs=ASCII),
    Scene("inside-values-light", LARGE, demo, (*INSIDE, "slash", *typed("abs>2")), theme="quiet-light"),
    Scene("inside-histogram", LARGE, demo, (*OUTLIER, HISTOGRAM, "s", "a", "a", "o", "o")),
    Scene("inside-histogram-80x24", SMALL, demo, (*OUTLIER, HISTOGRAM, "z", "o")),
    Scene("inside-histogram-60x20", (60, 20), demo, (*OUTLIER, HISTOGRAM, "a", "s")),
    Scene("inside-histogram-200x60", (200, 60), demo, (*OUTLIER, HISTOGRAM, "a", "a", "s", "o", "c")),
    Scene("inside-histogram-sixteen-colours-80x24", SMALL, demo, (*OUTLIER, HISTOGRAM, "s", "o"), theme="ansi-dark"),
    Scene("inside-histogram-ascii-60x20", (60, 20), demo, (*OUTLIER, HISTOGRAM, "s", "o", "o"), glyphs=ASCII),
    Scene("inside-histogram-light", LARGE, demo, (*OUTLIER, HISTOGRAM, "a", *("s",) * 3, "o"), theme="quiet-light"),
    Scene("inside-casts-80x24", SMALL, demo, (*OUTLIER, HISTOGRAM, "s", "c")),
    Scene("inside-casts-60x20", (60, 20), demo, (*OUTLIER, HISTOGRAM, "s", "c")),
    Scene("inside-casts-help", LARGE, demo, (*OUTLIER, HISTOGRAM, "question_mark", "pagedown")),
    Scene("inside-channels", LARGE, demo, (*OUTLIER, CHANNELS, "r", "s")),
    Scene("inside-channels-80x24", SMALL, demo, (*OUTLIER, CHANNELS, "r", "down")),
    Scene("inside-channels-60x20", (60, 20), demo, (*OUTLIER, CHANNELS, "m", "o")),
    Scene("inside-channels-200x60", (200, 60), demo, (*OUTLIER, CHANNELS, "r", *("o",) * 3, "N")),
    Scene("inside-channels-sixteen-colours-80x24", SMALL, demo, (*OUTLIER, CHANNELS, "r"), theme="ansi-dark"),
    Scene("inside-channels-ascii-60x20", (60, 20), demo, (*OUTLIER, CHANNELS, "r", "s"), glyphs=ASCII),
    Scene("inside-tokens-80x24", SMALL, with_tokens, ("end", "i", CHANNELS, "n")),
    Scene("inside-help-80x24", SMALL, demo, (*INSIDE, "question_mark")),
    Scene("inside-heat", LARGE, demo, HEAT_OUTLIER),
    Scene("inside-heat-nan-80x24", SMALL, demo, HEAT_NAN),
    Scene("inside-heat-rms-60x20", (60, 20), demo, HEAT_DEAD),
    Scene("inside-heat-symlog-200x60", (200, 60), demo, (*HEAT_OUTLIER, "s", "a", "pagedown", "ctrl+right")),
    Scene("inside-heat-values-80x24", SMALL, demo, (*HEAT_NAN, "g", *typed("17, 12"), "enter", *("plus",) * 6)),
    Scene("inside-heat-256-colours-80x24", SMALL, demo, HEAT_NAN, colors="256"),
    Scene("inside-heat-sixteen-colours-80x24", SMALL, demo, HEAT_NAN, theme="ansi-dark", colors="standard"),
    Scene("inside-heat-ascii-80x24", SMALL, demo, (*HEAT_OUTLIER, "s"), glyphs=ASCII),
    Scene("inside-heat-light", LARGE, demo, (*HEAT_NAN, "down", "right"), theme="quiet-light"),
    Scene("timeline-80x24", SMALL, demo, ("down",), run=run_with_nan),
    Scene("timeline-120x36", LARGE, demo, ("down",) * 4, run=run_with_nan),
    Scene("timeline-kinds-80x24", SMALL, demo, ("K",), run=run_with_nan),
)


async def draw(scene: Scene) -> str:
    """The scene as an SVG."""
    app = app_of_scene(scene)
    async with app.run_test(size=scene.size) as pilot:
        await play_scene(pilot, scene)
        return app.export_screenshot(title="tui-params", simplify=True)


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0] if arguments else "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    for scene in SCENES:
        if len(arguments) < 2 or scene.name in arguments[1:]:
            (folder / f"{scene.name}.svg").write_text(asyncio.run(draw(scene)), encoding="utf-8")
            print(folder / f"{scene.name}.svg")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("COLORTERM", "truecolor")
    tempfile.gettempdir()
    sys.exit(main(sys.argv[1:]))
