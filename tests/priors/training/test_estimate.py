"""How long a run will take, told before it begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from prior_cases import JOINTS, make_poses
from torch import Tensor

from pose_priors.priors.hand_vae import HandVAE, HandVAEConfig
from pose_priors.priors.training import estimate
from pose_priors.priors.training.budget import Budget
from pose_priors.priors.training.estimate import measured, time_of

CPU = torch.device("cpu")


class Rows:
    num_rows = (8000, 25_000)

    def train_dataloader(self) -> Iterable[Tensor]:
        return [make_poses(16)] * 40

    def val_dataloader(self) -> Iterable[Tensor]:
        return [make_poses(10)] * 3


def hand_vae() -> HandVAE:
    prior = HandVAEConfig(kind="hand_vae", hidden=8, n_layers=1, z_dim=4).build(JOINTS)
    prior.fit_statistics(make_poses(64))
    return prior


def test_neither_the_prior_nor_its_generators_notice() -> None:
    prior, rows = hand_vae(), Rows()
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    pace = measured(prior, rows.train_dataloader(), next(iter(rows.val_dataloader())), CPU)
    assert torch.equal(torch.rand(3), expected)
    assert prior.training
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())
    assert all(parameter.grad is None for parameter in prior.parameters())
    assert min(pace) > 0


def test_steps_and_validations_are_counted_and_the_first_step_is_not(monkeypatch: Any) -> None:
    clock = [0.0]

    def tick() -> float:
        clock[0] += 0.25
        return clock[0]

    loss = HandVAE.loss
    calls: list[bool] = []

    def slow_at_first(self: HandVAE, pose: Tensor) -> dict[str, Tensor]:
        clock[0] += 100.0 * (not calls)
        calls.append(self.training)
        return loss(self, pose)

    monkeypatch.setattr(estimate.time, "perf_counter", tick)
    monkeypatch.setattr(HandVAE, "loss", slow_at_first)
    pace = measured(hand_vae(), Rows().train_dataloader(), make_poses(10), CPU)
    assert pace == (0.25, 0.025)
    calls.clear()
    said = time_of(hand_vae(), Rows(), Budget(3, 480, 500), 10_000, CPU)
    # 480 steps of a quarter of a second, and 10,000 of the 25,000 rows at 25 ms
    assert said == "6 min a round, at most about 18 min"


def test_what_cannot_be_copied_is_told() -> None:
    class Odd(HandVAE):
        def __deepcopy__(self, memo: object) -> Any:
            raise TypeError("cannot pickle 'module' object")

    prior = Odd(HandVAEConfig(kind="hand_vae", hidden=8, n_layers=1, z_dim=4), JOINTS)
    assert time_of(prior, Rows(), Budget(3, 500, 500), 100, CPU) == "how long cannot be told (cannot pickle 'module' object)"
