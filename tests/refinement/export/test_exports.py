"""Exports, each read back by a reader of its own: the joints that come out are those that went in."""

from __future__ import annotations

import json
import logging
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smplx
import torch
import trimesh
from model_files import write_model
from scipy.spatial.transform import Rotation

from pose_priors.body.layout import layout
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import NUM_JOINTS, index_of
from pose_priors.body.smplx_files import load_surface
from pose_priors.configs.base import UserError
from pose_priors.datamodules.clips import read_clip
from pose_priors.datamodules.formats import read_poses
from pose_priors.refinement.export.__main__ import main
from pose_priors.refinement.result.write import RESULTS, person_file

FPS = 24.0
CLIP = 60
HEIGHT, PITCH = 1.6, np.deg2rad(20)
TOLERANCE_M = 1e-3
LIVES = {1: (0, CLIP), 2: (4, 50), 7: (9, CLIP)}


@dataclass
class Result:
    """A result of stage 5 and the truth of it: joints (T, J, 3) of each person, z up, seen from a camera above the origin that looks
    along y and down."""

    folder: Path
    joints: dict[int, np.ndarray]
    rest: dict[int, np.ndarray]
    model: Path


def make_result(folder: Path, num_joints: int) -> Result:
    rng = np.random.default_rng(num_joints)
    kind = "smplx" if num_joints == 55 else "smpl"
    model, rest, directions = write_model(folder / "models", kind)
    if num_joints == 22:
        rest, directions = rest[:22], directions[:22]
    down, forward = np.array([0, -np.sin(PITCH), -np.cos(PITCH)]), np.array([0, np.cos(PITCH), -np.sin(PITCH)])
    camera = np.stack([[1.0, 0, 0], down, forward])
    truth, rests = {}, {}
    for person, (begin, end) in LIVES.items():
        steps = np.arange(begin, end)
        betas = rng.normal(0, 1, 10)
        shaped = rests[person] = rest + directions @ betas
        # swings of all joints, the left elbow beyond a quarter turn about x, where Euler angles lock, the pelvis all the way around
        pose = rng.normal(0, 0.5, (1, num_joints, 3)) * np.sin(0.2 * steps[:, None, None] + rng.uniform(0, 6, (1, num_joints, 1)))
        pose[:, 18] = np.stack([np.linspace(0, np.pi, len(steps)), 0 * steps, 0 * steps], 1)
        pose[len(steps) // 2, 18] = [np.pi / 2, 0, 0]
        heading = Rotation.from_rotvec(0.15 * steps[:, None] * [0, 0, 1]) * Rotation.from_euler("x", np.pi / 2)
        pose[:, 0] = heading.as_rotvec()
        pelvis = np.stack([0.02 * steps, 3 + 0.01 * person * steps, 0.9 + 0.03 * np.sin(steps)], 1)
        posed, _ = forward_kinematics(torch.from_numpy(pose), torch.from_numpy(shaped - shaped[0]), layout(num_joints).parents)
        truth[person] = posed.numpy() + pelvis[:, None]
        joints = (truth[person] - [0, 0, HEIGHT]) @ camera.T
        root = (Rotation.from_matrix(camera) * heading).as_rotvec()
        visible = np.ones(len(steps), bool)
        visible[5:9] = False
        parts = {"body_pose": (1, 24 if num_joints == 24 else 22)}
        if num_joints == 55:
            parts |= {"jaw_pose": (22, 23), "leye_pose": (23, 24), "reye_pose": (24, 25)}
            parts |= {"left_hand_pose": (25, 40), "right_hand_pose": (40, 55)}
        path = person_file(folder, person)
        path.parent.mkdir(parents=True)
        arrays = {
            "frame_ids": 100 + steps,
            "visible": visible,
            "global_orient": root,
            "betas": betas,
            "transl": joints[:, 0] - shaped[0],
            "joints": joints,
            "ground_plane": np.append(camera[:, 2], HEIGHT),
            **{name: pose[:, first:last].reshape(len(steps), -1) for name, (first, last) in parts.items()},
        }
        np.savez(path, **{name: value.astype(np.float32) if value.dtype == float else value for name, value in arrays.items()})
    (folder / RESULTS).write_text(json.dumps({"fps": FPS}))
    return Result(folder, truth, rests, model)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Result]:
    """One of each kind of body, not to be written to."""
    return {kind: make_result(tmp_path_factory.mktemp("results") / "clip", kind) for kind in (22, 24, 55)}


