"""Weights that come with this package, by their names."""

from __future__ import annotations

from pathlib import Path

import pose_priors
from pose_priors.configs.base import UserError

PUBLISHED = ("motion_flow_cmu",)
"""Names that `load_prior` knows: folders in `checkpoints/`. A folder of that name elsewhere goes by its path, as `./motion_flow_cmu`."""


def folder_of(name: str) -> Path:
    """Where one lies. Raises `UserError` if the package came without it."""
    folder = Path(pose_priors.__file__).parent / "checkpoints" / name
    if not folder.is_dir():
        raise UserError(f"{name}: weights that are published with pose-priors, which lack in this copy of it ({folder}); install it anew")
    return folder
