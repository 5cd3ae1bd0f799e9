"""The process that compiles ``loops``: it keeps the machine code and writes it to stdout, or says why not on stderr.

It is a process of its own because importing numba takes 70 MB and holds the GIL for 0.3 s, because a crash in it harms
nothing else, and because it may go on after the command that started it has ended, so that the next one is quick.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any

from tui_params.core.kernels.compiled import CompiledKernels
from tui_params.core.kernels.machine_code import FindStore, MachineCode, encode, file_name, origin_here
from tui_params.core.kernels.proof import prove

NICENESS = 10


def main(keeper: str) -> None:
    """Compile, prove the result, keep it in the store that the function named ``keeper`` finds, and write it to stdout.

    ``keeper`` is ``module:function``, or empty: then nothing is kept.
    """
    os.nice(NICENESS)
    code = build()
    prove(CompiledKernels(code))
    data = encode(code)
    if keeper:
        find_store: FindStore = resolve_name(keeper)
        store = find_store()
        if store is not None:
            store.write(file_name(), data)
    # The reader may have ended already.
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def build() -> MachineCode:
    """The machine code of all loops for this processor. Raises what numba and LLVM raise."""
    import llvmlite.binding as llvm
    from numba import config, njit, types
    from numba.core.registry import cpu_target

    from tui_params.core.kernels.loops import LOOPS

    if config.DISABLE_JIT:
        raise RuntimeError("numba is set not to compile (NUMBA_DISABLE_JIT)")
    whole = llvm.parse_assembly("")
    symbols = {}
    for name, (loop, arity) in LOOPS.items():
        compiled = njit(types.void(*[types.intp] * arity), nogil=True)(loop)
        (made,) = compiled.overloads.values()
        symbols[name] = made.fndesc.llvm_func_name
        (text,) = compiled.inspect_llvm().values()
        whole.link_in(_alone(llvm, text, symbols[name]))
    machine = cpu_target.target_context.codegen()._tm
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(whole, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=0)))
    outside = [value.name for value in (*whole.functions, *whole.global_variables) if _is_outside(value)]
    if outside:
        raise RuntimeError(f"a loop calls {', '.join(outside)}")
    return MachineCode(origin_here(), symbols, machine.emit_object(whole))


def _alone(llvm: Any, text: str, symbol: str) -> Any:
    """A compiled module that exports ``symbol`` alone, without the wrappers for calls from Python."""
    module = llvm.parse_assembly(text)
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != symbol:
            value.linkage = "internal"
    return module


def _is_outside(value: Any) -> bool:
    # llvm.memset and the like become instructions, or calls of the C library, which every process has.
    return bool(value.is_declaration) and not value.name.startswith("llvm.")
