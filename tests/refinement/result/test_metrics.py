"""The metrics against motions whose errors are known, and against loops that follow the definitions word by word."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose_priors.refinement.result.metrics import (
    CHUNK,
    NUM_JOINTS,
    Track,
    abs_mpjpe,
    accel_error,
    align,
    distance_error,
    foot_sliding,
    ground_penetration,
    jitter,
    mpjpe,
    pa_mpjpe,
    person_metrics,
    rte_percent,
    runs,
    scale_error_percent,
    w_mpjpe,
    wa_mpjpe,
)

FPS = 25.0
FEET = [7, 8, 10, 11]


def people(num_frames: int, seed: int = 0) -> np.ndarray:
    """(n, 22, 3) random bodies that move."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(1, NUM_JOINTS, 3)) + np.cumsum(0.05 * rng.normal(size=(num_frames, NUM_JOINTS, 3)), 0)


def similar(points: np.ndarray, scale: float, degrees: float = 70) -> np.ndarray:
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.array([0.6, 0.0, 0.8])).as_matrix()
    return scale * points @ turn.T + [3.0, -2.0, 0.5]


def whole(joints: np.ndarray) -> Track:
    return Track(np.arange(len(joints)), joints)


def test_alignment_finds_the_similarity_also_of_mirrored_and_flat_points() -> None:
    points = np.random.default_rng(1).normal(size=(30, 3))
    for source in (points, points * [1, 1, 0]):
        scale, rotation, shift = align(source, similar(source, 1.7, 170))
        np.testing.assert_allclose(scale * source @ rotation.T + shift, similar(source, 1.7, 170), atol=1e-12)
        assert scale == pytest.approx(1.7)
    # a mirror image cannot be reached: the rotation stays proper, and is the one that scipy finds
    mirrored = points * [1, 1, -1]
    scale, rotation, shift = align(points, mirrored, with_scale=False)
    assert scale == 1
    assert np.linalg.det(rotation) == pytest.approx(1)
    best, _ = Rotation.align_vectors(mirrored - mirrored.mean(0), points - points.mean(0))
    np.testing.assert_allclose(rotation, best.as_matrix(), atol=1e-8)


def test_what_each_joint_error_is_blind_to() -> None:
    truth = people(40)
    moved = truth + np.array([0.3, 0.0, 0.4])
    assert abs_mpjpe(moved, truth) == pytest.approx(500)
    assert mpjpe(moved, truth) == pytest.approx(0, abs=1e-9)
    grown = 1.1 * truth
    assert abs_mpjpe(grown, truth) == pytest.approx(100 * np.linalg.norm(truth, axis=-1).mean())
    assert mpjpe(grown, truth) > 50
    for metric in (pa_mpjpe, w_mpjpe, wa_mpjpe):
        assert metric(similar(truth, 0.7), truth) == pytest.approx(0, abs=1e-9)
    # each frame its own similarity: nothing but PA is blind to that
    wild = np.stack([similar(frame, 0.8 + 0.01 * t, 3.0 * t) for t, frame in enumerate(truth)])
    assert pa_mpjpe(wild, truth) == pytest.approx(0, abs=1e-9)
    assert w_mpjpe(wild, truth) > wa_mpjpe(wild, truth) > 100


def test_w_shows_drift_that_wa_halves() -> None:
    """A person who drifts by 1 mm a frame from the third on, far from the rotation's reach: W sees all of it."""
    truth = np.tile(people(1), (60, 1, 1))
    drift = np.maximum(np.arange(60) - 1, 0)[:, None, None] * np.array([1e-3, 0, 0])
    assert w_mpjpe(truth + drift, truth) == pytest.approx(np.linalg.norm(drift, axis=-1).mean() * 1e3)
    assert wa_mpjpe(truth + drift, truth) < 0.6 * w_mpjpe(truth + drift, truth)


