"""From the command to the painted tree, as a person sees it: a real process in a real (pseudo-)terminal of 120x36.

What is promised are ratios: each start is measured in turn with that of a Textual app that shows one word, and the
median of the pairs counts, so that a busy machine slows down both. The aims are 1.4, 2, 2.5 and 4 times such an app
for 300 tensors, 91,991 in one header and in 163 shards, and 280,000, with an empty cache; and 1.6 times for the second
opening of the shards. Large checkpoints are listed by a process of their own, which needs the second core: where
others have both, a first opening takes longer than one by one process. The memory is that of the explorer; the other
process has ended, or ends soon, and has had up to 180 MiB for 280,000 tensors.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.bench import bench_open
from tests.bench.line import Line
from tests.factories_names import deepseek_v3_names
from tests.factories_safetensors import write_index

COLUMNS, LINES = 120, 36
RUNS = 5
DEADLINE = 60.0
DOWN, QUIT = b"\x1b[B", b"q"
TREE = (b"lm_head", b"embed_tokens", b"layers")
SHARDS = 163
SETTLED = 2.5
"""Seconds until a file that was written counts as at rest: before, no list of it is kept."""

HIDDEN = 64

# The least that a program with Textual can do: we cannot save any of its time.
BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    BINDINGS = [("q", "quit", "Quit")]
    def compose(self):
        yield Static("bare-ready")
Bare().run()
"""


