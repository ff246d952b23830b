"""A denoiser: networks that are told the noise, and a mixture whose posterior mean is exact, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from pose_priors.body import conversions
from pose_priors.body.rotations import canonicalize, haar_correction, to_rotmat
from pose_priors.body.skeleton import JOINT_NAMES, MIRROR
from pose_priors.configs.base import Config, UserError
from pose_priors.priors.angular_central_gaussian import AngularCentralGaussian, defend
from pose_priors.priors.denoising.contract import Guide, PoseDenoiser
from pose_priors.priors.denoising.network import NoiseToldNetwork
from pose_priors.priors.denoising.noise import LEAST, draw_std, turned_by_noise
from pose_priors.priors.mixture import Mixture, MixtureConfig
from pose_priors.priors.networks.derived import at_once
from pose_priors.priors.networks.precision import canonical

# Poses of a batch that see noise of the same deviations, which then are worked through once.
_ALIKE = 4
# Poses at once where each has deviations of its own, each of which takes a matrix of (3 J)^2.
_CHUNK = 256
# Places between the mean pose and a pose at which the energy's slope is summed.
_NUM_PLACES = 8
# Share of the broad component that bounds the energy.
_DEFENSIVE_WEIGHT = 0.01


class DenoiserConfig(Config):
    """How the denoiser of a prior is built."""

    hidden: int = Field(768, ge=1)
    """Width of the networks."""
    num_blocks: int = Field(3, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    num_networks: int = Field(1, ge=1)
    """Networks, trained side by side, whose rotations are averaged."""
    plain_share: float = Field(0.0, ge=0, le=1)
    """Share of training noise that is alike for all axes of all joints, which are all seen; the rest is of every kind, half of it alike."""
    plain_deg: list[float] = Field(default_factory=lambda: [1.0, 20.0], min_length=2, max_length=2)
    """The least and the largest of plain noise in degrees."""
    mirror: bool = False
    """Whether the networks learn of mirror images as often as of poses, and answer with the mean of what they say of a pose and of its
    mirror image."""
    mixture: MixtureConfig | None = MixtureConfig(kind="mixture")
    """A mixture of training poses beside the networks; null for none."""
    mixture_share: float = Field(0.8, ge=0, le=1)
    """Weight of the mixture's posterior mean in the average; less for networks that were trained longer than flow matching by default."""

    @field_validator("plain_deg")
    @classmethod
    def _check(cls, value: list[float]) -> list[float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("must be two numbers of degrees above 0, the smaller one first")
        return value

    def build(self, joint_indices: Sequence[int]) -> Denoiser:
        """The denoiser of a prior with these SMPL-X joints, before `Denoiser.fit_statistics`. Raises `UserError` if it is to learn of
        mirror images, and a joint has none among them."""
        return Denoiser(self, joint_indices)


class Denoiser(PoseDenoiser):
    """E[R | rotations seen with known noise], by regression and by a mixture.

    Networks regress rotations from such as were turned by normal noise in their own frames, of all sizes, about all axes alike or not, and
    with joints that are not seen at all; the squared chordal distance makes of it the chordal posterior mean (Vincent, "A connection
    between score matching and denoising autoencoders", Neural Computation 23, 2011). Networks and mixture err in other ways, so that
    their mean errs less.

    Args:
        joint_indices: SMPL-X indices of the J joints.
    """

    joint_index: Tensor
    mirrored_place: Tensor | None

    def __init__(self, config: DenoiserConfig, joint_indices: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.num_joints = len(joint_indices)
        self.register_buffer("joint_index", torch.tensor(list(joint_indices), dtype=torch.long), persistent=False)
        self.register_buffer("mirrored_place", _mirrored_places(joint_indices) if config.mirror else None, persistent=False)
        self.networks = nn.ModuleList(
            NoiseToldNetwork(self.num_joints, config.hidden, config.num_blocks, config.dropout) for _ in range(config.num_networks)
        )
        self.defensive = AngularCentralGaussian(self.num_joints)
        self.mixture: Mixture | None = None
        if config.mixture is not None:
            self.mixture = config.mixture.build(joint_indices).requires_grad_(False)  # fitted, and left as it is

    @property
    def _networks(self) -> list[NoiseToldNetwork]:
        return [cast(NoiseToldNetwork, network) for network in self.networks]

    @property
    def guide(self) -> Guide | None:
        return None if self.mixture is None else self.mixture.posterior_of

    @torch.no_grad()
    def fit_statistics(self, poses: Tensor) -> None:
        rotvec = canonicalize(poses[:, self.joint_index])
        learnt = rotvec if self.mirrored_place is None else torch.cat([rotvec, _mirrored(rotvec, self.mirrored_place)])
        for network in self._networks:
            network.fit(learnt)
        self.defensive.fit(rotvec)
        if self.mixture is not None:
            self.mixture.fit_statistics(poses)

    def loss(self, pose: Tensor) -> Tensor:
        """The mean squared chordal distance of rotations, in units of what a normal distribution would leave of it."""
        rotvec = canonicalize(pose[:, self.joint_index])
        generator = None if self.training else torch.Generator(pose.device).manual_seed(0)
        if self.training and self.mirrored_place is not None:
            coin = torch.rand(len(rotvec), 1, 1, device=rotvec.device) < 0.5
            rotvec = torch.where(coin, _mirrored(rotvec, self.mirrored_place), rotvec)
        return torch.stack([self._error(network, rotvec, generator) for network in self._networks]).mean()

    def denoise(self, pose: Tensor, std: Tensor) -> Tensor:
        chunks = [slice(None)] if len(std) == 1 else [slice(i, i + _CHUNK) for i in range(0, len(pose), _CHUNK)]
        parts = [self._expected(pose[rows], std if len(std) == 1 else std[rows]) for rows in chunks]
        found: Tensor = pose.index_copy(1, self.joint_index, torch.cat(parts).to(pose)) if parts else pose
        return found

    def energy(self, pose: Tensor, noise: float) -> Tensor:
        """The potential of what the networks say: (*batch, 55, 3) -> (*batch,) nats.

        By Tweedie's formula (x - E[clean | x]) / s^2 is the slope of -log of the density smoothed by noise of s radians (Robbins, 1956).
        The energy is that slope, summed along the straight line from the mean of the data to x, plus what a normal with the data's
        covariance would have at the mean: exact where that normal is all that the networks know, exact up to a constant and the rule of 8
        places where they are right about any density. They need not be the slope of anything; the gradient is that of the energy whatever
        they are. In rotation vectors, then against Haar measure, and defended by a broad component.

        Noise of less than 0.2 degrees counts as that.
        """
        rotvec = canonical(pose.index_select(-2, self.joint_index), self._networks[0].mean.dtype)
        flat = rotvec.flatten(-2)
        std = flat.new_full((flat.shape[-1],), max(noise, LEAST))
        nodes, weights = np.polynomial.legendre.leggauss(_NUM_PLACES)
        along = flat.new_tensor((1 + nodes) / 2).view(-1, *[1] * flat.dim())
        potential = torch.zeros_like(flat[..., 0])
        for network in self._networks:
            off = flat - network.mean
            places = network.mean + along * off
            slope = (places - network(places, std)[0]) / std.square()
            sums = ((slope * off).sum(-1) * flat.new_tensor(weights / 2).view(-1, *[1] * off[..., 0].dim())).sum(0)
            potential = potential + (sums + network.normal_constant(std)) / len(self.networks)
        haar = haar_correction(rotvec).sum(-1) - potential
        return -defend(haar, self.defensive.log_prob(rotvec).sum(-1), _DEFENSIVE_WEIGHT)

    def _error(self, network: NoiseToldNetwork, rotvec: Tensor, generator: torch.Generator | None) -> Tensor:
        """Of rows, of which some in turn see noise of the same deviations: (B, J, 3) -> ()."""
        some = max(1, len(rotvec) // _ALIKE)
        clean = rotvec[: len(rotvec) // some * some].unflatten(0, (-1, some))
        std = draw_std(some, self.num_joints, rotvec, generator, self.config.plain_share, self.config.plain_deg)
        seen = turned_by_noise(clean, std, generator)
        expected, left = network(seen.flatten(-2), std.flatten(-2))
        apart = (to_rotmat(canonicalize(expected.unflatten(-1, (-1, 3)))) - to_rotmat(clean)).square().sum((-1, -2)) / 2
        error: Tensor = (apart / left.square().unflatten(-1, (-1, 3)).sum(-1)).sum(-1).mean()
        return error

    def _answers(self, seen: Tensor, std: Tensor) -> list[Tensor]:
        """Of each network: (N, J, 3), (N or 1, J, 3) -> (N, J, 3)."""
        return [network(seen.flatten(1), std.flatten(1))[0].unflatten(-1, (-1, 3)) for network in self._networks]

    def _expected(self, pose: Tensor, std: Tensor) -> Tensor:
        seen = canonical(pose[:, self.joint_index], self._networks[0].mean.dtype)
        of_joints = std[:, self.joint_index]
        found = self._answers(seen, of_joints)
        if self.mirrored_place is not None:
            image = self._answers(_mirrored(seen, self.mirrored_place), of_joints[:, self.mirrored_place])
            found += [_mirrored(answer, self.mirrored_place) for answer in image]
        weights = [1 / len(found)] * len(found)
        if self.mixture is not None and self.config.mixture_share > 0:
            share = self.config.mixture_share
            with at_once():
                shared = std[0] if len(std) == 1 else std
            found.append(self.mixture.denoise(pose, shared)[:, self.joint_index])
            weights = [*(weight * (1 - share) for weight in weights), share]
        mean = mean_of_near(torch.stack([canonicalize(one).to(seen) for one in found]), weights)
        # what is certain stays as it was seen
        return torch.where((of_joints == 0).all(-1, keepdim=True), pose[:, self.joint_index], mean)


def _mirrored_places(joint_indices: Sequence[int]) -> Tensor:
    """(J,) where among the joints each one's mirror image is. Raises `UserError` if one has none there."""
    joints = list(joint_indices)
    if alone := [JOINT_NAMES[joint] for joint in joints if MIRROR[joint] not in joints]:
        raise UserError(f"model.denoiser.mirror: {', '.join(alone[:6])} have no mirror image among the joints learnt; give false")
    return torch.tensor([joints.index(MIRROR[joint]) for joint in joints], dtype=torch.long)


def _mirrored(rotvec: Tensor, places: Tensor) -> Tensor:
    """Rotation vectors of J joints as `body.rotations.mirror_pose` has them: (*batch, J, 3) -> (*batch, J, 3)."""
    return rotvec.index_select(-2, places) * rotvec.new_tensor([1.0, -1.0, -1.0])


def mean_of_near(rotvec: Tensor, weights: Sequence[float]) -> Tensor:
    """The weighted mean of K rotations (K, ..., 3) that are near each other, in the tangent space of the first: (..., 3)."""
    if len(rotvec) == 1:
        return rotvec[0]
    quat = conversions.rotvec_to_unitquat(rotvec)
    back = quat[:1] * quat.new_tensor([-1, -1, -1, 1])  # `quat_conjugation` writes into a part, which cannot be traced
    apart = conversions.unitquat_to_rotvec(conversions.quat_product(back.expand_as(quat[1:]), quat[1:]))
    turn = torch.einsum("k,k...->...", rotvec.new_tensor(weights[1:]), apart)
    mean: Tensor = conversions.unitquat_to_rotvec(conversions.quat_product(quat[0], conversions.rotvec_to_unitquat(turn)))
    return mean