every_body = pytest.mark.parametrize("num_joints", [22, 24, 55])


def exported(result: Result, to: str, output: Path, *more: str) -> list[Path]:
    return main([str(result.folder), "--format", to, "--output", str(output), *more])


# ---- AMASS


class JointsAlone(torch.nn.Module):
    """In place of smplx's selector of vertices by number."""

    def forward(self, vertices: torch.Tensor, joints: torch.Tensor) -> torch.Tensor:
        return joints


def test_amass_posed_by_smplx_itself_gives_the_joints(results: dict[int, Result], tmp_path: Path) -> None:
    result = results[55]
    files = exported(result, "amass", tmp_path)
    assert [path.name for path in files] == [f"clip_person_{person:03d}.npz" for person in LIVES]
    for path, (person, truth) in zip(files, result.joints.items(), strict=True):
        data = np.load(path, allow_pickle=False)
        shapes = {"poses": 165, "root_orient": 3, "pose_body": 63, "pose_hand": 90, "pose_jaw": 3, "pose_eye": 6, "trans": 3}
        assert {name: data[name].shape for name in shapes} == {name: (len(truth), width) for name, width in shapes.items()}
        assert (str(data["gender"]), str(data["surface_model_type"])) == ("neutral", "smplx")
        assert float(data["mocap_frame_rate"]) == float(data["mocap_framerate"]) == FPS
        assert float(data["mocap_time_length"]) == pytest.approx(len(truth) / FPS)
        assert int(data["num_betas"]) == len(data["betas"]) == 10
        np.testing.assert_array_equal(data["frame_ids"], 100 + np.arange(*LIVES[person]))
        np.testing.assert_array_equal(np.flatnonzero(~data["visible"]), [5, 6, 7, 8])
        model = smplx.create(str(result.model), "smplx", use_pca=False, flat_hand_mean=True, num_betas=10, batch_size=len(truth), ext="npz")
        model.vertex_joint_selector = JointsAlone()
        given = {name: torch.from_numpy(data[key]) for name, key in (("global_orient", "root_orient"), ("body_pose", "pose_body"))}
        given |= {
            "left_hand_pose": torch.from_numpy(data["pose_hand"][:, :45]),
            "right_hand_pose": torch.from_numpy(data["pose_hand"][:, 45:]),
        }
        given |= {"jaw_pose": torch.from_numpy(data["pose_jaw"]), "transl": torch.from_numpy(data["trans"])}
        given |= {"leye_pose": torch.from_numpy(data["pose_eye"][:, :3]), "reye_pose": torch.from_numpy(data["pose_eye"][:, 3:])}
        betas = torch.from_numpy(data["betas"]).expand(len(truth), -1)
        with torch.no_grad():
            posed = model(betas=betas, **given).joints[:, :NUM_JOINTS].numpy()
        assert np.abs(posed - truth).max() < TOLERANCE_M


