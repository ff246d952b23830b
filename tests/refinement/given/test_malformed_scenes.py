"""Stage files that hold what nobody expects: each is refused on one line or mended, and none is a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_priors.configs.base import UserError
from pose_priors.datamodules.synthetic.scenes.builtin import write_builtin_scene
from pose_priors.refinement.given.load import load_problem

CAMERAS, ABOUT = "1_camera_estimation/cameras.npz", "1_camera_estimation/metadata.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene, not to be written to."""
    return write_builtin_scene(tmp_path_factory.mktemp("scene"), 0)[0]


def exchanged(path: Path, change: Callable[[np.ndarray], Any], *names: str) -> None:
    with np.load(path) as arrays:
        content = dict(arrays)
    for name in names:
        content[name] = change(content[name] if name in content else np.zeros(len(next(iter(content.values())))))
    np.savez(path, **content)


def people(scene: Path) -> list[Path]:
    return sorted(scene.glob("3_pose_estimation/person_*/smpl_params_camera.npz"))


def cameras(change: Callable[[np.ndarray], Any], *names: str) -> Callable[[Path], object]:
    return lambda scene: exchanged(scene / CAMERAS, change, *names)


def bodies(change: Callable[[np.ndarray], Any], *names: str) -> Callable[[Path], object]:
    return lambda scene: [exchanged(path, change, *names) for path in people(scene)]


def written(path: str, content: str) -> Callable[[Path], object]:
    return lambda scene: (scene / path).write_text(content)


def text(values: np.ndarray) -> np.ndarray:
    return np.full(values.shape, "a")


def zero_rotations(scene: Path) -> None:
    path = people(scene)[0]
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays if name != "poses"} | {"pred_rotmat": np.zeros((len(arrays["poses"]), 24, 3, 3))}
    np.savez(path, **content)


def frames_beyond_64_bits(scene: Path) -> None:
    for path in people(scene):
        (path.parent / "metadata.json").write_text(json.dumps({"frames": [2**70] * 4}))


def folder_in_place(scene: Path) -> None:
    (scene / ABOUT).unlink(missing_ok=True)
    (scene / ABOUT).mkdir()


CHANGES: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "poses of text": (cameras(text, "poses"), "'poses' holds no numbers"),
    "intrinsics of text": (cameras(text, "intrinsics"), "'intrinsics' holds no numbers"),
    "singular intrinsics": (cameras(lambda k: k * np.array([[1, 1, 1], [1, 1, 1], [0, 0, 0]]), "intrinsics"), "upper triangles"),
    "confidence of text": (cameras(text, "confidence"), "'confidence' holds no numbers"),
    "frame numbers of text": (cameras(text, "frame_ids"), "'frame_ids' holds no numbers"),
    "frame numbers that are nan": (cameras(lambda f: f + np.nan, "frame_ids"), "'frame_ids' holds nan.*whole numbers"),
    "size that is nan": (cameras(lambda _: np.array([np.nan, 5]), "image_size"), "'image_size' holds nan.*whole numbers"),
    "size of text": (written(ABOUT, '{"image_size": ["a", "b"]}'), "'image_size' .* holds no numbers"),
    "size of many digits": (written(ABOUT, f'{{"image_size": [1{"0" * 400}, 1]}}'), "beyond 64 bits"),
    "rate of many digits": (written(ABOUT, f'{{"fps": 1{"0" * 400}}}'), "beyond 64 bits"),
    "brackets": (written(ABOUT, '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), "nested more than 64 deep"),
    "a folder": (folder_in_place, "is no regular file but a folder"),
    "objects": (cameras(lambda p: np.array([None, {}], object), "poses"), "refused|no numbers"),
    "pose of text": (bodies(text, "poses"), "no usable|no person|holds no numbers"),
    "pose that is a number": (bodies(lambda _: np.float64(3), "poses"), "'poses' has shape"),
    "betas of text": (bodies(text, "betas"), "holds no numbers"),
    "betas of nothing": (bodies(lambda _: np.zeros(0), "betas"), r"'betas' has shape \(0,\)"),
    "frames beyond 64 bits": (frames_beyond_64_bits, "beyond 64 bits"),
    "rotations of zeros": (zero_rotations, None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_malformed_is_told(whole: Path, tmp_path: Path, name: str) -> None:
    change, told = CHANGES[name]
    scene = tmp_path / "scene"
    shutil.copytree(whole, scene)
    change(scene)
    stages = scene / "1_camera_estimation", scene / "2_tracking", scene / "3_pose_estimation"
    if told is None:
        problem = load_problem(*stages, None)
        assert any("no rotations" in warning for warning in problem.warnings)
        return
    with pytest.raises(UserError, match=told) as error:
        load_problem(*stages, None)
    assert len(str(error.value).splitlines()) == 1
