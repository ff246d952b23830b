"""The tasks' numbers against their definitions, where these can be computed slowly or by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import roma
import torch
from benchmark_cases import mixture, poses_of, small_data, uniform_poses
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import DensityCandidate
from pose_priors.benchmarks.priors.completion import SampledCompletion
from pose_priors.benchmarks.priors.conditional import conditional_log_prob
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.gmm import fit_gaussian, fit_gmm
from pose_priors.benchmarks.priors.parts import BODY_PARTS, LEFT_ARM, scored_parts
from pose_priors.benchmarks.priors.tasks import generation, likelihood, ood
from pose_priors.body.builtin import rest_joints
from pose_priors.body.limits import JOINT_LIMITS
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import JOINT_NAMES, MIRROR
from pose_priors.priors.evaluation.comparison import neighbour_radii, precision_recall

BODY = (1, 2, 4, 13, 14, 16, 17, 18, 19)


class NormEnergy(SampledCompletion):
    """The squared angles of the joints scored: a candidate whose AUROC can be told by hand."""

    def __init__(self, data: BenchmarkData) -> None:
        super().__init__("norm", data.joint_indices, data.default_pose)

    def energy(self, pose: Tensor) -> Tensor:
        return self.select(pose).square().sum((-1, -2))

    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        return poses_of(self.joint_indices, num)


class Disguised(SampledCompletion, DensityCandidate):
    """A mixture that does not let on that it is one."""

    def __init__(self, joints: tuple[int, ...]) -> None:
        self.truth = mixture(joints, seed=1)
        super().__init__("disguised", joints, self.truth.default_pose)

    def log_prob(self, pose: Tensor) -> Tensor:
        return self.truth.log_prob(pose)

    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        return self.truth.sample(num, generator)


def test_precision_recall_density_and_coverage_against_their_definitions() -> None:
    generator = torch.Generator().manual_seed(0)
    samples, rows = torch.randn(70, 6, generator=generator), 0.8 + 1.2 * torch.randn(90, 6, generator=generator)
    scores = generation.prdc(samples, rows, neighbour_radii(rows))

    def radius(points: Tensor, at: int) -> float:
        return float((points - points[at]).norm(dim=1).sort().values[3])

    of_rows, of_samples = [radius(rows, i) for i in range(90)], [radius(samples, i) for i in range(70)]
    inside_rows = np.array([[float((s - r).norm()) < radius for r, radius in zip(rows, of_rows, strict=True)] for s in samples])
    inside_samples = np.array([[float((s - r).norm()) < radius for s, radius in zip(samples, of_samples, strict=True)] for r in rows])
    expected = {
        "precision": inside_rows.any(1).mean(),
        "recall": inside_samples.any(1).mean(),
        "density": inside_rows.sum() / (3 * 70),
        "coverage": inside_rows.any(0).mean(),
    }
    assert scores == pytest.approx(expected)
    assert 0.1 < expected["coverage"] < expected["precision"] < 0.95
    assert (scores["precision"], scores["recall"]) == pytest.approx(precision_recall(samples[:, None], rows[:, None]))


def test_frechet_distance_of_gaussians_of_known_moments() -> None:
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    white = (points - points.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(points.T))).T
    wide, shift = torch.tensor([2.0, 0.5, 0.0], dtype=torch.float64), torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)
    expected = 1 + 4 + (2 - 1) ** 2 + (0.5 - 1) ** 2 + 1  # squares of the means' and of the deviations' differences
    assert generation.frechet_distance(white * wide + shift, white) == pytest.approx(expected)
    assert generation.frechet_distance(white, white) == pytest.approx(0, abs=1e-6)


def test_diversity_by_a_loop_over_pairs_and_whatever_the_root() -> None:
    poses = uniform_poses(6)
    joints = forward_kinematics(torch.cat([torch.zeros(6, 1, 3), poses[:, 1:]], 1), rest_joints())[0][:, :22]
    pairs = [(a - b).norm(dim=-1).mean() for i, a in enumerate(joints) for b in joints[:i]]
    assert generation.diversity_cm(poses) == pytest.approx(100 * float(torch.stack(pairs).mean()))


def test_nearest_rows_by_a_loop() -> None:
    poses, rows = uniform_poses(7)[:, :3], uniform_poses(9, seed=1)[:, :3]
    rows[4] = poses[2]
    expected = [
        min(float(roma.rotmat_geodesic_distance(roma.rotvec_to_rotmat(a), roma.rotvec_to_rotmat(b)).sum()) for b in rows) for a in poses
    ]
    nearest = generation.nearest_rad(poses, rows)
    torch.testing.assert_close(nearest, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)
    assert nearest[2] < 1e-6


def test_the_table_of_generation_tells_a_good_sampler_from_a_bad_one() -> None:
    data = small_data(BODY, 250)
    truth, poor = mixture(BODY), fit_gaussian("diagonal", data, "components")
    (table,) = generation.run([truth, poor], data)
    good, bad, real = (table.rows[name] for name in ("mixture", "diagonal", "test poses"))
    for score in ("precision", "density", "coverage"):
        assert good[score] > bad[score] + 0.05
        assert score not in real
    assert real["nearest"] == pytest.approx(good["nearest"], rel=0.15)
    assert good["nearest"] < bad["nearest"]
    lower, upper = JOINT_LIMITS[list(BODY)].unbind(-1)
    test = data.test[:, list(BODY)]
    outside = ((test < lower) | (test > upper)).any(-1).double().mean()
    assert real["outside limits %"] == pytest.approx(100 * float(outside))
    assert 0 < outside < 1


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    data = small_data(BODY, 60)
    candidate = NormEnergy(data)
    (table,) = ood.run([candidate], data)
    real = candidate.energies(data.test)
    for name, wrong in ood.corruptions(data.test, data).items():
        energy = candidate.energies(wrong)
        pairs = (energy[:, None] > real).double() + 0.5 * (energy[:, None] == real).double()
        assert table.rows["norm"][name] == pytest.approx(float(pairs.mean()))


def test_a_mixture_tells_the_wrong_poses_the_better_the_more_is_wrong() -> None:
    data = small_data(BODY, 500)
    (table,) = ood.run([fit_gmm("GMM", data, 3)], data)
    row = table.rows["GMM"]
    assert 0.55 < row["1 joint"] < row["3 joints"] < row["all joints"]
    assert 0.5 < row["2 deg"] < row["5 deg"] < row["10 deg"]


def test_each_corruption_is_what_it_is_called() -> None:
    data = small_data(BODY, 400)
    poses = data.test
    wrong = ood.corruptions(poses, data)
    scored = list(BODY)

    def touched(name: str) -> Tensor:
        return (wrong[name] != poses).any(-1)

    assert touched("1 joint").sum(1).max() == 1
    assert touched("1 joint").sum() > 390
    assert touched("3 joints").sum(1).max() == 3
    assert touched("3 joints").sum() > 3 * 390
    for joint in scored:  # rotations of real poses, each pose's once
        assert torch.equal(wrong["all joints"][:, joint].sort(0).values, poses[:, joint].sort(0).values)
    assert touched("all joints")[:, scored].double().mean() > 0.99
    arm = [joint for joint in LEFT_ARM if joint in scored]
    donors = (wrong["left arm"][:, None, arm] == poses[None, :, arm]).all(-1).all(-1)
    assert donors.any(1).all()
    assert not touched("left arm")[:, [joint for joint in range(55) if joint not in LEFT_ARM]].any()
    for degrees in (2, 5, 10):
        angle = roma.rotmat_geodesic_distance(
            *(roma.rotvec_to_rotmat(given[:, scored]) for given in (poses, wrong[f"{degrees} deg"]))
        ).rad2deg()
        # the norm of three normal components is 2 sqrt(2 / pi) of their deviation on average
        assert float(angle.mean()) == pytest.approx(degrees * 2 * math.sqrt(2 / math.pi), rel=0.03)
    shoulder, other = JOINT_NAMES.index("left_shoulder"), JOINT_NAMES.index("right_shoulder")
    assert torch.equal(wrong["arm mirrored"][:, shoulder], poses[:, other] * torch.tensor([1, -1, -1]))
    assert torch.equal(wrong["arm mirrored"][:, other], poses[:, other])
    assert torch.equal(wrong["sides not swapped"], poses * torch.tensor([1, -1, -1]))
    assert torch.equal(wrong["not reflected"], poses[:, list(MIRROR)])


def test_corruptions_of_joints_that_are_not_scored_are_left_out() -> None:
    data = small_data((12, 15), 50)
    assert set(ood.corruptions(data.test, data)) == {"1 joint", "all joints", "2 deg", "5 deg", "10 deg", "sides not swapped"}


def test_likelihood_of_a_part_by_importance_sampling_is_the_exact_one() -> None:
    disguised, hidden = Disguised(BODY), [16, 18]
    proposals = [mixture(BODY, seed=1, spread=0.6), mixture(BODY, seed=1, spread=0.7)]
    poses = disguised.sample(300, torch.Generator().manual_seed(3))
    exact = disguised.truth.conditional_log_prob(poses, hidden)
    estimate, change = conditional_log_prob(disguised, poses, hidden, proposals, num_draws=60)
    ratio = (exact - estimate).exp()  # of the estimated p(rest) to the true one
    assert float(ratio.mean()) == pytest.approx(1, abs=4 * float(ratio.std()) / math.sqrt(300))
    # few draws make a conditional look too dense, by about what the change says
    assert 0.3 * change < float((estimate - exact).mean()) < 3 * change
    many, less = conditional_log_prob(disguised, poses[:20], hidden, proposals, num_draws=6000)
    assert abs(less) < change / 10
    assert (many - exact[:20]).abs().max() < 0.3


def test_the_tables_of_likelihood() -> None:
    data = small_data(BODY, 120)
    exact, disguised, none = mixture(BODY), Disguised(BODY), NormEnergy(data)
    whole, by_part = likelihood.run([exact, disguised, none], data)
    nll = exact.energies(data.test)
    row = whole.rows["mixture"]
    assert row["NLL"] == pytest.approx(float(nll.mean()))
    assert row["worst"] == pytest.approx(float(nll.max()))
    assert row["bits/DoF"] == pytest.approx(row["NLL"] / (27 * math.log(2)))
    assert set(whole.rows["norm"].values()) == {None}
    assert "norm" in whole.notes[0]
    parts = scored_parts(BODY)
    assert set(by_part.rows["mixture"]) == set(parts) == {"left leg", "legs", "left arm", "arms", "trunk"}
    assert all(value is not None for value in by_part.rows["mixture"].values())
    told = dict(entry.rsplit(" ", 1) for entry in by_part.notes[1].removeprefix("disguised: ").removesuffix(".").split(", "))
    assert {part for part, change in told.items() if float(change) >= 0.5} == {p for p in parts if by_part.rows["disguised"][p] is None}
    assert by_part.rows["disguised"]["left leg"] is not None


def test_fingers_of_one_hand_have_parts_and_those_of_two_have_none() -> None:
    both = (27, 42)
    assert [table.key for table in likelihood.run([mixture(both)], small_data(both, 60))] == ["likelihood"]
    index = (25, 26, 27)
    whole, by_part = likelihood.run([mixture(index)], small_data(index, 60))
    assert whole.key == "likelihood"
    assert list(by_part.rows["mixture"]) == ["last joints"]


def test_parts_are_those_of_the_field() -> None:
    named = {part: {JOINT_NAMES[joint] for joint in joints} for part, joints in BODY_PARTS.items()}
    assert named["left leg"] == {"left_hip", "left_knee", "left_ankle", "left_foot"}
    assert named["trunk"] == {"spine1", "spine2", "spine3", "left_shoulder", "right_shoulder"}
    assert named["hands"] == {"left_wrist", "right_wrist"}
    assert scored_parts((16, 17)) == {"left arm": (16,)}
