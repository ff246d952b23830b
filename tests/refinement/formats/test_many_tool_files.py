"""Thousands of results of each tool with something changed in them: a clip, or one line."""

from __future__ import annotations

import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
import pytest
import torch
from fuzzing import changes, damaged, survives, volume
from gem_x_writer import write_gem_x
from romp_writer import write_romp
from upstream_truth import make_truth
from upstream_world_writers import write_glamr, write_megahunter, write_slahmr
from upstream_writers import write_gvhmr, write_phalp, write_prompthmr, write_tram, write_wham

from pose_priors.configs.base import UserError
from pose_priors.datamodules.capture import soma77
from pose_priors.datamodules.safe_pickle import load_pickle
from pose_priors.refinement.formats import _format
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.source import Source


def _pickled(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def _npy(content: Any, path: Path) -> None:
    alone = np.empty((), object)
    alone[()] = content
    np.save(path, alone, allow_pickle=True)


def _npz(content: Any, path: Path) -> None:
    arrays = content if isinstance(content, dict) else {"a": content}
    np.savez(path, **{str(name).replace("/", "_"): np.asarray(value) for name, value in arrays.items() if not _ragged(value)})


def _ragged(value: Any) -> bool:
    try:
        np.asarray(value)
    except ValueError:
        return True
    return False


def _whole(path: Path) -> Any:
    if path.suffix in (".pkl", ".pt", ".pth"):
        return load_pickle(path)
    if path.suffix == ".npz":
        arrays = dict(np.load(path, allow_pickle=True))
        return {name: array.item() if array.dtype == object and array.shape == () else array for name, array in arrays.items()}
    array = np.load(path, allow_pickle=True)
    return array.item() if array.shape == () else array


_WRITERS: dict[str, Callable[[Any, Path], object]] = {".pkl": _pickled, ".pt": torch.save, ".pth": _pickled, ".npy": _npy, ".npz": _npz}
TOOLS = [write_tram, write_phalp, write_wham, write_gvhmr, write_prompthmr, write_slahmr, write_glamr, write_gem_x, write_romp]


@volume
@pytest.mark.parametrize("write", TOOLS, ids=lambda write: write.__name__.removeprefix("write_"))
def test_changed_files(write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "whole", make_truth())
    monkeypatch.setattr(soma77, "on_smplx", _understood)  # a tenth of a second of inverse kinematics for each file of GEM-X
    folder = tmp_path / "whole"
    files = [file for file in sorted(folder.rglob("*")) if file.suffix in _WRITERS]
    contents = {file: _whole(file) for file in files}

    def trial(rng: random.Random, scratch: Path) -> None:
        spoilt = rng.choice(files)
        for file in folder.rglob("*"):
            copy = scratch / file.relative_to(folder)
            if file.is_dir():
                copy.mkdir(parents=True, exist_ok=True)
            elif file == spoilt:
                copy.parent.mkdir(parents=True, exist_ok=True)
                if rng.random() < 0.1:
                    copy.write_bytes(damaged(rng, file.read_bytes()))
                else:
                    _WRITERS[file.suffix](changes(rng, contents[file]), copy)
            else:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.symlink_to(file)
        there = scratch / path.relative_to(folder) if path != folder else scratch
        _read(Source(there))

    survives(trial, tmp_path)


def _understood(*_: object) -> NoReturn:
    raise UserError("all of it was read")


def _read(source: Source) -> UpstreamClip:
    """By the reader itself, without the guard around it."""
    form = _format(source, None)
    if form is None:
        raise UserError("none of them")
    return form.read(source, [])


@volume
def test_changed_files_of_megahunter(tmp_path: Path) -> None:
    whole = write_megahunter(tmp_path / "whole", make_truth())
    data = whole.read_bytes()
    places: list[str] = []
    with h5py.File(whole) as file:
        file.visit(places.append)

    def trial(rng: random.Random, scratch: Path) -> None:
        path = scratch / whole.name
        if rng.random() < 0.4:
            path.write_bytes(damaged(rng, data))
        else:
            shutil.copy(whole, path)
            with h5py.File(path, "a") as file:
                for place in rng.sample(places, rng.randrange(1, 3)):
                    _spoil(rng, file, place)
        clip = _read(Source(path))
        for frame in clip.cameras.frame_ids[:2].tolist():
            clip.depth.read(frame)

    survives(trial, tmp_path)


def _spoil(rng: random.Random, file: h5py.File, place: str) -> None:
    if place not in file:
        return
    value = file[place][()] if isinstance(file[place], h5py.Dataset) else None
    del file[place]
    try:
        match rng.randrange(4):
            case 0:
                pass
            case 1:
                file.create_group(place)
            case 2:
                file[place] = rng.choice(["text", 3, np.arange(4), np.zeros((2, 0))])
            case 3:
                file[place] = changes(rng, value)
    except (TypeError, ValueError, OSError):  # what HDF5 does not hold
        return
