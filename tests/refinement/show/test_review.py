from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from review_results import DELTA, make_results, refine_to_truth, spoil
from scenes import _WALL, Clip, render_clip

import pose_priors.configs.writing
from pose_priors.body.layout import layout
from pose_priors.body.skeleton import index_of
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import run
from pose_priors.refinement.result.found import find_results
from pose_priors.refinement.result.metrics import Track
from pose_priors.refinement.result.write import write_result
from pose_priors.refinement.show.camera_path import CameraPath
from pose_priors.refinement.show.page.drawing import contact_points, dashed, view_of
from pose_priors.refinement.show.page.verdicts import Verdicts
from pose_priors.refinement.show.review import main
from pose_priors.refinement.show.review_scene import ReviewScene, ShownPerson, load_scene

HEADER = "sequence,verdict,time,note\n"
NO_CAMERAS = CameraPath(np.zeros(0, int), np.zeros((0, 4, 4)), np.zeros((0, 3, 3)), (1, 1))
ROW = "walk,good,2026-01-31T12:00:00+00:00,\n"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, clips: dict[str, Clip]) -> Path:
    """Two sequences and what is none, not to be written to."""
    root = tmp_path_factory.mktemp("results")
    make_results(root, clips["released"], ["stand", "walk"])
    (root / "notes").mkdir()
    (root / "summary.csv").write_text("sequence\n")
    return root


@pytest.fixture(scope="module")
def scene(results: Path) -> ReviewScene:
    return load_scene(find_results(results)[1])


def test_results_in_the_folders_of_sequences_are_found_by_name(results: Path) -> None:
    found = find_results(results)
    assert [result.name for result in found] == ["stand", "walk"]
    assert [result.refined for result in found] == [results / name / "5_refinement" for name in ("stand", "walk")]
    assert [result.source() for result in found] == [results / "stand", results / "walk"]


@pytest.mark.parametrize("inside", ["", "5_refinement"])
def test_one_sequence_or_its_result_is_found(results: Path, inside: str) -> None:
    (found,) = find_results(results / "walk" / inside)
    assert (found.name, found.refined, found.source()) == ("walk", results / "walk" / "5_refinement", results / "walk")


def test_results_that_lie_elsewhere_know_their_input_when_told(results: Path, tmp_path: Path) -> None:
    for name in ("stand", "walk"):
        shutil.copytree(results / name / "5_refinement", tmp_path / name)
    assert [result.source() for result in find_results(tmp_path)] == [None, None]
    assert [result.source() for result in find_results(tmp_path, results)] == [results / "stand", results / "walk"]
    (alone,) = find_results(tmp_path / "walk", results / "stand")
    assert (alone.name, alone.source()) == ("walk", results / "stand")


def test_the_result_of_a_file_finds_it_beside_its_folder(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "walk" / "5_refinement", tmp_path / "walk" / "5_refinement")
    (tmp_path / "walk.pkl").write_bytes(b"")
    (found,) = find_results(tmp_path)
    assert found.candidates == (tmp_path / "walk", tmp_path / "walk.pkl")


