"""A prior of whole clips, by flow matching over windows of frames.

The path of flow matching from noise to motion, x_t = (1 - t) noise + t x (Lipman et al., "Flow matching for generative modeling", ICLR
2023), is a motion seen with noise of standard deviation (1 - t) / t; its velocity follows from what is expected of the motion given that.
The network is told a noise for each entry, as in diffusion forcing (Chen et al., NeurIPS 2024), so that one network draws motions, fills
what is hidden, and takes away noise of known size: what is seen and where the flow is are two views of one motion, which combine in closed
form.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from pose_priors.body.motion import MotionWindows, leg_length
from pose_priors.body.motion_state import NUM_JOINTS, STATE_DIM
from pose_priors.configs.base import Config
from pose_priors.priors.base import TrainablePrior
from pose_priors.priors.motion.flow.chaining import restore
from pose_priors.priors.motion.flow.denoiser import Denoiser
from pose_priors.priors.motion.flow.network import TemporalNetwork
from pose_priors.priors.motion.flow.objective import squared_errors
from pose_priors.priors.motion.flow.placing import within_reach
from pose_priors.priors.motion.flow.planting import held_feet
from pose_priors.priors.motion.flow.posterior import ClipLikelihood, draw_clips
from pose_priors.priors.motion.flow.regression.model import Regression
from pose_priors.priors.motion.flow.restoring import Drawn, Restored, on_skeleton
from pose_priors.priors.motion.flow.skeleton_fit import fit_held
from pose_priors.priors.motion.flow.skeletons import bones_of_rest, checked_bones, leg_of_bones, mean_rest, measured_bones
from pose_priors.priors.motion.flow.surprise import energies, energy_noise
from pose_priors.priors.motion.flow.view import (
    NUM_FEATURES,
    NUM_GROUPS,
    PLACES,
    Motion,
    Noise,
    by_joint,
    checked,
    exact,
    find_reference,
    motion_of_states,
    motion_of_windows,
    refuse_half,
    states_of_motion,
    to_features,
)
from pose_priors.priors.motion.transition import in_precision
from pose_priors.priors.networks.precision import widened

_REACH = 6.0  # standard deviations that no noise moves a joint by


class MotionFlowConfig(Config):
    """Config of `MotionFlow`."""

    kind: Literal["motion_flow"]
    num_frames: int = Field(60, ge=20, le=300)
    """Of a window, at 30 a second. Longer motions are seen by windows that overlap."""
    hidden: int = Field(192, ge=8)
    """Width of the network."""
    num_blocks: int = Field(5, ge=1)
    num_heads: int = Field(6, ge=1)
    """Of attention; `hidden` is a multiple."""
    kernel: int = Field(5, ge=1)
    """Frames that convolutions see; odd."""
    dropout: float = Field(0.1, ge=0, lt=1)
    num_steps: int = Field(12, ge=2)
    """Of the integration from noise to motion, two passes of the network each."""
    regression_hidden: int = Field(0, ge=0, multiple_of=32)
    """Width of the network that regresses joints of which no rotations are seen; 0 has none."""
    flow: str | None = None
    """A trained motion_flow whose flow is taken as it is, so that the regression alone is learnt; it has the same sizes."""

    @model_validator(mode="after")
    def _check(self) -> MotionFlowConfig:
        if self.hidden % self.num_heads or self.kernel % 2 == 0:
            raise ValueError(f"hidden={self.hidden} has to be a multiple of num_heads={self.num_heads}, and kernel={self.kernel} odd")
        if self.flow is not None and not self.regression_hidden:
            raise ValueError(f"flow={self.flow} leaves nothing to learn but a regression: give regression_hidden")
        return self

    def build(self, joint_indices: object = None) -> MotionFlow:
        """The prior, before `MotionFlow.fit_statistics`."""
        return MotionFlow(self)


class MotionFlow(TrainablePrior):
    """See the module.

    Attributes:
        leg: () metres from hip to ankle of the bodies that it knows; others are seen in lengths of their own.
        rest: (22, 3) metres, the mean skeleton of its training data.
    """

    leg: Tensor
    rest: Tensor
    noise: Tensor

    def __init__(self, config: MotionFlowConfig) -> None:
        super().__init__()
        self.config = config
        network = TemporalNetwork(
            Denoiser.num_inputs(),
            NUM_FEATURES + NUM_GROUPS,
            config.num_frames,
            config.hidden,
            config.num_blocks,
            config.num_heads,
            config.kernel,
            config.dropout,
        )
        regression = None
        if config.regression_hidden:
            regression = Regression(config.regression_hidden, config.num_frames, config.kernel, config.dropout)
        self.denoiser = Denoiser(network, config.num_frames, regression)
        self.register_buffer("leg", torch.tensor(1.0))
        self.register_buffer("rest", torch.zeros(NUM_JOINTS, 3))
        self.register_buffer("noise", energy_noise(config.num_frames))

    @torch.no_grad()
    def fit_statistics(self, windows: MotionWindows) -> None:
        """Sets scales and the covariances over time from training windows."""
        motion = motion_of_windows(in_precision(windows, self.rest.dtype))
        self.leg.copy_(leg_length(windows.rest).mean())
        self.rest.copy_(mean_rest(windows.rest))
        features = to_features(motion, find_reference(motion, exact(motion)))
        self.denoiser.smoother.fit(features)
        if self.denoiser.regression is not None:
            self.denoiser.regression.process.fit(features[..., PLACES])

    def loss(self, windows: MotionWindows) -> dict[str, Tensor]:
        """See `objective.squared_errors` and `Regression.errors`. Held-out windows meet the same noise each time, so that epochs can be
        compared."""
        refuse_half(self.rest.dtype)
        motion = motion_of_windows(in_precision(windows, self.rest.dtype))
        generator = None if self.training else torch.Generator(motion.joints.device).manual_seed(0)
        of_flow = squared_errors(self.denoiser, motion, generator) if self.config.flow is None else {}
        if self.denoiser.regression is None:
            return of_flow
        errors = self.denoiser.regression.errors(self.denoiser.smoother, motion, generator)
        return {**of_flow, **errors, "loss": of_flow.get("loss", 0.0) + errors["regression"]}

    def restore(self, motion: Motion, noise: Noise, bones: Tensor | None = None, generator: torch.Generator | None = None) -> Restored:
        """Motions of any length given what is seen of them.

        Args:
            motion: (B, T, ...); what it holds where nothing is seen does not matter, NaN neither.
            noise: how much of it is seen.
            bones: (B, 22, 3) metres from each joint's parent in the parent's axes; None finds them by what is seen.
            generator: draws; None for the mean.
        Returns:
            (B, T, ...) what is seen exactly as it is, the rest on one skeleton, but no joint farther from where it is seen than six
            standard deviations: a skeleton that is not theirs may not overrule that; and how sure each of it is. In the prior's precision.
        Raises:
            ValueError: if what is said to be seen is NaN, a standard deviation negative or NaN, or legs have no length.
        """
        motion, noise = checked(motion, noise, self.rest.dtype)
        bones = measured_bones(motion, noise, self.rest) if bones is None else checked_bones(bones, self.rest.dtype)
        size = (self.leg.to(bones) / leg_of_bones(bones))[:, None, None]
        own = Motion(motion.rotations, motion.joints * size[..., None], motion.contacts)
        held = size.detach()  # noise has no gradient
        told = Noise(noise.rotations, noise.joints * held, noise.contacts, noise.path * held[..., 0])
        found = restore(self.denoiser, own, told, bones * size, self.config.num_steps if generator is not None else 0, generator)
        found, contacts = found.shrunk(size), found.motion.contacts
        assert contacts is not None
        body = on_skeleton(found, bones)
        rotations, joints = body.rotations, body.joints
        change = held_feet(joints, contacts, ~noise.joints.isfinite())
        if change.any():
            rotations, joints = fit_held(rotations, joints, change, bones)
        rotations = torch.where((noise.rotations == 0)[..., None, None], motion.rotations, rotations)
        std = torch.hypot(noise.joints, noise.path[..., None])
        joints = torch.where((std == 0)[..., None], motion.joints, within_reach(joints, motion.joints, _REACH * std))
        return found._replace(motion=Motion(rotations, joints, contacts))

    @torch.no_grad()
    def denoise(
        self,
        states: Tensor,
        std: Tensor | float,
        rotation_std: Tensor | float = torch.inf,
        bones: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Motions that were seen with normal noise of known size.

        Args:
            states: (*batch, T, 339), T of any length.
            std: metres, of each component of the joints' places, that broadcasts to (*batch, T, 22): 0 is exact, infinite not seen.
            rotation_std: the same of rotations, in radians; not seen unless given.
            bones: (*batch, 22, 3), see `restore`.
            generator: draws; None for the mean.
        Returns:
            (*batch, T, 339) states of one skeleton, in the prior's precision.
        Raises:
            ValueError: if what is said to be seen is NaN, or a standard deviation negative or NaN.
        """
        states = widened(states, self.rest.dtype)
        shape = (*states.shape[:-1], NUM_JOINTS)
        of_joints, of_rotations = (_rows(torch.as_tensor(value).to(states).expand(shape)) for value in (std, rotation_std))
        noise = Noise.of(of_rotations, of_joints)
        flat = None if bones is None else _rows(bones.expand(*states.shape[:-2], NUM_JOINTS, 3))
        found = self.restore(motion_of_states(_rows(states)), noise, flat, generator)
        return states_of_motion(found.motion).reshape(states.shape)

    def complete(self, states: Tensor, given: Tensor, bones: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Motions of which some joints are given, on some frames: in-between frames, hidden limbs, people who are not seen for a while.

        Args:
            states: (*batch, T, 339); what they hold where nothing is given does not matter, NaN neither.
            given: (*batch, T, 22) bool, of each joint its rotation and its place; or (*batch, T), of whole frames. Other types mean what
                is not zero.
            bones: as in `denoise`.
            generator: the same.
        Returns:
            (*batch, T, 339) with rotations and joints as they are where given.
        """
        std = torch.where(by_joint(given, states.shape), 0.0, torch.inf).to(states)
        return self.denoise(states, std, std, bones, generator)

    def sample(self, num_samples: int, generator: torch.Generator | None = None, num_frames: int = 60) -> Tensor:
        """Draws motions (num_samples, num_frames, 339) of the mean skeleton, over the origin at some time."""
        like = self.rest
        generator = generator or torch.Generator(like.device).manual_seed(int(torch.randint(2**62, ())))
        states = like.new_full((num_samples, num_frames, STATE_DIM), torch.nan)
        bones = bones_of_rest(like).expand(num_samples, -1, -1)
        return self.denoise(states, torch.inf, bones=bones, generator=generator)

    @torch.no_grad()
    def posterior(
        self,
        log_likelihood: ClipLikelihood,
        num_observations: int,
        num_samples: int,
        generator: torch.Generator | None = None,
        num_frames: int | None = None,
    ) -> Tensor:
        """Draws clips given what was seen: from exp(log_likelihood(states)) times the prior, see `posterior.draw_clips`.

        Args:
            log_likelihood: states (num_samples, num_observations, num_frames, 339) -> nats (num_samples, num_observations).
            num_frames: at most a window's, which is the default.
        Returns:
            (num_samples, num_observations, num_frames, 339) of the mean skeleton, over the origin at some time.
        Raises:
            ValueError: if more frames are asked for than a window has, or no samples.
        """
        refuse_half(self.rest.dtype)
        length = self.config.num_frames
        frames = length if num_frames is None else num_frames
        if not 2 <= frames <= length:
            raise ValueError(f"num_frames={frames}: 2 to {length}, the frames of a window, are expected")
        bones = bones_of_rest(self.rest)
        size = self.leg / leg_of_bones(bones)

        def posed(drawn: Drawn) -> Tensor:
            found = drawn.restored(self.denoiser).shrunk(size).frames(slice(frames))
            return states_of_motion(on_skeleton(found, bones.expand(len(found.joint_std), -1, -1)))

        return draw_clips(self.denoiser, posed, log_likelihood, num_observations, num_samples, self.config.num_steps, generator)

    @torch.no_grad()
    def contact_probabilities(self, states: Tensor) -> Tensor:
        """(*batch, T, 9) that `CONTACT_JOINTS` touch, on each frame of states (*batch, T, 339)."""
        motion = motion_of_states(_rows(widened(states, self.rest.dtype)))
        found = self.restore(motion, exact(motion)).motion.contacts
        assert found is not None
        return found.reshape(*states.shape[:-1], -1)

    def energy(self, windows: MotionWindows) -> Tensor:
        """The mean of `frame_energies` over the frames of each window: (B,) nats, in the prior's precision. Finite for any rotations."""
        own = motion_of_windows(in_precision(windows, self.rest.dtype))
        return self._energies(own).sum(-1).mean(-1)

    def frame_energies(self, states: Tensor) -> Tensor:
        """How implausible each joint of each frame is: states (*batch, T, 339), T of any length -> (*batch, T, 22) nats.

        Minus the log-likelihood of what belongs to a joint, its rotation and its place, given all of the motion with noise, the mean over
        levels of noise. The sum over joints is a frame's energy, the mean of these over frames a motion's. Differentiable.
        """
        motion = motion_of_states(_rows(widened(states, self.rest.dtype)))
        return self._energies(motion).reshape(*states.shape[:-1], -1)

    def _energies(self, motion: Motion) -> Tensor:
        refuse_half(self.rest.dtype)
        bones = measured_bones(motion, exact(motion), self.rest)
        size = (self.leg.to(bones) / leg_of_bones(bones))[:, None, None, None]
        return energies(self.denoiser, Motion(motion.rotations, motion.joints * size), self.noise.to(size))


def _rows(values: Tensor) -> Tensor:
    """Values (*batch, M, N) as (B, M, N); without a batch B is 1."""
    return values.reshape(math.prod(values.shape[:-2]), *values.shape[-2:])
