"""Where the components of a prior put what was seen."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.priors.gaussians.quadratic import Likelihood, Quadratic, expansion, quadratic_at
from pose_priors.priors.posteriors.components import Components

# Newton steps, and the longest in radians; what a step that makes things worse is shortened by.
_NUM_STEPS, _LONGEST, _SHRINK = 8, 1.5, 0.3
# Squared distance, in units of the posterior's own spread, below which two modes are one.
_ALIKE = 4.0
# How much less probable than the best, in nats, modes may be.
_HOPELESS = 10.0


def find_modes(likelihood: Likelihood, components: Components, like: Tensor, num_modes: int, share: float) -> list[Quadratic]:
    """The likelihoods around the places where each group of components puts what was seen: by Laplace's method the best of them, each once.

    Args:
        likelihood: of O observations.
        like: (O, D) of the type that is wanted.
        num_modes: at most so many. An observation that has fewer has a `top` of minus infinity in what is left.
        share: of the curvature that is taken, less than 1 for a wider function.
    """
    mean, precision = components.groups()
    at, value, slope, bend, left = _modes(likelihood, mean[:, None].expand(-1, len(like), -1), precision[:, None], like)
    left = left.masked_fill(left < left.amax(0) - _HOPELESS, -torch.inf)
    rows, found = torch.arange(len(like), device=like.device), []
    for _ in range(min(num_modes, len(mean))):
        best = left.argmax(0)
        quadratic = quadratic_at(at[best, rows], value[best, rows], slope[best, rows], bend[best, rows], share)
        top = quadratic.top.masked_fill(left[best, rows] == -torch.inf, -torch.inf)
        found.append(Quadratic(quadratic.centre.to(like), quadratic.precision.to(like), top.to(like)))
        off = at - at[best, rows]
        apart = torch.einsum("goa,oab,gob->go", off, bend[best, rows] + precision[best], off)
        left = left.masked_fill(apart < _ALIKE, -torch.inf)
    return found


def _modes(likelihood: Likelihood, start: Tensor, precision: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    """The most probable places under normal priors with means `start` (G, O, D) and precisions (G, 1, D, D), by Newton's method, whose
    steps are shortened where they lead to less probable ones.

    Returns:
        where they are (G, O, D); log-likelihood (G, O), slope (G, O, D) and curvature (G, O, D, D) there; and, but for a constant, the
        logarithm of the integral of prior times likelihood (G, O) by Laplace's method. All float64.
    """
    at, move = start, torch.zeros_like(start)
    best = torch.full_like(start[..., 0], -torch.inf)
    kept: list[Tensor] = []
    for _ in range(_NUM_STEPS):
        here = at + move
        value, slope, bend = expansion(likelihood, here.to(like))
        pull = torch.einsum("goa,goab->gob", here - start, precision.expand_as(bend))
        total = value - ((here - start) * pull).sum(-1) / 2
        step = torch.linalg.solve(bend + precision, slope - pull)
        step = step * (_LONGEST / torch.linalg.vector_norm(step, dim=-1, keepdim=True)).clamp_max(1)
        is_better = total > best
        now = [here, total, value, slope, bend]
        at, best, *kept = (_where(is_better, new, old) for new, old in zip(now, [at, best, *(kept or now[2:])], strict=True))
        move = _where(is_better, step, _SHRINK * move)
    volume = torch.linalg.slogdet(precision).logabsdet - torch.linalg.slogdet(kept[2] + precision).logabsdet
    return at, *kept, best + volume / 2


def _where(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Those (G, O, ...) of one or the other."""
    return torch.where(chosen.view(*chosen.shape, *[1] * (new.dim() - chosen.dim())), new, old)
