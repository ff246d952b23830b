"""Robots in URDF, their motions, and where they stand beside the people whose motion they have."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import trimesh
from rerun.chunk import RrdReader
from review_results import make_results
from scenes import Clip
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError
from pose_priors.refinement.result.found import find_results
from pose_priors.refinement.show.record import write_recordings
from pose_priors.refinement.show.recording_models import T_world_motion, find_models
from pose_priors.refinement.show.review_scene import load_scene
from pose_priors.refinement.show.robots.motion import is_motion, read_motion
from pose_priors.refinement.show.robots.shown import ShownRobot, find_robots
from pose_priors.refinement.show.robots.solids import Solid, box, cylinder, sphere
from pose_priors.refinement.show.robots.urdf import read_urdf

ROBOT = """<?xml version="1.0"?>
<robot name="toy">
  <joint name="elbow" type="revolute"><origin xyz="0 0 1" rpy="0 0 1.5707963267948966"/><axis xyz="1 0 0"/>
    <parent link="upper"/><child link="lower"/></joint>
  <joint name="shoulder" type="continuous"><origin xyz="0 0.5 0"/><axis xyz="0 0 2"/><parent link="trunk"/><child link="upper"/></joint>
  <joint name="slide" type="prismatic"><axis xyz="1 0 0"/><parent link="trunk"/><child link="tool"/></joint>
  <joint name="copy" type="prismatic"><axis xyz="0 1 0"/><parent link="tool"/><child link="tip"/>
    <mimic joint="slide" multiplier="2" offset="0.1"/></joint>
  <link name="trunk"><visual><origin xyz="0 0 0.1"/><geometry><box size="1 2 3"/></geometry></visual></link>
  <link name="upper"><visual><geometry><cylinder radius="0.1" length="1"/></geometry></visual></link>
  <link name="lower"><visual><geometry><mesh filename="package://toy/meshes/lower.STL" scale="2 2 2"/></geometry></visual>
    <visual><geometry><mesh filename="package://toy/meshes/gone.stl"/></geometry></visual></link>
  <link name="tool"/><link name="tip"><visual><geometry><sphere radius="0.2"/></geometry></visual></link>
