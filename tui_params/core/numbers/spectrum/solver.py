"""Computes singular values by numpy's LAPACK, in a process of its own: one call of it cannot be stopped.

It reads a line of JSON (``Problem``) and then the elements of the matrix from stdin, and writes lines of JSON
(``Said``) to stdout. It ends when stdin is closed, so it never outlives the process that started it. BLAS must have one
thread there: several wait for each other in loops, which on a busy machine takes ten times as long. So threads of
Python share the products, which are most of the work.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import ldexp
from threading import Thread
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.numbers.spectrum.extent import Extent, scaled
from tui_params.core.numbers.spectrum.krylov import leading
from tui_params.core.numbers.spectrum.problem import Problem, Said
from tui_params.errors import ReadError

NICENESS = 10
"""All values take their time; the picture is waited for."""

_BLOCK = 1 << 20
_PANEL = 256
_CHANGED = 1e-3
_TRUSTED = 0.02
"""A leading value is said if its residual is at most this share of it, and so are the first 16."""
_FIRST = 16


def main() -> None:
    """Read a problem, and say what comes of it."""
    into, out = sys.stdin.buffer, sys.stdout.buffer

    def say(said: Said) -> None:
        out.write(msgspec.json.encode(said) + b"\n")
        out.flush()

    Thread(target=watch, args=(into.fileno(),), daemon=True).start()
    problem = msgspec.json.decode(into.readline(), type=Problem)
    with ThreadPoolExecutor(problem.threads) as pool:
        try:
            Solver(problem, into, say, pool).run()
        except ReadError as error:
            say(Said(refused=str(error)))


class Solver:
    """One matrix, and what is computed of it, in steps that are said as they are done."""

    def __init__(
        self, problem: Problem, into: BinaryIO, say: Callable[[Said], object], pool: ThreadPoolExecutor
    ) -> None:
        self._problem = problem
        self._into = into
        self._say = say
        self._pool = pool
        self._dtype = np.dtype(problem.dtype)
        self._wide = np.result_type(self._dtype, np.float64)
        self._held: NDArray[Any] | None = None
        self._exponent = 0

    def run(self) -> None:
        """Read, picture, all values, slices of a kernel. Raises ReadError, EOFError, LinAlgError, MemoryError."""
        problem = self._problem
        frobenius = self._first_look()
        if frobenius == 0:
            self._say(Said(values=(0.0,) * problem.size, frobenius=0.0))
            return
        if problem.steps:
            self._say(Said(doing="multiplying"))
            self._picture(frobenius)
        if not problem.wants_all:
            return
        if hasattr(os, "nice"):
            os.nice(NICENESS)
        values = self._by_gram() if problem.is_gram else self._by_svd()
        self._say(Said(values=self._unscaled(values), frobenius=frobenius))
        if problem.kernel and self._held is not None:
            self._say(Said(doing="computing the slices"))
            slices = np.moveaxis(self._held.reshape(*problem.kernel[:2], -1), -1, 0)
            pooled = [np.linalg.svd(each.astype(self._wide), compute_uv=False) for each in slices]
            self._say(Said(pooled=self._unscaled(np.concatenate(pooled))))

    def _first_look(self) -> float:
        """Read the elements once. Returns their Frobenius norm."""
        problem, extent = self._problem, Extent()
        if problem.is_held:
            self._held = np.empty((problem.rows, problem.columns), self._dtype)
        first = 0
        for block in self._sent():
            extent.add(block)
            if self._held is not None:
                self._held[first : first + len(block)] = block
                first += len(block)
        extent.finish()
        self._exponent = extent.exponent
        if self._held is not None and self._exponent:
            step = max(1, _BLOCK // problem.columns)
            for first in range(0, problem.rows, step):
                self._held[first : first + step] = scaled(self._held[first : first + step], self._exponent)
        return extent.norm()

    def _picture(self, frobenius: float) -> None:
        found = leading(self._multiply, self._problem.size, self._dtype, steps=self._problem.steps)
        if found.asymmetry > _CHANGED:
            raise ReadError("the values changed while they were read: hold the model, or look again")
        kept = int((found.residuals <= _TRUSTED * found.values).cumprod().sum())
        # What may as well be zero is no value: the rank of the matrix may be smaller.
        kept = max(1, min(max(kept, _FIRST), int((found.residuals < found.values).cumprod().sum())))
        values, residuals = self._unscaled(found.values[:kept]), self._unscaled(found.residuals[:kept])
        self._say(Said(leading=values, residuals=residuals, frobenius=frobenius))

    def _multiply(self, some: NDArray[Any]) -> NDArray[Any]:
        def product(block: NDArray[Any]) -> NDArray[Any]:
            result: NDArray[Any] = adjoint(block) @ (block @ some)
            return result

        total = np.zeros_like(some)
        # In memory all threads work; what is read comes one after the other.
        for part in self._pool.map(product, self._blocks()) if self._held is not None else map(product, self._blocks()):
            total += part
        return total

    def _by_svd(self) -> NDArray[np.float64]:
        assert self._held is not None
        self._say(Said(doing="computing all values"))
        values: NDArray[np.float64] = np.linalg.svd(self._held.astype(self._wide), compute_uv=False)
        return values

    def _by_gram(self) -> NDArray[np.float64]:
        """The roots of the eigenvalues of A'A, summed up in float64; the memory is that of two squares."""
        problem = self._problem
        if self._held is not None and problem.rows >= problem.columns and not problem.kernel:
            # Read once more rather than kept beside the squares.
            self._held = None
        self._say(Said(doing="summing up A'A"))
        gram = np.zeros((problem.size, problem.size), self._wide)
        for block in self._blocks():
            self._add(gram, block.astype(self._wide))
        self._say(Said(doing="computing all values"))
        values: NDArray[np.float64] = np.sqrt(np.linalg.eigvalsh(gram, UPLO="L")[::-1].clip(0))
        return values

    def _add(self, gram: NDArray[Any], block: NDArray[Any]) -> None:
        """Add the lower half of B'B, in panels: a product at once would need another square of memory."""
        turned = adjoint(block)

        def add(first: int) -> None:
            last = min(first + _PANEL, gram.shape[0])
            gram[first:last, :last] += turned[first:last] @ block[:, :last]

        for _ in self._pool.map(add, reversed(range(0, gram.shape[0], _PANEL))):
            pass

    def _blocks(self) -> Iterator[NDArray[Any]]:
        """The matrix, scaled, in blocks of rows; a wide one transposed."""
        problem, held = self._problem, self._held
        if held is None:
            for block in self._sent():
                yield scaled(block, self._exponent)
            return
        tall = held.T if problem.rows < problem.columns else held
        step = max(1, _BLOCK // problem.size)
        for first in range(0, problem.length, step):
            yield tall[first : first + step]

    def _sent(self) -> Iterator[NDArray[Any]]:
        """The rows as they are sent, in one reused buffer."""
        self._say(Said(again=True))
        problem = self._problem
        step = max(1, _BLOCK // problem.columns)
        buffer = np.empty((min(step, problem.rows), problem.columns), self._dtype)
        for first in range(0, problem.rows, step):
            block = buffer[: min(step, problem.rows - first)]
            view = block.view(np.uint8).data.cast("B")
            done = 0
            while done < len(view):
                got = self._into.readinto(view[done:])  # type: ignore[attr-defined]
                if not got:
                    raise EOFError("the matrix ended early")
                done += got
            yield block

    def _unscaled(self, values: NDArray[np.float64]) -> tuple[float, ...]:
        try:
            return tuple(ldexp(value, self._exponent) for value in values.tolist())
        except OverflowError:
            raise ReadError("the largest singular value lies beyond float64") from None


def watch(descriptor: int) -> None:
    """End this process as soon as the other one has closed its end of a pipe, whatever else is being done."""
    poller = select.poll()
    poller.register(descriptor, 0)  # only the end is reported, never that there is something to read
    poller.poll()
    os._exit(1)


def adjoint(block: NDArray[Any]) -> NDArray[Any]:
    """The transposed matrix, conjugated if it is complex."""
    return block.conj().T if np.iscomplexobj(block) else block.T
