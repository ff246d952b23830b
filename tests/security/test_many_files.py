"""Thousands of damaged and changed files of every kind for their readers: a value, or one line."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from fuzzing import changes, damaged, survives, volume
from PIL import Image
from safetensors.torch import load_file, save
from test_train import run

from pose_priors.body.smplx_files import load_joint_model, load_surface
from pose_priors.datamodules.arrays import open_arrays
from pose_priors.datamodules.clips import UnusableClipError, read_clip
from pose_priors.datamodules.formats import read_poses
from pose_priors.datamodules.safe_pickle import load_pickle, load_torch
from pose_priors.priors import load_prior
from pose_priors.priors.evaluation.card import card
from pose_priors.priors.exporting.__main__ import export_weights
from pose_priors.priors.weights.folder import CONFIG, WEIGHTS
from pose_priors.refinement.formats.depth import DepthMaps
from pose_priors.refinement.formats.files import read_json
from pose_priors.refinement.formats.masks import Masks
from pose_priors.refinement.formats.point_cloud import read_points
from pose_priors.refinement.instances import split_npz_by_instances
from pose_priors.refinement.result.truth import read_truth
from pose_priors.refinement.show.page.verdicts import Verdicts
from pose_priors.refinement.show.recording_pictures import read_picture

CONTENT = {"a": np.arange(6.0).reshape(2, 3), "b": [1, "x", None, (2.5, {3})], "c": np.array([{"d": np.ones(2, bool)}, "e"], object)}
PLY = "ply\nformat {} 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
POINTS = [PLY.format("ascii").encode() + b"1 2 3\n4 5 nan\n", PLY.format("binary_little_endian").encode() + bytes(24)]
Save = Callable[[Any], bytes]


def _written(save: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def _npy(content: Any) -> bytes:
    return _written(lambda s: np.save(s, _array(content), allow_pickle=True))


def _torch(content: Any) -> bytes:
    return _written(lambda s: torch.save(content, s))


def _joblib(content: Any) -> bytes:
    return _written(lambda s: joblib.dump(content, s))


def _npz(content: Any) -> bytes:
    arrays = content if isinstance(content, dict) else {"a": content}
    return _written(lambda s: np.savez(s, **{str(name).replace("/", "_") or "x": _array(value) for name, value in arrays.items()}))


def _array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:  # ragged
        return np.zeros(())


def _png(picture: Any) -> bytes:
    array = _array(picture)
    shown = array if array.dtype in (np.uint8, np.uint16) and array.ndim == 2 and array.size else np.zeros((3, 4), np.uint8)
    return _written(lambda s: Image.fromarray(shown).save(s, "PNG"))


def _json(content: Any) -> bytes:
    return json.dumps(content, default=repr, skipkeys=True).encode("utf-8", "surrogatepass")


def _read_arrays(path: Path) -> list[np.ndarray]:
    return [entry.load() for entry in open_arrays(path).values()]


def _depth(path: Path) -> None:
    maps = DepthMaps(path.parent.parent, np.arange(2), [])
    maps.read(1)
    maps.close()


def _masks(path: Path) -> None:
    masks = Masks(path.parent.parent, [])
    mask = masks.read(1, 1)
    assert mask is None or (mask.dtype == bool and mask.ndim == 2)
    masks.close()


POSES = {"poses": np.full((9, 165), 0.1), "mocap_framerate": np.array(30.0), "trans": np.zeros((9, 3)), "betas": np.zeros(10)}
PARTS = {"global_orient": np.zeros((9, 3)), "body_pose": np.zeros((9, 63)), "left_hand_pose": np.zeros((9, 45)), "fps": np.array("30")}
SIGN = {"smplx": np.full((9, 182), 0.1), "left_valid": np.ones(9, bool), "right_valid": np.ones(9, bool)}
TRUTH = {"joints": np.zeros((2, 4, 22, 3)), "visible": np.ones((2, 4), bool), "ground_plane": np.array([0, 1.0, 0, 0])}
TRUTH |= {"alpha": np.array(1.0), "fps": np.array(30.0)}
INSTANCES = {"sam2_masks": np.array({"instance_0": np.ones((1, 3, 8, 8), bool)}, object), "rgbs": np.zeros((1, 3, 3, 8, 8), np.uint8)}
MODEL = {"v_template": np.zeros((55, 3)), "shapedirs": np.zeros((55, 3, 20)), "J_regressor": np.eye(55), "weights": np.eye(55)}
MODEL |= {"kintree_table": np.stack([np.maximum(np.arange(55) - 1, 0), np.arange(55)]), "f": np.array([[0, 1, 2]])}
REVIEW = b"sequence,verdict,time,note\nclip,good,2026-01-31T12:00:00+00:00,\nb,bad,2026-01-31T12:00:00+00:00,'=1+1\n"

# name of the file, what is valid and how it is written, who reads it
READERS: dict[str, tuple[str, list[tuple[Any, Save]], Callable[[Path], object]]] = {
    "pickle": ("a.pkl", [(CONTENT, pickle.dumps), (CONTENT, _joblib)], load_pickle),
    "torch": (
        "a.pt",
        [({"a": torch.ones(2, 3), "b": [1, {"c": torch.zeros(2)}]}, _torch)],
        load_torch,
    ),
    "npy": ("a.npy", [(CONTENT["a"], _npy)], _read_arrays),
    "npz": ("a.npz", [(CONTENT, _npz)], _read_arrays),
    "json": ("a.json", [({"fps": 30, "frames": [1, 2.5, None], "é": {"a": [True]}}, _json)], read_json),
    "ply": (
        "a.ply",
        [(text, bytes) for text in POINTS],
        read_points,
    ),
    "poses": ("a.npz", [(POSES, _npz), (PARTS, _npz), (SIGN, _npz)], read_poses),
    "pickled poses": ("a.pkl", [(POSES, pickle.dumps), (PARTS, pickle.dumps)], read_poses),
    "motions": ("a.npz", [(POSES, _npz)], read_clip),
    "truth": ("a.npz", [(TRUTH, _npz)], read_truth),
    "instances": ("a.npz", [(INSTANCES, _npz)], lambda path: split_npz_by_instances(path, path.parent / "out")),
    "joints of a body model": ("SMPLX_NEUTRAL.npz", [(MODEL, _npz)], lambda path: load_joint_model(path, 10)),
    "surface of a body model": ("SMPLX_NEUTRAL.npz", [(MODEL, _npz)], lambda path: load_surface(path, 10)),
    "depth": (
        "depth_maps/depth_000001.npy",
        [(np.ones((6, 8), np.float32), _npy)],
        _depth,
    ),
    "pictures of depth": ("depth_maps/depth_000001.png", [(np.full((6, 8), 2000, np.uint16), _png)], _depth),
    "masks": ("masks/frame_000001_person_001.png", [(np.eye(9, dtype=np.uint8) * 255, _png)], _masks),
    "arrays of masks": (
        "masks/frame_000001_person_001.npy",
        [(np.eye(9, dtype=bool), _npy)],
        _masks,
    ),
    "pictures": ("a.png", [(np.zeros((9, 12), np.uint8), _png)], read_picture),
    "verdicts": ("review.csv", [(REVIEW, bytes)], Verdicts),
}


@volume
@pytest.mark.parametrize("kind", READERS)
def test_changed_files(kind: str, tmp_path: Path) -> None:
    name, seeds, read = READERS[kind]
    whole = [(content, save, save(content)) for content, save in seeds]

    def trial(rng: random.Random, scratch: Path) -> None:
        path = scratch / name
        path.parent.mkdir(exist_ok=True)
        content, save, data = rng.choice(whole)
        if isinstance(content, bytes) or rng.random() < 0.4:
            path.write_bytes(damaged(rng, data) if rng.random() < 0.95 else rng.randbytes(rng.randrange(400)))
        else:
            path.write_bytes(save(changes(rng, content)))
        read(path)

    survives(trial, tmp_path, also=(UnusableClipError,))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    return run("gaussian_prior", folder, "training.max_epochs=1", "logging.figures_every_n_epochs=1000")


@volume
def test_changed_checkpoints(checkpoint: Path, tmp_path: Path) -> None:
    data, content = checkpoint.read_bytes(), torch.load(checkpoint, weights_only=True)

    def trial(rng: random.Random, scratch: Path) -> None:
        path = scratch / "best.ckpt"
        if rng.random() < 0.3:
            path.write_bytes(damaged(rng, data))
        else:
            spoilt = dict(content)
            part = rng.choice(["prior", "prior", "state_dict", "epoch"])
            spoilt[part] = changes(rng, spoilt[part])
            torch.save(spoilt, path)
        prior = load_prior(path)
        if rng.random() < 0.3:
            card(path)
        assert all(value.isfinite().all() for value in prior.state_dict().values() if value.is_floating_point())

    survives(trial, tmp_path)


@volume
def test_changed_folders_of_weights(checkpoint: Path, tmp_path: Path) -> None:
    export_weights(checkpoint, tmp_path / "folder")
    described, data = json.loads((tmp_path / "folder" / CONFIG).read_text()), (tmp_path / "folder" / WEIGHTS).read_bytes()
    tensors = load_file(tmp_path / "folder" / WEIGHTS)

    def trial(rng: random.Random, scratch: Path) -> None:
        about, weights = described, data
        if (kind := rng.random()) < 0.4:
            about = changes(rng, about)
        elif kind < 0.7:
            weights = damaged(rng, data)
        else:
            spoilt = changes(rng, tensors)
            spoilt = spoilt.items() if isinstance(spoilt, dict) else ()
            weights = save({str(name): value.contiguous().clone() for name, value in spoilt if isinstance(value, torch.Tensor)})
        if rng.random() < 0.8 and isinstance(about, dict) and isinstance(about.get("weights"), dict):
            about = about | {"weights": about["weights"] | {"sha256": hashlib.sha256(weights).hexdigest()}}
        text = _json(about)
        (scratch / CONFIG).write_bytes(damaged(rng, text) if rng.random() < 0.1 else text)
        (scratch / WEIGHTS).write_bytes(weights)
        prior = load_prior(scratch)
        assert all(value.isfinite().all() for value in prior.state_dict().values() if value.is_floating_point())
        card(scratch)

    survives(trial, tmp_path)
