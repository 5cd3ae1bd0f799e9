"""Rules about models in memory. The live source applies them when it is opened; here they are explained."""

from __future__ import annotations

from tui_params.core.health.rule import Rule

LIVE_RULES: tuple[Rule, ...] = (
    Rule(
        "no-gradient",
        "No gradient",
        ("info",),
        "A trainable parameter without a gradient while others have one; copies such as averaged weights are left out.",
        "torch.Tensor.grad; DistributedDataParallel calls such parameters unused",
    ),
    Rule(
        "not-in-optimizer",
        "Not in the optimizer",
        ("warning",),
        "A trainable parameter that is in no group of the optimizer: no step changes it.",
        "torch.optim.Optimizer.param_groups",
    ),
    Rule(
        "unregistered-tensor",
        "Unregistered tensor",
        ("info",),
        "A module keeps a tensor or a module in a plain attribute, so no state dict has it.",
        "torch.nn.Module: register_parameter, register_buffer and add_module",
    ),
    Rule(
        "many-modules",
        "Too many modules",
        ("info",),
        "The model has more modules than are walked; the rest is not shown.",
        "a limit of our own, so that looking at a model takes a bounded time",
    ),
)
