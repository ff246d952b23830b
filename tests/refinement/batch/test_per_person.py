"""Each person refined alone, and compared with all together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scenes import Clip, make_clip

import pose_priors.refinement.batch.many
from pose_priors.configs.base import UserError
from pose_priors.refinement.batch.per_person import COMPARISON, alone_against_joint
from pose_priors.refinement.refiner import refine_into
from pose_priors.refinement.result.people import RefinedPerson, read_person
from pose_priors.refinement.result.write import person_file
from refine import main

STAGES = ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")
SHORT = [f"refinement.{stage}_iterations=2" for stage in STAGES] + ["trainer.enable_progress_bar=false"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two people, whose tracker calls them 3 and 12; the truth lies beside."""
    clip = make_clip(tmp_path_factory.mktemp("source") / "clip", num_frames=8)
    for stage in clip.stages[1:]:
        for path in sorted(stage.rglob("*person_*"), reverse=True):
            path.rename(path.with_name(path.name.replace("person_001", "person_003").replace("person_002", "person_012")))
    return clip


def scene(source: Clip, folder: Path) -> Path:
    shutil.copytree(source.folder, folder)
    truth = {"joints": source.joints, "visible": source.seen, "ground_plane": source.plane, "alpha": source.alpha, "fps": 30.0}
    np.savez(folder.with_name(f"{folder.name}_gt.npz"), **truth)
    return folder


def run(*overrides: str) -> dict[str, dict[str, object]]:
    return main(["--config", "refinement", "--override", *overrides, *SHORT])


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("5_refinement/**/*") if path.is_file()}


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as found:
        return dict(found)


PERSON = "smpl_params_refined.npz"


def ids(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("person_*"))


def test_each_person_is_that_of_a_run_alone_and_the_joint_result_that_of_a_joint_run(source: Clip, tmp_path: Path) -> None:
    folder = scene(source, tmp_path / "a")
    run(f"input.path={folder}", f"output.path={tmp_path / 'joint'}")
    people = ids(tmp_path / "joint")
    assert len(people) == 2
    run(f"input.path={folder}", "input.mode=per_person")
    output = folder / "5_refinement"
    assert ids(output) == ids(output / "per_person") == people
    for name in people:
        run(f"input.path={folder}", f"output.path={tmp_path / name}", f"input.person_ids=[{int(name[-3:])}]")
        found = arrays(output / "per_person" / name / name / PERSON)
        for expected, given in (
            (arrays(tmp_path / name / name / PERSON), found),
            (arrays(tmp_path / "joint" / name / PERSON), arrays(output / name / PERSON)),
        ):
            assert set(expected) == set(given)
            assert all(np.array_equal(expected[key], given[key]) for key in expected)
        assert ids(output / "per_person" / name) == [name]
    content = json.loads((output / COMPARISON).read_text())
    assert content["failed"] == {}
    assert content["digest"] == json.loads((output / "refinement_results.json").read_text())["digest"]
    assert [f"person_{int(person):03d}" for person in content["people"]] == people
    for p, name in enumerate(people):
        scores = content["people"][str(int(name[-3:]))]
        alone, joint = arrays(output / "per_person" / name / name / PERSON), arrays(output / name / PERSON)
        apart = np.linalg.norm(alone["joints"].astype(float) - joint["joints"], axis=-1)[:, :22].mean() * 1e3
        assert scores["distance_mm"] == pytest.approx(apart)
        assert apart > 0
        for way, found in (("alone", alone), ("joint", joint)):
            assert scores[way]["scale"] == float(found["scale_alpha"])
            seen = source.seen[p][found["frame_ids"]]
            true = source.joints[p][found["frame_ids"]]
            expected = np.linalg.norm(found["joints"].astype(float) - true, axis=-1)[seen, :22].mean() * 1e3
            assert scores["truth"][way]["abs_mpjpe_mm"] == pytest.approx(expected)
            assert scores["truth"][way]["scale_error_percent"] == pytest.approx(abs(found["scale_alpha"] / source.alpha - 1) * 100)