</robot>"""


def _one_visual(shape: str) -> str:
    return f'<robot><link name="a"><visual><geometry>{shape}</geometry></visual></link></robot>'


def _joints(inside: str) -> str:
    links = "".join(f'<link name="{name}"/>' for name in "abc")
    ends = [f'<parent link="{one}"/><child link="{two}"/>' for one, two in ("ab", "bc")]
    first, second = (f'<joint name="{name}" type="revolute">{end}' for name, end in zip("jk", ends, strict=True))
    return f"<robot>{links}{first}{inside}</joint>{second}</joint></robot>"


def write_robot(folder: Path) -> Path:
    (folder / "meshes").mkdir(parents=True)
    trimesh.creation.box((1, 1, 1)).export(folder / "meshes" / "lower.STL", file_type="stl")
    (folder / "toy.urdf").write_text(ROBOT)
    return folder / "toy.urdf"


def test_links_are_where_the_joints_put_them(tmp_path: Path) -> None:
    robot = read_urdf(write_robot(tmp_path))
    assert (robot.root, robot.movable) == ("trunk", ("shoulder", "elbow", "slide"))
    a, b, s = 0.3, -0.7, 0.2
    links = robot.links(np.array([[a, b, s], [0, 0, 0]]))
    # by hand: about z, a metre up, turned by 90 degrees about z, about x
    upper = Rotation.from_euler("z", a).as_matrix()
    np.testing.assert_allclose(links["upper"][0, :3, :3], upper, atol=1e-12)
    np.testing.assert_allclose(links["lower"][0, :3, 3], [0, 0.5, 1], atol=1e-12)
    turned = upper @ Rotation.from_euler("z", 90, degrees=True).as_matrix() @ Rotation.from_euler("x", b).as_matrix()
    np.testing.assert_allclose(links["lower"][0, :3, :3], turned, atol=1e-12)
    np.testing.assert_allclose(links["tool"][0, :3, 3], [s, 0, 0])
    np.testing.assert_allclose(links["tip"][0, :3, 3], [s, 2 * s + 0.1, 0])
    np.testing.assert_allclose(links["lower"][1, :3, 3], [0, 0.5, 1])
    named = robot.links(np.array([[s, a, b]]), ("slide", "shoulder", "elbow"))
    np.testing.assert_allclose(named["lower"][0], links["lower"][0])


def test_what_it_looks_like(tmp_path: Path) -> None:
    robot = read_urdf(write_robot(tmp_path))
    (trunk,) = robot.visuals["trunk"]
    np.testing.assert_allclose(trunk.T_link_visual[:3, 3], [0, 0, 0.1])
    assert robot.missing == ("package://toy/meshes/gone.stl",)
    (lower,) = robot.visuals["lower"]
    assert lower.path == tmp_path / "meshes" / "lower.STL"
    np.testing.assert_allclose(lower.scale, 2)
    assert robot.visuals["tool"] == ()


@pytest.mark.parametrize(
    ("solid", "volume", "size"),
    [(box(np.array([1.0, 2, 3])), 6, [1, 2, 3]), (cylinder(0.5, 2), np.pi * 0.5, [1, 1, 2]), (sphere(1), 4 / 3 * np.pi, [2, 2, 2])],
)
def test_solids_are_closed_and_as_large_as_they_say(solid: Solid, volume: float, size: list[float]) -> None:
    mesh = trimesh.Trimesh(solid.vertices, solid.faces)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(volume, rel=0.03)  # positive: seen from outside
    np.testing.assert_allclose(np.ptp(solid.vertices, axis=0), size, rtol=0.01)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<robot>", "not a robot in URDF"),
        ("<sdf/>", "its root is <sdf>, not <robot>"),
        ('<!DOCTYPE r [<!ENTITY a "b">]><robot/>', "declares a document type or entities"),
        ('<robot><link name="a"/><link name="b"/></robot>', r"make no tree of its links \(2 links have no parent\)"),
        (
            '<robot><link name="a"/><joint name="j" type="ball"><parent link="a"/><child link="b"/></joint></robot>',
            "the joint j of type ball",
        ),
        ('<robot><link name="a"><visual><geometry><box size="1 2"/></geometry></visual></link></robot>', "'1 2' where 3 numbers"),
        (_one_visual('<sphere radius="nan"/>'), "'nan' where 1 numbers are expected, all finite"),
        (_one_visual('<sphere radius="1e309"/>'), "'1e309' where 1 numbers"),
        (_one_visual('<cylinder radius="-1" length="1"/>'), "a <cylinder> of radius -1"),
        (_joints('<mimic joint="gone"/>'), "the joint j mimics gone, which leads nowhere"),
        (_joints('<mimic joint="j"/>'), "the joint j mimics j, which leads nowhere"),
        (_joints('<mimic joint="k" multiplier="nan"/>'), "'nan' where 1 numbers"),
        (_joints('<axis xyz="0 0 0"/>'), "the joint j moves along an axis of length 0"),
        (_joints("").replace('name="k"', 'name="j"'), "several joints are called j"),
        ('<robot><link name="a"/><link name="a"/></robot>', "several links are called a"),
    ],
)
def test_what_is_no_robot_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "r.urdf").write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read_urdf(tmp_path / "r.urdf")
    assert "\n" not in str(caught.value)


def a_motion(num: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(num, 3)), Rotation.random(num, rng).as_quat(), rng.normal(size=(num, 3))


def test_gmr_s_and_holosoma_s_files_say_the_same(tmp_path: Path) -> None:
    place, turn, joints = a_motion()
    gmr = {"fps": 30.0, "root_pos": place, "root_rot": turn, "dof_pos": joints, "local_body_pos": None, "link_body_list": None}
    (tmp_path / "gmr.pkl").write_bytes(pickle.dumps(gmr))
    np.savez(tmp_path / "holosoma.npz", qpos=np.concatenate([place, turn[:, [3, 0, 1, 2]], joints], 1), fps=30)
    first, second = (read_motion(tmp_path / name) for name in ("gmr.pkl", "holosoma.npz"))
    np.testing.assert_allclose(first.T_world_root, second.T_world_root, atol=1e-12)
    np.testing.assert_array_equal(first.positions, second.positions)
    np.testing.assert_allclose(first.T_world_root[:, :3, :3], Rotation.from_quat(turn).as_matrix())
    np.testing.assert_array_equal(first.rows(5, 15.0), [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(first.rows(30, 30.0)[18:], [18] + [19] * 11)
    np.savez(tmp_path / "other.npz", poses=joints)
    assert not is_motion(tmp_path / "other.npz")
    with pytest.raises(UserError, match="the motion has 2 positions"):
        read_urdf(write_robot(tmp_path / "r")).links(joints[:, :2])
    np.savez(tmp_path / "bad.npz", root_pos=place, root_rot=2 * turn, dof_pos=joints)
    with pytest.raises(UserError, match="no unit quaternions"):
        read_motion(tmp_path / "bad.npz")


@pytest.fixture
def retargeted(clips: dict[str, Clip], tmp_path: Path) -> Path:
    """A result, and a robot for its first person, at half the clip's frame rate."""
    make_results(tmp_path / "results", clips["released"], ["walk"])
    refined = tmp_path / "results" / "walk" / "5_refinement"
    folder = refined / "retargeting" / "person_001"
    folder.mkdir(parents=True)
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = Rotation.from_euler("x", 90, degrees=True).as_matrix(), [1, 2, 3]
    (folder.parent / "floor.json").write_text(json.dumps({"T_world_motion": turn.tolist(), "urdf": str(write_robot(tmp_path / "assets"))}))
    place, rotation, joints = a_motion()
    with (folder / "robot.pkl").open("wb") as stream:
        pickle.dump({"fps": 12.5, "root_pos": place, "root_rot": rotation, "dof_pos": joints}, stream)
    return refined


