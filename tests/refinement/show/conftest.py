"""Refined and recorded clips."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from recorded_files import SHORT, Rrd, output
from scenes import Clip, make_clip

from refine import main as refine


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A clip that was refined and recorded by one command, not to be written to."""
    made = make_clip(tmp_path_factory.mktemp("recorded") / "clip")
    refine(["--config", "refinement", "--override", f"input.path={made.folder}", "record=true", *SHORT])
    return made


@pytest.fixture(scope="session")
def together(recorded: Clip) -> Rrd:
    return Rrd(output(recorded) / "clip.rrd")


@pytest.fixture
def own(recorded: Clip, tmp_path: Path) -> Path:
    """A copy of the clip and its result, without recordings, to spoil."""
    folder = tmp_path / "clip"
    shutil.copytree(recorded.folder, folder, ignore=shutil.ignore_patterns("*.rrd"))
    return folder