@every_body
def test_amass_is_read_by_the_readers_of_this_project(results: dict[int, Result], tmp_path: Path, num_joints: int) -> None:
    result = results[num_joints]
    for path, (person, truth) in zip(exported(result, "amass", tmp_path), result.joints.items(), strict=True):
        file = read_poses(path)
        assert (file.fps, file.is_sequence, len(file.poses)) == (FPS, True, len(truth))
        # the result's bones turned by the file's poses; SMPL's bodies have no fingers to compare
        rest = np.zeros((NUM_JOINTS, 3))
        rest[:22] = result.rest[person][:22] - result.rest[person][0]
        posed, _ = forward_kinematics(torch.from_numpy(file.poses).double(), torch.from_numpy(rest))
        with np.load(path) as data:
            root = (truth[:, 0] - data["trans"]).mean(0)
            is_mean_shape = not data["betas"].any()
            posed = posed[:, :22].numpy() + data["trans"][:, None] + root
        assert np.abs(posed - truth[:, :22]).max() < TOLERANCE_M
        assert is_mean_shape == (num_joints == 24)
        if is_mean_shape:
            np.testing.assert_allclose(root, [0.003, -0.351, 0.012], atol=TOLERANCE_M)  # the root joint of SMPL-X, not SMPL's
        clip = read_clip(path, up_axis="z")
        assert len(clip) == int((len(truth) - 1) * 30 / FPS + 1e-6) + 1


# ---- glTF: a slow reader of the specification


DTYPES = {5126: "<f4", 5125: "<u4", 5123: "<u2", 5121: "u1"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Gltf:
    """Reads accessors, and evaluates the animation node by node."""

    def __init__(self, path: Path) -> None:
        raw = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", raw)
        assert (magic, version, length) == (b"glTF", 2, len(raw))
        size, kind = struct.unpack_from("<I4s", raw, 12)
        assert kind == b"JSON"
        assert size % 4 == 0
        self.json: dict[str, Any] = json.loads(raw[20 : 20 + size])
        binary_size, kind = struct.unpack_from("<I4s", raw, 20 + size)
        assert kind == b"BIN\0"
        self.binary = raw[28 + size : 28 + size + binary_size]
        self.parents = {child: at for at, node in enumerate(self.json["nodes"]) for child in node.get("children", [])}

    def array(self, index: int) -> np.ndarray:
        accessor = self.json["accessors"][index]
        view = self.json["bufferViews"][accessor["bufferView"]]
        dtype, width = np.dtype(DTYPES[accessor["componentType"]]), WIDTHS[accessor["type"]]
        assert view["byteOffset"] % 4 == 0
        assert view["byteLength"] == accessor["count"] * width * dtype.itemsize
        values = np.frombuffer(self.binary, dtype, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)
        np.testing.assert_allclose(values.min(0), accessor["min"])
        np.testing.assert_allclose(values.max(0), accessor["max"])
        return values[:, 0] if width == 1 else values

    def pose(self, time: float) -> list[dict[str, np.ndarray]]:
        """Translation, rotation and scale of each node at a time; linear interpolation, the ends held."""
        nodes = [
            {
                "translation": np.array(node.get("translation", [0, 0, 0.0])),
                "rotation": np.array(node.get("rotation", [0, 0, 0, 1.0])),
                "scale": np.ones(3),
            }
            for node in self.json["nodes"]
        ]
        animation = self.json["animations"][0]
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            times, values = self.array(sampler["input"]).astype(float), self.array(sampler["output"]).astype(float)
            assert (np.diff(times) > 0).all()
            at = int(np.clip(np.searchsorted(times, time + 1e-6, "right") - 1, 0, len(times) - 1))
            after = min(at + 1, len(times) - 1)
            share = (
                0.0 if sampler["interpolation"] == "STEP" or after == at else np.clip((time - times[at]) / (times[after] - times[at]), 0, 1)
            )
            value = values[at] * (1 - share) + values[after] * share
            path = channel["target"]["path"]
            nodes[channel["target"]["node"]][path] = value / np.linalg.norm(value) if path == "rotation" else value
        return nodes

    def worlds(self, time: float) -> list[np.ndarray]:
        """(4, 4) of each node."""
        local = []
        for node in self.pose(time):
            matrix = np.eye(4)
            matrix[:3, :3] = Rotation.from_quat(node["rotation"]).as_matrix() * node["scale"]
            matrix[:3, 3] = node["translation"]
            local.append(matrix)

        def world(node: int) -> np.ndarray:
            return world(self.parents[node]) @ local[node] if node in self.parents else local[node]

        return [world(node) for node in range(len(local))]

    def skinned(self, skin_node: int, time: float) -> np.ndarray:
        """Vertices of a skinned mesh."""
        node = self.json["nodes"][skin_node]
        attributes = self.json["meshes"][node["mesh"]]["primitives"][0]["attributes"]
        vertices, joints, weights = (self.array(attributes[name]) for name in ("POSITION", "JOINTS_0", "WEIGHTS_0"))
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
        skin, worlds = self.json["skins"][node["skin"]], self.worlds(time)
        inverse = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        moved = np.stack([worlds[joint] @ bind for joint, bind in zip(skin["joints"], inverse, strict=True)])
        homogeneous = np.concatenate([vertices, np.ones((len(vertices), 1))], 1)
        return np.einsum("vk,vkab,vb->va", weights, moved[joints], homogeneous)[:, :3]


def z_up(points: np.ndarray) -> np.ndarray:
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], -1)


