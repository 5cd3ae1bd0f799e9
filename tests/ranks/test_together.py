"""A team finds exactly what one process finds, whatever its share, and says what was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.factories_faults import SMALL, write_faulty
from tests.factories_hub import download
from tests.factories_memory import MemorySource
from tests.factories_team import TeamOfThreads
from tui_params import open_source
from tui_params.api.comparing import compare
from tui_params.cli import check as check_command
from tui_params.cli import diff as diff_command
from tui_params.cli import stats as stats_command
from tui_params.cli.output import encode_json
from tui_params.core.compare import lockstep
from tui_params.core.health.checker import check
from tui_params.core.reading.sweep import ScanProgress
from tui_params.core.source import Source
from tui_params.core.team import Team
from tui_params.errors import ReadError, TeamError
from tui_params.ranks import inbox, split
from tui_params.ranks.leader import Leader


@pytest.fixture(autouse=True)
def _cut_finely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of some hundred elements are cut, as those of gigabytes are."""
    monkeypatch.setattr(split, "STEP_NBYTES", 512)
    monkeypatch.setattr(split, "_EACH", 8)
    monkeypatch.setattr(lockstep, "RANGE_NBYTES", 4096)


def report(source: Source, team: Team | None = None) -> str:
    found = check(source, team=team)
    return encode_json(check_command.document("x", found))


def statistics(source: Source, team: Team | None = None) -> str:
    results = stats_command.read(source, source.listing.tensors, team)
    return encode_json([stats_command.entry(result) for result in results])


def differences(a: Source, b: Source, team: Team | None = None, **options: Any) -> str:
    return encode_json(diff_command.document("a", "b", compare(a, b, team=team, **options), names=True))


def arrays(seed: int = 0) -> dict[str, NDArray[Any]]:
    draw = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {
        "model.embed_tokens.weight": draw.standard_normal((90, 16)).astype(np.float32),
        "layers.0.weight": draw.standard_normal((64, 64)).astype(np.float16),
        "layers.1.weight": draw.standard_normal((64, 64)),
        "conv.weight": draw.standard_normal((8, 8, 3, 3)).astype(np.float32),
        "ids": draw.integers(-(2**62), 2**62, 3000),
        "flags": draw.integers(0, 2, 999).astype(np.bool_),
        "z": (draw.standard_normal(500) + 1j * draw.standard_normal(500)).astype(np.complex64),
        "empty": np.zeros((0, 4), np.float32),
        "scalar": np.array(3.0, np.float32),
    }
    found["model.embed_tokens.weight"][7] = found["model.embed_tokens.weight"][80]
    found["layers.0.weight"][5:9] = 0
    found["layers.1.weight"][50, 2:5] = np.nan, np.inf, -np.inf
    found["copy"] = found["layers.1.weight"].copy()
    found["tied"] = found["conv.weight"]
    return found


def memory(broken: Mapping[str, str] | None = None) -> MemorySource:
    tied, unreadable = {"tied": "conv.weight"}, {"flags": "it is cut short"}
    return MemorySource(arrays(), tied_to=tied, unreadable=unreadable, step=48, broken=broken)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    path = tmp_path / "faulty.safetensors"
    write_faulty(path, SMALL)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "x.pt"
    torch.save({name: torch.from_numpy(array) for name, array in arrays().items()}, path)
    return path


@pytest.mark.parametrize("ways", [2, 3, 7, 40])
def test_check_and_stats_are_those_of_one_process(ways: int) -> None:
    assert TeamOfThreads(ways).run(lambda team: report(memory(), team)) == report(memory())
    assert TeamOfThreads(ways).run(lambda team: statistics(memory(), team)) == statistics(memory())


@pytest.mark.parametrize("ways", [2, 5])
def test_every_planted_fault_is_found(faulty: Path, ways: int) -> None:
    with open_source(faulty) as source:
        alone = report(source)
    found = TeamOfThreads(ways).run(lambda team: report(open_source(faulty), team))
    assert found == alone
    assert '"rule":"nan"' in found
    assert '"rule":"dead-rows"' in found


@pytest.mark.parametrize("options", [{}, {"rtol": 1e-3}, {"ignore_dtype": True}])
@pytest.mark.parametrize("ways", [2, 5])
def test_diff_is_that_of_one_process(ways: int, options: dict[str, Any]) -> None:
    def other() -> MemorySource:
        changed = arrays()
        changed["layers.0.weight"] = changed["layers.0.weight"].copy()
        changed["layers.0.weight"][60] += 1
        changed["layers.1.weight"] = changed["layers.1.weight"].astype(np.float32)
        changed["conv.weight"] = changed["conv.weight"] * np.float32(1.01)
        changed["ids"] = changed["ids"][::-1]
        # Another process has all of it: equal at first, and different in the last row.
        changed["copy"] = changed["copy"].copy()
        changed["copy"][63, 63] += 1
        return MemorySource(changed, step=80, broken={"z": "the disk is broken"})

    def asked(team: Team | None = None) -> str:
        return differences(memory(), other(), team, **options)

    found = TeamOfThreads(ways).run(asked)
    assert found == asked()
    assert "the disk is broken" in found