def test_many_sequences_and_what_is_complete(source: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = tmp_path / "many"
    for name in ("a", "b"):
        scene(source, many / name)
    run(f"input.path={many}")
    joint = snapshot(many)
    apart = (f"input.path={many}", "input.mode=per_person", "input.skip_existing=true")
    run(*apart)
    done = snapshot(many)
    # a joint result is the same in both modes: it is kept
    assert joint.items() <= done.items()
    assert all((many / name / "5_refinement" / COMPARISON).is_file() for name in "ab")
    calls: list[Path] = []
    monkeypatch.setattr(pose_priors.refinement.batch.many, "refine_into", lambda *rest: (calls.append(rest[2]), refine_into(*rest))[1])
    run(*apart)
    assert calls == []
    assert snapshot(many) == done
    spoilt, *_ = sorted((many / "b" / "5_refinement" / "per_person").glob("person_*"))
    (spoilt / spoilt.name / PERSON).unlink()
    run(*apart)
    assert calls == [spoilt]
    # one who is not asked for any longer goes
    run(*apart, f"input.person_ids=[{int(spoilt.name[-3:])}]")
    assert ids(many / "b" / "5_refinement" / "per_person") == [spoilt.name]
    assert list(json.loads((many / "b" / "5_refinement" / COMPARISON).read_text())["people"]) == [str(int(spoilt.name[-3:]))]


def test_one_who_cannot_be_refined_alone_does_not_stop_the_others(source: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scene(source, tmp_path / "a")
    names = []

    def refine(*rest: object) -> object:
        output = rest[2]
        assert isinstance(output, Path)
        if "per_person" in output.parts:
            names.append(output.name)
            if len(names) == 1:
                raise UserError("too little of them is seen")
        return refine_into(*rest)

    monkeypatch.setattr(pose_priors.refinement.batch.many, "refine_into", refine)
    with pytest.raises(UserError, match=r"joint result is complete.*too little of them is seen"):
        run(f"input.path={folder}", "input.mode=per_person")
    output = folder / "5_refinement"
    content = json.loads((output / COMPARISON).read_text())
    first, second = (str(int(name[-3:])) for name in names)
    assert content["failed"] == {first: "too little of them is seen"}
    assert list(content["people"]) == [second]
    assert (output / "refinement_results.json").is_file()
    # what failed is tried again, what is complete is not
    run(f"input.path={folder}", "input.mode=per_person", "input.skip_existing=true")
    assert names[2:] == names[:1]
    assert set(json.loads((output / COMPARISON).read_text())["people"]) == {first, second}


def test_truth_of_other_people_is_left_aside(source: Clip, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = scene(source, tmp_path / "a")
    person = json.loads(json.dumps(run(f"input.path={folder}", f"output.path={tmp_path / 'out'}")))["a"]["per_person_likelihoods"]
    run(f"input.path={folder}", "input.mode=per_person", f"input.person_ids=[{max(map(int, person))}]")
    assert "2 people, 1 were refined" in caplog.text
    content = json.loads((folder / "5_refinement" / COMPARISON).read_text())
    assert all("truth" not in scores for scores in content["people"].values())


def test_a_mode_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"input\.mode=apart: .*'joint' or 'per_person'"):
        run(f"input.path={tmp_path}", "input.mode=apart")
    with pytest.raises(UserError, match=r"input\.mode=per_person compares results of stage 5"):
        run(f"input.path={tmp_path}", "input.mode=per_person", "stages=[4]")


def saved(folder: Path, frames: np.ndarray, joints: np.ndarray, contacts: np.ndarray, scale: float) -> RefinedPerson:
    path = person_file(folder, 3)
    path.parent.mkdir(parents=True)
    np.savez(path, frame_ids=frames, joints=joints, contacts=contacts, scale_alpha=scale)
    return read_person(folder, 3)


def test_the_numbers_of_a_comparison_in_closed_form(tmp_path: Path) -> None:
    num, fps = 9, 20.0
    time = np.arange(num) / fps
    joints = np.zeros((num, 22, 3))
    joints[..., 0] = 5 * time[:, None] ** 3  # third derivative 30 m/s^3
    moved = joints + np.array([0.03, 0.0, 0.04])
    moved[:, 1:] += [0.0, 0.01, 0.0]
    contacts = np.zeros((num, 4))
    contacts[2:5, 0] = 1  # two steps of the left ankle
    frames = np.arange(num) + 4
    joint = saved(tmp_path / "joint", frames, joints, contacts, 1.2)
    alone = saved(tmp_path / "alone", frames, moved, np.ones((num, 4)), 1.1)
    scores = alone_against_joint({3: alone}, {3: joint, 5: joint}, fps)["people"]
    assert list(scores) == ["3"]
    found = scores["3"]
    assert found["distance_mm"] == pytest.approx((50 + 21 * np.hypot(50, 10)) / 22)
    assert found["root_aligned_distance_mm"] == pytest.approx(10 * 21 / 22)
    assert (found["alone"]["scale"], found["joint"]["scale"]) == (1.1, 1.2)
    assert found["alone"]["jitter"] == pytest.approx(3.0)
    # the feet that carry are those of the joint result, for both
    expected = 5e3 * (time[4] ** 3 - time[2] ** 3) / 2
    assert found["alone"]["foot_sliding_mm"] == pytest.approx(expected)
    assert found["joint"]["foot_sliding_mm"] == pytest.approx(expected)
    others = saved(tmp_path / "others", frames, joints, np.ones((num, 3)), 1.2)  # other joints can carry
    assert alone_against_joint({3: others}, {3: others}, fps)["people"]["3"]["joint"]["foot_sliding_mm"] is None


def test_a_person_whose_file_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="person 3 of a refinement"):
        read_person(tmp_path, 3)