class Terminal:
    """A process behind a pseudo-terminal, and every byte that it has sent."""

    def __init__(self, arguments: list[str], folder: Path, size: tuple[int, int] = (COLUMNS, LINES)) -> None:
        self.output = bytearray()
        self.began = time.perf_counter()
        # A home of its own, so that no settings of the user's are measured.
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "HOME": str(folder)}
        environment |= {"XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder), "XDG_STATE_HOME": str(folder)}
        # Users run byte code: a checkout without it would spend 40 ms on compiling our modules at each start.
        for name in ("NO_COLOR", "COLUMNS", "LINES", "PYTHONDONTWRITEBYTECODE"):
            environment.pop(name, None)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # The size stands before the program looks.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
            os.execvpe(arguments[0], arguments, environment)

    def read(self, seconds: float) -> int:
        """Take what arrives within ``seconds``, at most one portion; how many bytes it was."""
        ready, _, _ = select.select([self.fd], [], [], max(seconds, 0))
        if not ready:
            return 0
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the other side is closed
            return -1
        self._answer(data)
        self.output += data
        return len(data)

    def _answer(self, data: bytes) -> None:
        """Answer what a program asks its terminal, as xterm does."""
        if b"\x1b[6n" in data:
            os.write(self.fd, b"\x1b[1;1R")
        if b"\x1b[?2026$p" in data:
            os.write(self.fd, b"\x1b[?2026;2$y")
        if b"\x1b[c" in data:
            os.write(self.fd, b"\x1b[?62;22c")

    def wait_for(self, texts: tuple[bytes, ...]) -> float:
        """Seconds since the start until one of the texts has been painted."""
        limit = self.began + DEADLINE
        seen = 0
        while (now := time.perf_counter()) < limit:
            if self.read(limit - now) < 0:
                break
            tail = bytes(self.output[max(0, seen - 200) :])
            if any(text in tail for text in texts):
                return time.perf_counter() - self.began
            seen = len(self.output)
        last = bytes(self.output[-400:]).decode(errors="replace")
        raise RuntimeError(f"nothing of {texts} was painted; the last output was {last!r}")

    def bytes_within(self, seconds: float) -> int:
        """How many bytes arrive in the next ``seconds``."""
        limit = time.perf_counter() + seconds
        total = 0
        while (now := time.perf_counter()) < limit:
            count = self.read(limit - now)
            if count < 0:
                break
            total += count
        return total

    def settle(self, quiet: float = 1.0) -> None:
        """Wait until nothing has arrived for ``quiet`` seconds."""
        limit = time.perf_counter() + DEADLINE
        while time.perf_counter() < limit and self.bytes_within(quiet):
            pass

    def press(self, key: bytes) -> None:
        os.write(self.fd, key)

    def rss(self) -> int:
        """Resident bytes of the process on Linux; elsewhere 0."""
        status = Path(f"/proc/{self.pid}/status")
        if status.exists():
            for line in status.read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        return 0

    def quit(self, seconds: float = 10.0) -> int | None:
        """Press q and wait; the exit code, or None if the process had to be killed."""
        self.press(QUIT)
        limit = time.perf_counter() + seconds
        while time.perf_counter() < limit:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        return None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def expert_names(count: int) -> list[str]:
    """``count`` names in the shape of a mixture of experts, 256 experts a layer."""
    names = ["model.embed_tokens.weight", "lm_head.weight"]
    layer = 0
    while len(names) < count:
        names += [f"model.layers.{layer}.self_attn.{part}_proj.weight" for part in "qkvo"]
        names += [
            f"model.layers.{layer}.mlp.experts.{expert}.{part}_proj.{what}"
            for expert in range(256)
            for part in ("gate", "up", "down")
            for what in ("weight", "weight_scale_inv")
        ]
        layer += 1
    return names[:count]


def write_sparse(path: Path, names: list[str]) -> None:
    """A safetensors file of bf16 zeros with a true header; its data is a hole, so it takes no room on the disk."""
    nbytes = 2 * HIDDEN * HIDDEN
    header = {
        name: {"dtype": "BF16", "shape": [HIDDEN, HIDDEN], "data_offsets": [n * nbytes, (n + 1) * nbytes]}
        for n, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + len(names) * nbytes)


class Starts(NamedTuple):
    """Medians over RUNS starts: seconds to the first paint, the same over a bare program, and MiB at that moment."""

    seconds: float
    ratio: float
    memory: float


def start(arguments: list[str], texts: tuple[bytes, ...], folder: Path) -> tuple[float, float]:
    """Seconds to the first paint, and resident MiB at that moment."""
    with Terminal(arguments, folder) as terminal:
        seconds = terminal.wait_for(texts)
        memory = terminal.rss() / 2**20
        terminal.quit()
    return seconds, memory


def start_beside(arguments: list[str], folder: Path, *, is_kept: bool = False) -> Starts:
    """Starts of a command, each right after one of the bare program; with an empty cache unless ``is_kept``."""
    seconds, ratios, memory = [], [], []
    for _ in range(RUNS):
        if not is_kept:
            shutil.rmtree(folder / "tui-params", ignore_errors=True)
        bare, _ = start([sys.executable, "-c", BARE], (b"bare-ready",), folder)
        took, resident = start(arguments, TREE, folder)
        seconds.append(took)
        ratios.append(took / bare)
        memory.append(resident)
    return Starts(statistics.median(seconds), statistics.median(ratios), statistics.median(memory))


def write_shards(folder: Path) -> Path:
    """The tensors of DeepSeek-V3 in 163 shards with their index, without a byte of data on the disk."""
    names = deepseek_v3_names()
    shards = folder / "shards"
    shards.mkdir()
    weight_map: dict[str, str] = {}
    step = -(-len(names) // SHARDS)
    for number in range(SHARDS):
        part = names[number * step : (number + 1) * step]
        shard = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        bench_open.write_sparse(shards / shard, part)
        weight_map |= {name: shard for name, _, _ in part}
    write_index(shards, weight_map)
    return shards


def run() -> Iterator[Line]:
    """Start, memory, and what goes over the wire; the targets are those that the README promises."""
    folder = Path(tempfile.mkdtemp(prefix="tui-params-bench-"))
    home = folder / "home"
    home.mkdir()
    try:
        command = [sys.executable, "-m", "tui_params"]
        for count, times, most in ((300, 1.7, 120), (91_991, 2, 80), (280_000, 4.4, 100)):
            path = folder / f"{count}.safetensors"
            write_sparse(path, expert_names(count))
            what = f"{count:,} tensors"
            yield from lines(what, start_beside([*command, str(path)], home), times, most)
            yield from wire([*command, str(path)], what, home)
        shards = write_shards(folder)
        what = f"91,991 tensors in {SHARDS} shards"
        yield from lines(what, start_beside([*command, str(shards)], home), 2.5, 80)
        time.sleep(SETTLED)
        keep(command, shards, home)
        yield from lines(f"{what}, again", start_beside([*command, str(shards)], home, is_kept=True), 1.7, 80)
    finally:
        shutil.rmtree(folder)


def keep(command: list[str], path: Path, home: Path) -> None:
    """Open a checkpoint until its list is in the cache."""
    limit = time.perf_counter() + DEADLINE
    while not list(home.glob("tui-params/figures/*.listing")):
        if time.perf_counter() > limit:
            raise RuntimeError("the list is not kept")
        start([*command, str(path)], TREE, home)


def lines(what: str, starts: Starts, times: float, most: float) -> Iterator[Line]:
    """The figures of the starts with one source."""
    yield Line(f"start: {what}, first painted tree", f"{starts.seconds:.2f} s", "", None)
    ratio = starts.ratio
    yield Line(f"start: {what}, over a bare program", f"{ratio:.2f} x", f"< {times} x", ratio < times)
    if starts.memory:
        memory = starts.memory
        yield Line(f"memory: {what}, when painted", f"{memory:.0f} MiB", f"< {most} MiB", memory < most)


def wire(command: list[str], what: str, folder: Path) -> Iterator[Line]:
    """Bytes of a cursor move and of an idle screen, and whether q ends the program at once."""
    with Terminal(command, folder) as terminal:
        terminal.wait_for(TREE)
        terminal.settle()
        idle = terminal.bytes_within(2)
        yield Line(f"wire: {what}, 2 idle seconds", f"{idle:,} B", "0 B", idle == 0)
        terminal.press(DOWN)
        began = time.perf_counter()
        moved = terminal.read(2)
        delay = time.perf_counter() - began
        # The detail pane follows once the cursor has rested for a moment; a held key does not pay for it.
        moved += terminal.bytes_within(0.05)
        detail = terminal.bytes_within(2)
        yield Line(f"wire: {what}, a cursor move, first bytes after", f"{delay * 1000:.0f} ms", "< 50 ms", delay < 0.05)
        yield Line(f"wire: {what}, a cursor move", f"{moved:,} B", "< 4,096 B", moved < 4096)
        yield Line(f"wire: {what}, the detail that follows it", f"{detail:,} B", "< 16,384 B", detail < 16384)
        began = time.perf_counter()
        code = terminal.quit()
        took = time.perf_counter() - began
        said = f"{took:.2f} s" if code == 0 else f"exit code {code}"
        yield Line(f"quit: {what}", said, "< 0.5 s, code 0", code == 0 and took < 0.5)