def test_checksums_of_an_archive_are_computed_where_the_bytes_are_read(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sources() -> Source:
        return open_source(archive)

    with sources() as source:
        alone, kind = report(source), type(source)
    again: list[int] = []
    original = kind.record_blocks

    def counted(self: Any, record: Any) -> Iterator[memoryview]:
        for block in original(self, record):
            again.append(len(block))
            yield block

    monkeypatch.setattr(kind, "record_blocks", counted)
    assert TeamOfThreads(3).run(lambda team: report(sources(), team)) == alone
    # What belongs to no tensor, and the bytes between: never a whole tensor a second time.
    assert sum(again) < archive.stat().st_size / 4


def test_a_damaged_archive_is_told_of_as_by_one_process(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    place = data.index(arrays()["layers.0.weight"].tobytes()[-600:])
    data[place + 300] ^= 1
    archive.write_bytes(data)
    with open_source(archive) as source:
        alone = report(source)
    assert "checksum" in alone
    assert TeamOfThreads(4).run(lambda team: report(open_source(archive), team)) == alone
    with open_source(archive) as source:
        alone = differences(source, memory())
    assert TeamOfThreads(4).run(lambda team: differences(open_source(archive), memory(), team)) == alone


def test_what_another_cannot_read_is_read_here() -> None:
    def broken(team: Team | None = None) -> str:
        # Helpers alone have a broken disk: the leader's own reading decides.
        is_helper = team is not None and type(team).__name__ == "Helper"
        return report(memory(broken=dict.fromkeys(arrays(), "the disk is broken") if is_helper else {}), team)

    assert TeamOfThreads(3).run(broken) == report(memory())
    everywhere = report(memory(broken={"layers.1.weight": "the disk is broken"}))
    found = TeamOfThreads(3).run(lambda team: report(memory(broken={"layers.1.weight": "the disk is broken"}), team))
    assert found == everywhere
    assert "the disk is broken" in found


def test_files_are_verified_as_by_one_process(faulty: Path, tmp_path: Path) -> None:
    path = download(tmp_path / "downloaded", "model.safetensors", faulty.read_bytes())

    def verified(team: Team | None = None) -> str:
        with open_source(path) as source:
            return encode_json(check_command.document("x", check(source, team=team, verify=True)))

    alone = verified()
    assert '"state":"verified"' in alone
    assert TeamOfThreads(3).run(verified) == alone


def test_the_progress_is_that_of_all() -> None:
    shown: list[ScanProgress] = []
    TeamOfThreads(3).run(lambda team: check(memory(), team=team, progress=shown.append))
    assert shown[-1].done_bytes == shown[-1].total_bytes
    assert [progress.done_bytes for progress in shown] == sorted(progress.done_bytes for progress in shown)


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("a fault")])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_where_nothing_can_come(error: Exception) -> None:
    class Deaf:
        def take(self) -> Iterator[tuple[int, bytes | None]]:
            raise error

        def close(self) -> None:
            pass

    team = Leader(3, inbox.Inbox(3, Deaf(), "rank", 60.0), "rank", 1, "1.0")
    reasons = set(unchecked(report(memory(), team)).values())
    lost = {reason.split(":")[0] for reason in reasons}
    assert lost >= {f"rank {number} ended before it had read its share" for number in (1, 2)}


def unchecked(found: str) -> dict[str, str]:
    return {entry["tensor"]: entry["reason"] for entry in msgspec.json.decode(found)["unchecked"]}


def test_the_share_of_a_process_that_ends_is_not_checked() -> None:
    team = TeamOfThreads(3)
    team.wires[2].most = 1  # it says who it is, and then nothing more
    found = team.run(lambda each: report(memory(), each))
    lost = unchecked(found)
    assert set(lost.values()) == {"it is cut short", "rank 2 ended before it had read its share"}
    alone = msgspec.json.decode(report(memory()))
    here = msgspec.json.decode(found)
    assert here["checked"] == alone["checked"] - len(lost) + 1
    assert here["status"] == "findings"


