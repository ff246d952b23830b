"""The numbers of motion priors against slow loops, closed forms, and priors whose score is known."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import CONTACT_JOINTS, STATE, joints_of
from pose_priors.datamodules.clips import make_clip, y_up_to_z_up
from pose_priors.datamodules.synthetic.motions import synthetic_motions
from pose_priors.priors.motion import scores as motion_scores
from pose_priors.priors.motion.cvae import MotionCVAE, MotionCVAEConfig
from pose_priors.priors.motion.scores import (
    NEGATIVES,
    SCALES,
    at_speed,
    backwards,
    contact_f1,
    lifted,
    negative_auroc,
    one_step_errors,
    rollout_errors,
    scale_curve,
    scale_scores,
    scaled,
    speed_over_floor,
    transition_scores,
)


@pytest.fixture(scope="module")
def clips() -> list[MotionWindows]:
    motions = synthetic_motions(6, 30.0, 1)
    return [make_clip(m.kind, *y_up_to_z_up(m.pose, m.pelvis), m.stature).as_window() for m in motions]


@pytest.fixture(scope="module")
def prior(clips: list[MotionWindows]) -> MotionCVAE:
    torch.manual_seed(0)
    made = MotionCVAEConfig(kind="motion_cvae", hidden=64, latent_dim=4, num_layers=1, critic_hidden=16).build()
    frames = [(clip, first) for clip in clips for first in range(0, clip.pose.shape[1] - 13, 3)]
    cut = [MotionWindows(c.pose[:, f : f + 13], c.pelvis[:, f : f + 13], c.rest, c.contacts[:, f : f + 13]) for c, f in frames]
    made.fit_statistics(MotionWindows(*(torch.cat([getattr(w, n) for w in cut]) for n in ("pose", "pelvis", "rest", "contacts"))))
    return made.eval()


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm(dim=-1).mean()) * 1000


def constant_velocity(state: Tensor, seconds: float) -> Tensor:
    return joints_of(state) + state[..., STATE["joints_vel"]].reshape(*state.shape[:-1], 22, 3) * seconds


@torch.no_grad()
def test_one_step_errors_are_those_of_a_loop(prior: MotionCVAE, clips: list[MotionWindows]) -> None:
    ours, theirs = [], []
    for clip in clips:
        states = clip.states()[0]
        for now, then in itertools.pairwise(states):
            ours.append(distance(joints_of(prior.step(now[None])[0])[0], joints_of(then)))
            theirs.append(distance(constant_velocity(now, 1 / 30), joints_of(then)))
    found = one_step_errors(prior, clips)
    assert found["one_step_mm"] == pytest.approx(sum(ours) / len(ours), rel=1e-4)
    assert found["one_step_constant_velocity_mm"] == pytest.approx(sum(theirs) / len(theirs), rel=1e-4)
    assert found["one_step_ratio"] == pytest.approx(sum(ours) / sum(theirs), rel=1e-4)


@torch.no_grad()
def test_rollout_errors_are_those_of_a_loop(prior: MotionCVAE, clips: list[MotionWindows]) -> None:
    ours, theirs = [], []
    for clip in clips[:2]:
        states = clip.states()[0]
        for first in range(0, len(states) - 30, 5):
            end = prior.rollout(states[first : first + 1], 30)[0][0, -1]
            ours.append(distance(joints_of(end), joints_of(states[first + 30])))
            theirs.append(distance(constant_velocity(states[first], 1.0), joints_of(states[first + 30])))
    found = rollout_errors(prior, clips[:2])
    assert found["rollout_mm"] == pytest.approx(sum(ours) / len(ours), rel=1e-3)
    assert found["rollout_constant_velocity_mm"] == pytest.approx(sum(theirs) / len(theirs), rel=1e-4)
    short = MotionWindows(clips[0].pose[:, :32], clips[0].pelvis[:, :32], clips[0].rest, clips[0].contacts[:, :32])
    assert set(rollout_errors(prior, [short]).values()) == {None}
    assert rollout_errors(prior, [short, clips[1]]) == rollout_errors(prior, [clips[1]])


class Known(torch.nn.Module):
    """A prior that goes on at constant velocity, and knows the contacts of some clips."""

    def __init__(self, contacts: Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.contacts = contacts

    def step(self, states: Tensor) -> tuple[Tensor, Tensor]:
        after = states.clone()
        after[:, STATE["joints"]] = constant_velocity(states, 1 / 30).flatten(1)
        return after, states[:, :9]

    def rollout(self, states: Tensor, num_steps: int) -> tuple[Tensor, Tensor]:
        every = [states]
        for _ in range(num_steps):
            every.append(self.step(every[-1])[0])
        return torch.stack(every, 1), states[:, None, :9]

    def contact_probabilities(self, states: Tensor) -> Tensor:
        return self.contacts[:, None].float()


def test_constant_velocity_is_as_good_as_itself(clips: list[MotionWindows]) -> None:
    known = Known(torch.zeros(0))
    assert one_step_errors(known, clips)["one_step_ratio"] == pytest.approx(1, abs=1e-5)
    assert rollout_errors(known, clips)["rollout_ratio"] == pytest.approx(1, abs=1e-3)


def test_contact_f1_counts_what_is_found_and_missed(clips: list[MotionWindows], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion_scores, "_CHUNK", 10**6)
    truth = torch.cat([clip.contacts[0, 2:-1] for clip in clips])
    assert contact_f1(Known(truth), clips) == {"contact_f1": 1.0, "contact_f1_feet": 1.0}
    predicted = truth ^ (torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)) < 0.2)
    found = contact_f1(Known(predicted), clips)
    feet = [CONTACT_JOINTS.index(joint) for joint in (7, 8, 10, 11)]
    for name, columns in (("contact_f1", list(range(9))), ("contact_f1_feet", feet)):
        a, b = truth[:, columns], predicted[:, columns]
        hits, false, missed = int((a & b).sum()), int((~a & b).sum()), int((a & ~b).sum())
        assert found[name] == pytest.approx(2 * hits / (2 * hits + false + missed))


@torch.no_grad()
def test_contacts_are_compared_at_the_frame_after_each_transition(prior: MotionCVAE, clips: list[MotionWindows]) -> None:
    hits = wrong = 0
    for clip in clips:
        states = clip.states()[0]  # of frames 1, 2, ...
        for at in range(len(states) - 1):
            expected = prior.step(states[at : at + 1])[1][0] > 0
            labels = clip.contacts[0, at + 2]
            hits, wrong = hits + int((expected & labels).sum()), wrong + int((expected ^ labels).sum())
    assert contact_f1(prior, clips)["contact_f1"] == pytest.approx(2 * hits / (2 * hits + wrong), abs=1e-3)


@torch.no_grad()
def test_transition_scores_do_not_depend_on_chunks_or_neighbours(
    prior: MotionCVAE, clips: list[MotionWindows], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = transition_scores(prior, clips)
    monkeypatch.setattr(motion_scores, "_CHUNK", 7)
    for clip, score, again in zip(clips, scores, transition_scores(prior, clips), strict=True):
        assert score.shape == (clip.pose.shape[1] - 3,)
        assert torch.allclose(score, prior.transition_plausibility(clip.states())[0], rtol=1e-3, atol=1e-2)
        assert torch.allclose(score, again, rtol=1e-3, atol=1e-2)


def test_auroc_counts_pairs(prior: MotionCVAE, clips: list[MotionWindows]) -> None:
    found = negative_auroc(prior, clips)
    assert set(found) == {f"auroc_{name}_{kind}" for name in NEGATIVES for kind in ("second", "clip")}
    for name, make in NEGATIVES.items():
        real, wrong = ([float(s.mean()) for s in transition_scores(prior, side)] for side in (clips, [make(c) for c in clips]))
        wins = [(a > b) + 0.5 * (a == b) for a in real for b in wrong]
        assert found[f"auroc_{name}_clip"] == pytest.approx(sum(wins) / len(wins))
        pieces = []
        for side in (clips, [make(c) for c in clips]):
            scores = [s.tolist() for s in transition_scores(prior, side)]
            cut = [s[i : i + 30] for s in scores for i in range(0, len(s), 30)]
            pieces.append([float(torch.tensor(piece).mean()) for piece in cut if len(piece) >= 10])
        wins = [(a > b) + 0.5 * (a == b) for a in pieces[0] for b in pieces[1]]
        assert found[f"auroc_{name}_second"] == pytest.approx(sum(wins) / len(wins), abs=2e-3)


def test_negatives_are_what_they_say(clips: list[MotionWindows]) -> None:
    clip = clips[0]
    assert torch.equal(backwards(backwards(clip)).pose, clip.pose)
    assert torch.equal(backwards(clip).pelvis[0, 0], clip.pelvis[0, -1])
    assert torch.allclose(at_speed(clip, 1.0).pelvis, clip.pelvis, atol=1e-6)
    assert torch.allclose(at_speed(clip, 0.5).pelvis[:, ::2], clip.pelvis, atol=1e-6)
    assert torch.allclose(at_speed(clip, 2.0).pelvis, clip.pelvis[:, ::2], atol=1e-6)
    assert torch.equal(at_speed(clip, 2.0).contacts, clip.contacts[:, ::2])
    assert torch.allclose(
        lifted(clip).states()[..., STATE["joints"]].unflatten(-1, (22, 3))[..., 2].mean(), joints_of(clip.states())[..., 2].mean() + 0.05
    )
    longer = scaled(clip, 1.2)
    assert torch.equal(longer.pose, clip.pose)
    assert torch.equal(longer.pelvis[..., 2], clip.pelvis[..., 2])
    assert speed_over_floor(longer) == pytest.approx(1.2 * speed_over_floor(clip), rel=1e-4)


@torch.no_grad()
def test_the_curve_over_scales_is_of_scaled_paths(prior: MotionCVAE, clips: list[MotionWindows]) -> None:
    scales = torch.tensor([0.8, 1.0, 1.25])
    curve = scale_curve(prior, clips, scales)
    assert curve.shape == (6, 3)
    for row, clip in zip(curve, clips, strict=True):
        for value, scale in zip(row, scales, strict=True):
            moved = MotionWindows(clip.pose, clip.pelvis * torch.tensor([scale, scale, 1.0]), clip.rest, clip.contacts)
            assert value == pytest.approx(float(prior.transition_plausibility(moved.states(), by="stance").mean()), rel=1e-3, abs=1e-2)


def test_scales_are_read_off_clips_that_travel(clips: list[MotionWindows]) -> None:
    assert SCALES[8] == pytest.approx(1.0)
    moving = [clip for clip in clips if speed_over_floor(clip) >= 0.4]
    still = [clip for clip in clips if speed_over_floor(clip) < 0.3]
    assert len(moving) >= 2
    assert still
    peaks = torch.tensor([0.95, 1.075] + [1.0] * (len(moving) - 2))
    curve = -(SCALES - torch.cat([peaks, torch.tensor([0.8])])[:, None]).square()
    found = scale_scores(curve, [*moving, still[0]])
    assert found["scale_clips"] == len(moving)
    assert found["scale_within_5_percent"] == pytest.approx(1 - 1 / len(moving))
    assert found["scale_median"] == pytest.approx(float(peaks.median()))
    assert scale_scores(curve[-1:], still[:1]) == {"scale_clips": 0, "scale_within_5_percent": None, "scale_median": None}
