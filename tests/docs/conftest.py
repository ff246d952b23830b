"""Pages that are followed: where a newcomer works, and what pages' variables name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import viser
from followed import Followed, follow_page
from newcomer import SCENES, VARIABLES
from scaled_down import scaled_down
from stand_ins.anny_body import AnnyStandIn

from pose_priors.body.anny import model as anny_model


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What several pages take as given, made once by each worker."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """For the stand-ins of programs, which bash calls."""
    path = tmp_path / "tools"
    path.mkdir()
    return path


def _stopped(server: viser.ViserServer) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def follow_to_the_end(tmp_path: Path, data: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Followed]:
    """Follows a page in a folder of its own."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in VARIABLES:
        monkeypatch.setenv(name, str(data / name))
    for name, scene in SCENES.items():
        monkeypatch.setenv(name, str(folder / scene))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(data / "cache"))
    monkeypatch.setattr(anny_model, "load_anny", lambda: anny_model.AnnyBody(AnnyStandIn()))
    monkeypatch.setattr(viser.ViserServer, "sleep_forever", _stopped)  # somebody presses Ctrl-C

    def to_the_end(page: str) -> Followed:
        with scaled_down():
            return follow_page(page, folder, data, tools)

    return to_the_end
