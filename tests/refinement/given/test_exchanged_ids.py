"""Trackers that exchange the ids of two people."""

from __future__ import annotations

import numpy as np
import pytest

from pose_priors.refinement.given.people import exchanged


def walks(frames: int, fps: float, apart: float = 1.0) -> np.ndarray:
    """(3, T, 3) metres: three people side by side who walk at 1.5 m/s, their places off by some centimetres."""
    time = np.arange(frames) / fps
    path = np.stack([apart * np.arange(3)[:, None] + 0 * time, 0.9 + 0 * time + np.zeros((3, 1)), 1.5 * time + np.zeros((3, 1))], -1)
    return path + 0.03 * np.random.default_rng(0).normal(size=path.shape)


@pytest.mark.parametrize("fps", [15.0, 30.0, 120.0])
def test_people_who_change_places_in_one_frame_are_told(fps: float) -> None:
    pelvis, seen = walks(40, fps), np.ones((3, 40), bool)
    frames = np.arange(100, 140)
    assert exchanged((1, 2, 7), frames, pelvis, seen, fps) == []
    pelvis[[0, 1], 20:] = pelvis[[1, 0], 20:]
    (line,) = exchanged((1, 2, 7), frames, pelvis, seen, fps)
    assert line.startswith("persons 1 and 2 change places from frame 119 to 120")
    seen[1, 20] = False  # who is not seen there may have gone on anywhere
    assert exchanged((1, 2, 7), frames, pelvis, seen, fps) == []


def test_one_who_leaps_and_two_who_leap_elsewhere_have_their_own_ids() -> None:
    frames, seen = np.arange(40), np.ones((3, 40), bool)
    one = walks(40, 30.0)
    one[0, 20:] += [1.0, 0.0, 0.0]
    assert exchanged((1, 2, 3), frames, one, seen, 30.0) == []
    one[1, 20:] += [0.0, 0.0, 1.0]
    assert exchanged((1, 2, 3), frames, one, seen, 30.0) == []


def test_people_who_dance_closely_are_not_taken_for_each_other() -> None:
    pelvis = walks(40, 30.0, apart=0.3)
    pelvis[[0, 1], 20:] = pelvis[[1, 0], 20:]
    assert exchanged((1, 2, 3), np.arange(40), pelvis, np.ones((3, 40), bool), 30.0) == []
