"""A file that says when feet touch is a witness beside height, speed and the motion prior."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import make_problem
from scenes import Clip

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.witnesses.foot_contacts import FootContacts, read_foot_contacts
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.contacts import detect_contacts
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.padding import padded

FRAMES = np.arange(12)
LEFT = np.array([[1, 0]] * 6 + [[0, 1]] * 6)


def read(path: Path, cut: bool = False) -> FootContacts:
    return read_foot_contacts(path, (1, 2), FRAMES, cut=cut)


def of_one_file(folder: Path) -> Path:
    np.savez(folder / "c.npz", contacts=np.stack([LEFT, 1 - LEFT]), person_ids=[1, 2])
    return folder / "c.npz"


def by_name(folder: Path) -> Path:
    (folder / "c.json").write_text(json.dumps({"1": LEFT.tolist(), "person_002": (1 - LEFT).tolist()}))
    return folder / "c.json"


def of_people(folder: Path) -> Path:
    np.save(folder / "person_001.npy", LEFT.astype(bool))
    np.savez(folder / "person_002.npz", contacts=1 - LEFT)
    return folder


def of_frames(folder: Path) -> Path:
    """As VideoMimic's BSTRO writes them, frames counted from 1."""
    (folder / "cam01").mkdir()
    for t, (left, right) in enumerate(LEFT.tolist()):
        people = {1: (left, right), 2: (1 - left, 1 - right), 9: (0, 0)}
        content = {
            p: {"left_foot_contact": np.int64(a), "right_foot_contact": bool(b), "frame_contact_vertices": np.zeros(5)}
            for p, (a, b) in people.items()
        }
        (folder / "cam01" / f"{t + 1:05d}.pkl").write_bytes(pickle.dumps(content))
    return folder


@pytest.mark.parametrize("layout", [of_one_file, by_name, of_people, of_frames])
def test_every_layout_says_the_same(tmp_path: Path, layout: Any) -> None:
    found = read(layout(tmp_path))
    np.testing.assert_array_equal(found.probability[1], LEFT[:, [0, 1, 0, 1]])
    np.testing.assert_array_equal(found.probability[2], 1 - LEFT[:, [0, 1, 0, 1]])
    assert found.told.endswith("says when the feet of person 1, 2 touch the ground")


def test_rows_are_placed_by_their_numbers_and_a_longer_file_is_cut(tmp_path: Path) -> None:
    four = np.array([[0.1, 0.2, 0.3, np.nan], [0.5, 0.6, 0.7, 0.8]])
    np.savez(tmp_path / "a.npz", person_001=four, frame_ids=[7, 3])
    found = read(tmp_path / "a.npz").probability[1]
    np.testing.assert_array_equal(found[[7, 3]], four)
    assert np.isnan(np.delete(found, [7, 3], 0)).all()
    np.savez(tmp_path / "b.npz", person_001=np.concatenate([LEFT, LEFT]))
    np.testing.assert_array_equal(read(tmp_path / "b.npz", cut=True).probability[1][:, :2], LEFT)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"person_001": LEFT[:11]}, "person_001: 11 rows, but the clip has 12 frames; one for each is expected"),
        ({"person_001": LEFT[:, :1]}, r"1 columns; 2 \(left, right\) or 4"),
        ({"person_001": LEFT[:, 0]}, r"shape \(12,\); \(frames, 2\) or \(frames, 4\)"),
        ({"person_001": LEFT * 7.0}, r"holds 0 to 7; 0 to 1 is expected"),
        ({"person_007": LEFT}, "contacts of 7, but the clip has the people 1, 2"),
        ({"contacts": LEFT[None], "person_ids": [1, 2]}, r"'contacts' has shape \(1, 12, 2\)"),
        ({"contacts": np.float64(1), "person_ids": [1]}, r"'contacts' has shape \(\)"),
        ({"feet": LEFT}, "holds feet; 'contacts' and 'person_ids'"),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "c.npz", **arrays)
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path / "c.npz")
    assert "\n" not in str(caught.value)


def with_odds(problem: Problem, odds: torch.Tensor) -> Problem:
    return replace(problem, observations=replace(problem.observations, contact_log_odds=odds))


