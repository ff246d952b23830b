"""People whom the tracker lost, followed through depth maps: who is there, who is behind something, and what is furniture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.tracks import Tracks
from pose_priors.refinement.given.problem import NUM_SKIN_POINTS
from pose_priors.refinement.given.untracked import following
from pose_priors.refinement.given.untracked.following import Shown, find_untracked

FRAMES, ALPHA = 30, 2.0
LOST = slice(12, 20)
SIZE, SHAPE, FOCAL = (640, 480), (96, 128), 500.0
FLOOR = np.array([0.0, -1.0, 0.0, 1.5])  # a camera 1.5 m above it, y down
WALL, PERSON = 8.0, 4.0


@dataclass
class Slabs:
    """Upright slabs before a wall: depth maps and masks of whoever has an id, drawn in a unit of `ALPHA` metres."""

    slabs: list[tuple[int | None, np.ndarray, float, float]] = field(default_factory=list)
    """An id or none, (T,) metres to the right, metres away, and width."""
    lost: dict[int, slice] = field(default_factory=dict)

    def add(self, person: int | None, right: np.ndarray | float, far: float = PERSON, width: float = 0.4) -> None:
        self.slabs.append((person, np.broadcast_to(right, FRAMES).astype(float), far, width))

    def drawn(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Depth in metres, and who is where: the number of the slab, -1 for nobody."""
        rows, columns = (np.arange(n) + 0.5 for n in SHAPE)
        x = (columns * SIZE[0] / SHAPE[1] - SIZE[0] / 2) / FOCAL
        y = ((rows * SIZE[1] / SHAPE[0] - SIZE[1] / 2) / FOCAL)[:, None]
        depth = np.where(y > 0, np.minimum(1.5 / np.maximum(y, 1e-6), WALL), WALL) * np.ones(SHAPE)
        who = np.full(SHAPE, -1)
        for number, (_, right, far, width) in enumerate(self.slabs):
            there = (np.abs(x * far - right[frame]) < width / 2) & (y * far > -0.2) & (y * far < 1.5) & (far < depth)
            depth[there], who[there] = far, number
        return depth, who

    def read(self, *of: int) -> object:
        if len(of) == 1:
            depth = self.drawn(of[0])[0] / ALPHA
            return depth.astype(np.float32), np.ones(SHAPE, np.float32)
        person, frame = of
        gone = self.lost.get(person)
        if gone is not None and gone.start <= frame < gone.stop:
            return None
        who = self.drawn(frame)[1]
        numbers = [number for number, slab in enumerate(self.slabs) if slab[0] == person]
        return np.isin(who, numbers)

    def close(self) -> None:
        pass

    def clip(self) -> UpstreamClip:
        intrinsics = np.array([[FOCAL, 0, SIZE[0] / 2], [0, FOCAL, SIZE[1] / 2], [0, 0, 1.0]])
        cameras = CameraTrack(
            "cameras.npz",
            np.tile(np.eye(4), (FRAMES, 1, 1)),
            np.tile(intrinsics, (FRAMES, 1, 1)),
            SIZE,
            np.ones(FRAMES),
            np.arange(FRAMES),
            30.0,
        )
        return UpstreamClip(cameras, Tracks(), {}, depth=self, masks=self)  # type: ignore[arg-type]

    def followed(self, people: tuple[int, ...] = (1,), everybody: tuple[int, ...] = (1, 2)) -> Shown:
        lost = np.zeros((len(people), FRAMES), bool)
        for p, person in enumerate(people):
            if person in self.lost:
                lost[p, self.lost[person]] = True
        return find_untracked(self.clip(), people, everybody, lost, ALPHA, FLOOR)


def where_lost(found: Shown, people: int = 1) -> np.ndarray:
    """(P, n) bool, who is found on the frames on which they are lost."""
    return np.broadcast_to(found.there, (people, FRAMES))[:, LOST]


WALK = np.linspace(-1.2, 1.2, FRAMES)


def walks(**of: slice) -> Slabs:
    slabs = Slabs(lost={1: of.get("lost", LOST)})
    slabs.add(1, WALK)
    return slabs


def test_who_is_in_the_depth_maps_is_followed_with_the_frames_beside() -> None:
    found = walks().followed()
    assert found.there[0].nonzero()[0].tolist() == list(range(2, 30))
    skin = ALPHA * found.points[0, LOST, :NUM_SKIN_POINTS]
    np.testing.assert_allclose(skin[..., 2], PERSON, rtol=1e-6)
    np.testing.assert_allclose(np.median(skin[..., 0], 1), WALK[LOST], atol=0.05)
    assert (1.5 - skin[..., 1] > 0.05).all()  # nothing of the floor
    assert not found.points[0, :2].any()


