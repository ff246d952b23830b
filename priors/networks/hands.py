"""The networks of the hand VAE, and the rotations that they write."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_priors.priors.networks.dropout import Dropout
from pose_priors.priors.networks.precision import within_range


class LinearSkipMLP(nn.Module):
    """A linear map plus a pre-norm residual network that starts at zero, so that principal components are in reach from the first step."""

    def __init__(self, num_in: int, num_out: int, hidden: int, n_layers: int, dropout: float) -> None:
        super().__init__()
        self.skip = nn.Linear(num_in, num_out)
        self.embed = nn.Linear(num_in, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(), Dropout(dropout), nn.Linear(hidden, hidden))
            for _ in range(n_layers)
        )
        last = nn.Linear(hidden, num_out)
        nn.init.zeros_(last.weight)
        self.head = nn.Sequential(nn.LayerNorm(hidden), nn.SiLU(), last)

    @within_range
    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        for block in self.blocks:
            h = h + block(h)
        outputs: Tensor = self.skip(x) + self.head(h)
        return outputs.to(x.dtype)


def rotmat_from_6d(columns: Tensor) -> Tensor:
    """Rotations whose first two columns are the orthonormalised input (Zhou et al., "On the Continuity of Rotation Representations in
    Neural Networks", CVPR 2019). A vector that vanishes is replaced by a coordinate axis, so that the result is a rotation with finite
    gradients for any input.

    Args:
        columns: (..., 6), first column then second.
    Returns:
        (..., 3, 3).
    """
    x, y = columns.unflatten(-1, (2, 3)).unbind(-2)
    axes = torch.eye(3, dtype=x.dtype, device=x.device)
    x = _normalize(x, axes[0])
    # the axis that is furthest from x
    y = _normalize(_reject(y, x), _normalize(_reject(axes[x.detach().abs().argmin(-1)], x), axes[1]))
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def _reject(vector: Tensor, direction: Tensor) -> Tensor:
    return vector - (vector * direction).sum(-1, keepdim=True) * direction


def _normalize(vector: Tensor, fallback: Tensor) -> Tensor:
    vector = torch.where(vector.square().sum(-1, keepdim=True) < 1e-8, fallback, vector)
    length: Tensor = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    return vector / length
