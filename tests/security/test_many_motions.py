"""Hundreds and thousands of changed files of motions, as tools nest them: read, cleaned and scored, or refused in one line."""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from fuzzing import changes, damaged, survives, volume
from stand_ins.tool_files import TOOLS

from clean import main as clean
from pose_priors.configs.base import UserError
from pose_priors.datamodules.clips import UnusableClipError, read_clip
from pose_priors.datamodules.formats import read_poses
from pose_priors.refinement.motions.files.read import read_motions
from score import main as score


def _saved(save: Callable[[Any, io.BytesIO], object]) -> Callable[[Any], bytes]:
    def written(content: Any) -> bytes:
        save(content, stream := io.BytesIO())
        return stream.getvalue()

    return written


def _npz(content: Any, stream: io.BytesIO) -> None:
    """As ROMP's, which hold one object."""
    inner = content.get("results") if isinstance(content, dict) else content
    one = np.empty((), object)
    one[()] = inner
    np.savez(stream, results=one)


WRITERS = {
    ".pkl": [pickle.dumps, _saved(joblib.dump)],
    ".pt": [_saved(torch.save)],
    ".motion": [_saved(torch.save)],
    ".npz": [_saved(_npz)],
}
SUFFIXES = {
    "gvhmr": [".pt", ".pkl"],
    "protomotions": [".motion", ".pkl"],
    "omomo": [".pt", ".pkl"],
    "romp": [".npz", ".pkl"],
    "romp video": [".npz", ".pkl"],
}


def _written(rng: random.Random, tool: str, folder: Path) -> Path:
    suffix = rng.choice(SUFFIXES.get(tool, [".pkl"]))
    path, save = folder / f"a{suffix}", rng.choice(WRITERS[suffix])
    path.write_bytes(damaged(rng, save(TOOLS[tool])) if rng.random() < 0.2 else save(changes(rng, TOOLS[tool])))
    return path


def _read(rng: random.Random, scratch: Path) -> None:
    path = _written(rng, rng.choice(list(TOOLS)), scratch)
    with suppress(UnusableClipError):
        rng.choice([read_poses, read_clip, read_motions])(path)


def _done(rng: random.Random, scratch: Path) -> None:
    """What is cleaned is finite, and read again."""
    path, output = _written(rng, rng.choice(list(TOOLS)), scratch), scratch / "out"
    script = rng.choice([clean, score])
    try:
        script([str(path), "--output", str(output)])
    except UserError:
        assert not list(output.glob("*.npz"))
        raise
    if script is clean:
        after = read_motions(next(output.glob("*.npz")))
        assert all(person.known.all() or not person.known.any() for person in after.people)


def test_some_changed_files_of_tools_are_read(tmp_path: Path) -> None:
    survives(_read, tmp_path, 400)


@volume
def test_changed_files_of_tools_are_read(tmp_path: Path) -> None:
    survives(_read, tmp_path)


@volume
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_changed_files_of_tools_are_cleaned_and_scored(tmp_path: Path) -> None:
    survives(_done, tmp_path, 600)