def test_the_share_of_a_lost_process_is_not_compared() -> None:
    team = TeamOfThreads(2)
    team.wires[1].most = 1
    found = msgspec.json.decode(team.run(lambda each: differences(memory(), memory(), each)))
    assert found["status"] == "uncompared"
    assert "rank 1 ended before it had read its share" in {entry["reason"] for entry in found["uncompared"]}
    assert 0 < found["identical"] < len(arrays()) - 1


def test_a_process_that_is_silent_is_given_up() -> None:
    team = TeamOfThreads(2, most_silent=0.05)

    def silent(helper: Team) -> None:
        helper._work = None  # type: ignore[attr-defined]
        with pytest.raises(TypeError):
            report(memory(), helper)
        team.inbox.wait(lambda: 1 in team.inbox.lost)

    found = team.run(lambda each: report(memory(), each), helping=silent)
    assert "rank 1 did not begin within 0.25 seconds" in unchecked(found).values()


def test_a_process_that_hangs_is_given_up() -> None:
    team = TeamOfThreads(2, most_silent=0.05)

    def hang(*arguments: Any) -> None:
        team.inbox.wait(lambda: 1 in team.inbox.lost)

    team.helpers[1]._measured = hang  # type: ignore[assignment, method-assign]
    found = team.run(lambda each: report(memory(), each))
    assert "rank 1 gave no sign of life for 0.05 seconds" in unchecked(found).values()


def test_once_it_is_to_end_nothing_more_is_read_and_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "GRACE_SECONDS", 0.05)
    team = TeamOfThreads(2)

    def stopped(*arguments: Any) -> None:
        team.leader.stop()
        team.inbox.wait(lambda: 1 in team.inbox.lost)

    team.helpers[1]._measured = stopped  # type: ignore[assignment, method-assign]
    found = team.run(lambda each: report(each.guard(memory()), each))
    reasons = set(unchecked(found).values())
    assert "rank 1 ended before it had read its share" in reasons
    assert reasons <= {
        "it is cut short",
        "the job was stopped before it was read",
        "rank 1 ended before it had read its share",
    }


def test_a_guarded_source_refuses_to_be_read_from_then_on() -> None:
    team = TeamOfThreads(1)
    source = team.leader.guard(memory())
    info = source.find("ids")
    blocks = source.blocks(info)
    next(blocks)
    team.leader.stop()
    with pytest.raises(ReadError, match="stopped"):
        next(blocks)
    with pytest.raises(ReadError, match="stopped"):
        source.read("ids")


def test_a_helper_that_is_asked_to_stop_says_goodbye() -> None:
    team = TeamOfThreads(2)
    team.helpers[1].is_asked_to_stop = True
    lost = unchecked(team.run(lambda each: report(memory(), each)))
    assert "rank 1 was stopped before it had read its share" in lost.values()


def refused(team: TeamOfThreads, helping: Callable[[Team], object]) -> str:
    with pytest.raises(TeamError) as raised:
        team.run(lambda each: report(memory(), each), helping=helping)
    return str(raised.value)


def test_two_versions_are_refused() -> None:
    versions = {2: "0.9", 3: "0.9"}
    found = refused(TeamOfThreads(4, versions=versions), lambda team: report(memory(), team))
    assert found == "ranks 2-3 run tui-params 0.9, and rank 0 runs 1.0: all must run one version"


def test_a_version_that_cannot_be_understood_is_refused() -> None:
    team = TeamOfThreads(2)
    found = refused(team, lambda helper: team.wires[1].send(b"\1{json: no}"))
    assert found == "rank 1 runs another version of tui-params: all must run one version"


def test_other_files_are_refused(faulty: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / faulty.name
    copy.parent.mkdir()
    copy.write_bytes(faulty.read_bytes())

    def differing(team: Team) -> str:
        return report(open_source(copy if type(team).__name__ == "Helper" else faulty), team)

    with pytest.raises(TeamError, match=r"rank 1 sees another version of faulty.safetensors than rank 0"):
        TeamOfThreads(2).run(differing)
    copy.write_bytes(faulty.read_bytes() + b"\0")
    with pytest.raises(TeamError, match=r"rank 1 .*bytes in faulty.safetensors"):
        TeamOfThreads(2).run(differing)


def test_other_tensors_another_question_and_a_source_that_does_not_open_are_refused() -> None:
    fewer = MemorySource({"a": np.ones(3, np.float32)})
    assert "other tensors" in refused(TeamOfThreads(2), lambda team: report(fewer, team))
    assert "something else" in refused(TeamOfThreads(2), lambda team: statistics(memory(), team))
    team = TeamOfThreads(2)
    found = refused(team, lambda each: team.helpers[1].refuse("there is no file x"))
    assert found == "rank 1 could not begin: there is no file x"
