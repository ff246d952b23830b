"""Scenes with masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from instance_scenes import scene


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "my scene.npz"
    np.savez_compressed(path, **scene())
    return path
