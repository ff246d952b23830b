"""MANO's mean hand, and what it takes to go from hand poses relative to it to absolute ones.

Two conventions are in use for the 15 finger joints of a hand (order index, middle, pinky, ring, thumb). Absolute: zero is the flat hand, as
in AMASS (smplx's `flat_hand_mean=True`). Relative to the mean: zero is MANO's mean hand, as in most image-based estimators (smplx's
`flat_hand_mean=False`). MANO adds the mean to the rotation vectors component by component, so this is no composition of rotations.
"""

from __future__ import annotations

import torch
from torch import Tensor

# `hands_meanr` of MANO (Romero, Tzionas and Black, "Embodied Hands", SIGGRAPH Asia 2017), to the eight digits that public code reprints;
# the hands of AMASS clips without finger tracking are constant and hold the same numbers, left and right, within 6e-8.
RIGHT_HAND_MEAN: tuple[float, ...] = (
    *(0.11167871, -0.04289218, 0.41644183, 0.10881133, 0.06598568, 0.75622000, -0.09639297, 0.09091566, 0.18845929),
    *(-0.11809504, -0.05094385, 0.52958450, -0.14369841, -0.05524170, 0.70485710, -0.01918292, 0.09233685, 0.33791350),
    *(-0.45703298, 0.19628395, 0.62545750, -0.21465237, 0.06599829, 0.50689423, -0.36972436, 0.06034463, 0.07949023),
    *(-0.14186970, 0.08585263, 0.63552827, -0.30334160, 0.05788098, 0.63138920, -0.17612089, 0.13209307, 0.37335458),
    *(0.85096430, -0.27692273, 0.09154807, -0.49983943, -0.02655647, -0.05288088, 0.53555920, -0.04596104, 0.27735803),
)
"""The 15 rotation vectors of MANO's mean right hand, in radians, flattened."""


def mean_hands(dtype: torch.dtype = torch.float64) -> Tensor:
    """MANO's mean hands, (30, 3) rotation vectors in radians: left, then the right that it mirrors (x kept, y and z negated)."""
    right = torch.tensor(RIGHT_HAND_MEAN, dtype=dtype).view(15, 3)
    return torch.cat([right * right.new_tensor([1.0, -1.0, -1.0]), right])
