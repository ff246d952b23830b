from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def random_rows() -> Callable[..., np.ndarray]:
    """Rows of small rotation vectors, (num_rows, length), drawn from a seed."""

    def draw(num_rows: int, length: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng([seed, num_rows, length]).normal(0, 0.3, (num_rows, length))

    return draw


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "pose-priors"
