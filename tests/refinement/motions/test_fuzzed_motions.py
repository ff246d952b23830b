"""Files of motions with bytes and shapes that nobody expects: a motion comes back, or one line says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from walking_files import walker, write_motion

from clean import main as clean
from pose_priors.configs.base import UserError
from pose_priors.refinement.motions.files.read import read_motions
from pose_priors.refinement.motions.motion import quat_of
from pose_priors.refinement.motions.restore import restore
from pose_priors.refinement.motions.scoring import score_motion
from pose_priors.refinement.motions.sizing import sized

POSE, PELVIS = walker(0.6)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_spoilt_bytes_end_in_a_motion_or_in_one_line(suffix: str, tmp_path: Path) -> None:
    source = write_motion(tmp_path / f"whole.{suffix}", POSE, PELVIS, "array" if suffix == "npy" else "smpl")
    whole = source.read_bytes()
    rng = np.random.default_rng(0)
    refused = []
    for number in range(60):
        spoilt = bytearray(whole)
        if number % 3 == 0:
            spoilt = spoilt[: int(rng.integers(0, len(spoilt)))]
        else:
            for at in rng.integers(0, min(len(spoilt), 400 if number % 3 == 1 else len(spoilt)), 4):
                spoilt[at] = int(rng.integers(0, 256))
        path = tmp_path / f"spoilt.{suffix}"
        path.write_bytes(bytes(spoilt))
        try:
            people = read_motions(path).people
        except UserError as error:
            refused.append(str(error))
        else:
            assert all(np.isfinite(person.quat).all() and np.isfinite(person.pelvis).all() for person in people)
    assert len(refused) > 15
    assert all("\n" not in line for line in refused)


@pytest.mark.parametrize("seed", range(12))
def test_any_numbers_of_a_layout_are_cleaned_to_finite_ones(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    num = int(rng.integers(1, 40))
    poses = rng.normal(size=(num, 72)) * rng.choice([0.0, 1e-3, 1.0, 3.0])
    trans = rng.normal(size=(num, 3)) * rng.choice([0.0, 1.0, 1e4])
    for array in (poses, trans):
        array[rng.random(num) < 0.2] = rng.choice([np.nan, np.inf, 1e300])
    poses[0], trans[0] = 0, 0
    np.savez(tmp_path / "clip.npz", poses=poses, trans=trans, fps=float(rng.choice([15.0, 30.0, 120.0])))
    clean([str(tmp_path / "clip.npz"), "--output", str(tmp_path / "out")])
    with np.load(tmp_path / "out/clip.npz") as after:
        assert after["poses"].shape == poses.shape
        assert np.isfinite(after["poses"][:, :66]).all()
        assert np.isfinite(after["trans"]).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fps", [1.0, 5.0, 15.0, 60.0, 1000.0])
def test_clips_of_a_few_frames_are_judged_without_a_warning(fps: float) -> None:
    """On the ground and above it, at rest and rising."""
    for num in range(1, 12):
        for above in (0.0, 0.1, 2.0):
            for rise in (0.0, 0.1):
                pose, pelvis = walker(max(20 / fps, 0.3), fps)
                pelvis[:, 2] += above + rise * np.arange(len(pelvis))
                motion = sized(quat_of(pose[:num, :22]), pelvis[:num], fps, np.ones(num, dtype=bool))
                assert np.isfinite(restore(motion).motion.joints).all()
                assert np.isfinite(score_motion(motion, None).badness).all()
