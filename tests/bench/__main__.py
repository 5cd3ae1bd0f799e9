"""``python -m tests.bench``: run the benchmarks and print what was measured next to what is promised.

Every module ``tests/bench/bench_*.py`` has ``run() -> Iterator[Line]``. The exit code is 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib import import_module
from pathlib import Path

from tests.bench.line import Line

_MARKS = {True: "ok", False: "TOO MUCH", None: ""}


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen benchmarks."""
    names = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the promises.")
    parser.add_argument("--only", choices=names, action="append", help="run this one (may be given again)")
    only = parser.parse_args(arguments).only
    # Where no bytecode may be written, each new process compiles the package first, as none of an installed one does.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(machine(), flush=True)
    lines: list[Line] = []
    for name in names:
        if only and name not in only:
            continue
        print(f"\n{name}", flush=True)
        for line in import_module(f"tests.bench.bench_{name}").run():
            print(row(line), flush=True)
            lines.append(line)
    broken = [line.what for line in lines if line.ok is False]
    print(f"\n{len(lines)} measured, {len(broken)} over the target" + "".join(f"\n  {what}" for what in broken))
    return 1 if broken else 0


def row(line: Line) -> str:
    """One line of the table. Columns have a fixed width, so that each line can be printed as soon as it is known."""
    return f"  {line.what:<56} {line.measured:<30} {line.target:<18} {_MARKS[line.ok]}".rstrip()


def machine() -> str:
    """The machine that the figures were measured on, without which they mean nothing."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}"
    )


def processor() -> str:
    """The model of the processor, from Linux or, elsewhere, from Python."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


if __name__ == "__main__":
    sys.exit(main())
