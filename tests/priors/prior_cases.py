"""Every variant of every prior in the registry, and small generated data for them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import roma
import torch
from scipy.stats import multivariate_t
from torch import Tensor

from pose_priors.body.skeleton import NUM_JOINTS, PARTS
from pose_priors.configs.base import UserError
from pose_priors.priors import PriorConfig, load_prior
from pose_priors.priors.base import Prior, PriorConfigBase
from pose_priors.priors.denoising.denoiser import DenoiserConfig
from pose_priors.priors.ensemble import EnsembleConfig
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.global_flow import GlobalFlowConfig
from pose_priors.priors.joint_flow import JointFlowConfig
from pose_priors.priors.mixture import MixtureConfig

JOINTS = (1, 2, 4, 16, 18, *PARTS["left_hand"], *PARTS["right_hand"])
HINGES = (4, 18, 26)
"""Joints that the generated data turns about one fixed axis only, as knees and fingers do."""
_SMALL = {
    "hidden": 12,
    "K": 3,
    "num_context": 2,
    "num_blocks": 1,
    "z_dim": 4,
    "n_layers": 1,
    "num_importance_samples": 4,
    "num_steps": 3,
    "num_draws": 4,
    "num_networks": 2,
    "num_components": [3, 2],
    "widths": [0.6, 1.0],
    "covariance_floors": [1e-4],
}


MEMBERS: tuple[type[PriorConfigBase], ...] = (JointFlowConfig, GlobalFlowConfig, MixtureConfig, GaussianConfig)
"""What an ensemble may be of."""


DENOISER = DenoiserConfig(
    hidden=24,
    num_blocks=1,
    dropout=0.0,
    num_networks=2,
    mixture=MixtureConfig(kind="mixture", num_components=[3, 2], widths=[0.6, 1.0], covariance_floors=[1e-4]),
)
"""A small one."""


def make_poses(num: int, seed: int = 0, spread: float = 0.25, shift: float = 0.0) -> Tensor:
    """Correlated, skewed poses (num, 55, 3) from few factors, eyes and jaw at zero; `shift` moves every mean, in radians."""
    factors = torch.Generator().manual_seed(1234)
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(4, NUM_JOINTS, 3, generator=factors) * spread
    mean = torch.randn(NUM_JOINTS, 3, generator=factors) * 0.3 + shift
    hidden = torch.randn(num, 4, generator=generator)
    hidden[:, 0] = hidden[:, 0].exp() - 1
    own = torch.randn(num, NUM_JOINTS, 3, generator=generator) * spread
    pose = mean + torch.einsum("nf,fjk->njk", hidden, mixing) * 0.5 + own
    pose = pose * (math.pi - 0.2) / pose.norm(dim=-1, keepdim=True).clamp_min(math.pi - 0.2)
    pose[:, list(HINGES), 1:] = 0
    pose[:, [22, 23, 24]] = 0
    return pose


def random_rotations(num: int, seed: int = 0) -> Tensor:
    """Poses (num, 55, 3) whose every joint is uniform on SO(3)."""
    quat = torch.randn(num, NUM_JOINTS, 4, generator=torch.Generator().manual_seed(seed))
    return roma.unitquat_to_rotvec(quat / quat.norm(dim=-1, keepdim=True))


def log_volume(rotvec: Tensor) -> Tensor:
    """The logarithm of how much normalised Haar measure a volume of rotation vectors holds at one, (3,), by autograd's Jacobian."""
    turn = torch.autograd.functional.jacobian(lambda w: roma.rotvec_to_rotmat(w).flatten(), rotvec)  # (9, 3)
    # |dR|_F^2 = 2 |angle|^2, and all rotations together have the volume 8 pi^2
    return 0.5 * torch.linalg.slogdet(turn.T @ turn / 2).logabsdet - math.log(8 * math.pi**2)


def with_tails(flow: Tensor, noise: Tensor, weight: float) -> Tensor:
    """What the log-density (N,) of a flow from standard normal noise (N, D) is if a share is from Student's t of 4 degrees, by SciPy."""
    tails = torch.as_tensor(multivariate_t(shape=torch.eye(noise.shape[1]).numpy(), df=4).logpdf(noise.detach().numpy()))
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(noise).sum(-1)
    return flow - normal + torch.logaddexp(normal + math.log1p(-weight), tails + math.log(weight))