@every_body
def test_glb_animates_every_joint_of_everybody_in_one_timeline(results: dict[int, Result], tmp_path: Path, num_joints: int) -> None:
    result = results[num_joints]
    (path,) = exported(result, "glb", tmp_path)
    file = Gltf(path)
    for frame in (0, 4, 20, 33, 49, CLIP - 1):
        worlds = file.worlds(frame / FPS)
        for skin, (person, truth) in zip(file.json["skins"], result.joints.items(), strict=True):
            begin, end = LIVES[person]
            found = np.stack([worlds[joint] for joint in skin["joints"]])
            if begin <= frame < end:
                assert np.abs(z_up(found[:, :3, 3]) - truth[frame - begin]).max() < TOLERANCE_M
            else:
                assert not found[:, :3, :3].any()  # no size: not drawn
    extras = {node["name"]: node["extras"] for node in file.json["nodes"] if "extras" in node}
    assert extras["person_002"] == {"first_frame": 104, "last_frame": 149, "frames_not_seen": [109, 110, 111, 112]}


def test_between_the_keys_nothing_spins(results: dict[int, Result], tmp_path: Path) -> None:
    """Neighbouring quaternions are on one side of the sphere, though the pelvis goes all the way around."""
    (path,) = exported(results[55], "glb", tmp_path)
    file = Gltf(path)
    animation, turned = file.json["animations"][0], 0
    for channel in animation["channels"]:
        if channel["target"]["path"] == "rotation":
            quat = file.array(animation["samplers"][channel["sampler"]]["output"])
            np.testing.assert_allclose(np.linalg.norm(quat, axis=1), 1, atol=1e-5)
            assert (quat[1:] * quat[:-1]).sum(1).min() > 0.9
            turned += (quat @ quat[0]).min() < -0.9
    assert turned >= len(LIVES)


@every_body
def test_glb_opens_in_trimesh(results: dict[int, Result], tmp_path: Path, num_joints: int) -> None:
    (path,) = exported(results[num_joints], "glb", tmp_path)
    scene = trimesh.load(path)
    assert len(scene.geometry) == len(LIVES)
    for mesh in scene.geometry.values():
        assert mesh.is_watertight
        assert mesh.volume > 0  # faces look outwards
        assert 1.2 < mesh.extents[1] < 2.2