@pytest.mark.parametrize(
    ("folder", "inputs", "says"), [("notes", None, "holds nothing"), ("gone", None, "no such folder"), (".", "gone", "gone")]
)
def test_where_there_is_nothing_to_review_one_line_says_so(results: Path, folder: str, inputs: str | None, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        find_results(results / folder, None if inputs is None else results / inputs)
    assert "\n" not in str(error.value)


def test_after_is_what_was_refined(scene: ReviewScene, clips: dict[str, Clip]) -> None:
    clip = clips["released"]
    assert (scene.frames, scene.fps, scene.missing, scene.status) == ((0, 11), 25.0, "", "success")
    assert scene.alpha == pytest.approx(clip.alpha * (1 + DELTA))
    assert [person.person for person in scene.people] == [1, 2]
    for p, person in enumerate(scene.people):
        np.testing.assert_allclose(person.after.joints, clip.joints[p], atol=1e-6)
        np.testing.assert_array_equal(person.seen, clip.seen[p])


def test_before_is_the_input_in_the_world_at_the_initial_scale(scene: ReviewScene, clips: dict[str, Clip]) -> None:
    clip = clips["released"]
    for p, person in enumerate(scene.people):
        assert person.before is not None
        np.testing.assert_array_equal(person.before.frames, np.flatnonzero(clip.seen[p]))
        np.testing.assert_allclose(person.before.joints, clip.joints[p, clip.seen[p]], atol=2e-3)  # the sizes of bones are medians


def test_an_input_that_is_unknown_or_damaged_leaves_the_result_to_be_seen(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "walk" / "5_refinement", tmp_path / "unknown")
    shutil.copytree(results / "walk", tmp_path / "damaged")
    (tmp_path / "damaged/1_camera_estimation/cameras.npz").write_bytes(b"PK")
    damaged, unknown = (load_scene(result) for result in find_results(tmp_path))
    assert "--input" in unknown.missing
    assert "cameras.npz" in damaged.missing
    for scene in (damaged, unknown):
        assert len(scene.people) == 2
        assert all(person.before is None for person in scene.people)
        assert not scene.has_depth
        assert scene.depth_points(0, 1).shape == (0, 3)


@pytest.mark.parametrize(
    ("name", "value"), [("joints", np.full((12, 24, 3), np.nan)), ("joints", np.zeros((12, 7, 3))), ("contacts", np.zeros((3, 4)))]
)
def test_a_damaged_result_is_refused(results: Path, tmp_path: Path, name: str, value: np.ndarray) -> None:
    shutil.copytree(results / "walk/5_refinement", tmp_path / "walk")
    spoil(tmp_path / "walk/person_002/smpl_params_refined.npz", **{name: value})
    with pytest.raises(UserError, match=r"person_002.*joints" if name == "joints" else r"person_002.*contacts"):
        load_scene(find_results(tmp_path)[0])


def test_depth_stands_on_what_was_rendered_and_thins(results: Path, scene: ReviewScene, clips: dict[str, Clip]) -> None:
    clip = clips["released"]
    assert scene.has_depth
    scene = replace(scene, alpha=clip.alpha)
    _, who = render_clip(clip)
    for frame in (0, 7):
        points = scene.depth_points(frame, 1)
        assert len(points) == who[frame].size
        scenery = points[who[frame].ravel() < 0]
        misses = np.abs(
            scenery @ np.stack([clip.plane[:3], _WALL[:3] / np.linalg.norm(_WALL[:3])], 1)
            + [clip.plane[3], _WALL[3] / np.linalg.norm(_WALL[:3])]
        )
        assert np.quantile(misses.min(1), 0.99) < 0.01
        for person in (0, 1):
            if (body := points[who[frame].ravel() == person]).size:
                nearest = np.linalg.norm(body[:, None] - clip.joints[person, frame], axis=-1).min(1)
                assert nearest.max() < 0.3
    assert len(scene.depth_points(0, 3)) == pytest.approx(who[0].size / 9, rel=0.1)
    assert scene.depth_points(99, 1).shape == (0, 3)


def test_bones_go_from_parent_to_joint_on_frames_that_are_there() -> None:
    joints = np.random.default_rng(0).normal(size=(2, 24, 3))
    motion = Track(np.array([3, 5]), joints)
    bones = motion.bones(5)
    assert bones is not None
    knee, parents = 4, layout(24).parents
    np.testing.assert_array_equal(bones[knee - 1], joints[1, [parents[knee], knee]])
    assert [motion.row(frame) for frame in (2, 3, 4, 5, 6)] == [None, 0, None, 1, None]
    assert motion.bones(4) is None


def test_dashes_lie_on_the_line_with_gaps() -> None:
    line = np.array([[[0.0, 0, 0], [0, 0, 7]], [[1, 1, 1], [1, 8, 1]]])
    pieces = dashed(line)
    np.testing.assert_allclose(pieces[:4, :, 2], [[0, 1], [2, 3], [4, 5], [6, 7]], atol=1e-12)
    np.testing.assert_allclose(pieces[4:, :, 1], [[1, 2], [3, 4], [5, 6], [7, 8]], atol=1e-12)


def test_contacts_are_marked_on_the_floor_under_the_feet_that_carry(scene: ReviewScene, clips: dict[str, Clip]) -> None:
    clip = clips["released"]
    marks = contact_points(scene.people[0], 4, scene.ground_plane)
    feet = clip.joints[0, 4, [index_of("left_ankle"), index_of("left_foot")]]
    assert len(marks) == 2
    np.testing.assert_allclose(marks @ clip.plane[:3] + clip.plane[3], 0, atol=1e-5)
    np.testing.assert_allclose(np.cross(marks - feet, clip.plane[:3]), 0, atol=1e-5)
    assert contact_points(scene.people[0], 40, scene.ground_plane).shape == (0, 3)


@pytest.mark.parametrize("up", [(0, -1, 0), (0, -0.8, -0.6), (0, 0, -1), (0, 0, 1)])
def test_the_reader_stands_above_the_floor_and_sees_everybody(up: tuple[float, ...]) -> None:
    joints = np.random.default_rng(1).normal(size=(5, 22, 3)) * [3, 1, 3]
    person = ShownPerson(1, None, Track(np.arange(5), joints), np.ones(5, bool), np.zeros((5, 4)))
    normal = np.array(up)
    plane = np.append(normal, -(joints @ normal).min())
    view = view_of(ReviewScene((person,), (0, 4), 30, plane, 1.0, NO_CAMERAS, "success", None, ""))
    assert view.eye @ normal + plane[3] > 0.5
    ahead = (view.target - view.eye) / np.linalg.norm(view.target - view.eye)
    assert abs(ahead @ normal) < 0.9  # not straight down, where up is undefined
    pelvis = joints[:, 0] - view.eye
    angle = np.degrees(np.arccos(pelvis @ ahead / np.linalg.norm(pelvis, axis=1)))
    assert angle.max() < 37.5  # half of the field of view


def test_verdicts_are_on_disk_at_once_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    verdicts = Verdicts(path)
    assert verdicts.of("walk") is None
    verdicts.mark("walk", "bad", 'left foot, "slides"\nat the end ')
    verdicts.mark("jump", "good")
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["sequence"], row["verdict"], row["note"]) for row in rows] == [
        ("jump", "good", ""), ("walk", "bad", 'left foot, "slides" at the end'),
    ]  # fmt: skip
    assert abs((datetime.now(UTC) - datetime.fromisoformat(rows[0]["time"])).total_seconds()) < 60
    verdicts.mark("walk", "good")
    again = Verdicts(path)
    assert [again.of(name).verdict for name in ("jump", "walk")] == ["good", "good"]  # type: ignore[union-attr]


