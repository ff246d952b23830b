"""The prior of clips: what its calls promise, whatever it has learnt."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from flow_cases import CONFIG, FRAMES, small_prior, some_states
from motion_windows import synthetic_windows
from torch import Tensor

from pose_priors.body.motion_state import STATE, bones_of, joints_of, rotations
from pose_priors.priors import load_prior
from pose_priors.priors.checkpoint import describe
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.skeletons import bones_of_rest

LONG = 2 * FRAMES + 7


@pytest.fixture(scope="module")
def prior() -> MotionFlow:
    return small_prior()


def moved(states: Tensor, degrees: float = 77.0, shift: tuple[float, float] = (3.0, -2.0)) -> Tensor:
    """States in a world that is turned about the vertical and shifted over the floor."""
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]], dtype=torch.float64)
    parts = {name: states[..., where].clone() for name, where in STATE.items()}
    for name in ("trans_vel", "root_orient_vel", "joints", "joints_vel"):
        parts[name] = (parts[name].unflatten(-1, (-1, 3)) @ turn.T).flatten(-2)
    parts["root_orient"] = (turn @ parts["root_orient"].unflatten(-1, (3, 3))).flatten(-2)
    offset = torch.tensor([*shift, 0.0], dtype=torch.float64)
    parts["joints"] = (parts["joints"].unflatten(-1, (-1, 3)) + offset).flatten(-2)
    pelvis_before, pelvis = joints_of(states)[..., 0, :], parts["joints"][..., :3]
    parts["trans"] = states[..., STATE["trans"]] - pelvis_before + pelvis
    return torch.cat(list(parts.values()), -1)


def noisy(states: Tensor, std: float) -> Tensor:
    states = states.clone()
    states[..., STATE["joints"]] += (
        std * torch.randn(states[..., STATE["joints"]].shape, generator=torch.Generator().manual_seed(3)).double()
    )
    return states


@pytest.mark.parametrize("num_frames", [9, FRAMES, LONG])
def test_what_is_given_stays_and_the_rest_has_its_bones(prior: MotionFlow, num_frames: int) -> None:
    states = some_states(2, num_frames)
    given = torch.ones(2, num_frames, 22, dtype=torch.bool)
    given[:, 3:7] = False
    given[0, :, [1, 4, 7, 10]] = False
    broken = torch.where(given[..., None].expand(-1, -1, -1, 3).flatten(2), joints_of(states).flatten(2), torch.nan)
    hidden = torch.cat([states[..., : STATE["joints"].start], broken, states[..., STATE["joints"].stop :]], -1)
    done = prior.complete(hidden, given)
    assert done.isfinite().all()
    torch.testing.assert_close(joints_of(done)[given], joints_of(states)[given], rtol=0, atol=0)
    torch.testing.assert_close(rotations(done)[given], rotations(states)[given], rtol=0, atol=1e-12)
    lengths, expected = (bones_of(s).norm(dim=-1) for s in (done[1], states[1]))
    torch.testing.assert_close(lengths, expected, rtol=0, atol=1e-6)


def test_a_gap_is_bridged_smoothly(prior: MotionFlow) -> None:
    states = some_states(3)
    given = torch.ones(3, FRAMES, dtype=torch.bool)
    given[:, 8:14] = False
    joints = joints_of(prior.complete(states, given))
    steps, true = (torch.diff(j, dim=1).norm(dim=-1) for j in (joints, joints_of(states)))
    assert steps.max() < 1.5 * true.max() + 0.02


@pytest.mark.parametrize("num_frames", [FRAMES, LONG])
def test_a_turned_and_shifted_world_changes_nothing(prior: MotionFlow, num_frames: int) -> None:
    states = noisy(some_states(2, num_frames), 0.03)
    given = torch.ones(2, num_frames, 22, dtype=torch.bool)
    given[0, 5:11] = False
    given[1, :, 1:] = False
    for call in (lambda s: prior.denoise(s, 0.03), lambda s: prior.denoise(s, 0.03, 0.1), lambda s: prior.complete(s, given)):
        torch.testing.assert_close(joints_of(call(moved(states))), joints_of(moved(call(states))), rtol=0, atol=1e-5)
    torch.testing.assert_close(prior.frame_energies(moved(states)), prior.frame_energies(states), rtol=0, atol=1e-5)


def test_noise_is_taken_away(prior: MotionFlow) -> None:
    states = some_states(4, LONG)
    for std in (0.02, 0.06):
        seen = noisy(states, std)
        before, after = (float((joints_of(s) - joints_of(states)).norm(dim=-1).mean()) for s in (seen, prior.denoise(seen, std)))
        assert after < 0.75 * before


def test_joints_seen_exactly_are_where_they_are_and_noise_may_differ(prior: MotionFlow) -> None:
    states = some_states(2)
    std = torch.full((22,), 0.05, dtype=torch.float64)
    std[0] = 0
    seen = noisy(states, 0.05)
    seen[..., STATE["joints"].start : STATE["joints"].start + 3] = joints_of(states)[..., 0, :]
    torch.testing.assert_close(joints_of(prior.denoise(seen, std))[..., 0, :], joints_of(states)[..., 0, :], rtol=0, atol=0)


def test_windows_are_put_together_without_jumps(prior: MotionFlow) -> None:
    states = noisy(some_states(3, LONG), 0.04)
    steps = torch.diff(joints_of(prior.denoise(states, 0.04)), dim=1).norm(dim=-1)
    true = torch.diff(joints_of(some_states(3, LONG)), dim=1).norm(dim=-1)
    assert steps.max() < 2 * true.max()


@pytest.mark.parametrize("num_frames", [FRAMES, LONG])
def test_samples_are_seeded_finite_and_differ(prior: MotionFlow, num_frames: int) -> None:
    one, again, other = (prior.sample(2, torch.Generator().manual_seed(seed), num_frames) for seed in (0, 0, 1))
    assert one.shape == (2, num_frames, 339)
    assert one.isfinite().all()
    torch.testing.assert_close(one, again, rtol=0, atol=0)
    assert (joints_of(one) - joints_of(other)).abs().max() > 0.01
    assert torch.diff(joints_of(one), dim=1).norm(dim=-1).median() < 0.1


def test_draws_of_what_is_hidden_differ_and_keep_what_is_given(prior: MotionFlow) -> None:
    states = some_states(1)
    given = torch.ones(1, FRAMES, dtype=torch.bool)
    given[:, 6:18] = False
    draws = [joints_of(prior.complete(states, given, generator=torch.Generator().manual_seed(seed))) for seed in (0, 1)]
    assert (draws[0] - draws[1])[:, 6:18].abs().max() > 1e-3
    torch.testing.assert_close(draws[0][given], joints_of(states)[given], rtol=0, atol=0)


@pytest.mark.parametrize(("std", "rotation_std", "what"), [(math.nan, 0.1, "joints"), (-0.01, 0.1, "joints"), (0.02, -1.0, "rotations")])
def test_noise_that_is_none_is_refused(prior: MotionFlow, std: float, rotation_std: float, what: str) -> None:
    states = prior.sample(1, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=f"noise of {what} is negative or NaN in {22 * states.shape[1]} places"):
        prior.denoise(states, std, rotation_std)


def test_no_frames_and_half_precision_are_refused(prior: MotionFlow) -> None:
    with pytest.raises(ValueError, match="a motion without frames"):
        prior.denoise(some_states(2)[:, :0], 0.02)
    windows = synthetic_windows(2, FRAMES)
    for dtype in (torch.float16, torch.bfloat16):
        half = deepcopy(prior).to(dtype)
        for call in (
            lambda half: half.denoise(some_states(1), 0.02),
            lambda half: half.energy(windows),
            lambda half: half.frame_energies(some_states(1)),
            lambda half: half.contact_probabilities(some_states(1)),
            lambda half: half.loss(windows),
            lambda half: half.posterior(lambda states: states[..., 0, 0], 1, 1),
        ):
            with pytest.raises(ValueError, match=r"^priors of clips need float32 or float64, not torch\.b?float16: prior\.float"):
                call(half)


def test_nan_that_is_said_to_be_seen_is_refused(prior: MotionFlow) -> None:
    states = some_states(1)
    states[0, 4, STATE["joints"]] = torch.nan
    with pytest.raises(ValueError, match=r"on 1 frames.*hide"):
        prior.denoise(states, 0.02)
    std = torch.full((1, FRAMES, 22), 0.02, dtype=torch.float64)
    std[0, 4] = torch.inf
    assert prior.denoise(states, std).isfinite().all()


def test_batches_of_any_shape(prior: MotionFlow) -> None:
    states = some_states(4)
    done = prior.denoise(states.view(2, 2, FRAMES, 339), 0.02)
    torch.testing.assert_close(done.flatten(0, 1), prior.denoise(states, 0.02), rtol=0, atol=1e-9)
    assert prior.frame_energies(states.view(2, 2, FRAMES, 339)).shape == (2, 2, FRAMES, 22)
    assert prior.contact_probabilities(states).shape == (4, FRAMES, 9)


def test_one_motion_needs_no_batch(prior: MotionFlow) -> None:
    states = some_states(3)
    bones = bones_of_rest(prior.rest)
    given = torch.ones(FRAMES, dtype=torch.bool)
    given[8:14] = False
    for call in (
        lambda some: prior.denoise(some, 0.02),
        lambda some: prior.denoise(some, torch.full((FRAMES, 22), 0.02), 0.1, bones=bones),
        lambda some: prior.complete(some, given.expand(some.shape[:-1])),
        prior.contact_probabilities,
        prior.frame_energies,
    ):
        alone = call(states[1])
        torch.testing.assert_close(alone, call(states[1:2])[0], rtol=0, atol=1e-12)
        assert alone.shape[0] == FRAMES


def test_the_energy_has_the_gradient_of_central_differences(prior: MotionFlow) -> None:
    states = some_states(1).requires_grad_(True)
    (slope,) = torch.autograd.grad(prior.frame_energies(states).sum(), states)
    direction = torch.randn(states.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    direction[..., STATE["root_orient"]] = 0  # states off the rotations have no reference of their own
    step = 1e-6
    with torch.no_grad():
        ends = [float(prior.frame_energies(states + sign * step * direction).sum()) for sign in (1, -1)]
    assert float((slope * direction).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)


def test_a_pop_has_more_energy_where_it_is(prior: MotionFlow) -> None:
    states = some_states(1)
    popped = states.clone()
    where = STATE["joints"].start + 3 * 20
    popped[0, 12, where : where + 3] += 0.3
    more = prior.frame_energies(popped) - prior.frame_energies(states)
    assert divmod(int(more.argmax()), 22) == (12, 20)


def test_a_checkpoint_comes_back(prior: MotionFlow, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    experiment = {"model": CONFIG.model_dump(mode="json"), "data": {}}
    weights = {f"prior.{name}": value for name, value in prior.state_dict().items()}
    torch.save({"prior": describe(prior, experiment, "0" * 16), "state_dict": weights}, path)
    loaded = load_prior(path)
    assert isinstance(loaded, MotionFlow)
    states = some_states(1)
    torch.testing.assert_close(loaded.double().denoise(states, 0.02), prior.denoise(states, 0.02), rtol=0, atol=1e-5)


def test_training_lowers_the_loss_that_the_process_alone_has() -> None:
    windows = synthetic_windows(32, FRAMES, 5).to(torch.float64)
    before, after = (float(small_prior(steps).loss(windows)["over_process"]) for steps in (0, 60))
    assert before == pytest.approx(1.0)
    assert after < 0.98