def test_chunks_are_aligned_one_by_one() -> None:
    truth = people(2 * CHUNK + 2)
    parts = [similar(truth[:CHUNK], 0.9, 20), similar(truth[CHUNK : 2 * CHUNK], 1.2, 120)]
    # the two frames left over would be aligned to themselves, so they do not count
    whole_clip = np.concatenate([*parts, truth[2 * CHUNK :] + np.random.default_rng(0).normal(size=(2, 1, 3))])
    assert w_mpjpe(whole_clip, truth) == pytest.approx(0, abs=1e-9)
    assert wa_mpjpe(whole_clip, truth) == pytest.approx(0, abs=1e-9)
    assert w_mpjpe(np.roll(whole_clip, 1, 0), np.roll(truth, 1, 0)) > 10
    assert w_mpjpe(truth[:2], truth[:2]) is None


def test_rte_is_rigid_and_relative_to_the_path() -> None:
    path = np.stack([np.linspace(0, 4, 4001), np.zeros(4001), np.zeros(4001)], 1)
    assert rte_percent(similar(path, 1.0), path) == pytest.approx(0, abs=1e-9)
    # a tenth too long: the error is a tenth of the distance from the middle, a quarter of the length on average
    assert rte_percent(similar(path, 1.1), path) == pytest.approx(2.5, rel=1e-3)
    assert rte_percent(path / 5, path / 5) is None


def test_jitter_and_acceleration_of_polynomials() -> None:
    time = np.arange(30)[:, None, None] / FPS
    base = np.tile(people(1), (30, 1, 1))
    cubic = base + time**3 * np.array([3.0, 0.0, 4.0])
    assert jitter(whole(cubic), FPS) == pytest.approx(6 * 5 / 10)
    quadratic = base + time**2 * np.array([0.0, 1.5, 2.0])
    assert jitter(whole(quadratic), FPS) == pytest.approx(0, abs=1e-6)
    assert accel_error(whole(quadratic), base, FPS) == pytest.approx(2 * 2.5)
    assert accel_error(whole(cubic + 5), cubic, FPS) == pytest.approx(0, abs=1e-6)


def test_nothing_is_measured_across_a_gap() -> None:
    joints, frames = people(20), np.r_[0:8, 12:24]
    joints[8:] += 50.0
    assert [list(rows) for rows in runs(np.array([0, 1, 4, 5, 6, 9]))] == [[0, 1], [2, 3, 4], [5]]
    truth = np.zeros_like(joints)
    parts = [np.diff(joints[rows], 3, axis=0) for rows in (slice(0, 8), slice(8, 20))]
    expected = np.concatenate([np.linalg.norm(part, axis=-1).ravel() for part in parts]).mean() * FPS**3 / 10
    assert jitter(Track(frames, joints), FPS) == pytest.approx(expected)
    assert accel_error(Track(frames, joints), truth, FPS) < 1e3
    assert foot_sliding(Track(frames, joints), truth) < 1e3
    assert jitter(Track(np.arange(0, 40, 2), joints), FPS) is None
    assert accel_error(Track(np.arange(0, 40, 2), joints), truth, FPS) is None
    assert foot_sliding(Track(np.arange(0, 40, 2), joints), truth) is None


def test_sliding_counts_only_where_the_true_foot_stands() -> None:
    truth = np.tile(people(1), (11, 1, 1))
    steps = np.arange(11)[:, None] * np.array([1.0, 0, 0])
    slid = truth.copy()
    for foot, (true_step, found_step) in zip(FEET, ((0.0, 0.003), (0.009, 0.005), (0.011, 0.4), (0.5, 0.0)), strict=True):
        truth[:, foot] += true_step * steps
        slid[:, foot] += found_step * steps
    slid[:, 4] += 0.7 * steps  # a knee is no foot
    assert foot_sliding(whole(slid), truth) == pytest.approx((3 + 5) / 2)
    assert foot_sliding(whole(slid), truth + 0.02 * steps[:, None]) is None


def test_penetration_is_the_depth_below_a_tilted_floor() -> None:
    normal = np.array([0.0, 0.6, -0.8])
    joints = np.tile(people(1), (4, 1, 1))
    for toe, heights in ((10, (0.02, -0.01, 0.0, -0.03)), (11, (0.1, 0.1, -0.02, 0.1))):
        joints[:, toe] = (np.array(heights) + 1.2)[:, None] * normal + np.array([0.3, 0.8, 0.6])
    assert ground_penetration(joints, np.append(normal, -1.2)) == pytest.approx((10 + 30 + 20) / 8)


