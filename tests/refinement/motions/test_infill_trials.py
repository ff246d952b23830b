"""Whether a prior is believed about a gap: it is tried on what was seen, and what it is not believed about stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from infill_cases import GAP, scene_of, walkers, with_gap
from learned_cases import small_motion_prior

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.infill import GapFiller, _Tried


def test_a_gap_that_the_prior_would_make_worse_stays_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = small_motion_prior()
    filler = GapFiller(prior)
    right = prior.restore

    def raised(motion, noise, bones):  # type: ignore[no-untyped-def]
        found = right(motion, noise, bones)
        found.motion.joints[..., 2] += 0.5 * noise.rotations.isinf().any(-1)[..., None]
        return found

    monkeypatch.setattr(prior, "restore", raised)
    problem = with_gap(walkers())
    filling = filler(scene_of(problem), problem)
    assert not filling.frames.any()
    (told,) = filling.told
    assert "left without the motion prior" in told
    by_prior, by_curves = (float(told.split(f"{before} ")[1].split(" mm")[0]) for before in ("off by", "curves by"))
    assert by_prior > 400 > by_curves


def test_others_are_asked_where_too_little_was_seen_of_somebody() -> None:
    problem = walkers()
    alive = problem.alive.clone()
    alive[1, :38], alive[1, 68:] = False, False
    short = replace(with_gap(problem), alive=alive)
    short = replace(short, visible=short.visible & alive)
    filling = GapFiller(small_motion_prior())(scene_of(short), short)
    assert torch.equal(filling.frames[1].nonzero()[:, 0], torch.arange(GAP.start, GAP.stop))
    assert "on 6 gaps as long" in filling.told[0]  # all of the other person's


def alone(begin: int, end: int, gap: slice) -> Problem:
    """One person, who is there from one frame to another, with nobody beside."""
    problem = with_gap(walkers(), gap)
    alive = problem.alive.clone()
    alive[1, :begin], alive[1, end:] = False, False
    return replace(problem, alive=alive, visible=problem.visible & alive & torch.tensor([[False], [True]]))


def test_a_gap_that_nothing_can_be_tried_on_stays_and_is_told() -> None:
    problem = alone(38, 68, GAP)
    filling = GapFiller(small_motion_prior())(scene_of(problem), problem)
    assert not filling.frames.any()
    (told,) = filling.told
    assert told.endswith(
        "15 frames on which nobody was seen, left without the motion prior: too little was seen beside them for it to be tried"
    )


@pytest.mark.parametrize(("off_m", "filled"), [(0.0, True), (0.04, False)])
def test_the_longest_gaps_that_fit_are_tried_where_none_as_long_does(off_m: float, filled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    prior = small_motion_prior()
    right = prior.restore

    def off(motion, noise, bones=None):  # type: ignore[no-untyped-def]
        found = right(motion, noise, bones)
        found.motion.joints[..., 2] += off_m * noise.rotations.isinf().any(-1)[..., None]
        return found

    monkeypatch.setattr(prior, "restore", off)
    problem = alone(20, 85, slice(40, 65))
    filling = GapFiller(prior)(scene_of(problem), problem)
    assert bool(filling.frames.any()) == filled
    assert ": on 2 gaps of 10 frames, the longest that fit, among what was seen it was off by" in filling.told[0]


def test_of_longer_gaps_than_were_tried_the_prior_has_to_be_better_than_curves() -> None:
    for by_prior, shorter, believed in ((10.5, 0, True), (11.5, 0, False), (10.5, 9, False), (9.5, 9, True)):
        assert _Tried(by_prior, 10.0, 3, shorter).believed == believed
    assert not _Tried(0.0, 0.0, 0, 0).believed


def test_short_gaps_are_left_to_the_refinement() -> None:
    problem = with_gap(walkers(), slice(45, 49))
    filling = GapFiller(small_motion_prior())(scene_of(problem), problem)
    assert filling.told == ()
    assert not filling.frames.any()