def test_rows_of_others_and_of_sequences_that_are_gone_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    path.write_text(HEADER + "gone,bad,2026-01-31T12:00:00+00:00,why\n")
    one, other = Verdicts(path), Verdicts(path)
    one.mark("walk", "good")
    other.mark("jump", "bad")
    assert [line.split(",")[:2] for line in path.read_text().splitlines()[1:]] == [["gone", "bad"], ["jump", "bad"], ["walk", "good"]]


def test_a_table_without_notes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    path.write_text("sequence,verdict,time\nwalk,good,2026-01-31T12:00:00\n")
    mark = Verdicts(path).of("walk")
    assert mark is not None
    assert (mark.verdict, mark.note) == ("good", "")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "line 1: the columns are none"),
        ("name,verdict\nwalk,good\n", "line 1: the columns are name, verdict"),
        (HEADER + "walk,fine,2026-01-31T12:00:00,\n", "line 2: the verdict 'fine'"),
        (HEADER + "walk,good,yesterday,\n", "line 2: the time 'yesterday'"),
        (HEADER + "walk,good\n", "line 2: 2 values for 4 columns"),
        (HEADER + ROW + ROW, "line 3: a second row of walk"),
        (HEADER + ROW[4:], "line 2: a row without a sequence"),
        (HEADER + '"walk', "not readable as a table"),
        (HEADER.encode() + b"\xff\xfe", "not readable as a table"),
    ],
)
def test_a_malformed_table_is_refused_with_one_line_and_code_2(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | bytes, says: str
) -> None:
    shutil.copytree(results / "walk/5_refinement", tmp_path / "walk")
    path = tmp_path / "review.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = path.read_bytes()
    with pytest.raises(SystemExit) as code:
        run(lambda: main([str(tmp_path)]))
    assert code.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {path}")
    assert says in told
    assert told.count("\n") == 1
    assert path.read_bytes() == before


def test_a_verdict_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "review.csv"
    path.write_text(HEADER + ROW)
    verdicts = Verdicts(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pose_priors.configs.writing.os, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        verdicts.mark("walk", "bad")
    assert path.read_text() == HEADER + ROW
    assert verdicts.of("walk").verdict == "good"  # type: ignore[union-attr]
    assert {p.name for p in tmp_path.iterdir()} == {"review.csv", ".review.csv.lock"}


def test_without_viser_one_line_says_what_to_install(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "viser", None)
    with pytest.raises(UserError, match="pip install viser"):
        main([str(results)])


@pytest.mark.parametrize(
    ("option", "value"), [("--host", "192.0.2.1"), ("--host", "no.such.host.invalid"), ("--port", "65536"), ("--port", "-1")]
)
def test_where_nobody_can_listen_one_line_says_so(results: Path, tmp_path: Path, option: str, value: str) -> None:
    shutil.copytree(results / "walk/5_refinement", tmp_path / "walk")
    with pytest.raises(UserError, match=f"{option} {value}") as error:
        main([str(tmp_path), option, value])
    assert "\n" not in str(error.value)


def test_a_failed_refinement_is_told(tmp_path: Path, clips: dict[str, Clip]) -> None:
    write_result(tmp_path / "walk", *refine_to_truth(clips["released"], status="failed"))
    assert load_scene(find_results(tmp_path)[0]).status == "failed"
