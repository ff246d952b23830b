"""Thousands of files of cameras with something changed in them: cameras and depth, or one line."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from camera_writers import exr, quaternions, write_droid, write_megasam, write_slahmr_cameras, write_vggt, write_vipe
from fuzzing import changes, damaged, survives, volume
from upstream_truth import SIZE, make_truth

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.camera_files import CAMERA_FORMATS, files_of_cameras
from pose_priors.refinement.formats.camera_files.exr import read_exr
from pose_priors.refinement.formats.source import Source


def write_odometry(folder: Path, w2c: np.ndarray, *_: object, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    """WHAM's name of it; the array is the one value."""
    content: dict[str, Any] = {"poses": quaternions(np.linalg.inv(w2c))}
    change(content)
    folder.mkdir(parents=True)
    value = content["poses"] if list(content) == ["poses"] else content
    torch.save(value, folder / "slam_results.pth")
    return folder / "slam_results.pth"


def write_text(folder: Path, w2c: np.ndarray, *_: object, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    poses = quaternions(np.linalg.inv(w2c))
    folder.mkdir(parents=True)
    np.savetxt(folder / "tum.txt", np.concatenate([np.arange(len(poses))[:, None], poses], 1))
    return folder / "tum.txt"


@volume
@pytest.mark.parametrize("write", [write_vipe, write_megasam, write_vggt, write_droid, write_slahmr_cameras, write_odometry, write_text])
def test_changed_files(write: Callable[..., Path], tmp_path: Path) -> None:
    truth = make_truth()
    w2c, size = truth.w2c[:3], SIZE
    depth = () if write in (write_odometry, write_text, write_slahmr_cameras) else (np.full((3, 36, 64), 4.0),)

    def trial(rng: random.Random, scratch: Path) -> None:
        def spoil(content: dict[str, Any]) -> None:
            kept = {key: value for key, value in content.items() if key != "images"}
            spoilt = changes(rng, kept)
            content.clear()
            content.update({str(key): value for key, value in spoilt.items()} if isinstance(spoilt, dict) else {"poses": spoilt})

        by_bytes = rng.random() < 0.3 or write is write_text
        folder = scratch / "out"
        try:
            path = write(folder, w2c, truth.intrinsics, size, *depth, **({} if by_bytes else {"change": spoil}))
        except (TypeError, ValueError, AttributeError, RuntimeError):  # what numpy and torch do not write
            shutil.rmtree(folder, ignore_errors=True)
            return
        if by_bytes:
            spoilt = rng.choice([file for file in sorted(folder.rglob("*")) if file.is_file()])
            spoilt.write_bytes(damaged(rng, spoilt.read_bytes()))
        files_of_cameras(path)
        source = Source(path)
        form = next((form for form in CAMERA_FORMATS if form.detect(source)), None)
        if form is None:
            raise UserError("none of them")
        found = form.read(source, size, [])
        for frame in found.frames[:2].tolist():
            found.depth.read(frame)

    survives(trial, tmp_path)


@volume
def test_damaged_pictures(tmp_path: Path) -> None:
    whole = [exr(np.linspace(1, 5, 600).reshape(30, 20), compression) for compression in (0, 2, 3)]

    def trial(rng: random.Random, scratch: Path) -> None:
        read_exr(damaged(rng, rng.choice(whole)), "a.exr")

    survives(trial, tmp_path)
