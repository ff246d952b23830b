"""Scores pose by pose: their means, standard errors, and how sure it is that the best is ahead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from scipy.stats import t as student
from torch import Tensor

SURE = 0.05
"""How often, at most, a difference that is called sure arises by chance, of either sign."""


@dataclass(frozen=True)
class Lead:
    """How far the best of a column is ahead of the second, pose by pose.

    Args:
        first, second: their names.
        by: mean difference in favour of the first, at least 0.
        error: its standard error.
        is_sure: whether the first is ahead of every other by Student's paired test.
    """

    first: str
    second: str
    by: float
    error: float
    is_sure: bool


def standard_error(values: Tensor) -> float:
    """Of the mean of independent values (N,); NaN of fewer than two."""
    return float(values.std() / math.sqrt(len(values)))


def lead(scores: Mapping[str, Tensor], lower_is_better: bool) -> Lead | None:
    """Of scores (N,) of the same N poses by their names; None where fewer than two are compared, or on fewer than two poses.

    The difference is taken pose by pose, so that what makes a pose hard for both is no part of its error."""
    num = min(map(len, scores.values()), default=0)
    if len(scores) < 2 or num < 2:
        return None
    beyond = float(student.ppf(1 - SURE / 2, num - 1))
    sign = 1.0 if lower_is_better else -1.0
    first, second, *_ = sorted(scores, key=lambda name: sign * float(scores[name].mean()))
    ahead = {name: sign * (values - scores[first]) for name, values in scores.items() if name != first}
    is_sure = all(float(values.mean()) > beyond * standard_error(values) for values in ahead.values())
    return Lead(first, second, float(ahead[second].mean()), standard_error(ahead[second]), is_sure)


def auroc_by_pose(real: Tensor, wrong: Tensor) -> Tensor:
    """What each pose adds to the area under the ROC curve: (N,), (N,) -> (N,), whose mean is the area.

    Args:
        real: surprisal of N poses.
        wrong: surprisal of the N that were made of them.

    A pose and the one that was made of it count together, so that the standard error of the mean is that of Obuchowski ("Nonparametric
    analysis of clustered ROC curve data", Biometrics 53, 1997), and two candidates compare as by DeLong et al. (Biometrics 44, 1988)."""
    of_real = _share_above(real, wrong)
    of_wrong = 1 - _share_above(wrong, real)
    return of_real + of_wrong - of_real.mean()


def _share_above(values: Tensor, others: Tensor) -> Tensor:
    """For each of N values, which share of M others is larger, half of those that equal it: (N,)."""
    ordered = others.sort().values
    below = torch.searchsorted(ordered, values, right=False)
    not_above = torch.searchsorted(ordered, values, right=True)
    return 1 - (below + not_above).to(values.dtype) / (2 * len(others))
