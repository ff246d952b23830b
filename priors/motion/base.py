"""What a motion prior is: it says how bodies go on from one frame to the next."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Literal, get_args

import torch
from torch import Tensor

from pose_priors.priors.base import TrainablePrior

Criterion = Literal["contrast", "surrogate", "stance"]
"""By what a transition is judged: *contrast* with motions that are nearly right, by the logit of a critic, where the prior has learnt
these; the *surrogate* of the evidence alone, which is fit to lead an optimiser; or only how joints move that may touch the floor,
their *stance*, which tells how long a path is. The same for a prior that makes no difference. None of them is a log-density."""


def check_criterion(by: str) -> None:
    """Raises `ValueError` if there is no such `Criterion`."""
    if by not in get_args(Criterion):
        raise ValueError(f"no criterion {by!r} of transitions; there are {', '.join(get_args(Criterion))}")


class MotionPrior(TrainablePrior):
    """How bodies go on from one frame to the next. States are those of `body.motion_state`: (339,), z up, 30 frames a second.

    Attributes:
        leg: () metres from hip to ankle of the bodies that it knows; 0 if it knows bodies of all sizes.
    """

    leg: Tensor

    @abstractmethod
    def pair_plausibility(self, before: Tensor, after: Tensor, by: Criterion = "contrast") -> Tensor:
        """How plausible transitions between states (N, 339) of one world are by one `Criterion`, in nats, but no log-densities: (N,).

        Raises:
            ValueError: if there is no such criterion.
        """

    def transition_plausibility(self, states: Tensor, by: Criterion = "contrast") -> Tensor:
        """The same of each transition of motions, in one call: states (..., T, 339) -> (..., T - 1)."""
        before, after = states[..., :-1, :], states[..., 1:, :]
        plausibility: Tensor = self.pair_plausibility(before.flatten(0, -2), after.flatten(0, -2), by).unflatten(0, before.shape[:-1])
        return plausibility

    def transition_log_prob(self, states: Tensor, by: Criterion = "contrast") -> Tensor:
        """The old name of `transition_plausibility`, which it calls: what comes back was never a log-density."""
        warnings.warn("transition_log_prob is no log-density, and now called transition_plausibility", FutureWarning, stacklevel=2)
        return self.transition_plausibility(states, by)

    @abstractmethod
    def contact_probabilities(self, states: Tensor) -> Tensor:
        """(..., T - 1, 9) that `CONTACT_JOINTS` touch after each transition of states (..., T, 339)."""

    @abstractmethod
    def rollout(self, state: Tensor, num_steps: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """How motions go on.

        Args:
            state: (N, 339) first states.
            num_steps: of 1/30 second.
            generator: draws each step; None follows the prior's mean.
        Returns:
            states (N, num_steps + 1, 339) and probabilities of contact (N, num_steps, 9).
        """
