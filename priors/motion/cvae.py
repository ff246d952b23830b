"""A prior over motions: how a body goes on from one frame to the next, given how it stands and moves.

A conditional variational autoencoder over transitions (Rempe et al., "HuMoR: 3D Human Motion Model for Robust Pose Estimation", ICCV
2021): a prior p(z | before), an encoder q(z | before, after) and a decoder of the change of state and of the contacts. Beyond the paper,
the change is decoded as what differs from going on at the same velocity; joints that touch stand still by a density of their own; and a
critic, given what the density says, tells real transitions from those that are nearly right (`motion.negatives`): the density of a step
alone prefers whatever is slow, and would not see speed, height and the direction of time.
"""

from __future__ import annotations

from typing import Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from pose_priors.body.motion import MotionWindows, leg_length
from pose_priors.body.motion_state import (
    CHANGE,
    CHANGE_DIM,
    CONTACT_JOINTS,
    STATE,
    STATE_DIM,
    apply_change,
    bones_of,
    change_between,
    to_local,
    to_world,
    unstretched,
    with_bones,
)
from pose_priors.configs.base import Config
from pose_priors.priors.motion.base import Criterion, MotionPrior, check_criterion
from pose_priors.priors.motion.density import NUM_PARTS, ChangeDensity, Critic, Moments, divergence, log_normal, participation_ratio
from pose_priors.priors.motion.initial_state import InitialStatePrior
from pose_priors.priors.motion.negatives import central, negative_motions
from pose_priors.priors.motion.networks import MLP
from pose_priors.priors.motion.transition import Transition, constant_velocity, in_precision
from pose_priors.priors.networks.precision import without_autocast

_NUM_CONTACTS = len(CONTACT_JOINTS)
_LOG_VARIANCE = (-10.0, 6.0)
_FAR = 8.0  # standard deviations at which inputs of the networks saturate
_LEAST_STD = 0.02  # of an input, in its own unit: what hardly varies in the data is not blown up
_CONTACT_WEIGHT = 1.0
_NEGATIVES = 2  # windows for each real one
_FOLLOW = 0.01  # of a running mean, at each step
_ROBUST = 1.4826  # standard deviations of a normal in medians of its absolute value
_NUM_SEEDS = 256  # states that samples start from