def test_distances_between_people_on_common_frames() -> None:
    base = np.zeros((10, NUM_JOINTS, 3))
    places = (base, base + np.array([1.0, 0, 0]), base + np.array([0, 2.0, 0]))
    truths = [places[0][:6], places[1][2:], places[2][:1]]
    tracks = [
        Track(np.arange(6), truths[0]),
        Track(np.arange(2, 10), truths[1] + [0.1, 0, 0]),
        Track(np.arange(1), truths[2] + [0, 0.3, 0]),
    ]
    # four common frames of the first two, one of the first and the third, none of the others
    assert distance_error(tracks, truths) == pytest.approx((4 * 100 + 300) / 5)
    assert distance_error(tracks[:1], truths[:1]) is None
    together = [Track(track.frames, track.joints + 7.0) for track in tracks]
    assert distance_error(together, truths) == pytest.approx((4 * 100 + 300) / 5)


def test_scale_error() -> None:
    assert scale_error_percent(1.0, 1.25) == pytest.approx(20)
    assert scale_error_percent(2.6, 2.6) == 0


def test_a_person_is_scored_where_seen_and_apart_where_not() -> None:
    truth = people(12, seed=3)
    visible = np.ones(12, bool)
    visible[4:7] = False
    joints = truth + np.where(visible, 0.01, 0.05)[:, None, None] * np.array([0.0, 0.0, 1.0])
    plane = np.array([0.0, 1.0, 0.0, 100.0])
    scores = person_metrics(whole(joints), truth, visible, plane, FPS)
    assert scores["abs_mpjpe_mm"] == pytest.approx(10)
    assert scores["infilled_abs_mpjpe_mm"] == pytest.approx(50)
    assert scores["mpjpe_mm"] == pytest.approx(0, abs=1e-9)
    assert scores["jitter"] != scores["jitter_truth"] == jitter(whole(truth), FPS)
    assert scores["ground_penetration_mm"] == 0
    never = person_metrics(whole(joints), truth, ~np.ones(12, bool), plane, FPS)
    assert never["abs_mpjpe_mm"] is never["pa_mpjpe_mm"] is never["mpjpe_mm"] is None
    assert person_metrics(whole(joints), truth, np.ones(12, bool), plane, FPS)["infilled_abs_mpjpe_mm"] is None


def test_against_loops() -> None:
    joints, truth = people(15, 5), people(15, 6)
    track = whole(joints)
    sums: dict[str, list[float]] = {"jitter": [], "accel": [], "slide": [], "pa": []}
    for t in range(12):
        for j in range(NUM_JOINTS):
            third = joints[t + 3, j] - 3 * joints[t + 2, j] + 3 * joints[t + 1, j] - joints[t, j]
            sums["jitter"].append(np.sqrt((third**2).sum()) * FPS**3 / 10)
    for t in range(13):
        for j in range(NUM_JOINTS):
            found, true = (x[t + 2, j] - 2 * x[t + 1, j] + x[t, j] for x in (joints, truth))
            sums["accel"].append(np.sqrt(((found - true) ** 2).sum()) * FPS**2)
    calm = truth * 0.1
    for t in range(14):
        for j in FEET:
            if np.linalg.norm(calm[t + 1, j] - calm[t, j]) < 0.010:
                sums["slide"].append(np.linalg.norm(joints[t + 1, j] - joints[t, j]) * 1e3)
    for a, b in zip(joints, truth, strict=True):
        centred, wanted = a - a.mean(0), b - b.mean(0)
        turn, _ = Rotation.align_vectors(wanted, centred)
        turned = turn.apply(centred)
        scale = (turned * wanted).sum() / (turned * turned).sum()
        sums["pa"] += list(np.linalg.norm(scale * turned - wanted, axis=1) * 1e3)
    assert jitter(track, FPS) == pytest.approx(np.mean(sums["jitter"]))
    assert accel_error(track, truth, FPS) == pytest.approx(np.mean(sums["accel"]))
    assert sums["slide"]
    assert foot_sliding(track, calm) == pytest.approx(np.mean(sums["slide"]))
    assert pa_mpjpe(joints, truth) == pytest.approx(np.mean(sums["pa"]))
