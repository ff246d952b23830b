"""The regression of noisy joints: its process against Gaussian conditionals, what it promises, what it learns, and whose flow it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from flow_cases import CONFIG, FRAMES, some_states
from motion_windows import synthetic_windows
from torch import Tensor

from pose_priors.body.motion_state import STATE, joints_of
from pose_priors.body.skeleton import index_of
from pose_priors.configs.base import UserError
from pose_priors.priors.checkpoint import describe, take_flow_from
from pose_priors.priors.motion.flow.chaining import restore
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.regression import axes
from pose_priors.priors.motion.flow.regression import model as regression_model
from pose_priors.priors.motion.flow.regression.asked import regression_share
from pose_priors.priors.motion.flow.regression.axes import AxesProcess
from pose_priors.priors.motion.flow.regression.model import steadied
from pose_priors.priors.motion.flow.restoring import as_seen
from pose_priors.priors.motion.flow.skeletons import bones_of_rest
from pose_priors.priors.motion.flow.view import PLACES, Noise, motion_of_states, motion_of_windows
from pose_priors.priors.training.logging import DESCRIPTIONS

FEW = 5  # frames
WITH = CONFIG.model_copy(update={"regression_hidden": 32})


@pytest.fixture(scope="module")
def prior() -> MotionFlow:
    """Whose regression has learnt for a few steps, and whose flow has learnt nothing."""
    torch.manual_seed(0)
    prior = MotionFlow(WITH)
    windows = synthetic_windows(16, FRAMES)
    prior.fit_statistics(windows)
    regression = prior.denoiser.regression
    assert regression is not None
    prior.train()
    motion, optimizer = motion_of_windows(windows), torch.optim.Adam(regression.parameters(), lr=1e-2)
    ratios = []
    for _ in range(16):
        errors = regression.errors(prior.denoiser.smoother, motion, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        errors["regression"].backward()
        optimizer.step()
        ratios.append(float(errors["over_axes"]))
    assert ratios[0] == pytest.approx(1.0, abs=1e-5)  # at first it says what the process says
    assert ratios[-1] < 0.95
    return prior.double().eval().requires_grad_(False)


def fitted(generator: torch.Generator) -> tuple[AxesProcess, np.ndarray]:
    """A process of few frames, and the covariance (FEW * 63, FEW * 63) of all its places."""
    mix = torch.randn(FEW * 63, 40, generator=generator, dtype=torch.float64) * 0.9 ** torch.arange(40)
    places = (torch.randn(300, 40, generator=generator, dtype=torch.float64) @ mix.T).view(-1, FEW, 63) * 0.05 + 0.3
    process = AxesProcess(FEW).double()
    process.fit(places)
    temporal = (process.vectors * process.values[:, None]) @ process.vectors.mT
    return process, torch.einsum("ia,ast,ja->sitj", process.axes, temporal[process.of_axis], process.axes).reshape(FEW * 63, -1).numpy()


def test_the_process_has_the_covariances_of_the_axes() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, FEW, 63, generator=generator, dtype=torch.float64) * torch.linspace(0.01, 0.2, 63)
    process = AxesProcess(FEW).double()
    process.fit(x)
    centred = (x - x.mean((0, 1))).flatten(0, 1).numpy()
    variances = np.linalg.eigvalsh(centred.T @ centred / len(centred))[::-1]
    own = process.values[:-1].mean(1).numpy()  # the mean over frames of what an axis varies by
    np.testing.assert_allclose(own, variances[: len(own)], atol=1e-6)
    assert float(process.values[-1].mean()) == pytest.approx(variances[len(own) :].mean(), abs=1e-6)


@pytest.mark.parametrize("unlike", [False, True])
def test_it_is_the_conditional_of_all_places(unlike: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    process, covariance = fitted(generator)
    noise = torch.full((2, FEW, 21), 0.04, dtype=torch.float64)
    noise[1] = 0.1
    if unlike:
        monkeypatch.setattr(axes, "_STEPS", 400)
        noise = noise * (1 + torch.rand(noise.shape, generator=generator, dtype=torch.float64))
        noise[0, 2] = noise[1, :, 5] = torch.inf
    seen = process.mean + 0.1 * torch.randn(2, FEW, 63, generator=generator, dtype=torch.float64)
    hidden = torch.where(noise.isfinite().repeat_interleave(3, -1), seen, torch.nan)
    found = process.posterior(hidden, noise, process.mean.expand_as(seen))
    mean = process.mean.repeat(FEW).numpy()
    for row in range(2):
        std = noise[row].repeat_interleave(3, -1).flatten().numpy()
        at = np.flatnonzero(np.isfinite(std))
        told = (seen[row].flatten().numpy() - mean)[at]
        right = covariance[:, at] @ np.linalg.solve(covariance[np.ix_(at, at)] + np.diag(std[at] ** 2), told)
        np.testing.assert_allclose(found[row].flatten().numpy() - mean, right, atol=2e-4 if unlike else 1e-9)


def noisy(states: Tensor, std: float) -> Tensor:
    seen = states.clone()
    moved = std * torch.randn(*states.shape[:-1], 22, 3, generator=torch.Generator().manual_seed(3)).double()
    moved[..., 0, :] = 0
    seen[..., STATE["joints"]] += moved.flatten(-2)
    return seen


def known_root(std: float, size: int = 3) -> tuple[Tensor, Tensor]:
    of_joints = torch.full((size, FRAMES, 22), std, dtype=torch.float64)
    of_joints[..., 0] = 0
    of_rotations = torch.full_like(of_joints, torch.inf)
    of_rotations[..., 0] = 0
    return of_joints, of_rotations


def test_it_is_asked_where_no_rotation_tells_of_joints(prior: MotionFlow) -> None:
    joints, rotations = known_root(0.05, 8)
    joints[1], rotations[1] = 0.05, torch.inf  # nothing of the root's turn
    joints[2, 3:9, 1:] = torch.inf
    rotations[3, :, 5] = 0.2  # seen, with noise
    joints[4, 3, 0] = torch.inf  # no place of the pelvis on a frame
    rotations[5, :12, 0] = torch.inf  # nothing of the root on half of them
    joints[6, :, 4], rotations[6, :, 4] = 0, 0  # a joint of which all is known
    joints[7], rotations[7] = 0, 0  # nothing with noise
    joints[7, :, 4:8], rotations[7, :, 4:8] = torch.inf, torch.inf
    asked = [0.9, 0, 0.9, 0, 0.9, 0, 0.9, 0.25]
    assert regression_share(Noise.of(rotations, joints)).tolist() == pytest.approx(asked)
    vague, nearly = (tuple(value.clone() for value in known_root(0.05, 1)) for _ in range(2))
    vague[1][..., 1:] = 3.0
    nearly[1][..., 0] = nearly[0][..., 0] = 1e-6
    assert [float(regression_share(Noise.of(turns, places))) for places, turns in (vague, nearly)] == pytest.approx([0.9, 0.9])
    regression, states = prior.denoiser.regression, noisy(some_states(8), 0.05)
    found = joints_of(prior.denoise(states, joints, rotations))
    prior.denoiser.regression = None
    without = joints_of(prior.denoise(states, joints, rotations))
    prior.denoiser.regression = regression
    assert ((found - without).flatten(1).abs().amax(1) > 1e-3).tolist() == [share > 0 for share in asked]


def test_it_is_asked_of_limbs_that_are_hidden_for_half_of_a_window_beside_what_is_known() -> None:
    leg = [index_of(f"left_{name}") for name in ("hip", "knee", "ankle", "foot")]
    arm = [index_of(f"right_{name}") for name in ("collar", "shoulder", "elbow", "wrist")]
    joints = torch.zeros(7, FRAMES, 22, dtype=torch.float64)
    rotations = joints.clone()
    half = FRAMES // 2
    hidden = [
        (leg, half),
        (leg + arm, FRAMES),
        (arm, half - 1),
        (leg[1:], FRAMES),
        ([*leg, index_of("spine2")], FRAMES),
        (leg, FRAMES),
        (leg, FRAMES),
    ]
    for row, (which, frames) in enumerate(hidden):
        for values in (joints, rotations):
            values[row, :frames, which] = torch.inf
    rotations[5, :, leg] = 0.0  # which tell where the joints are
    joints[6, 3] = torch.inf  # a frame of which nothing is known
    rotations[6, 3] = torch.inf
    assert regression_share(Noise.of(rotations, joints)).tolist() == [1, 1, 0.25, 0.25, 0.25, 0, 0.25]


def test_what_it_changes_is_smooth_where_nothing_is_seen_and_as_it_was_elsewhere() -> None:
    change = torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hidden = torch.ones(2, 12, 3, dtype=torch.bool)
    hidden[0, 4, 1] = False
    found = steadied(change, hidden)
    for row, t, at in np.ndindex(2, 12, 3):
        near = [min(max(t + k, 0), 11) for k in (-2, -1, 0, 1, 2)]
        shown = (row, at) == (0, 1) and 2 <= t <= 6
        wanted = change[row, t, at] if shown else sum(w * change[row, k, at] for w, k in zip((1, 4, 6, 4, 1), near, strict=True)) / 16
        torch.testing.assert_close(found[row, t, at], wanted)


def test_what_is_exact_stays_and_what_is_not_seen_does_not_matter(prior: MotionFlow) -> None:
    states = some_states(3)
    joints, rotations = known_root(0.03)
    joints[0, :, 1:] = 0
    joints[0, :, [4, 7, 10]] = torch.inf
    joints[1, 5:12, 1:] = torch.inf
    joints[2, :, 6] = 0
    seen = noisy(states, 0.03)
    seen[..., STATE["joints"]] = torch.where((joints == 0)[..., None], joints_of(states), joints_of(seen)).flatten(-2)
    hidden = seen.clone()
    hidden[..., STATE["joints"]] = torch.where(joints[..., None].isfinite(), joints_of(seen), torch.nan).flatten(-2)
    done = joints_of(prior.denoise(hidden, joints, rotations))
    assert done.isfinite().all()
    torch.testing.assert_close(done, joints_of(prior.denoise(seen, joints, rotations)), rtol=0, atol=0)
    torch.testing.assert_close(done[joints == 0], joints_of(states)[joints == 0], rtol=0, atol=0)


def test_a_turned_world_and_other_windows_change_nothing(prior: MotionFlow) -> None:
    joints, rotations = known_root(0.04)
    states = noisy(some_states(3), 0.04)
    done = prior.denoise(states, joints, rotations)
    torch.testing.assert_close(prior.denoise(states[1:2], joints[1:2], rotations[1:2])[0], done[1], rtol=0, atol=1e-6)
    shifted = states.clone()
    offset = torch.tensor([3.0, -2.0, 0.0], dtype=torch.float64)
    shifted[..., STATE["joints"]] += offset.repeat(22)
    torch.testing.assert_close(joints_of(prior.denoise(shifted, joints, rotations)) - offset, joints_of(done), rtol=0, atol=1e-6)


def test_it_learns_beside_a_flow_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(1)
    windows = synthetic_windows(8, FRAMES, 3)
    flow = MotionFlow(CONFIG)
    flow.fit_statistics(windows)
    torch.nn.init.normal_(flow.denoiser.network.last.weight)
    path = str(tmp_path / "best.ckpt")
    weights = {f"prior.{name}": value for name, value in flow.state_dict().items()}
    torch.save({"prior": describe(flow, {"model": CONFIG.model_dump(mode="json"), "data": {}}, "0" * 16), "state_dict": weights}, path)
    prior = MotionFlow(WITH.model_copy(update={"flow": path}))
    prior.fit_statistics(synthetic_windows(8, FRAMES, 4))
    take_flow_from(prior, path)
    taken = prior.state_dict()
    for name, value in flow.state_dict().items():
        torch.testing.assert_close(taken[name], value, rtol=0, atol=0)
    learnt = [name for name, parameter in prior.named_parameters() if parameter.requires_grad]
    assert learnt
    assert all(name.startswith("denoiser.regression.") for name in learnt)
    assert set(prior.loss(windows)) == {"loss", "regression", "over_axes"} <= DESCRIPTIONS.keys()
    for other in ({"hidden": 32}, {"num_blocks": 2}):
        with pytest.raises(UserError, match=r"best\.ckpt is no motion_flow of the same sizes"):
            take_flow_from(MotionFlow(WITH.model_copy(update=other)), path)


@pytest.mark.parametrize("std", [0.0005, 0.002, 0.03])
def test_no_joint_is_farther_from_where_it_is_seen_than_noise_reaches(prior: MotionFlow, std: float) -> None:
    """Also of a frame that nothing could expect: the network says what it says, but not that a joint is elsewhere."""
    states = some_states(1)
    joints, rotations = (value[:1] for value in known_root(std))
    seen = noisy(states, std)
    where = STATE["joints"].start + 3 * 20
    seen[0, 11, where : where + 3] += 0.15
    motion, noise = motion_of_states(seen), Noise.of(rotations, joints)
    found = restore(prior.denoiser, motion, noise, bones_of_rest(prior.rest)[None]).motion.joints
    assert (found - motion.joints).norm(dim=-1).max() < 4 * std + 1e-4


@pytest.mark.parametrize(("std", "share"), [(0.0005, 0.2), (0.001, 0.5), (0.002, 0.8), (0.03, 900 / 901)])
def test_of_little_noise_what_is_seen_counts_as_one_of_a_millimetre(
    prior: MotionFlow, std: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean of what is said and what is seen, by their precisions: what is said is a millimetre off at best."""
    states, network = noisy(some_states(1), std), prior.denoiser.regression
    assert network is not None
    joints, rotations = (value[:1] for value in known_root(std))
    seen, told, reference = as_seen(prior.denoiser, motion_of_states(states), Noise.of(rotations, joints))
    smooth, left = prior.denoiser.smoother.posterior(seen, told)

    def places() -> Tensor:
        found: Tensor = network(prior.denoiser.smoother, seen, told, smooth, left, reference).mean
        return found

    mixed = places()
    monkeypatch.setattr(regression_model, "_FINE_M", 0.0)
    said, at = places(), seen[..., PLACES]
    assert (said - at).abs().mean() > 1e-3
    torch.testing.assert_close(mixed, share * said + (1 - share) * at, rtol=0, atol=1e-6)


def test_little_noise_changes_little_and_nothing_jumps_on_the_way_to_none(prior: MotionFlow) -> None:
    states = noisy(some_states(1), 0.001)
    moved, bones = [], bones_of_rest(prior.rest)[None]
    for std in (0.0, 1e-6, 1e-4, 0.00099, 0.00101):
        joints, rotations = (value[:1] for value in known_root(std))
        motion = motion_of_states(states)
        moved.append(restore(prior.denoiser, motion, Noise.of(rotations, joints), bones).motion.joints - motion.joints)
    assert moved[0].abs().max() < 1e-4
    assert moved[1].abs().max() < 1e-4
    assert moved[2].abs().max() < 5e-4
    assert (moved[4] - moved[3]).abs().max() < 2e-4
