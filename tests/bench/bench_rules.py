"""What all rules together cost: a check of 1.33 GB with them and without any, in turns in one process.

Run with ``python -m tests.bench --only rules``. The file is that of ``bench_check``, faults included: what is read
again for the places of NaN and infinities counts as a cost of the rules. Seconds are those of the processors, of all
threads together; a busy machine makes them longer all the same, so that the least of each is compared.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.bench.line import Line
from tests.factories_faults import FULL, write_faulty
from tui_params.api.opening import ENGINE, open_source
from tui_params.core.health import registry
from tui_params.core.health.checker import check

PAIRS = 15
MOST_PERCENT = 3.0
_TABLES = ("_CHECKS", "_CROSS_CHECKS", "_GATHERERS")


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    ENGINE.start_compiling().done.wait()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faulty.safetensors"
        nbytes = write_faulty(path, FULL)
        checked(path)  # now the file is in the page cache
        pairs = []
        for _ in range(PAIRS):
            with without_rules():
                bare = checked(path)
            pairs.append((checked(path), bare))
    whole, bare = (min(times) for times in zip(*pairs, strict=True))
    percent = 100 * (whole / bare - 1)
    middle = 100 * (median(one / other for one, other in pairs) - 1)
    count = sum(rule.scope != "container" for rule in registry.RULES)
    yield Line(
        f"all {count} rules on a check of {nbytes / 1e9:.2f} GB, the least times",
        f"{percent:+.1f} % ({whole:.2f} s and {bare:.2f} s)",
        f"at most {MOST_PERCENT:.0f} %",
        percent <= MOST_PERCENT,
    )
    yield Line("  the median of the pairs", f"{middle:+.1f} %", "", None)


def checked(path: Path) -> float:
    """Seconds of processor time that a check takes once the file is open."""
    with open_source(path) as source:
        start = time.process_time()
        check(source)
        return time.process_time() - start


@contextmanager
def without_rules() -> Iterator[None]:
    """Inside the ``with``, no rule is applied."""
    kept = {name: getattr(registry, name) for name in _TABLES}
    try:
        for name in _TABLES:
            setattr(registry, name, ())
        yield
    finally:
        for name, table in kept.items():
            setattr(registry, name, table)
