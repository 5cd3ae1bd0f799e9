"""The modules of ``live.inside`` as one text, for a process that has no tui-params."""

from __future__ import annotations

from importlib.resources import files

PRIVATE_PACKAGE = "_tui_params_inside"
"""What the modules are called in the other process, which may have a tui-params of its own."""

MODULES = (
    "description",
    "anatomy",
    "bodies",
    "memory",
    "leaves",
    "adapters",
    "arrays",
    "packed",
    "marks",
    "probe",
    "optimizers",
    "absences",
    "fully_sharded",
    "model",
    "device_queue",
    "roll",
    "shared_page",
    "hold",
    "step_clock",
    "pass_clock",
    "tensor_slots",
    "device_lanes",
    "gradient_hooks",
    "round_layout",
    "tensor_copies",
    "step_rounds",
    "finite_check",
    "step_watch",
    "frames",
    "runtime_folder",
    "requests",
    "server",
    "roots",
    "guest",
    "arithmetic",
    "protection",
    "editor",
)
"""The modules of ``live.inside`` in the order in which they are loaded: each imports only earlier ones."""


def read_texts() -> dict[str, str]:
    """The source text of each of MODULES, by name and in order."""
    return {name: _read(name) for name in MODULES}


def make_bundle() -> str:
    """A Python script that makes MODULES importable, as ``_tui_params_inside.probe`` and so on, where it is run."""
    return f"{_read('loader')}\n\nload({PRIVATE_PACKAGE!r}, {read_texts()!r})\n"


def make_guest(folder: str, seconds: float) -> str:
    """A Python script that serves the models of the process in which it is run, at sockets in ``folder``.

    It waits for torch on a thread of its own, at most ``seconds``; why nothing is served it writes to ``PID.failed``.
    """
    let_in = f"{make_bundle()}\nfrom {PRIVATE_PACKAGE}.guest import serve_all\nserve_all({folder!r})\n"
    # Nothing of it becomes a variable of the process, whose main module runs it.
    space = "{'__name__': 'tui-params'}"
    doorstep = f"{_read('doorstep')}\nenter({folder!r}, {seconds!r}, lambda: exec({let_in!r}, {space}))\n"
    # A pending call that fails would raise an error in the middle of the training.
    return f"try:\n    exec({doorstep!r}, {space})\nexcept BaseException:\n    pass\n"


def _read(name: str) -> str:
    return (files("tui_params.live.inside") / f"{name}.py").read_text(encoding="utf-8")