class MotionCVAEConfig(Config):
    """Config of `MotionCVAE`."""

    kind: Literal["motion_cvae"]
    variant: Literal["extrapolating", "humor"] = "extrapolating"
    """`humor` is the published network: states as they are, whole changes decoded, the likelihood that of the latent alone, no critic."""
    latent_dim: int = Field(48, ge=1)
    hidden: int = Field(512, ge=64, multiple_of=64)
    """Width of the networks; half of it before the decoder's output. HuMoR's is 1024."""
    num_layers: int = Field(4, ge=1)
    """Hidden layers of prior and encoder; the decoder has one less, at least one."""
    window: int = Field(4, ge=3)
    """Frames of the windows that training sees."""
    kl_weight: float = Field(1.0, gt=0)
    """Weight of the divergence in training, reached over the first tenth of the steps."""
    rollout_weight: float = Field(0.5, ge=0)
    """Weight of steps that start from the model's own prediction, as in scheduled sampling."""
    dropout: float = Field(0.15, ge=0, lt=1)
    """Share of the hidden numbers of prior, encoder and decoder that training drops."""
    input_noise: float = Field(0.02, ge=0)
    """Standard deviation of the noise that training adds to the state before, as prior, encoder, decoder and critic see it."""
    critic_hidden: int = Field(256, ge=0)
    """Width of the critic; 0 for none, as in HuMoR."""
    critic_dropout: float = Field(0.3, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.variant == "humor" and self.critic_hidden:
            raise ValueError("variant=humor has no critic; give critic_hidden=0, or leave the variant out")
        return self

    def build(self, joint_indices: object = None) -> MotionCVAE:
        """The prior, before `MotionCVAE.fit_statistics`."""
        return MotionCVAE(self)


class MotionCVAE(MotionPrior):
    """See the module."""

    state_mean: Tensor
    state_std: Tensor
    independent: Tensor
    parts_mean: Tensor
    seeds: Tensor
    num_steps: Tensor

    def __init__(self, config: MotionCVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.is_humor = config.variant == "humor"
        width, z = config.hidden, config.latent_dim
        hidden = [width] * config.num_layers
        self.encoder = MLP([2 * STATE_DIM, *hidden, 2 * z], dropout=config.dropout)
        self.prior_net = MLP([STATE_DIM, *hidden, 2 * z], dropout=config.dropout)
        narrowing = [*[width] * max(config.num_layers - 2, 0), width // 2]
        self.decoder = MLP([STATE_DIM + z, *narrowing, CHANGE_DIM + _NUM_CONTACTS], z, config.dropout)
        if config.critic_hidden:
            self.critic = Critic(config.critic_hidden, config.critic_dropout)
        self.register_buffer("state_mean", torch.zeros(STATE_DIM))
        self.register_buffer("state_std", torch.ones(STATE_DIM))
        self.density = ChangeDensity()
        self.register_buffer("independent", torch.tensor(1.0))
        self.register_buffer("leg", torch.tensor(0.0))
        self.register_buffer("parts_mean", torch.zeros(NUM_PARTS))
        self.register_buffer("seeds", torch.zeros(_NUM_SEEDS, STATE_DIM))
        self.initial_state: InitialStatePrior | None = None  # only HuMoR's own files come with one
        self.register_buffer("num_steps", torch.tensor(0))
        self._warmup = 1

    @torch.no_grad()
    def fit_statistics(self, windows: MotionWindows) -> None:
        """Sets the scales of the networks' inputs and outputs from training motions, and how many of the residuals are independent."""
        states = windows.states()
        before, after = states[:, :-1].flatten(0, 1), states[:, 1:].flatten(0, 1)
        own, _, residual = self._observed(before, after)
        if not self.is_humor:
            self.leg.copy_(leg_length(windows.rest).mean())
            self.state_mean.copy_(own.mean(0))
            self.state_std.copy_(own.std(0).clamp_min(_LEAST_STD))
            self.density.std.copy_(_ROBUST * residual.abs().median(0).values.clamp_min(1e-4))
        self.seeds.copy_(states[torch.arange(_NUM_SEEDS) * len(states) // _NUM_SEEDS, 0])
        self.independent.copy_(participation_ratio(residual / self.density.std) / CHANGE_DIM)

    def set_total_steps(self, total_steps: int) -> None:
        self._warmup = max(1, total_steps // 10)

    def transition(self, before: Tensor, after: Tensor) -> Transition:
        """Runs prior and encoder on transitions between states (N, 339) of one world."""
        own, local, residual = self._observed(before, after)
        inputs = self._normalized(own)
        if self.training and self.config.input_noise:
            inputs = inputs + self.config.input_noise * torch.randn_like(inputs)
        posterior = self.encoder(torch.cat([inputs, self._normalized(local)], 1))
        return Transition(own, residual, inputs, self._moments(posterior), self._moments(self.prior_net(inputs)))

    def decode(self, inputs: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The residual (N, 207) and the logits (N, 9) of the contacts after it."""
        out = self.decoder(torch.cat([inputs, z], 1))
        return out[:, :CHANGE_DIM] * self.density.std, out[:, CHANGE_DIM:]

    def bound(self, found: Transition, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The parts (N, 3) of a bound of the evidence, which is their sum if z is a draw of q, and no bound if z is its mean: log p(after |
        z, before) of joints that may touch and of the rest, and minus the divergence of q from p; then the residual (N, 207) and the
        contacts' logits (N, 9) that z decodes to."""
        predicted_residual, logits = self.decode(found.inputs, z)
        velocity = found.before[:, STATE["joints_vel"]] + found.residual[:, CHANGE["joints_vel"]]
        touching, rest = self.density(found.residual, predicted_residual, velocity, logits)
        return torch.stack([touching, rest, -divergence(found.posterior, found.prior)], 1), predicted_residual, logits

    def loss(self, windows: MotionWindows) -> dict[str, Tensor]:
        """The negative bound per residual, the prediction from the prior's mean, the contacts and the critic, for windows of motions."""
        real = central(windows, self.config.window + 2)
        states, contacts = real.states(), real.contacts[:, 1:-1].to(real.pose.dtype)
        before, after = states[:, :-1].flatten(0, 1), states[:, 1:].flatten(0, 1)
        found = self.transition(before, after)
        values, predicted = self._step_loss(found, contacts[:, 1:].flatten(0, 1))
        loss = values["loss"]
        if self.config.rollout_weight:
            some = slice(0, max(1, len(states) // 2))  # half of the windows: it costs as much as the step itself
            with torch.no_grad(), without_autocast(states):
                own = self._on_bones(to_world(self._changed(found.before, predicted), before), bones_of(before))
                own = own.unflatten(0, states[:, 1:].shape[:2])
            again = self.transition(own[some, :-1].flatten(0, 1), states[some, 2:].flatten(0, 1))
            loss = loss + self.config.rollout_weight * self._step_loss(again, contacts[some, 2:].flatten(0, 1))[0]["loss"]
        if self.config.critic_hidden:
            negative = torch.cat([negative_motions(windows, self.config.window + 2).states() for _ in range(_NEGATIVES)])
            values["critic"] = self._critic_loss(found, negative)
            loss = loss + values["critic"]
        if self.training:
            self.num_steps += 1
        return values | {"loss": loss}

    def _step_loss(self, found: Transition, contacts: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        (mean, log_variance), (prior_mean, _) = found.posterior, found.prior
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp() if self.training else mean
        parts, decoded, logits = self.bound(found, z)
        likelihood, gap = parts[:, :2].sum(1), -parts[:, 2]
        annealed = min(1.0, 0.1 + float(self.num_steps) / self._warmup) if self.training else 1.0
        predicted_residual = self.decode(found.inputs, prior_mean)[0]
        values = {
            "bound": (likelihood - gap).mean(),
            "divergence": gap.mean(),
            "prediction": self.density.error(found.residual, predicted_residual),
            "contacts": binary_cross_entropy_with_logits(logits, contacts),
        }
        values["loss"] = (
            -(likelihood - self.config.kl_weight * annealed * gap).mean() / CHANGE_DIM
            + values["prediction"]
            + _CONTACT_WEIGHT * values["contacts"]
        )
        return values, decoded.detach()

    def _critic_loss(self, real: Transition, negative_states: Tensor) -> Tensor:
        """Logistic regression of real against negative transitions."""
        with torch.no_grad():
            negative = self.transition(negative_states[:, :-1].flatten(0, 1), negative_states[:, 1:].flatten(0, 1))
            parts = [self.bound(found, found.posterior[0])[0] for found in (real, negative)]
            if self.training:
                self.parts_mean.lerp_(parts[0].mean(0), _FOLLOW if self.num_steps else 1.0)
        of_real, of_negative = (self._ratio(found, p) for found, p in zip((real, negative), parts, strict=True))
        return -(logsigmoid(of_real).mean() + logsigmoid(-of_negative).mean()) / 2

    def _ratio(self, found: Transition, parts: Tensor) -> Tensor:
        residual, weighted = found.residual / self.density.std, self.independent * (parts - self.parts_mean)
        return cast(Tensor, self.critic(found.inputs, residual, weighted))

    def pair_plausibility(self, before: Tensor, after: Tensor, by: Criterion = "contrast") -> Tensor:
        """See the base class: the critic's logit; the parts of `bound` at the encoder's mean, weighted by how many residuals are
        independent; or the part of touching joints. Of `variant: humor`, log p(z | before) at the encoder's mean."""
        check_criterion(by)
        found = self.transition(before, after)
        if self.is_humor:
            return log_normal(found.posterior[0], found.prior)
        parts = self.bound(found, found.posterior[0])[0]
        if by == "stance":
            return parts[:, 0]
        return self._ratio(found, parts) if by == "contrast" and self.config.critic_hidden else self.independent * parts.sum(1)

    def contact_probabilities(self, states: Tensor) -> Tensor:
        """(..., T - 1, 9) that `CONTACT_JOINTS` touch after each transition of states (..., T, 339), by what the prior expects of it."""
        before = states[..., :-1, :]
        _, logits = self._expected(to_local(before, before).flatten(0, -2))
        return cast(Tensor, torch.sigmoid(logits).unflatten(0, before.shape[:-1]))

    def step(self, state: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state (N, 339) after states (N, 339), by the prior's mean or with normal `noise` (N, Z); contacts' logits."""
        own = to_local(state, state)
        residual, logits = self._expected(own, noise)
        return to_world(self._changed(own, residual), state), logits

    @torch.no_grad()
    def rollout(self, state: Tensor, num_steps: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """See the base class; each joint is kept at the distance from its parent that the first state shows."""
        bones = bones_of(state)
        states, contacts = [state], []
        for _ in range(num_steps):
            noise = None
            if generator is not None:
                shape = (len(state), self.config.latent_dim)
                noise = torch.randn(shape, generator=generator, device=state.device, dtype=state.dtype)
            state, logits = self.step(state, noise)
            states.append(state := self._on_bones(state, bones))
            contacts.append(torch.sigmoid(logits))
        return torch.stack(states, 1), torch.stack(contacts, 1)

    def sample(self, num_samples: int, generator: torch.Generator | None = None, num_frames: int = 60) -> Tensor:
        """Draws motions (num_samples, num_frames, 339) that go on from states of the training data.

        Raises:
            ValueError: if the prior has none, as a checkpoint of HuMoR: `rollout` from a state then.
        """
        if not self.seeds.any():
            raise ValueError("this motion prior has no states to start from; use rollout(state, num_steps, generator)")
        generator = generator or torch.Generator(self.seeds.device).manual_seed(int(torch.randint(2**62, ())))
        rows = torch.randint(len(self.seeds), (num_samples,), generator=generator, device=self.seeds.device)
        return self.rollout(self.seeds[rows], num_frames - 1, generator)[0]

    def energy(self, windows: MotionWindows) -> Tensor:
        """Minus the mean plausibility of the transitions in each window, by the critic if there is one: (B,). Finite for any rotations."""
        windows = in_precision(central(windows, self.config.window + 2), self.state_mean.dtype)
        return -self.transition_plausibility(windows.states()).mean(-1)

    def _expected(self, own: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the decoder says of states in their own frames, by the prior's mean or with noise."""
        mean, log_variance = self._moments(self.prior_net(inputs := self._normalized(own)))
        return self.decode(inputs, mean if noise is None else mean + noise * (log_variance / 2).exp())

    def _observed(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both in the frame of `before`, and the change less what goes on at the same velocity."""
        with without_autocast(before):
            own, local = to_local(before, before), to_local(after, before)
            return own, local, change_between(own, local) - (0 if self.is_humor else constant_velocity(own))

    def _on_bones(self, states: Tensor, bones: Tensor) -> Tensor:
        """Predicted states with bones (N, 21, 3) of their true lengths. HuMoR feeds its velocities back as they are."""
        states = with_bones(states, bones)
        return states if self.is_humor else unstretched(states)

    def _moments(self, out: Tensor) -> Moments:
        mean, log_variance = out.chunk(2, -1)
        return mean, log_variance if self.is_humor else log_variance.clamp(*_LOG_VARIANCE)

    def _changed(self, own: Tensor, residual: Tensor) -> Tensor:
        return apply_change(own, residual if self.is_humor else constant_velocity(own) + residual)

    def _normalized(self, states: Tensor) -> Tensor:
        return states if self.is_humor else ((states - self.state_mean) / self.state_std).clamp(-_FAR, _FAR)
