"""What the prior of clips learns: what is expected of windows of which a random part is seen."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.priors.motion.flow.corruption import corrupt
from pose_priors.priors.motion.flow.denoiser import Denoiser, combined
from pose_priors.priors.motion.flow.restoring import as_seen
from pose_priors.priors.motion.flow.view import HEIGHT, NUM_FEATURES, PATH, PLACES, Motion, mean_of_groups, to_features

_STRANGE = 8.0  # standard deviations at which a residual counts no more
_SURE = 5e-3  # of the data's spread: what the process leaves less of is known already
_PATH_WEIGHT, _PLACE_WEIGHT = 10.0, 2.0
_SPREAD_WEIGHT = 0.1


def squared_errors(denoiser: Denoiser, motion: Motion, generator: torch.Generator | None = None) -> dict[str, Tensor]:
    """The squared error of what is expected given a random part of windows, in standard deviations that the Gaussian process leaves, and
    the negative log-likelihood of these errors under the spread that is learnt of them.

    Args:
        motion: (B, T, ...) as long as the denoiser's windows.
        generator: of what is hidden and of noise; None for torch's own.
    Returns:
        scalars: `loss`, and of its parts `squared`; `over_process`, the same over that of the process alone; `spread_nll`.
    """
    part = corrupt(motion, generator)
    seen, noise, reference = as_seen(denoiser, part.motion, part.noise)
    truth = denoiser.smoother.normalized(to_features(motion, reference))
    level = part.level[:, None, None]
    drawn = torch.randn(truth.shape, generator=generator, dtype=truth.dtype, device=truth.device)
    flowing = truth + torch.where(level.isfinite(), level, 0.0) * drawn
    expected = denoiser(*combined(seen, noise, flowing, level), reference)
    left = expected.process_std
    weight = torch.ones(NUM_FEATURES).to(truth)
    weight[PATH], weight[HEIGHT], weight[PLACES] = _PATH_WEIGHT, _PATH_WEIGHT, _PLACE_WEIGHT
    weight = weight * (left > _SURE)[..., denoiser.group]
    error, of_process = (
        ((value - truth) / left[..., denoiser.group]).clamp(-_STRANGE, _STRANGE).square() for value in (expected.mean, expected.smooth)
    )
    squared, before = ((value * weight).sum() / weight.sum().clamp_min(1) for value in (error, of_process))
    ratio = (expected.std / left).log()
    nll = (0.5 * mean_of_groups(error.detach()) / (2 * ratio).exp() + ratio) * (left > _SURE)
    spread = nll.sum() / (left > _SURE).sum().clamp_min(1)
    return {"loss": squared + _SPREAD_WEIGHT * spread, "squared": squared, "over_process": squared / before, "spread_nll": spread}
