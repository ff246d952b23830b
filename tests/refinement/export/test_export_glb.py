"""glTF files, by a slow reader of the specification: the joints that come out are those that went in."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from export_results import CLIP, FPS, LIVES, TOLERANCE_M, Result, every_body, exported, z_up
from scipy.spatial.transform import Rotation

from pose_priors.body.layout import layout
from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.body.smplx_files import load_surface
from pose_priors.refinement.result.write import person_file

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