def members() -> tuple[type[PriorConfigBase], ...]:
    """The config classes of the registry."""
    return get_args(get_args(PriorConfig)[0])


def cases() -> Iterator[tuple[str, PriorConfigBase]]:
    """(name, small config) for every combination of the choices and switches of every registered prior."""
    for config_class in members():
        fields = config_class.model_fields
        kind = _kind(config_class)
        if config_class is EnsembleConfig:
            yield from _ensembles()
            continue
        choices = {name: _choices(field.annotation) for name, field in fields.items() if name != "kind"}
        choices = {name: values for name, values in choices.items() if values}
        small = _small(config_class)
        for values in itertools.product(*choices.values()):
            chosen = dict(zip(choices, values, strict=True))
            if chosen.get("use_conditioning") is False and "condition" in fields and chosen["condition"] != fields["condition"].default:
                continue  # what to condition on means nothing without conditioning
            named = [str(v) for v in values if not isinstance(v, bool)]
            name = "-".join([kind, *named, *(k for k, v in chosen.items() if v is True)])
            yield name, config_class(kind=kind, **small, **chosen)
        if "denoiser" in fields:
            yield f"{kind}-denoiser", config_class(kind=kind, **small, denoiser=DENOISER, **_first(choices))


def _ensembles() -> Iterator[tuple[str, EnsembleConfig]]:
    """Ensembles of one kind, as `member` gives them, of a flow beside what is fitted, and of what knows noise in closed form."""
    joint, whole, mixture, gaussian = (config(kind=_kind(config), **_small(config)) for config in MEMBERS)
    full = gaussian.model_copy(update={"covariance": "full"})
    yield "ensemble-joint_flow", EnsembleConfig(kind="ensemble", member=joint, num_members=2)
    yield "ensemble-global_flow-mixture", EnsembleConfig(kind="ensemble", members=[whole, mixture], weights=[2, 1])
    yield "ensemble-gaussian-mixture", EnsembleConfig(kind="ensemble", members=[full, mixture], weights=[2, 1])
    yield "ensemble-denoiser", EnsembleConfig(kind="ensemble", member=whole, num_members=2, denoiser=DENOISER)


def _first(choices: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """The first of each choice."""
    return {name: values[0] for name, values in choices.items()}


def conditioned_on_root(prior: Prior) -> bool:
    """Whether the energy may depend on the root although the root is not learnt."""
    config = prior.config
    return getattr(config, "use_conditioning", False) and getattr(config, "condition", None) == "global_orient"


def trained(config: PriorConfigBase, joints: tuple[int, ...], num_steps: int, poses: Tensor, started_on: Tensor, lr: float = 1e-2) -> Prior:
    """A prior after a few steps of Adam on all of `poses`, in evaluation mode."""
    torch.manual_seed(0)
    prior = config.build(joints)
    prior.fit_statistics(started_on)
    prior.train()
    optimizer = torch.optim.Adam(prior.parameters(), lr)
    for _ in range(num_steps):
        optimizer.zero_grad()
        prior.loss(poses)["loss"].backward()
        optimizer.step()
    return prior.eval()


def shake(prior: Prior, scale: float = 0.3, seed: int = 0) -> Prior:
    """The prior with noise on every parameter, so that nothing is close to its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return prior


def _choices(annotation: Any) -> tuple[Any, ...]:
    if annotation is bool:
        return (False, True)
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _kind(config_class: type[PriorConfigBase]) -> str:
    return get_args(config_class.model_fields["kind"].annotation)[0]


def _small(config_class: type[PriorConfigBase]) -> dict[str, Any]:
    return {name: value for name, value in _SMALL.items() if name in config_class.model_fields}


def refusal(path: Path, at_most: int) -> str:
    """What `load_prior` says of something that it refuses: one line that names it, of so many characters at most."""
    with pytest.raises(UserError) as caught:
        load_prior(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert len(message) < at_most
    return message