def test_capsules_stand_around_the_bones(results: dict[int, Result], tmp_path: Path) -> None:
    (path,) = exported(results[24], "glb", tmp_path)
    file = Gltf(path)
    node = next(at for at, item in enumerate(file.json["nodes"]) if item["name"] == "skin_001")
    points, joints = z_up(file.skinned(node, 20 / FPS)), results[24].joints[1][20]
    parents = layout(24).parents
    per_bone = points.reshape(23, -1, 3)
    for joint, capsule in enumerate(per_bone, start=1):
        a, b = joints[parents[joint]], joints[joint]
        np.testing.assert_allclose(capsule.mean(0), (a + b) / 2, atol=TOLERANCE_M)
        assert np.linalg.norm(capsule - a, axis=1).min() < 0.051


@pytest.mark.parametrize("num_joints", [24, 55])
def test_the_surface_of_a_body_model_moves_as_the_model_says(results: dict[int, Result], tmp_path: Path, num_joints: int) -> None:
    """The stand-in model bends no surface at its joints, so a skin of glTF gives just what the model does."""
    result = results[num_joints]
    (path,) = exported(result, "glb", tmp_path, "--body-model", str(result.model))
    file, surface = Gltf(path), load_surface(result.model, 10)
    node = next(at for at, item in enumerate(file.json["nodes"]) if item["name"] == "skin_001")
    with np.load(person_file(result.folder, 1)) as data:
        pose = torch.zeros(1, NUM_JOINTS, 3, dtype=torch.float64)
        row = 20
        heading = Rotation.from_euler("z", 0.15 * row) * Rotation.from_euler("x", np.pi / 2)
        pose[0, 0] = torch.from_numpy(heading.as_rotvec())
        pose[0, 1:22] = torch.from_numpy(data["body_pose"][row, :63].reshape(-1, 3))
        if num_joints == 55:
            for name, first in (("jaw_pose", 22), ("leye_pose", 23), ("reye_pose", 24), ("left_hand_pose", 25), ("right_hand_pose", 40)):
                flat = torch.from_numpy(data[name][row].reshape(-1, 3))
                pose[0, first : first + len(flat)] = flat
        betas = torch.from_numpy(data["betas"])
    expected = torch.cat(list(surface.posed(pose, betas, torch.from_numpy(result.joints[1][row, :1])))).numpy()[0]
    found = z_up(file.skinned(node, row / FPS))
    hands = surface.weights[:, [22, 23]].sum(1).numpy() > 0 if num_joints == 24 else np.zeros(len(found), bool)  # posed straight
    assert np.abs(found - expected)[~hands].max() < TOLERANCE_M


# ---- BVH: a slow parser


def read_bvh(path: Path) -> tuple[list[str], np.ndarray, np.ndarray, float]:
    """Names, joints (T, J, 3) in the file's unit, the channels (T, C) and the frame time."""
    words = iter(path.read_text().split())
    names, offsets, parents, channels, stack, numbers = [], [], [], [], [], []
    frames, frame_time, ending = 0, 0.0, False
    for word in words:
        if word in ("ROOT", "JOINT"):
            names.append(next(words))
            parents.append(stack[-1] if stack else -1)
            channels.append([])
            ending = False
        elif word == "End":
            assert next(words) == "Site"
            ending = True
        elif word == "{":
            stack.append(-2 if ending else len(names) - 1)
        elif word == "}":
            ending = stack.pop() == -2 and False
        elif word == "OFFSET":
            value = [float(next(words)) for _ in range(3)]
            if stack[-1] >= 0:
                offsets.append(value)
        elif word == "CHANNELS":
            channels[-1] = [next(words) for _ in range(int(next(words)))]
        elif word == "Frames:":
            frames = int(next(words))
        elif word == "Time:":
            frame_time = float(next(words))
            numbers = [float(value) for value in words]
    rows = np.array(numbers).reshape(frames, -1)
    joints = np.zeros((frames, len(names), 3))
    for t, row in enumerate(rows):
        at, turns = 0, []
        for j, name_channels in enumerate(channels):
            move, turn = np.array(offsets[j]), Rotation.identity()
            for channel in name_channels:
                if channel.endswith("position"):
                    move["XYZ".index(channel[0])] += row[at]
                else:
                    turn = turn * Rotation.from_euler(channel[0].lower(), row[at], degrees=True)
                at += 1
            up = turns[parents[j]] if parents[j] >= 0 else Rotation.identity()
            joints[t, j] = up.apply(move) + (joints[t, parents[j]] if parents[j] >= 0 else 0)
            turns.append(up * turn)
        assert at == len(row)
    return names, joints, rows, frame_time


