"""The tasks of the prior benchmark against closed forms: conditional draws, denoising, inverse kinematics, and what counts as a failure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import roma
import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate, DensityCandidate
from pose_priors.benchmarks.priors.completion import ConditionalSampler, SampledCompletion, complete_by_sampling, complete_to_mean
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.fitting import Problem, fit, remaining_errors
from pose_priors.benchmarks.priors.gmm import Mixture
from pose_priors.benchmarks.priors.minimize import minimize
from pose_priors.benchmarks.priors.noise import noisy_joints, noisy_rotations
from pose_priors.benchmarks.priors.skeleton import Skeleton, degrees
from pose_priors.benchmarks.priors.tasks import completion, denoising, inverse_kinematics, regulariser
from pose_priors.body.builtin import rest_joints
from pose_priors.body.rotations import geodesic_angle
from pose_priors.body.skeleton import JOINT_NAMES, index_of
from pose_priors.datamodules.synthetic import synthetic_poses

ARM = tuple(index_of(name) for name in ("left_collar", "left_shoulder", "left_elbow", "left_wrist"))
HIDDEN = ARM[1:3]
BODY = tuple(joint for joint in range(1, 22) if joint not in (10, 11))


def arm_mixture(num: int, seed: int = 0, spread: float = 0.15) -> Mixture:
    """A mixture over the arm with correlated components, far enough from pi to be a density over rotations up to rounding."""
    generator = torch.Generator().manual_seed(seed)
    size = 3 * len(ARM)
    root = spread * torch.randn(num, size, size, generator=generator, dtype=torch.float64) / math.sqrt(size)
    means = 0.4 * torch.randn(num, size, generator=generator, dtype=torch.float64)
    covariances = root @ root.mT + 0.003 * torch.eye(size, dtype=torch.float64)
    return Mixture("arm", ARM, torch.zeros(55, 3), torch.full((num,), 1 / num), means, covariances)


class Known(SampledCompletion, DensityCandidate):
    """Density and samples of a mixture, completed as any prior is, without its exact conditionals."""

    def __init__(self, mixture: Mixture) -> None:
        super().__init__("known", mixture.joint_indices, mixture.default_pose)
        self.mixture = mixture

    def log_prob(self, pose: Tensor) -> Tensor:
        return self.mixture.log_prob(pose)

    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        return self.mixture.sample(num, generator)


class Planted(Candidate):
    """An energy that is not finite, or that falls for ever, where the pose is of one kind."""

    def __init__(self, value: str) -> None:
        super().__init__("planted", BODY, torch.zeros(55, 3))
        self.value = value

    def energy(self, pose: Tensor) -> Tensor:
        energy = pose[:, list(BODY)].square().flatten(1).sum(1)
        if self.value == "nan":
            return torch.where(pose[:, BODY[0], 0] > 0, energy * math.nan, energy)
        return 100 * energy if self.value == "good" else -1e4 * energy.sqrt()

    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def complete(self, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def complete_point(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        raise NotImplementedError


def body_data(num: int = 40, joints: tuple[int, ...] = BODY) -> BenchmarkData:
    poses = synthetic_poses(3 * num, seed=0).double()
    poses[:, 0] = 0
    return BenchmarkData(poses[:num], poses[num : 2 * num], poses[2 * num :], joints, "0" * 16)


@pytest.mark.parametrize("num", [1, 2])
def test_draws_have_the_moments_of_the_exact_conditional(num: int) -> None:
    mixture = arm_mixture(num)
    pose = mixture.sample(3, torch.Generator().manual_seed(1))
    drawn = complete_by_sampling(Known(mixture), pose, HIDDEN, 400, torch.Generator().manual_seed(2))
    exact = mixture.complete(pose, HIDDEN, 20000, torch.Generator().manual_seed(3))
    flat, true = (d[:, :, list(HIDDEN)].flatten(2) for d in (drawn, exact))
    std = true.std(0)
    # draws share one importance sample, worth at least 128 of its draws, so their mean is known to 1 / sqrt(128) standard deviations
    assert ((flat.mean(0) - true.mean(0)) / std).abs().max() < 4 / math.sqrt(128)
    assert (flat.std(0) / std - 1).abs().max() < 4 / math.sqrt(2 * 128)
    seen = [joint for joint in range(55) if joint not in HIDDEN]
    torch.testing.assert_close(drawn[:, :, seen], pose.double().expand(400, 3, 55, 3)[:, :, seen])


def test_a_wrong_proposal_is_made_good() -> None:
    """The proposal is shifted by a standard deviation and twice too wide: resampling and moving take both out."""
    mixture = arm_mixture(1)
    wrong = Mixture("wrong", ARM, mixture.default_pose, mixture.weights, mixture.means + 0.08, 4 * mixture.covariances)
    pose = mixture.sample(8, torch.Generator().manual_seed(1))
    sampler = ConditionalSampler(Known(mixture), pose, HIDDEN, wrong, torch.Generator().manual_seed(2))
    *_, last = sampler.states(200)
    _, mean, covariance = mixture.given(pose, HIDDEN)
    std = covariance[0].diagonal().sqrt()
    off = (last.flatten(2).mean(0) - mean[:, 0]) / std
    there = (wrong.given(pose, HIDDEN)[1][:, 0] - mean[:, 0]) / std
    assert there.abs().max() > 0.5
    assert off.abs().mean() < 0.15
    assert (last.flatten(2).std(0) / std - 1).abs().mean() < 0.15


def test_the_point_estimate_is_the_mean_of_the_conditional_and_repeats() -> None:
    mixture = arm_mixture(1)
    pose = mixture.sample(6, torch.Generator().manual_seed(1))
    point = complete_to_mean(Known(mixture), pose, HIDDEN)
    exact = mixture.complete_point(pose, HIDDEN)
    there, true = (roma.rotvec_to_rotmat(p[:, list(HIDDEN)]) for p in (point, exact))
    std = mixture.given(pose, HIDDEN)[2][0].diagonal().mean().sqrt()
    assert geodesic_angle(there, true).mean() < std
    changed = pose.clone()
    changed[:, list(HIDDEN)] = 1.0
    torch.testing.assert_close(complete_to_mean(Known(mixture), changed, HIDDEN), point)


def test_masks_are_those_of_the_names() -> None:
    parts = completion.hidden_parts(body_data())
    named = {name: {JOINT_NAMES[joint] for joint in hidden} for name, hidden in parts.items()}
    assert named["left leg"] == {"left_hip", "left_knee", "left_ankle"}
    assert named["legs"] == {f"{side}_{name}" for side in ("left", "right") for name in ("hip", "knee", "ankle")}
    assert named["left arm"] == {"left_collar", "left_shoulder", "left_elbow", "left_wrist"}
    assert named["trunk"] == {"spine1", "spine2", "spine3", "left_shoulder", "right_shoulder"}
    assert named["hands"] == {"left_wrist", "right_wrist"}
    seen = {JOINT_NAMES[joint] for joint in BODY} - named[completion.ENDS_ONLY]
    assert seen == {"head", "left_wrist", "right_wrist", "left_ankle", "right_ankle"}


def test_completion_by_a_prior_that_knows_the_answer_has_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    data = body_data()

    class Knows(Planted):
        def complete(self, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
            drawn = pose.expand(num, *pose.shape).clone()
            drawn[1:, :, list(hidden)] += 0.1
            return drawn

        def complete_point(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
            return pose

    angles, millimetres = completion.run([Knows("good")], data)
    for table in (angles, millimetres):
        row = table.rows["planted"]
        assert row["left arm: best"] == pytest.approx(0, abs=1e-5)
        assert row["left arm: point"] == pytest.approx(0, abs=1e-5)
        assert row["left arm: mean"] > 1


def test_joints_below_a_part_and_their_millimetres() -> None:
    skeleton = Skeleton(body_data())
    assert [JOINT_NAMES[joint] for joint in skeleton.below([index_of("left_shoulder")])] == ["left_shoulder", "left_elbow", "left_wrist"]
    pose, turned = torch.zeros(2, 55, 3, dtype=torch.float64)
    turned = turned.clone()
    turned[index_of("left_elbow"), 1] = math.pi
    # half a turn of the elbow moves the wrist by twice what of the forearm is across the axis, and nothing else
    rest = rest_joints()
    across = (rest[index_of("left_wrist")] - rest[index_of("left_elbow")])[[0, 2]]
    wrist = skeleton.millimetres(turned, pose, [index_of("left_wrist")])
    assert float(wrist) == pytest.approx(2000 * float(across.norm()), rel=1e-5)
    assert float(skeleton.millimetres(turned, pose, [index_of("left_elbow")])) == 0
    assert float(degrees(turned, pose, [index_of("left_elbow"), index_of("left_wrist")])) == pytest.approx(90)


def test_denoising_is_the_wiener_filter_of_a_gaussian_prior() -> None:
    """For rotations near the identity, where these commute to first order, the most probable pose is linear in what is seen."""
    mixture = arm_mixture(1, spread=0.02)
    mixture = Mixture("small", ARM, mixture.default_pose, mixture.weights, 0 * mixture.means, 0.02 * mixture.covariances)
    truth = mixture.sample(20, torch.Generator().manual_seed(1))
    skeleton = Skeleton(body_data(joints=ARM))
    problem = noisy_rotations(truth, skeleton, 0.4, seed=0)
    found, fits = fit(problem, mixture, skeleton, 200)
    assert fits.converged.all()
    noise = math.radians(0.4) ** 2 * torch.eye(12, dtype=torch.float64)
    gain = mixture.covariances[0] @ torch.linalg.inv(mixture.covariances[0] + noise)
    seen = problem.start[:, list(ARM)].flatten(1)
    torch.testing.assert_close(found[:, list(ARM)].flatten(1), seen @ gain.T, atol=3e-4, rtol=0)
    assert degrees(found, truth, ARM).mean() < 0.9 * degrees(problem.start, truth, ARM).mean()


def test_the_likelihood_of_noisy_rotations_is_a_density_over_rotations() -> None:
    """Its integral over uniformly random clean rotations is what normalises it: one standard deviation of 20 degrees, one joint."""
    joint = (index_of("left_elbow"),)
    skeleton = Skeleton(body_data(joints=joint))
    problem = noisy_rotations(torch.zeros(1, 55, 3, dtype=torch.float64), skeleton, 20.0, seed=0)
    generator = torch.Generator().manual_seed(0)
    poses = torch.zeros(50000, 55, 3, dtype=torch.float64)
    quat = torch.randn(len(poses), 4, generator=generator, dtype=torch.float64)
    poses[:, joint[0]] = roma.unitquat_to_rotvec(quat / quat.norm(dim=-1, keepdim=True))
    energy = problem.data_energy(poses, torch.zeros(len(poses), dtype=torch.long))
    constant = 1.5 * math.log(2 * math.pi * math.radians(20) ** 2)
    assert float((-energy - constant).exp().mean()) == pytest.approx(1, abs=0.08)


def test_the_weight_is_chosen_by_validation_alone() -> None:
    data = body_data()
    skeleton = Skeleton(data)
    arm = Known(arm_mixture(1))
    skeleton.scored = list(ARM)
    test, val = (noisy_rotations(side[:4], skeleton, 5, seed=0) for side in (data.test, data.val))

    def error(pose: Tensor, truth: Tensor) -> Tensor:
        moved = (pose - (val if truth is val.truth else test).start).abs().sum((1, 2))
        return -moved if truth is val.truth else moved

    scores, told = remaining_errors([arm], skeleton, {"5 deg": (test, val)}, error, (0.1, 1.0, 3.0), 30, (0.2,))
    # validation was made to like what is furthest from the observations, which the largest weight leaves
    assert "known 3. " in told
    assert scores["known"]["5 deg~"] is None  # its smoothed energy is not known
    means = {name: {column: float(values.mean()) for column, values in row.items() if values is not None} for name, row in scores.items()}
    assert means["known"]["5 deg*"] > means["known"]["5 deg"] > means["no prior"]["5 deg"]
    assert len(scores["known"]["5 deg"]) == 4


def test_motions_are_smoother_with_the_temporal_term_and_closer() -> None:
    data = body_data()
    skeleton = Skeleton(data)
    pieces = denoising.motions(data)
    assert pieces.shape == (6, 60, 55, 3)
    truth = pieces[:1]
    expected = float(torch.diff(skeleton.joints(truth)[..., 1:, :], n=2, dim=1).square().mean().sqrt())
    errors = []
    for std in (None, expected):
        found, _ = fit(noisy_joints(truth, truth[:, :1], skeleton, 20, 0, std), None, skeleton, 30)
        errors.append(float(skeleton.millimetres(found, truth, range(1, 22)).mean()))
    assert errors[1] < 0.8 * errors[0]


def test_inverse_kinematics_recovers_noiseless_joints() -> None:
    data = body_data()
    skeleton = Skeleton(data)
    poses = data.test[:3]
    problems = inverse_kinematics.observed(poses, data.default_pose, skeleton, noise_mm=1e-3, noise_px=1e-3)
    for name in ("all", "2D"):
        clean = problems[name]
        near = skeleton.with_scored(poses, poses[:, skeleton.scored] + 0.05)
        found, _ = fit(Problem(poses, near, clean.data_energy), None, skeleton, 200)
        assert float(skeleton.millimetres(found, poses, range(1, 22)).max()) < 5, name
    assert problems["5 joints"].data_energy(poses, torch.arange(3)).mean() == pytest.approx(15 / 2, rel=0.5)


def test_the_camera_projects_as_a_pinhole() -> None:
    point = torch.tensor([0.3, -0.6, 1.0], dtype=torch.float64)
    torch.testing.assert_close(inverse_kinematics.Camera(3.0).project(point), torch.tensor([150.0, -300.0], dtype=torch.float64))


def test_rows_are_minimised_apart_from_each_other() -> None:
    """Rosenbrock's function from many starts: each row ends where it ends alone, at the one minimum."""

    def rosenbrock(x: Tensor, rows: Tensor) -> Tensor:
        return 1e4 * (1 - x[:, 0]) ** 2 + 1e6 * (x[:, 1] - x[:, 0] ** 2) ** 2

    start = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = minimize(rosenbrock, start, 500)
    assert together.converged.all()
    assert not together.failed.any()
    torch.testing.assert_close(together.point, torch.ones(30, 2, dtype=torch.float64), atol=3e-3, rtol=0)
    alone = minimize(rosenbrock, start[7:8], 500)
    torch.testing.assert_close(alone.point[0], together.point[7])
    assert alone.steps[0] == together.steps[7]


