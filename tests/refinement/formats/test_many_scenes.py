"""Thousands of stage folders of which something has another value, type, shape or name: a clip, or one line. What is made of clips:
`given/test_fuzzed_scenes.py`."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
from fuzzing import changes, damaged, survives, volume
from PIL import Image
from scenes import make_clip

from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.refinement.formats.tools.multi_tram import read_clip


def _read(path: Path) -> Any:
    if path.suffix == ".npz":
        return dict(np.load(path, allow_pickle=True))
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=True)
    if path.suffix == ".json":
        return json.loads(path.read_text())
    return pickle.loads(path.read_bytes()) if path.suffix == ".pkl" else np.asarray(Image.open(path))


def _write(path: Path, content: Any) -> None:
    if path.suffix == ".npz":
        arrays = content if isinstance(content, dict) else {"a": content}
        np.savez(path, **{str(name).replace("/", "_") or "x": _array(value) for name, value in arrays.items()})
    elif path.suffix == ".npy":
        np.save(path, _array(content), allow_pickle=True)
    elif path.suffix == ".json":
        path.write_bytes(json.dumps(content, default=repr, skipkeys=True).encode("utf-8", "surrogatepass"))
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        array = _array(content)
        shown = array if array.dtype in (np.uint8, np.uint16) and array.ndim == 2 and array.size else np.zeros((3, 4), np.uint8)
        Image.fromarray(shown).save(path)


def _array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:  # ragged
        return np.zeros(())


@volume
def test_changed_scenes(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "clip", num_frames=6).folder
    everything = [path for path in sorted(whole.rglob("*")) if path.is_file()]
    # files of one kind on other frames are alike
    files = [path for path in everything if not any(mark in path.stem for mark in ("00001", "00002", "00003", "00004"))]
    contents = {path: _read(path) for path in files}

    def trial(rng: random.Random, scratch: Path) -> None:
        spoilt = {rng.choice(files) for _ in range(rng.choice([1, 1, 2]))}
        for path in everything:
            copy = scratch / path.relative_to(whole)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path not in spoilt:
                copy.symlink_to(path)
            elif rng.random() < 0.2:
                copy.write_bytes(damaged(rng, path.read_bytes()))
            else:
                _write(copy, changes(rng, contents[path]))
        stages = [scratch / name for name in STAGES.values()]
        clip = read_clip(*stages, None, [])
        for frame in (0, 5):
            clip.depth.read(frame)
            clip.masks.read(1, frame)
        clip.depth.close()
        clip.masks.close()
        assert all(np.isfinite(body.pose).all() for body in (*clip.camera_bodies.values(), *clip.world_bodies.values()))

    survives(trial, tmp_path)
