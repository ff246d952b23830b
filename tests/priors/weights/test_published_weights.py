"""Weights that come with the package: by name, small, described, and of use."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from motion_windows import synthetic_windows

import pose_priors
from pose_priors import load_prior
from pose_priors.body.motion_state import STATE, joints_of, make_states
from pose_priors.configs.base import UserError
from pose_priors.priors import MotionFlow, prior_files
from pose_priors.priors.evaluation import card
from pose_priors.priors.motion.flow.view import motion_of_windows
from pose_priors.priors.weights.folder import CARD, CONFIG, WEIGHTS
from pose_priors.priors.weights.published import PUBLISHED, folder_of

ROOT = Path(__file__).parents[3]
MOST_BYTES = 8_000_000


@pytest.fixture(scope="module")
def prior() -> MotionFlow:
    found = load_prior("motion_flow_cmu")
    assert isinstance(found, MotionFlow)
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_name_means_the_folder_beside_the_package(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "checkpoints" / name
    assert folder_of(name) == folder
    assert prior_files(name) == (folder / CONFIG, folder / WEIGHTS)
    assert {path.name for path in folder.iterdir()} == {CONFIG, WEIGHTS, CARD}
    assert sum(path.stat().st_size for path in folder.iterdir()) < MOST_BYTES
    (tmp_path / name).mkdir()  # somebody's own, which goes by a path
    monkeypatch.chdir(tmp_path)
    assert prior_files(name) == (folder / CONFIG, folder / WEIGHTS)
    with pytest.raises(UserError, match=rf"^{name}: no such checkpoint"):
        load_prior(f"./{name}")


def test_who_mistakes_a_name_is_told_which_there_are() -> None:
    with pytest.raises(UserError, match="goes by its name: motion_flow_cmu"):
        load_prior("motion_flow_cmu2")


def test_poses_are_not_what_it_scores(prior: MotionFlow) -> None:
    with pytest.raises(TypeError, match=r"prior of motions .* got Tensor\. Poses \(\*batch, 55, 3\) are for a prior of poses"):
        prior.energy(torch.zeros(60, 55, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PUBLISHED)
def test_its_card_is_that_of_its_weights_and_names_whom_to_thank(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    card.main([name])
    text = (ROOT / "checkpoints" / name / CARD).read_text()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) > 8
    assert [line for line in rows if line not in text] == []
    assert f'load_prior("{name}")' in text
    for words in ("The data used in this project was obtained from mocap.cs.cmu.edu.", "NSF EIA-0196217", "may not be resold"):
        assert words in text
    about = text + (ROOT / "checkpoints" / name / CONFIG).read_text()
    assert not [word for word in ("/tmp", "/home", "/root", "/work") if word in about]


def test_it_takes_noise_away_and_fills_a_gap(prior: MotionFlow) -> None:
    windows = synthetic_windows(30, 60, seed=4).to(torch.float64)
    states = make_states(windows.pose, motion_of_windows(windows).joints).float()
    noise = 0.04 * torch.randn(30, 60, 22, 3, generator=torch.Generator().manual_seed(0))
    seen = states.clone()
    seen[..., STATE["joints"]] += noise.flatten(-2)  # nothing else of it is looked at
    left = (joints_of(prior.denoise(seen, 0.04)) - joints_of(states)).norm(dim=-1).mean()
    assert left < 0.5 * noise.norm(dim=-1).mean()
    given = torch.ones(30, 60, 22, dtype=torch.bool)
    given[:, 20:40] = False
    filled = joints_of(prior.complete(states, given))[:, 20:40]
    share = torch.linspace(0, 1, 22)[1:-1, None, None]
    straight = joints_of(states)[:, 19:20] * (1 - share) + joints_of(states)[:, 40:41] * share
    truth = joints_of(states)[:, 20:40]
    assert (filled - truth).norm(dim=-1).mean() < 0.8 * (straight - truth).norm(dim=-1).mean()


def test_a_copy_without_them_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "pose_priors.py", tmp_path)
    monkeypatch.setattr(pose_priors, "__file__", str(tmp_path / "pose_priors.py"))
    with pytest.raises(UserError, match="published with pose-priors, which lack in this copy"):
        load_prior("motion_flow_cmu")