@pytest.mark.parametrize(("value", "failures"), [("good", 0), ("nan", None), ("bottomless", 20)])
def test_planted_failures_are_counted(monkeypatch: pytest.MonkeyPatch, value: str, failures: int | None) -> None:
    monkeypatch.setattr(regulariser, "_NUM_STARTS", 20)
    monkeypatch.setattr(regulariser, "_NUM_ALONE", 1)
    monkeypatch.setattr(regulariser, "_MAX_STEPS", 200)
    (table,) = regulariser.run([Planted(value)], body_data())
    row = table.rows["planted"]
    assert table.rows["no prior"]["of them not finite"] == 0
    if value == "nan":
        assert row["failures"] >= int((regulariser.random_starts(20)[:, BODY[0], 0] > 0).sum()) > 0
        assert row["of them not finite"] == row["failures"]
    else:
        assert row["failures"] == failures


def test_random_starts_are_uniform_and_some_are_half_turns() -> None:
    angle = regulariser.random_starts(2000).norm(dim=-1)
    assert (angle[::10] - math.pi).abs().max() < 1e-6
    rest = torch.cat([angle[i::10] for i in range(1, 10)])
    # under Haar measure the angle's mean is pi / 2 + 2 / pi
    assert float(rest.mean()) == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.01)
