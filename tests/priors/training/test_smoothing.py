"""The smoothed bootstrap: whose draws take whose place, what they look like, and that a run that goes on gets the same."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from prior_cases import JOINTS, make_poses
from resume_cases import EACH_STEP, QUIET, assert_same_run
from test_train import run
from test_train_scale import ROUNDS, stopped_at

from pose_priors.configs.base import UserError
from pose_priors.priors.ensemble import EnsembleConfig
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.global_flow import GlobalFlow, GlobalFlowConfig
from pose_priors.priors.mixture import MixtureConfig
from pose_priors.priors.training import smoothing
from pose_priors.priors.training.smoothing import SmoothedBootstrap

SEED = 7


@pytest.fixture(autouse=True)
def _small_mixture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoothing, "MixtureConfig", partial(MixtureConfig, num_components=[3], covariance_floors=[1e-4]))


def smoothed(share: float = 0.5, seed: int = SEED, poses: torch.Tensor | None = None, batch_size: int = 64) -> SmoothedBootstrap:
    prior = GaussianConfig(kind="gaussian").build(JOINTS)
    return SmoothedBootstrap(prior, share, batch_size, make_poses(600) if poses is None else poses, seed)


def test_draws_take_the_place_of_the_share_and_of_learnt_joints_alone() -> None:
    batch = make_poses(64, seed=1)
    batch[:, 0] = torch.randn(64, 3)
    before, mixed = batch.clone(), smoothed(0.25)(batch, 0, 0, 0)
    assert torch.equal(batch, before)
    assert torch.equal(mixed[16:], batch[16:])
    others = [joint for joint in range(55) if joint not in JOINTS]
    assert torch.equal(mixed[:, others], batch[:, others])
    assert (mixed[:16, list(JOINTS)] != batch[:16, list(JOINTS)]).any(-1).all()
    assert smoothed()(batch.double(), 0, 0, 0).dtype is torch.float64


@pytest.mark.parametrize(("share", "rows", "expected"), [(1.0, 64, 64), (0.5, 30, 15), (0.25, 3, 1), (0.01, 64, 1), (0.001, 64, 0)])
def test_a_short_batch_gets_as_large_a_share(share: float, rows: int, expected: int) -> None:
    batch = make_poses(rows, seed=1)
    changed = (smoothed(share)(batch, 0, 0, 0) != batch).flatten(1).any(1)
    assert changed.tolist() == [True] * expected + [False] * (rows - expected)


def test_each_batch_epoch_rank_and_seed_has_draws_of_its_own_that_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoothing, "_NUM_DRAWN", 100)  # three batches of 32 draws
    batch, poses = make_poses(64, seed=1), make_poses(600)
    one = smoothed(poses=poses)
    keys = [(epoch, rank, number) for number in range(7) for rank in (0, 1) for epoch in (0, 1)]
    found = {key: one(batch, *key)[:32, list(JOINTS)] for key in keys}
    rows = torch.cat(list(found.values())).flatten(1)
    assert len(rows.unique(dim=0)) == len(rows)
    again = smoothed(poses=poses)
    for key in sorted(keys, key=lambda key: (key[0], -key[2], key[1])):  # in an order where other numbers change
        assert torch.equal(again(batch, *key)[:32, list(JOINTS)], found[key])
    assert not torch.equal(smoothed(seed=SEED + 1, poses=poses)(batch, 0, 0, 0), one(batch, 0, 0, 0))


def test_draws_are_new_and_spread_as_the_training_poses_are() -> None:
    """Of two clusters, which one normal would fill the gap of."""
    poses = torch.cat([make_poses(300), make_poses(300, shift=1.0)])
    one, batch = smoothed(1.0, poses=poses, batch_size=4000), make_poses(4000, seed=2)
    moving = poses[:, list(JOINTS)].flatten(1).std(0) > 0
    drawn, rows = (some[:, list(JOINTS)].flatten(1)[:, moving] for some in (one(batch, 0, 0, 0), poses))
    assert torch.cdist(drawn, rows).min() > 0
    spread = rows.std(0)
    assert ((drawn.mean(0) - rows.mean(0)).abs() / spread).max() < 0.15
    torch.testing.assert_close(drawn.std(0) / spread, torch.ones_like(spread), atol=0.25, rtol=0)
    apart = rows[300:].mean(0) - rows[:300].mean(0)
    places = (drawn - rows[:300].mean(0)) @ apart / apart.square().sum()
    assert ((places > 0.4) & (places < 0.6)).float().mean() < 0.02
    assert (places > 0.5).float().mean() == pytest.approx(0.5, abs=0.05)


def test_what_it_cannot_draw_is_refused() -> None:
    with pytest.raises(UserError, match=r"training\.smoothed_share draws poses, and this prior is of motions"):
        SmoothedBootstrap(torch.nn.Linear(1, 1), 0.5, 64, make_poses(8), SEED)  # type: ignore[arg-type]
    config = GlobalFlowConfig(kind="global_flow", hidden=8, K=1, use_conditioning=True, condition="global_orient")
    ensemble = EnsembleConfig(kind="ensemble", member=config, num_members=2)
    for prior in (config.build([joint for joint in JOINTS if joint]), ensemble.build([joint for joint in JOINTS if joint])):
        with pytest.raises(UserError, match=r"training\.smoothed_share .*root's orientation.*model\.condition=visible_joints"):
            SmoothedBootstrap(prior, 0.5, 64, make_poses(8), SEED)


def test_a_run_learns_of_draws_and_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [*ROUNDS, EACH_STEP, "training.smoothed_share=1"]
    seen: list[torch.Tensor] = []
    loss = GlobalFlow.loss

    def recorded(self: GlobalFlow, pose: torch.Tensor) -> dict[str, Any]:
        if self.training:
            seen.append(self.select(pose).detach().flatten(1))
        return loss(self, pose)

    with monkeypatch.context() as patch:
        patch.setattr(GlobalFlow, "loss", recorded)
        run("global_flow", tmp_path / "whole", *options)
    of_steps = torch.cat(seen[-12:])
    assert len(of_steps.unique(dim=0)) == len(of_steps) == 12 * 64  # of 320 poses
    stopped_at(5, monkeypatch, "global_flow", tmp_path / "parts", *options)
    run("global_flow", tmp_path / "parts", *options, resume=tmp_path / "parts" / "ckpt" / "last.ckpt")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_none_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a mixture was asked for")

    monkeypatch.setattr("train.SmoothedBootstrap", refused)
    run("gaussian_prior", tmp_path, "training.max_epochs=1", QUIET)