@every_body
def test_bvh_gives_the_joints(results: dict[int, Result], tmp_path: Path, num_joints: int) -> None:
    result = results[num_joints]
    files = exported(result, "bvh", tmp_path)
    assert [path.name for path in files] == [f"clip_person_{person:03d}.bvh" for person in LIVES]
    names, joints, rows, frame_time = read_bvh(files[1])
    truth = result.joints[2]
    assert frame_time == pytest.approx(1 / FPS, abs=1e-7)
    assert len(joints) == len(truth)
    order = [["left_hand", "right_hand"].index(name) + 22 if name in ("left_hand", "right_hand") else index_of(name) for name in names]
    assert sorted(order) == list(range(num_joints))
    assert np.abs(z_up(joints) / 100 - truth[:, order]).max() < TOLERANCE_M
    # through the lock of the elbow and around with the pelvis, no channel jumps by whole turns
    assert np.abs(np.diff(rows[:, 3:], axis=0)).max() < 181
    heading = rows[:, 3:6]
    assert np.abs(np.diff(heading, axis=0)).max() < 30
    assert np.ptp(heading, axis=0).max() > 350


# ---- the command


def test_exports_stand_beside_the_result_unless_told_otherwise(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_result(tmp_path / name / "5_refinement", 22)
    files = main([str(tmp_path), "--format", "glb"])
    assert files == [tmp_path / name / "5_refinement" / "exports" / f"{name}.glb" for name in ("one", "two")]
    assert all(path.is_file() for path in files)
    assert [path.name for path in (tmp_path / "one" / "5_refinement" / "exports").iterdir()] == ["one.glb"]
    with pytest.raises(UserError, match="one is there more than once"):
        main([str(tmp_path), str(tmp_path / "one"), "--format", "bvh", "--output", str(tmp_path / "out")])
    with pytest.raises(UserError, match="amass holds no surface"):
        main([str(tmp_path), "--format", "amass", "--body-model", "SMPLX_NEUTRAL.npz"])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        main([str(tmp_path / "one"), "--format", "bvh", "--output", str(tmp_path / "file" / "out")])


def test_a_result_that_does_not_say_its_rate_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = make_result(tmp_path / "old", 22)
    (result.folder / RESULTS).write_text("{}")
    with caplog.at_level(logging.WARNING):
        (path, *_) = exported(result, "amass", tmp_path / "out")
    assert "30 are assumed" in caplog.text
    with np.load(path) as data:
        assert float(data["mocap_frame_rate"]) == 30


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    result = make_result(tmp_path / "clip", 55)
    path = person_file(result.folder, 2)
    with np.load(path) as data:
        good = dict(data)

    def refused(message: str, **changes: np.ndarray) -> None:
        np.savez(path, **good | changes)
        with pytest.raises(UserError, match=message):
            exported(result, "bvh", tmp_path / "out")

    gap = good["frame_ids"].copy()
    gap[10:] += 2
    refused("frame 116 follows frame 113", frame_ids=gap)
    refused("do not follow from its poses", body_pose=good["body_pose"] * 0.5)
    refused("finite", joints=good["joints"] * np.nan)
    refused("hold 54 joints", jaw_pose=good["jaw_pose"][:, :0])
    assert not (tmp_path / "out").exists()
    np.savez(path, **{name: value for name, value in good.items() if name != "betas"})
    with pytest.raises(UserError, match="betas"):
        exported(result, "bvh", tmp_path / "out")
