"""Hidden joints given the others, for any prior that has an energy and can be sampled: draws from its conditional density, and their mean.

Candidates for the hidden joints come from the exact conditional of a mixture of Gaussians that is fitted to the prior's own samples. They
are resampled by the prior's density over theirs (sampling-importance-resampling, Rubin, J. American Statistical Association 82, 1987), and
then moved by the Metropolis-adjusted Langevin algorithm (Roberts & Tweedie, Bernoulli 2, 1996), whose invariant density is the prior's
conditional, whatever they were drawn from.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.gmm import Mixture
from pose_priors.body.rotations import canonicalize, haar_correction, mean_rotation

_NUM_PROPOSALS = 384
_NUM_STEPS = 8
_NUM_ADAPTED = 5
"""Steps in which the step size still changes; those after them leave the conditional density as it is."""
_ACCEPTANCE = 0.6
_FIRST_STEP = 0.5
_NUM_CHAINS_OF_MEAN = 6
_NUM_COMPONENTS, _NUM_FITTED, _MAX_ITERATIONS = 16, 10_000, 20
_PLAUSIBLE = 0.9
"""Share of the samples, those of least energy, that the proposal is fitted to: a few from a prior's broad tails take its components."""
# in rad^2: half a degree, so that no proposal is narrower than what a prior might be
_REG_COVAR = 1e-4
_ROWS = 2048
_SEED = 0


