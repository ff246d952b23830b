"""A Gaussian process over time for each principal axis of the joints' places: joints move together, so that all of them tell of each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.priors.networks.precision import uncast

NUM_PLACES = NUM_JOINTS - 1
_OWN = 32  # axes that have a covariance over time of their own; the rest, which hardly move, share one
_LEAST_STD, _MOST_STD = 0.005, 0.3  # metres of noise between which this looks
_PRECISE = 0.25  # of the median noise: what is seen more precisely counts as seen so
_STEPS = 8  # of expectation and maximisation, where noise is not alike everywhere


class AxesProcess(nn.Module):
    """The places of joints from the pelvis, in metres, over windows of T frames.

    Args:
        num_frames: T.
    """

    mean: Tensor
    axes: Tensor
    vectors: Tensor
    values: Tensor
    of_axis: Tensor

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        size = 3 * NUM_PLACES
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("axes", torch.eye(size))
        self.register_buffer("vectors", torch.eye(num_frames).repeat(_OWN + 1, 1, 1))
        self.register_buffer("values", torch.zeros(_OWN + 1, num_frames))
        self.register_buffer("of_axis", torch.arange(size).clamp_max(_OWN), persistent=False)

    @torch.no_grad()
    def fit(self, places: Tensor) -> None:
        """Sets mean, axes and the covariances over time from places (N, T, 63) in metres."""
        x = places.double()
        self.mean.copy_(x.mean((0, 1)))
        x = x - x.mean((0, 1))
        _, axes = torch.linalg.eigh(x.flatten(0, 1).T @ x.flatten(0, 1) / x[..., 0].numel())
        axes = axes.flip(-1)
        along = (x @ axes).permute(2, 0, 1)  # (63, N, T)
        covariances = along.mT @ along / along.shape[1]
        values, vectors = torch.linalg.eigh(torch.cat([covariances[:_OWN], covariances[_OWN:].mean(0, keepdim=True)]))
        self.axes.copy_(axes)
        self.vectors.copy_(vectors)
        self.values.copy_(values.clamp_min(0))

    @uncast
    def posterior(self, seen: Tensor, noise: Tensor, start: Tensor) -> Tensor:
        """The mean given what is seen. Where noise is alike everywhere, in closed form; else what some steps of expectation
        and maximisation make of a first guess: what is seen less precisely than the rest is filled up by what is expected of it.

        Args:
            seen: (B, T, 63) metres; what it holds where nothing is seen does not matter, NaN neither.
            noise: (B, T, 21) metres; infinite where nothing is seen.
            start: (B, T, 63) the guess.
        Returns:
            (B, T, 63).
        """
        known = noise.isfinite()
        std = noise.clamp(_LEAST_STD, _MOST_STD)
        of_window = torch.where(known, std, torch.nan).flatten(1)
        least = torch.fmax(torch.where(known, std, _MOST_STD).flatten(1).amin(1), _PRECISE * of_window.nanmedian(1).values)
        least = torch.where(known.flatten(1).any(1), least, _MOST_STD)[:, None, None]
        share = torch.where(known, (least / noise.clamp_min(_LEAST_STD)).square().clamp_max(1), 0.0).repeat_interleave(3, -1)
        told, alike = torch.where(share > 0, seen, 0.0), bool((share == 1).all())
        found = start
        for _ in range(1 if alike else _STEPS):
            found = self._filtered(found + share * (told - found), least)
        return found

    def _filtered(self, seen: Tensor, std: Tensor) -> Tensor:
        """The mean of places (B, T, 63), seen with noise alike everywhere in a window, (B, 1, 1)."""
        vectors, values = self.vectors[self.of_axis], self.values[self.of_axis]
        along = ((seen - self.mean) @ self.axes).permute(2, 0, 1)  # (63, B, T)
        gain = values[:, None] / (values[:, None] + std[None, :, :, 0].square())
        return (((along @ vectors) * gain) @ vectors.mT).permute(1, 2, 0) @ self.axes.T + self.mean
