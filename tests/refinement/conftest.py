from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scenes import Clip, make_clip


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    """One clip of each layout, not to be written to."""
    return {naming: make_clip(tmp_path_factory.mktemp(naming) / "clip", naming) for naming in ("released", "readme")}


@pytest.fixture
def clip(clips: dict[str, Clip], tmp_path: Path) -> Callable[[str], Clip]:
    """A fresh copy of a clip to spoil."""

    def copy(naming: str = "released") -> Clip:
        folder = tmp_path / "clip"
        shutil.copytree(clips[naming].folder, folder)
        return replace(clips[naming], folder=folder)

    return copy