def test_what_is_seen_adds_to_height_and_speed() -> None:
    problem, _ = make_problem(people=2, noise=0)
    scene = RefinementModule(problem, RefinementConfig()).scene()
    sliding = scene.joints + 0.5 / problem.fps * torch.arange(24.0)[None, :, None, None] * torch.tensor([1.0, 0, 0])
    scene = replace(scene, joints=sliding)
    alone = detect_contacts(scene, problem)
    assert (alone < 0.1).all()  # a foot at 0.5 m/s does not seem to stand
    odds = torch.zeros(2, 24, 4)
    odds[0, :, [0, 2]] = 2.944  # 95 % for the left foot of the first
    found = detect_contacts(scene, with_odds(problem, odds))
    torch.testing.assert_close(found[1], alone[1])
    torch.testing.assert_close(found[0][:, [1, 3]], alone[0][:, [1, 3]])
    p = alone[0][:, [0, 2]].double()
    expected = 0.95 * p / (0.95 * p + 0.05 * (1 - p))  # Bayes
    torch.testing.assert_close(found[0][:, [0, 2]].double(), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(detect_contacts(scene, with_odds(problem, torch.zeros(1, 1, 4))), alone)


def test_padding_keeps_what_is_seen() -> None:
    problem, _ = make_problem(people=2)
    longer = padded(with_odds(problem, torch.ones(2, 24, 4)), 100)
    assert longer.observations.contact_log_odds.shape == (2, 100, 4)
    assert padded(problem, 100).observations.contact_log_odds.shape == (1, 1, 4)


def stands(clip: Clip) -> np.ndarray:
    """(2, 12, 2) which foot truly moves least in the clip."""
    step = np.linalg.norm(np.gradient(clip.joints[:, :, [10, 11]], axis=1), axis=-1)
    return (step == step.min(-1, keepdims=True)).astype(float)


def test_it_goes_with_the_problem_and_one_that_says_the_contrary_is_left_aside(clips: dict[str, Clip], tmp_path: Path) -> None:
    clip = clips["released"]
    np.savez(tmp_path / "c.npz", contacts=stands(clip), person_ids=[1, 2])
    problem = load_problem(*clip.stages, LoadOptions(contacts=tmp_path / "c.npz"))
    odds = problem.observations.contact_log_odds
    assert odds.shape == (2, 12, 4)
    alive = problem.alive.numpy()
    np.testing.assert_allclose(odds.numpy()[alive], np.log(19) * (2 * np.tile(stands(clip), 2) - 1)[alive], rtol=1e-6)
    assert "says when the feet" in problem.told[0]
    np.savez(tmp_path / "c.npz", contacts=1 - stands(clip), person_ids=[1, 2])
    problem = load_problem(*clip.stages, LoadOptions(contacts=tmp_path / "c.npz"))
    assert not problem.observations.contact_log_odds.any()
    assert not problem.told
    assert any("it is left aside; are its people and frames those of the clip?" in line for line in problem.warnings)


def test_frames_are_those_of_the_clip_wherever_it_begins(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", person_001=np.array([[0.25, 0.75]]), frame_ids=[103])
    found = read_foot_contacts(tmp_path / "c.npz", (1,), 100 + FRAMES, cut=False).probability[1]
    np.testing.assert_array_equal(found[3], [0.25, 0.75, 0.25, 0.75])
    assert np.isnan(np.delete(found, 3, 0)).all()


def _frame(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_bytes(pickle.dumps(content))


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ({1: {"left_foot_contact": [], "right_foot_contact": 1}}, "left_foot_contact: 0 numbers where one is expected"),
        ({1: {"left_foot_contact": [0.1, 0.9], "right_foot_contact": 1}}, "left_foot_contact: 2 numbers where one is expected"),
        ({1: {"left_foot_contact": 1, "right_foot_contact": 1}, "1": {"left_foot_contact": 0, "right_foot_contact": 0}}, "there twice"),
    ],
)
def test_a_frame_says_one_thing_of_a_foot(tmp_path: Path, first: Any, said: str) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    of_frames(tmp_path / "a")
    one = sorted((tmp_path / "a").rglob("*.pkl"))[0]
    one.write_bytes(pickle.dumps(first))
    with pytest.raises(UserError, match=said):
        read(one.parent)
    of_frames(tmp_path / "b")
    one = sorted((tmp_path / "b").rglob("*.pkl"))[0]
    _frame(one.parent, f"00{one.stem}.pkl", {})
    with pytest.raises(UserError, match="13 files of 12 different frames"):
        read(one.parent)


def test_a_person_is_there_once_and_says_something(tmp_path: Path) -> None:
    np.savez(tmp_path / "twice.npz", **{"1": LEFT, "person_001": LEFT})
    with pytest.raises(UserError, match="a person is there twice"):
        read(tmp_path / "twice.npz")
    np.savez(tmp_path / "nothing.npz", contacts=np.full((2, 12, 2), np.nan), person_ids=[1, 2])
    with pytest.raises(UserError, match="says of no foot on any frame"):
        read(tmp_path / "nothing.npz")
    np.savez(tmp_path / "half.npz", contacts=np.stack([LEFT, np.full((12, 2), np.nan)]), person_ids=[1, 2])
    found = read(tmp_path / "half.npz")
    assert list(found.probability) == [1]
    assert found.told.endswith("it does not know person 2")
