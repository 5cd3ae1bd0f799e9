"""The watches of several ranks as one: names, events in their order, what they say together."""

from __future__ import annotations

import pytest

from tests.factories_training import FixedWatching
from tui_params.core.findings import Finding
from tui_params.core.watching import Wish
from tui_params.errors import QueryError
from tui_params.live.watching.job_watching import JobWatching


def event(name: str) -> Finding:
    return Finding("error", "watch", name, "step 3")


def test_each_rank_watches_its_own() -> None:
    first, second = FixedWatching(), FixedWatching()
    job = JobWatching({"rank0": first, "rank1": second})
    job.start(["rank1.a.weight", "rank1.b"], Wish("nan", "odd", 9.0))
    assert (first.wish, second.wish, second.names) == (Wish(), Wish("nan", "odd", 9.0), ["a.weight", "b"])
    assert job.words == "rank1: watching 2 tensors for nan"
    job.start(None, Wish("inf"))
    assert (first.names, second.names, job.wish) == (None, None, Wish("inf"))
    assert job.words == "each rank: watching everything for inf"
    with pytest.raises(QueryError):
        job.start(None, Wish("inf sometimes"))
    job.stop()
    assert (first.wish, second.wish, job.wish, job.words) == (Wish(), Wish(), Wish(), "")


def test_events_keep_the_order_in_which_they_were_first_told() -> None:
    first, second = FixedWatching(), FixedWatching()
    job = JobWatching({"rank0": first, "rank1": second})
    second.seen = (event("b"),)
    assert [each.tensor for each in job.events()] == ["rank1.b"]
    first.seen, second.seen = (event("a"),), (event("b"), event("c"))
    assert [each.tensor for each in job.events()] == ["rank1.b", "rank0.a", "rank1.c"]
    assert job.events() == job.events()


def test_all_are_let_go() -> None:
    first, second = FixedWatching(), FixedWatching()
    job = JobWatching({"rank0": first, "rank1": second})
    second.standing = "the training stands"
    assert job.standing == "rank1: the training stands"
    job.release()
    assert (second.standing, job.standing) == ("", "")
