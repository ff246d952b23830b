"""VPoser, the variational autoencoder that many fit bodies with, written from its paper and trained here."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import roma
import torch
from torch import Tensor, nn

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.body.rotations import geodesic_angle
from pose_priors.priors.networks.hands import rotmat_from_6d

log = logging.getLogger("benchmark")

_LATENT, _HIDDEN, _DROPOUT, _SLOPE = 32, 512, 0.1, 0.01
_KL_WEIGHT, _RECONSTRUCTION_WEIGHT = 0.005, 2.0
_BATCH, _LEARNING_RATE, _WEIGHT_DECAY = 128, 1e-3, 1e-5
_LR_FACTOR, _LR_PATIENCE, _LR_FLOOR, _MAX_EPOCHS = 0.1, 5, 1e-5, 300
_FIT_STEPS, _FIT_RATE = 150, 0.05


class VPoserNetwork(nn.Module):
    """Rotation vectors in, a Gaussian over 32 latent dimensions, rotation matrices by 6D out (Pavlakos et al., "Expressive Body Capture",
    CVPR 2019, sec. 3.3; layers and weights of the losses as in its second release, without the terms that need a mesh)."""

    def __init__(self, num_joints: int) -> None:
        super().__init__()
        self.num_joints = num_joints
        self.encoder = nn.Sequential(
            nn.BatchNorm1d(3 * num_joints),
            nn.Linear(3 * num_joints, _HIDDEN),
            nn.LeakyReLU(_SLOPE),
            nn.BatchNorm1d(_HIDDEN),
            nn.Dropout(_DROPOUT),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.Linear(_HIDDEN, _HIDDEN),
        )
        self.mean, self.raw_std = nn.Linear(_HIDDEN, _LATENT), nn.Linear(_HIDDEN, _LATENT)
        self.decoder = nn.Sequential(
            nn.Linear(_LATENT, _HIDDEN),
            nn.LeakyReLU(_SLOPE),
            nn.Dropout(_DROPOUT),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(_HIDDEN, 6 * num_joints),
        )

    def encode(self, rotvec: Tensor) -> torch.distributions.Normal:
        """The approximate posterior of the latent code: (N, J, 3) -> (N, 32)."""
        features = self.encoder(rotvec.flatten(1))
        return torch.distributions.Normal(self.mean(features), nn.functional.softplus(self.raw_std(features)) + 1e-6)

    def decode(self, latent: Tensor) -> Tensor:
        """(N, 32) -> (N, J, 3, 3) rotation matrices."""
        return rotmat_from_6d(self.decoder(latent).unflatten(-1, (self.num_joints, 6)))

    def losses(self, rotvec: Tensor, *, sampled: bool) -> tuple[Tensor, Tensor]:
        """For each pose (N, J, 3) the mean angle in radians to its reconstruction, from the posterior's mean or a sample of it, and the KL
        divergence of the posterior from N(0, I) in nats: (N,) each."""
        posterior = self.encode(rotvec)
        latent = posterior.rsample() if sampled else posterior.mean
        angle = geodesic_angle(self.decode(latent), roma.rotvec_to_rotmat(rotvec)).mean(-1)
        standard = torch.distributions.Normal(torch.zeros_like(posterior.mean), torch.ones_like(posterior.mean))
        return angle, torch.distributions.kl_divergence(posterior, standard).sum(-1)


class VPoser(Candidate):
    """A trained VPoser. It has no density. Its energy is what training minimises, at the posterior's mean and over the weight of the KL
    term, hence a negative evidence lower bound up to a constant: 2 / 0.005 times the mean angle of reconstruction, plus KL.

    Hidden joints are completed by gradient descent on the latent code: 2 / 0.005 times the visible joints' share of the mean angle, plus
    half the code's squared length; each draw from a start of its own, from N(0, I), the point estimate from the code 0.

    Args:
        name, joint_indices, default_pose: as `Candidate`.
        network: trained.
    """

    def __init__(self, name: str, joint_indices: Sequence[int], default_pose: Tensor, network: VPoserNetwork) -> None:
        super().__init__(name, joint_indices, default_pose)
        self.network = network.eval().requires_grad_(False)

    def energy(self, pose: Tensor) -> Tensor:
        angle, kl = self.network.losses(self.select(pose).float(), sampled=False)
        return (_RECONSTRUCTION_WEIGHT / _KL_WEIGHT * angle + kl).double()

    @torch.no_grad()
    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        return self._decoded(torch.randn(num, _LATENT, generator=generator))

    def complete(self, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
        start = torch.randn(num * len(pose), _LATENT, generator=generator)
        completed: Tensor = self._fitted(pose.repeat(num, 1, 1), hidden, start).unflatten(0, (num, len(pose)))
        return completed

    def complete_point(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        return self._fitted(pose, hidden, torch.zeros(len(pose), _LATENT))

    @torch.enable_grad()
    def _fitted(self, pose: Tensor, hidden: Sequence[int], start: Tensor) -> Tensor:
        """The poses (N, 55, 3) with the hidden joints of what the latent code that fits the others best decodes to."""
        seen = [place for place, joint in enumerate(self.joint_indices) if joint not in hidden]
        target = roma.rotvec_to_rotmat(self.select(pose).float())[:, seen]
        latent = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([latent], lr=_FIT_RATE)
        scale = _RECONSTRUCTION_WEIGHT / _KL_WEIGHT / len(self.joint_indices)
        for _ in range(_FIT_STEPS):
            optimizer.zero_grad()
            angle = geodesic_angle(self.network.decode(latent)[:, seen], target)
            (scale * angle.sum() + latent.square().sum() / 2).backward()
            optimizer.step()
        completed = pose.double().clone()
        completed[:, list(hidden)] = self._decoded(latent.detach())[:, list(hidden)]
        return completed

    def _decoded(self, latent: Tensor) -> Tensor:
        return self.expand(roma.rotmat_to_rotvec(self.network.decode(latent).double()))


def train_vposer(name: str, data: BenchmarkData) -> VPoser:
    """A VPoser of the joints scored, trained by Adam until the validation loss has not fallen at the lowest of its learning rates."""
    joints = list(data.joint_indices)
    train, val = data.train[:, joints].float(), data.val[:, joints].float()
    with torch.random.fork_rng(), _one_thread():
        torch.manual_seed(0)
        network = VPoserNetwork(len(joints))
        best, best_state, epoch = float("inf"), network.state_dict(), 0
        optimizer = torch.optim.Adam(network.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY, fused=True)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=_LR_FACTOR, patience=_LR_PATIENCE, min_lr=0)
        while epoch < _MAX_EPOCHS and optimizer.param_groups[0]["lr"] >= _LR_FLOOR * (1 - _LR_FACTOR):
            network.train()
            for rows in _batches(len(train)):
                optimizer.zero_grad(set_to_none=True)
                angle, kl = network.losses(train[rows], sampled=True)
                (_RECONSTRUCTION_WEIGHT * angle + _KL_WEIGHT * kl).mean().backward()
                optimizer.step()
            with torch.no_grad():
                angle, kl = network.eval().losses(val, sampled=False)
            loss = float((_RECONSTRUCTION_WEIGHT * angle + _KL_WEIGHT * kl).mean())
            schedule.step(loss)
            if loss < best:
                best, best_state = loss, copy.deepcopy(network.state_dict())
            epoch += 1
    network.load_state_dict(best_state)
    with torch.no_grad():
        angle, kl = network.eval().losses(val, sampled=False)
    log.info("%s: %d epochs, validation poses reconstructed to %.2f degrees, KL %.1f nats", name, epoch, angle.mean().rad2deg(), kl.mean())
    return VPoser(name, joints, data.default_pose, network)


def _batches(num_rows: int) -> Iterator[Tensor]:
    """Rows of each batch of an epoch, shuffled; those that would make a short one are left for another epoch."""
    size = min(_BATCH, num_rows)
    yield from torch.randperm(num_rows)[: num_rows // size * size].split(size)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Layers as small as these take several times as long on two contended threads as on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