def test_nobody_is_looked_for_where_nobody_is_lost_or_the_floor_is_not_known() -> None:
    slabs = walks()
    assert find_untracked(slabs.clip(), (1,), (1,), np.zeros((1, FRAMES), bool), ALPHA, FLOOR).points.shape == (1, 1, 0, 3)
    lost = np.zeros((1, FRAMES), bool)
    lost[0, LOST] = True
    assert not find_untracked(slabs.clip(), (1,), (1,), lost, ALPHA, FLOOR * np.nan).there.any()


@pytest.mark.parametrize("far", [PERSON - 1, PERSON - 0.2])
def test_who_is_behind_something_that_stands_there_is_not(far: float) -> None:
    slabs = walks()
    slabs.add(None, 0.1, far, 1.3)
    assert not where_lost(slabs.followed()).any()


def disappears() -> Slabs:
    """Somebody of whom nothing is to be seen while they are lost."""
    slabs, walk = Slabs(lost={1: LOST}), WALK.copy()
    walk[LOST] = 50.0
    slabs.add(1, walk)
    return slabs


def test_what_stood_there_before_is_no_person() -> None:
    """Somebody who walks behind the wall of a house, beside a pillar as large as they are."""
    slabs = disappears()
    slabs.add(None, 0.1, PERSON + 0.2)
    assert not where_lost(slabs.followed()).any()


def test_somebody_elses_mask_is_theirs() -> None:
    slabs = disappears()
    slabs.add(2, WALK, PERSON)
    assert not where_lost(slabs.followed()).any()
    slabs.slabs[1] = (None, *slabs.slabs[1][1:])
    assert where_lost(slabs.followed()).all()  # a stranger who does the same is taken for the person


@pytest.mark.parametrize(("width", "there"), [(0.15, False), (0.3, True), (0.9, False)])
def test_it_is_as_large_as_the_person_was(width: float, there: bool) -> None:
    slabs = Slabs(lost={1: LOST})
    gone, large = WALK.copy(), np.full(FRAMES, 50.0)
    large[LOST], gone[LOST] = WALK[LOST], 50.0
    slabs.add(1, gone)
    slabs.add(None, large, PERSON, width)
    assert where_lost(slabs.followed()).tolist() == [[there] * 8]


@pytest.mark.parametrize(("ends", "width"), [((WALK[LOST.start - 1] - 0.2, WALK[LOST.stop] + 0.9), 0.4), ((-0.2, 0.5), 0.3)])
def test_where_both_ways_do_not_meet_nobody_is(ends: tuple[float, float], width: float) -> None:
    """One surface goes on from where the person was lost and stands still; another waits where the person comes back.

    In one case they are as near as two surfaces can be told apart.
    """
    slabs = Slabs(lost={1: LOST})
    gone, first, second = WALK.copy(), np.full(FRAMES, 50.0), np.full(FRAMES, 50.0)
    gone[LOST], first[LOST], second[LOST] = 50.0, *ends
    slabs.add(1, gone)
    slabs.add(None, first, PERSON, width)
    slabs.add(None, second, PERSON, width)
    assert not where_lost(slabs.followed()).any()


def test_one_surface_is_not_two_people() -> None:
    slabs = walks()
    slabs.lost[2] = LOST
    near = WALK + 0.45
    near[LOST] = 50.0
    slabs.add(2, near)
    assert where_lost(slabs.followed((1,))).all()
    assert not where_lost(slabs.followed((1, 2)), 2).any()
    apart = walks()
    apart.lost[2] = LOST
    apart.add(2, -WALK, PERSON + 2)
    assert where_lost(apart.followed((1, 2)), 2)[:, 5:].all()


def test_what_stands_before_them_is_told_apart_from_their_skin() -> None:
    slabs = walks()
    slabs.add(2, WALK + 0.12, PERSON - 1, 0.05)
    cover = ALPHA * slabs.followed().points[0, LOST, NUM_SKIN_POINTS:]
    skin = ALPHA * slabs.followed().points[0, LOST, :NUM_SKIN_POINTS]
    np.testing.assert_allclose(cover[..., 2], PERSON - 1, rtol=1e-6)
    np.testing.assert_allclose(skin[..., 2], PERSON, rtol=1e-6)


def test_cells_that_differ_have_numbers_that_differ() -> None:
    places = np.stack(np.meshgrid(*[np.array([-1e5, -0.8, -0.1, 0.1, 0.8, 1e5])] * 3), -1).reshape(-1, 3)
    assert len(np.unique(following._cells(places))) == len(places)
    np.testing.assert_array_equal(following._cells(places + 0.01), following._cells(places))
