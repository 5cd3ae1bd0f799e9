"""A training process and its viewer: nothing mixed, nothing disturbed, and each may die under the other."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.live.attached.conftest import goes_on
from tests.live.attached.trainers import LOOP, NUMBERED, ON_A_DEVICE, OWN, training
from tui_params.errors import OpenError, ReadError
from tui_params.live.attached import finding, guard
from tui_params.live.attached.finding import Serving, find_serving
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside.frames import MAX_TEXT
from tui_params.live.inside.server import MAX_VIEWERS
from tui_params.live.watching.condition import parse_condition
from tui_params.live.watching.watch import Watch, choose_watched

READS = 1_500


def only(runtime: Path) -> Serving:
    (found,) = find_serving()
    return found


def test_no_read_mixes_two_steps(runtime: Path) -> None:
    with training(NUMBERED, runtime), AttachedSource(only(runtime).path) as viewer:
        assert isinstance(viewer, AttachedSource)
        assert viewer._memory.reason is None
        seen = set()
        for number in range(READS):
            values = viewer.read(f"w{number % 4}")
            assert values.min() == values.max()
            seen.add(float(values[0]))
        assert len(seen) > 20
        for number in range(40):
            gradient = viewer.read(f"w{number % 4}.grad")
            assert gradient.min() == gradient.max() > 0
        # Without the words that guard a read some do mix: the loop above is one that would catch them.
        viewer._page.steadily = lambda read: (read(), 0)  # type: ignore[method-assign]
        assert any(np.unique(viewer.read(f"w{number % 4}")).size > 1 for number in range(20_000))


def test_where_no_optimizer_makes_a_step_passes_are_followed(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with training(OWN, runtime):
        with AttachedSource(only(runtime).path) as viewer:
            assert viewer.beat().by == "steps"  # nothing is known yet
        monkeypatch.setattr(guard, "PASSES_AFTER", 0.1)
        with AttachedSource(only(runtime).path) as viewer:
            assert isinstance(viewer, AttachedSource)
            gradient = viewer.read("w0.grad")  # waits until the first pass is counted, and one more
            assert gradient.min() == gradient.max() > 0
            assert viewer.beat().by == "passes"
            assert viewer._memory.reason is None
            for number in range(40):
                values = viewer.read(f"w{number % 4}")
                assert values.min() == values.max() > 0
            for number in range(6):
                gradient = viewer.read(f"w{number % 4}.grad")
                assert gradient.min() == gradient.max() > 0
            assert viewer.beat().steps > 6
            second = AttachedSource(only(runtime).path)
            assert second.read("w0.grad").min() > 0
        with second:  # the first one has gone
            for number in range(4):
                assert second.read(f"w{number}.grad").min() > 0
            assert second.beat().by == "passes"
        with AttachedSource(only(runtime).path) as third:
            assert third.read("w0.grad").min() > 0


def test_no_copy_from_a_device_mixes_two_steps(runtime: Path) -> None:
    with training(ON_A_DEVICE + NUMBERED, runtime), AttachedSource(only(runtime).path) as viewer:
        assert isinstance(viewer, AttachedSource)
        viewer._memory.reason = "its tensors lie on a device"
        last = 0.0
        for number in range(120):
            values = viewer.read(f"w{number % 4}" + ".grad" * (number % 3 == 2))
            assert values.min() == values.max() > 0
            assert last < values.max() <= viewer.page.steps + 1
            last = float(values.max()) - 16  # copies of one question may be those of neighbouring steps


@pytest.mark.parametrize(("loop", "steps"), [(LOOP, 40), (ON_A_DEVICE + LOOP, 40)], ids=["host", "device"])
def test_training_continues_bit_by_bit_as_if_nobody_looked(runtime: Path, loop: str, steps: int) -> None:
    with training(LOOP, runtime, "plain", str(steps)) as alone:
        expected = alone.communicate()[0]
    with training(loop, runtime, "served", str(steps)) as process:
        with AttachedSource(only(runtime).path) as viewer:
            for info in viewer.listing.tensors:
                viewer.summarize(info.name)
            assert isinstance(viewer, AttachedSource)
            while viewer.page.steps < steps // 2:  # it serves before its first step
                time.sleep(0.001)
            conditions = [parse_condition(word) for word in ("nan", "inf", "norm>1e9", "still:1000")]
            listing = viewer.listing
            choice = choose_watched(listing, listing.tensors, listing.gradients.values(), conditions)
            watch = Watch(viewer, choice, hold_seconds=60)
            assert process.stdin is not None
            process.stdin.write("go on\n")
            process.stdin.flush()
            with suppress(ReadError):  # it may be over sooner
                viewer.read("0.weight.grad")
                viewer.read("3.weight.grad")
            while viewer.connection.look() is None:
                watch.look(0.1)
            assert watch.first_step == steps // 2 + 1
        found = process.communicate()[0]
    assert found == expected
    assert len(expected) == 65


def test_a_trainer_that_is_killed_leaves_a_sentence_and_no_entry(runtime: Path) -> None:
    with training(LOOP, runtime, "served", "0") as process:
        viewer = AttachedSource(only(runtime).path)
        assert isinstance(viewer, AttachedSource)
        viewer.read("0.weight")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with pytest.raises(ReadError):
            viewer.read("0.weight")
        assert viewer.beat().lost is not None
        assert "what is shown is the last that was read" in (viewer.changed() or "")
        viewer.close()
    # The socket of a killed process stays behind; it is not offered, and is removed by who finds it.
    assert list((runtime / "tui-params").iterdir())
    assert find_serving() == []
    assert list((runtime / "tui-params").iterdir()) == []


def test_a_trainer_that_is_stopped_is_waited_for_and_goes_on(
    served_loop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = int(served_loop.stem)
    with AttachedSource(served_loop) as viewer:
        assert isinstance(viewer, AttachedSource)
        os.kill(pid, signal.SIGSTOP)
        try:
            # Memory can be read while it stands still, unless it stands in the middle of a step.
            viewer._page.steadily(lambda: None)
            monkeypatch.setattr(finding, "HELLO_SECONDS", 0.1)
            found = finding.describe(served_loop)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert found is not None
        if sys.platform == "linux":
            assert found.reason == f"it is stopped (ctrl+z, SIGSTOP): kill -CONT {pid} lets it go on"
        assert viewer.read("0.weight").shape == (64, 32)
        assert goes_on(viewer)


def test_a_viewer_that_is_killed_is_forgotten(served_loop: Path) -> None:
    look = (
        "import sys, time; from pathlib import Path; from tui_params.live.attached.source import AttachedSource;"
        " viewer = AttachedSource(Path(sys.argv[1])); viewer.read('0.weight.grad'); print('looked', flush=True);"
        " time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", look, str(served_loop)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as viewer:
        assert viewer.stdout is not None
        assert viewer.stdout.readline() == b"looked\n"
        viewer.kill()
    with AttachedSource(served_loop) as other:
        assert other.read("0.weight").shape == (64, 32)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\n\r\n",
        (MAX_TEXT + 1).to_bytes(4, "little") + bytes(4),
        bytes(4) + (1 << 30).to_bytes(4, "little"),
        (2).to_bytes(4, "little") + bytes(4) + b"[]",
        (4).to_bytes(4, "little") + bytes(4) + b"\xff\xfe{}",
        (9_000).to_bytes(4, "little") + bytes(4) + b"[" * 9_000,
        b"\x10\0\0\0",
    ],
    ids=lambda data: data[:12].hex() or "nothing",
)
def test_garbage_is_hung_up_on(served_loop: Path, garbage: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(100)
        caller.connect(str(served_loop))
        caller.sendall(garbage)
        caller.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):  # what was sent was not read to its end
            assert caller.recv(1) == b""
    with AttachedSource(served_loop) as viewer:
        assert viewer.read("0.weight").shape == (64, 32)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({}, "there is no question 'None'"),
        ({"ask": "eval"}, "there is no question 'eval'"),
        ({"ask": "where", "handles": "0"}, "where wants a list"),
        ({"ask": "where", "handles": [-1]}, "no readable tensor with the handle -1"),
        ({"ask": "where", "handles": [True]}, "no readable tensor"),
        ({"ask": "copy", "values": 3}, "copy wants lists"),
        ({"ask": "copy", "values": [10**9]}, "no readable tensor"),
        ({"ask": "copy", "values": [], "budget": "much"}, "copy wants lists"),
        ({"ask": "copy", "values": [0] * 5_000}, "at most 4096 tensors are copied"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_question_that_makes_no_sense_is_answered_with_a_sentence(
    served_loop: Path, question: dict[str, object], sentence: str
) -> None:
    with AttachedSource(served_loop) as viewer:
        assert isinstance(viewer, AttachedSource)
        with pytest.raises(ReadError, match=sentence):
            viewer._connection.ask(question)
        assert viewer.read("0.weight").shape == (64, 32)


def test_no_more_viewers_than_a_few_are_let_in(served_loop: Path) -> None:
    viewers = [AttachedSource(served_loop) for _ in range(MAX_VIEWERS)]
    with pytest.raises(OpenError, match="has ended, or no longer serves"):
        AttachedSource(served_loop)
    for viewer in viewers:
        viewer.close()
    assert any(is_let_in(served_loop) for _ in range(200))


def is_let_in(path: Path) -> bool:
    """Whether there is room for one more viewer; waits a little if there is not."""
    try:
        AttachedSource(path).close()
    except OpenError:
        time.sleep(0.02)
        return False
    return True


def test_a_folder_that_others_can_enter_is_not_used(runtime: Path) -> None:
    folder = runtime / "tui-params"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(OpenError, match="can be entered by other users: nothing in it is trusted"):
        find_serving()
    folder.rmdir()
    folder.symlink_to(runtime)
    with pytest.raises(OpenError, match="is not a folder"):
        find_serving()


def test_a_socket_of_something_else_is_listed_with_the_reason(runtime: Path) -> None:
    folder = runtime / "tui-params"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(folder / f"{os.getpid()}.sock"))
        other.listen(1)
        (found,) = find_serving()
        assert "the other side does not answer" in (found.reason or "")
        (folder / "notes.txt").write_text("no socket")
        (folder / "x.sock").write_text("no socket")
        assert [each.pid for each in find_serving()] == [os.getpid()]
    assert find_serving() == []
    assert (folder / "x.sock").exists()
