from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from pose_priors.configs.base import UserError
from pose_priors.datamodules import splits
from pose_priors.datamodules.splits import Segment, SplitRows, radius_components, split_by_radius, split_rows


def segments_of(lengths: list[int], is_sequence: bool, fps: float | None = 30.0) -> list[Segment]:
    stops = np.cumsum(lengths)
    return [Segment(int(stop - length), int(stop), is_sequence, fps) for stop, length in zip(stops, lengths, strict=True)]


def assert_disjoint(split: SplitRows, num_rows: int) -> None:
    rows = np.concatenate([split.train, split.val, split.test])
    assert len(np.unique(rows)) == len(rows)
    assert rows.min() >= 0
    assert rows.max() < num_rows


def test_many_motions_are_split_by_file() -> None:
    lengths = np.random.default_rng(0).integers(50, 300, 60).tolist()
    segments = segments_of(lengths, True)
    split = split_rows(segments, 0.1, 0.1, seed=3)
    assert_disjoint(split, sum(lengths))
    assert len(split.train) + len(split.val) + len(split.test) == sum(lengths)
    for segment in segments:
        rows = np.arange(segment.start, segment.stop)
        assert [np.isin(rows, side).all() for side in (split.train, split.val, split.test)].count(True) == 1
    for side in (split.val, split.test):
        assert len(side) / sum(lengths) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("seed", range(6))
def test_few_motions_are_split_by_block_with_a_gap(seed: int) -> None:
    segments = segments_of([900, 2000], True, fps=60.0)
    split = split_rows(segments, 0.1, 0.1, seed)
    assert_disjoint(split, 2900)
    sides = {"train": split.train, "val": split.val, "test": split.test}
    for segment in segments:
        inside = {name: rows[(rows >= segment.start) & (rows < segment.stop)] for name, rows in sides.items()}
        gap = min(30, (segment.stop - segment.start) // 10 // 4)
        for name, rows in inside.items():
            assert (np.diff(rows) == 1).all()  # one contiguous block
            others = np.concatenate([other for key, other in inside.items() if key != name])
            assert np.abs(rows[:, None] - others).min() > gap
        assert sum(map(len, inside.values())) == segment.stop - segment.start - 2 * gap


def test_shuffled_frames_are_split_by_row_and_motions_beside_them_are_not() -> None:
    segments = [Segment(0, 1000, False, None), *(Segment(1000 + 100 * i, 1100 + 100 * i, True, None) for i in range(20))]
    split = split_rows(segments, 0.2, 0.1, seed=0)
    assert_disjoint(split, 3000)
    loose = [int((side < 1000).sum()) for side in (split.train, split.val, split.test)]
    assert loose == [700, 200, 100]
    assert all(np.isin(np.arange(s.start, s.stop), side).all() or not np.isin(np.arange(s.start, s.stop), side).any()
               for s in segments[1:] for side in (split.train, split.val, split.test))  # fmt: skip


def test_seeded() -> None:
    segments = segments_of([200], False)
    first, again, other = (split_rows(segments, 0.1, 0.1, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)


def test_a_fraction_of_zero_leaves_the_side_empty() -> None:
    for segments in (segments_of([300], True), segments_of([10] * 30, True), segments_of([300], False)):
        split = split_rows(segments, 0.0, 0.1, seed=0)
        assert len(split.val) == 0
        assert len(split.test) == 30


def test_components_equal_those_of_the_full_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(400, 3))
    monkeypatch.setattr(splits, "_PAIRS_AT_ONCE", 400 * 7)  # many blocks, the last one short
    for radius in (0.05, 0.3, 0.6):
        labels = radius_components(vectors, radius)
        count, reference = connected_components(cdist(vectors, vectors) <= radius)
        assert labels.max() + 1 == count
        assert len(np.unique(np.stack([labels, reference]), axis=1).T) == count


def test_twins_stay_on_one_side() -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(0, 0.5, (300, 55, 3))
    poses = np.repeat(centres, 3, axis=0) + generator.normal(0, 0.005, (900, 55, 3))
    poses = poses[generator.permutation(900)].astype(np.float32)
    joints = tuple(range(1, 22))
    split = split_by_radius(poses, joints, 0.3, 0.1, 0.1, seed=1)
    assert_disjoint(split, 900)
    assert len(split.train) + len(split.val) + len(split.test) == 900
    assert [len(side) for side in (split.val, split.test)] == [90, 90]
    train, val, test = (poses[side][:, list(joints)].reshape(len(side), -1) for side in (split.train, split.val, split.test))
    assert min(cdist(train, val).min(), cdist(train, test).min(), cdist(val, test).min()) > 0.3
    # by row they would not
    rows = split_rows([Segment(0, 900, False, None)], 0.1, 0.1, seed=1)
    assert cdist(poses[rows.train].reshape(-1, 165), poses[rows.test].reshape(-1, 165)).min() < 0.3


def test_one_giant_group_goes_to_training() -> None:
    poses = np.zeros((100, 55, 3), dtype=np.float32)
    poses[:60, 1, 0] = np.linspace(0, 1, 60)
    poses[60:, 2, 0] = np.arange(1, 41) * 3
    split = split_by_radius(poses, (1, 2), 0.1, 0.1, 0.1, seed=0)
    assert np.isin(np.arange(60), split.train).all()
    assert len(split.val) == len(split.test) == 10


def test_too_many_rows_for_all_pairs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "MAX_RADIUS_ROWS", 10)
    with pytest.raises(UserError, match=r"data\.split_radius .* up to 10; there are 11"):
        split_by_radius(np.zeros((11, 55, 3)), (1,), 0.1, 0.1, 0.1, 0)
