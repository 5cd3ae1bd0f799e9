"""Runs and pipelines as the real libraries write them: transformers, accelerate, diffusers, sentence-transformers, sb3.

Not among the usual tests: ``just formats`` installs these libraries and runs them.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tui_params
from tests.factories_planted import assert_healthy, assert_nan_is_named
from tui_params.core.source import Source

pytestmark = pytest.mark.formats

LLAMA_LIKE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
}
MODELS: Mapping[str, Mapping[str, Any]] = {
    "LlamaForCausalLM": LLAMA_LIKE | {"tie_word_embeddings": False},
    "MistralForCausalLM": LLAMA_LIKE,
    "Qwen2ForCausalLM": LLAMA_LIKE,
    "Qwen3ForCausalLM": LLAMA_LIKE | {"head_dim": 8},
    "GemmaForCausalLM": LLAMA_LIKE | {"head_dim": 8},
    "Gemma2ForCausalLM": LLAMA_LIKE | {"head_dim": 8},
    "GraniteForCausalLM": LLAMA_LIKE,
    "Phi3ForCausalLM": LLAMA_LIKE | {"pad_token_id": 0},
    "SmolLM3ForCausalLM": LLAMA_LIKE | {"pad_token_id": 0},
    "GPT2LMHeadModel": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 32},
    "BertForSequenceClassification": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 64,
    },
    "DistilBertForSequenceClassification": {
        "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 64,
    },
    "T5ForConditionalGeneration": {
        "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 64,
        "decoder_start_token_id": 0,
    },
}  # fmt: skip


def train(model: Any, folder: Path, **options: Any) -> Any:
    """A Trainer after two steps, saved into ``folder/checkpoint-2``."""
    import torch
    from transformers import Trainer, TrainingArguments

    labels = 1 if "Classification" in type(model).__name__ else None

    class Words(torch.utils.data.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> dict[str, Any]:
            words = torch.arange(8) + index
            return {"input_ids": words, "labels": words if labels is None else index % 2}

    arguments = TrainingArguments(
        str(folder), max_steps=2, save_steps=2, logging_steps=1, per_device_train_batch_size=2, report_to=[],
        use_cpu=True, disable_tqdm=True, **options,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=Words())
    trainer.train()
    return trainer


def owners(trainer: Any) -> dict[int, str]:
    """The true name of each numbered state, by the objects themselves."""
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {number: names[id(parameter)] for number, parameter in enumerate(parameters)}


def notes(source: Source) -> Iterator[tuple[int, list[str]]]:
    """The number of each state, and the names that its note gives."""
    for info in source.listing.tensors:
        if info.name.startswith("optimizer.state.") and info.name.endswith(".exp_avg"):
            note = next((note for note in info.notes if note.startswith("state of ")), "state of ")
            words = note.removeprefix("state of ").removeprefix("one of ").partition(" (")[0]
            yield int(info.name.split(".")[2]), words.replace(" and ", ", ").split(", ")


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_of_the_trainer(name: str, tmp_path: Path) -> None:
    import transformers

    model = getattr(transformers, name)
    trainer = train(model(model.config_class(**MODELS[name])), tmp_path)
    source = tui_params.open_source(tmp_path)
    assert source.label.endswith("/checkpoint-2/")
    state = dict(trainer.model.state_dict())
    own = [info.name for info in source if info.name.partition(".")[0] not in source.listing.states]
    assert set(own) <= set(state)
    for own_name in own:
        np.testing.assert_array_equal(source.read(own_name), state[own_name].numpy())
    assert source.listing.metadata["trainer_state.global_step"] == "2"
    assert "trainer_state.last_loss" in source.listing.metadata
    assert source.listing.metadata["training_args.max_steps"] == "2"
    assert {"optimizer", "scheduler", "training_args", "rng_state"} <= set(source.listing.states)
    true = owners(trainer)
    optimizer = trainer.optimizer.state_dict()["state"]
    np.testing.assert_array_equal(source.read("optimizer.state.0.exp_avg"), optimizer[0]["exp_avg"].numpy())
    # Every state of these families has its one true name.
    assert dict(notes(source)) == {number: [name] for number, name in true.items()}
    assert_healthy(tmp_path)
    assert_nan_is_named(tmp_path, max(own, key=lambda name: state[name].numel()))


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], "all-linear"])
def test_an_adapter_of_peft(targets: Any, tmp_path: Path) -> None:
    import peft
    from transformers import LlamaConfig, LlamaForCausalLM

    base = LlamaForCausalLM(LlamaConfig(**MODELS["LlamaForCausalLM"]))
    model = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=targets))
    trainer = train(model, tmp_path)
    source = tui_params.open_source(tmp_path)
    true = {number: name.replace(".default.", ".") for number, name in owners(trainer).items()}
    found = dict(notes(source))
    assert found.keys() == true.keys()
    certain = {number: names[0] for number, names in found.items() if len(names) == 1}
    assert certain == {number: true[number] for number in certain}
    if targets != "all-linear":
        # The shapes of B differ, and each A stands before its B.
        assert certain == true
    assert_healthy(tmp_path)
    assert_nan_is_named(tmp_path, next(info.name for info in source if info.name.endswith("v_proj.lora_A.weight")))


def test_other_models_get_no_wrong_name(tmp_path: Path) -> None:
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(
        hidden_size=32, ffn_dim=48, num_hidden_layers=3, num_attention_heads=4, vocab_size=64, word_embed_proj_dim=32,
        max_position_embeddings=40,
    )  # fmt: skip
    trainer = train(OPTForCausalLM(config), tmp_path)
    true = owners(trainer)
    for number, names in notes(tui_params.open_source(tmp_path)):
        if len(names) == 1 and names != [""]:
            assert names == [true[number]]


def test_a_state_of_accelerate(tmp_path: Path) -> None:
    import torch
    from accelerate import Accelerator

    class Registered:
        def state_dict(self) -> dict[str, Any]:
            return {"t": torch.arange(3.0)}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise AssertionError

    accelerator = Accelerator(cpu=True)
    models = [torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Linear(6, 2)), torch.nn.Linear(8, 3)]
    optimizers = [torch.optim.AdamW(model.parameters()) for model in models]
    scheduler = torch.optim.lr_scheduler.StepLR(optimizers[0], 1)
    prepared = accelerator.prepare(*models, *optimizers, scheduler)
    accelerator.backward(sum(model(torch.rand(4, 8)).sum() for model in prepared[:2]))
    for optimizer in prepared[2:4]:
        optimizer.step()
    accelerator.register_for_checkpointing(Registered())
    accelerator.save_state(str(tmp_path / "state"))
    source = tui_params.open_source(tmp_path / "state")
    assert set(source.listing.models) == {"model", "model_1"}
    assert set(source.listing.states) == {
        "optimizer", "optimizer_1", "scheduler", "custom_checkpoint_0", "random_states_0",
    }  # fmt: skip
    np.testing.assert_array_equal(source.read("custom_checkpoint_0.t"), [0, 1, 2])
    np.testing.assert_array_equal(source.read("model_1.weight"), models[1].weight.detach().numpy())
    assert "state of model_1.weight" in source.find("optimizer_1.state.0.exp_avg").notes[0]
    assert_healthy(tmp_path / "state")
    assert_nan_is_named(tmp_path / "state", "model_1.weight")


def test_a_pipeline_of_diffusers(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    unet = UNet2DConditionModel(
        block_out_channels=(4, 8), layers_per_block=1, sample_size=8, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8, norm_num_groups=2, attention_head_dim=2,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=[4, 8], down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4, norm_num_groups=2,
    )  # fmt: skip
    text = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=8, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=100,
            max_position_embeddings=16, bos_token_id=0, eos_token_id=2,
        )
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=None, unet=unet, scheduler=DDIMScheduler(), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(tmp_path)
    source = tui_params.open_source(tmp_path)
    assert set(source.listing.models) == {"unet", "vae", "text_encoder"}
    assert (source.listing.findings, source.listing.not_opened) == ((), ())
    for name, module in (("unet", unet), ("vae", vae), ("text_encoder", text)):
        for own, tensor in module.state_dict().items():
            np.testing.assert_array_equal(source.read(f"{name}.{own}"), tensor.numpy())
    assert_healthy(tmp_path)
    assert_nan_is_named(tmp_path, "unet.conv_in.weight")


def test_a_model_of_sentence_transformers(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = tmp_path / "vocab.txt"
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]))
    BertModel(BertConfig(**MODELS["BertForSequenceClassification"])).save_pretrained(tmp_path / "base")
    BertTokenizerFast(vocab_file=str(words)).save_pretrained(tmp_path / "base")
    dense = models.Dense(32, 8)
    model = SentenceTransformer(modules=[models.Transformer(str(tmp_path / "base")), models.Pooling(32), dense])
    model.save_pretrained(str(tmp_path / "saved"))
    source = tui_params.open_source(tmp_path / "saved")
    assert source.listing.format.startswith("sentence-transformers: model and 2_Dense")
    np.testing.assert_array_equal(source.read("2_Dense.linear.weight"), dense.linear.weight.detach().numpy())
    assert (source.listing.findings, source.listing.not_opened) == ((), ())


def test_an_agent_of_stable_baselines3(tmp_path: Path) -> None:
    import stable_baselines3

    agent = stable_baselines3.PPO("MlpPolicy", "CartPole-v1", device="cpu", n_steps=8, batch_size=8)
    agent.learn(16)
    agent.save(str(tmp_path / "agent.zip"))
    source = tui_params.open_source(tmp_path / "agent.zip")
    for name, tensor in agent.policy.state_dict().items():
        np.testing.assert_array_equal(source.read(f"policy.{name}"), tensor.numpy())
    names = [name for name, _ in agent.policy.named_parameters()]
    for number, state in agent.policy.optimizer.state_dict()["state"].items():
        np.testing.assert_array_equal(source.read(f"policy.optimizer.state.{number}.exp_avg"), state["exp_avg"].numpy())
        (note,) = source.find(f"policy.optimizer.state.{number}.exp_avg").notes
        assert note == f"state of {names[number]} (by order and shapes)"


def test_a_model_of_nemo_by_its_layout(tmp_path: Path) -> None:
    # NeMo itself (nemo/core/connectors/save_restore_connector.py) adds the folder as ".".
    import torch

    (tmp_path / "inside").mkdir()
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "inside" / "model_weights.ckpt")
    (tmp_path / "inside" / "model_config.yaml").write_text("target: nemo.x\n")
    for mode in ("w:", "w:gz"):
        with tarfile.open(tmp_path / "x.nemo", mode) as archive:
            archive.add(tmp_path / "inside", arcname=".")
        if mode == "w:":
            assert tui_params.open_source(tmp_path / "x.nemo").names() == ["weight", "bias"]
        else:
            with pytest.raises(tui_params.errors.OpenError, match="tar -xzf"):
                tui_params.open_source(tmp_path / "x.nemo")