def complete_by_sampling(candidate: Candidate, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
    """Draws the hidden joints from exp(-energy) given the others.

    Args:
        candidate: any prior.
        pose: (N, 55, 3); what it holds at the hidden joints is not looked at.
        hidden: SMPL-X indices, all of them among the joints that the prior scores.
        num: draws of each pose; they are independent chains, which start at draws of one importance sample.
    Returns:
        (num, N, 55, 3) float64.
    """
    sampler = ConditionalSampler(candidate, pose, hidden, fitted_mixture(candidate), generator)
    *_, last = sampler.states(num)
    return sampler.filled(last)


def complete_to_mean(candidate: Candidate, pose: Tensor, hidden: Sequence[int]) -> Tensor:
    """The rotations of the hidden joints that are closest to draws given the others, by squared chordal distances (Hartley et al.,
    "Rotation Averaging", IJCV 2013): (N, 55, 3) -> (N, 55, 3) float64. The same call gives the same poses."""
    sampler = ConditionalSampler(candidate, pose, hidden, fitted_mixture(candidate), torch.Generator().manual_seed(_SEED))
    states = list(sampler.states(_NUM_CHAINS_OF_MEAN))[_NUM_STEPS // 3 :]
    return sampler.filled(mean_rotation(torch.cat(states))[None])[0]


class SampledCompletion(Candidate):
    """A candidate that completes poses by draws from exp(-energy), for want of a better way."""

    def complete(self, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
        return complete_by_sampling(self, pose, hidden, num, generator)

    def complete_point(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        return complete_to_mean(self, pose, hidden)


@lru_cache(maxsize=32)
def fitted_mixture(candidate: Candidate) -> Mixture:
    """A mixture of Gaussians over the joints of a prior, fitted to plausible samples that it draws."""
    poses = candidate.sample(_NUM_FITTED, torch.Generator().manual_seed(_SEED))
    poses = poses[candidate.energies(poses).argsort()[: int(_PLAUSIBLE * len(poses))]]
    model = GaussianMixture(_NUM_COMPONENTS, reg_covar=_REG_COVAR, random_state=_SEED, max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a proposal need not be the best fit
        model.fit(candidate.select(poses).flatten(1).numpy())
    parameters = (torch.from_numpy(value) for value in (model.weights_, model.means_, model.covariances_))
    return Mixture(candidate.name, candidate.joint_indices, candidate.default_pose, *parameters)


class ConditionalSampler:
    """Draws rotation vectors of H hidden joints of N poses given the others.

    Args:
        candidate: the prior, of whose conditional the draws are.
        pose: (N, 55, 3).
        hidden: SMPL-X indices of the H joints.
        proposal: where draws come from at first, and how far they are moved: any mixture over the prior's joints.
        generator: of all that is random.
    """

    def __init__(self, candidate: Candidate, pose: Tensor, hidden: Sequence[int], proposal: Mixture, generator: torch.Generator) -> None:
        self._candidate, self._pose, self._generator = candidate, pose.double(), generator
        self._hidden, self._proposal = list(hidden), proposal
        share, _, covariance = proposal.given(self._pose, self._hidden)
        self._root = torch.linalg.cholesky(torch.einsum("nk,kab->nab", share, covariance))

    def filled(self, rotvec: Tensor) -> Tensor:
        """The poses with rotation vectors (C, N, H, 3) at the hidden joints: (C, N, 55, 3)."""
        pose = self._pose.expand(len(rotvec), *self._pose.shape).clone()
        pose[:, :, self._hidden] = rotvec
        return pose

    def resampled(self, num: int) -> Tensor:
        """Draws of the proposal that stand for the prior's conditional by their numbers: (num, N, H, 3)."""
        raw = self._proposal.draw_hidden(self._pose, self._hidden, _NUM_PROPOSALS, self._generator)
        proposed = torch.cat([self._proposal_log_prob(chunk) for chunk in raw.split(self._chunk)])
        drawn = canonicalize(raw)
        log_weight = torch.cat([self._log_prob(chunk) for chunk in drawn.split(self._chunk)]) - proposed
        weight = torch.softmax(log_weight.nan_to_num(nan=-1e30).clamp(min=-1e30), 0).T
        at = (torch.arange(num) + torch.rand(len(weight), num, generator=self._generator, dtype=torch.float64)) / num
        which = torch.searchsorted(weight.cumsum(1), at).clamp(max=len(raw) - 1)
        which = which.gather(1, torch.rand(which.shape, generator=self._generator).argsort(1)).T
        return drawn.gather(0, which[..., None, None].expand(-1, -1, *drawn.shape[2:]))

    def states(self, num: int) -> Iterator[Tensor]:
        """The states (num, N, H, 3) of `num` chains for each pose, after each step."""
        state = self.resampled(num)
        value, slope = self._slope(state)
        size = torch.full((1, len(self._pose)), _FIRST_STEP, dtype=torch.float64)
        for step in range(_NUM_STEPS):
            noise = torch.randn(slope.shape, generator=self._generator, dtype=torch.float64)
            forth = noise + size.unsqueeze(-1) / 2 * slope
            moved = state + (size.unsqueeze(-1) * torch.einsum("nab,cnb->cna", self._root, forth)).view_as(state)
            new_value, new_slope = self._slope(moved)
            back = forth + size.unsqueeze(-1) / 2 * new_slope
            log_ratio = new_value - value + (noise.square() - back.square()).sum(-1) / 2
            chance = log_ratio.nan_to_num(nan=-math.inf).clamp(max=0).exp()
            accepted = torch.rand(chance.shape, generator=self._generator) < chance
            state = torch.where(accepted[..., None, None], moved, state)
            slope = torch.where(accepted[..., None], new_slope, slope)
            value = torch.where(accepted, new_value, value)
            if step < _NUM_ADAPTED:
                size = size * torch.exp((chance.mean(0, keepdim=True) - _ACCEPTANCE) / math.sqrt(1 + step / 4))
            yield state

    @property
    def _chunk(self) -> int:
        """Draws of all poses that go through the prior at once."""
        return max(1, _ROWS // len(self._pose))

    def _log_prob(self, rotvec: Tensor) -> Tensor:
        """Log-density against the volume of rotation vectors, up to a constant of each pose: (C, N, H, 3) -> (C, N); none beyond pi."""
        filled = self.filled(rotvec).flatten(0, 1)
        with torch.set_grad_enabled(rotvec.requires_grad):
            energy = self._candidate.energy(filled).view(rotvec.shape[:2])
        beyond = (rotvec.detach().norm(dim=-1) > math.pi + 1e-9).any(-1)
        return (-energy - haar_correction(canonicalize(rotvec)).sum(-1)).masked_fill(beyond, -math.inf)

    def _slope(self, rotvec: Tensor) -> tuple[Tensor, Tensor]:
        """`_log_prob`, and its gradient in the coordinates in which the proposal has unit covariance: (C, N) and (C, N, 3H)."""
        values, slopes = [], []
        for chunk in rotvec.split(self._chunk):
            point = chunk.detach().requires_grad_()
            value = self._log_prob(point)
            (gradient,) = torch.autograd.grad(value.sum(), point)
            values.append(value.detach())
            slopes.append(torch.einsum("nab,cna->cnb", self._root, gradient.flatten(2)))
        return torch.cat(values), torch.cat(slopes)

    def _proposal_log_prob(self, rotvec: Tensor) -> Tensor:
        """Log-density of the proposal against the volume of rotation vectors of any length: (C, N, H, 3) -> (C, N)."""
        share, mean, covariance = self._proposal.given(self._pose, self._hidden)
        root = torch.linalg.cholesky(covariance)
        apart = rotvec.flatten(2).unsqueeze(2) - mean  # (C, N, K, 3H)
        white = torch.linalg.solve_triangular(root, apart.movedim(2, 0).flatten(1, 2).mT, upper=False).square().sum(1)
        log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        by_component = (-white / 2 - log_det[:, None]).view(-1, *rotvec.shape[:2])
        return torch.logsumexp(by_component + share.log().T[:, None], 0)
