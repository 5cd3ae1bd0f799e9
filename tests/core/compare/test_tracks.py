"""Tracks: what the changes of a tensor over the steps of a run say."""

from __future__ import annotations

from tui_params.core.compare.tracks import Moment, Track


def test_what_moves_most_is_of_the_model_before_the_states_of_its_optimizer() -> None:
    def track(name: str, change: float) -> Track:
        return Track(name, (2,), (Moment("f32", 2), Moment("f32", 2, since=0, change=change)))

    names = ["a.weight", "optimizer.state.0.exp_avg", "b.weight", "optimizer.state.0.step", "model.step", "state.0.sum"]
    tracks = [track(name, change) for name, change in zip(names, (0.1, 9.0, 0.2, 8.0, 0.05, 7.0), strict=True)]
    ranked = [each.name for each in sorted(tracks, key=lambda each: each.rank)]
    assert ranked[:3] == ["b.weight", "a.weight", "model.step"]
    assert ranked[3:] == ["optimizer.state.0.exp_avg", "optimizer.state.0.step", "state.0.sum"]
