"""What is in a recording, where and when."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import write_model
from PIL import Image
from recorded_files import HIDDEN, LAST, Rrd, output, people, refined
from scenes import SIZE, Clip

from pose_priors.body.pinhole import project, to_camera
from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.refinement.result.found import RefinedSequence
from pose_priors.refinement.show.record import main, write_recordings
from pose_priors.refinement.show.recording_shapes import bones, ends_of_runs


def test_there_is_one_recording_a_person_and_one_of_all(recorded: Clip, together: Rrd) -> None:
    assert sorted(path.name for path in output(recorded).glob("*.rrd")) == ["clip.rrd", "clip_person_001.rrd", "clip_person_002.rrd"]
    assert people(together) == {"person_001", "person_002"}
    assert len(together.recordings) == len(together.blueprints) == 1
    for person in ("person_001", "person_002"):
        alone = Rrd(output(recorded) / f"clip_{person}.rrd")
        assert people(alone) == {person}
        assert {entity for entity in together.entities if "person" not in entity} <= alone.entities
        assert {entity for entity in together.entities if person in entity} == {entity for entity in alone.entities if "person" in entity}


def test_rerun_finds_nothing_wrong_with_the_files(recorded: Clip) -> None:
    import rerun_cli

    program = Path(rerun_cli.__file__).parent / "rerun"
    files = [str(path) for path in sorted(output(recorded).glob("*.rrd"))]
    assert subprocess.run([program, "rrd", "verify", *files], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("person", [1, 2])
def test_people_are_where_and_when_the_result_has_them(recorded: Clip, together: Rrd, person: int) -> None:
    truth, entity = refined(recorded, person), f"/world/person_{person:03d}"
    joints, lines = together.column(f"{entity}/after/joints", "positions"), together.column(f"{entity}/after/bones", "strips")
    assert list(joints) == list(lines) == truth["frame_ids"].tolist()
    np.testing.assert_allclose(np.stack(list(joints.values())), truth["joints"], atol=1e-6)
    np.testing.assert_allclose(np.stack(list(lines.values())), bones(truth["joints"]), atol=1e-6)
    before = together.column(f"{entity}/before/bones", "strips")
    assert list(before) == truth["frame_ids"][truth["visible"]].tolist()
    # the input of this clip is right but for its unit
    expected = bones(recorded.joints[person - 1])[list(before)]
    assert np.linalg.norm(np.stack(list(before.values())) - expected, axis=-1).max() < 0.1


def test_who_is_not_there_is_not_shown(together: Rrd) -> None:
    entity = "/world/person_002"
    shown = [frame for frame in range(LAST + 1) if together.shown(f"{entity}/before/bones", "strips", frame) is not None]
    assert shown == [frame for frame in range(LAST + 1) if frame not in HIDDEN]
    radii, colours = together.column(f"{entity}/after/bones", "radii"), together.column(f"{entity}/after/bones", "colors")
    seen, hidden = [frame for frame in radii if frame not in HIDDEN], list(HIDDEN)
    assert max(radii[frame][0] for frame in hidden) < 0.5 * min(radii[frame][0] for frame in seen)
    assert max(int(colours[frame][0]) & 255 for frame in hidden) < 128 < min(int(colours[frame][0]) & 255 for frame in seen)
    words = together.column(f"{entity}/after/name", "labels")
    assert [frame for frame, label in words.items() if "not seen" in label[0]] == hidden


def test_a_life_that_ends_early_is_cleared(own: Path) -> None:
    path = own / "5_refinement" / "person_002" / "smpl_params_refined.npz"
    arrays = dict(np.load(path))
    rows = {"frame_ids", "visible", "global_orient", "body_pose", "transl", "joints", "contacts", "camera_w2c", "intrinsics"}
    np.savez(path, **{name: value[2:5] if name in rows else value for name, value in arrays.items()})
    main([str(own)])
    rrd = Rrd(own / "5_refinement" / "clip.rrd")
    for part, component in (("bones", "strips"), ("joints", "positions"), ("name", "positions"), ("contacts", "positions")):
        shown = [f for f in range(LAST + 1) if rrd.shown(f"/world/person_002/after/{part}", component, f) is not None]
        assert shown == [2, 3, 4], part
    alone = [frame for frame in range(LAST + 1) if rrd.shown("/world/person_001/after/bones", "strips", frame) is not None]
    assert alone == list(range(LAST + 1))


def test_what_was_shown_goes_after_each_run_of_frames() -> None:
    assert ends_of_runs(np.array([2, 3, 7, 8, 10]), 11).tolist() == [4, 9, 11]
    assert ends_of_runs(np.array([2, 3]), 3).tolist() == []


def test_depth_lies_on_floor_wall_and_people(recorded: Clip, together: Rrd) -> None:
    clouds = together.column("/world/depth", "positions")
    assert list(clouds) == list(range(LAST + 1))
    wall = np.array([0.1, 0, -1.0, 8.0]) / np.linalg.norm([0.1, 0, -1.0])
    for frame, points in clouds.items():
        assert 500 < len(points) <= 2500
        floor = np.abs(points @ recorded.plane[:3] + recorded.plane[3])
        behind = np.abs(points @ wall[:3] + wall[3])
        joints = recorded.joints[:, frame].reshape(-1, 3)
        near = np.linalg.norm(points[:, None] - joints, axis=-1).min(1)
        # a camera taken for its inverse leaves a third of them nowhere
        assert np.mean((floor < 0.08) | (behind < 0.15) | (near < 0.3)) > 0.97


def test_cameras_see_people_where_the_result_says(recorded: Clip, together: Rrd) -> None:
    truth = refined(recorded, 1)
    lenses, size = (together.column("/world/camera", part) for part in ("image_from_camera", "resolution"))
    places, turns = (together.column("/world/camera", part) for part in ("translation", "mat3x3"))
    assert list(places) == list(range(LAST + 1))
    for frame, row in enumerate(truth["joints"]):
        turn, lens = turns[frame].reshape(3, 3).T, lenses[frame].reshape(3, 3).T  # rerun keeps columns
        there = (row - places[frame].ravel()) @ turn
        pixels = (there / there[:, 2:]) @ lens.T
        expected = project(to_camera(row, truth["camera_w2c"][frame]), truth["intrinsics"][frame])
        np.testing.assert_allclose(pixels[:, :2] / size[frame].ravel(), expected / SIZE, atol=1e-4)
    picture = Image.open(io.BytesIO(np.array(together.column("/world/camera/image", "blob")[0], np.uint8).tobytes()))
    assert picture.size == tuple(size[0].ravel())


def test_joints_that_carry_are_marked(own: Path) -> None:
    path = own / "5_refinement" / "person_001" / "smpl_params_refined.npz"
    arrays = dict(np.load(path))
    arrays["contacts"][:] = 0.4
    arrays["contacts"][3, [1, 2]] = 0.9
    arrays["contacts"][4, 0] = 0.6
    np.savez(path, **arrays)
    main([str(own)])
    rrd, entity = Rrd(own / "5_refinement" / "clip.rrd"), "/world/person_001/after/contacts"
    balls, labels = rrd.column(entity, "positions"), rrd.column(entity, "labels")
    assert [len(balls[frame]) for frame in range(LAST + 1)] == [0, 0, 0, 2, 1, *[0] * 7]
    assert (labels[3].tolist(), labels[4].tolist()) == (["right_ankle", "left_foot"], ["left_ankle"])
    np.testing.assert_allclose(balls[3], arrays["joints"][3, [8, 10]], atol=1e-6)
    np.testing.assert_allclose(balls[4], arrays["joints"][4, [7]], atol=1e-6)


def test_the_floor_lies_under_the_feet(recorded: Clip, together: Rrd) -> None:
    lines = np.array(together.static["/world/floor"]["strips"]).reshape(-1, 3)
    plane = refined(recorded, 1)["ground_plane"]
    assert np.abs(lines @ plane[:3] + plane[3]).max() < 1e-4
    pelvis = np.concatenate([refined(recorded, person)["joints"][:, 0] for person in (1, 2)])
    assert (lines.min(0) < pelvis.min(0))[[0, 2]].all()
    assert (lines.max(0) > pelvis.max(0))[[0, 2]].all()


def test_every_term_has_its_curve(recorded: Clip, together: Rrd) -> None:
    metrics = json.loads((output(recorded) / "optimization_metrics.json").read_text())["sub_stages"]
    entities = {f"/losses/{term}/{stage}" for stage, report in metrics.items() for term in report["losses"]}
    assert entities == {entity for entity in together.entities if entity.startswith("/losses")}
    done = sum(report["iterations"] for stage, report in metrics.items() if stage not in ("final", "gaps"))
    curve = together.column("/losses/total/final", "scalars")
    assert list(curve) == [done + i for i in range(len(metrics["final"]["losses"]["total"]))]
    np.testing.assert_allclose(np.ravel(list(curve.values())), metrics["final"]["losses"]["total"])


def test_shake_is_the_acceleration_of_the_joints(recorded: Clip, together: Rrd) -> None:
    curve = together.column("/shake/person_001/after", "scalars")
    joints = refined(recorded, 1)["joints"][:, :22].astype(float)
    expected = np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1).mean(1) * 25**2
    np.testing.assert_allclose(np.ravel([curve[frame] for frame in range(1, LAST)]), expected, rtol=1e-4)


def test_implausible_joints_are_lighter_and_larger(own: Path) -> None:
    prior = GaussianConfig(kind="gaussian").build(range(1, 22))
    prior.fit_statistics(0.1 * torch.randn(200, NUM_JOINTS, 3, generator=torch.Generator().manual_seed(0)))
    path = own / "5_refinement" / "person_001" / "smpl_params_refined.npz"
    arrays = dict(np.load(path))
    arrays["body_pose"][:] = 0
    arrays["body_pose"][:, 3 * 17 : 3 * 18] = [0, 0, 2.0]  # the left elbow
    np.savez(path, **arrays)
    write_recordings(RefinedSequence("clip", own / "5_refinement", (own,)), prior=prior.eval())
    rrd = Rrd(own / "5_refinement" / "clip.rrd")
    parts = [rrd.column("/world/person_001/after/joints", part)[0] for part in ("radii", "colors", "labels")]
    others = [joint for joint in range(1, 22) if joint != 18]
    assert parts[0][18] > 1.5 * parts[0][others].max()
    light = [sum((int(colour) >> shift) & 255 for shift in (24, 16)) for colour in parts[1]]  # yellow is red and green
    assert light[18] > 1.5 * max(light[joint] for joint in others)
    assert [" nats" in label for label in parts[2]] == [False, *[True] * 21, False, False]


def test_skin_stands_where_the_skeleton_stands(own: Path, tmp_path: Path) -> None:
    model, joints, _ = write_model(tmp_path / "model", "smpl")
    main([str(own), "--body-model", str(model)])
    rrd = Rrd(own / "5_refinement" / "clip.rrd")
    vertices = rrd.column("/world/person_001/after/skin", "vertex_positions")
    with np.load(own / "5_refinement" / "person_001" / "smpl_params_refined.npz") as arrays:
        pelvis = arrays["joints"][:, 0]
    assert list(vertices) == list(range(LAST + 1))
    assert vertices[0].shape == (6 * len(joints), 3)
    np.testing.assert_allclose([vertices[frame][:6].mean(0) for frame in vertices], pelvis, atol=1e-4)


def test_images_take_the_place_of_depth_in_the_picture(own: Path) -> None:
    (own / "images").mkdir()
    for number in range(1, LAST + 2):  # as ffmpeg numbers them
        Image.new("RGB", SIZE, (200, 10 * number, 30)).save(own / "images" / f"{number:04d}.png")
    main([str(own)])
    rrd = Rrd(own / "5_refinement" / "clip.rrd")
    for frame in (0, LAST):
        picture = Image.open(io.BytesIO(np.array(rrd.column("/world/camera/image", "blob")[frame], np.uint8).tobytes()))
        assert picture.size == SIZE
        expected = np.array([200, 10 * (frame + 1), 30])
        assert np.abs(np.asarray(picture)[100, 100].astype(int) - expected).max() < 8
        colour = int(rrd.column("/world/depth", "colors")[frame][0])
        assert [colour >> 24 & 255, colour >> 16 & 255, colour >> 8 & 255] == pytest.approx(expected.tolist(), abs=1)