def robot_of(refined: Path) -> ShownRobot:
    (result,) = find_results(refined)
    scene = load_scene(result)
    (robot,) = find_robots(refined, scene.people, scene.fps)
    return robot


def test_a_robot_moves_in_the_world_of_the_result(retargeted: Path) -> None:
    robot = robot_of(retargeted)
    place, rotation, joints = a_motion()
    assert robot.person == 1
    np.testing.assert_array_equal(robot.frames, np.arange(12))
    rows = [0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5, 6]  # of 12.5 frames a second on those of 25, to even numbers
    turn = Rotation.from_euler("x", 90, degrees=True)
    np.testing.assert_allclose(robot.T_world_link["trunk"][:, :3, 3], turn.apply(place[rows]) + np.array([1, 2, 3]))
    np.testing.assert_allclose(robot.T_world_link["trunk"][:, :3, :3], (turn * Rotation.from_quat(rotation[rows])).as_matrix(), atol=1e-9)
    tool = robot.T_world_link["trunk"] @ np.array([1, 0, 0, 0])[:, None] * joints[rows, 2][:, None, None]
    np.testing.assert_allclose(robot.T_world_link["tool"][:, :3, 3] - robot.T_world_link["trunk"][:, :3, 3], tool[:, :3, 0], atol=1e-9)


def test_it_is_in_the_recording_of_its_person(retargeted: Path, tmp_path: Path) -> None:
    (result,) = find_results(retargeted)
    write_recordings(result, tmp_path)

    def entities(name: str) -> dict[str, int]:
        reader = RrdReader(tmp_path / name)
        rows: dict[str, int] = {}
        for chunk in reader.store(store=reader.recordings()[0]).stream():
            rows[chunk.entity_path] = rows.get(chunk.entity_path, 0) + chunk.num_rows
        return rows

    shown = entities("walk.rrd")
    assert {"/world/person_001/robot/trunk/0", "/world/person_001/robot/lower/0", "/world/person_001/robot/tip/0"} <= shown.keys()
    assert shown["/world/person_001/robot/trunk"] == 12
    assert "/world/person_001/robot/trunk" in entities("walk_person_001.rrd")
    assert not any("robot" in name for name in entities("walk_person_002.rrd"))


