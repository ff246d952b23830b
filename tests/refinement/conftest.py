from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from motion_cases import alive_from, problem_of, small_prior
from motion_cases import clips as motions
from scenes import Clip, make_clip

from pose_priors.priors import MotionCVAE
from pose_priors.refinement.given.problem import Problem


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


@pytest.fixture(scope="session")
def prior() -> MotionCVAE:
    """A motion prior in double precision, not to be changed."""
    return small_prior()


@pytest.fixture(scope="session")
def knows_all_sizes() -> MotionCVAE:
    """The same, as one that knows bodies of all sizes."""
    return small_prior(leg=False)


@pytest.fixture(scope="session")
def people() -> Problem:
    """Three who walk, turn or reach; one of them lives shorter."""
    return alive_from(problem_of(motions(3, 14)), 1, slice(3, 10))