def test_its_parts_are_no_meshes_of_their_own(retargeted: Path) -> None:
    folder = retargeted / "retargeting" / "person_001"
    trimesh.creation.box((1, 1, 1)).export(folder / "alone.stl")
    assert [model.path.name for model in find_models(retargeted)] == ["alone.stl"]
    write_robot(folder / "toy")
    assert find_models(retargeted) == []
    assert robot_of(retargeted).robot.path == folder / "toy" / "toy.urdf"  # before the one that the pipeline was told of


def test_a_motion_that_cannot_be_shown_is_told_and_costs_nothing_else(retargeted: Path, caplog: pytest.LogCaptureFixture) -> None:
    floor = retargeted / "retargeting" / "floor.json"
    floor.write_text(json.dumps({"T_world_motion": np.eye(4).tolist()}))
    (result,) = find_results(retargeted)
    scene = load_scene(result)
    assert find_robots(retargeted, scene.people, scene.fps) == []
    assert "the motion of a robot without a URDF" in caplog.text


def test_a_file_is_read_in_one_encoding_whatever_it_declares(tmp_path: Path) -> None:
    path = write_robot(tmp_path)
    for name in ("foo", "rot13", "utf-16"):
        path.write_text(ROBOT.replace('version="1.0"', f'version="1.0" encoding="{name}"'))
        assert read_urdf(path).movable == ("shoulder", "elbow", "slide")
    path.write_bytes('<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "b">]><robot/>'.encode("utf-16"))
    with pytest.raises(UserError, match="not a robot in URDF"):
        read_urdf(path)


def test_a_joint_that_mimics_one_that_mimics_follows_the_last(tmp_path: Path) -> None:
    chain = ROBOT.replace(
        "</robot>",
        """<link name="end"/><joint name="third" type="prismatic"><axis xyz="0 0 1"/><parent link="tip"/>
        <child link="end"/><mimic joint="copy" multiplier="3" offset="0.5"/></joint></robot>""",
    )
    (tmp_path / "r.urdf").write_text(chain)
    links = read_urdf(tmp_path / "r.urdf").links(np.array([[0, 0, 0.2]]))
    np.testing.assert_allclose(links["end"][0, :3, 3] - links["tip"][0, :3, 3], [0, 0, 3 * (2 * 0.2 + 0.1) + 0.5], atol=1e-12)


def test_a_mesh_whose_name_no_file_can_have_is_missing(tmp_path: Path) -> None:
    (tmp_path / "r.urdf").write_text(_one_visual(f'<mesh filename="{"x" * 300}.stl"/>'))
    assert read_urdf(tmp_path / "r.urdf").missing == ("x" * 300 + ".stl",)


@pytest.mark.parametrize("names", [[["j"], ["a", "b"]], ["a", "a"], 3, [1, 2]])
def test_names_of_joints_are_a_list_of_different_names(tmp_path: Path, names: object) -> None:
    place, turn, joints = a_motion()
    content = {"fps": 30, "root_pos": place, "root_rot": turn, "dof_pos": joints, "joint_names": names}
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="'joint_names' is no list of different names"):
        read_motion(tmp_path / "m.pkl")
    content = {**content, "joint_names": None, "dof_pos": np.full_like(joints, 1e308)}
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"'dof_pos' has shape .*numbers below 1e\+06"):
        read_motion(tmp_path / "m.pkl")


def test_folders_and_worlds_of_motions_say_what_they_are(retargeted: Path) -> None:
    folder = retargeted / "retargeting"
    (folder / "floor.json").write_text(json.dumps({"T_world_motion": np.full((4, 4), np.nan).tolist()}))
    with pytest.raises(UserError, match="finite \\(4, 4\\) is expected"):
        T_world_motion(folder / "floor.json")
    (folder / "person_abc").mkdir()
    with pytest.raises(UserError, match="no folder of a person, which is called person_<id>"):
        find_models(retargeted)
